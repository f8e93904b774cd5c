"""What a worker answers to one who watches, taken apart. Pure.

Each field is of its type and within bounds, or the answer is none: what is drawn of it goes into a
page, where a number that is not finite or a text with control characters does harm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .inspection import Row
from .wire.loading import malformed
from .wire.naming import clean

if TYPE_CHECKING:
    from collections.abc import Collection

_MOST = 2**64
"""Above any number of bytes or items, even of an array that repeats one."""
_DIMENSIONS = 100
"""More than an array of any library has."""
_SECONDS = 1e10
"""300 years."""
_PREVIEW = 200
"""Characters of a preview: more than a worker makes one of."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer to a look; the fields are those of `worker/watching` and `Dispatcher.status`."""

    busy: str | None
    since: float
    calls: int
    start: int | None
    number: int
    whole: bool
    held: int
    sessions: list[list[Any]]
    refs: list[Row]
    gone: list[int]
    rest: int
    unsized: int


def heard(answer: Any) -> Heard:
    """The answer to a look.

    Raises:
        ProtocolError: it is none.
    """
    with malformed("answer"):
        status, number, whole, held, sessions, rows, gone, rest, unsized = answer
        busy, since, calls, _, _, start = status
        return Heard(
            busy=None if busy is None else clean(busy),
            since=_seconds(since),
            calls=_count(calls),
            start=None if start is None else _count(start),
            number=_count(number),
            whole=whole is True,
            held=_count(held),
            sessions=[_session(*row) for row in sessions],
            refs=[_ref(Row(*row)) for row in rows],
            gone=[_count(i) for i in gone],
            rest=_count(rest),
            unsized=_count(unsized),
        )


def previews(answer: Any, wanted: Collection[int]) -> dict[int, str]:
    """The answer to a question for previews, as far as they were asked for.

    Raises:
        ProtocolError: it is none.
    """
    with malformed("answer"):
        texts = {_count(ref_id): clean(text, _PREVIEW) for ref_id, text in answer}
        return {ref_id: texts[ref_id] for ref_id in wanted if ref_id in texts}


def _session(
    session_id: Any, generation: Any, refs: Any, nbytes: Any, idle: Any, flying: Any
) -> list[Any]:
    numbers = [_count(generation), _count(refs), _count(nbytes), _seconds(idle), _count(flying)]
    return [clean(session_id), *numbers]


def _ref(row: Row) -> Row:
    shape = row.shape
    if shape is not None and len(shape) > _DIMENSIONS:
        raise ValueError(f"{len(shape)} dimensions")
    return Row(
        id=_count(row.id),
        session_id=clean(row.session_id),
        generation=_count(row.generation),
        type_name=clean(row.type_name),
        module=clean(row.module),
        length=None if row.length is None else _count(row.length),
        shape=None if shape is None else [_count(n) for n in shape],
        nbytes=_count(row.nbytes),
        estimated=row.estimated is True,
        age=_seconds(row.age),
        idle=_seconds(row.idle),
        cell=clean(row.cell),
        kept=None if row.kept is None else clean(row.kept),
        retained=_count(row.retained),
    )


def _count(x: Any) -> int:
    if type(x) is not int or not 0 <= x < _MOST:
        raise ValueError(f"{x!r:.100} is no count")
    return x


def _seconds(x: Any) -> float:
    if type(x) not in (int, float) or not math.isfinite(x) or abs(x) > _SECONDS:
        raise ValueError(f"{x!r:.100} are no seconds")
    return max(0.0, float(x))
