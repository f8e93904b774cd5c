"""How much is held, shared memory counted once; and which refs have changed since somebody looked.

Nothing here is thread-safe: the store's lock is around it.
"""

from __future__ import annotations

from itertools import islice

from .ledger import Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .holding import Entry
    from .sizing import Size

MAX_LISTED = 100_000
"""Refs that one who looks is told of: more than anybody scrolls through, and 50 MB there."""
_FORGOTTEN = 200_000
"""Changes that nobody has asked for after which nobody looks any more."""


class Total:
    """Bytes of entries: of those that were measured, shared buffers once."""

    __slots__ = ("_ledger", "_plain")

    def __init__(self) -> None:
        self._plain = 0
        self._ledger: Ledger | None = None  # most sessions never have one

    @property
    def nbytes(self) -> int:
        """The sum."""
        return self._plain + (self._ledger.nbytes if self._ledger is not None else 0)

    def add(self, entry: Entry) -> None:
        """Count an entry in."""
        if entry.size is None:
            self._plain += entry.facts[2]
            return
        if self._ledger is None:
            self._ledger = Ledger()
        self._ledger.add(entry.size)

    def remove(self, entry: Entry) -> None:
        """Count it out."""
        if entry.size is None:
            self._plain -= entry.facts[2]
        elif self._ledger is not None:
            self._ledger.remove(entry.size)


class Journal:
    """What has changed since somebody looked.

    Attributes:
        number: tells one who looks whether it is still the same.
        changed: ids of refs to be told of, the first of each object.
        unsized: those that are told of again once they are measured.
        gone: ids of refs that have ended.
    """

    __slots__ = ("changed", "gone", "number", "unsized")

    def __init__(self, number: int, ids: Iterable[int]) -> None:
        self.number = number
        self.changed = dict.fromkeys(islice(ids, MAX_LISTED))
        self.unsized: dict[int, None] = {}
        self.gone: list[int] = []

    def take(self, most: int) -> list[int]:
        """Up to so many of the ids that have changed; they are taken out."""
        if len(self.changed) <= most:
            taken = list(self.changed)
            self.changed = {}
            return taken
        taken = list(islice(self.changed, most))
        for ref_id in taken:
            del self.changed[ref_id]
        return taken

    def take_gone(self) -> list[int]:
        """The ids that have ended."""
        gone, self.gone = self.gone, []
        return gone


class Books:
    """What all sessions hold together.

    Attributes:
        total: the bytes.
        journal: what has changed, while somebody looks.
    """

    __slots__ = ("_freed_bytes", "_freed_refs", "_last", "journal", "total")

    def __init__(self) -> None:
        self.total = Total()
        self.journal: Journal | None = None
        self._freed_refs = self._freed_bytes = 0
        self._last = 0

    def open(self, ids: Iterable[int]) -> Journal:
        """Begin to look: all that is held is news."""
        self._last += 1
        self.journal = Journal(self._last, ids)
        return self.journal

    def held(self, entry: Entry) -> None:
        """An entry is held from now on."""
        self.total.add(entry)
        self.changed(entry)

    def changed(self, entry: Entry) -> None:
        """An entry has changed, or may have: it was used."""
        journal = self.journal
        if journal is not None:
            journal.changed[entry.ids[0]] = None
            if len(journal.changed) > _FORGOTTEN:
                self.journal = None

    def let_go(self, entry: Entry) -> None:
        """An entry is held no more."""
        self.total.remove(entry)
        self._freed_refs += 1
        self._freed_bytes += entry.nbytes
        journal = self.journal
        if journal is not None:
            journal.gone += entry.ids
            for ref_id in entry.ids:
                journal.changed.pop(ref_id, None)
                journal.unsized.pop(ref_id, None)
            if len(journal.gone) > _FORGOTTEN:
                self.journal = None

    def take_freed(self) -> tuple[int, int]:
        """`(refs, bytes)` that were let go since this was asked last."""
        freed = self._freed_refs, self._freed_bytes
        self._freed_refs = self._freed_bytes = 0
        return freed

    def sized(self, entry: Entry, size: Size) -> None:
        """An entry that is held was measured; its session counts it anew."""
        total, own = self.total, entry.session.total
        before = (entry.nbytes, entry.estimated, entry.retained)
        total.remove(entry)
        own.remove(entry)
        entry.size = size
        total.add(entry)
        own.add(entry)
        if (entry.nbytes, entry.estimated, entry.retained) != before:
            self.changed(entry)
