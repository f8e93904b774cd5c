"""Watches what a bridge holds: asks the worker for what has changed only, and joins the answers."""

from __future__ import annotations

import time
from collections import deque
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import ProtocolError
from .hearing import heard, previews
from .inspection import joined, names_of, resident
from .log import report
from .snapshot import HeldRef, Snapshot, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .handles import Ref
    from .hearing import Heard, Row
    from .incarnation import Incarnation
    from .inspection import Holders
    from .model import SessionInfo
    from .remote import Remote

_ROWS = 2_000
"""Rows of one answer: a few milliseconds at both ends."""
_TOGETHER = 0.1
"""Seconds that one look asks for the rest of a long list."""
_CURVE = 60
"""Points of the curve of memory."""
_POINT = 1.0
"""Seconds between two of them."""
_PATIENCE = 0.2
"""Seconds for an answer: it cannot come while C code holds the worker's interpreter."""


class _Worker:
    """What is known of one incarnation."""

    def __init__(self, incarnation: Incarnation) -> None:
        self.number = incarnation.number
        self.journal = 0
        self.refs: dict[int, HeldRef] = {}
        self.rows: dict[tuple[str, int], list[Any]] = {}
        self.idle: dict[tuple[str, int], int] = {}
        self.busy: str | None = None
        self.since = 0.0
        self.calls = self.held = self.count = 0
        self.start: int | None = None
        self.answers = True
        self.rest = self.unsized = 0
        self.previews: dict[int, str] = {}
        self.curve: deque[int] = deque(maxlen=_CURVE)
        self.point = 0.0


class Watch:
    """What one bridge holds, kept up to date. Not thread-safe: one thread looks.

    Args:
        client: the bridge's.
        holders: finds the names that hold handles.
        marks: gives the word for each session that is in force somewhere.
    """

    def __init__(
        self, client: Remote, holders: Holders, marks: Callable[[], Mapping[str, str]]
    ) -> None:
        self._client, self._holders, self._marks = client, holders, marks
        self._worker: _Worker | None = None
        self._seen: tuple[Any, ...] = ()
        self._version = 0

    @property
    def unfinished(self) -> bool:
        """Whether another look will tell more, though nothing changes."""
        worker = self._worker
        return worker is not None and bool(worker.rest or worker.unsized or not worker.answers)

    def pulse(self) -> tuple[Any, ...]:
        """Something that differs when there may be news; costs nothing and asks nobody."""
        client = self._client
        incarnation = client.incarnation
        if incarnation is None:
            return (client.started, client.sessions.changes)
        connection = incarnation.connection
        return (
            incarnation.number,
            client.sessions.changes,
            connection.sent,
            connection.in_flight,
            len(incarnation.refs.dropped),
            len(client.sessions.leases_ended),
        )

    # ------------------------------------------------------------ looking
    def look(self) -> Snapshot:
        """Ask, and say what there is now."""
        client = self._client
        client.flush(patient=False)
        incarnation = client.incarnation
        worker = self._of(incarnation)
        if incarnation is not None and worker is not None:
            try:
                self._ask_all(worker, incarnation)
            except ProtocolError as error:
                self._end(incarnation, error)
                incarnation = worker = self._worker = None
        rows = worker.rows if worker is not None else {}
        sessions = {s.id: s for s in joined(client, client.sessions.all(), rows)}
        refs = dict(worker.refs) if worker is not None else {}
        names = self._names(incarnation, refs)
        marks = self._marks()
        state = self._state(worker, incarnation)
        count = worker.count if worker is not None else 0
        return Snapshot(
            version=self._count_up([_lasting(s) for s in sessions.values()], refs, names, marks),
            at=time.time(),
            worker=state,
            sessions=MappingProxyType(sessions),
            refs=MappingProxyType(refs),
            names=names,
            unlisted=max(0, count - len(refs) - (worker.rest if worker is not None else 0)),
            marks=marks,
        )

    def _of(self, incarnation: Incarnation | None) -> _Worker | None:
        if incarnation is None:
            self._worker = None
        elif self._worker is None or self._worker.number != incarnation.number:
            self._worker = _Worker(incarnation)
        return self._worker

    def _ask_all(self, worker: _Worker, incarnation: Incarnation) -> None:
        """Ask for what there is to be told, for a short time."""
        end = time.monotonic() + _TOGETHER
        while self._ask(worker, incarnation) and time.monotonic() < end:
            pass
        self._measure(worker, incarnation)

    def _end(self, incarnation: Incarnation, error: ProtocolError) -> None:
        """End a worker that answers what is no answer, as whoever reads from it does."""
        self._client.end_worker(incarnation, f"broke the protocol ({error}) and was ended")

    def _ask(self, worker: _Worker, incarnation: Incarnation) -> bool:
        """One question; whether there is more to be told at once."""
        answer = self._answer(incarnation, "look", worker.journal, _ROWS)
        worker.answers = answer is not None
        if answer is None:
            return False
        self._hear(worker, heard(answer))
        return worker.rest > 0

    def _answer(self, incarnation: Incarnation, verb: str, *args: Any) -> Any:
        """What the worker answers; None if it does not, or cannot."""
        try:
            return self._client.ask(verb, *args, within=_PATIENCE)
        except (ProtocolError, ReferenceError):
            raise
        except Exception:  # it has no memory left, for one
            report("worker %d could not answer %r", incarnation.number, verb)
            return None

    def _hear(self, worker: _Worker, told: Heard) -> None:
        now = time.time()
        if told.whole:
            worker.refs, worker.previews = {}, {}
        for ref_id in told.gone:
            worker.refs.pop(ref_id, None)
            worker.previews.pop(ref_id, None)
        for row in told.refs:
            worker.refs[row.id] = _held(row, now, worker.refs.get(row.id))
            worker.previews.pop(row.id, None)
        worker.rows = {(row[0], row[1]): row for row in told.sessions}
        self._steady(worker, now)
        worker.busy, worker.since, worker.calls = told.busy, now - told.since, told.calls
        worker.count = sum(row[2] for row in told.sessions)
        worker.held, worker.start = told.held, told.start
        worker.rest, worker.unsized = told.rest, told.unsized
        worker.journal = told.number  # the last: what an interrupt cuts short is told again

    def _steady(self, worker: _Worker, now: float) -> None:
        """Let sessions be idle since the same second in each answer, however long it took."""
        idle: dict[tuple[str, int], int] = {}
        for key, row in worker.rows.items():
            if row[4] > 0:
                since, before = now - row[4], worker.idle.get(key, 0)
                idle[key] = before if abs(since - before) < 1.5 else int(since)
                row[4] = now - idle[key]
        worker.idle = idle

    # ------------------------------------------------------------ what it is made of
    def _measure(self, worker: _Worker, incarnation: Incarnation) -> None:
        """A point of the curve, if it is time for one."""
        now = time.monotonic()
        if now >= worker.point + _POINT:
            rss = resident(incarnation.connection.pid)
            if rss is not None:
                worker.curve.append(rss)
            worker.point = now

    def _state(self, worker: _Worker | None, incarnation: Incarnation | None) -> WorkerState | None:
        if worker is None or incarnation is None:
            return None
        connection = incarnation.connection
        busy, since = worker.busy, worker.since
        if not worker.answers and worker.busy is None:
            busy, since = connection.running, worker.since
        return WorkerState(
            pid=connection.pid,
            incarnation=incarnation.number,
            answers=worker.answers,
            busy=busy,
            since=since,
            calls=worker.calls,
            rss=resident(connection.pid),
            start=worker.start,
            held=worker.held,
            curve=tuple(worker.curve),
        )

    def _names(
        self, incarnation: Incarnation | None, refs: Iterable[int]
    ) -> Mapping[int, tuple[str, ...]]:
        """Who holds the refs here."""
        if incarnation is None:
            return {}
        single: dict[int, Ref] = {}
        several: dict[int, list[Ref]] = {}
        for ref_id in refs:
            state = incarnation.refs.get(ref_id)
            living = state.handle if state is not None else None
            if living is None or state is None:
                continue
            if state.twins:
                several[ref_id] = state.handles()
            elif (handle := living()) is not None:
                single[ref_id] = handle
        found = self._holders([*single.values(), *chain(*several.values())])
        names = {i: found.get(id(handle), ()) for i, handle in single.items()}
        return {**names, **{i: names_of(held, found) for i, held in several.items() if held}}

    def _count_up(self, *seen: Any) -> int:
        if seen != self._seen:
            self._seen = seen
            self._version += 1
        return self._version

    # ------------------------------------------------------------ previews
    def previews(self, ref_ids: Iterable[int]) -> Mapping[int, str]:
        """A short text of what is in each of these refs, as far as the worker answers."""
        worker = self._worker
        if worker is None:
            return {}
        wanted = [i for i in ref_ids if i not in worker.previews]
        incarnation = self._client.incarnation
        if wanted and worker.answers and incarnation is not None:
            try:
                answer = self._answer(incarnation, "previews", wanted)
                worker.previews.update(previews(answer or (), wanted))
            except ProtocolError as error:
                self._end(incarnation, error)
        return worker.previews


def _lasting(session: SessionInfo) -> tuple[Any, ...]:
    """What of a session does not change by itself."""
    return (
        session.id,
        session.status,
        session.worker,
        session.refs,
        session.nbytes,
        session.ttl_seconds,
        session.max_refs,
        session.tags,
        session.owners,
    )


def _held(row: Row, now: float, before: HeldRef | None) -> HeldRef:
    return HeldRef(
        id=row.id,
        session_id=row.session_id,
        type_name=row.type_name.rpartition(".")[2],
        module=row.module,
        length=row.length,
        shape=tuple(row.shape) if row.shape is not None else None,
        nbytes=row.nbytes,
        estimated=row.estimated,
        retained=row.retained,
        made_at=before.made_at if before is not None else now - row.age,
        cell=row.cell,
        kept_as=row.kept,
    )
