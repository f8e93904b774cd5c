"""Serves requests: one payload in, one reply out. Knows no sockets and no processes.

A reply's body is one of

    [0, value]     the result
    [1, failure]   an exception, see `wire/failure.py`
    [2]            the stream has ended
    [3, reason]    the session (or this generation of it) has ended; nothing has run
"""

from __future__ import annotations

import sys
import time

from ..errors import BridgeUsageError, ProtocolError, SessionMismatchError
from ..wire.codec import Numpy, pack
from ..wire.failure import encode_failure
from ..wire.framing import Frame, Kind
from ..wire.heads import request_head
from ..wire.limits import INLINE_LIMIT
from ..wire.loading import malformed
from ..wire.payload import CallType, check
from .display import mime_bundle
from .environment import set_environment
from .hints import hint_for
from .holding import Released, Session, SessionEnded, Spec
from .importing import Importer, uncallable
from .introspect import facts
from .kinds import TypeTable
from .store import Store
from .values import Inbox, Outbox, Pickled, checked_ref, open_pickle, text_of
from .views import ref_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..wire.framing import Buffer
    from .holding import Entry

    Answer = tuple[bytes, list[Buffer]]
    Payload = dict[str, Any]


class Host:
    """What a dispatcher asks of the process it runs in."""

    in_process = True
    """Whether user code runs in the kernel's own process: then its KeyboardInterrupt is real."""

    def announce(self, event: str, details: list[Any]) -> None:
        """Tell the kernel, one way: ("evicted" | "ended", details)."""

    def mark_output(self, call_id: int) -> None:
        """What is written from now on is the output of that call."""

    def wake_clock(self) -> None:
        """The next timer rings earlier than before."""


class Dispatcher:
    """One worker's calls and sessions.

    `handle` is for the data channel and is called by one thread at a time; `anywhere` may run
    beside it.
    """

    def __init__(self, config: dict[str, Any], host: Host) -> None:
        self._host = host
        self._types = TypeTable()
        self.store = Store(self._types.info, facts, host.announce, host.wake_clock)
        self._isolate = bool(config.get("isolate_cells"))
        self._inbox = Inbox(self.store)
        self._outbox = Outbox(self.store, int(config.get("inline_limit", INLINE_LIMIT)))
        self._importer = Importer()
        self._helpers: dict[str, Any] = {}
        self.hidden = frozenset(m.__file__ or "" for m in _own_modules())
        self.calls = 0
        self.busy: tuple[Payload, float] | None = None
        Numpy.scalars = bool(config.get("numpy", True))

    # ------------------------------------------------------------ data channel
    def handle(self, frame: Frame) -> tuple[bytes, bytes, list[Buffer]] | None:
        """Serve one frame of the data channel; `(head, body, buffers)` of the reply, if any."""
        call_id, _, releases, declarations, cell = request_head(frame.head)
        if frame.kind != Kind.REQUEST and frame.kind != Kind.NOTICE:
            raise ProtocolError(
                f"a frame of kind {frame.kind} came, expected a request or a notice"
            )
        if releases is not None:
            with malformed("releases"):
                self._take_back(releases)
        try:
            if declarations is not None:
                with malformed("declarations"):
                    self._declare(declarations)
            if frame.kind == Kind.NOTICE:
                return None
            body, buffers = self._serve(frame, cell)
        except SessionEnded as ended:
            body, buffers = pack([3, ended.reason]), []
        except BaseException as error:
            if self._host.in_process and isinstance(error, KeyboardInterrupt):
                raise
            body, buffers = pack([1, encode_failure(error, self.hidden, hint_for(error))]), []
            del error
        finally:
            self._inbox.close()
            self.busy = None
        types = self._types.take() if self._types.fresh else None
        return pack([call_id, types]), body, buffers

    def _serve(self, frame: Frame, cell: str) -> Answer:
        inbox, store = self._inbox, self.store
        payload = inbox.open(frame.body)
        call_type = check(payload)
        handler = _HANDLERS[call_type]
        if call_type in _ANYWHERE:
            return handler(self, payload, None, cell)
        self.calls += 1
        self.busy = (payload, time.monotonic())
        session = store.enter(payload["session_id"], payload.get("generation") or 0)
        try:
            if inbox.named_refs:
                inbox.check_walls(session, payload.get("in_force"), self._isolate)
            if inbox.pickles:
                target = payload.get("instance") or payload.get("stream_ref")
                if target is not None:
                    self._target(target, session)  # before anything of a pickle is opened
                inbox.unpickle(payload, frame.buffers)
            return handler(self, payload, session, cell)
        finally:
            store.leave(session)

    def _take_back(self, releases: list[Any]) -> None:
        """Receipts and sessions that nobody in the kernel can reach any more."""
        receipts, sessions = releases
        doomed: list[Any] = [self.store.give_back(receipts)] if receipts else []
        for session_id, generation, reason in sessions:
            released = self.store.release_session(session_id, generation, reason)
            doomed.append(released.doomed)
            self._host.announce(
                "ended", [session_id, generation, reason, released.refs, released.nbytes]
            )

    def _declare(self, declarations: list[list[Any]]) -> None:
        for kind, *details in declarations:
            if kind == "session":
                self.store.declare(Spec(*details))
            elif kind == "helper":
                name, data = details
                self._helpers[name] = Pickled(data, 0, [])
            elif kind == "mark":
                self._host.mark_output(*details)
            elif kind == "environment":
                set_environment(*details)
            else:
                raise ProtocolError(f"unknown declaration {kind!r}")

    # ------------------------------------------------------------ calls
    def _target(self, ref: Any, session: Session) -> Entry:
        """The entry of the ref a call is made on.

        Raises:
            SessionMismatchError: it is in a named session, and the call is in another.
        """
        entry = self._inbox.entry(ref)
        home = entry.session
        if home is not session and (self._isolate or not home.spec.auto):
            raise SessionMismatchError(text_of(entry), session.spec.id, home.spec.id)
        return entry

    def _find(self, payload: Payload, name: str) -> Any:
        return self._importer.find(payload.get("python_module"), payload.get("module_path"), name)

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
        return self._outbox.reply(value, payload.get("fetch"), session, cell)

    def _new(self, payload: Payload, session: Session, cell: str) -> Answer:
        value = self._callable(payload)(*payload["args"], **payload["kwargs"])
        return self._outbox.reply(value, False, session, cell)

    def _method(self, payload: Payload, session: Session, cell: str) -> Answer:
        target = self._target(payload["instance"], session).obj
        name = payload["function"]
        fn = getattr(target, name) if name else target
        if not callable(fn):
            raise TypeError(
                f"{name!r} of this {type(target).__name__} is "
                f"{type(fn).__name__}, which cannot be called; read it without parentheses"
            )
        value = fn(*payload["args"], **payload["kwargs"])
        return self._outbox.reply(value, payload.get("fetch"), session, cell)

    def _get_attr(self, payload: Payload, session: Session, cell: str) -> Answer:
        value = getattr(self._target(payload["instance"], session).obj, payload["attr"])
        return self._outbox.reply(value, payload.get("fetch"), session, cell)

    def _set_attr(self, payload: Payload, session: Session, cell: str) -> Answer:
        (value,) = payload["args"]
        setattr(self._target(payload["instance"], session).obj, payload["attr"], value)
        return _NOTHING

    def _module_attr(self, payload: Payload, session: Session, cell: str) -> Answer:
        value = self._find(payload, payload["attr"])
        return self._outbox.reply(value, payload.get("fetch"), session, cell)

    def _helper(self, payload: Payload, session: Session, cell: str) -> Answer:
        name = payload["helper"]
        fn = self._helpers.get(name)
        if fn is None:
            raise BridgeUsageError(f"The worker has no helper {name!r}; it has {[*self._helpers]}")
        if type(fn) is Pickled:
            fn = self._helpers[name] = open_pickle(fn, [], None)
        value = fn(*payload["args"], **payload["kwargs"])
        return self._outbox.reply(value, payload.get("fetch"), session, cell)

    def _stream(self, payload: Payload, session: Session, cell: str) -> Answer:
        made = self._callable(payload)(*payload["args"], **payload["kwargs"])
        return self._outbox.reply(iter(made), False, session, cell)

    def _stream_next(self, payload: Payload, session: Session, cell: str) -> Answer:
        stream = self._target(payload["stream_ref"], session).obj
        try:
            value = next(stream)
        except StopIteration:
            return _STOP
        return self._outbox.reply(value, payload.get("fetch"), session, cell)

    # ------------------------------------------------------------ objects
    def _put(self, payload: Payload, session: Session, cell: str) -> Answer:
        (value,) = payload["args"]
        return self._outbox.reply(value, False, session, cell)

    def _fetch(self, payload: Payload, session: Session, cell: str) -> Answer:
        (ref,) = payload["args"]
        return self._outbox.copy(self._target(ref, session).obj)

    def _keep(self, payload: Payload, session: Session, cell: str) -> Answer:
        ref, name = payload["args"]
        self.store.keep(self._target(ref, session), name)
        return _NOTHING

    def _kept(self, payload: Payload, session: Session, cell: str) -> Answer:
        named = {name: entry.obj for name, entry in self.store.kept(session).items()}
        return self._outbox.refs(named, session)

    def _move(self, payload: Payload, session: Session, cell: str) -> Answer:
        (ref,) = payload["args"]
        entry = self.store.move(self._inbox.entry(ref), session)
        return self._outbox.reply(entry.obj, False, session, cell)

    def _display(self, payload: Payload, session: Session, cell: str) -> Answer:
        ref, options = payload["args"]
        return pack([0, mime_bundle(self._target(ref, session).obj, options)]), []

    # ------------------------------------------------------------ either channel
    def _describe(self, payload: Payload, session: Session | None, cell: str) -> Answer:
        ref = checked_ref(payload["args"][0])
        row = self.store.view(lambda sessions, refs: ref_row(sessions, refs, ref[0]))
        return pack([0, row]), []

    def _release_ref(self, payload: Payload, session: Session | None, cell: str) -> Answer:
        for ref_id in payload["args"]:
            if type(ref_id) is not int:
                raise ProtocolError(f"release_ref takes ids of refs, and {ref_id!r:.200} came")
            entry = self.store.find(ref_id)
            if entry is not None and entry.session.spec.id != payload["session_id"]:
                raise SessionMismatchError(
                    text_of(entry), payload["session_id"], entry.session.spec.id
                )
        return _released(self.store.release_refs(payload["args"], payload["session_id"]))

    def _release_session(self, payload: Payload, session: Session | None, cell: str) -> Answer:
        (reason,) = payload["args"]
        generation = payload.get("generation") or 0
        return _released(self.store.release_session(payload["session_id"], generation, reason))

    def anywhere(self, payload: Payload) -> bytes:
        """The reply's body for a payload that either channel may bring."""
        call_type = check(payload)
        if call_type not in _ANYWHERE:
            raise ProtocolError(f"{call_type!r} is no request of the control channel")
        body, _ = _HANDLERS[call_type](self, payload, None, "")
        return body


def _released(released: Released) -> Answer:
    """The acknowledgement of a release; what was held is let go here, outside every lock."""
    body = pack([0, [released.refs, released.nbytes]])
    released.doomed = []
    return body, []


def _own_modules() -> list[Any]:
    root = __name__.partition(".")[0] + ".kernel."
    return [m for name, m in list(sys.modules.items()) if name.startswith(root)]


_NOTHING: Answer = (pack([0, None]), [])
_STOP: Answer = (pack([2]), [])
_ANYWHERE = frozenset(("describe", "release_ref", "release_session"))
_HANDLERS: dict[str, Callable[..., Answer]] = {
    "function": Dispatcher._call,
    "dynamic": Dispatcher._call,
    "class": Dispatcher._new,
    "method": Dispatcher._method,
    "get_attr": Dispatcher._get_attr,
    "set_attr": Dispatcher._set_attr,
    "module_attr": Dispatcher._module_attr,
    "helper": Dispatcher._helper,
    "stream": Dispatcher._stream,
    "stream_next": Dispatcher._stream_next,
    "put": Dispatcher._put,
    "fetch": Dispatcher._fetch,
    "keep": Dispatcher._keep,
    "kept": Dispatcher._kept,
    "move": Dispatcher._move,
    "describe": Dispatcher._describe,
    "display": Dispatcher._display,
    "release_ref": Dispatcher._release_ref,
    "release_session": Dispatcher._release_session,
}
assert _HANDLERS.keys() == {c.value for c in CallType}
