"""The standard library's proxies."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.peers.base import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Notes


class Managers(Peer):
    """``multiprocessing.managers.BaseManager``."""

    name = "managers"
    label = "multiprocessing.managers.BaseManager, spawn, Unix socket, pickle"
    lacks: ClassVar[Notes] = {"batch": "a proxy makes one call at a time"}
    notes: ClassVar[Notes] = {"stream": "IteratorProxy: a trip an item"}

    base: Any
    manager: Any

    def load(self) -> None:
        """Import what a script would."""
        library: Any = import_module("multiprocessing.managers")
        self.base, self.iterator = library.BaseManager, library.IteratorProxy

    def start(self) -> None:
        """Start the manager's process and make one proxy."""
        from multiprocessing import get_context

        from benchmarks.remote import Held, Root, numbers

        self.base.register("Root", Root)
        self.base.register("Held", Held, exposed=("get",))
        self.base.register("numbers", numbers, proxytype=self.iterator)
        self.manager = self.base(ctx=get_context("spawn"))
        self.manager.start()
        self.root = self.manager.Root()

    def stop(self) -> None:
        """Shut the manager's process down."""
        self.manager.shutdown()

    def call(self, name: str, *args: Any) -> Any:
        """Through the proxy of the root object."""
        return self.root.call(name, *args)

    def scalar(self) -> Callable[[], object]:
        """A method of a proxy: managers have no calls by path."""
        sqrt = self.root.sqrt
        return lambda: sqrt(4.0)

    def create(self, value: int) -> Any:
        """A proxy; its finalizer frees the object."""
        return self.manager.Held(value)

    def numbers(self, count: int) -> Any:
        """The library's proxy of an iterator."""
        return self.manager.numbers(count)
