"""Calls in flight: each between its request and its reply."""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..wire.framing import Frame
    from .base import Deadline, Died, Reply, Request, Waiting
    from .stopping import Course


class Flight:
    """One call in flight.

    Attributes:
        id: of the call; ids rise on the wire.
        reply: once it has come.
        wake: exists once its thread sleeps while another reads.
        asks: callbacks that the worker wants run within this call.
        answering: whether one of them runs.
        held: the SIGINT handler that is to be put back.
        course: how it is being stopped, once it is.
        waiting: what waits for it, if no thread does.
        deadline: of the wait.
    """

    __slots__ = (
        "answering",
        "asks",
        "course",
        "deadline",
        "held",
        "id",
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
        self.reply: Reply | None = None
        self.wake: Any = None
        self.asks: deque[Frame] | None = None
        self.answering = False
        self.held: Any = None
        self.course: Course | None = None

    def sleeps(self) -> None:
        """Make `wake`, to be waited for."""
        self.wake = allocate_lock()
        self.wake.acquire()

    def rouse(self) -> None:
        """Wake its thread; the exchange's lock is held, so that it is woken once."""
        if self.wake is not None and self.wake.locked():
            self.wake.release()

    def ask(self, frame: Frame) -> None:
        """The worker wants a callback run within this call."""
        if self.asks is None:
            self.asks = deque()
        self.asks.append(frame)

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
