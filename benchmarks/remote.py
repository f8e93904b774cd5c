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


def helds(count: int) -> list[Held]:
    """``count`` objects that are counted, each of which comes back as a ref."""
    return [Held(i) for i in range(count)]


KEPT: dict[str, Any] = {}
"""The one large object that is fetched, or nothing."""


def keep_array(size: int) -> None:
    """Keep an array of ``size`` float64: random, so that compressing it gains nothing."""
    import numpy as np

    KEPT["kept"] = np.random.default_rng(0).standard_normal(size)


def stamp(value: float) -> None:
    """Change the array's first item: a copy that somebody kept is then a wrong one."""
    KEPT["kept"][0] = value


def keep_frame(rows: int, arrow: bool) -> None:
    """Keep a frame of 5 columns of float64 and one of strings, no two of which are the same."""
    KEPT["kept"] = make_frame(rows, arrow)


def make_frame(rows: int, arrow: bool) -> Any:
    """That frame, its strings as Python objects or as Arrow has them."""
    import numpy as np
    import pandas as pd

    columns = dict(zip("abcde", np.random.default_rng(0).standard_normal((5, rows)), strict=True))
    strings = pd.Series(
        [f"item-{i:07d}" for i in range(rows)],
        dtype=pd.StringDtype("pyarrow") if arrow else object,
    )
    return pd.DataFrame({**columns, "text": strings})


def kept() -> Any:
    """What is kept."""
    return KEPT["kept"]


def is_array() -> bool:
    """Whether that is an array; a frame otherwise."""
    return hasattr(KEPT["kept"], "tobytes")


def let_go() -> None:
    """Keep nothing."""
    KEPT.clear()


def first(array: Any) -> float:
    """The first item of an array that comes as the argument."""
    return float(array[0])


def first_of_own(array: Any) -> float:
    """The same of a copy in private memory, for a peer that lets the worker look at its own."""
    return float(array.copy()[0])


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
