"""What is done to a call in flight when the user interrupts it, or its time is over."""

from __future__ import annotations

import threading

from ..wire.codec import pack
from . import interrupts
from .base import Interrupted, Late, Reply, Stopped, TimedOut
from .flights import Orphan
from .stopping import Action, Course, Happening, Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .board import Board
    from .flights import Flight
    from .output import Output


class Steering:
    """Takes the steps of `stopping.TABLE` for the calls of one channel.

    Args:
        board: has the calls.
        output: where the user is told.
        cancel: tells the worker to stop a call; its second argument is called if the call waits
            there and will not start.
        land: gives a call its reply.
    """

    def __init__(
        self,
        board: Board,
        output: Output,
        cancel: Callable[[int, Callable[[], None]], None],
        land: Callable[[Flight, Reply], None],
    ) -> None:
        self._board, self._output, self._cancel, self._land = board, output, cancel, land
        self._lock = threading.Lock()
        self.cost: Callable[[], str] = str
        """Says what would be lost with the worker."""

    def interrupt(self) -> Stopped:
        """Stop the call that runs in the worker."""
        flight = self._board.running()
        if flight is None:
            return Stopped.NOTHING
        action = self.happens(flight, Happening.INTERRUPT)
        return Stopped.KILL if action is Action.KILL else Stopped.ASKED

    def tick(self, flight: Flight) -> None:
        """What a wait looks at from time to time.

        Raises:
            Interrupted: the user wants the worker ended.
            TimedOut: the wait is over.
        """
        try:
            interrupts.check(flight.held)
        except Interrupted as interrupt:
            if self._interrupted(flight, interrupt.error) is Action.KILL:
                raise Interrupted(interrupt.error, kill=True) from None
        course = flight.course
        if course is not None:
            if course.grace_over and self.happens(flight, Happening.GRACE) is Action.GIVE_UP:
                if not flight.answering and self._board.running() is not flight:
                    raise TimedOut(stopped=True)  # it waits behind another, and will not start
                self._board.stuck = flight
                raise TimedOut(stopped=False)
        elif flight.deadline.passed:
            self._late(flight)

    def _interrupted(self, flight: Flight, error: BaseException) -> Action:
        """The user interrupts a wait: for its own call, or for one that nobody waits for any more.

        Of that the user was told what the next interrupt would do.
        """
        running = self._board.running()
        if running is not None and running is not flight and isinstance(running.waiting, Orphan):
            course = running.course
            if course is not None and course.phase is Phase.TOLD:
                return self.happens(running, Happening.INTERRUPT, error)
        return self.happens(flight, Happening.INTERRUPT, error)

    def _late(self, flight: Flight) -> None:
        late = flight.request.late
        if late is not Late.LEAVE:
            self.happens(flight, Happening.DEADLINE)
        if late is not Late.STOP:
            raise TimedOut

    def happens(
        self, flight: Flight, what: Happening, error: BaseException | None = None
    ) -> Action:
        """Something happens to a call: do what the table says, as far as it can be done here."""
        with self._lock:
            course = flight.course = flight.course or Course()
            if error is not None:
                course.error = error
            action = course.happens(what)
        if action is Action.CANCEL:
            for inner in tuple(flight.inner or ()):  # calls within its callbacks are stopped first
                if inner.id and inner.course is None:
                    self.happens(inner, Happening.INTERRUPT)
            self._cancel(flight.id, lambda: self._land(flight, Reply(_CANCELLED, [])))
        elif action is Action.TELL:
            self._output.tell(flight.request, _told(flight.request.text, self.cost()))
        return action


def _told(text: str, cost: str) -> str:
    return (
        f"bridge: {text} has not stopped yet: it runs code that does not look for an interrupt. "
        f"Interrupt again to end its worker. {cost}\n"
    )


_CANCELLED = pack([2])
