"""Dask actors on one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.peers.base import Peer
from benchmarks.remote import Held, Root

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Notes

CLOSE_S = 5.0


class Dask(Peer):
    """``distributed`` actors in a local cluster."""

    name = "dask"
    label = "distributed actors, LocalCluster of 1 process and 1 thread, TCP on loopback"
    package = "distributed"
    dist = "distributed"
    lacks: ClassVar[Notes] = {"stream": "a method of an actor returns once"}
    notes: ClassVar[Notes] = {"objects": "one actor each", "batch": "all in flight at once"}

    library: Any

    def load(self) -> None:
        """Import the library."""
        import distributed

        self.library = distributed

    def start(self) -> None:
        """Start the cluster and make the root actor."""
        import logging

        logging.getLogger("distributed").setLevel(logging.ERROR)
        self.cluster = self.library.LocalCluster(
            n_workers=1,
            processes=True,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
        )
        self.client = self.library.Client(self.cluster)
        self.root = self._actor(Root)

    def _actor(self, cls: type[Any], *args: Any) -> Any:
        return self.client.submit(cls, *args, actor=True, pure=False).result()

    def stop(self) -> None:
        """Close the client, then the cluster."""
        del self.root
        self.client.close(timeout=CLOSE_S)
        self.cluster.close(timeout=CLOSE_S)

    def call(self, name: str, *args: Any) -> Any:
        """Through the root actor."""
        return self.root.call(name, *args).result()

    def scalar(self) -> Callable[[], object]:
        """A method of the root actor."""
        sqrt = self.root.sqrt
        return lambda: sqrt(4.0).result()

    def method(self, value: int) -> Callable[[], object]:
        """A method of another actor."""
        held = self.create(value)
        return lambda: held.get("k").result()

    def create(self, value: int) -> Any:
        """An actor."""
        return self._actor(Held, value)

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """All are submitted before the first result is read."""
        sqrt = self.root.sqrt
        return lambda: [future.result() for future in [sqrt(4.0) for _ in range(count)]]
