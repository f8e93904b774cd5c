"""Frames: a fixed header, a head, a body, and out-of-band buffers.

    offset  size  field
    0       2     magic, b"BX"
    2       1     protocol version
    3       1     kind (`Kind`)
    4       4     length of the head
    8       8     length of the body
    16      4     number of buffers
    20      8·n   lengths of the buffers
            …     head, body, buffers

The length of a buffer with its highest bit set says that the buffer is not here but lies in a
segment of shared memory: in its stead stand the number of the segment and the offset in it.

Little endian. The parser does no I/O: bytes go in with `feed` (or, for the long part of a large
frame, straight into the memory that `room` offers), frames come out of `next`. Nothing in a
header is trusted before it is checked against `limits`, and a frame that breaks a rule is a
ProtocolError.
"""

from __future__ import annotations

import os
from struct import Struct

from ..errors import ProtocolError
from . import limits
from .pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAGIC = b"BX"
HEADER = Struct("<2sBBIQI")
LENGTH = Struct("<Q")
_SIZE = HEADER.size
_pack, _unpack = HEADER.pack, HEADER.unpack_from
_BEGIN = MAGIC + bytes((limits.PROTOCOL_VERSION,))
_unpack_rest = Struct("<3xBIQI").unpack_from

PLACE = Struct("<IQ")
_ELSEWHERE = 1 << 63

_JOINED = 64 << 10
"""Bytes of a frame up to which its pieces are sent as one: each call of the system wakes the
reader, and copying so little costs less."""
Buffer = bytes | bytearray | memoryview
pool = Pool()
"""Where the parts of large frames are received."""
os.register_at_fork(after_in_child=pool.forked)


class Placed:
    """A buffer that lies in a shared segment."""

    __slots__ = ("nbytes", "offset", "segment")

    def __init__(self, segment: int, offset: int, nbytes: int) -> None:
        self.segment, self.offset, self.nbytes = segment, offset, nbytes


class Kind:
    """What a frame is for."""

    REQUEST = 1
    REPLY = 2
    NOTICE = 3
    """One way: releases and declarations without a request, or an event of the worker."""
    HELLO = 4
    """The first frame of a channel, either way: who is there, and how it is set up."""
    GOODBYE = 5
    """The kernel is done: the worker ends politely."""
    ASK = 6
    """worker to kernel: run a callback."""
    ANSWER = 7
    """kernel to worker: what the callback returned or raised."""
    NESTED = 8
    """kernel to worker, on the control channel: a request made within a callback that a thread of
    the worker asked for; that thread serves it."""
    ALL = frozenset(range(1, 9))


_KINDS = Kind.ALL
_NO_BUFFERS: list[Buffer] = []


class Frame:
    """One frame as it was received."""

    __slots__ = ("body", "buffers", "head", "kind")

    def __init__(self, kind: int, head: bytes, body: bytes | bytearray, buffers: list[Any]) -> None:
        self.kind, self.head, self.body, self.buffers = kind, head, body, buffers


def small(kind: int, head: bytes, body: bytes) -> bytes:
    """A frame without buffers in one piece."""
    return _pack(MAGIC, limits.PROTOCOL_VERSION, kind, len(head), len(body), 0) + head + body


def build(
    kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer | Placed] = ()
) -> list[Buffer]:
    """The pieces of a frame, in order.

    Raises:
        ProtocolError: it exceeds a limit.
    """
    check_limits(head, body, buffers)
    if not buffers:
        header = _pack(MAGIC, limits.PROTOCOL_VERSION, kind, len(head), len(body), 0)
        return [header + head, body]
    views: list[Buffer] = []
    lengths = b""
    for buffer in buffers:
        if type(buffer) is Placed:
            lengths += LENGTH.pack(buffer.nbytes | _ELSEWHERE)
            views.append(PLACE.pack(buffer.segment, buffer.offset))
        else:
            view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
            lengths += LENGTH.pack(view.nbytes)
            views.append(view)
    header = _pack(MAGIC, limits.PROTOCOL_VERSION, kind, len(head), len(body), len(views))
    pieces = [header + lengths + head, body, *views]
    if sum(map(len, pieces)) <= _JOINED:
        return [b"".join(pieces)]
    return pieces


def check_limits(head: bytes, body: bytes, buffers: Sequence[Buffer | Placed]) -> None:
    """Whether a frame may be sent.

    Raises:
        ProtocolError: it exceeds a limit.
    """
    if len(head) > limits.MAX_HEAD or len(body) > limits.MAX_BODY:
        raise ProtocolError(
            f"a frame of {len(head):,} + {len(body):,} bytes exceeds the limits of "
            f"{limits.MAX_HEAD:,} (head) and {limits.MAX_BODY:,} (body)"
        )
    if len(buffers) > limits.MAX_BUFFERS:
        raise ProtocolError(f"{len(buffers):,} buffers exceed the limit of {limits.MAX_BUFFERS:,}")


def whole(data: bytes) -> Frame | None:
    """The frame, if `data` is exactly one small frame.

    This is what nearly every read brings; its lengths are checked by adding up.
    """
    if len(data) < _SIZE or data[:3] != _BEGIN:
        return None
    kind, head, body, count = _unpack_rest(data)
    middle = _SIZE + head
    if count or middle + body != len(data) or kind not in _KINDS:
        return None
    return Frame(kind, data[_SIZE:middle], data[middle:], _NO_BUFFERS)


class FrameParser:
    """Bytes in, frames out; keeps what is incomplete, so that a read may stop at any byte."""

    __slots__ = ("_big", "_buffer")

    def __init__(self) -> None:
        self._buffer = b""
        self._big: _BigFrame | None = None

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer = self._buffer + data if self._buffer else data

    def next(self) -> Frame | None:
        """The next complete frame, or None if more bytes are needed."""
        if self._big is not None:
            return self._finish_big()
        buffer = self._buffer
        have = len(buffer)
        if have < _SIZE:
            return None
        magic, version, kind, head, body, count = _unpack(buffer)
        _check(magic, version, kind, head, body, count)
        start = _SIZE + 8 * count
        end = start + head + body
        if count == 0 and have >= end:
            middle = start + head
            frame = Frame(kind, buffer[start:middle], buffer[middle:end], [])
            self._buffer = buffer[end:]
            return frame
        if have < start or (count == 0 and end <= 65536):
            return None
        sizes = [LENGTH.unpack_from(buffer, _SIZE + 8 * i)[0] for i in range(count)]
        elsewhere = {i: size ^ _ELSEWHERE for i, size in enumerate(sizes) if size & _ELSEWHERE}
        for size in (elsewhere.get(i, size) for i, size in enumerate(sizes)):
            if size > limits.MAX_BUFFER:
                raise ProtocolError(
                    f"a buffer of {size:,} bytes exceeds the limit of {limits.MAX_BUFFER:,}"
                )
        here = [PLACE.size if i in elsewhere else size for i, size in enumerate(sizes)]
        self._big = _BigFrame(kind, [head, body, *here], elsewhere)
        self._buffer = self._big.take(buffer[start:])
        return self._finish_big()

    def room(self) -> memoryview | None:
        """Where to receive the next bytes of a large frame, or None: then use `feed`."""
        return self._big.room() if self._big is not None and not self._buffer else None

    def filled(self, count: int) -> None:
        """Say that `count` bytes were received into `room()`."""
        assert self._big is not None
        self._big.position += count

    @property
    def midway(self) -> bool:
        """Whether part of a frame has been received."""
        return self._big is not None or bool(self._buffer)

    def _finish_big(self) -> Frame | None:
        big = self._big
        assert big is not None
        if self._buffer:
            self._buffer = big.take(self._buffer)
        if big.room() is not None:
            return None
        self._big = None
        head, body, *buffers = big.parts
        found: list[Any] = list(buffers)
        assert type(body) is bytearray
        for i, nbytes in big.elsewhere.items():
            segment, offset = PLACE.unpack(buffers[i])
            found[i] = Placed(segment, offset, nbytes)
        return Frame(big.kind, bytes(head), body, found)


class _BigFrame:
    """The parts of a frame that are being filled in place."""

    __slots__ = ("elsewhere", "index", "kind", "parts", "position")

    def __init__(self, kind: int, sizes: list[int], elsewhere: dict[int, int]) -> None:
        self.kind, self.elsewhere = kind, elsewhere
        head, body, *buffers = sizes
        self.parts = [_own(head), _own(body), *(_lent(size) for size in buffers)]
        self.index = self.position = 0

    def room(self) -> memoryview | None:
        while self.index < len(self.parts):
            part = self.parts[self.index]
            if self.position < len(part):
                return memoryview(part)[self.position :]
            self.index += 1
            self.position = 0
        return None

    def take(self, data: bytes) -> bytes:
        """Fill from data; what is left over belongs to the next frame."""
        view = memoryview(data)
        while view and (room := self.room()) is not None:
            n = min(len(room), len(view))
            room[:n] = view[:n]
            self.position += n
            view = view[n:]
        return bytes(view)


def _own(size: int) -> bytearray:
    try:
        return bytearray(size)
    except MemoryError:
        raise ProtocolError(f"no memory for a part of {size:,} bytes") from None


def _lent(size: int) -> bytearray | memoryview:
    try:
        return pool.take(size)
    except MemoryError:
        raise ProtocolError(f"no memory for a buffer of {size:,} bytes") from None


def _check(magic: bytes, version: int, kind: int, head: int, body: int, count: int) -> None:
    if magic != MAGIC:
        raise ProtocolError(f"a frame begins with {magic!r}, expected {MAGIC!r}")
    if version != limits.PROTOCOL_VERSION:
        raise ProtocolError(
            f"a frame of protocol version {version}, expected {limits.PROTOCOL_VERSION}"
        )
    if kind not in Kind.ALL:
        raise ProtocolError(f"a frame of unknown kind {kind}, expected one of {sorted(Kind.ALL)}")
    if head > limits.MAX_HEAD:
        raise ProtocolError(f"a head of {head:,} bytes exceeds the limit of {limits.MAX_HEAD:,}")
    if body > limits.MAX_BODY:
        raise ProtocolError(f"a body of {body:,} bytes exceeds the limit of {limits.MAX_BODY:,}")
    if count > limits.MAX_BUFFERS:
        raise ProtocolError(f"{count:,} buffers exceed the limit of {limits.MAX_BUFFERS:,}")
