"""What pickles call when they are opened, in the kernel as in a worker.

A pickle names its functions by module, so those of ours stand where both sides have them.
"""

from __future__ import annotations

import importlib
import linecache
import pickle
import types
import weakref
from functools import lru_cache, partial

from ..errors import EncodeError
from .own import dependency

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_arrived: weakref.WeakValueDictionary[int, type] = weakref.WeakValueDictionary()
"""The classes that this process has from a pickle, by their `id`; all others are its own."""


def make_class(make: Callable[..., type], *args: Any) -> type:
    """The class of a pickle: the one that this process has already, else a new one.

    Args:
        make: cloudpickle's maker of an empty class.
        args: for `make`; the last but one is the id under which both sides know the class.
    """
    known: type | None = _cloudpickle()._DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2])
    if known is not None:
        return known
    made = make(*args)
    _arrived[id(made)] = made
    return made


def fill_class(cls: type, state: Any) -> type:
    """Give a class the members of its pickle, unless it is this process's own.

    A class that came back would else find its methods replaced by copies, which see the globals
    that were shipped and no longer those of the notebook.
    """
    if _arrived.get(id(cls)) is cls:
        _cloudpickle()._class_setstate(cls, state)
    return cls


def make_code(filename: str, source: str, args: tuple[Any, ...]) -> types.CodeType:
    """A code object whose source is in no file: tracebacks show its lines here, too."""
    if filename not in linecache.cache:
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
    return types.CodeType(*args)


def make_cached(fn: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function with an empty cache of these parameters."""
    return lru_cache(**parameters)(fn)


def open_helper(name: str, data: bytes) -> Any:
    """The function of a helper.

    Raises:
        EncodeError: it cannot be rebuilt; the error names the helper.
    """
    _cloudpickle()
    importlib.invalidate_caches()
    try:
        return pickle.loads(data)
    except Exception as error:
        why = f"it cannot be rebuilt in the worker ({type(error).__name__}: {error})"
        raise EncodeError(f"Helper {name!r}", "function", why) from error


class Unpickler(pickle.Unpickler):
    """Opens cloudpickle's own pickles with the class rules above."""

    def find_class(self, module: str, name: str) -> Any:
        """A global of a pickle."""
        if module != "cloudpickle.cloudpickle":
            return super().find_class(module, name)
        found = getattr(_cloudpickle(), name)
        if name == "_class_setstate":
            return fill_class
        if name in ("_make_skeleton_class", "_make_skeleton_enum"):
            return partial(make_class, found)
        return found


def _cloudpickle() -> Any:
    return dependency("cloudpickle").cloudpickle
