"""The blocks of memory that objects keep alive and may share, found through who lends to whom.

A library counts as far as it is imported, and only by its own classes. The key of a block is the
address of its data where that can be had, so that libraries that share memory share keys as well,
else that of the object that owns it: no block is where an object is.
"""

from __future__ import annotations

from ..wire.naming import module_of, mro_of, name_of
from .lineage import one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Block = tuple[int, int]


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


def array_block(base: Any, array: Any, address: int = 0) -> Block | None:
    """The block of the root of an array's bases."""
    if not one_of(base, "numpy", "ndarray"):
        return None
    address = _address(base, array)
    owner = base.base.__get__(array)
    found = owner_block(owner, address) if owner is not None else None
    return found or (address, base.nbytes.__get__(array))


def _address(ndarray: Any, array: Any) -> int:
    return int(ndarray.__array_interface__.__get__(array)["data"][0])


def _length_block(base: Any, owner: Any, address: int) -> Block | None:
    if base is bytearray or one_of(base, "mmap", "mmap"):
        return id(owner), base.__len__(owner)
    if one_of(base, "array", "array"):
        return id(owner), base.__len__(owner) * base.itemsize.__get__(owner)
    return None


def _lent_by_arrow(base: Any, owner: Any, address: int) -> Block | None:
    """The one of an arrow array's buffers, or the buffer, that the address is in."""
    if one_of(base, "pyarrow", "Buffer"):
        return arrow_block(owner)
    if not one_of(base, "pyarrow", "Array"):
        return None
    for buffer in base.buffers(owner):
        if buffer is not None and buffer.address <= address <= buffer.address + buffer.size:
            return arrow_block(buffer)
    return None


def arrow_block(buffer: Any) -> Block:
    """The block that an arrow buffer is a slice of."""
    while buffer.parent is not None:
        buffer = buffer.parent
    return buffer.address, buffer.size


def storage_block(base: Any, tensor: Any, address: int = 0) -> Block | None:
    """The storage of a tensor, on whatever device."""
    if not one_of(base, "torch", "Tensor"):
        return None
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


_LENDERS: dict[str, Callable[[Any, Any, int], Block | None]] = {
    "builtins.bytearray": _length_block,
    "mmap.mmap": _length_block,
    "array.array": _length_block,
    "numpy.ndarray": array_block,
    "pyarrow.lib.Array": _lent_by_arrow,
    "pyarrow.lib.Buffer": _lent_by_arrow,
    "torch.Tensor": storage_block,
}
