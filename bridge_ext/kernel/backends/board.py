"""The board of one data channel: which calls are in flight, who reads, and who waits for what.

Bookkeeping only: nothing here sends, reads or runs anything but the waking of a thread.
"""

from __future__ import annotations

import threading

from .flights import Flight, Orphan, Wanted, ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from ..wire.framing import Frame
    from .base import Reply, Waiting


_CROWD = 64
"""Calls without a thread from which on their replies are read together."""


class Board:
    """The calls in flight, by id, in the order of the wire.

    There is one reader at a time. A *passive* call has no thread that could read: a future, or an
    orphan whose caller has left.

    Args:
        background: has the bridge's own thread read.

    Attributes:
        drop: takes the replies of orphans.
        reader: the call whose thread reads.
        stuck: a call that timed out and still runs.
        closed: whether the channel's descriptors are given back; said under its send lock. Who
            comes back from a callback then leaves.
    """

    def __init__(self, background: Callable[[], None]) -> None:
        self._background = background
        self.drop: Callable[[Reply], None] = ignore
        self._lock = threading.Lock()
        self.pending: dict[int, Flight] = {}
        self._threads: dict[int, Flight] = {}
        self.reader: Flight | None = None
        self.stuck: Flight | None = None
        self._passive = self._controlled = 0
        self.closed = False

    def close(self) -> bool:
        """Close, unless somebody is at the channel: those who run a callback are not."""
        with self._lock:
            self.closed = all(flight.answering for flight in self.pending.values())
            return self.closed

    # ------------------------------------------------------------ coming and going
    def enter(self, flight: Flight) -> None:
        """A call is sent, its id is given; its thread reads, if nobody does."""
        with self._lock:
            self.pending[flight.id] = flight
            if flight.waiting is not None:
                self._passive += 1
                return
            self._threads[flight.id] = flight
            if self.reader is None:
                self.reader = flight

    def withdraw(self, flight: Flight) -> None:
        """A call was not sent after all."""
        with self._lock:
            self._threads.pop(flight.id, None)
            if self.pending.pop(flight.id, None) is not None and flight.waiting is not None:
                self._passive -= 1

    def leave(self, flight: Flight, dead: bool) -> deque[Wanted] | None:
        """A thread waits no more; without a reply its call becomes an orphan.

        Returns:
            The callbacks that nobody has run there.
        """
        with self._lock:
            self._threads.pop(flight.id, None)
            if flight.reply is not None or dead:
                self.pending.pop(flight.id, None)
            elif flight.id in self.pending:
                flight.waiting = Orphan(self.drop)
                self._passive += 1
            if self.reader is flight:
                self.reader = None
            asks, flight.asks = flight.asks, None
            if flight.home is not None:
                self._unnest(flight)
            if self.pending:
                self._hand_over()
        return asks

    # ------------------------------------------------------------ calls within callbacks
    def nest(self, home: Flight, flight: Flight, control: bool) -> None:
        """A call is made by a callback of `home`: its wait runs what else is asked within that.

        Args:
            home: the call around it.
            flight: the call.
            control: whether its reply comes over the control channel, so that it does not read.
        """
        with self._lock:
            if not home.answering or self.pending.get(home.id) is not home:
                return
            for one in (home, *(home.inner or ())):
                asks, one.asks = one.asks, None
                if asks:
                    flight.ask(asks)
            home.inner = [*(home.inner or ()), flight]
            flight.home = home
            self._controlled += control
            flight.controlled = control
            self._hand_over()

    def _unnest(self, flight: Flight) -> None:
        home, flight.home = flight.home, None
        if home is not None and home.inner:
            home.inner = [one for one in home.inner if one is not flight]
            self._controlled -= flight.controlled

    def remove(self, flight: Flight) -> Waiting | None:
        """A passive call has ended; who waited for it."""
        with self._lock:
            if self.pending.pop(flight.id, None) is None:
                return None
            self._passive -= 1
            if self.stuck is flight:
                self.stuck = None
            return flight.waiting

    def orphan(self, flight: Flight) -> Waiting | None:
        """Nobody waits for a passive call any more; who did."""
        with self._lock:
            if flight.id not in self.pending:
                return None
            waiting, flight.waiting = flight.waiting, Orphan(self.drop)
            return waiting

    def passive(self) -> list[Flight]:
        """The calls that no thread waits for."""
        if not self._passive:
            return []
        return [f for f in list(self.pending.values()) if f.waiting is not None]

    # ------------------------------------------------------------ reading
    def take_reading(self, flight: Flight) -> bool:
        """Become the reader, if there is none; else be ready to be woken."""
        with self._lock:
            if self.reader is None:
                self.reader = flight
            elif self.reader is not flight and flight.wake is None:
                flight.sleeps()
            return self.reader is flight

    def take_background(self, flight: Flight) -> bool:
        """Become the reader for those who have no thread, if nobody reads."""
        with self._lock:
            if self.reader is None:
                self.reader = flight
            return self.reader is flight

    def stop_reading(self, flight: Flight) -> None:
        """Let another read."""
        with self._lock:
            if self.reader is flight:
                self.reader = None
            self._hand_over()

    def answers(self, flight: Flight) -> None:
        """A callback runs where a call is waited for: let another read."""
        with self._lock:
            flight.answering += 1
            if self.reader is flight:
                self.reader = None
            self._hand_over()

    def answered(self, flight: Flight) -> None:
        """A callback has run."""
        with self._lock:
            flight.answering -= 1

    def _hand_over(self) -> None:
        if self.reader is not None:
            return
        for other in self._threads.values():
            if other.reads:
                self.reader = other
                other.rouse()
                return
        if self._passive or self._controlled:
            self._background()

    @property
    def needs_background(self) -> bool:
        """Whether only those wait who have no thread, or none that reads."""
        return (self._passive or self._controlled) > 0 and self.reader is None

    @property
    def crowded(self) -> bool:
        """Whether so many wait without a thread that none of them waits for the next reply."""
        return self._passive > _CROWD and self.reader is None

    # ------------------------------------------------------------ what has come
    def deliver(self, flight: Flight, reply: Reply) -> bool:
        """Give a call its reply; False if no thread waits for it."""
        with self._lock:
            if flight.waiting is not None:
                return False
            flight.reply = reply
            flight.rouse()
            return True

    def ask(self, call_id: int, frame: Frame) -> Flight | None:
        """Give a callback to the call that it is asked within, or to another one in flight.

        Returns:
            The wait that runs it, which is to be told of it if it is passive; None if there is
            none.
        """
        with self._lock:
            home = self.pending.get(call_id)
            if home is None or isinstance(home.waiting, Orphan):
                others = (f for f in self.pending.values() if not isinstance(f.waiting, Orphan))
                home = next(others, None)
            if home is None:
                return None
            flight = home.innermost
            flight.ask([Wanted(frame, home)])
            if flight.waiting is None:
                flight.rouse()
            return flight

    def next_wanted(self, flight: Flight) -> Wanted | None:
        """The next callback to run where a call is waited for."""
        with self._lock:
            return flight.asks.popleft() if flight.asks else None

    def running(self) -> Flight | None:
        """The call that runs in the worker: the oldest, but one whose callback runs comes last."""
        with self._lock:
            flights = list(self.pending.values())
        return next((f for f in flights if not f.answering), flights[-1] if flights else None)
