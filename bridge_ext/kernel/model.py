"""The records a user sees: frozen, plain, and safe to hold.

Nothing imports this before one is made: `dataclasses`, and the classes that it makes, take a fifth
of the time to the first call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .status import Status


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
