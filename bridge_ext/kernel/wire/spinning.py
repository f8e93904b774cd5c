"""Looking for a while before a wait that blocks.

A process that sleeps in a wait is woken 20 to 50 us after its socket has something, which is more
than a small call takes at both ends together. One that looks again and again sees it at once, as
long as the two run on different cores. Where they share one, or others want it, looking only keeps
the other side from answering: so whoever has looked in vain does without the next times, twice as
many each time.
"""

from __future__ import annotations

import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Iterable

_LONGEST = 50e-6
"""Seconds of looking: about what it costs to be woken instead, so that at worst it costs twice."""
_MOST = 8
"""Times in vain that are counted: after these, 255 waits go by without looking."""


class Spin:
    """The looks of the one thread that reads a socket.

    Args:
        sock: the socket.
        beside: descriptors that are looked at as well, each time after the socket.

    Attributes:
        alone: whether the last wait saw that the socket has something, and that the others have
            nothing: what was written there before that is not missed.
    """

    __slots__ = ("_poll", "_readable", "_skip", "_vain", "alone")

    def __init__(self, sock: Socket, beside: Iterable[int] = ()) -> None:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        for fd in beside:
            poll.register(fd, select.POLLIN)
        self._poll = poll.poll
        self._readable = (sock.fileno(), select.POLLIN)
        self._skip = self._vain = 0
        self.alone = False

    def wait(self) -> None:
        """Return when there is something to read, or when it is better to block."""
        self.alone = False
        if self._skip:
            self._skip -= 1
            return
        poll = self._poll
        ready = poll(0)
        if not ready:
            end = monotonic() + _LONGEST
            while not (ready := poll(0)):
                if monotonic() > end:
                    self._vain = min(_MOST, self._vain + 1)
                    self._skip = (1 << self._vain) - 1
                    return
            self._vain = 0
        self.alone = len(ready) == 1 and ready[0] == self._readable
