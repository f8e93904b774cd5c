"""What an object can be indexed with, by a known rule for each library; no user code runs."""

from __future__ import annotations

import sys
from itertools import islice

from ..wire.limits import MAX_KEYS
from ..wire.naming import module_of
from .introspect import mro_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_PLAIN = frozenset((str, bytes, int, float, bool, type(None)))


def keys_of(obj: Any) -> list[Any]:
    """The first keys that are plain: texts, numbers and, as lists, tuples of them."""
    plain = (key for key in _first(_found(obj)) if _plain(key))
    return [list(key) if type(key) is tuple else key for key in plain]


def columns_of(obj: Any) -> list[str]:
    """Columns that can be read as attributes."""
    t = type(obj)
    if module_of(t).partition(".")[0] != "pandas" or t not in _classes("pandas", "DataFrame"):
        return []
    return [key for key in keys_of(obj) if type(key) is str and key.isidentifier()]


def _first(keys: Iterable[Any]) -> list[Any]:
    try:
        return list(islice(keys, MAX_KEYS))
    except RuntimeError:
        return []  # another thread has changed it meanwhile


def _plain(key: Any) -> bool:
    return type(key) in _PLAIN or (type(key) is tuple and all(type(x) in _PLAIN for x in key))


def _found(obj: Any) -> Iterable[Any]:
    t = type(obj)
    if dict in mro_of(t):
        return dict.keys(obj)
    rule = _KNOWN.get(module_of(t).partition(".")[0])
    try:
        return rule(t, obj) if rule is not None else ()
    except Exception:
        return ()  # a library whose insides have changed


def _classes(module: str, *names: str) -> list[Any]:
    """Classes of a library, as far as it is imported and has them."""
    found = sys.modules.get(module)
    space = found.__dict__ if type(found) is type(sys) else {}
    return [space[name] for name in names if name in space]


def _numpy_keys(t: type, obj: Any) -> Iterable[Any]:
    numpy = sys.modules["numpy"]
    if numpy.ndarray in mro_of(t):
        return numpy.ndarray.dtype.__get__(obj).names or ()
    if numpy.void in mro_of(t):
        return numpy.void.dtype.__get__(obj).names or ()
    return ()


def _pandas_keys(t: type, obj: Any) -> Iterable[Any]:
    if t in _classes("pandas", "DataFrame"):
        return obj.columns[:MAX_KEYS].tolist()  # type: ignore[no-any-return]
    if t in _classes("pandas", "Series"):
        return obj.index[:MAX_KEYS].tolist()  # type: ignore[no-any-return]
    if t in _classes("pandas.core.groupby.generic", "DataFrameGroupBy"):
        return _pandas_keys(type(obj.obj), obj.obj)
    return ()


def _arrow_keys(t: type, obj: Any) -> Iterable[Any]:
    return obj.schema.names if t in _classes("pyarrow", "Table", "RecordBatch") else ()


def _polars_keys(t: type, obj: Any) -> Iterable[Any]:
    return obj.columns if t in _classes("polars", "DataFrame") else ()


def _sqlite_keys(t: type, obj: Any) -> Iterable[Any]:
    return obj.keys() if t in _classes("sqlite3", "Row") else ()


_KNOWN: dict[str, Callable[[type, Any], Iterable[Any]]] = {
    "numpy": _numpy_keys,
    "pandas": _pandas_keys,
    "polars": _polars_keys,
    "pyarrow": _arrow_keys,
    "sqlite3": _sqlite_keys,
}
