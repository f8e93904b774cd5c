"""Ours: a bridge with one local worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_REFS = 100_000
"""More than any workload makes in the auto-session: the default limit is about as many."""


class BridgePeer(Peer):
    """``bridge_ext.Bridge()``, as a script uses it."""

    name = "bridge"
    label = "bridge_ext.Bridge(), one local worker"
    package = "bridge_ext"
    dist = "bridge-ext"
    workloads = (
        "start",
        "memory",
        "scalar",
        "method",
        "objects",
        "sessions",
        "many",
        "stream",
        "batch",
        "output",
        "acall",
        "callback",
        "interrupt",
        "array8",
        "array256",
        "frame",
        "frame_arrow",
        "outstanding",
        "scale_sessions",
        "scale_refs",
        "scale_threads",
    )

    bridge: Any

    def load(self) -> None:
        """Import the package, as ``import bridge_ext`` does."""
        import bridge_ext

        self.make = bridge_ext.Bridge

    def start(self) -> None:
        """Make the bridge; the worker starts with it or with the first call."""
        self.bridge = self.make(max_refs=MAX_REFS)

    def stop(self) -> None:
        """Close the bridge, which ends and reaps the worker."""
        self.bridge.close()

    def call(self, name: str, *args: Any) -> Any:
        """By dotted path."""
        return self.bridge.call(f"benchmarks.remote.{name}", *args)

    def scalar(self) -> Callable[[], object]:
        """By dotted path, straight at the library."""
        call = self.bridge.call
        return lambda: call("math.sqrt", 4.0)

    def create(self, value: int) -> Any:
        """A ref; dropping its handle frees the object with the next message."""
        return self.bridge.new("benchmarks.remote.Held", value)

    def numbers(self, count: int) -> Any:
        """A stream, which the worker reads ahead."""
        return self.bridge.stream("builtins.range", count)

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """One message."""
        bridge = self.bridge

        def calls() -> list[Any]:
            with bridge.batch() as block:
                futures = [block.call("math.sqrt", 4.0) for _ in range(count)]
            return [future.result() for future in futures]

        return calls

    def fetching(self) -> Callable[[], Any]:
        """A copy of what a ref stands for."""
        fetch, ref = self.bridge.fetch, self._kept()
        return lambda: fetch(ref)

    def viewing(self) -> Callable[[], Any]:
        """The same, read where the worker has put it."""
        fetch, ref = self.bridge.fetch, self._kept()
        return lambda: fetch(ref, copy=False)

    def _kept(self) -> Any:
        return self.bridge.options(fetch=False).call("benchmarks.remote.kept")
