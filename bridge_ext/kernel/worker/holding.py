"""The records of a store: an object held, a session of them, and what a result sends."""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict

from ..wire.limits import ENDED_REMEMBERED
from .books import Books, Total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from .ahead import Ahead
    from .introspect import Facts
    from .kinds import TypeInfo
    from .sizing import Size


class Entry:
    """One object in one session.

    Attributes:
        size: what it was measured as, once it was; `sized` is when, or 0.
        listed: in which journal it is listed, or 0.
    """

    __slots__ = (
        "ahead",
        "cell",
        "facts",
        "ids",
        "kept",
        "listed",
        "made",
        "obj",
        "receipts",
        "session",
        "size",
        "sized",
        "type",
        "used",
    )

    def __init__(
        self, obj: Any, session: Session, ref_id: int, type: TypeInfo, facts: Facts
    ) -> None:
        self.obj = obj
        self.session = session
        self.ids = [ref_id]
        self.type = type
        self.facts = facts
        self.receipts = 0
        self.kept: str | None = None
        self.ahead: Ahead | None = None
        self.cell = ""
        self.made = self.used = time.monotonic()
        self.size: Size | None = None
        self.sized = 0.0
        self.listed = 0

    @property
    def nbytes(self) -> int:
        """Its size in bytes, as well as it is known."""
        return self.facts[2] if self.size is None else self.size.nbytes

    @property
    def estimated(self) -> bool:
        """Whether that is not exactly the whole."""
        return self.facts[3] if self.size is None else self.size.estimated

    @property
    def retained(self) -> int:
        """Bytes that it keeps in memory: also the rest of the buffers that it is a view of."""
        return self.facts[2] if self.size is None else self.size.retained


class Spec:
    """A session as its kernel declares it."""

    __slots__ = ("auto", "generation", "id", "max_refs", "overflow", "ttl")

    def __init__(
        self, id: str, generation: int, auto: bool, max_refs: int, ttl: float, overflow: str
    ) -> None:
        types = [type(x) for x in (id, generation, auto, max_refs, overflow)]
        if types != [str, int, bool, int, str] or not isinstance(ttl, (int, float)):
            raise TypeError("a session is [id, generation, auto, max_refs, ttl, overflow]")
        self.id, self.generation, self.auto = id, generation, auto
        self.max_refs, self.ttl, self.overflow = max_refs, ttl, overflow


class Session:
    """The refs of one generation of one session id, and their books.

    Not thread-safe: the store's lock is around it.

    Attributes:
        by_object: entries by the `id` of their object, the least recently used first where the
            session evicts.
        gone: how refs went that were here, and their bytes; the last of them.
        flying: calls in flight.
        live: entries that a kernel has receipts for.
    """

    __slots__ = (
        "books",
        "by_object",
        "ended",
        "evictions",
        "flying",
        "gone",
        "idle_since",
        "kept",
        "live",
        "spec",
        "timed",
        "total",
    )

    def __init__(self, spec: Spec, books: Books | None = None) -> None:
        self.spec = spec
        self.books = books if books is not None else Books()
        self.total = Total()
        self.by_object: dict[int, Entry] = {}
        self.kept: dict[str, Entry] = {}
        self.gone: OrderedDict[int, tuple[str, int]] = OrderedDict()
        self.flying = 0
        self.live = 0
        self.evictions = 0
        self.idle_since = time.monotonic()
        self.ended = ""
        self.timed = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds, shared memory counted once."""
        return self.total.nbytes

    def adopt(self, entry: Entry) -> None:
        """Hold an entry, with the receipts it has."""
        entry.session = self
        self.by_object[id(entry.obj)] = entry
        self.total.add(entry)
        self.books.held(entry)
        if entry.receipts:
            self.live += 1

    def receive(self, entry: Entry, count: int) -> None:
        """The kernel gets `count` more receipts of an entry that is held."""
        if count and not entry.receipts:
            self.live += 1
        entry.receipts += count

    def give_back(self, entry: Entry, count: int) -> bool:
        """The kernel gives receipts back; whether nothing holds the entry any more."""
        if not entry.receipts:
            return False
        entry.receipts = max(0, entry.receipts - count)
        if entry.receipts:
            return False
        self.live -= 1
        self.idle_since = time.monotonic()
        return entry.kept is None

    def forget(self, entry: Entry) -> None:
        """Hold an entry no more."""
        del self.by_object[id(entry.obj)]
        self.total.remove(entry)
        self.books.let_go(entry)
        if entry.receipts:
            self.live -= 1
            self.idle_since = time.monotonic()
        if entry.kept is not None:
            del self.kept[entry.kept]
            entry.kept = None

    def remember(self, entry: Entry, reason: str) -> None:
        """Keep in mind how an entry went."""
        for ref_id in entry.ids:
            self.gone[ref_id] = (reason, entry.nbytes)
        while len(self.gone) > ENDED_REMEMBERED:
            self.gone.popitem(last=False)

    def keep(self, entry: Entry, name: str) -> Entry | None:
        """Name an entry; the one that had the name, if nothing else holds it."""
        before = self.kept.pop(name, None)
        if entry.kept is not None:
            self.kept.pop(entry.kept, None)
        self.kept[name] = entry
        self.books.changed(entry)
        if before is None or before is entry:
            entry.kept = name
            return None
        before.kept, entry.kept = None, name
        self.books.changed(before)
        return None if before.receipts else before

    def touch(self, entry: Entry) -> None:
        """The entry was used just now."""
        entry.used = time.monotonic()
        self.books.changed(entry)
        if self.spec.overflow == "evict":
            key = id(entry.obj)
            self.by_object[key] = self.by_object.pop(key)

    def evictable(self, count: int, spared: Container[int]) -> list[Entry]:
        """Up to `count` refs that may go, the least recently used first: not kept, not spared."""
        if self.spec.overflow != "evict":
            return []
        found: list[Entry] = []
        for key, entry in self.by_object.items():
            if len(found) == count:
                break
            if entry.kept is None and key not in spared:
                found.append(entry)
        return found


class SessionEnded(Exception):
    """The session (or this generation of it) has ended or was never declared."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Released:
    """What a release freed, and the objects still to be let go."""

    __slots__ = ("doomed", "nbytes", "refs")

    def __init__(self, refs: int = 0, nbytes: int = 0, doomed: list[Any] | None = None) -> None:
        self.refs, self.nbytes, self.doomed = refs, nbytes, doomed if doomed is not None else []


class Draft:
    """What one result sends: entries and how often each. Nothing is held until it is admitted."""

    __slots__ = ("_entry_for", "entries", "sent", "session")

    def __init__(self, session: Session, entry_for: Callable[[Session, Any], Entry]) -> None:
        self.session, self._entry_for = session, entry_for
        self.entries: dict[int, Entry] = {}
        self.sent: dict[int, int] = {}

    def add(self, obj: Any) -> Entry:
        """The entry to send for an object, counted once more."""
        key = id(obj)
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = self._entry_for(self.session, obj)
        self.sent[key] = self.sent.get(key, 0) + 1
        return entry

    def copy(self) -> tuple[dict[int, Entry], dict[int, int]]:
        """What it is now, to be restored."""
        return dict(self.entries), dict(self.sent)

    def restore(self, before: tuple[dict[int, Entry], dict[int, int]]) -> None:
        """Forget what was added since."""
        self.entries, self.sent = before


class Clock:
    """Which session may have been idle for its ttl, and when to look.

    A session stands on the clock at most once, however many calls it has: when its time comes,
    whoever looks puts it back with the time that is left. `session.timed` is the ticket of its
    place; places without a session are cleared away before they are half of all. Not thread-safe:
    the store's lock is around it.
    """

    __slots__ = ("_heap", "_stale", "_ticket")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Session]] = []
        self._ticket = 0
        self._stale = 0

    @property
    def next(self) -> float | None:
        """Monotonic time of the first place to look at."""
        return self._heap[0][0] if self._heap else None

    def set(self, session: Session, due: float) -> bool:
        """Put the session on the clock, away from where it stood; whether it rings first."""
        self.clear(session)
        self._ticket += 1
        session.timed = self._ticket
        heapq.heappush(self._heap, (due, self._ticket, session))
        return self._heap[0][2] is session

    def clear(self, session: Session) -> None:
        """Take the session off the clock."""
        if not session.timed:
            return
        session.timed = 0
        self._stale += 1
        if self._stale > 32 and self._stale > len(self._heap) // 2:
            self._heap = [place for place in self._heap if place[2].timed == place[1]]
            heapq.heapify(self._heap)
            self._stale = 0

    def due(self, now: float) -> Session | None:
        """Take a session whose time has come off the clock."""
        while self._heap and self._heap[0][0] <= now:
            _, ticket, session = heapq.heappop(self._heap)
            if session.timed == ticket:
                session.timed = 0
                return session
            self._stale -= 1
        return None
