"""Ray actors on one machine."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.peers.base import Peer
from benchmarks.remote import Held, Root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.peers.base import Notes

OBJECT_STORE_BYTES = 2_000_000_000
"""Room for the largest array several times: what was dropped is not given back at once."""
AHEAD = 1_000
"""Items that a generator may be ahead of its reader, who may leave it."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # an address given to init is replaced by a reachable one; without clusters all services
    # listen on loopback only
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def generate(count: int) -> Iterator[int]:
    """The task behind a stream, which must be a generator function.

    It must yield by itself: values are sent into it, which iterators of others do not take.
    """
    number = 0
    while number < count:
        yield number
        number += 1


class Ray(Peer):
    """``ray.init()`` on loopback, without the dashboard."""

    name = "ray"
    label = "local ray.init, no dashboard, actors"
    package = "ray"
    dist = "ray"
    lacks: ClassVar[Notes] = {"objects": "an actor is a process of its own"}
    notes: ClassVar[Notes] = {
        "method": "a method of a second actor, which is a process of its own",
        "stream": "a streaming generator: each item is an object",
        "batch": "all in flight at once",
        "array8": "an array comes as a view of the object store at either end: copied by numpy, "
        "but for the view",
        "frame": "its floats come as views of the object store",
    }

    def load(self) -> None:
        """Import the library."""
        os.environ.update(ENVIRONMENT)
        import ray

        self.library = ray

    def start(self) -> None:
        """Start the services and make the root actor."""
        import logging

        self.library.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=f"{tempfile.gettempdir()}/ray",
        )
        self.root = self._actor(Root)

    def _actor(self, cls: type[Any], *args: Any) -> Any:
        return self.library.remote(num_cpus=1)(cls).remote(*args)

    def stop(self) -> None:
        """Shut the services down."""
        self.library.shutdown()

    def call(self, name: str, *args: Any) -> Any:
        """Through the root actor."""
        return self.library.get(self.root.call.remote(name, *args))

    def scalar(self) -> Callable[[], object]:
        """A method of the root actor."""
        sqrt, get = self.root.sqrt, self.library.get
        return lambda: get(sqrt.remote(4.0))

    def method(self, value: int) -> Callable[[], object]:
        """A method of another actor."""
        held, get = self._actor(Held, value), self.library.get
        return lambda: get(held.get.remote("k"))

    def numbers(self, count: int) -> Iterable[int]:
        """A generator task, apart from the actor."""
        task = self.library.remote(num_cpus=1)(generate).options(
            num_returns="streaming", _generator_backpressure_num_objects=AHEAD
        )
        for item in task.remote(count):
            yield self.library.get(item)

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """All are submitted before the first result is read."""
        sqrt, get = self.root.sqrt, self.library.get
        return lambda: get([sqrt.remote(4.0) for _ in range(count)])

    def send(self, array: Any) -> float:
        """The worker gets a view, and makes a copy of it."""
        return float(self.call("first_of_own", array))

    def fetching(self) -> Callable[[], Any]:
        """An array comes as a view, of which a copy is made; a frame as it is."""

        def fetch() -> Any:
            value = self.call("kept")
            return value if hasattr(value, "columns") else value.copy()

        return fetch

    def viewing(self) -> Callable[[], Any]:
        """A view of the object store."""
        return lambda: self.call("kept")
