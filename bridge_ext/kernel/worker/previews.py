"""What is in an object, in one short line; none of the user's code runs for it.

Only types that are known exactly are looked into, through their own methods; of any other object
the plain attributes are shown, and of what is in a container likewise.
"""

from __future__ import annotations

import datetime
import types
from collections import Counter, OrderedDict, defaultdict, deque
from itertools import islice

from ..wire.naming import module_of, name_of
from .introspect import builtin_name, own_dict
from .keys import keys_of
from .lineage import derives, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .store import Store

MAX_PREVIEW = 120
"""Characters of one preview: what a wide window shows in a line."""
_MAX_PREVIEWS = 1_000
"""Previews of one question: more rows than a window has."""
_ITEMS = 6
_DEPTH = 2
_LONG = 60
"""Characters of one text in it."""
_BITS = 256
"""Bits of an integer beyond which its digits say nothing."""


def previews(store: Store, ref_ids: list[int]) -> list[list[Any]]:
    """`[id, preview]` of each ref that is held."""
    wanted = ref_ids[:_MAX_PREVIEWS]
    found = store.view(lambda sessions, refs: [refs.get(i) for i in wanted])
    return [
        [ref_id, preview(entry.obj)]
        for ref_id, entry in zip(wanted, found, strict=True)
        if entry is not None
    ]


def preview(obj: Any) -> str:
    """One line, which may be empty."""
    try:
        text = _text(obj, _DEPTH) or _inside(obj)
    except Exception:  # a library whose insides have changed, or another thread changes it
        return ""
    return text if len(text) <= MAX_PREVIEW else text[: MAX_PREVIEW - 1] + "…"


def _text(obj: Any, depth: int) -> str:
    """An object of a known type, or "" for one of any other."""
    t = type(obj)
    rule = _RULES.get(id(t)) or _rule_once_imported(t)
    return rule(obj, depth) if rule is not None else ""


def _rule_once_imported(t: type) -> Callable[[Any, int], str] | None:
    """The rule for a type of a module that nobody may have imported."""
    module, name, rule = _ONCE_IMPORTED.get(name_of(t), ("", "", None))
    return rule if one_of(t, module, name) else None


def _item(obj: Any, depth: int) -> str:
    return _text(obj, depth) or f"<{name_of(type(obj))}>"


# ---------------------------------------------------------------- known types
def _plain(obj: Any, depth: int) -> str:
    return repr(obj)


def _int(obj: int, depth: int) -> str:
    bits = obj.bit_length()
    return repr(obj) if bits <= _BITS else f"<int of {bits:,} bits>"


def _time(obj: Any, depth: int) -> str:
    return repr(obj.replace(tzinfo=None))  # a zone may be of a class of the user's


def _fraction(obj: Any, depth: int) -> str:
    parts = obj._numerator, obj._denominator
    return repr(obj) if all(type(part) is int for part in parts) else ""


def _uuid(obj: Any, depth: int) -> str:
    return repr(obj) if type(obj.int) is int else ""


def _cut(obj: Any, depth: int) -> str:
    return repr(obj) if len(obj) <= _LONG else repr(obj[:_LONG]) + "…"


def _around(left: str, right: str) -> Callable[[Any, int], str]:
    """A rule for containers that show with these around their items."""

    def show(obj: Any, depth: int) -> str:
        if not obj:
            return left + right
        if not depth:
            return f"{left}…{right}"
        parts = [_item(x, depth - 1) for x in islice(obj, _ITEMS)]
        return left + _joined(parts, len(obj)) + right

    return show


def _dict(obj: dict[Any, Any], depth: int) -> str:
    if not obj:
        return "{}"
    if not depth:
        return "{…}"
    pairs = islice(obj.items(), _ITEMS)
    parts = [f"{_item(k, 0)}: {_item(v, depth - 1)}" for k, v in pairs]
    return "{" + _joined(parts, len(obj)) + "}"


def _joined(parts: list[str], length: int) -> str:
    return ", ".join(parts) + (", …" if length > len(parts) else "")


def _class(obj: type, depth: int) -> str:
    return f"{module_of(obj)}.{name_of(obj)}"


def _function(obj: Any, depth: int) -> str:
    parts = (obj.__module__, obj.__qualname__)
    return ".".join(part for part in parts if type(part) is str)


def _builtin(obj: Any, depth: int) -> str:
    module = obj.__module__
    return f"{module}.{builtin_name(obj)}" if type(module) is str else builtin_name(obj)


def _module(obj: types.ModuleType, depth: int) -> str:
    name = obj.__dict__.get("__name__")
    return name if type(name) is str else ""


_KNOWN: dict[type, Callable[[Any, int], str]] = {
    type(None): _plain,
    bool: _plain,
    int: _int,
    float: _plain,
    complex: _plain,
    str: _cut,
    bytes: _cut,
    bytearray: _cut,
    range: _plain,
    datetime.date: _plain,
    datetime.datetime: _time,
    datetime.time: _time,
    datetime.timedelta: _plain,
    list: _around("[", "]"),
    tuple: _around("(", ")"),
    set: _around("{", "}"),
    frozenset: _around("{", "}"),
    deque: _around("[", "]"),
    dict: _dict,
    OrderedDict: _dict,
    Counter: _dict,
    defaultdict: _dict,
    type: _class,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _builtin,
    types.ModuleType: _module,
}
_RULES = {id(t): rule for t, rule in _KNOWN.items()}
"""By the ids of types, as a metaclass may have a hash of the user's."""
_ONCE_IMPORTED: dict[str, tuple[str, str, Callable[[Any, int], str]]] = {
    "Decimal": ("decimal", "Decimal", _plain),
    "Fraction": ("fractions", "Fraction", _fraction),
    "UUID": ("uuid", "UUID", _uuid),
}


# ---------------------------------------------------------------- what others have in them
def _inside(obj: Any) -> str:
    """What is in an object: an array's values, a table's columns, else its plain attributes."""
    t = type(obj)
    if one_of(t, "numpy", "ndarray"):
        return _array(obj)
    columns = keys_of(obj) if not derives(t, dict) else []
    if columns and name_of(t) != "Series":
        names = (x if type(x) is str else repr(x) for x in columns)
        return _first_of(names, len(columns))
    own = own_dict(obj)
    if type(own) is not dict:
        return ""
    named = ((k, v) for k, v in islice(own.items(), 50) if type(k) is str and k[:1] != "_")
    return _first_of((f"{k}={text}" for k, v in named if (text := _text(v, 1))), len(own))


def _array(array: Any) -> str:
    dtype = array.dtype
    if dtype.kind not in "biufcSUmM":
        return "object" if dtype.kind == "O" else "structured"
    values = array[(0,) * (array.ndim - 1)][:_ITEMS].tolist() if array.size and array.ndim else []
    shown = [_number(x) for x in values]
    return f"{dtype.name}  {_joined(shown, array.size)}" if shown else str(dtype.name)


def _number(value: Any) -> str:
    if type(value) in (float, complex):
        return f"{value:.4g}"
    return _text(value, 0) or str(value)


def _first_of(texts: Iterable[str], length: int) -> str:
    return _joined(list(islice(texts, _ITEMS)), length)
