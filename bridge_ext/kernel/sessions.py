"""The manager: the single list of the sessions that exist, thread-safe.

It keeps the books and does no I/O: what must reach a worker, its caller brings there. Its lock
covers bookkeeping only; events are handed out outside it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import BridgeUsageError, SessionNotFoundError
from .log import report
from .session import Lease, Limits, Session
from .status import Status
from .wire.limits import ENDED_REMEMBERED
from .wire.payload import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .context import Scope
    from .model import Event


class SessionManager:
    """Sessions by id.

    Args:
        key: the bridge's key in scopes.
        defaults: limits of a session that is given none.
    """

    def __init__(self, key: int, defaults: Limits) -> None:
        self._key, self._defaults = key, defaults
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._ended: OrderedDict[str, Session] = OrderedDict()
        self._generation = 0
        self.changes = 0
        """Another number whenever a session was made, changed or has ended."""
        self._subscribers: list[Callable[[Event], None]] = []
        self.heard = False
        """Whether anybody subscribed."""
        self.records: Any = None
        """The module of the records of events, once anybody has."""
        self._news: deque[Event] = deque()
        self._doomed: deque[Any] = deque()
        self.leases_ended: deque[Session] = deque()
        """Auto-sessions that nothing holds any more; filled by finalizers."""

    # ------------------------------------------------------------ making
    def _make(self, session_id: str, auto: bool, limits: Limits, cell: str) -> Session:
        self._generation += 1
        self.changes += 1
        session = Session(session_id, self._generation, auto, limits, cell)
        self._sessions[session_id] = session
        self._ended.pop(session_id, None)
        if self.heard:
            self.tell(self.records.SessionCreated(session_id, "auto" if auto else "named"))
        return session

    def auto(self, scope: Scope) -> Lease:
        """The lease of a scope's auto-session, made when there is none that lives."""
        with self._lock:
            lease = scope.leases.get(self._key)
            if lease is not None and lease.session.live:
                return lease
            stem = f"auto_{os.getpid()}_{scope.number}_{int(time.time() * 1000)}"
            session_id, n = stem, 0
            while session_id in self._sessions or session_id in self._ended:
                n += 1
                session_id = f"{stem}_{n}"
            session = self._make(session_id, True, self._defaults, scope.label)
            session.owners.default = scope.label
            lease = Lease(session, self.leases_ended)
            session.lease = weakref.ref(lease)
            scope.leases[self._key] = lease
        self.publish()
        return lease

    def named(
        self,
        session_id: str,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
        cell: str = "",
    ) -> Session:
        """The session of that id, made if there is none; tags given are added.

        Limits given count when it is made; changing those of one that lives is its caller's
        task, because the worker has a say in it.
        """
        check_id(session_id)
        tags = _checked_tags(tags)
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                before = self._ended.get(session_id)
                old = before.limits if before is not None and _lost(before) else self._defaults
                limits = limits.over(old) if limits is not None else old
                session = self._make(session_id, False, limits, cell)
                if before is not None and _lost(before):
                    session.tags = dict(before.tags)
            if tags:
                session.tags = {**session.tags, **tags}
                self.changes += 1
        self.publish()
        return session

    def again(self, session: Session, cell: str) -> Session:
        """The living session of this one's id: itself, or one made like it."""
        if session.live:
            return session
        with self._lock:
            now = self._sessions.get(session.id)
            if now is None:
                now = self._make(session.id, False, session.limits, cell)
                now.tags = dict(session.tags)
            return now

    def declared(self, session: Session, incarnation: int) -> bool:
        """Say that a worker is told of the session now; False if it has ended meanwhile."""
        with self._lock:
            if not session.live:
                return False
            session.incarnation = incarnation
            if session.status is Status.INITIALIZING:
                session.become(Status.ACTIVE)
            return True

    # ------------------------------------------------------------ looking
    def find(self, session_id: str) -> Session:
        """The session of that id, ended or not.

        Raises:
            SessionNotFoundError: there never was one.
        """
        check_id(session_id)
        with self._lock:
            session = self._sessions.get(session_id) or self._ended.get(session_id)
            if session is not None:
                return session
            known = [*self._sessions]
        import difflib

        raise SessionNotFoundError(session_id, difflib.get_close_matches(session_id, known, n=3))

    def by_generation(self, session_id: str, generation: int) -> Session | None:
        """Exactly that generation of a session, if it is remembered."""
        session = self._sessions.get(session_id)
        if session is None or session.generation != generation:
            session = self._ended.get(session_id)
        return session if session is not None and session.generation == generation else None

    def exists(self, session_id: str) -> bool:
        """Whether a session of that id lives."""
        return session_id in self._sessions

    def all(self) -> list[Session]:
        """Every session that lives, is being released, or was lost and not made again."""
        with self._lock:
            ended = self._ended.values()
            lost = [s for s in ended if _lost(s) and not s.auto and not s.dismissed]
            return [*self._sessions.values(), *lost]

    # ------------------------------------------------------------ ending
    def releasing(self, session: Session, reason: str) -> bool:
        """Say that a release is under way; False if the session has already ended.

        One that was lost is listed until then.
        """
        with self._lock:
            if _lost(session) and not session.dismissed:
                session.dismissed = True
                self.changes += 1
            if session.status in (Status.RELEASED, Status.LOST):
                return False
            if session.status is not Status.RELEASING:
                self.changes += 1
                session.become(Status.RELEASING)
                session.reason = reason
            return True

    def ended(self, session: Session, reason: str, refs: int = 0, nbytes: int = 0) -> None:
        """Say that a session has ended."""
        with self._lock:
            self._ended_as(session, reason, refs, nbytes)

    def _ended_as(self, session: Session, reason: str, refs: int = 0, nbytes: int = 0) -> None:
        if session.status in (Status.RELEASED, Status.LOST):
            return
        session.become(Status.RELEASED)
        session.reason = reason
        self._bury(session)
        if self.heard:
            self.tell(self.records.SessionReleased(session.id, reason, refs, nbytes))

    def lose(self, incarnation: int, why: str) -> list[Session]:
        """The worker of that incarnation has died: its sessions are lost."""
        with self._lock:
            lost = [s for s in self._sessions.values() if s.incarnation == incarnation]
            for session in lost:
                session.become(Status.LOST)
                session.reason = why
                self._bury(session)
                if self.heard:
                    self.tell(self.records.SessionLost(session.id, why))
            return lost

    def end_unleased(self, session: Session, incarnation: int) -> list[Any] | None:
        """End an auto-session that nothing holds; what to tell the worker, if it knows it."""
        if not session.live:
            return None
        if session.incarnation != incarnation or session.status is Status.INITIALIZING:
            self.ended(session, "cell ended")
            return None
        self.releasing(session, "cell ended")
        return [session.id, session.generation, "cell ended"]

    def _bury(self, session: Session) -> None:
        self.changes += 1
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
        if session.callbacks:
            self._doomed.append(session.callbacks)  # let go by `publish`, outside the lock
            session.callbacks = {}
        self._ended[session.id] = session
        self._ended.move_to_end(session.id)
        while len(self._ended) > ENDED_REMEMBERED:
            self._ended.popitem(last=False)

    def expire_unused(self) -> None:
        """End the named sessions that no worker was ever told of, once their ttl has passed."""
        now = time.monotonic()
        with self._lock:  # a worker may be told of one at this very moment
            for session in list(self._sessions.values()):
                ttl = session.limits.ttl_seconds or 0
                if session.status is Status.INITIALIZING and session.created_mono + ttl < now:
                    self._ended_as(session, "expired")

    # ------------------------------------------------------------ owners
    def register_owner(self, session_id: str, owner: object) -> None:
        """Let `owner` hold the session; the first takes the place of the kernel."""
        session = self.find(session_id)
        if not session.live:
            raise SessionNotFoundError(session_id)
        session.owners.add(owner)

    def unregister_owner(self, session_id: str, owner: object) -> bool:
        """Take an owner away; whether it was the last, so that the session ends."""
        session = self.find(session_id)
        return session.owners.remove(owner) and session.live

    def ownerless(self) -> Iterable[Session]:
        """The sessions whose last owner is gone."""
        with self._lock:
            watched = [s for s in self._sessions.values() if s.owners.given]
        return [s for s in watched if s.live and not s.leased and s.owners.gone()]

    # ------------------------------------------------------------ events
    def subscribe(self, fn: Callable[[Event], None]) -> Callable[[], None]:
        """Call `fn` with every event from now on; the result ends that."""
        from . import model  # slow to import; and when there is an event, a lock may be held

        self.records = model
        with self._lock:
            self._subscribers = [*self._subscribers, fn]
            self.heard = True

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = [f for f in self._subscribers if f is not fn]
                self.heard = bool(self._subscribers)

        return unsubscribe

    def tell(self, event: Event) -> None:
        """Queue an event for `publish`; only while somebody hears it."""
        self._news.append(event)

    def publish(self) -> None:
        """Hand out the events that are queued; call it outside every lock."""
        while self._doomed:
            self._doomed.clear()
        while self._news:
            try:
                event = self._news.popleft()
            except IndexError:
                return
            for fn in self._subscribers:
                try:
                    fn(event)
                except Exception:
                    report("a subscriber raised")


def _lost(session: Session) -> bool:
    return session.status is Status.LOST


def _checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise BridgeUsageError(f"tags={tags!r}: give a mapping of strings to strings")
    for key, value in tags.items():
        if type(key) is not str or type(value) is not str:
            raise BridgeUsageError(f"tags={dict(tags)!r}: keys and values are strings")
    return dict(tags)
