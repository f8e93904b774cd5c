"""The standard library's proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import Peer

if TYPE_CHECKING:
    from collections.abc import Callable


class Managers(Peer):
    """``multiprocessing.managers.BaseManager``."""

    name = "managers"
    label = "multiprocessing.managers.BaseManager, spawn, Unix socket, pickle"

    base: Any
    manager: Any

    def load(self) -> None:
        """Import what a script would."""
        from multiprocessing.managers import BaseManager

        self.base = BaseManager

    def start(self) -> None:
        """Start the manager's process and make one proxy."""
        from multiprocessing import get_context

        from benchmarks.remote import Held, Root

        self.base.register("Root", Root)
        self.base.register("Held", Held, exposed=("get",))
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
