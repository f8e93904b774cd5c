"""The records a user sees: frozen, plain, and safe to hold."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from .errors import BridgeUsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(str, enum.Enum):
    """Where a session is in its life; `TRANSITIONS` has the moves."""

    INITIALIZING = "initializing"
    """Named, and not yet known to a worker."""
    ACTIVE = "active"
    RELEASING = "releasing"
    """Being released; the worker has not acknowledged it yet."""
    RELEASED = "released"
    LOST = "lost"
    """Its worker has died."""


TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.INITIALIZING: frozenset((Status.ACTIVE, Status.RELEASING, Status.RELEASED)),
        Status.ACTIVE: frozenset((Status.RELEASING, Status.RELEASED, Status.LOST)),
        Status.RELEASING: frozenset((Status.RELEASED, Status.LOST)),
        Status.RELEASED: frozenset(),
        Status.LOST: frozenset(),
    }
)
"""Status to the statuses that may follow. A session goes from active to released at once where
the worker ends it by itself (expiry)."""


@dataclass(frozen=True, slots=True)
class Released:
    """What a release freed.

    Attributes:
        refs: how many objects.
        nbytes: their size in bytes, as far as it is known.
    """

    refs: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session, as it was when asked.

    Attributes:
        kind: "auto" (made by the bridge for a cell or thread) or "named".
        worker: pid of its worker, or None if no worker knows it yet.
        created_at: seconds since the epoch.
        nbytes: bytes of its refs, shared memory counted once.
        idle: seconds since the last call in it ended.
        cell: where it was made: "cell [7]", "thread MainThread".
    """

    id: str
    kind: str
    status: Status
    worker: int | None
    refs: int
    nbytes: int
    created_at: float
    idle: float
    ttl_seconds: float
    max_refs: int
    overflow: str
    tags: Mapping[str, str]
    owners: tuple[str, ...]
    cell: str


@dataclass(frozen=True, slots=True)
class RefInfo:
    """One ref, as it was when asked.

    Attributes:
        nbytes: its size in bytes: of arrays, frames and containers with what is in them.
        nbytes_estimated: whether nbytes was sampled, or leaves out some of what the object
            refers to.
        summary: the ref's inert text.
        age: seconds since it was made.
        idle: seconds since it was last used.
        cell: where it was made, whatever its session.
        held_by: names that hold it here; "Python code" where none is found; empty if nothing
            in this process holds it.
        kept_as: the name it is kept by in its session.
        retained: bytes that it keeps in memory: more than nbytes where it is a view of more.
    """

    id: int
    session_id: str
    type_name: str
    module: str
    nbytes: int
    nbytes_estimated: bool
    length: int | None
    shape: tuple[int, ...] | None
    summary: str
    age: float
    idle: float
    cell: str
    held_by: tuple[str, ...]
    kept_as: str | None
    retained: int = 0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The worker, as it was when asked.

    Attributes:
        pid: None if there is none (the next call starts one).
        incarnation: how many workers this bridge has started.
        busy: what runs there now, or None.
        since: for how many seconds it has been running.
        rss: resident memory in bytes, where the system tells.
        calls: how many calls this incarnation has served.
        transport: how bytes cross: "socket, shared memory" (which large buffers go through),
            "socket" where the system has no such memory, or gave none when it was last asked, or
            "memory" within this process.
        nbytes: bytes of all refs, shared memory counted once.
        rss_at_start: resident memory in bytes when it had started: the interpreter. What is in
            neither is modules, caches, and memory that was freed and not given back.
    """

    pid: int | None
    incarnation: int
    busy: str | None
    since: float
    rss: int | None
    sessions: int
    refs: int
    calls: int
    transport: str
    nbytes: int = 0
    rss_at_start: int | None = None


@dataclass(frozen=True, slots=True)
class HelperInfo:
    """A registered helper."""

    name: str
    signature: str
    doc: str


@dataclass(frozen=True, slots=True)
class Options:
    """Runtime options; None is "not given".

    Attributes:
        session: the session to run in, by id.
        timeout: seconds until the call is given up.
        kill: whether a timeout may end the worker.
        idempotent: whether the call may run twice, should the worker die.
        fetch: True brings results by value, False leaves them as refs.

    Raises:
        BridgeUsageError: a value that is none of these.
    """

    session: str | None = None
    timeout: float | None = None
    kill: bool | None = None
    idempotent: bool | None = None
    fetch: bool | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None and (
            type(self.timeout) is bool
            or not isinstance(self.timeout, (int, float))
            or not self.timeout > 0
        ):
            raise BridgeUsageError(f"timeout={self.timeout!r}: give seconds, more than 0")
        for name in ("kill", "idempotent", "fetch"):
            value = getattr(self, name)
            if value is not None and type(value) is not bool:
                raise BridgeUsageError(f"{name}={value!r}: give True, False or None")

    def over(self, outer: Options, *, hide_session: bool) -> Options:
        """These options, and the outer ones where these leave a gap."""
        session = None if hide_session else outer.session
        return Options(
            session if self.session is None else self.session,
            outer.timeout if self.timeout is None else self.timeout,
            outer.kill if self.kill is None else self.kill,
            outer.idempotent if self.idempotent is None else self.idempotent,
            outer.fetch if self.fetch is None else self.fetch,
        )


# ---------------------------------------------------------------- events
@dataclass(frozen=True, slots=True)
class SessionCreated:
    """A session was made."""

    session_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class SessionReleased:
    """A session has ended; `reason` as in RefNotFoundError."""

    session_id: str
    reason: str
    refs: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class SessionLost:
    """A session's worker has died."""

    session_id: str
    why: str


@dataclass(frozen=True, slots=True)
class RefAdded:
    """A ref has its first handle here."""

    ref_id: int
    session_id: str
    type_name: str


@dataclass(frozen=True, slots=True)
class RefReleased:
    """A ref has ended; `reason` as in RefNotFoundError."""

    ref_id: int
    session_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call is about to be sent.

    Attributes:
        number: pairs it with its CallEnded.
        call: what is called, as text: "math.sqrt", "DataFrame.head".
        cell: where it is made.
        session_id: the session it runs in, or "" if that is made for it.
        at: seconds since the epoch.
    """

    number: int
    call: str
    cell: str
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call has ended.

    Attributes:
        session_id: the session it ran in, or "" if it was refused before it had one.
        seconds: from its start.
        error: the exception's type and text, or None.
    """

    number: int
    call: str
    cell: str
    session_id: str
    seconds: float
    error: str | None


Event = (
    SessionCreated
    | SessionReleased
    | SessionLost
    | RefAdded
    | RefReleased
    | CallStarted
    | CallEnded
)
