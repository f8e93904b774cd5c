"""What runs in the worker, the same for every peer.

Nothing heavy is imported, so the memory of an idle worker is what the peer itself costs.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def pid() -> int:
    """The process id of the worker."""
    return os.getpid()


class Held:
    """An object to hold remotely; counts its live instances in the worker."""

    live = 0

    def __init__(self, value: int = 0) -> None:
        self.data = {"k": value}
        Held.live += 1

    def __del__(self) -> None:
        Held.live -= 1

    def get(self, key: str) -> int:
        """The value that the object was made with."""
        return self.data[key]


def live() -> int:
    """How many ``Held`` exist in this process."""
    return Held.live


class Leaf:
    """The smallest object that still gets a ref; has no destructor of its own to wait for."""

    __slots__ = ("__weakref__",)


def leaves(count: int) -> list[Leaf]:
    """``count`` objects, each of which comes back as a ref."""
    return [Leaf() for _ in range(count)]


def numbers(count: int) -> Iterator[int]:
    """The ints below ``count``, one by one."""
    return iter(range(count))


def print_lines(count: int, width: int) -> None:
    """Print ``count`` lines of ``width`` bytes, each with its newline."""
    line = "x" * (width - 1)
    for _ in range(count):
        print(line)


def spin(seconds: float) -> None:
    """Run Python code, and nothing else, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Root:
    """The one object that peers without calls by path expose."""

    def sqrt(self, x: float) -> float:
        """The scalar call."""
        return math.sqrt(x)

    def call(self, name: str, *args: Any) -> Any:
        """Call the function ``name`` of this module."""
        return globals()[name](*args)
