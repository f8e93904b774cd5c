"""Shared memory for large buffers: segments without a name, passed on at the worker's start.

Each side has segments that it alone writes and the other reads. The first page of one says whether
it is taken, and how much of it was written, so that the reader copies what is there while the
writer goes on. Its writer takes one that is free, and the reader frees it: by a store into that
page, which may happen in a finalizer. A segment may grow and never shrinks (it is sealed), so that
what was mapped stays there; what of it nobody uses goes back to the system when it is idle.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time

from ..errors import ProtocolError
from .framing import Placed, pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .channel import Channel
    from .framing import Buffer

TO_WORKER, FROM_WORKER = 2, 4
"""Segments each way: what is sent while all of them are taken goes through the socket. Each is a
descriptor at both ends, and one more when it is used; what is read in place keeps one taken."""
LEAST = 512 << 10
"""Bytes of a message's buffers from which a segment pays: below, the socket is as fast."""
MOST = 1 << 30
"""Bytes of one segment. What is larger goes through the socket."""
_PAGE = mmap.PAGESIZE
_ALIGN = 64
_CHUNK = 1 << 20
"""Bytes after which the reader is told: 30 us of copying, against 1 us to say so."""
_STALLED = 5.0
"""Seconds without a byte after which a writer is given up."""
_TAKEN, _WRITTEN = 0, 1
_GROW = 1.5


def create() -> list[int]:
    """Descriptors of fresh segments both ways, sealed; none where the system has none."""
    made: list[int] = []
    try:
        import fcntl

        for _ in range(TO_WORKER + FROM_WORKER):
            made.append(os.memfd_create("bridge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
            fcntl.fcntl(made[-1], fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            os.ftruncate(made[-1], _PAGE)
    except (ImportError, AttributeError, OSError):
        for fd in made:
            os.close(fd)
        return []
    return made


def attach(
    channel: Channel, fds: Sequence[int], *, ours: int, gone: Callable[[], bool] = bool
) -> None:
    """Let a channel send and receive through segments.

    Args:
        channel: of data.
        fds: of the segments that the kernel writes, then of those that the worker writes.
        ours: 0 in the kernel, 1 in the worker.
        gone: whether the other side has died.
    """
    if fds:
        sides = fds[:TO_WORKER], fds[TO_WORKER:]
        channel.outgoing = Outgoing(sides[ours])
        channel.incoming = Incoming(sides[1 - ours], gone)


def detach(channel: Channel) -> None:
    """Let go of the segments; what is read in place stays."""
    channel.outgoing = channel.incoming = None


class _Mapped:
    """One segment as it is mapped here."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0
        self.data = memoryview(b"")
        self._words: memoryview | None = None

    @property
    def words(self) -> memoryview:
        """Those of the first page; it is mapped when it is first asked for."""
        if self._words is None:
            self._words = self._map(_PAGE)[:_PAGE].cast("Q")
        return self._words

    def _map(self, size: int) -> memoryview:
        self.data = memoryview(mmap.mmap(self.fd, size))
        self.size = size
        return self.data

    def remap(self, size: int) -> None:
        """Map it anew, so large; whoever holds a part of the old mapping keeps that."""
        self._words = self._map(size)[:_PAGE].cast("Q")


class Outgoing:
    """The segments that this side writes. Not thread-safe: a channel's send lock is around it."""

    def __init__(self, fds: Sequence[int]) -> None:
        self._segments = [_Mapped(fd) for fd in fds]
        self._used = 0.0

    def place(
        self, buffers: Sequence[Buffer]
    ) -> tuple[Sequence[Buffer | Placed], Callable[[], None] | None]:
        """Where the buffers of a message go, and what to do once the message was sent."""
        views = [memoryview(b).cast("B") for b in buffers]
        large = [v for v in views if v.nbytes >= _PAGE]
        need = _PAGE + sum(_up(v.nbytes) for v in large)
        if need < LEAST or need > MOST:
            return buffers, None
        found = self._take(need)
        if found is None:
            return buffers, None
        number, segment = found
        offset, out, todo = _PAGE, [], []
        for view in views:
            if view.nbytes < _PAGE:
                out.append(view)
                continue
            out.append(Placed(number, offset, view.nbytes))  # type: ignore[arg-type]
            todo.append((offset, view))
            offset += _up(view.nbytes)
        return out, lambda: _write(segment, todo)

    def _take(self, need: int) -> tuple[int, _Mapped] | None:
        free = [(i, s) for i, s in enumerate(self._segments) if not s.words[_TAKEN]]
        if not free:
            return None
        fitting = [place for place in free if place[1].size >= need]
        number, segment = min(fitting or free, key=lambda place: (place[1].size, place[0]))
        if segment.size < need and not _grow(segment, need):
            return None
        segment.words[_WRITTEN] = _PAGE
        segment.words[_TAKEN] = 1
        self._used = time.monotonic()
        return number, segment

    def trim(self, idle: float) -> None:
        """Give the memory of segments that were not used for so many seconds back."""
        if not self._used or time.monotonic() - self._used < idle:
            return
        for segment in self._segments:
            if segment.size > _PAGE and not segment.words[_TAKEN]:
                with contextlib.suppress(OSError, AttributeError, ValueError):
                    whole: Any = segment.data.obj
                    whole.madvise(mmap.MADV_REMOVE, _PAGE)
        self._used = 0.0


def _grow(segment: _Mapped, need: int) -> bool:
    """Make room; False where the system has none, so that no write to it can fail."""
    size = _whole_pages(min(MOST, max(need, int(segment.size * _GROW))))
    try:
        os.posix_fallocate(segment.fd, 0, size)
        segment.remap(size)
    except (OSError, ValueError):
        return False
    return True


def _write(segment: _Mapped, todo: list[tuple[int, memoryview]]) -> None:
    data, words = segment.data, segment.words
    for offset, view in todo:
        for start in range(0, view.nbytes, _CHUNK):
            piece = view[start : start + _CHUNK]
            data[offset + start : offset + start + piece.nbytes] = piece
            words[_WRITTEN] = offset + start + piece.nbytes


class Incoming:
    """The segments that the other side writes.

    Args:
        fds: of the segments, in the other side's order.
        gone: whether the other side has died.
    """

    def __init__(self, fds: Sequence[int], gone: Callable[[], bool]) -> None:
        self._segments = [_Mapped(fd) for fd in fds]
        self._gone = gone

    def open(self, buffers: list[Any]) -> list[Any]:
        """The buffers of a frame, with those that lie elsewhere as `Shared`.

        Raises:
            ProtocolError: there is no such place.
        """
        if not any(type(b) is Placed for b in buffers):
            return buffers
        numbers = {b.segment for b in buffers if type(b) is Placed}
        for number in numbers:
            if number >= len(self._segments):
                raise ProtocolError(f"there is no segment {number}, of {len(self._segments)}")
        leases = {number: _Lease(self._segments[number]) for number in numbers}
        return [self._shared(b, leases) if type(b) is Placed else b for b in buffers]

    def _shared(self, placed: Placed, leases: dict[int, _Lease]) -> Shared:
        segment, end = self._segments[placed.segment], placed.offset + placed.nbytes
        if end > segment.size:
            size = os.fstat(segment.fd).st_size
            if end > size or not _sealed(segment.fd):
                raise ProtocolError(f"a buffer ends at {end:,} of a segment of {size:,} bytes")
            segment.remap(size)
        return Shared(leases[placed.segment], segment, placed, self._gone)


def _sealed(fd: int) -> bool:
    import fcntl

    return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)


class _Lease:
    """A segment is taken as long as this lives: the buffers of one frame refer to it."""

    __slots__ = ("_words",)

    def __init__(self, segment: _Mapped) -> None:
        self._words = segment.words

    def __del__(self) -> None:
        self._words[_TAKEN] = 0


class Shared:
    """A buffer in a segment."""

    __slots__ = ("_data", "_gone", "_lease", "_placed", "_words")

    def __init__(
        self, lease: _Lease, segment: _Mapped, placed: Placed, gone: Callable[[], bool]
    ) -> None:
        self._lease, self._placed, self._gone = lease, placed, gone
        self._data, self._words = segment.data, segment.words

    def copied(self) -> bytearray | memoryview:
        """A copy in private memory, made while the writer may still be writing.

        Raises:
            ConnectionResetError: the writer has died, or does not go on.
        """
        placed = self._placed
        out = memoryview(pool.take(placed.nbytes))
        done, start = 0, placed.offset
        while done < placed.nbytes:
            there = min(self._arrived(done), placed.nbytes)
            out[done:there] = self._data[start + done : start + there]
            done = there
        return out

    def viewed(self) -> memoryview:
        """The buffer itself, to be read; the segment is taken until nobody holds any part of it.

        Raises:
            ConnectionResetError: as `copied`.
        """
        placed, done = self._placed, 0
        while done < placed.nbytes:
            done = self._arrived(done)
        return _guarded(self._data, placed.offset, placed.nbytes, self._lease)

    def _arrived(self, done: int) -> int:
        """How much of it is there, more than that."""
        words, start = self._words, self._placed.offset
        limit = None
        while True:
            there = words[_WRITTEN] - start
            if there > done:
                return int(there)
            now = time.monotonic()
            limit = now + _STALLED if limit is None else limit
            if self._gone() or now > limit:
                raise ConnectionResetError("the other side left in the middle of a buffer")
            os.sched_yield()


def copied(buffers: list[Any]) -> list[Any]:
    """Buffers of a frame, each of them in private memory."""
    return [b.copied() if type(b) is Shared else b for b in buffers]


def viewed(buffers: list[Any]) -> list[Any]:
    """Buffers of a frame, to be read only; those that are shared where they are."""
    return [b.viewed() if type(b) is Shared else memoryview(b).toreadonly() for b in buffers]


def _guarded(data: memoryview, offset: int, size: int, lease: _Lease) -> memoryview:
    """A view of memory whose holders hold the lease too, also if they hold a part of it."""
    import ctypes

    class Guard(ctypes.c_char * size):  # type: ignore[misc]  # a slice of a view refers to this
        pass

    guard = Guard.from_buffer(data, offset)
    guard.lease = lease
    return memoryview(guard).cast("B").toreadonly()


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
