"""The data channel's way out: one frame at a time, and each of them whole.

What the socket does not take at once is queued, and whoever finds room sends that first: so an
interrupt never leaves half a frame behind, and calls that no thread waits for can be made while the
worker is busy. The thread of a large frame stays until it is out; it reads meanwhile, because two
senders that both block would wait for each other. The rest is sent by the bridge's own thread.
"""

from __future__ import annotations

import select
from collections import deque
from itertools import islice
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

_TOGETHER = 256
"""Pieces in one system call: a busy worker's calls are small, and there may be many."""
_MOST = 64 << 20
"""Bytes that may be queued; whoever has more to send waits until the worker has taken some."""


class Sender:
    """Sends frames for an exchange.

    Attributes:
        rest: what is queued, in the order of the wire; the send lock is held to change it, but by
            `abandon`.
    """

    def __init__(self, channel: Channel, exchange: Exchange) -> None:
        self._channel, self._exchange = channel, exchange
        self.rest: deque[memoryview] = deque()
        self._size = 0

    def acquire(self, flight: Flight) -> None:
        """Take the send lock.

        Raises:
            Interrupted, TimedOut: while another was sending.
        """
        lock = self._channel.send_lock
        if lock.acquire(blocking=False):
            return
        while not lock.acquire(timeout=interrupts.TICK):
            interrupts.check(flight.held)
            if flight.deadline.passed:
                raise TimedOut

    def release(self) -> None:
        """Give it back."""
        self._channel.send_lock.release()

    def send(
        self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer], flight: Flight
    ) -> None:
        """Send a frame, or queue it; the send lock is held.

        Raises:
            Interrupted, TimedOut: it goes out all the same.
        """
        stays = flight.waiting is None and not self.rest
        if self._begin(kind, head, body, buffers):
            self._push(0 if stays else _MOST, flight)
            if self.rest:
                self._exchange.wake_background()

    def post(self, kind: int, head: bytes) -> None:
        """Send a frame that nobody waits for, or queue it; the send lock is held."""
        if self._begin(kind, head, b"", ()):
            self._exchange.wake_background()

    def _begin(self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer]) -> bool:
        """Send what the socket takes at once, and queue the rest; whether there is any."""
        channel = self._channel
        try:
            begin = channel.frame if self.rest else channel.begin
            pieces = begin(kind, head, body, buffers)
        except OSError:
            return False  # the worker is gone: reading says so, and how
        for piece in pieces:
            view = memoryview(piece).cast("B")
            self._size += len(view)
            self.rest.append(view)
        return bool(pieces)

    def _push(self, enough: int, flight: Flight) -> None:
        """Send until no more than that is queued, reading meanwhile."""
        sock, exchange = self._channel.socket, self._exchange
        poll = select.poll()
        while self.rest and self._size > enough:
            if self._some():
                continue
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
                exchange.wake_background()
                raise

    def _some(self) -> bool:
        """Send some of what is queued; whether the socket took any."""
        try:
            sent = self._channel.socket.sendmsg(islice(self.rest, _TOGETHER), (), MSG_DONTWAIT)
            self._size -= sent
            while self.rest and sent >= len(self.rest[0]):
                sent -= len(self.rest.popleft())
            if sent:
                self.rest[0] = self.rest[0][sent:]
        except BlockingIOError:
            return False
        except (OSError, IndexError):  # the worker is gone, and another may have said so meanwhile
            self.abandon()
        return True

    def go_on(self) -> None:
        """Send what is queued; the bridge's thread does this."""
        lock = self._channel.send_lock
        if not lock.acquire(blocking=False):
            return
        try:
            while self.rest and self._some():
                pass
        finally:
            lock.release()

    def abandon(self) -> None:
        """The worker is gone: nothing is left to send. Any thread may say so."""
        self.rest.clear()
        self._size = 0
