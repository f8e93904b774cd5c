"""Shared memory for large buffers: segments without a name, passed on at the worker's start.

Each side has segments that it alone writes and the other reads. The first page of one says whether
it is free, and how much of it was written, so that the reader copies what is there while the
writer goes on. Its writer takes one that is free, and the reader frees it: by a store into that
page, which may happen in a finalizer. A segment may grow and never shrinks (it is sealed), so that
what was mapped stays there; what of it nobody uses goes back to the system when it is idle.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time

from .framing import Placed
from .mapped import FREE, MOST, PAGE, WRITTEN, Mapped, fence, whole_pages
from .shared import Incoming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .channel import Channel
    from .framing import Buffer

TO_WORKER, FROM_WORKER = 2, 8
"""Segments each way: what is sent while all of them are taken goes through the socket. Each is a
descriptor at both ends, and one more when it is used; what is read in place keeps one taken."""
LEAST = 256 << 10
"""Bytes of a message's buffers from which a segment pays: below, the socket is as fast."""
_ALIGN = 64
_CHUNK = 512 << 10
"""Bytes after which the reader is told: 15 us of copying, against 1 us to say so. They are still
in the processor's cache when the reader copies them."""
_AGAIN = 30.0
"""Seconds until a segment that could not be given back, because it is taken, is looked at again."""
_GROW = 1.5


def create() -> list[int]:
    """Descriptors of fresh segments both ways, sealed; none where the system has none."""
    made: list[int] = []
    try:
        import fcntl

        for _ in range(TO_WORKER + FROM_WORKER):
            made.append(os.memfd_create("bridge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
            fcntl.fcntl(made[-1], fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            os.ftruncate(made[-1], PAGE)
            os.pwrite(made[-1], b"\1", FREE)
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
        channel.outgoing = Outgoing(sides[ours], gone)
        channel.incoming = Incoming(sides[1 - ours], gone)


def detach(channel: Channel) -> None:
    """Let go of the segments; what is read in place stays."""
    channel.outgoing = channel.incoming = None


def abandon(channel: Channel) -> None:
    """In a forked child: close its copies of the descriptors; what is read in place stays."""
    ends = (channel.outgoing, channel.incoming)
    fds = {fd for end in ends if end is not None for fd in end.descriptors}
    detach(channel)
    for fd in fds:
        os.close(fd)


def trim(channel: Channel, idle: float) -> None:
    """Give the memory of idle segments back, unless somebody sends at this moment."""
    if channel.outgoing is None or not channel.send_lock.acquire(False):
        return
    try:
        if channel.outgoing is not None:
            channel.outgoing.trim(idle)
    finally:
        channel.send_lock.release()


def transport(channel: Channel) -> str:
    """How large buffers cross now: it is the socket, too, while the system gives no memory."""
    outgoing = channel.outgoing
    shared = outgoing is not None and not outgoing.refused
    return "socket, shared memory" if shared else "socket"


class Outgoing:
    """The segments that this side writes. Not thread-safe: a channel's send lock is around it."""

    def __init__(self, fds: Sequence[int], gone: Callable[[], bool]) -> None:
        self._segments, self._gone = [Mapped(fd) for fd in fds], gone
        self.begins: Callable[[], None] | None = None
        """Called when there is memory to give back, and was none before."""
        self.refused = False
        """Whether the system had no room when it was last asked for more."""

    @property
    def descriptors(self) -> list[int]:
        """Those of the segments."""
        return [segment.fd for segment in self._segments]

    def place(
        self, buffers: Sequence[Buffer]
    ) -> tuple[Sequence[Buffer | Placed], Callable[[], None] | None]:
        """Where the buffers of a message go, and what to do once the message was sent."""
        views = [memoryview(b).cast("B") for b in buffers]
        large = [v for v in views if v.nbytes >= PAGE]
        need = PAGE + sum(_up(v.nbytes) for v in large)
        if need < LEAST or need > MOST:
            return buffers, None
        found = self._take(need)
        if found is None:
            return buffers, None
        number, segment = found
        offset, out, todo = PAGE, [], []
        for view in views:
            if view.nbytes < PAGE:
                out.append(view)
                continue
            out.append(Placed(number, offset, view.nbytes))  # type: ignore[arg-type]
            todo.append((offset, view))
            offset += _up(view.nbytes)
        return out, lambda: _write(segment, todo, self._gone)

    def _take(self, need: int) -> tuple[int, Mapped] | None:
        free = [(_fit(s, need), i, s) for i, s in enumerate(self._segments) if _is_free(s)]
        if not free:
            return None
        _, number, segment = min(free)
        if segment.backed < need:
            self.refused = not _grow(segment, need)
            if self.refused:
                return None
        fence()  # what the reader still did with it is over
        segment.words[WRITTEN] = PAGE
        segment.words[FREE] = 0
        first = self.begins is not None and self.due(0.0) is None
        segment.used = time.monotonic()
        if first and self.begins is not None:
            self.begins()
        return number, segment

    def due(self, idle: float) -> float | None:
        """When `trim` has something to do, on the monotonic clock; None if never."""
        return min((s.used + idle for s in self._segments if s.used), default=None)

    def trim(self, idle: float) -> None:
        """Give the memory of segments that were not used for so many seconds back."""
        now = time.monotonic()
        for segment in self._segments:
            if not segment.used or now < segment.used + idle:
                continue
            if not segment.words[FREE]:
                segment.used = now - idle + _AGAIN
                continue
            fence()
            with contextlib.suppress(OSError, AttributeError, ValueError):
                whole: Any = segment.data.obj
                whole.madvise(mmap.MADV_REMOVE, PAGE)
                segment.backed = PAGE
            segment.used = 0.0


def _fit(segment: Mapped, need: int) -> tuple[int, int]:
    """How well a segment fits, best first.

    The one with the least memory that is enough; else the smallest that was as large before, as
    both sides have it mapped; else the largest, which has to grow least.
    """
    if segment.backed >= need:
        return 0, segment.backed
    return (1, segment.size) if segment.size >= need else (2, -segment.size)


def _is_free(segment: Mapped) -> bool:
    try:
        return bool(segment.words[FREE])
    except OSError:  # its first page cannot be mapped
        return False


def _grow(segment: Mapped, need: int) -> bool:
    """Make room; False where the system has none, so that no write to it can fail."""
    size = whole_pages(need)
    if size > segment.size:
        size = max(size, whole_pages(min(MOST, int(segment.size * _GROW))))
    try:
        os.posix_fallocate(segment.fd, 0, size)
        if size > segment.size:
            segment.remap(size)
    except (OSError, ValueError):
        return False
    segment.backed, segment.writes = size, 0
    return True


def _write(segment: Mapped, todo: list[tuple[int, memoryview]], gone: Callable[[], bool]) -> None:
    data, words, new = segment.data, segment.words, segment.writes == 0
    if segment.writes == 1:  # what is used once and then not for a while never needs this
        segment.warm()
    segment.writes = min(2, segment.writes + 1)
    for offset, view in todo:
        for start in range(0, view.nbytes, _CHUNK):
            if gone():
                return  # who ends a worker need not wait for the rest
            piece = view[start : start + _CHUNK]
            at = offset + start
            done = _pushed(segment.fd, piece, at) if new else 0
            data[at + done : at + piece.nbytes] = piece[done:]
            fence()
            words[WRITTEN] = at + piece.nbytes


def _pushed(fd: int, piece: memoryview, at: int) -> int:
    """How much of it the system wrote: in a third of the time of touching each page first."""
    try:
        return os.pwrite(fd, piece, at)
    except OSError:
        return 0


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
