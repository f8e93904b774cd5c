"""Rules for what a walk finds in containers, instances and simple values, without their methods."""

from __future__ import annotations

import gc
import types
from collections import OrderedDict, deque
from itertools import islice
from threading import Lock, RLock, Thread
from weakref import ref

from . import libraries
from .buffers import bytes_block
from .introspect import dict_of, is_function, mro_of, own_dict
from .libraries import SAMPLES
from .lineage import derives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .sizing import Rule, Walk

_SMALL = 4096
"""Bytes objects below this are counted with what holds them: a key for each would cost more."""
_SPAN = 16_384
"""Items of a dict or set that are stepped over to find samples, about 0.3 ms of it."""


def rule_of(t: type) -> Rule:
    """The rule for the instances of a type; see `Walk`."""
    found = _BASES.get(id(t))
    if found is not None:
        return found
    if is_function(t):
        return _nothing
    for base in mro_of(t):
        rule = _BASES.get(id(base)) or _of_library(t, base)
        if rule is not None:
            return rule if base is t or rule is _nothing else _derived(rule)
    return _instance(t)


def _of_library(t: type, base: type) -> Rule | None:
    rule = libraries.rule_of(t, base)
    if rule is not None and t is base:
        _kept.append(t)
        _BASES[id(t)] = rule
    return rule


_kept: list[type] = []
"""Classes of libraries that are known by their id from now on: so it stays theirs."""


# ---------------------------------------------------------------- containers
def _sequence(base: Any) -> Rule:
    length, item, sizer = base.__len__, base.__getitem__, _sizer_of(base)

    def rule(walk: Walk, obj: Any, weight: float, floor: int) -> None:
        walk.add(sizer(obj), weight)
        count = length(obj)
        if count <= SAMPLES:
            walk.whole(item(obj, slice(None)), weight, floor)
        else:
            sample = [item(obj, place) for place in walk.places(count, floor)]
            walk.sampled(sample, count, weight, floor)

    return rule


def _iterable(base: Any) -> Rule:
    length, iterate, sizer = base.__len__, base.__iter__, _sizer_of(base)

    def rule(walk: Walk, obj: Any, weight: float, floor: int) -> None:
        walk.add(sizer(obj), weight)
        count = length(obj)
        if count <= SAMPLES:
            walk.whole(list(iterate(obj)), weight, floor)
        else:
            walk.sampled(
                _some(iterate(obj), walk.places(min(count, _SPAN), floor)), count, weight, floor
            )

    return rule


def _mapping(base: Any) -> Rule:
    length, sizer = base.__len__, _sizer_of(base)

    def rule(walk: Walk, obj: Any, weight: float, floor: int) -> None:
        walk.add(sizer(obj), weight)
        count = length(obj)
        if count <= SAMPLES:
            walk.whole([*dict.keys(obj), *dict.values(obj)], weight, floor)
        else:
            pairs = _some(iter(dict.items(obj)), walk.places(min(count, _SPAN), floor))
            walk.sampled([x for pair in pairs for x in pair], 2 * count, weight, floor)

    return rule


def _some(items: Any, places: range) -> list[Any]:
    return list(islice(items, 0, places.stop, places.step))


def _derived(rule: Rule) -> Rule:
    """The rule of a builtin type, for classes derived from it, whose instances have attributes."""

    def derived(walk: Walk, obj: Any, weight: float, floor: int) -> None:
        attributes = own_dict(obj)
        if dict.__len__(attributes):
            walk.visit(attributes, weight, floor)
        rule(walk, obj, weight, floor)

    return derived


# ---------------------------------------------------------------- other objects
def _instance(t: type) -> Rule:
    """An instance with its attributes, as the collector knows them.

    Its class is among what it refers to, and is not followed.
    """
    sizer, opaque = _sizer_of(t), _is_opaque(t)

    def rule(walk: Walk, obj: Any, weight: float, floor: int) -> None:
        parts = gc.get_referents(obj)
        walk.add(sizer(obj) + 8 * len(parts), weight)
        if opaque:
            walk.estimated = True
        count = len(parts)
        if count <= SAMPLES:
            walk.whole(parts, weight, floor)
        else:
            sample = [parts[place] for place in walk.places(count, floor)]
            walk.sampled(sample, count, weight, floor)

    return rule


def _nothing(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """What is not the holder's: modules, classes, functions, threads, frames."""
    if not walk.inner(obj):
        walk.add(_sizer_of(type(obj))(obj), weight)
        walk.estimated = True


def _bytes(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    key, size = bytes_block(obj)
    walk.add(bytes.__basicsize__, weight)
    if size < _SMALL and walk.inner(obj):
        walk.add(size, weight)
        return
    walk.block(key, size, size, weight)


def _atom(sizer: Callable[[Any], int]) -> Rule:
    def rule(walk: Walk, obj: Any, weight: float, floor: int) -> None:
        walk.add(sizer(obj), weight)

    return rule


_basic_size: Any = type.__dict__["__basicsize__"].__get__
_flags: Any = type.__dict__["__flags__"].__get__
_HAVE_GC = 1 << 14
_GC_HEAD = 16
"""Bytes before each object that the collector knows."""
_C_METHOD = types.MethodDescriptorType


def _sizer_of(t: type) -> Callable[[Any], int]:
    """What sizes the instances themselves: the first `__sizeof__` that is C code."""
    head = _GC_HEAD if _flags(t) & _HAVE_GC else 0
    for base in mro_of(t):
        sizer = dict_of(base).get("__sizeof__")
        if type(sizer) is _C_METHOD:
            break
    return lambda obj: sizer(obj) + head


def _is_opaque(t: type) -> bool:
    """Whether instances have room for more than attributes: C code keeps there what it wants."""
    if derives(t, BaseException):
        return False
    slots = 0
    for base in mro_of(t):
        values = list(dict_of(base).values())
        slots += sum(type(value) is types.MemberDescriptorType for value in values)
    return bool(_basic_size(t) - _basic_size(object) - 8 * slots > _PLAIN_ROOM)


_PLAIN_ROOM = 16
"""Bytes of a Python class's instance for the dictionary and the weak references."""


# ---------------------------------------------------------------- types and their rules
ATOMS: dict[int, Callable[[Any], int]] = {
    id(t): dict_of(t).get("__sizeof__", object.__sizeof__)
    for t in (type(None), type(...), type(NotImplemented), bool, int, float, complex, str, range)
}
_BASES: dict[int, Rule] = {
    **{id(t): _sequence(t) for t in (list, tuple)},
    **{id(t): _iterable(t) for t in (set, frozenset, deque)},
    **{id(t): _mapping(t) for t in (dict, OrderedDict)},
    **{id(t): _atom(t.__sizeof__) for t in (int, float, complex, str)},
    **{id(t): _atom(object.__sizeof__) for t in (ref, type(Lock()), type(RLock()))},
    id(bytes): _bytes,
    **{id(t): _nothing for t in (type, types.ModuleType, types.FrameType, types.TracebackType)},
    **{id(t): _nothing for t in (types.GeneratorType, types.CoroutineType, Thread)},
    **{id(t): _nothing for t in (types.AsyncGeneratorType, types.CodeType)},
    **{id(t): _nothing for t in (types.BuiltinFunctionType, types.MethodDescriptorType)},
}
SIMPLE: frozenset[Rule] = frozenset((_nothing, _bytes, *libraries.RULES))
"""Rules that do not lead on to much else."""
