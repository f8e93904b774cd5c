"""Callbacks: which thread runs one, and the way of its answer.

A callback is asked within a call. It runs where that call is waited for: in its thread, or, if no
thread waits, where the call says. If that thread already runs a callback of the call and waits
there for a call it has made in turn, it runs in that wait, since the one may depend on the other.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context

from ..wire.codec import pack
from ..wire.framing import Kind
from ..wire.heads import ask_head
from . import interrupts
from .base import NEVER, Died, Interrupted, Request
from .flights import Flight, Wanted
from .stopping import Happening, Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..wire.framing import Buffer, Frame
    from .board import Board
    from .hosting import Host
    from .sending import Sender
    from .steering import Steering

_within: ContextVar[Flight | None] = ContextVar("bridge_ext_within", default=None)
"""The call whose callback this context runs."""


class Answers:
    """Runs the callbacks that come over one data channel.

    Args:
        board: has the calls.
        steering: is told of interrupts.
        sender: sends answers.
        host: the connection around it.
    """

    def __init__(self, board: Board, steering: Steering, sender: Sender, host: Host) -> None:
        self._board, self._steering, self._sender, self._host = board, steering, sender, host

    # ------------------------------------------------------------ who runs it
    def route(self, frame: Frame) -> None:
        """Have the callback run that the worker asks for."""
        flight = self._board.ask(ask_head(frame.head)[1], frame)
        if flight is None:
            self._send(frame, *self._host.refuse(frame))
        elif flight.waiting is not None:
            flight.waiting.asked(lambda: self._answer_passive(flight))

    def route_again(self, wanted: Iterable[Wanted] | None) -> None:
        """The same for callbacks that a wait has left."""
        for one in wanted or ():
            self.route(one.frame)

    def nest(self, flight: Flight, *, control: bool = False) -> None:
        """A call begins; if it is made by a callback, it runs the callbacks of the call around it.

        Args:
            flight: the call.
            control: whether its reply comes over the control channel.
        """
        home = _within.get()
        if home is not None:
            flight.request.errors = home.request.errors  # which may come out of either
            self._board.nest(home, flight, control)

    @property
    def within(self) -> bool:
        """Whether what is done here is done by a callback, which may wait for it."""
        return _within.get() is not None

    # ------------------------------------------------------------ running it
    def answer(self, flight: Flight) -> None:
        """Run a callback in the thread that waits for `flight`.

        Raises:
            Interrupted: in a wait that cannot be stopped otherwise.
            Died: the worker has, and the channel is given back.
        """
        wanted = self._board.next_wanted(flight)
        if wanted is None:
            return
        self._board.answers(flight)
        try:
            held, flight.held = flight.held, None
            interrupts.let_go(held)
            answer = self._run(wanted, flight)
        except KeyboardInterrupt as error:
            self._give_up(wanted.frame)
            if not flight.id:
                raise Interrupted(error) from None
            self._interrupted(flight, error)
            return
        finally:
            flight.held = flight.held or interrupts.hold()
            self._board.answered(flight)
        if self._board.closed and self._host.death is not None:
            raise Died(self._host.death)
        if flight.id:
            self._steering.tick(flight)
        if flight.course is not None:
            self._give_up(wanted.frame)  # the call is being stopped, and waits for no answer
        else:
            self._send(wanted.frame, *answer, flight=flight if flight.id else None)

    def _answer_passive(self, flight: Flight) -> None:
        wanted = self._board.next_wanted(flight)
        if wanted is None:
            return  # a wait within another callback has run it
        self._board.answers(flight)
        try:
            answer = self._run(wanted, flight)
        except KeyboardInterrupt as error:
            self._give_up(wanted.frame)
            self._interrupted(flight, error)
            return
        finally:
            self._board.answered(flight)
        self._send(wanted.frame, *answer)

    def _interrupted(self, flight: Flight, error: KeyboardInterrupt) -> None:
        """A callback was interrupted: by the user, or because its call is being stopped."""
        course = flight.course
        if course is None or course.phase not in (Phase.LATE, Phase.CALLED_OFF):
            self._steering.happens(flight, Happening.INTERRUPT, error)

    def _run(self, wanted: Wanted, flight: Flight) -> tuple[bytes, list[Buffer]]:
        """Run it in the context of the call that it was asked within."""
        home, answer = wanted.flight, self._host.answer
        if home is not flight and home.context is not None:
            context = home.context.copy()
            return context.run(answer, home.request, wanted.frame)
        token = _within.set(home)
        try:
            home.context = copy_context()
            return answer(home.request, wanted.frame)
        finally:
            _within.reset(token)

    # ------------------------------------------------------------ its answer
    def _give_up(self, frame: Frame) -> None:
        """A callback of a call that is being stopped has no answer; a thread that waits is told."""
        if ask_head(frame.head)[2]:
            self._send(frame, *self._host.refuse(frame))

    def _send(
        self, frame: Frame, body: bytes, buffers: list[Buffer], flight: Flight | None = None
    ) -> None:
        ask_id, _, threaded, _ = ask_head(frame.head)
        head = pack([ask_id, None])
        if threaded:
            self._host.send_control(Kind.ANSWER, head, body, buffers)
            return
        sending = flight or Flight(NO_REQUEST, NEVER)  # which reads if the socket is full
        self._sender.acquire(sending)
        try:
            self._sender.send(Kind.ANSWER, head, body, buffers, sending)
        finally:
            self._sender.release()
            if flight is None:
                self._board.stop_reading(sending)


_nothing: Any = None
NO_REQUEST = Request(b"", (), _nothing, None, None)
"""Of a flight that only sends or reads."""
