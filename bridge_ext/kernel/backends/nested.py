"""Requests made by a callback that a thread of the worker asked for.

They go over control to that very thread, because the worker's main thread may wait for it in the
user's code. Callbacks that are asked within the same call meanwhile run in their wait.
"""

from __future__ import annotations

import threading
from contextvars import copy_context

from . import interrupts
from .base import Reply
from .flights import Flight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Deadline, Request, TakeOutgoing, Waiting
    from .control import Ask, ControlLine
    from .exchange import Exchange


class Nested:
    """Makes them.

    Args:
        control: where they go.
        exchange: the calls around them.
    """

    def __init__(self, control: ControlLine, exchange: Exchange) -> None:
        self._control, self._exchange = control, exchange

    def call(self, ask: Ask, request: Request, outgoing: TakeOutgoing, deadline: Deadline) -> Reply:
        """A request within a callback.

        Raises:
            Died, TimedOut, Interrupted: see `Connection.call`.
        """
        flight, answers = Flight(request, deadline), self._exchange.answers
        flight.held = interrupts.hold()
        answers.nest(flight, control=True)
        try:
            return self._control.request_within(ask, flight, outgoing, answers.answer)
        finally:
            answers.route_again(self._exchange.board.leave(flight, dead=False))
            interrupts.let_go(flight.held)

    def begin(
        self,
        ask: Ask,
        request: Request,
        outgoing: TakeOutgoing,
        deadline: Deadline,
        waiting: Waiting,
    ) -> Callable[[], None]:
        """The same in a thread of its own, for whoever waits there; it cannot be cancelled."""

        def run() -> None:
            try:
                outcome: Reply | Exception = self.call(ask, request, outgoing, deadline)
            except Exception as error:
                outcome = error
            waiting.landed(outcome)

        context = copy_context()  # it is still within the callback
        threading.Thread(
            target=context.run, args=(run,), name="bridge-callback", daemon=True
        ).start()
        return lambda: None
