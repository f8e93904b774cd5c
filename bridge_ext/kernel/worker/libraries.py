"""Rules for what objects of known libraries weigh; see `Walk`.

A library counts as far as it is imported, and only by its own classes.
"""

from __future__ import annotations

import gc
import sys

from ..wire.naming import module_of, mro_of, name_of
from .buffers import array_block, arrow_block, owner_block, storage_block
from .lineage import classes, derives, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .buffers import Block
    from .sizing import Rule, Walk

SAMPLES = 64
"""Items that a container shows of itself; up to so many it shows all."""
_CELLS = 10_000
"""Cells of an array of objects that are all looked at where they are simple, within 1 ms."""
_GLUE = 1000
"""Items of a builtin container up to which it is taken for part of a library's object."""


def rule_of(t: type, base: type) -> Rule | None:
    """The rule for a base of the type, if that is a class of a known library."""
    module = module_of(base)
    top = module.partition(".")[0]
    finder = _FINDERS.get(top)
    return finder(t, base, module) if finder is not None else None


# ---------------------------------------------------------------- rules
def _simple(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """A value that refers to nothing of weight."""
    walk.add(object.__sizeof__(obj), weight)


def _lender(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """What has a block of its own: bytearray, array.array, mmap."""
    _shown(walk, obj, owner_block(obj), None, weight)


def _memoryview(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    _shown(walk, obj, owner_block(obj), obj.nbytes, weight)


def _arrow_buffer(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    _shown(walk, obj, arrow_block(obj), obj.size, weight)


def _shown(walk: Walk, obj: Any, block: Block | None, seen: float | None, weight: float) -> None:
    if walk.inner(obj) or derives(type(obj), bytearray):
        walk.add(object.__sizeof__(obj), weight)
    if block is None:
        walk.estimated = True
        walk.add(seen or 0, weight)
    elif block[1]:
        walk.block(*block, block[1] if seen is None else seen, weight)


def _array(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    ndarray = sys.modules["numpy"].ndarray
    block, seen = array_block(ndarray, obj), ndarray.nbytes.__get__(obj)
    dtype = ndarray.dtype.__get__(obj)
    if dtype.kind == "O":
        # With the objects of its cells, which all views of the block share.
        held = walk.held(lambda: _cells(walk, ndarray, obj, weight, floor)) / weight
        block = block and (block[0], block[1] + int(held))
        seen += held
    elif dtype.hasobject:
        walk.estimated = True
    _shown(walk, obj, block, seen, weight)


def _cells(walk: Walk, ndarray: Any, array: Any, weight: float, floor: int) -> None:
    """The objects of an array, each once: all of a few or of simple ones, else a sample."""
    count = ndarray.size.__get__(array)
    if count <= _CELLS:
        cells = list(ndarray.flat.__get__(array))
        if count <= SAMPLES:
            walk.whole(cells, weight, floor)
            return
        if walk.atoms(cells, weight):
            return
    sample = [ndarray.item(array, place) for place in walk.places(count, floor)]
    walk.sampled(sample, count, weight, floor)


_ARROW = ("Array", "ChunkedArray", "Table", "RecordBatch")


def _arrow(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """A table or array: its bytes lie in its buffers, a slice's in those of the whole."""
    found: dict[int, int] = {}
    buffers = sys.modules["pyarrow"].Array.buffers
    for array in _chunks(obj):
        walk.left -= 1
        if walk.left <= 0:
            walk.estimated = True
            break
        for buffer in buffers(array):
            if buffer is not None and buffer.size:
                key, size = arrow_block(buffer)
                found[key] = size
    kinds = classes("pyarrow", *_ARROW)
    rest = next(base.nbytes.__get__(obj) for base in kinds if derives(type(obj), base))
    for key, size in found.items():
        seen = min(size, rest)
        rest -= seen
        walk.block(key, size, seen, weight)
    walk.add(rest, weight)


def _chunks(obj: Any) -> Iterator[Any]:
    arrow = sys.modules["pyarrow"]
    if derives(type(obj), arrow.Array):
        yield obj
        if type(obj) is arrow.DictionaryArray:
            yield obj.dictionary
        return
    for part in obj.iterchunks() if type(obj) is arrow.ChunkedArray else obj.itercolumns():
        yield from _chunks(part)


def _tensor(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    tensor = sys.modules["torch"].Tensor
    _shown(walk, obj, storage_block(tensor, obj), obj.element_size() * obj.nelement(), weight)
    if obj.grad is not None:
        walk.visit(obj.grad, weight, floor)


def _polars(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    walk.add(obj.estimated_size(), weight)


def _tree(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """A fitted decision tree: nodes of 64 bytes and the values of each, in memory of C."""
    walk.add(object.__sizeof__(obj), weight)
    walk.add(obj.node_count * (64 + 8 * obj.n_outputs * obj.max_n_classes), weight)
    walk.estimated = True


def _glue(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """A frame, index, sparse matrix and the like: the arrays that it leads to, whatever the way.

    What lies between is small and of the library's making, so it is stepped through uncounted;
    the library's own attributes need not be known by name.
    """
    if walk.inner(obj):
        walk.add(object.__sizeof__(obj), weight)
    todo = [obj]
    while todo:
        if walk.left <= 0:
            walk.estimated = True
            return
        parts = gc.get_referents(todo.pop())
        walk.left -= 1 + len(parts) // SAMPLES
        for part in parts:
            t = type(part)
            rule = walk.rule(t)
            if rule is _glue or _is_plumbing(t, part):
                if id(part) not in walk.seen:
                    walk.seen.add(id(part))
                    todo.append(part)
                    if rule is _glue:
                        _engine(walk, t, part, weight)
            elif rule is _array or rule is _arrow or _is_part(walk, t):
                walk.visit(part, weight, floor)


def _is_plumbing(t: type, part: Any) -> bool:
    return (t is dict or t is list or t is tuple) and len(part) <= _GLUE


def _is_part(walk: Walk, t: type) -> bool:
    """Whether it is a long list, or of a class that somebody derived from one of the library."""
    if module_of(t) == "builtins":
        return t is dict or t is list or t is tuple
    return any(walk.rule(base) is _glue for base in mro_of(t))


def _engine(walk: Walk, t: Any, part: Any, weight: float) -> None:
    """The hash table by which an index finds its labels, once it has looked for one."""
    if module_of(t) == "pandas._libs.index" and name_of(t).endswith("Engine"):
        walk.add(part.sizeof(), weight)


RULES = (
    *(_simple, _lender, _memoryview, _array, _glue, _arrow, _arrow_buffer),
    *(_tensor, _polars, _tree),
)
"""Rules that begin and end with the library's object, or a sample of its cells."""


# ---------------------------------------------------------------- which rule
def _of_numpy(t: type, base: Any, module: str) -> Rule | None:
    if one_of(base, "numpy", "ndarray"):
        return _array
    return _simple if one_of(base, "numpy", "generic", "dtype") else None


def _of_pandas(t: type, base: Any, module: str) -> Rule | None:
    if module.startswith("pandas._libs.tslibs"):
        return _simple
    return _glue if t is base and one_of(t, module, name_of(t)) else None


def _of_arrow(t: type, base: Any, module: str) -> Rule | None:
    if one_of(base, "pyarrow", "Buffer"):
        return _arrow_buffer
    if one_of(base, "pyarrow", *_ARROW):
        return _arrow
    return None


def _of_torch(t: type, base: Any, module: str) -> Rule | None:
    exact = t is base and one_of(t, "torch", "Tensor")
    return _tensor if exact or one_of(t, "torch.nn.parameter", "Parameter") else None


def _of_scipy(t: type, base: Any, module: str) -> Rule | None:
    known = t is base and module.startswith("scipy.sparse.") and one_of(t, module, name_of(t))
    return _glue if known else None


def _of_sklearn(t: type, base: Any, module: str) -> Rule | None:
    return _tree if t is base and one_of(t, "sklearn.tree._tree", "Tree") else None


def _of_polars(t: type, base: Any, module: str) -> Rule | None:
    return _polars if t is base and one_of(t, "polars", "DataFrame", "Series") else None


def _of_builtins(t: type, base: Any, module: str) -> Rule | None:
    if base is memoryview:
        return _memoryview
    return _lender if base is bytearray else None


def _of_lender(t: type, base: Any, module: str) -> Rule | None:
    return _lender if one_of(base, module, module) else None


def _of_values(t: type, base: Any, module: str) -> Rule | None:
    named = ("date", "datetime", "time", "timedelta", "timezone", "Decimal")
    return _simple if one_of(base, module, *named) else None


def _of_logging(t: type, base: Any, module: str) -> Rule | None:
    """A logger leads to all others."""
    return _simple if one_of(base, "logging", "Logger", "Handler") else None


_FINDERS: dict[str, Callable[[type, Any, str], Rule | None]] = {
    "array": _of_lender,
    "builtins": _of_builtins,
    "datetime": _of_values,
    "decimal": _of_values,
    "logging": _of_logging,
    "mmap": _of_lender,
    "numpy": _of_numpy,
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": _of_arrow,
    "scipy": _of_scipy,
    "sklearn": _of_sklearn,
    "torch": _of_torch,
}
