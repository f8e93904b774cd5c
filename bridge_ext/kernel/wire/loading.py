"""Values from bytes. Everything malformed is a ProtocolError; nothing of the user's code runs."""

from __future__ import annotations

import re
import struct
from functools import partial

from ..errors import BridgeError, ProtocolError
from .marks import COMPLEX, MARKED, MARKS, Ext, Mark
from .own import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_NUMPY_DTYPE = re.compile(r"[<>|=][biufcmM]\d{1,2}(\[\d*[a-zA-Zμ]{1,7}(/\d+)?\])?")
_LONG = 1024
_find_mark = re.compile(re.escape(MARKED)).search
_MALFORMED = (
    msgpack.UnpackException,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    ImportError,
    RecursionError,
    MemoryError,
    struct.error,
)


def _load_uuid(data: bytes) -> Any:
    from uuid import UUID, SafeUUID

    safe = data[16] - 256 if data[16] > 127 else data[16]
    return UUID(bytes=data[:16], is_safe=SafeUUID(safe if safe else None))


def _load_decimal(data: bytes) -> Any:
    from decimal import Decimal

    return Decimal(data.decode())


def _load_numpy(data: bytes) -> Any:
    import numpy

    name, raw = msgpack.unpackb(data)
    if not _NUMPY_DTYPE.fullmatch(name):
        raise ProtocolError(f"{name!r} is no dtype of a fixed-size scalar")
    return numpy.frombuffer(raw, dtype=numpy.dtype(name), count=1)[0]


def _load_mark(data: bytes) -> Any:
    return MARKS[data[0]]


def _list_hook(x: list[Any]) -> Any:
    if x and type(x[0]) is Mark:
        return x[0].build(x)
    return x


def _marked(data: bytes | bytearray) -> bool:
    """Whether any list of it may be marked; in what is long, `find` takes three times as long."""
    return data.find(MARKED) >= 0 if len(data) < _LONG else _find_mark(data) is not None


class Loading:
    """Builds values from bytes.

    Args:
        hooks: extension code to what its bytes become, for refs, pickles and modules; those that
            are not given are not allowed in the message.
    """

    __slots__ = ("hook",)

    def __init__(self, hooks: Mapping[int, Callable[[bytes], Any]]) -> None:
        ext = {**_PLAIN, **hooks}

        def hook(code: int, data: bytes) -> Any:
            load = ext.get(code)
            if load is None:
                raise ProtocolError(
                    f"extension type {code} is not allowed in this message, only {sorted(ext)}"
                )
            return load(data)

        self.hook = hook

    def load(self, data: bytes | bytearray) -> Any:
        """The value that was packed.

        Raises:
            ProtocolError: these bytes are no value.
        """
        try:
            return msgpack.unpackb(
                data,
                ext_hook=self.hook,
                list_hook=_list_hook if _marked(data) else None,
                strict_map_key=False,
                unicode_errors="surrogatepass",
            )
        except BridgeError:  # of a hook, or our own
            raise
        except _MALFORMED as error:
            raise ProtocolError(
                f"these bytes are no value ({type(error).__name__}: {error})"
            ) from error


_PLAIN: dict[int, Callable[[bytes], Any]] = {
    Ext.INT: lambda data: int.from_bytes(data, "big", signed=True),
    Ext.COMPLEX: lambda data: complex(*COMPLEX.unpack(data)),
    Ext.BYTEARRAY: bytearray,
    Ext.DECIMAL: _load_decimal,
    Ext.UUID: _load_uuid,
    Ext.MARK: _load_mark,
    Ext.NUMPY: _load_numpy,
}
plain = Loading({})
"""Loads values that hold no refs, pickles or modules."""


SHORT = 36
"""No packed result that is one number, or a text of up to 31 bytes, has so many bytes."""
_RESULT = b"\x92\x00"
_SCALARS = frozenset(
    (*range(0x80), *range(0xA0, 0xC1), 0xC2, 0xC3, *range(0xCA, 0xD4), *range(0xE0, 0x100))
)
"""What a packed None, bool, int, float or short text begins with."""
_unpack = partial(msgpack.unpackb, unicode_errors="surrogatepass")
_unpack_scalars = partial(_unpack, ext_hook=plain.hook)


def scalar(body: bytes | bytearray) -> list[Any] | None:
    """`[0, value]`, if that is the reply's body, packed, and the value None, a number or short.

    Most replies are; of these nothing can go wrong but their length, which msgpack checks.
    """
    if body[:2] != _RESULT or len(body) < 3 or body[2] not in _SCALARS:
        return None
    try:
        value: list[Any] = _unpack(body)
    except ValueError:  # what is wrong is said by who looks closer
        return None
    return value


def scalars(data: bytes | bytearray) -> list[Any]:
    """A list of None, bools, ints, floats and texts.

    Raises:
        ProtocolError: that is no list. What else is in it comes as msgpack has it.
    """
    try:
        found = _unpack_scalars(data)
    except _MALFORMED as error:
        raise ProtocolError(f"these bytes are no list ({type(error).__name__}: {error})") from error
    if type(found) is not list:
        raise ProtocolError(f"a list was expected, and {found!r:.200} came")
    return found


class malformed:
    """A block that takes a peer's data apart: what that raises is a ProtocolError.

    Args:
        what: is taken apart.

    Raises:
        ProtocolError: the data is not of the shape that the block expects.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, _SHAPELESS) and not isinstance(error, BridgeError):
            text = f"malformed {self._what} ({type(error).__name__}: {error})"
            raise ProtocolError(text) from error


_SHAPELESS = (TypeError, ValueError, LookupError, AttributeError)
