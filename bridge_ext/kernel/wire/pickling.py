"""Pickles of arguments, code among them: cloudpickle's, and what a notebook needs beside it.

Functions bring the source of their cell, so that a traceback in the worker shows their lines. A
class is made and filled by `opening`, so that a round trip leaves the notebook's own class as it
is; and one with `__slots__` has them there as well.
"""

from __future__ import annotations

import functools
import io
import linecache
import pickle
import sys
import types
import weakref

from . import opening
from .naming import name_of
from .own import dependency
from .strings import reduce_strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reduced = tuple[Any, ...]

MAX_SOURCE = 100_000
"""Characters of a cell's source that travel with its functions; more than that is no cell."""


def dump(
    x: Any,
    persistent: Callable[[Any], Any],
    buffers: list[pickle.PickleBuffer] | None = None,
    reduce: Callable[[Any], Reduced | None] | None = None,
) -> bytes:
    """A pickle of `x`.

    Args:
        x: anything.
        persistent: called with every object in it; what it returns, if not None, stands for the
            object and is for the reader to resolve.
        buffers: takes the large buffers, which then are not part of the pickle.
        reduce: called with every object that is not plain data; how to make it, or None.
    """
    file = io.BytesIO()
    _pickler()(file, persistent, buffers, reduce).dump(x)
    return file.getvalue()


@functools.lru_cache(maxsize=1)
def _pickler() -> Any:
    """The class, made when it is first needed: cloudpickle costs every start 25 ms."""
    base: Any = dependency("cloudpickle").Pickler

    class Pickler(base):  # type: ignore[misc]
        def __init__(self, file: Any, persistent: Any, buffers: Any, reduce: Any) -> None:
            take = None if buffers is None else buffers.append
            super().__init__(file, protocol=5, buffer_callback=take)
            self._persistent, self._reduce = persistent, reduce
            self._out_of_band = buffers is not None
            self._sources: dict[str, str | None] = {}

        def persistent_id(self, obj: Any) -> Any:
            return self._persistent(obj)

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if issubclass(kind, type):
                reduced = super().reducer_override(obj)
                return _class(obj, reduced) if type(reduced) is tuple else reduced
            if kind is types.FunctionType:
                return super().reducer_override(obj)
            if kind is types.CodeType:
                return self._code(obj)
            if kind in _RULES:
                return _RULES[kind](obj)
            if name_of(kind) == "ndarray":
                strings = reduce_strings(obj) if self._out_of_band else None
                return NotImplemented if strings is None else strings
            if obj is sys.stdout or obj is sys.stderr:  # whatever a kernel has put there
                return _stream(obj)
            reduced = self._reduce(obj) if self._reduce is not None else None
            return NotImplemented if reduced is None else reduced

        def _code(self, code: types.CodeType) -> Reduced:
            _, args = self.dispatch_table[types.CodeType](code)
            name = code.co_filename
            if name not in self._sources:
                self._sources[name] = _source(name)  # one string, which the pickle holds once
            source = self._sources[name]
            if source is None:
                return types.CodeType, args
            return opening.make_code, (name, source, args)

    return Pickler


def _source(filename: str) -> str | None:
    """The source of a file that exists in memory only, as a cell's does."""
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) != 4 or entry[1] is not None or entry[0] > MAX_SOURCE:
        return None
    return "".join(entry[2])


def _class(cls: type, reduced: Reduced) -> Reduced:
    """A class that travels by value, from how cloudpickle would make it."""
    if len(reduced) != 6:
        return reduced  # a builtin that has no name
    make, args, (members, more), *_ = reduced
    if make.__name__ == "_make_skeleton_class" and _has_slots(cls):
        *head, kwargs, tracker, extra = args
        args = (*head, {**kwargs, "__slots__": cls.__slots__}, tracker, extra)  # type: ignore[attr-defined]
        members = {k: v for k, v in members.items() if k != "__slots__"}
    return opening.make_class, (make, *args), (members, more), None, None, opening.fill_class


def _has_slots(cls: type) -> bool:
    """Whether to make the class with its `__slots__`; a typing.NamedTuple makes its own."""
    members = vars(cls)
    bases = members.get("__orig_bases__", ())
    return isinstance(members.get("__slots__"), (str, tuple, list, dict)) and not any(
        getattr(base, "__name__", "") == "NamedTuple" for base in bases
    )


def _stream(obj: Any) -> Any:
    """A text file: the standard ones are the worker's own there, others stay here."""
    for name in ("stdout", "stderr"):
        if obj is getattr(sys, name):
            return getattr, (sys, name)
    # cloudpickle would read it and send a StringIO.
    raise TypeError("an open file stays in its process; pass its path instead")


def _cached(obj: Any) -> Any:
    """A function with a cache, which starts empty there; one of a module is found by its name."""
    found: Any = sys.modules.get(obj.__module__)
    if obj.__module__ != "__main__":
        for part in obj.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is obj:
            return NotImplemented
    return opening.make_cached, (obj.__wrapped__, obj.cache_parameters()), dict(vars(obj))


def _cached_property(obj: Any) -> Reduced:
    state = {name: part for name, part in vars(obj).items() if name not in ("func", "lock")}
    return functools.cached_property, (obj.func,), state


def _weak(obj: Any) -> Reduced:
    """A weak dictionary, as the registries of `functools.singledispatch` are."""
    return type(obj), (dict(obj),)


_RULES: dict[type, Callable[[Any], Any]] = {
    io.TextIOWrapper: _stream,
    type(functools.lru_cache(len)): _cached,
    functools.cached_property: _cached_property,
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
}
"""How to make what cloudpickle does not, or does otherwise than a notebook expects."""
