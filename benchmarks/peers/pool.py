"""Process pools of one worker, which hold no objects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks import remote
from benchmarks.peers.base import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Notes

STATELESS = "a pool holds no objects"


class Pool(Peer):
    """``concurrent.futures.ProcessPoolExecutor``."""

    name = "pool"
    label = "concurrent.futures.ProcessPoolExecutor(1), spawn"
    lacks: ClassVar[Notes] = {
        "method": STATELESS,
        "objects": STATELESS,
        "stream": "a task returns once",
    }
    notes: ClassVar[Notes] = {
        "batch": "all submitted at once; map() of one function, in chunks, costs far less"
    }

    executor: Any

    def load(self) -> None:
        """Import the executor, which the package does lazily."""
        from concurrent.futures import ProcessPoolExecutor

        self.make = ProcessPoolExecutor

    def start(self) -> None:
        """Make the pool; its worker starts with the first call."""
        from multiprocessing import get_context

        self.executor = self.make(1, mp_context=get_context("spawn"))

    def stop(self) -> None:
        """Shut the pool down."""
        self.executor.shutdown()

    def call(self, name: str, *args: Any) -> Any:
        """Submit and wait."""
        return self.executor.submit(getattr(remote, name), *args).result()

    def scalar(self) -> Callable[[], object]:
        """Submit and wait."""
        submit = self.executor.submit
        return lambda: submit(math.sqrt, 4.0).result()

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """All are submitted before the first result is read."""
        submit = self.executor.submit
        return lambda: [each.result() for each in [submit(math.sqrt, 4.0) for _ in range(count)]]


class Loky(Pool):
    """joblib's pool."""

    name = "loky"
    label = "loky.get_reusable_executor(1)"
    package = "loky"
    dist = "loky"

    def load(self) -> None:
        """Import the library."""
        import loky

        self.reusable = loky.get_reusable_executor

    def start(self) -> None:
        """Make the pool, with a worker that does not time out."""
        self.executor = self.reusable(max_workers=1, timeout=None)

    def stop(self) -> None:
        """End the worker too: the executor is reusable."""
        self.executor.shutdown(wait=True, kill_workers=True)
