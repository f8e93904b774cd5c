"""Values as bytes: what travels by value does so type for type, and nothing is mistaken.

By value are exactly the types that have a rule here, among them the containers list, tuple, dict,
set and frozenset; a subclass is an object and not by value. What msgpack has no form for becomes a
msgpack *extension*: user data can never look like one, so there are no magic keys.

    scalar                      extension with its bytes          Ext.INT, Ext.DECIMAL, …
    tuple, set, datetime, …     a list whose first item is a mark [mark, item, item, …]

`Lowering` turns a value into what msgpack packs, and `loading.Loading` builds it again. What is
neither plain nor a container is a *leaf*, and whoever encodes says what becomes of it.
"""

from __future__ import annotations

import sys

from . import marks
from .limits import MAX_DEPTH
from .marks import Ext, Mark
from .own import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Lower = Callable[["Lowering", Any, int], Any]


class TooLarge(Exception):
    """The value's encoding would exceed the budget."""


# ---------------------------------------------------------------- lowering
class Lowering:
    """One value on its way out: what it may cost, and what becomes of its leaves.

    Args:
        leaf: called with every object that is not by value; returns what to pack for it, or
            raises.
        deep: the same for a container nested deeper than `MAX_DEPTH`.
        budget: bytes the encoding may have, counted from below: no value costs more time than
            its budget, however its parts are shared.
    """

    __slots__ = ("_open", "budget", "deep", "leaf")

    def __init__(self, leaf: Callable[[Any], Any], deep: Callable[[Any], Any], budget: int) -> None:
        self.leaf, self.deep, self.budget = leaf, deep, budget
        self._open: set[int] = set()

    def lower(self, x: Any, depth: int = 0) -> Any:
        """What msgpack packs for `x`.

        Raises:
            TooLarge: the budget is spent.
        """
        rule = _RULES.get(type(x)) or _late_rule(type(x))
        return self.leaf(x) if rule is None else rule(self, x, depth)

    def charge(self, size: int) -> None:
        """Take from the budget."""
        self.budget -= size
        if self.budget < 0:
            raise TooLarge

    def flat(self, items: Any) -> bool:
        """Whether all items are scalars msgpack has a form for; charges them if so."""
        self.charge(len(items))
        kinds = set(map(type, items))
        if not kinds <= _FLAT:
            return False
        if str in kinds or bytes in kinds:
            self.charge(sum(len(x) for x in items if type(x) is str or type(x) is bytes))
        return True

    def children(self, container: Any, items: list[Any], depth: int, mark: Mark | None) -> Any:
        """Lower each item of a container that is not flat; a cycle ends in a leaf."""
        key = id(container)
        if key in self._open:
            return self.leaf(container)
        if depth >= MAX_DEPTH:
            return self.deep(container)
        self._open.add(key)
        try:
            out = [] if mark is None else [mark.ext]
            after = depth + 1
            for item in items:  # no call of `lower`: one frame less of Python's stack a level
                rule = _RULES.get(type(item)) or _late_rule(type(item))
                out.append(self.leaf(item) if rule is None else rule(self, item, after))
            return out
        finally:
            self._open.discard(key)


def _plain(low: Lowering, x: Any, depth: int) -> Any:
    return x


def _sized(low: Lowering, x: Any, depth: int) -> Any:
    low.charge(len(x))
    return x


def _list(low: Lowering, x: list[Any], depth: int) -> Any:
    items = list(x)
    if depth < MAX_DEPTH and low.flat(items):
        return items
    return low.children(x, items, depth, None)


def _sequence(mark: Mark) -> Lower:
    def rule(low: Lowering, x: Any, depth: int) -> Any:
        items = list(x)
        if depth < MAX_DEPTH and low.flat(items):
            return [mark.ext, *items]
        return low.children(x, items, depth, mark)

    return rule


def _dict(low: Lowering, x: dict[Any, Any], depth: int) -> Any:
    copy = dict(x)
    flat_keys = low.flat(copy)
    if flat_keys and depth < MAX_DEPTH and low.flat(copy.values()):
        return copy
    if flat_keys:
        values = low.children(x, list(copy.values()), depth, None)
        return dict(zip(copy, values, strict=True)) if type(values) is list else values
    pairs = [part for pair in copy.items() for part in pair]
    return low.children(x, pairs, depth, marks.DICT)


def _ext(code: int, encode: Callable[[Any], bytes]) -> Lower:
    def rule(low: Lowering, x: Any, depth: int) -> Any:
        data = encode(x)
        low.charge(len(data))
        return msgpack.ExtType(code, data)

    return rule


def _fields(mark: Mark, fields: Callable[[Any], tuple[Any, ...]]) -> Lower:
    """A rule for an immutable record of a few by-value fields."""

    def rule(low: Lowering, x: Any, depth: int) -> Any:
        return [mark.ext, *(low.lower(v, depth) for v in fields(x))]

    return rule


def _slice(low: Lowering, x: slice, depth: int) -> Any:
    return low.children(x, [x.start, x.stop, x.step], depth, marks.SLICE)


def _int_bytes(x: int) -> bytes:
    return x.to_bytes(x.bit_length() // 8 + 1, "big", signed=True)


_FLAT = frozenset((type(None), bool, int, float, str, bytes))
_RULES: dict[type, Lower | None] = {
    type(None): _plain,
    bool: _plain,
    int: _plain,  # beyond 64 bits the packer raises OverflowError, see `pack`
    float: _plain,
    str: _sized,
    bytes: _sized,
    complex: _ext(Ext.COMPLEX, lambda x: marks.COMPLEX.pack(x.real, x.imag)),
    bytearray: _ext(Ext.BYTEARRAY, bytes),
    list: _list,
    tuple: _sequence(marks.TUPLE),
    set: _sequence(marks.SET),
    frozenset: _sequence(marks.FROZENSET),
    dict: _dict,
    range: _fields(marks.RANGE, lambda x: (x.start, x.stop, x.step)),
    slice: _slice,
}


# ---------------------------------------------------------------- types known once imported
def _with_zone(rule: Lower) -> Lower:
    """The rule for a date type, unless its time zone is one that cannot be named."""

    def checked(low: Lowering, x: Any, depth: int) -> Any:
        return rule(low, x, depth) if _zone_travels(x.tzinfo) else low.leaf(x)

    return checked


def _zone_travels(zone: Any) -> bool:
    if zone is None:
        return True
    name = (type(zone).__module__, type(zone).__qualname__)
    return name == ("datetime", "timezone") or (
        name[1] == "ZoneInfo" and _is(type(zone), "zoneinfo", "ZoneInfo") and zone.key is not None
    )


def _zone(low: Lowering, zone: Any) -> Any:
    if zone is None:
        return None
    if type(zone).__name__ == "timezone":
        return [marks.TIMEZONE.ext, *(low.lower(v) for v in zone.__getinitargs__())]
    return [marks.ZONE.ext, zone.key]


def _datetime(low: Lowering, x: Any, depth: int) -> Any:
    fields = (x.year, x.month, x.day, x.hour, x.minute, x.second, x.microsecond, x.fold)
    return [marks.DATETIME.ext, *fields, _zone(low, x.tzinfo)]


def _time(low: Lowering, x: Any, depth: int) -> Any:
    return [marks.TIME.ext, x.hour, x.minute, x.second, x.microsecond, x.fold, _zone(low, x.tzinfo)]


def _numpy_scalar(low: Lowering, x: Any, depth: int) -> Any:
    return msgpack.ExtType(Ext.NUMPY, msgpack.packb([x.dtype.str, x.tobytes()]))


_LATE: dict[tuple[str, str], Lower] = {
    ("datetime", "datetime"): _with_zone(_datetime),
    ("datetime", "time"): _with_zone(_time),
    ("datetime", "date"): _fields(marks.DATE, lambda x: (x.year, x.month, x.day)),
    ("datetime", "timedelta"): _fields(
        marks.TIMEDELTA, lambda x: (x.days, x.seconds, x.microseconds)
    ),
    ("decimal", "Decimal"): _ext(Ext.DECIMAL, lambda x: str(x).encode()),
    ("fractions", "Fraction"): _fields(marks.FRACTION, lambda x: (x.numerator, x.denominator)),
    ("uuid", "UUID"): _ext(Ext.UUID, lambda x: x.bytes + bytes([(x.is_safe.value or 0) & 255])),
}


class Numpy:
    """Whether numpy scalars travel by value: where the kernel has numpy."""

    scalars = True


def _is(t: type, module: str, name: str) -> bool:
    """Whether `t` is that class of an imported module, and not one that only says so."""
    found = sys.modules.get(module)
    return found is not None and vars(found).get(name) is t


def _late_rule(t: type) -> Lower | None:
    """The rule for a type met for the first time; None makes its instances leaves."""
    module, name = t.__module__, t.__qualname__
    rule = _LATE.get((module, name)) if isinstance(module, str) else None
    if rule is not None and not _is(t, module, name):
        rule = None
    if rule is None and module == "numpy":
        rule = _numpy_rule(t)
    if rule is not None:
        _RULES[t] = rule
    return rule


def _numpy_rule(t: type) -> Lower | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not Numpy.scalars or not issubclass(t, vars(numpy).get("generic", ())):
        return None
    fixed = (numpy.bool_, numpy.number, numpy.datetime64, numpy.timedelta64)
    dtype = numpy.dtype(t) if issubclass(t, fixed) else None
    return _numpy_scalar if dtype is not None and dtype.type is t else None


# ---------------------------------------------------------------- packing
def _pack_default(x: Any) -> Any:
    if type(x) is int:
        return msgpack.ExtType(Ext.INT, _int_bytes(x))
    raise TypeError(f"{type(x).__name__} was not lowered")


def _packer() -> Callable[[Any], bytes]:
    packer = msgpack.Packer(strict_types=True, unicode_errors="surrogatepass", buf_size=4096)
    make: Callable[[Any], bytes] = packer.pack
    return make


_KEEP = 1 << 20
"""A packer keeps its largest buffer; beyond this size it is not worth keeping."""


class _Shared:
    """The packer of all threads: it runs no Python code, so it holds the GIL throughout."""

    pack = staticmethod(_packer())


def pack(x: Any) -> bytes:
    """The bytes of a lowered value."""
    try:
        data = _Shared.pack(x)
    except OverflowError:  # an int beyond 64 bits, the one thing that asks Python
        packer = msgpack.Packer(
            strict_types=True, unicode_errors="surrogatepass", default=_pack_default
        )
        data = packer.pack(x)
    if len(data) > _KEEP:
        _Shared.pack = staticmethod(_packer())
    return data


def pack_list(packed: list[bytes]) -> bytes:
    """A list of values that are packed already."""
    count = len(packed)
    header = bytes((0x90 | count,)) if count < 16 else b"\xdd" + count.to_bytes(4, "big")
    return header + b"".join(packed)
