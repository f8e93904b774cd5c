"""The kernel's side of one worker incarnation: its connection, and the books kept of it."""

from __future__ import annotations

import os
import sys
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from .answering import answer
from .display import message, told
from .errors import ProtocolError, lost
from .handles import Module, Ref, new_handle
from .hearing import measures
from .operators import make_class
from .preferences import Preferences
from .prepared import PreparedCalls
from .refs import RefState, RefTable
from .replies import checked
from .session import Session
from .streams import StreamRef, StreamState
from .wire.limits import MAX_STUBS, MAX_TYPES
from .wire.loading import SHORT, Loading, malformed, scalar
from .wire.marks import Ext
from .wire.naming import clean
from .wire.own import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backends.base import Connection, Outgoing, Reply, Request
    from .remote import Remote
    from .session import Lease
    from .wire.framing import Buffer, Frame

_LOOSE = {"strict_map_key": False, "unicode_errors": "surrogatepass"}


class Loss:
    """What went down with a worker."""

    __slots__ = ("how", "refs", "sessions")

    def __init__(self, how: str, sessions: tuple[str, ...], refs: int) -> None:
        self.how, self.sessions, self.refs = how, sessions, refs


class Incarnation:
    """One worker, from its start to its end.

    Attributes:
        refs: the table of its refs.
        prepared: the calls that it knows by number.
        loss: what was lost, once it has died.
        silent_until: monotonic time until which completion does not ask it again.
    """

    def __init__(self, client: Remote, connection: Connection) -> None:
        self.client, self.connection = client, connection
        self.number = connection.incarnation
        self.refs = RefTable()
        self.loss: Loss | None = None
        self.silent_until = 0.0
        self.helpers: set[str] = set()
        self._types: dict[int, type[Ref]] = {}
        self._members = 0
        self._cwd = _cwd() if client.follow_cwd else None
        self._path = list(sys.path)
        self._preferences = Preferences()
        self.hooks = {Ext.REF: self._ref, Ext.MODULE: self._module}
        self.loading = Loading(self.hooks)
        self._streams: deque[list[Any]] = deque()
        self.prepared = PreparedCalls()
        connection.listen(*_weakly(self))

    # ------------------------------------------------------------ incoming
    def open(self, reply: Reply) -> Any:
        """The reply's body as `[status, …]`, with handles for its refs."""
        packed = reply.body
        body = scalar(packed) if len(packed) < SHORT else None
        if body is not None:
            return body
        body = self.loading.load(packed)
        if type(body) is list and len(body) == 2 and body[0] == 0 and type(body[0]) is int:
            return body  # as nearly always
        return checked(body)

    def drop(self, reply: Reply) -> None:
        """Give back the refs of a reply that nobody wants; a copy in it is not opened."""
        Loading({**self.hooks, Ext.PICKLE: len, Ext.ARRAY: len}).load(reply.body)

    def take_types(self, records: list[Any]) -> None:
        """Make the handle classes of the types that a reply brought."""
        with malformed("type records"):
            for record in records:
                number, made = record[0], make_class(record)
                if type(number) is not int or not 0 < number <= 2 * MAX_TYPES:
                    raise ValueError(f"a type has the number {number!r:.100}")
                self._members += _members(made) - _members(self._types.get(number))
                if self._members > MAX_STUBS:
                    raise ValueError(f"{self._members:,} members exceed the limit of {MAX_STUBS:,}")
                self._types[number] = made

    def show(self, body: bytes | bytearray) -> None:
        """Show what the worker's code shows."""
        told(self.client.show, message(body))

    def _module(self, data: bytes) -> Module:
        return Module(self.client, data.decode())

    def _ref(self, data: bytes) -> Ref:
        fields = msgpack.unpackb(data, **_LOOSE)
        ref_id, session_id, generation, type_id, length, shape, nbytes, _ = fields
        cls = self._types.get(type_id)
        if cls is None:
            raise ProtocolError(f"a ref of unknown type {type_id}")
        session, lease = self._home(session_id, generation)

        def new_state() -> RefState:
            return self._state(cls, ref_id, session, lease, length, shape, nbytes)

        handle = self.refs.receive(ref_id, new_state, partial(new_handle, cls))
        state = handle._bridge_state
        if state.session is not session:
            state.session, state.lease = session, lease  # it was moved
        return handle

    def _state(
        self,
        cls: type[Ref],
        ref_id: int,
        session: Session,
        lease: Lease | None,
        length: Any,
        shape: Any,
        nbytes: Any,
    ) -> RefState:
        length, size, nbytes = measures(length, shape, nbytes)
        manager = self.client.sessions
        name = cls._bridge_type  # type: ignore[attr-defined]
        if manager.heard:
            manager.tell(manager.records.RefAdded(ref_id, session.id, name))
        state = RefState(self.client, self, session, lease, ref_id, name, length, size, nbytes)
        if issubclass(cls, StreamRef):
            state.stream = StreamState()
        return state

    def _home(self, session_id: str, generation: int) -> tuple[Session, Lease | None]:
        """The session of a ref, and the lease that its handle holds."""
        session = self.client.sessions.by_generation(session_id, generation)
        if session is None:
            raise ProtocolError(f"a ref of unknown session {clean(str(session_id))!r}")
        if self.client.strict or session.lease is None:
            return session, None  # a strict lease ends with its scope, whatever refers to it
        return session, session.lease()

    def cost(self) -> str:
        """What would be lost with the worker."""
        sessions = [s for s in self.client.sessions.all() if s.incarnation == self.number]
        return lost([s.id for s in sessions if s.live], self.refs.count(), "Would be lost")

    # ------------------------------------------------------------ outgoing
    def streamed(self, ref_id: int, position: int) -> None:
        """A stream goes on elsewhere: the worker has to know what was taken here."""
        self._streams.append([ref_id, position])

    def outgoing(self, session: Any = None, helper: Any = None) -> Outgoing:
        """What travels with the next message; called when its place on the wire is fixed.

        Args:
            session: that the message needs to be known; a batch gives a list of them.
            helper: likewise.
        """
        client = self.client
        releases = None
        if self.refs.dropped or client.sessions.leases_ended:
            releases = self._releases()
        cwd = _cwd() if client.follow_cwd else None
        if (
            (session is None or (type(session) is Session and session.incarnation == self.number))
            and helper is None
            and not self._streams
            and not self.prepared.untold
            and cwd == self._cwd
            and sys.path == self._path
            and not self._preferences.changed()
        ):
            return releases, None
        return releases, self._declarations(session, helper, cwd) or None

    def _declarations(
        self,
        sessions: Session | list[Session] | None,
        helpers: str | list[str] | None,
        cwd: bytes | None,
    ) -> list[Any]:
        declared: list[Any] = []
        for session in _each(sessions):
            manager = self.client.sessions
            if session.incarnation != self.number and manager.declared(session, self.number):
                declared.append(["session", *session.spec()])
        for helper in _each(helpers):
            if helper not in self.helpers:
                declared.append(["helper", helper, self.client.helpers[helper].pickle])
                self.helpers.add(helper)
        while self._streams:
            declared.append(["taken", *self._streams.popleft()])
        declared += self.prepared.take()
        if cwd != self._cwd or sys.path != self._path:
            self._path, self._cwd = list(sys.path), cwd
            directory = os.fsdecode(cwd) if cwd is not None else None
            declared.append(["environment", directory, self._path])
        if self._preferences.changed():
            declared.append(["display", self._preferences.take()])
        return declared

    def _releases(self) -> list[Any] | None:
        """Receipts of dropped handles, then the auto-sessions that nothing holds any more."""
        manager = self.client.sessions
        receipts = self.refs.give_back(self._dropped if manager.heard else None)
        ended = manager.leases_ended
        sessions = []
        while ended:
            session = ended.popleft()
            if session.owners.given and not session.owners.gone():
                continue  # its scope has ended, and somebody else owns it
            ending = self.client.sessions.end_unleased(session, self.number)
            if ending is not None:
                sessions.append(ending)
        return [receipts, sessions] if receipts or sessions else None

    def _dropped(self, state: RefState) -> None:
        manager = self.client.sessions
        manager.tell(manager.records.RefReleased(state.id, state.session.id, "released"))

    # ------------------------------------------------------------ news
    def evicted(self, session_id: str, ref_ids: list[int], reason: str) -> None:
        """The worker has dropped refs by itself."""
        manager = self.client.sessions
        for state in self.refs.mark(ref_ids, reason):
            if manager.heard:
                manager.tell(manager.records.RefReleased(state.id, session_id, reason))


def _members(cls: type[Ref] | None) -> int:
    """How many members a handle class has that a record told of."""
    return len(getattr(cls, "_bridge_members", ()))


def _weakly(incarnation: Incarnation) -> tuple[Callable[..., Any], ...]:
    """What a connection is given to call: whoever watches it must not hold the bridge."""
    ref = weakref.ref(incarnation)

    def take_types(records: list[Any]) -> None:
        alive = ref()
        if alive is not None:
            alive.take_types(records)

    def run(request: Request, frame: Frame) -> tuple[bytes, list[Buffer]]:
        alive = ref()
        if alive is None:
            raise ProtocolError("a callback of a bridge that is gone")
        return answer(alive, request, frame)

    def drop(reply: Reply) -> None:
        alive = ref()
        if alive is not None:
            alive.drop(reply)

    def cost() -> str:
        alive = ref()
        return alive.cost() if alive is not None else ""

    def show(body: bytes | bytearray) -> None:
        alive = ref()
        if alive is not None:
            alive.show(body)

    return take_types, run, drop, cost, show


def _each(x: Any) -> list[Any]:
    if x is None:
        return []
    return x if type(x) is list else [x]


def _cwd() -> bytes | None:
    try:
        return os.getcwdb()  # the cheaper of the two; asked at every call
    except OSError:
        return None
