"""Pyro5 over a Unix socket."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.peers.base import Peer
from benchmarks.peers.unix_server import UnixServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.peers.base import Notes


def serve(path: str) -> None:
    """The server: a daemon with the root object."""
    import Pyro5.api

    from benchmarks.remote import Held, Root, first, kept, numbers

    class Server(Root):
        """Makes held objects, which the daemon must be told to keep and to forget."""

        def create(self, value: int) -> Held:
            held = Held(value)
            daemon.register(held)
            return held

        def drop(self, ids: list[str]) -> None:
            for each in ids:
                daemon.unregister(each)

        def numbers(self, count: int) -> Iterator[int]:
            return numbers(count)

        def first_of(self, data: bytes) -> float:
            import numpy as np

            return first(np.frombuffer(data))

        def kept_array(self) -> bytes:
            return bytes(kept().tobytes())

        def kept_frame(self) -> bytes:
            return pickle.dumps(kept(), pickle.HIGHEST_PROTOCOL)

    for exposed in (Held, Root, Server):
        Pyro5.api.expose(exposed)
    daemon = Pyro5.api.Daemon(unixsocket=path)
    daemon.register(Server(), "root")
    daemon.requestLoop()


class Pyro5(Peer):
    """Proxies over a Unix socket, default serializer."""

    name = "pyro5"
    label = "Unix socket, serpent serializer (the default)"
    package = "Pyro5"
    dist = "Pyro5"
    notes: ClassVar[Notes] = {
        "objects": "no remote garbage collection: unregistered in one call",
        "stream": "a trip an item",
        "batch": "BatchProxy: one message",
        "array8": "no arrays: their bytes, by the msgpack serializer",
        "frame": "no frames: pickled by hand, by the msgpack serializer",
    }

    bulk: Any = None

    def load(self) -> None:
        """Import the client's API."""
        import Pyro5.api
        import Pyro5.errors

        self.api, self.errors = Pyro5.api, Pyro5.errors

    def start(self) -> None:
        """Start the daemon and bind a proxy to its root object."""
        self.server = UnixServer(__name__)
        self.root = self.server.connect(self._bind, self.errors.CommunicationError)

    def _bind(self, path: str) -> Any:
        proxy = self.api.Proxy(f"PYRO:root@./u:{path}")
        proxy._pyroBind()
        return proxy

    def stop(self) -> None:
        """Release the proxy and end the daemon."""
        self.root._pyroRelease()
        self.server.stop()

    def call(self, name: str, *args: Any) -> Any:
        """Through the root object."""
        return self.root.call(name, *args)

    def scalar(self) -> Callable[[], object]:
        """A method of the root object."""
        sqrt = self.root.sqrt
        return lambda: sqrt(4.0)

    def create(self, value: int) -> Any:
        """A proxy of an object that the daemon registers."""
        return self.root.create(value)

    def drop(self, handles: list[Any]) -> None:
        """Name all ids in one call."""
        self.root.drop([handle._pyroUri.object for handle in handles])
        handles.clear()

    def numbers(self, count: int) -> Any:
        """An iterator that the daemon keeps."""
        return self.root.numbers(count)

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """One message."""

        def calls() -> list[Any]:
            gathered = self.api.BatchProxy(self.root)
            for _ in range(count):
                gathered.sqrt(4.0)
            return list(gathered())

        return calls

    def send(self, array: Any) -> float:
        """The array's bytes."""
        return float(self._bulk().first_of(array.tobytes()))

    def fetching(self) -> Callable[[], Any]:
        """Its bytes, or the frame's pickle."""
        import numpy as np

        bulk = self._bulk()
        if self.call("is_array"):
            return lambda: np.frombuffer(bulk.kept_array())
        return lambda: pickle.loads(bulk.kept_frame())

    def _bulk(self) -> Any:
        """The root object through the serializer that takes bytes as they are."""
        if self.bulk is None:
            self.bulk = self.api.Proxy(self.root._pyroUri)
            self.bulk._pyroSerializer = "msgpack"
        return self.bulk
