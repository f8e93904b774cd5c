"""Private memory for large buffers that come in, kept warm.

A page that is touched for the first time costs more than all else of a transfer: memory that is
fresh takes 1 GB/s, and what was used before 10 and more.
A block is given again once nobody holds any part of it: an array made of it is memory like any
other to its owner, who may write to it, and keep it for ever.
"""

from __future__ import annotations

import sys
import threading
import time

LEAST = 64 << 10
"""Bytes below which a block is not kept: the interpreter's allocator has those at hand."""
MOST = 512 << 20
"""Bytes that are kept for later, at most."""
LOOSE = 1.25
"""How much larger than what is asked for a kept block may be."""


class Pool:
    """Blocks of memory. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: list[tuple[bytearray, float]] = []

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
                block = bytearray(size)
            self._keep(block)
            return memoryview(block)[:size]  # from here on it is exported, so it is not free

    def _free_block(self, size: int) -> bytearray | None:
        fitting = [b for b, _ in self._blocks if size <= len(b) <= size * LOOSE]
        return next((b for b in sorted(fitting, key=len) if _is_free(b)), None)

    def _keep(self, block: bytearray) -> None:
        """Keep a block, the last used last, and those used longest ago no more."""
        kept = [(b, used) for b, used in self._blocks if b is not block]
        kept.append((block, time.monotonic()))
        total = sum(len(b) for b, _ in kept)
        while total > MOST:
            total -= len(kept.pop(0)[0])
        self._blocks = kept

    def trim(self, idle: float) -> None:
        """Let go of what was not given for so many seconds; whoever holds a part keeps it."""
        if not self._blocks:
            return
        with self._lock:
            since = time.monotonic() - idle
            self._blocks = [(b, used) for b, used in self._blocks if used > since]


def _is_free(block: bytearray) -> bool:
    """Whether nobody holds the block (as this frame, its caller's and the pool do), or a part."""
    if sys.getrefcount(block) > _REFERENCES:
        return False
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
