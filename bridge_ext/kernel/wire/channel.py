"""A channel: frames over a stream socket. All writes go through one door."""

from __future__ import annotations

import sys
import threading
from _socket import MSG_DONTWAIT  # a worker needs no more, and `socket` takes 2 ms

from ..errors import ProtocolError
from .framing import Frame, FrameParser, Placed, build, check_limits, small, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Callable, Sequence

    from .framing import Buffer
    from .segments import Outgoing
    from .shared import Incoming
    from .spinning import Spin

CHUNK = 65536
"""Bytes asked of the socket at once: recv(262144) costs 14 us more a call than this."""


_NOTHING: list[Buffer] = []


class Channel:
    """Frames over a connected stream socket.

    `send_lock` is taken by whoever sends and covers exactly one frame. `read` has one reader at
    a time, which the owner of the channel sees to.

    Args:
        sock: the socket.
        spin: looks for a while before a read blocks.
    """

    __slots__ = (
        "_midway",
        "_parser",
        "_recv",
        "_send",
        "_sendall",
        "_spin",
        "incoming",
        "outgoing",
        "send_lock",
        "socket",
    )

    def __init__(self, sock: Socket, spin: Spin | None = None) -> None:
        self.outgoing: Outgoing | None = None
        self.incoming: Incoming | None = None
        self.socket = sock
        self.send_lock = threading.Lock()
        self._parser = FrameParser()
        self._midway = False  # as the parser says it, which is asked only when it may have changed
        self._spin = spin.wait if spin is not None else None
        self._recv = sock.recv
        self._send, self._sendall = sock.send, sock.sendall

    def send(self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer] = ()) -> None:
        """Send one frame; the caller holds `send_lock`.

        Raises:
            OSError: the peer is gone.
        """
        if not buffers and len(body) < CHUNK and len(head) < CHUNK:
            self._sendall(small(kind, head, body))
            return
        pieces, write = self._pieces(kind, head, body, buffers)
        for piece in pieces:
            self._sendall(piece)
        if write is not None:
            write()

    def frame(
        self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer] = ()
    ) -> list[Buffer]:
        """The pieces of a frame that is sent later, in this order; the caller holds `send_lock`."""
        pieces, write = self._pieces(kind, head, body, buffers)
        if write is not None:
            write()
        return pieces

    def _pieces(
        self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer]
    ) -> tuple[list[Buffer], Callable[[], None] | None]:
        """The pieces of a frame, and what to do once they were sent."""
        if self.outgoing is None or not buffers:
            return build(kind, head, body, buffers), None
        check_limits(head, body, buffers)  # from here on a segment may be taken
        placed, write = self.outgoing.place(buffers)
        return build(kind, head, body, placed), write

    def begin(
        self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer] = ()
    ) -> list[Buffer]:
        """Send as much of a frame as the socket takes at once; the pieces that are left.

        The caller holds `send_lock`, and sends the rest before anything else.
        """
        if not buffers and len(body) < CHUNK and len(head) < CHUNK:
            frame = small(kind, head, body)
            try:
                sent = self._send(frame, MSG_DONTWAIT)
            except BlockingIOError:
                return [frame]
            return _NOTHING if sent == len(frame) else [memoryview(frame)[sent:]]
        pieces, write = self._pieces(kind, head, body, buffers)
        rest = self._begin(pieces)
        if write is not None:
            write()
        return rest

    def _begin(self, pieces: list[Buffer]) -> list[Buffer]:
        """Send what the socket takes; what is left."""
        while pieces:
            try:
                sent = self._send(pieces[0], MSG_DONTWAIT)
            except BlockingIOError:
                return pieces
            if sent < len(pieces[0]):
                return [memoryview(pieces[0])[sent:], *pieces[1:]]
            del pieces[0]
        return pieces

    def read(self, at_most: int = sys.maxsize) -> Frame | None:
        """The next frame, or None at the end of the stream.

        Args:
            at_most: bytes of a frame that is not yet whole, after which the caller has its turn.

        Raises:
            BlockingIOError: the socket's receive timeout passed, or that much has come; call
                again to go on.
            ProtocolError: the peer broke the protocol.
            OSError: the connection broke, or the peer left in the middle of a frame.
        """
        parser = self._parser
        if not self._midway:
            if self._spin is not None:
                self._spin()
            data = self._recv(CHUNK)
            frame = whole(data)
            if frame is not None:
                return frame
            if not data:
                return None
            parser.feed(data)
            self._midway = True
        while True:
            frame = parser.next()
            if frame is not None:
                self._midway = parser.midway
                return self._opened(frame)
            if at_most < 0:
                raise BlockingIOError
            room = parser.room()
            if room is not None:
                count = self.socket.recv_into(room)
                parser.filled(count)
            else:
                data = self._recv(CHUNK)
                count = len(data)
                parser.feed(data)
            if not count:
                raise ConnectionResetError("the peer left in the middle of a frame")
            at_most -= count

    def buffered(self) -> Frame | None:
        """The next frame, if it has been received already.

        Whoever waits for the socket before `read` has to ask, for one `recv` may bring several.
        """
        frame = self._parser.next()
        self._midway = self._parser.midway
        return frame if frame is None else self._opened(frame)

    def _opened(self, frame: Frame) -> Frame:
        if not frame.buffers:
            return frame
        if self.incoming is not None:
            frame.buffers = self.incoming.open(frame.buffers)
        elif any(type(b) is Placed for b in frame.buffers):
            raise ProtocolError("a buffer lies in a segment, and this channel has none")
        return frame

    @property
    def midway(self) -> bool:
        """Whether something was received that `read` has not returned yet."""
        return self._midway

    def shutdown(self) -> None:
        """End both directions, which wakes every wait; safe from any thread, at any time."""
        try:
            self.socket.shutdown(2)
        except OSError:
            pass

    def close(self) -> None:
        """Give the descriptor back."""
        self.socket.close()
