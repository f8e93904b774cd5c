"""What a worker holds: sessions of refs, with identity, receipts, limits and a clock.

The lock covers bookkeeping only. What is dropped is handed back to the caller as a list of
objects, to be let go outside the lock: a destructor is user code.

An object is held while a kernel has receipts for it (the worker counts how often it has sent the
ref, a release says how many receipts it gives back) or while it is kept by name.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict

from ..errors import RefNotFoundError, SessionFullError
from ..wire.limits import ENDED_REMEMBERED
from .books import Books, Total
from .holding import Clock, Draft, Entry, Released, Session, SessionEnded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from .holding import Spec
    from .introspect import Facts
    from .kinds import TypeInfo

    T = TypeVar("T")


class Store:
    """All sessions of one worker. Every method may be called from any thread.

    Args:
        type_info: gives what is known of a type.
        facts: sizes an object; both run no user code.
        announce: called outside the lock with ("evicted" | "expired" | "ended", details).
        wake: called when a timer fires earlier than before.
    """

    def __init__(
        self,
        type_info: Callable[[type], TypeInfo],
        facts: Callable[[Any], Facts],
        announce: Callable[[str, list[Any]], None],
        wake: Callable[[], None],
    ) -> None:
        self._type_info, self._facts, self._announce, self._wake = type_info, facts, announce, wake
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._refs: dict[int, Entry] = {}
        self._ended: OrderedDict[tuple[str, int], tuple[str, int, int]] = OrderedDict()
        self._clock = Clock()
        self.books = Books()
        self.last_id = 0
        """The last ref id that was given."""

    # ------------------------------------------------------------ sessions
    def declare(self, spec: Spec) -> list[Any]:
        """Make a session known, or change the limits of the one that is.

        An older generation of the same id ends; what it held is returned.
        """
        doomed: list[Any] = []
        with self._lock:
            session = self._sessions.get(spec.id)
            if session is not None and session.spec.generation == spec.generation:
                session.spec = spec
                self._clock.clear(session)
            elif (spec.id, spec.generation) in self._ended or (
                session is not None and session.spec.generation > spec.generation
            ):
                return doomed
            else:
                if session is not None:
                    doomed = self._end(session, "session released").doomed
                session = self._sessions[spec.id] = Session(spec, self.books)
            earlier = self._arm(session)
        if earlier:
            self._wake()
        return doomed

    def enter(self, session_id: str, generation: int) -> Session:
        """The session a call runs in, marked as having it in flight; `leave` ends that.

        Raises:
            SessionEnded: not this generation, not any more.
        """
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or session.spec.generation != generation:
                raise SessionEnded(self._reason(session_id, generation))
            session.flying += 1
            return session

    def enter_for_callback(self, callback: str, session_id: str, generation: int) -> Session:
        """The session of a callback, as `enter`.

        Raises:
            RefNotFoundError: it has ended.
        """
        try:
            return self.enter(session_id, generation)
        except SessionEnded as ended:
            raise RefNotFoundError(callback, ended.reason) from None

    def leave(self, session: Session) -> None:
        """The call has ended."""
        with self._lock:
            session.flying -= 1
            session.idle_since = time.monotonic()
            earlier = not session.timed and not session.ended and self._arm(session)
        if earlier:
            self._wake()

    def limit(self, spec: Spec) -> int:
        """Change a session's limits and return 0, or the refs it holds if these are more."""
        with self._lock:
            session = self._sessions.get(spec.id)
            if session is None or session.spec.generation != spec.generation:
                raise SessionEnded(self._reason(spec.id, spec.generation))
            if spec.max_refs < len(session.by_object):
                return len(session.by_object)
        self.declare(spec)
        return 0

    def release_session(self, session_id: str, generation: int, reason: str) -> Released:
        """End a session; what it held is in `doomed`. Ending it again says the same numbers."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or session.spec.generation != generation:
                _, refs, nbytes = self._ended.get((session_id, generation), ("", 0, 0))
                return Released(refs, nbytes)
            return self._end(session, reason)

    def _end(self, session: Session, reason: str) -> Released:
        refs, nbytes = len(session.by_object), session.nbytes
        session.ended = reason
        self._clock.clear(session)
        for entry in session.by_object.values():
            self.books.let_go(entry)
            for ref_id in entry.ids:
                self._refs.pop(ref_id, None)
        doomed = [session.by_object, session.kept]
        session.by_object, session.kept = {}, {}
        session.live, session.total = 0, Total()
        if self._sessions.get(session.spec.id) is session:
            del self._sessions[session.spec.id]
        self._ended[session.spec.id, session.spec.generation] = (reason, refs, nbytes)
        while len(self._ended) > ENDED_REMEMBERED:
            self._ended.popitem(last=False)
        return Released(refs, nbytes, doomed)

    def _reason(self, session_id: str, generation: int) -> str:
        known = self._ended.get((session_id, generation))
        return known[0] if known else "session released"

    # ------------------------------------------------------------ refs
    def find(self, ref_id: int) -> Entry | None:
        """The entry of a ref, marked as used just now."""
        with self._lock:
            entry = self._refs.get(ref_id)
            if entry is not None:
                entry.session.touch(entry)
            return entry

    def why_gone(self, ref_id: int, session_id: str, generation: int) -> str:
        """How a ref that is not here went."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None and session.spec.generation == generation:
                return session.gone.get(ref_id, ("released", 0))[0]
            return self._reason(session_id, generation)

    def draft(self, session: Session) -> Draft:
        """An empty list of what a result sends."""
        return Draft(session, self.entry_for)

    def entry_for(self, session: Session, obj: Any) -> Entry:
        """The entry of an object in the session, or a new one that is not yet admitted."""
        with self._lock:
            entry = session.by_object.get(id(obj))
            if entry is not None:
                return entry
            self.last_id += 1
            ref_id = self.last_id
        return Entry(obj, session, ref_id, self._type_info(type(obj)), self._facts(obj))

    def admit(self, session: Session, draft: Draft, cell: str) -> None:
        """Take the objects of a result into the session, all or none, one receipt each time sent.

        Raises:
            SessionFullError: they would exceed the session's limit.
            RefNotFoundError: the session has ended meanwhile.
        """
        with self._lock:
            if session.ended:
                raise RefNotFoundError("The result", session.ended)
            new = [e for e in draft.entries.values() if id(e.obj) not in session.by_object]
            evicted = self._make_room(session, len(new), draft)
            first_eviction = bool(evicted) and not session.evictions
            session.evictions += len(evicted)
            for entry in evicted:
                self._drop(entry, "evicted")
            for entry in new:
                entry.cell, entry.receipts, entry.kept = cell, 0, None
                self._refs[entry.ids[0]] = entry
                session.adopt(entry)
            for key, count in draft.sent.items():
                session.receive(session.by_object[key], count)
        if evicted:
            self._announce("evicted", [session.spec.id, [i for e in evicted for i in e.ids]])
        if first_eviction:
            sys.stderr.write(
                f"bridge: session {session.spec.id!r} is full ({session.spec.max_refs:,} refs) and "
                "drops what was used least recently, now and from now on.\n"
            )

    def _make_room(self, session: Session, new: int, draft: Draft) -> list[Entry]:
        """What is to be evicted for so many new refs."""
        held, most = len(session.by_object), session.spec.max_refs
        over = held + new - most
        if over <= 0 or not new:
            return []
        evicted = session.evictable(over, draft.entries)
        if len(evicted) < over:
            raise SessionFullError(session.spec.id, held, new, most)
        return evicted

    def give_back(self, receipts: Iterable[int]) -> list[Any]:
        """Take back receipts, given as `id, count, id, count, …`; what is let go is returned."""
        doomed = []
        with self._lock:
            numbers = iter(receipts)
            for ref_id, count in zip(numbers, numbers, strict=True):
                entry = self._refs.get(ref_id)
                if entry is not None and entry.session.give_back(entry, count):
                    doomed.append(self._drop(entry, "released"))
        return doomed

    def release_refs(self, ref_ids: Iterable[int], session_id: str = "") -> Released:
        """End refs at once, whatever receipts are out; ending them again says the same numbers."""
        out = Released()
        with self._lock:
            session = self._sessions.get(session_id)
            for ref_id in ref_ids:
                entry = self._refs.get(ref_id)
                if entry is not None:
                    out.refs += 1
                    out.nbytes += entry.nbytes
                    out.doomed.append(self._drop(entry, "released"))
                elif session is not None and ref_id in session.gone:
                    reason, nbytes = session.gone[ref_id]
                    if reason == "released":  # asked again, for want of an acknowledgement
                        out.refs += 1
                        out.nbytes += nbytes
        return out

    def _drop(self, entry: Entry, reason: str) -> Entry:
        """End an entry; the caller lets it go outside the lock."""
        entry.session.forget(entry)
        entry.session.remember(entry, reason)
        for ref_id in entry.ids:
            del self._refs[ref_id]
        return entry

    # ------------------------------------------------------------ keep and move
    def keep(self, entry: Entry, name: str) -> list[Any]:
        """Name an entry in its session; what the name held before is returned if it goes."""
        with self._lock:
            before = entry.session.keep(entry, name)
            return [] if before is None else [self._drop(before, "released")]

    def kept(self, session: Session) -> dict[str, Entry]:
        """Names to entries."""
        with self._lock:
            return dict(session.kept)

    def move(self, entry: Entry, target: Session) -> Entry:
        """Re-home an entry; if the target has the object already, the two become one.

        Raises:
            SessionFullError: the target has no room.
        """
        with self._lock:
            if entry.session is target:
                return entry
            twin = target.by_object.get(id(entry.obj))
            held, most = len(target.by_object), target.spec.max_refs
            if twin is None and held >= most:
                raise SessionFullError(target.spec.id, held, 1, most)
            entry.session.forget(entry)
            if twin is None:
                target.adopt(entry)
                return entry
            target.receive(twin, entry.receipts)
            twin.ids += entry.ids
            for ref_id in entry.ids:
                self._refs[ref_id] = twin
            return twin

    # ------------------------------------------------------------ clock
    def _arm(self, session: Session) -> bool:
        if session.timed:
            return False
        return self._clock.set(session, time.monotonic() + session.spec.ttl)

    def next_timer(self) -> float | None:
        """Monotonic time at which `expire` has something to look at."""
        with self._lock:
            return self._clock.next

    def expire(self) -> list[Any]:
        """End the sessions that were idle for their ttl; what they held is returned."""
        doomed, ended = [], []
        with self._lock:
            now = time.monotonic()
            while (session := self._clock.due(now)) is not None:
                if session.ended:
                    continue
                idle = not session.flying and not session.live
                due = (session.idle_since if idle else now) + session.spec.ttl
                if due > now:
                    self._clock.set(session, due)
                    continue
                released = self._end(session, "expired")
                doomed.append(released.doomed)
                ended.append(
                    [
                        session.spec.id,
                        session.spec.generation,
                        "expired",
                        released.refs,
                        released.nbytes,
                    ]
                )
        for item in ended:
            self._announce("ended", item)
        return doomed

    # ------------------------------------------------------------ views
    def view(self, look: Callable[[dict[str, Session], dict[int, Entry]], T]) -> T:
        """What `look` makes of the sessions and refs, while nothing changes; see `views`."""
        with self._lock:
            return look(self._sessions, self._refs)
