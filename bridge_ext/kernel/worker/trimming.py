"""Gives memory that releases have freed back to the system, while the worker has nothing to do.

Three things stand between an object that is dropped and the system. Python's own allocator, for
objects up to 512 bytes, gives an arena of 1 MiB back by itself once nothing is in it. Buffers above
the C library's mmap threshold go back as they are freed; but that threshold grows with the largest
of them that was freed, up to 32 MiB, and what is below stays with the C library: that is what
`malloc_trim` gives back, 1 GB in 70 ms. And cycles are freed by the collector alone, which starts
by the number of objects, however large they are.
"""

from __future__ import annotations

import gc
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LEAST_BYTES = 1_000_000
"""What must have been dropped: less does not show in what the system says of a process."""
LEAST_REFS = 1_000
"""Or so many refs: an object without a size that says much may be all that held a large one."""
IDLE = 0.1
"""Seconds without a call: a cell that makes many calls does not wait for this between them."""
PAUSE = 0.05
"""Seconds that a call which comes meanwhile may wait for the collector, which keeps the GIL."""
SECONDS_PER_BLOCK = 100e-9
"""What a whole collection takes for each block of Python's allocator, before one was measured.

As slow as it was seen to be, on the many small objects of imported libraries. Blocks are counted
because that takes 0.1 ms; they are more than the objects that the collector looks at.
"""
_FASTEST = SECONDS_PER_BLOCK / 4
"""One measured on blocks that the collector does not look at says little of the next."""
REST = 20
"""A run is followed by this many times as long without one: at most a twentieth goes into it."""


class Trimmer:
    """Notes what releases let go, says when it is worth while to give it back, and does so.

    `dropped` may be called from any thread, the others from one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refs = self._nbytes = 0
        self._rests_until = 0.0
        self._per_block = SECONDS_PER_BLOCK
        self._trim: Callable[[int], Any] | None = None

    def dropped(self, refs: int, nbytes: int) -> bool:
        """Note what a release let go; whether with this it is enough, and was not before."""
        with self._lock:
            before = self.enough
            self._refs += refs
            self._nbytes += nbytes
            return self.enough and not before

    @property
    def enough(self) -> bool:
        """Whether it is worth while."""
        return self._refs >= LEAST_REFS or self._nbytes >= LEAST_BYTES

    def due(self, now: float, idle_since: float | None) -> float | None:
        """When to run, on the monotonic clock, if the worker stays idle; None if there is no need.

        Args:
            now: nothing is due before it.
            idle_since: when the main thread had its last call; None while it has one.
        """
        with self._lock:
            enough = self.enough
        if not enough or idle_since is None:
            return None
        return max(now, idle_since + IDLE, self._rests_until)

    def run(self) -> None:
        """Collect cycles, as far as that is short, and give free memory back.

        Destructors of objects in cycles run in this thread, as they do in whichever thread the
        collector happens to start. A call that comes meanwhile waits for up to `PAUSE` for the
        collector; then, though the GIL is free, for the C library if it needs memory from it.
        """
        with self._lock:
            self._refs = self._nbytes = 0
        begun = time.monotonic()
        self._collect()
        if self._trim is None:
            self._trim = _find_trim()
        self._trim(0)
        ended = time.monotonic()
        self._rests_until = ended + REST * (ended - begun)

    def _collect(self) -> None:
        if not gc.isenabled():
            return  # whoever turned it off decides when it runs
        blocks = sys.getallocatedblocks()
        whole = generation(blocks, self._per_block)
        begun = time.monotonic()
        gc.collect(whole)
        if whole == 2:
            self._per_block = max(_FASTEST, (time.monotonic() - begun) / blocks)
        else:  # it may have been measured while the machine was busy
            self._per_block = min(self._per_block, (self._per_block + SECONDS_PER_BLOCK) / 2)


def generation(blocks: int, seconds_per_block: float) -> int:
    """How far to collect: all, or, where that would be a pause, what is not old."""
    return 2 if blocks * seconds_per_block <= PAUSE else 1


def _find_trim() -> Callable[[int], Any]:
    """`malloc_trim`, called without the GIL, where the C library is glibc; else nothing."""
    try:
        import ctypes

        trim = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, TypeError, AttributeError):
        return _nothing
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim


def _nothing(pad: int) -> None:
    """Other C libraries give memory back as they see fit."""
