"""What somebody who watches a store is told: what has changed since, and honest sizes.

Objects are measured here, by whoever asks, for a short time and outside the store's lock.
"""

from __future__ import annotations

import os
import time
from itertools import islice

from .books import MAX_LISTED
from .views import row_of, session_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .books import Journal
    from .holding import Entry
    from .sizing import Size
    from .store import Store

MEASURING = 0.05
"""Seconds that the objects of one question are measured at most; the control channel's answer is
waited for four times as long."""
_BUSY = 0.005
"""The same for one who watches, seven times a second, while a call runs: 3 % of its time."""
_IDLE = 0.02
"""The same while none runs."""


def look(store: Store, number: int, most: int, begun: float | None) -> list[Any]:
    """What has changed since the last look.

    Args:
        store: what is watched.
        number: what the last answer began with, or 0.
        most: rows to send at once.
        begun: monotonic time; when the call that runs began.

    Returns:
        `[number, whole, bytes held, rows of sessions, rows of refs, ids that have ended, how many
        rows are left, how many of those sent are not measured yet]`. If `whole`, what was told
        before counts no more. Ids that have ended come before the rows.
    """
    journal, whole, entries = store.view(lambda sessions, refs: _take(store, refs, number, most))
    measure_all(store, entries, _BUSY if begun is not None else _IDLE, begun)
    return store.view(lambda sessions, refs: _tell(store, journal, whole, sessions, entries))


def _take(
    store: Store, refs: dict[int, Entry], number: int, most: int
) -> tuple[Journal, bool, list[Entry]]:
    held = (entry for ref_id, entry in refs.items() if entry.ids[0] == ref_id)
    journal, whole = store.books.read(number, held)
    ids = journal.take(most)
    if len(ids) < most and journal.unsized:
        ids += list(islice(journal.unsized, most - len(ids)))
    taken = set(ids)
    journal.unsized = {i: None for i in journal.unsized if i not in taken}
    return journal, whole, [refs[i] for i in ids if i in refs]


def _tell(
    store: Store,
    journal: Journal,
    whole: bool,
    sessions: dict[str, Any],
    entries: list[Entry],
) -> list[Any]:
    now = time.monotonic()
    held = [e for e in entries if e.session.by_object.get(id(e.obj)) is e]
    for entry in held:
        journal.changed.pop(entry.ids[0], None)  # by its being measured: it is told of here
        if entry.sized <= entry.used:
            journal.unsized[entry.ids[0]] = None
    return [
        journal.number,
        whole,
        store.books.total.nbytes,
        session_rows(sessions, {}),
        [row_of(e, now) for e in held],
        journal.take_gone(),
        len(journal.changed),
        len(journal.unsized),
    ]


def measure_session(store: Store, session_id: str | None, begun: float | None) -> None:
    """Measure what one session holds, or all of them, as far as there is time."""

    def held(sessions: dict[str, Any], refs: dict[int, Entry]) -> list[Entry]:
        if session_id is None:
            return list(islice(refs.values(), MAX_LISTED))
        session = sessions.get(session_id)
        return list(islice(session.by_object.values(), MAX_LISTED)) if session is not None else []

    measure_all(store, store.view(held), MEASURING, begun)


def measure_all(
    store: Store, entries: Iterable[Entry], seconds: float, begun: float | None
) -> None:
    """Measure those that were used since they last were, as far as there is time.

    One that was used since `begun`, when a call that runs began, may be changing all the time: it
    has a size then, and is measured again.
    """
    from .sizing import measure  # with what it knows of libraries

    end = time.monotonic() + seconds
    for entry in entries:
        if entry.sized > entry.used:
            continue
        now = time.monotonic()
        if now > end:
            return
        settled = begun is None or entry.used < begun
        _keep(store, entry, measure(entry.obj, entry.facts), now if settled else 0.0)


def _keep(store: Store, entry: Entry, size: Size, sized: float) -> None:
    def keep(sessions: object, refs: object) -> None:
        if entry.session.by_object.get(id(entry.obj)) is entry:
            entry.sized = sized
            store.books.sized(entry, size)

    store.view(keep)


def resident() -> int | None:
    """Resident memory of this process in bytes, where the system tells."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
