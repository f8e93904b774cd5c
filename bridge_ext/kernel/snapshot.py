"""What a bridge holds at one moment, as frozen records: what a view of it sees, and all it sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .model import SessionInfo


@dataclass(frozen=True, slots=True)
class HeldRef:
    """One ref, as the worker told of it.

    Attributes:
        nbytes: its size in bytes; `estimated`, if that was sampled or is not the whole.
        retained: bytes that it keeps in memory: more than nbytes where it is a view of more.
        made_at: seconds since the epoch.
    """

    id: int
    session_id: str
    type_name: str
    module: str
    length: int | None
    shape: tuple[int, ...] | None
    nbytes: int
    estimated: bool
    retained: int
    made_at: float
    cell: str
    kept_as: str | None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The worker.

    Attributes:
        answers: whether it has answered; it cannot while C code holds its interpreter, and then
            all but `rss` is what it said last.
        busy: what runs there, or None.
        since: seconds since the epoch; when that began.
        rss: resident memory in bytes, where the system tells, and `start`, when it had started.
        held: bytes of all refs, shared memory counted once.
        curve: resident memory in bytes, about once a second, the newest last.
    """

    pid: int
    incarnation: int
    answers: bool
    busy: str | None
    since: float
    calls: int
    rss: int | None
    start: int | None
    held: int
    curve: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it.

    Attributes:
        version: another number whenever sessions, refs or names are others.
        at: seconds since the epoch.
        worker: None if there is none; the next call starts one.
        sessions: by id, in the order they were made.
        refs: by id, in the order they were made.
        names: names that hold a ref here, by its id; empty where Python code holds it that
            nobody found; a ref without an entry is held by nothing here.
        unlisted: how many refs there are beside `refs`, which are too many to be listed.
        marks: a word for each session that is in force somewhere, by its id.
    """

    version: int
    at: float
    worker: WorkerState | None
    sessions: Mapping[str, SessionInfo]
    refs: Mapping[int, HeldRef]
    names: Mapping[int, tuple[str, ...]]
    unlisted: int
    marks: Mapping[str, str]
