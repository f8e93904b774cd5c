"""What no Python RPC can beat: one message each way over a socket pair, with and without msgpack.

Both sides are blocking and single-threaded, the worker is a plain interpreter. The message is a
call as a real protocol would word it, some 200 bytes with msgpack and 100 without.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_S = 5.0
RECEIVE = 65536
MESSAGE = b"x" * 100
SESSION = "3f0c9a1e-7d54-4b0e-9a55-2f1d6f1f7a10"
CALL: dict[str, Any] = {
    "protocol_version": 1,
    "request_id": 123456,
    "call_type": "function",
    "module_path": "math",
    "function": "sqrt",
    "args": [4.0],
    "kwargs": {},
    "session_id": SESSION,
}
REPLY: dict[str, Any] = {
    "protocol_version": 1,
    "request_id": 123456,
    "status": "ok",
    "result": 2.0,
    "result_kind": "value",
    "error": None,
    "duration_us": 3,
    "session_id": SESSION,
}


def echo(fd: int) -> None:
    """The worker without a codec: sends back what it gets, until the socket ends."""
    sock = socket.socket(fileno=fd)
    while data := sock.recv(RECEIVE):
        sock.sendall(data)


def answer(fd: int) -> None:
    """The worker with msgpack: decodes each call and encodes a reply, until the socket ends."""
    import msgpack

    sock = socket.socket(fileno=fd)
    pack = msgpack.Packer().pack
    while data := sock.recv(RECEIVE):
        msgpack.unpackb(data)
        sock.sendall(pack(REPLY))


class Socket(Peer):
    """The transport alone."""

    name = "socket"
    label = "floor: 100 bytes each way over a socket pair"
    workloads = ("start", "memory", "scalar")
    serve = "echo"

    def load(self) -> None:
        """Nothing to import."""

    def start(self) -> None:
        """Start an interpreter at the other end of a socket pair."""
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(None)
        code = f"from benchmarks.floor import {self.serve}; {self.serve}({theirs.fileno()})"
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(theirs.fileno(),)
            )

    def stop(self) -> None:
        """End of the socket ends the worker."""
        self.sock.close()
        self.process.wait(STOP_S)

    def worker_pid(self) -> int:
        """The interpreter that was started."""
        return self.process.pid

    def scalar(self) -> Callable[[], object]:
        """One message there and back; the result is the call's by definition."""
        send, receive = self.sock.sendall, self.sock.recv

        def call() -> float:
            send(MESSAGE)
            receive(RECEIVE)
            return 2.0

        return call


class SocketMsgpack(Socket):
    """The transport, and the codec at both ends: the floor that ours is compared with."""

    name = "msgpack"
    label = "floor: a call and its reply over a socket pair, msgpack at both ends"
    package = "msgpack"
    dist = "msgpack"
    serve = "answer"

    def load(self) -> None:
        """Import the codec."""
        import msgpack

        self.pack, self.unpack = msgpack.Packer().pack, msgpack.unpackb

    def scalar(self) -> Callable[[], object]:
        """Encode, send, receive, decode."""
        send, receive, pack, unpack = self.sock.sendall, self.sock.recv, self.pack, self.unpack

        def call() -> object:
            send(pack(CALL))
            return unpack(receive(RECEIVE))["result"]

        return call
