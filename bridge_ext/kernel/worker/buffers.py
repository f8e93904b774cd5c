"""What objects of known libraries weigh, and the blocks of memory they keep alive.

A library counts as far as it is imported, and only by its own classes. The key of a block is the
address of its data where that can be had, so that libraries that share memory share keys as well,
else that of the object that owns it: no block is where an object is.
"""

from __future__ import annotations

import gc
import sys

from ..wire.naming import module_of, name_of
from .introspect import dict_of, mro_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .sizing import Rule, Walk

    Block = tuple[int, int]

SAMPLES = 64
"""Items that a container shows of itself; up to so many it shows all."""
SMALL = 4096
"""Bytes objects below this are counted with what holds them: a key for each would cost more."""
_CELLS = 10_000
"""Cells of an array of objects that are all looked at where they are simple, within 1 ms."""
_CHAIN = 100
"""Owners of owners that are asked for; numpy itself makes no chains."""
_GLUE = 1000
"""Items of a builtin container up to which it is taken for part of a library's object."""


def rule_of(t: type, base: type) -> Rule | None:
    """The rule for a base of the type, if that is a class of a known library."""
    module = module_of(base)
    top = module.partition(".")[0]
    finder = _FINDERS.get(top)
    return finder(t, base, module) if finder is not None else None


def classes(module: str, *names: str) -> list[Any]:
    """Classes of a library, as far as it is imported and has them."""
    found = sys.modules.get(module)
    space = found.__dict__ if type(found) is type(sys) else {}
    return [space[name] for name in names if name in space]


def _one_of(t: type, module: str, *names: str) -> bool:
    return any(t is cls for cls in classes(module, *names))


# ---------------------------------------------------------------- who owns memory
def bytes_block(obj: bytes) -> Block:
    """The block of a bytes object: its data follows its head."""
    return id(obj) + bytes.__basicsize__ - 1, bytes.__len__(obj)


def owner_block(owner: Any, address: int = 0) -> Block | None:
    """The block that an object lends its memory from; None of one that is not known.

    Args:
        owner: what a view says that its memory is of.
        address: where the view's memory is, which tells blocks of one owner apart.
    """
    if type(owner) is memoryview:
        owner = owner.obj
    t = type(owner)
    if t is bytes:
        return bytes_block(owner)
    for base in mro_of(t):
        lender = _LENDERS.get(f"{module_of(base)}.{name_of(base)}")
        if lender is not None:
            return lender(base, owner, address)
    return None


def _array_block(base: Any, array: Any, address: int = 0) -> Block | None:
    """The block of the root of an array's bases."""
    if not _one_of(base, "numpy", "ndarray"):
        return None
    for _ in range(_CHAIN):
        owner = base.base.__get__(array)
        if owner is None:
            break
        if base not in mro_of(type(owner)):
            address = _address(base, array)
            return owner_block(owner, address) or (address, base.nbytes.__get__(array))
        array = owner
    return _address(base, array), base.nbytes.__get__(array)


def _address(ndarray: Any, array: Any) -> int:
    return int(ndarray.__array_interface__.__get__(array)["data"][0])


def _length_block(base: Any, owner: Any, address: int) -> Block | None:
    if base is bytearray or _one_of(base, "mmap", "mmap"):
        return id(owner), base.__len__(owner)
    if _one_of(base, "array", "array"):
        return id(owner), base.__len__(owner) * base.itemsize.__get__(owner)
    return None


def _lent_by_arrow(base: Any, owner: Any, address: int) -> Block | None:
    """The one of an arrow array's buffers, or the buffer, that the address is in."""
    arrow = sys.modules["pyarrow"]
    for buffer in [owner] if arrow.Buffer in mro_of(type(owner)) else owner.buffers():
        if buffer is not None and buffer.address <= address <= buffer.address + buffer.size:
            return _root(buffer)
    return None


def _root(buffer: Any) -> Block:
    while buffer.parent is not None:
        buffer = buffer.parent
    return buffer.address, buffer.size


def _storage(base: Any, tensor: Any, address: int = 0) -> Block | None:
    if not _one_of(base, "torch", "Tensor"):
        return None
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


_LENDERS: dict[str, Callable[[Any, Any, int], Block | None]] = {
    "builtins.bytearray": _length_block,
    "mmap.mmap": _length_block,
    "array.array": _length_block,
    "numpy.ndarray": _array_block,
    "pyarrow.lib.Array": _lent_by_arrow,
    "pyarrow.lib.Buffer": _lent_by_arrow,
    "torch.Tensor": _storage,
}


# ---------------------------------------------------------------- rules
def _simple(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """A value that refers to nothing of weight."""
    walk.add(object.__sizeof__(obj), weight)


def _lender(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """What has one block: bytearrays, array.array, mmap, memoryviews, arrow buffers, tensors."""
    block = owner_block(obj)
    seen = obj.nbytes if type(obj) is memoryview else None
    _shown(walk, obj, block, seen, weight)


def _shown(walk: Walk, obj: Any, block: Block | None, seen: int | None, weight: float) -> None:
    if walk.inner():
        walk.add(object.__sizeof__(obj), weight)
    if block is None:
        walk.estimated = True
        walk.add(seen or 0, weight)
    elif block[1]:
        walk.block(*block, block[1] if seen is None else seen, weight)


def _array(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    ndarray = sys.modules["numpy"].ndarray
    _shown(walk, obj, _array_block(ndarray, obj), ndarray.nbytes.__get__(obj), weight)
    dtype = ndarray.dtype.__get__(obj)
    if dtype.kind == "O":
        _cells(walk, ndarray, obj, weight, floor)
    elif dtype.hasobject:
        walk.estimated = True


def _cells(walk: Walk, ndarray: Any, array: Any, weight: float, floor: int) -> None:
    """The objects of an array, each once: all of a few or of simple ones, else a sample."""
    count = ndarray.size.__get__(array)
    if count <= _CELLS:
        cells = list(ndarray.flat.__get__(array))
        if walk.atoms(cells, weight):
            return
        if count <= SAMPLES:
            walk.whole(cells, weight, floor)
            return
    sample = [ndarray.item(array, place) for place in walk.places(count, floor)]
    walk.sampled(sample, count, weight, floor)


def _arrow(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    """A table or array: its bytes lie in its buffers, a slice's in those of the whole."""
    found: dict[int, int] = {}
    for array in _chunks(obj):
        walk.left -= 1
        if walk.left <= 0:
            walk.estimated = True
            break
        for buffer in array.buffers():
            if buffer is not None and buffer.size:
                key, size = _root(buffer)
                found[key] = size
    rest = obj.nbytes
    for key, size in found.items():
        seen = min(size, rest)
        rest -= seen
        walk.block(key, size, seen, weight)
    walk.add(rest, weight)


def _chunks(obj: Any) -> Iterator[Any]:
    arrow = sys.modules["pyarrow"]
    if arrow.Array in mro_of(type(obj)):
        yield obj
        if type(obj) is arrow.DictionaryArray:
            yield obj.dictionary
        return
    for part in obj.iterchunks() if type(obj) is arrow.ChunkedArray else obj.itercolumns():
        yield from _chunks(part)


def _tensor(walk: Walk, obj: Any, weight: float, floor: int) -> None:
    tensor = sys.modules["torch"].Tensor
    _shown(walk, obj, _storage(tensor, obj), obj.element_size() * obj.nelement(), weight)
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
    if walk.inner():
        walk.add(object.__sizeof__(obj), weight)
    todo = [obj]
    while todo:
        if walk.left <= 0:
            walk.estimated = True
            return
        for part in gc.get_referents(todo.pop()):
            t = type(part)
            rule = walk.rule(t)
            if rule is _glue or _is_plumbing(t, part):
                if id(part) not in walk.seen:
                    walk.seen.add(id(part))
                    walk.left -= 1
                    todo.append(part)
                    if rule is _glue:
                        _engine(walk, t, part, weight)
            elif rule is _array or rule is _arrow:
                walk.visit(part, weight, floor)


def _is_plumbing(t: type, part: Any) -> bool:
    return (t is dict or t is list or t is tuple) and len(part) <= _GLUE


def _engine(walk: Walk, t: Any, part: Any, weight: float) -> None:
    """The hash table by which an index finds its labels, once it has looked for one."""
    if module_of(t) == "pandas._libs.index" and "sizeof" in dict_of(t):
        walk.add(t.sizeof(part), weight)


RULES = (_simple, _lender, _array, _arrow, _tensor, _polars, _tree, _glue)
"""Rules that begin and end with the library's object, or a sample of its cells."""


# ---------------------------------------------------------------- which rule
def _of_numpy(t: type, base: Any, module: str) -> Rule | None:
    if _one_of(base, "numpy", "ndarray"):
        return _array
    return _simple if _one_of(base, "numpy", "generic", "dtype") else None


def _of_pandas(t: type, base: Any, module: str) -> Rule | None:
    if module.startswith("pandas._libs.tslibs"):
        return _simple
    return _glue if t is base else None


def _of_arrow(t: type, base: Any, module: str) -> Rule | None:
    if _one_of(base, "pyarrow", "Buffer"):
        return _lender
    if _one_of(base, "pyarrow", "Array", "ChunkedArray", "Table", "RecordBatch"):
        return _arrow
    return None


def _of_torch(t: type, base: Any, module: str) -> Rule | None:
    exact = t is base and _one_of(t, "torch", "Tensor")
    return _tensor if exact or _one_of(t, "torch.nn.parameter", "Parameter") else None


def _of_scipy(t: type, base: Any, module: str) -> Rule | None:
    return _glue if t is base and module.startswith("scipy.sparse.") else None


def _of_sklearn(t: type, base: Any, module: str) -> Rule | None:
    return _tree if _one_of(base, "sklearn.tree._tree", "Tree") else None


def _of_polars(t: type, base: Any, module: str) -> Rule | None:
    return _polars if t is base and _one_of(t, "polars", "DataFrame", "Series") else None


def _of_builtins(t: type, base: Any, module: str) -> Rule | None:
    return _lender if base is bytearray or base is memoryview else None


def _of_lender(t: type, base: Any, module: str) -> Rule | None:
    return _lender if _one_of(base, module, module) else None


def _of_values(t: type, base: Any, module: str) -> Rule | None:
    named = ("date", "datetime", "time", "timedelta", "timezone", "Decimal")
    return _simple if _one_of(base, module, *named) else None


_FINDERS: dict[str, Callable[[type, Any, str], Rule | None]] = {
    "array": _of_lender,
    "builtins": _of_builtins,
    "datetime": _of_values,
    "decimal": _of_values,
    "mmap": _of_lender,
    "numpy": _of_numpy,
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": _of_arrow,
    "scipy": _of_scipy,
    "sklearn": _of_sklearn,
    "torch": _of_torch,
}
