"""ipyparallel with one engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks import remote
from benchmarks.peers.base import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Notes


class IPyParallel(Peer):
    """A controller and one engine on this machine."""

    name = "ipyparallel"
    label = "1 local engine, DirectView.apply_sync, TCP on loopback"
    package = "ipyparallel"
    dist = "ipyparallel"
    lacks: ClassVar[Notes] = {
        "objects": "no handles on objects: the engine's variables are named by hand",
        "stream": "a task returns once",
    }
    notes: ClassVar[Notes] = {
        "method": "apply_sync of the function on a Reference",
        "batch": "apply_async, all at once; map() of one function costs far less",
    }

    def load(self) -> None:
        """Import the library."""
        import ipyparallel

        self.library = ipyparallel

    def start(self) -> None:
        """Start controller and engine and connect to them."""
        import logging

        self.cluster = self.library.Cluster(n=1, log_level=logging.ERROR)
        self.client = self.cluster.start_and_connect_sync()
        self.view = self.client[0]

    def stop(self) -> None:
        """Close the client and stop the cluster."""
        self.client.close()
        self.cluster.stop_cluster_sync()

    def call(self, name: str, *args: Any) -> Any:
        """Apply on the one engine."""
        return self.view.apply_sync(getattr(remote, name), *args)

    def scalar(self) -> Callable[[], object]:
        """Apply on the one engine."""
        apply = self.view.apply_sync
        return lambda: apply(math.sqrt, 4.0)

    def method(self, value: int) -> Callable[[], object]:
        """The object is a variable of the engine."""
        self.view.execute(f"from benchmarks.remote import Held; held = Held({value})", block=True)
        apply, held, get = self.view.apply_sync, self.library.Reference("held"), remote.Held.get
        return lambda: apply(get, held, "k")

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """All are sent before the first result is read."""
        apply = self.view.apply_async
        return lambda: [each.get() for each in [apply(math.sqrt, 4.0) for _ in range(count)]]
