"""Plain numpy arrays: a dtype's name, a shape and bytes, so that no pickle is needed.

Plain is an array of numpy's own class whose items are numbers, times, or text or bytes of a fixed
length. All others are objects: subclasses, records, what holds objects, and dtypes that were added
to numpy. What arrives is what a pickle would bring, in value, order and writeability.
"""

from __future__ import annotations

import re
import sys
from math import prod

from ..errors import ProtocolError
from .codec import pack
from .framing import pool
from .loading import plain
from .marks import Ext
from .own import msgpack
from .shared import copied, viewed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .framing import Buffer

INLINE = 32 << 10
"""Bytes up to which the data stands in the body: one call of the system sends such a frame, and
a few copies of so little cost less than a second one."""
_KINDS = frozenset("biufcmMSUV")
_OWN = range(24)
"""The numbers of numpy's own types; what others add to it may say that it is one of the kinds."""
_NUMBERS = (int, type(None))
_TIMES = frozenset("mM")
"""Whose arrays can be written to after a pickle, whatever they were."""
_DTYPE = re.compile(r"[<>|][biufcmMSUV][1-9]\d{0,9}(\[\d*[a-zA-Zμ]{1,7}(/\d+)?\])?")


def is_array(x: Any) -> bool:
    """Whether it is an array of numpy's own class; numpy is not imported for it."""
    numpy = sys.modules.get("numpy") if type(x).__name__ == "ndarray" else None
    return numpy is not None and vars(numpy).get("ndarray") is type(x)


def pack_array(array: Any, number: int) -> tuple[Any, list[Buffer]] | None:
    """An array as what msgpack packs, and its data if that goes beside it.

    Args:
        array: one of numpy's own class.
        number: what its buffer will have.

    Returns:
        None if only a pickle can bring it.

    Raises:
        MemoryError: its data does not lie in one piece, and there is no room to put it together.
    """
    dtype, flags = array.dtype, array.flags
    if not _is_plain(dtype) or not (flags.forc or _has_no_order(array)):
        return None
    fortran = flags.fnc
    frozen = flags.forc and not flags.writeable and dtype.kind not in _TIMES
    here = array.nbytes <= INLINE
    head = pack([dtype.str, [*array.shape], fortran, frozen, None if here else number])
    head = len(head).to_bytes(2, "little") + head
    if here:
        return msgpack.ExtType(Ext.ARRAY, head + array.tobytes("A")), []
    whole = array if flags.forc else _contiguous(array)
    data = whole.reshape(-1, order="A").view("u1").data
    return msgpack.ExtType(Ext.ARRAY, head), [data]


def _is_plain(dtype: Any) -> bool:
    """Whether its name says all of a dtype."""
    return (
        dtype.kind in _KINDS
        and dtype.num in _OWN
        and dtype.names is None
        and dtype.isnative  # some pickles of others change their order of bytes, and some do not
        and dtype.metadata is None
        and dtype.itemsize > 0
    )


def _has_no_order(array: Any) -> bool:
    """Whether no order of its axes makes the data of an array one piece."""
    axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return not array.transpose(axes).flags.c_contiguous


def _contiguous(array: Any) -> Any:
    """A copy in one piece, made in memory that is warm."""
    copy = type(array)(array.shape, array.dtype, pool.take(array.nbytes))
    copy[...] = array
    return copy


def open_array(data: bytes, buffers: list[Any], *, view: bool = False) -> Any:
    """The array; its buffer is used up.

    Args:
        data: of the extension.
        buffers: of the frame.
        view: whether it is only to be read, where its data is.

    Raises:
        ProtocolError: it is no array, or its data is not as long as it says.
        ImportError: there is no numpy here.
        Torn, ConnectionResetError: the writer of the buffer does not go on.
    """
    import numpy

    try:
        return _opened(numpy, data, buffers, view)
    except (TypeError, ValueError, LookupError) as error:
        raise ProtocolError(f"malformed array ({type(error).__name__}: {error})") from error


def _opened(numpy: Any, data: bytes, buffers: list[Any], view: bool) -> Any:
    end = 2 + int.from_bytes(data[:2], "little")
    name, shape, fortran, frozen, number = plain.load(data[2:end])
    whole_numbers = all(type(n) is int and n >= 0 for n in shape)
    if not whole_numbers or not _DTYPE.fullmatch(name) or type(number) not in _NUMBERS:
        raise ProtocolError(f"{name!r:.80} of shape {shape!r:.200} is no plain array")
    dtype = numpy.dtype(name)
    if number is None:
        there = data[end:] if frozen or view else bytearray(memoryview(data)[end:])
    else:
        there = next((viewed if view else copied)(buffers, number), b"")
    whole = memoryview(there)
    if whole.nbytes != prod(shape) * dtype.itemsize:
        raise ProtocolError(
            f"an array of shape {tuple(shape)} and {name!r} has {whole.nbytes:,} bytes"
        )
    return numpy.ndarray(
        shape, dtype, whole.toreadonly() if frozen else whole, order="F" if fortran else "C"
    )
