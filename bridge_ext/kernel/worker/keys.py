"""What an object can be indexed with, by a known rule for each library; no user code runs."""

from __future__ import annotations

from itertools import islice

from ..wire.limits import MAX_KEYS
from ..wire.naming import module_of
from .lineage import classes, derives, ids, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_PLAIN = ids(str, bytes, int, float, bool, type(None))


def keys_of(obj: Any) -> list[Any]:
    """The first keys that are plain: texts, numbers and, as lists, tuples of them."""
    plain = (key for key in _first(_found(obj)) if _plain(key))
    return [list(key) if type(key) is tuple else key for key in plain]


def columns_of(obj: Any) -> list[str]:
    """Columns that can be read as attributes."""
    t = type(obj)
    if not one_of(t, "pandas", "DataFrame"):
        return []
    return [key for key in keys_of(obj) if type(key) is str and key.isidentifier()]


def _first(keys: Iterable[Any]) -> list[Any]:
    try:
        return list(islice(keys, MAX_KEYS))
    except RuntimeError:
        return []  # another thread has changed it meanwhile


def _plain(key: Any) -> bool:
    t = type(key)
    return id(t) in _PLAIN or (t is tuple and all(id(type(x)) in _PLAIN for x in key))


def _found(obj: Any) -> Iterable[Any]:
    t = type(obj)
    if derives(t, dict):
        return dict.keys(obj)
    rule = _KNOWN.get(module_of(t).partition(".")[0])
    try:
        return rule(t, obj) if rule is not None else ()
    except Exception:
        return ()  # a library whose insides have changed


def _numpy_keys(t: type, obj: Any) -> Iterable[Any]:
    for base in classes("numpy", "ndarray", "void"):
        if derives(t, base):
            return base.dtype.__get__(obj).names or ()
    return ()


def _pandas_keys(t: type, obj: Any) -> Iterable[Any]:
    if one_of(t, "pandas", "DataFrame"):
        return obj.columns[:MAX_KEYS].tolist()  # type: ignore[no-any-return]
    if one_of(t, "pandas", "Series"):
        return obj.index[:MAX_KEYS].tolist()  # type: ignore[no-any-return]
    if one_of(t, "pandas.core.groupby.generic", "DataFrameGroupBy"):
        return _pandas_keys(type(obj.obj), obj.obj)
    return ()


def _arrow_keys(t: type, obj: Any) -> Iterable[Any]:
    return obj.schema.names if one_of(t, "pyarrow", "Table", "RecordBatch") else ()


def _polars_keys(t: type, obj: Any) -> Iterable[Any]:
    return obj.columns if one_of(t, "polars", "DataFrame") else ()


def _sqlite_keys(t: type, obj: Any) -> Iterable[Any]:
    return obj.keys() if one_of(t, "sqlite3", "Row") else ()


_KNOWN: dict[str, Callable[[type, Any], Iterable[Any]]] = {
    "numpy": _numpy_keys,
    "pandas": _pandas_keys,
    "polars": _polars_keys,
    "pyarrow": _arrow_keys,
    "sqlite3": _sqlite_keys,
}
