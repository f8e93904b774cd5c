"""The data channel's way out: one frame at a time, and each of them whole.

An interrupt never leaves half a frame behind. Where a frame is too large for the socket, its sender
reads meanwhile, because two senders that both block would wait for each other; if the user
interrupts it then, the bridge's own thread sends the rest.
"""

from __future__ import annotations

import select
from socket import MSG_DONTWAIT

from . import interrupts
from .base import TimedOut
from .stopping import Happening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..wire.channel import Channel
    from ..wire.framing import Buffer
    from .exchange import Exchange
    from .flights import Flight


class Sender:
    """Sends frames for an exchange.

    Attributes:
        rest: what is left of a frame whose sender was interrupted; the send lock is held for it.
    """

    def __init__(self, channel: Channel, exchange: Exchange) -> None:
        self._channel, self._exchange = channel, exchange
        self.rest: list[memoryview] = []
        self._owed: list[bool] = []
        """Has an item while the send lock is held for the rest; whoever takes it gives that back.
        """

    def acquire(self, flight: Flight) -> None:
        """Take the send lock.

        Raises:
            Interrupted, TimedOut: while another was sending.
        """
        lock = self._channel.send_lock
        flight.left = False
        if lock.acquire(blocking=False):
            return
        while not lock.acquire(timeout=interrupts.TICK):
            interrupts.check(flight.held)
            if flight.deadline.passed:
                raise TimedOut

    def release(self, flight: Flight) -> None:
        """Give the send lock back, unless whoever sends the rest of its frame does."""
        if not flight.left:
            self._channel.send_lock.release()

    def send(
        self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer], flight: Flight
    ) -> None:
        """Send a frame; the send lock is held.

        Raises:
            Interrupted, TimedOut: the rest goes out later.
        """
        try:
            rest = self._channel.begin(kind, head, body, buffers)
            if rest:
                self._push([memoryview(piece).cast("B") for piece in rest], flight)
        except OSError:
            pass  # the worker is gone: reading says so, and how

    def _push(self, rest: list[memoryview], flight: Flight) -> None:
        """Send what the socket did not take at once, reading meanwhile."""
        sock, exchange = self._channel.socket, self._exchange
        poll = select.poll()
        while rest:
            try:
                self._some(rest)
                continue
            except BlockingIOError:
                pass
            reading = exchange.board.take_reading(flight)
            poll.register(sock, select.POLLOUT | (select.POLLIN if reading else 0))
            ready = poll.poll(interrupts.TICK * 1000)
            if reading and ready and ready[0][1] & select.POLLIN:
                exchange.read(flight)
            try:
                interrupts.check(flight.held)
                if flight.deadline.passed:
                    raise TimedOut
            except Exception:
                exchange.steering.happens(flight, Happening.INTERRUPT)
                flight.left = True  # said first: from the next line on another may be done with it
                self._owed.append(True)
                self.rest.extend(rest)
                exchange.wake_background()
                if exchange.dead:
                    self.abandon()
                raise

    def _some(self, rest: list[memoryview]) -> None:
        piece = rest[0]
        sent = self._channel.socket.send(piece, MSG_DONTWAIT) if piece else 0
        if sent == len(piece):
            del rest[0]
        else:
            rest[0] = piece[sent:]

    def go_on(self) -> None:
        """Send what is left of an interrupted sender's frame; the bridge's thread does this."""
        try:
            while self.rest:
                self._some(self.rest)
        except BlockingIOError:
            return
        except (OSError, IndexError):  # the worker is gone, and another has said so meanwhile
            self.rest.clear()
        self._settle()

    def abandon(self) -> None:
        """The worker is gone: nothing is left to send. Any thread may say so, and several."""
        self.rest.clear()
        self._settle()

    def _settle(self) -> None:
        """Give the send lock back that was held for the rest."""
        try:
            self._owed.pop()
        except IndexError:
            return
        self._channel.send_lock.release()
