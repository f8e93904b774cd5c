"""One segment of shared memory as it is mapped in this process."""

from __future__ import annotations

import _thread
import mmap
import os
import sys
from contextlib import suppress

from ..errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PAGE = mmap.PAGESIZE
MOST = 1 << 30
"""Bytes of one segment. What is larger goes through the socket."""
_UNTRACKED = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Before that a mapping has a descriptor of its own."""
_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14, which the standard library does not name."""
FREE, WRITTEN = 0, 1
"""The words of the first page: whether it may be written anew, and up to where it was written."""


class Mapped:
    """One segment as it is mapped here.

    Attributes:
        backed: bytes from its beginning that have memory, so that no write to them can fail.
        writes: how often it was written to since it got new memory, up to two.
        used: when it was last written to, on the monotonic clock; 0.0 if it is given back.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = self.backed = self.writes = 0
        self.used = 0.0
        self.data = memoryview(b"")
        self._words: memoryview | None = None

    @property
    def words(self) -> memoryview:
        """Those of the first page; it is mapped when it is first asked for."""
        if self._words is None:
            self._words = self._map(PAGE)[:PAGE].cast("Q")
        return self._words

    def _map(self, size: int) -> memoryview:
        there = os.fstat(self.fd).st_size
        if not size <= there <= MOST or not _sealed(self.fd):
            raise ProtocolError(
                f"a segment of {there:,} bytes, expected at least {size:,}, at most {MOST:,}, "
                f"and that it cannot shrink"
            )
        self.data = memoryview(mmap.mmap(self.fd, size, **_UNTRACKED))
        self.size = size
        return self.data

    def remap(self, size: int) -> None:
        """Map it anew, so large; whoever holds a part of the old mapping keeps that.

        Raises:
            ProtocolError: it is not so large, or could become smaller.
        """
        self._words = self._map(size)[:PAGE].cast("Q")

    def warm(self) -> None:
        """Have all its pages in this mapping: in half of the time of touching one after another."""
        whole: Any = self.data.obj
        with suppress(OSError, ValueError):  # the system does not know how
            whole.madvise(_POPULATE_WRITE)


def _sealed(fd: int) -> bool:
    import fcntl

    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:  # it is a file that knows no seals
        return False


def fence(allocate: Callable[[], Any] = _thread.allocate_lock) -> None:
    """Have what was read and written before this be over before what is after it.

    Some processors reorder both (x86 does not). Giving a lock back orders what was before, taking
    it what is after.
    """
    lock = allocate()
    lock.acquire()
    lock.release()
    lock.acquire()


def whole_pages(size: int) -> int:
    """The size rounded up."""
    return -(-size // PAGE) * PAGE
