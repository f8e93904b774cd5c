"""The order of things in a view: sessions as groups, each followed by its refs. Pure."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..kernel.model import SessionInfo
from ..kernel.snapshot import HeldRef

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from ..kernel.snapshot import Snapshot

Line = SessionInfo | HeldRef
"""One line of a view: a group's head, or a ref in the group of the last head before it."""

COLUMNS = ("name", "shape", "size", "held", "made", "cell")
_FIRST_DESCENDING = frozenset(("shape", "size", "made"))
"""Columns of which the largest, or the latest, is what one looks for."""
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 20
"""Digits that numbers in a text are filled up to: then they are in order as texts."""


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, and which way."""

    column: str = "size"
    descending: bool = True

    def clicked(self, column: str) -> Order:
        """The order once the head of a column was clicked."""
        if column == self.column:
            return Order(column, not self.descending)
        return Order(column, column in _FIRST_DESCENDING)


@dataclass(frozen=True, slots=True)
class Listing:
    """The lines of a view from top to bottom.

    Attributes:
        heads: the places of the heads in it.
        found: how many refs match the filter, whether or not their group is folded.
    """

    lines: list[Line]
    heads: list[int]
    found: int

    def head_of(self, index: int) -> int:
        """The place of the head of the group that a line is in."""
        return self.heads[bisect_right(self.heads, index) - 1]


def key_of(line: Line) -> str:
    """What names a line to the front end."""
    return f"s:{line.id}" if isinstance(line, SessionInfo) else f"r:{line.id}"


def title(session: SessionInfo) -> str:
    """A session's id if the user gave it, else where it was made."""
    return session.id if session.kind == "named" else session.cell


def held_sessions(snapshot: Snapshot) -> list[SessionInfo]:
    """The sessions that count: an auto-session without refs is nobody's concern."""
    return [s for s in snapshot.sessions.values() if s.refs or s.kind == "named"]


def listing(snapshot: Snapshot, order: Order, text: str, folded: Container[str]) -> Listing:
    """What a view shows.

    Args:
        snapshot: what there is.
        order: of groups and within them.
        text: words that all must be found in a ref, its names or its session.
        folded: ids of sessions whose refs are not shown.
    """
    words = text.lower().split()
    groups: dict[str, list[HeldRef]] = {id: [] for id in snapshot.sessions}
    titles = {id: title(s) for id, s in snapshot.sessions.items()}
    for ref in snapshot.refs.values():
        group = groups.get(ref.session_id)
        if group is not None and (
            not words or _matches(words, ref, titles[ref.session_id], snapshot.names)
        ):
            group.append(ref)
    sessions = [
        s for id, s in snapshot.sessions.items() if groups[id] or _shown(s, words, snapshot)
    ]
    sessions.sort(key=_session_key(order), reverse=order.descending)
    by = _ref_key(order, snapshot.names)
    lines: list[Line] = []
    heads: list[int] = []
    for session in sessions:
        heads.append(len(lines))
        lines.append(session)
        if session.id not in folded:
            group = groups[session.id]
            group.sort(key=by, reverse=order.descending)
            lines += group
    return Listing(lines, heads, sum(map(len, groups.values())))


def _shown(session: SessionInfo, words: list[str], snapshot: Snapshot) -> bool:
    """Whether a session without refs to show is shown."""
    if words:
        return _has(words, title(session))
    return session.kind == "named" or session.id in snapshot.marks


def _matches(
    words: list[str], ref: HeldRef, title: str, names: Mapping[int, tuple[str, ...]]
) -> bool:
    held = " ".join(names.get(ref.id, ()))
    return _has(
        words, f"{ref.module} {ref.type_name} {title} {ref.cell} {held} {ref.kept_as or ''}"
    )


def _has(words: list[str], text: str) -> bool:
    text = text.lower()
    return all(word in text for word in words)


def _natural(text: str) -> str:
    """Numbers in a text count as numbers: cell [9] comes before cell [10]."""
    return _NUMBER.sub(lambda number: number[0].zfill(_DIGITS), text)


def _session_key(order: Order) -> Callable[[SessionInfo], Any]:
    keys: dict[str, Callable[[SessionInfo], Any]] = {
        "name": lambda s: _natural(title(s)),
        "shape": lambda s: s.refs,
        "size": lambda s: s.nbytes,
        "held": lambda s: s.owners,
        "made": lambda s: s.created_at,
        "cell": lambda s: _natural(s.cell),
    }
    by = keys[order.column]
    return lambda s: (by(s), s.created_at)


def _ref_key(order: Order, names: Mapping[int, tuple[str, ...]]) -> Callable[[HeldRef], Any]:
    keys: dict[str, Callable[[HeldRef], Any]] = {
        "name": lambda r: (r.type_name, r.module),
        "shape": _items,
        "size": lambda r: r.nbytes,
        "held": lambda r: names.get(r.id, ()),
        "made": lambda r: r.made_at,
        "cell": lambda r: _natural(r.cell),
    }
    by = keys[order.column]
    return lambda r: (by(r), r.id)


def _items(ref: HeldRef) -> int:
    if ref.shape is not None:
        return math.prod(ref.shape)
    return -1 if ref.length is None else ref.length
