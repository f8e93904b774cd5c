"""Calls in flight: each between its request and its reply."""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextvars import Context
    from typing import Any

    from ..wire.framing import Frame
    from .base import Deadline, Died, Reply, Request, Waiting
    from .stopping import Course


class Wanted(NamedTuple):
    """A callback that the worker wants run, and the call that it is asked within."""

    frame: Frame
    flight: Flight


class Flight:
    """One call in flight.

    Attributes:
        id: of the call; ids rise on the wire.
        awaited: the head that its reply has, if it brings no types.
        reply: once it has come.
        wake: exists once its thread sleeps while another reads.
        asks: callbacks that the worker wants run where this call is waited for.
        answering: how many callbacks asked within it run there.
        inner: the calls that these wait for, the innermost last.
        home: the call that it is such an inner one of; `controlled` if it does not read.
        context: where they run, once one has run.
        held: the SIGINT handler that is to be put back.
        course: how it is being stopped, once it is.
        waiting: what waits for it, if no thread does.
        deadline: of the wait.
    """

    __slots__ = (
        "answering",
        "asks",
        "awaited",
        "context",
        "controlled",
        "course",
        "deadline",
        "held",
        "home",
        "id",
        "inner",
        "reply",
        "request",
        "waiting",
        "wake",
    )

    def __init__(
        self, request: Request, deadline: Deadline, waiting: Waiting | None = None
    ) -> None:
        self.request, self.deadline, self.waiting = request, deadline, waiting
        self.id = 0
        self.awaited = b""
        self.reply: Reply | None = None
        self.wake: Any = None
        self.asks: deque[Wanted] | None = None
        self.answering = 0
        self.inner: list[Flight] | None = None
        self.home: Flight | None = None
        self.controlled = False
        self.context: Context | None = None
        self.held: Any = None
        self.course: Course | None = None

    def sleeps(self) -> None:
        """Make `wake`, to be waited for."""
        self.wake = allocate_lock()
        self.wake.acquire()

    def rouse(self) -> None:
        """Wake its thread; the exchange's lock is held, so that it is woken once."""
        if self.wake is not None and self.wake.locked():
            release(self.wake)

    def ask(self, wanted: Iterable[Wanted]) -> None:
        """The worker wants callbacks run."""
        if self.asks is None:
            self.asks = deque()
        self.asks.extend(wanted)

    @property
    def innermost(self) -> Flight:
        """The wait of the thread that waits for this call."""
        flight = self
        while flight.inner:
            flight = flight.inner[-1]
        return flight

    def ended(self, died: Died) -> Exception:
        """What its caller is told when the worker has died."""
        return died if self.course is None else self.course.ended(died)

    @property
    def reads(self) -> bool:
        """Whether its thread sleeps and could read instead."""
        return (
            self.wake is not None
            and self.reply is None
            and self.waiting is None
            and not self.answering
        )


def release(wake: Any) -> None:
    """Wake a thread, which may have been woken already."""
    try:
        wake.release()
    except RuntimeError:
        pass


def ignore(reply: Reply) -> None:
    """Drop a reply that cannot hold anything."""


class Orphan:
    """Waits for a reply that nobody wants any more; the refs in it are given back."""

    def __init__(self, drop: Callable[[Reply], None]) -> None:
        self._drop = drop

    def landed(self, outcome: Reply | Exception) -> None:
        """Give back what came."""
        if not isinstance(outcome, Exception):
            self._drop(outcome)

    def asked(self, run: Callable[[], None]) -> None:
        """Nobody is there to run a callback; see `Exchange`, which looks for another."""
