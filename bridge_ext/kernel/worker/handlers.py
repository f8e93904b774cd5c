"""What each call type does, in one thread of a worker.

A handler takes the payload, the session it runs in (None where it runs in none) and the cell it
comes from, and gives the body of the reply with its buffers.
"""

from __future__ import annotations

from itertools import islice

from ..errors import BridgeUsageError, ProtocolError, SessionFullError, SessionMismatchError
from ..wire.codec import TooLarge, pack
from ..wire.failure import encode_failure
from ..wire.payload import CallType
from .ahead import REPLAYS, ahead_of, seen
from .importing import uncallable
from .inbox import Pickled, checked_ref, open_pickle, text_of
from .views import ref_row
from .watching import MEASURING, measure_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..wire.framing import Buffer
    from .dispatcher import Dispatcher
    from .holding import Entry, Released, Session
    from .inbox import Inbox
    from .outbox import Outbox
    from .running import Running

    Answer = tuple[bytes, list[Buffer]]
    Payload = dict[str, Any]


class Handlers:
    """The handlers, by name; `HANDLERS` has them by call type."""

    shared: Dispatcher
    inbox: Inbox
    outbox: Outbox
    running: Running

    def run_batch(self, starts: list[Payload], items: list[Any], cell: str) -> Answer:
        """Run the calls of a batch, see `serving`."""
        raise NotImplementedError

    # ------------------------------------------------------------ calls
    def _target(self, ref: Any, session: Session) -> Entry:
        """The entry of the ref a call is made on.

        Raises:
            SessionMismatchError: it is in a named session, and the call is in another.
        """
        entry = self.inbox.entry(ref)
        home = entry.session
        if home is not session and (self.shared.isolate or not home.spec.auto):
            raise SessionMismatchError(text_of(entry), session.spec.id, home.spec.id)
        return entry

    def _find(self, payload: Payload, name: str) -> Any:
        return self.shared.importer.find(
            payload.get("python_module"), payload.get("module_path"), name
        )

    def _callable(self, payload: Payload) -> Any:
        fn = self._find(payload, payload["function"])
        if not callable(fn):
            module = payload.get("python_module") or payload.get("module_path")
            raise uncallable(f"{module}.{payload['function']}", fn)
        return fn

    def _call(self, payload: Payload, session: Session, cell: str) -> Answer:
        if payload.get("instance") is not None:
            self._target(payload["instance"], session)
        fn = self._callable(payload)
        value = fn(*payload["args"], **payload["kwargs"])
        return self.outbox.reply(value, payload.get("fetch"), session, cell)

    def _new(self, payload: Payload, session: Session, cell: str) -> Answer:
        value = self._callable(payload)(*payload["args"], **payload["kwargs"])
        return self.outbox.reply(value, False, session, cell)

    def _method(self, payload: Payload, session: Session, cell: str) -> Answer:
        target = seen(self._target(payload["instance"], session))
        name = payload["function"]
        fn = getattr(target, name) if name else target
        if not callable(fn):
            raise TypeError(
                f"{name!r} of this {type(target).__name__} is "
                f"{type(fn).__name__}, which cannot be called; read it without parentheses"
            )
        value = fn(*payload["args"], **payload["kwargs"])
        return self.outbox.reply(value, payload.get("fetch"), session, cell)

    def _get_attr(self, payload: Payload, session: Session, cell: str) -> Answer:
        value = getattr(seen(self._target(payload["instance"], session)), payload["attr"])
        return self.outbox.reply(value, payload.get("fetch"), session, cell)

    def _set_attr(self, payload: Payload, session: Session, cell: str) -> Answer:
        (value,) = payload["args"]
        setattr(self._target(payload["instance"], session).obj, payload["attr"], value)
        return _NOTHING

    def _module_attr(self, payload: Payload, session: Session, cell: str) -> Answer:
        value = self._find(payload, payload["attr"])
        return self.outbox.reply(value, payload.get("fetch"), session, cell)

    def _helper(self, payload: Payload, session: Session, cell: str) -> Answer:
        name = payload["helper"]
        fn = self.shared.helpers.get(name)
        if fn is None:
            raise BridgeUsageError(
                f"The worker has no helper {name!r}; it has {[*self.shared.helpers]}"
            )
        if type(fn) is Pickled:
            fn = self.shared.helpers[name] = open_pickle(fn, [], None)
        value = fn(*payload["args"], **payload["kwargs"])
        return self.outbox.reply(value, payload.get("fetch"), session, cell)

    def _stream(self, payload: Payload, session: Session, cell: str) -> Answer:
        made = self._callable(payload)(*payload["args"], **payload["kwargs"])
        stream = made if hasattr(type(made), "__anext__") else iter(made)
        answer = self.outbox.reply(stream, False, session, cell)
        if type(stream) not in REPLAYS:
            ahead_of(self.shared.store.entry_for(session, stream), asked=True)
        return answer

    def _stream_next(self, payload: Payload, session: Session, cell: str) -> Answer:
        """`[position, items, end, shared]`, see `Outbox.items`."""
        most, position = payload["args"]
        ahead = ahead_of(self._target(payload["stream_ref"], session))
        ahead.gather(most, ahead.acknowledge(position), self._is_real)
        shared, fetch = ahead.shared, payload.get("fetch")
        items = list(islice(ahead.items, 1 if shared else min(most, ahead.fits)))
        while True:
            end: Any = len(items) == len(ahead.items) and ahead.end
            if isinstance(end, BaseException):
                from .hints import hint_for

                end = encode_failure(end, self.shared.hidden, hint_for(end))
            rest = [end, shared]
            try:
                answer = self.outbox.items(ahead.position, items, rest, fetch, session, cell)
            except (TooLarge, RecursionError, SessionFullError):
                if len(items) == 1:
                    raise
                ahead.fits = len(items) // 2
                del items[ahead.fits :]
            else:
                ahead.fits = max(ahead.fits, min(most, len(items) * 2))
                return answer

    def _is_real(self) -> bool:
        """Whether a KeyboardInterrupt was not raised by the code itself."""
        return self.running.stopped or self.shared.host.in_process

    # ------------------------------------------------------------ objects
    def _put(self, payload: Payload, session: Session, cell: str) -> Answer:
        (value,) = payload["args"]
        return self.outbox.reply(value, False, session, cell)

    def _fetch(self, payload: Payload, session: Session, cell: str) -> Answer:
        (ref,) = payload["args"]
        return self.outbox.copy(seen(self._target(ref, session)))

    def _keep(self, payload: Payload, session: Session, cell: str) -> Answer:
        ref, name = payload["args"]
        self.shared.store.keep(self._target(ref, session), name)
        return _NOTHING

    def _kept(self, payload: Payload, session: Session, cell: str) -> Answer:
        named = {name: entry.obj for name, entry in self.shared.store.kept(session).items()}
        return self.outbox.refs(named, session)

    def _move(self, payload: Payload, session: Session, cell: str) -> Answer:
        (ref,) = payload["args"]
        entry = self.shared.store.move(self.inbox.entry(ref), session)
        return self.outbox.reply(entry.obj, False, session, cell)

    def _display(self, payload: Payload, session: Session, cell: str) -> Answer:
        ref, wanted = payload["args"]
        shown = self.shared.publisher().of_ref(self._target(ref, session).obj, **wanted)
        return pack([0, shown]), []

    def _batch(self, payload: Payload, session: Session, cell: str) -> Answer:
        starts, items = payload["args"]
        return self.run_batch(starts, items, cell)

    # ------------------------------------------------------------ either channel
    def _describe(self, payload: Payload, session: Session | None, cell: str) -> Answer:
        ref = checked_ref(payload["args"][0])
        store = self.shared.store
        entry = store.view(lambda sessions, refs: refs.get(ref[0]))
        if entry is not None:
            measure_all(store, [entry], MEASURING, self.shared.begun)
        row = store.view(lambda sessions, refs: ref_row(sessions, refs, ref[0]))
        return pack([0, row]), []

    def _release_ref(self, payload: Payload, session: Session | None, cell: str) -> Answer:
        for ref_id in payload["args"]:
            if type(ref_id) is not int:
                raise ProtocolError(f"release_ref takes ids of refs, and {ref_id!r:.200} came")
            entry = self.shared.store.find(ref_id)
            if entry is not None and entry.session.spec.id != payload["session_id"]:
                raise SessionMismatchError(
                    text_of(entry), payload["session_id"], entry.session.spec.id
                )
        store = self.shared.store
        return self._released(store.release_refs(payload["args"], payload["session_id"]))

    def _release_session(self, payload: Payload, session: Session | None, cell: str) -> Answer:
        (reason,) = payload["args"]
        generation = payload.get("generation") or 0
        store = self.shared.store
        return self._released(store.release_session(payload["session_id"], generation, reason))

    def _released(self, released: Released) -> Answer:
        """The acknowledgement of a release; what was held is let go here, outside every lock."""
        body = pack([0, [released.refs, released.nbytes]])
        released.doomed = []
        self.shared.let_go()
        return body, []


_NOTHING: Answer = (pack([0, None]), [])
ANYWHERE = frozenset(("describe", "release_ref", "release_session"))
HANDLERS: dict[str, Callable[..., Answer]] = {
    "function": Handlers._call,
    "dynamic": Handlers._call,
    "class": Handlers._new,
    "method": Handlers._method,
    "get_attr": Handlers._get_attr,
    "set_attr": Handlers._set_attr,
    "module_attr": Handlers._module_attr,
    "helper": Handlers._helper,
    "stream": Handlers._stream,
    "stream_next": Handlers._stream_next,
    "put": Handlers._put,
    "fetch": Handlers._fetch,
    "keep": Handlers._keep,
    "kept": Handlers._kept,
    "move": Handlers._move,
    "describe": Handlers._describe,
    "display": Handlers._display,
    "batch": Handlers._batch,
    "release_ref": Handlers._release_ref,
    "release_session": Handlers._release_session,
}
assert HANDLERS.keys() == {c.value for c in CallType} - {"callback"}
