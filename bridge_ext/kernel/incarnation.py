"""The kernel's side of one worker incarnation: its connection, and the books kept of it."""

from __future__ import annotations

import os
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import ProtocolError
from .handles import Module, Ref, new_handle
from .model import RefAdded, RefReleased
from .operators import make_class
from .refs import RefState, RefTable
from .replies import checked
from .wire.limits import MAX_TYPES
from .wire.loading import Loading, malformed
from .wire.marks import Ext
from .wire.naming import clean
from .wire.own import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backends.base import Connection, Outgoing, Reply
    from .remote import Remote
    from .session import Lease, Session

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
        loss: what was lost, once it has died.
    """

    def __init__(self, client: Remote, connection: Connection) -> None:
        self.client, self.connection = client, connection
        self.number = connection.incarnation
        self.refs = RefTable()
        self.loss: Loss | None = None
        self.helpers: set[str] = set()
        self._types: dict[int, type[Ref]] = {}
        self._cwd = _cwd() if client.follow_cwd else None
        self._path = list(sys.path)
        self.loading = Loading({Ext.REF: self._ref, Ext.MODULE: self._module})
        connection.listen(_weakly(self))

    # ------------------------------------------------------------ incoming
    def open(self, reply: Reply) -> Any:
        """The reply's body as `[status, …]`, with handles for its refs."""
        body = self.loading.load(reply.body)
        if type(body) is list and len(body) == 2 and body[0] == 0 and type(body[0]) is int:
            return body  # as nearly always
        return checked(body)

    def take_types(self, records: list[Any]) -> None:
        """Make the handle classes of the types that a reply brought."""
        if len(self._types) > 2 * MAX_TYPES:
            self._types.clear()
        with malformed("type records"):
            for record in records:
                self._types[record[0]] = make_class(record)

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
        length: int | None,
        shape: list[int] | None,
        nbytes: int,
    ) -> RefState:
        manager = self.client.sessions
        name = cls._bridge_type  # type: ignore[attr-defined]
        if manager.heard:
            manager.tell(RefAdded(ref_id, session.id, name))
        size = tuple(shape) if shape is not None else None
        return RefState(self.client, self, session, lease, ref_id, name, length, size, nbytes)

    def _home(self, session_id: str, generation: int) -> tuple[Session, Lease | None]:
        """The session of a ref, and the lease that its handle holds."""
        session = self.client.sessions.by_generation(session_id, generation)
        if session is None:
            raise ProtocolError(f"a ref of unknown session {clean(str(session_id))!r}")
        if self.client.strict or session.lease is None:
            return session, None  # a strict lease ends with its scope, whatever refers to it
        return session, session.lease()

    # ------------------------------------------------------------ outgoing
    def outgoing(self, session: Session | None = None, helper: str | None = None) -> Outgoing:
        """What travels with the next message; called when its place on the wire is fixed."""
        client = self.client
        releases = None
        if self.refs.dropped or client.sessions.leases_ended:
            releases = self._releases()
        cwd = _cwd() if client.follow_cwd else None
        if (
            (session is None or session.incarnation == self.number)
            and helper is None
            and cwd == self._cwd
            and sys.path == self._path
        ):
            return releases, None
        return releases, self._declarations(session, helper, cwd) or None

    def _declarations(
        self, session: Session | None, helper: str | None, cwd: bytes | None
    ) -> list[Any]:
        declared: list[Any] = []
        if session is not None and session.incarnation != self.number:
            declared.append(["session", *session.spec()])
            self.client.sessions.declared(session, self.number)
        if helper is not None and helper not in self.helpers:
            declared.append(["helper", helper, self.client.helpers[helper].pickle])
            self.helpers.add(helper)
        if cwd != self._cwd or sys.path != self._path:
            self._path, self._cwd = list(sys.path), cwd
            directory = os.fsdecode(cwd) if cwd is not None else None
            declared.append(["environment", directory, self._path])
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
        self.client.sessions.tell(RefReleased(state.id, state.session.id, "released"))

    # ------------------------------------------------------------ news
    def evicted(self, session_id: str, ref_ids: list[int], reason: str) -> None:
        """The worker has dropped refs by itself."""
        manager = self.client.sessions
        for state in self.refs.mark(ref_ids, reason):
            if manager.heard:
                manager.tell(RefReleased(state.id, session_id, reason))


def _weakly(incarnation: Incarnation) -> Callable[[list[Any]], None]:
    """What takes the types of a connection: whoever watches it must not hold the bridge."""
    ref = weakref.ref(incarnation)

    def take_types(records: list[Any]) -> None:
        alive = ref()
        if alive is not None:
            alive.take_types(records)

    return take_types


def _cwd() -> bytes | None:
    try:
        return os.getcwdb()  # the cheaper of the two; asked at every call
    except OSError:
        return None
