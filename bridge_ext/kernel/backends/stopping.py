"""How a call is stopped: one table of what a wait does when something happens to it.

    phase       interrupt      deadline     grace over
    flying      cancel         cancel       -
    called off  cancel         -            tell the user
    told        kill           -            -
    late        cancel         -            give up
    given up    kill           -            -

"Called off" was interrupted, "late" has timed out; in both the worker has been told to stop. The
grace is the time it has for that.
"""

from __future__ import annotations

import time
from enum import Enum

from .base import Interrupted, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Died

GRACE = 2.0
"""Seconds from a cancel until the user is told, or a call that timed out is given up."""


class Phase(Enum):
    """Where a call stands."""

    FLYING = "flying"
    CALLED_OFF = "called off"
    TOLD = "told"
    LATE = "late"
    GIVEN_UP = "given up"


class Happening(Enum):
    """What can happen to it."""

    INTERRUPT = "interrupt"
    DEADLINE = "deadline"
    GRACE = "grace over"


class Action(Enum):
    """What is done then."""

    CANCEL = "cancel"
    TELL = "tell the user"
    KILL = "kill"
    GIVE_UP = "give up"
    NOTHING = "-"


TABLE: dict[tuple[Phase, Happening], tuple[Phase, Action]] = {
    (Phase.FLYING, Happening.INTERRUPT): (Phase.CALLED_OFF, Action.CANCEL),
    (Phase.FLYING, Happening.DEADLINE): (Phase.LATE, Action.CANCEL),
    (Phase.CALLED_OFF, Happening.INTERRUPT): (Phase.CALLED_OFF, Action.CANCEL),
    (Phase.CALLED_OFF, Happening.GRACE): (Phase.TOLD, Action.TELL),
    (Phase.TOLD, Happening.INTERRUPT): (Phase.TOLD, Action.KILL),
    (Phase.LATE, Happening.INTERRUPT): (Phase.CALLED_OFF, Action.CANCEL),
    (Phase.LATE, Happening.GRACE): (Phase.GIVEN_UP, Action.GIVE_UP),
    (Phase.GIVEN_UP, Happening.INTERRUPT): (Phase.TOLD, Action.KILL),
}
"""What is not here changes nothing."""


class Course:
    """One call's way through the table.

    Attributes:
        phase: where it is.
        error: what to raise for an interrupt.
        killed: whether its worker is ended for it.
    """

    __slots__ = ("_since", "error", "killed", "phase")

    def __init__(self) -> None:
        self.phase = Phase.FLYING
        self.error: BaseException = KeyboardInterrupt()
        self.killed = False
        self._since = 0.0

    def happens(self, what: Happening) -> Action:
        """Take a step; what is to be done."""
        self.phase, action = TABLE.get((self.phase, what), (self.phase, Action.NOTHING))
        if action is Action.CANCEL:
            self._since = time.monotonic()
        self.killed = self.killed or action is Action.KILL
        return action

    @property
    def grace_over(self) -> bool:
        """Whether the worker has had its time to stop."""
        return (
            self.phase in (Phase.CALLED_OFF, Phase.LATE) and time.monotonic() - self._since >= GRACE
        )

    def verdict(self) -> Exception:
        """What a wait raises when the call has stopped."""
        if self.phase in (Phase.LATE, Phase.GIVEN_UP):
            return TimedOut(stopped=True)
        return Interrupted(self.error)

    def ended(self, died: Died) -> Exception:
        """What a wait raises when the worker has died: an interrupt, if that is why."""
        return Interrupted(self.error, kill=True) if self.killed else died
