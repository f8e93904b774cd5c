"""What a store holds, as plain rows. They run none of the objects' code."""

from __future__ import annotations

import time

from ..wire.naming import module_of, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .holding import Entry, Session

    Row = list[Any]
    Sessions = dict[str, Session]
    Refs = dict[int, Entry]


def session_rows(sessions: Sessions, refs: Refs) -> list[Row]:
    """`[id, generation, refs, nbytes, idle seconds, calls in flight]` of each session."""
    now = time.monotonic()
    return [
        [
            s.spec.id,
            s.spec.generation,
            len(s.by_object),
            s.nbytes,
            0.0 if s.flying else now - s.idle_since,
            s.flying,
        ]
        for s in sessions.values()
    ]


def ref_row(sessions: Sessions, refs: Refs, ref_id: int) -> Row | None:
    """The facts of one ref."""
    entry = refs.get(ref_id)
    return row_of(entry, time.monotonic()) if entry is not None else None


def ref_rows(sessions: Sessions, refs: Refs, session_id: str | None) -> list[Row]:
    """The facts of the refs of one session, or of all, in the order they were made."""
    if session_id is None:
        entries = [e for s in sessions.values() for e in s.by_object.values()]
    else:
        session = sessions.get(session_id)
        entries = list(session.by_object.values()) if session is not None else []
    now = time.monotonic()
    return [row_of(e, now) for e in sorted(entries, key=_first_id)]


def ref_count(sessions: Sessions, refs: Refs) -> int:
    """How many refs are held."""
    return sum(len(s.by_object) for s in sessions.values())


def _first_id(entry: Entry) -> int:
    return entry.ids[0]


def row_of(entry: Entry, now: float) -> Row:
    """The facts of one entry; the kernel's `Row` (in `inspection`) has their names."""
    length, shape, _, _ = entry.facts
    spec = entry.session.spec
    return [
        entry.ids[0],
        spec.id,
        spec.generation,
        name_of(type(entry.obj)),
        module_of(type(entry.obj)),
        length,
        None if shape is None else list(shape),
        entry.nbytes,
        entry.estimated,
        now - entry.made,
        now - entry.used,
        entry.cell,
        entry.kept,
        entry.retained,
    ]
