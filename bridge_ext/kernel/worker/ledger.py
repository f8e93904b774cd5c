"""Adds up what objects weigh that may share memory."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sizing import Size


class Ledger:
    """A sum over sizes in which each block of memory counts once.

    Where two sizes differ about a block, the largest that was said counts, for as long as any size
    with that block is in. Not thread-safe: the store's lock is around it.

    Attributes:
        nbytes: the bytes that are each size's own, and those of the blocks.
    """

    __slots__ = ("_blocks", "nbytes")

    def __init__(self) -> None:
        self.nbytes = 0
        self._blocks: dict[int, tuple[int, int]] = {}

    def add(self, size: Size) -> None:
        """Count a size; it is O(its buffers)."""
        self.nbytes += size.own
        blocks = self._blocks
        for key, nbytes in size.buffers:
            holders, largest = blocks.get(key, (0, 0))
            more = max(largest, nbytes)
            blocks[key] = (holders + 1, more)
            self.nbytes += more - largest

    def remove(self, size: Size) -> None:
        """Count a size no more; the very one that was added."""
        self.nbytes -= size.own
        blocks = self._blocks
        for key, _ in size.buffers:
            holders, largest = blocks[key]
            if holders > 1:
                blocks[key] = (holders - 1, largest)
            else:
                del blocks[key]
                self.nbytes -= largest
