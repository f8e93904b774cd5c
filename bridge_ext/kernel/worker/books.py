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
"""Ends of refs that nobody has asked for after which nobody looks any more."""
_UNSEEN = 100
"""So many times its own size an object may have held that was never measured: a list of 1,250
texts is 10 kB, and they are worth giving back."""


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
    """What has changed since somebody looked, of the refs that are listed there.

    Attributes:
        number: of the last answer: if one who looks has not heard that, something is missed.
        changed: ids of refs to be told of, the first of each object.
        unsized: those that are told of again once they are measured.
        gone: ids of refs that have ended.
    """

    __slots__ = ("_listed", "_more", "_serial", "changed", "gone", "number", "unsized")

    def __init__(self, number: int, entries: Iterable[Entry]) -> None:
        self.number = self._serial = number
        self.changed: dict[int, None] = {}
        self.unsized: dict[int, None] = {}
        self.gone: list[int] = []
        self._listed, self._more = 0, False
        for entry in entries:
            if not self.enlist(entry):
                break

    @property
    def sparse(self) -> bool:
        """Whether there is room for many that are not listed."""
        return self._more and self._listed <= MAX_LISTED // 2

    def enlist(self, entry: Entry) -> bool:
        """Tell of an entry from now on, if there is room for it."""
        if self._listed >= MAX_LISTED:
            self._more = True
            return False
        self._listed += 1
        entry.listed = self._serial
        self.changed[entry.ids[0]] = None
        return True

    def change(self, entry: Entry) -> None:
        """Tell of an entry again."""
        if entry.listed == self._serial:
            self.changed[entry.ids[0]] = None

    def drop(self, entry: Entry) -> None:
        """Tell of the end of an entry."""
        if entry.listed == self._serial:
            entry.listed = 0
            self._listed -= 1
            self.gone += entry.ids
            self.changed.pop(entry.ids[0], None)
            self.unsized.pop(entry.ids[0], None)

    @property
    def forgotten(self) -> bool:
        """Whether nobody looks any more."""
        return len(self.gone) > _FORGOTTEN

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

    def read(self, number: int, entries: Iterable[Entry]) -> tuple[Journal, bool]:
        """The journal for the next answer, and whether it begins anew: all that is held is news.

        Args:
            number: of the last answer that was heard, or 0.
            entries: all that are held.
        """
        self._last += 1
        journal = self.journal
        if journal is None or journal.number != number or journal.sparse:
            self.journal = Journal(self._last, entries)
            return self.journal, True
        journal.number = self._last
        return journal, False

    def held(self, entry: Entry) -> None:
        """An entry is held from now on."""
        self.total.add(entry)
        journal = self.journal
        if journal is not None:
            journal.enlist(entry)

    def changed(self, entry: Entry) -> None:
        """An entry has changed, or may have: it was used."""
        if self.journal is not None:
            self.journal.change(entry)

    def let_go(self, entry: Entry) -> None:
        """An entry is held no more."""
        self.total.remove(entry)
        self._freed_refs += 1
        measured = entry.size is not None or not entry.estimated
        self._freed_bytes += entry.nbytes if measured else entry.nbytes * _UNSEEN
        journal = self.journal
        if journal is not None:
            journal.drop(entry)
            if journal.forgotten:
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
