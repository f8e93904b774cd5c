"""RPyC in classic mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.peers.base import Peer
from benchmarks.peers.unix_server import UnixServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Notes

AT_ONCE = 200
"""Messages that are sent before a reply is read: 10,000 fill both socket buffers."""


def serve(path: str) -> None:
    """The server: one connection, classic service."""
    from rpyc.core.service import ClassicService
    from rpyc.utils.server import OneShotServer

    OneShotServer(ClassicService, socket_path=path).start()


class Rpyc(Peer):
    """Netrefs over a Unix socket, default configuration."""

    name = "rpyc"
    label = "classic mode, Unix socket, defaults"
    package = "rpyc"
    dist = "rpyc"
    notes: ClassVar[Notes] = {
        "objects": f"dropped {AT_ONCE} at a time; all at once closes the connection",
        "stream": "rpyc.buffiter, up to 1,000 items a trip; a plain netref takes a trip an item",
        "batch": f"rpyc.async_, {AT_ONCE} in flight",
        "array8": "rpyc.classic.deliver and obtain, which pickle",
        "frame": "rpyc.classic.obtain",
    }

    def load(self) -> None:
        """Import the library and its connector."""
        import rpyc
        from rpyc.utils.factory import unix_connect

        self.library = rpyc
        self.connect, self.service, self.classic = unix_connect, rpyc.ClassicService, rpyc.classic

    def start(self) -> None:
        """Start the server and connect to it."""
        self.server = UnixServer(__name__)
        self.connection = self.server.connect(
            lambda path: self.connect(path, service=self.service), OSError
        )

    def stop(self) -> None:
        """Close the connection, which ends the server."""
        self.connection.close()
        self.server.stop()

    def call(self, name: str, *args: Any) -> Any:
        """Through the netref of the remote module."""
        return getattr(self.connection.modules["benchmarks.remote"], name)(*args)

    def scalar(self) -> Callable[[], object]:
        """The netref of the remote function."""
        sqrt = self.connection.modules.math.sqrt
        return lambda: sqrt(4.0)

    def create(self, value: int) -> Any:
        """A netref; its finalizer sends a message."""
        return self.call("Held", value)

    def drop(self, handles: list[Any]) -> None:
        """A few at a time, each followed by a call that reads the replies."""
        while handles:
            del handles[-AT_ONCE:]
            self.call("live")

    def numbers(self, count: int) -> Any:
        """Many items a trip, which is the library's own way."""
        return self.library.buffiter(self.call("numbers", count))

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """Asynchronous calls, as many in flight as are safe."""
        sqrt = self.library.async_(self.connection.modules.math.sqrt)

        def calls() -> list[Any]:
            values: list[Any] = []
            while len(values) < count:
                now = min(AT_ONCE, count - len(values))
                values += [result.value for result in [sqrt(4.0) for _ in range(now)]]
            return values

        return calls

    def send(self, array: Any) -> float:
        """A copy of the array there, made before the call."""
        return float(self.call("first", self.classic.deliver(self.connection, array)))

    def fetching(self) -> Callable[[], Any]:
        """A copy of what a netref stands for."""
        obtain, netref = self.classic.obtain, self.call("kept")
        return lambda: obtain(netref)
