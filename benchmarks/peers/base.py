"""What a subject of the benchmark is, and what a peer gives.

A new peer is one class in one file, and one line in ``benchmarks.peers.SUBJECTS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Notes = dict[str, str]
"""Workload to remark."""


class Subject:
    """Something that is measured in a process of its own.

    ``package`` is what must be importable, ``dist`` the distribution whose version is reported.
    ``workloads`` run in this order. ``notes`` say what to know about a workload's figure.
    """

    name: str
    label: str
    package: str | None = None
    dist: str | None = None
    workloads: ClassVar[tuple[str, ...]]
    notes: ClassVar[Notes] = {}

    def stop(self) -> None:
        """End what the workloads started."""


class Peer(Subject):
    """A way to call functions and hold objects in another process.

    ``scalar``, ``method`` and ``batch`` return what is timed, so that the timed loop holds only
    what a user of the peer would write. ``lacks`` names the workloads that the peer has no
    feature for, each with the reason.
    """

    workloads: ClassVar[tuple[str, ...]] = (
        "start",
        "memory",
        "scalar",
        "method",
        "objects",
        "stream",
        "batch",
        "array8",
        "array256",
        "frame",
        "frame_arrow",
    )
    lacks: ClassVar[Notes] = {}

    def load(self) -> None:
        """Import the client's library."""
        raise NotImplementedError

    def start(self) -> None:
        """Bring up the worker; after this ``scalar()()`` works."""
        raise NotImplementedError

    def call(self, name: str, *args: Any) -> Any:
        """Call the function ``name`` of ``benchmarks.remote`` there; the result by value."""
        raise NotImplementedError

    def worker_pid(self) -> int:
        """The process that runs the calls."""
        return int(self.call("pid"))

    def scalar(self) -> Callable[[], object]:
        """A callable that does ``math.sqrt(4.0)`` there."""
        raise NotImplementedError

    def method(self, value: int) -> Callable[[], object]:
        """A callable that does ``held.get("k")`` on a held object made with ``value``."""
        held = self.create(value)
        return lambda: held.get("k")

    def create(self, value: int) -> Any:
        """Make a ``benchmarks.remote.Held`` there; returns its handle."""
        raise NotImplementedError

    def drop(self, handles: list[Any]) -> None:
        """Drop all ``handles`` the way the peer wants it done; empties the list."""
        handles.clear()

    def numbers(self, count: int) -> Iterable[int]:
        """The ints below ``count``, which an iterator there gives one by one."""
        raise NotImplementedError

    def batch(self, count: int) -> Callable[[], list[Any]]:
        """A callable that does ``math.sqrt(4.0)`` there ``count`` times; all the results.

        The calls are separate, and could each be of another function; none waits for another.
        """
        raise NotImplementedError

    def send(self, array: Any) -> float:
        """The first item of ``array``, read there from memory that is the worker's own."""
        return float(self.call("first", array))

    def fetching(self) -> Callable[[], Any]:
        """A callable that gives what ``remote.kept`` gives, in memory that is the caller's own."""
        return lambda: self.call("kept")

    def viewing(self) -> Callable[[], Any] | None:
        """The same in memory that is shared and read-only; None where the peer has no such way."""
        return None
