"""Private memory for large buffers that come in, kept warm.

A page that is touched for the first time costs more than all else of a transfer: memory that is
fresh takes 1 GB/s, and what was used before 10 and more.
A block is given again once nobody holds any part of it: an array made of it is memory like any
other to its owner, who may write to it, and keep it for ever.
"""

from __future__ import annotations

import mmap
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Block = bytearray | mmap.mmap

IDLE = 3.0
"""Seconds after which what was not used goes back to the system, here and in segments."""
LEAST = 64 << 10
"""Bytes below which a block is not kept: the interpreter's allocator has those at hand."""
MOST = 512 << 20
"""Bytes that a pool keeps for later, at most, if it is not told otherwise."""
HUGE = 4 << 20
"""Bytes from which a block is made of huge pages, where the system has them: a third of the time
when they are touched first, and less of it later."""
LOOSE = 1.25
"""How much larger than what is asked for a kept block may be."""


class Pool:
    """Blocks of memory. Every method may be called from any thread.

    Attributes:
        begins: called when there is a block to be kept, and was none before.
        most: bytes that are kept for later, at most.
    """

    def __init__(self) -> None:
        self.most = MOST
        self.begins: Callable[[], None] | None = None
        self._blocks: list[tuple[Block, float]] = []
        self.forked()

    def forked(self) -> None:
        """In a forked child, whoever had the lock is not there to give it back."""
        self._lock = threading.Lock()

    def take(self, size: int) -> bytearray | memoryview:
        """Memory of exactly that size, to write to; its content is anything.

        Raises:
            MemoryError: there is none.
        """
        if size < LEAST:
            return bytearray(size)
        with self._lock:
            block = self._free_block(size)
            if block is None:
                block = _fresh(size)
            first = not self._blocks
            self._keep(block)
            view = memoryview(block)[:size]  # from here on it is exported, so it is not free
        if first and self.begins is not None:
            self.begins()
        return view

    def _free_block(self, size: int) -> Block | None:
        fitting = [b for b, _ in self._blocks if size <= len(b) <= size * LOOSE]
        return next((b for b in sorted(fitting, key=len) if _is_free(b)), None)

    def _keep(self, block: Block) -> None:
        """Keep a block, the last used last, and those used longest ago no more."""
        kept = [(b, used) for b, used in self._blocks if b is not block]
        kept.append((block, time.monotonic()))
        total = sum(len(b) for b, _ in kept)
        while total > self.most:
            total -= len(kept.pop(0)[0])
        self._blocks = kept

    def due(self, idle: float) -> float | None:
        """When `trim` has something to do, on the monotonic clock; None if never."""
        with self._lock:
            return self._blocks[0][1] + idle if self._blocks else None

    def trim(self, idle: float) -> int:
        """Let go of what was not given for so many seconds; whoever holds a part keeps it.

        Returns:
            Bytes that it let go of.
        """
        if not self._blocks:
            return 0
        with self._lock:
            since, before = time.monotonic() - idle, self._blocks
            self._blocks = [(b, used) for b, used in before if used > since]
            return sum(len(b) for b, used in before if used <= since)


def _fresh(size: int) -> Block:
    if size >= HUGE:
        try:
            block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            block.madvise(mmap.MADV_HUGEPAGE)
            return block
        except (OSError, AttributeError):  # there is no room, or there are no such pages
            pass
    return bytearray(size)


def _is_free(block: Block) -> bool:
    """Whether nobody holds the block (as this frame, its caller's and the pool do), or a part.

    Whoever holds a part of a mapping refers to it.
    """
    if sys.getrefcount(block) > _REFERENCES:
        return False
    if not isinstance(block, bytearray):
        return True
    try:
        block.pop()  # no bytes move; but no length may change while a part is exported
    except BufferError:
        return False
    block.append(0)
    return True


def _count_references() -> int:
    """References to a block as `_is_free` counts them where nobody else has one."""
    counted: list[int] = []

    def look(block: bytearray) -> bool:
        counted.append(sys.getrefcount(block))
        return True

    blocks = [(bytearray(1), 0.0)]
    fitting = [b for b, _ in blocks]
    next((b for b in sorted(fitting, key=len) if look(b)), None)
    return counted[0]


_REFERENCES = _count_references()
