"""What is asked of a socket beyond reading and writing."""

from __future__ import annotations

import select
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


def has_room(sock: socket.socket) -> bool:
    """Whether something can be sent at once."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def set_timeout(sock: socket.socket, seconds: float) -> None:
    """Make `recv` raise BlockingIOError after a while: no extra system call, unlike settimeout."""
    import socket as s

    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    sock.setsockopt(s.SOL_SOCKET, s.SO_RCVTIMEO, value)
