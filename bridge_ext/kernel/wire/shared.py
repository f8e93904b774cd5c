"""Buffers that lie in shared segments, as their reader has them: copied, or read in place."""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress
from functools import lru_cache, partial
from itertools import count, islice
from operator import setitem

from ..errors import ProtocolError
from .framing import Placed, pool
from .mapped import FREE, PAGE, WRITTEN, Mapped, fence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

_STALLED = 5.0
"""Seconds without a byte after which a writer is given up."""
_LOOK = 0.01
"""Seconds that one look for more counts at most: while both sides are stopped, no time passes."""


class Stalled(ConnectionResetError):
    """The writer of a buffer lives and does not go on."""


class Torn(ConnectionResetError):
    """The writer of a buffer has died before all of it was there."""


class Incoming:
    """The segments that the other side writes.

    Args:
        fds: of the segments, in the other side's order.
        gone: whether the other side has died.
    """

    def __init__(self, fds: Sequence[int], gone: Callable[[], bool]) -> None:
        self._segments = [Mapped(fd) for fd in fds]
        self._gone = gone

    @property
    def descriptors(self) -> list[int]:
        """Those of the segments."""
        return [segment.fd for segment in self._segments]

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
                raise ProtocolError(f"there is no segment {number} of {len(self._segments)}")
        leases = {number: _lease(self._segments[number]) for number in numbers}
        return [self._shared(b, leases) if type(b) is Placed else b for b in buffers]

    def _shared(self, placed: Placed, leases: dict[int, _Lease | None]) -> Shared:
        segment, end = self._segments[placed.segment], placed.offset + placed.nbytes
        if placed.offset < PAGE:
            raise ProtocolError(f"a buffer begins at {placed.offset}, before {PAGE:,}")
        if end > segment.size:
            size = os.fstat(segment.fd).st_size
            if end > size:
                raise ProtocolError(f"a buffer ends at {end:,} of a segment of {size:,} bytes")
            with suppress(OSError):  # who opens it is told that there was no room
                segment.remap(size)
        return Shared(leases[placed.segment], segment, placed, self._gone)


class _Lease:
    """A segment is taken as long as this lives: the buffers of one frame refer to it."""

    __slots__ = ("__weakref__",)


_alive: dict[int, tuple[weakref.ref[_Lease], ...]] = {}
"""What frees the segments of leases. A forked child forgets it: there the end of a lease says
nothing, for the parent reads on."""
os.register_at_fork(after_in_child=_alive.clear)
_numbers = count()


def _lease(segment: Mapped) -> _Lease | None:
    """A lease, at whose end the segment is free, and nothing is left here.

    None if it cannot be mapped here: then it is free already.

    C functions alone do this. In a `__del__` an interrupt could be raised before its first line,
    and the segment would stay taken for ever.
    """
    try:
        flag = segment.words.cast("B")[FREE : FREE + 1].cast("?")
    except OSError:
        os.pwrite(segment.fd, b"\1", FREE)
        return None
    lease, number = _Lease(), next(_numbers)
    _alive[number] = (
        weakref.ref(lease, partial(setitem, flag, 0)),  # what is stored is whether this is true
        weakref.ref(lease, partial(_alive.pop, number)),
    )
    return lease


class Shared:
    """A buffer in a segment; it is opened once, and then does not keep the segment any more."""

    __slots__ = ("_data", "_gone", "_lease", "_mapped", "_placed", "_words")

    def __init__(
        self, lease: _Lease | None, segment: Mapped, placed: Placed, gone: Callable[[], bool]
    ) -> None:
        self._lease = lease
        self._placed, self._gone = placed, gone
        self._mapped = lease is not None and placed.offset + placed.nbytes <= segment.size
        if self._mapped:
            self._data, self._words = segment.data, segment.words

    def copied(self) -> memoryview:
        """A copy in private memory, made while the writer may still be writing.

        Raises:
            MemoryError: there is no room for it, or to map the segment.
            Torn: the writer has died.
            Stalled: it does not go on.
            ProtocolError: it was opened before.
        """
        self._check()
        try:
            placed = self._placed
            out = memoryview(pool.take(placed.nbytes))
            done, start = 0, placed.offset
            while done < placed.nbytes:
                there = min(self._arrived(done), placed.nbytes)
                out[done:there] = self._data[start + done : start + there]
                done = there
            fence()
            return out
        finally:
            self._lease = None

    def viewed(self) -> memoryview:
        """The buffer itself, to be read; the segment is taken until nobody holds any part of it.

        Raises:
            MemoryError, Torn, Stalled, ProtocolError: as `copied`.
        """
        lease = self._check()
        try:
            placed, done = self._placed, 0
            while done < placed.nbytes:
                done = self._arrived(done)
            return _guarded(self._data, placed.offset, placed.nbytes, lease)
        finally:
            del lease  # a traceback would hold it
            self._lease = None

    def _check(self) -> _Lease:
        if not self._mapped:
            self._lease = None
            raise MemoryError(f"no room to map {self._placed.nbytes:,} bytes of shared memory")
        if self._lease is None:
            raise ProtocolError("a buffer was opened twice")
        return self._lease

    def _arrived(self, done: int) -> int:
        """How much of it is there, more than that."""
        words, start = self._words, self._placed.offset
        waited, last = 0.0, None
        while True:
            there = words[WRITTEN] - start
            if there > done:
                fence()
                return int(there)
            now = time.monotonic()
            waited += min(now - last, _LOOK) if last is not None else 0.0
            last = now
            if self._gone():
                raise Torn("the other side died in the middle of a buffer")
            if waited > _STALLED:
                raise Stalled("the other side does not go on with a buffer")
            os.sched_yield()


def copied(buffers: list[Any], first: int = 0) -> Iterator[Any]:
    """Buffers of a frame, from one on, each in private memory once it is asked for."""
    for b in islice(buffers, first, None):
        yield b.copied() if type(b) is Shared else b


def viewed(buffers: list[Any], first: int = 0) -> Iterator[memoryview]:
    """Buffers of a frame, from one on, to be read only; those that are shared where they are."""
    for b in islice(buffers, first, None):
        yield b.viewed() if type(b) is Shared else memoryview(b).toreadonly()


def _guarded(data: memoryview, offset: int, size: int, lease: _Lease) -> memoryview:
    """A view of memory whose holders hold the lease too, also if they hold a part of it."""
    guard = _guard(size).from_buffer(data, offset)
    guard.lease = lease
    return memoryview(guard).cast("B").toreadonly()


@lru_cache(maxsize=16)
def _guard(size: int) -> Any:
    """A class of memory of that size whose instances hold what a slice of a view refers to."""
    import ctypes

    class Guard(ctypes.c_char * size):  # type: ignore[misc]
        pass

    return Guard
