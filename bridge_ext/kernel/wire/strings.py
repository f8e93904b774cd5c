"""Arrays of strings as objects, the way a frame holds a column of text: as one buffer.

Pickled object by object, a million strings take a third of a second. Here they are joined by a
character that is in none of them, or, where the same few come again and again, sent once with a
number for each place; then they also are the same objects there, as they were here.
"""

from __future__ import annotations

import pickle

from .naming import module_of, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEAST = 1_000
"""Strings from which it pays."""
_SEPARATORS = ("\x00", "\x1f", "\x1e", "\ue000", "\ue001")
"""Characters that texts hardly hold; one that is in none of these is enough."""
_SAMPLE = 512
_FEW = 4
"""So many times as many places as different strings make them few."""
_GONE = 4
"""One missing value for so many strings is the most that is looked for one by one."""


def reduce_strings(array: Any) -> tuple[Any, ...] | None:
    """How a pickle makes an array of strings; None if it is no such array."""
    if module_of(type(array)) != "numpy" or name_of(type(array)) != "ndarray":
        return None
    if array.dtype.kind != "O" or array.size < LEAST or not array.flags.writeable:
        return None
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    items: list[Any] = array.ravel(order).tolist()
    missing = _missing(items)
    if missing is None:
        return None
    coded = _coded(items)
    layout = (array.shape, order, missing)
    if coded is not None:
        return open_coded, (*coded, *layout)
    joined = _joined(items)
    return (open_joined, (*joined, *layout)) if joined is not None else None


def _missing(items: list[Any]) -> dict[int, Any] | None:
    """The places of None and NaN, where "" stands from now on; None if there is anything else."""
    kinds = set(map(type, items))
    if kinds == {str}:
        return {}
    if not kinds <= {str, float, type(None)} or str not in kinds:
        return None
    places = {i: x for i, x in enumerate(items) if type(x) is not str}
    if len(places) * _GONE > len(items):
        return None
    for place in places:
        items[place] = ""
    return places


def _coded(items: list[str]) -> tuple[list[str], Any] | None:
    """`(different strings, PickleBuffer of their numbers)`, if they are few."""
    sample = items[:: max(1, len(items) // _SAMPLE)]
    if len(set(map(id, sample))) * 2 > len(sample):
        return None
    different = list(dict.fromkeys(items))
    if len(different) * _FEW > len(items):
        return None
    import numpy

    numbers = dict(zip(different, range(len(different)), strict=True))
    found = map(numbers.__getitem__, items)
    return different, pickle.PickleBuffer(numpy.fromiter(found, numpy.uint32, len(items)))


def _joined(items: list[str]) -> tuple[Any, str] | None:
    """`(PickleBuffer of all of them, what is between two)`."""
    for separator in _SEPARATORS:
        text = separator.join(items)
        if text.count(separator) == len(items) - 1:
            return pickle.PickleBuffer(text.encode("utf-8", "surrogatepass")), separator
    return None


def open_coded(
    different: list[str], numbers: Any, shape: Any, order: Any, missing: dict[int, Any]
) -> Any:
    """The array of `_coded`."""
    import numpy

    table: Any = numpy.empty(len(different), dtype=object)
    table[:] = different
    return _array(table[numpy.frombuffer(numbers, numpy.uint32)], shape, order, missing)


def open_joined(data: Any, separator: str, shape: Any, order: Any, missing: dict[int, Any]) -> Any:
    """The array of `_joined`."""
    import numpy

    items = str(data, "utf-8", "surrogatepass").split(separator)
    flat: Any = numpy.empty(len(items), dtype=object)
    flat[:] = items
    return _array(flat, shape, order, missing)


def _array(flat: Any, shape: Any, order: Any, missing: dict[int, Any]) -> Any:
    for place, value in missing.items():
        flat[place] = value
    return flat.reshape(shape, order=order)
