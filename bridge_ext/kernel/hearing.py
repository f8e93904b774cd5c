"""What a worker tells of itself and what it holds, taken apart. Pure.

Each field is of its type and within bounds, or the answer is none: what is drawn of it goes into a
page, where a number that is not finite or a text with control characters does harm.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ProtocolError
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


class Row(NamedTuple):
    """What a worker tells of one ref, in this order; see `worker/views`."""

    id: int
    session_id: str
    generation: int
    type_name: str
    module: str
    length: int | None
    shape: tuple[int, ...] | None
    nbytes: int
    estimated: bool
    age: float
    idle: float
    cell: str
    kept: str | None
    retained: int


class Heard(NamedTuple):
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
        busy, since, calls, _, _, start = status_of(status)
        return Heard(
            busy=busy,
            since=since,
            calls=calls,
            start=start,
            number=_count(number),
            whole=whole is True,
            held=_count(held),
            sessions=[_session(*row) for row in sessions],
            refs=[_ref(Row(*row)) for row in rows],
            gone=[_count(i) for i in gone],
            rest=_count(rest),
            unsized=_count(unsized),
        )


def status_of(answer: Any) -> tuple[str | None, float, int, int, int, int | None]:
    """What a worker does and holds: see `Dispatcher.status`; the last is None if it is not known.

    Raises:
        ProtocolError: it is no such thing.
    """
    with malformed("status"):
        busy, since, calls, refs, nbytes, start = answer
        counts = _count(calls), _count(refs), _count(nbytes)
        shown = None if busy is None else clean(busy)
        return shown, _seconds(since), *counts, None if start is None else _count(start)


def session_rows(answer: Any) -> list[list[Any]]:
    """The rows of sessions, see `worker/views`.

    Raises:
        ProtocolError: they are none.
    """
    with malformed("sessions"):
        return [_session(*row) for row in answer]


def ref_rows(answer: Any) -> list[Row]:
    """The rows of refs.

    Raises:
        ProtocolError: they are none.
    """
    with malformed("refs"):
        return [_ref(Row(*row)) for row in answer]


def released(answer: Any) -> tuple[int, int]:
    """How many refs were released, and how many bytes.

    Raises:
        ProtocolError: it does not say.
    """
    with malformed("release"):
        refs, nbytes = answer[:2]
        return _count(refs), _count(nbytes)


def measures(
    length: Any, shape: Any, nbytes: Any
) -> tuple[int | None, tuple[int, ...] | None, int]:
    """The length, the shape and the size of an object.

    Raises:
        ProtocolError: they are none.
    """
    try:  # as `malformed` does, at a third of its cost: each new ref comes here
        size = None if shape is None else tuple(_shape(shape))
        return None if length is None else _count(length), size, _count(nbytes)
    except ValueError as error:
        raise ProtocolError(f"malformed ref ({error})") from error


def evicted(details: Any) -> tuple[str, list[int]]:
    """The news that refs are gone: of which session, and which.

    Raises:
        ProtocolError: they are none.
    """
    with malformed("news"):
        session_id, ref_ids = details
        return clean(session_id), [_count(i) for i in ref_ids]


def ended(details: Any) -> tuple[str, int, str, int, int]:
    """The news that a session has ended: its id and generation, why, and what that has freed.

    Raises:
        ProtocolError: they are none.
    """
    with malformed("news"):
        session_id, generation, reason, refs, nbytes = details
        return clean(session_id), _count(generation), clean(reason), _count(refs), _count(nbytes)


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
    length, shape, nbytes = measures(row.length, row.shape, row.nbytes)
    return Row(
        id=_count(row.id),
        session_id=clean(row.session_id),
        generation=_count(row.generation),
        type_name=clean(row.type_name),
        module=clean(row.module),
        length=length,
        shape=shape,
        nbytes=nbytes,
        estimated=row.estimated is True,
        age=_seconds(row.age),
        idle=_seconds(row.idle),
        cell=clean(row.cell),
        kept=None if row.kept is None else clean(row.kept),
        retained=_count(row.retained),
    )


def _shape(x: Any) -> list[int]:
    if type(x) is not list or len(x) > _DIMENSIONS:
        raise ValueError(f"{x!r:.100} is no shape")
    return [_count(n) for n in x]


def _count(x: Any) -> int:
    if type(x) is not int or not 0 <= x < _MOST:
        raise ValueError(f"{x!r:.100} is no count")
    return x


def _seconds(x: Any) -> float:
    if type(x) not in (int, float) or not math.isfinite(x) or abs(x) > _SECONDS:
        raise ValueError(f"{x!r:.100} are no seconds")
    return max(0.0, float(x))
