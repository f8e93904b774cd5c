"""Large arrays and frames, there and back: into memory that is kept warm, or read where it is.

What a transfer gave is dropped before the next one, and the object is a little different each time,
so that a copy which somebody kept is found out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks import remote
from benchmarks.measure import MB, Figures, Sizes, expect, median
from benchmarks.peers.base import Peer, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

ITEM = 8
"""Bytes of a float64."""
WARM = 8
"""Transfers that are not counted: by then what is used again was used before."""
TOO_LONG_S = 10.0
"""One transfer that takes longer ends the workload, which has two ways or more to go."""


class Memcpy(Subject):
    """The floor of arrays: what the machine takes to copy one, in one process."""

    name = "memcpy"
    label = "floor of arrays: numpy.copyto into memory that was used before, in one process"
    package = "numpy"
    dist = "numpy"
    workloads = ("array8", "array256")


def array8(subject: Subject, sizes: Sizes) -> Figures:
    """An array that the caches of the machine may hold."""
    return _array(subject, sizes.array_mb * MB // ITEM, sizes)


def array256(subject: Subject, sizes: Sizes) -> Figures:
    """An array that they do not."""
    return _array(subject, sizes.large_array_mb * MB // ITEM, sizes)


def _array(subject: Subject, size: int, sizes: Sizes) -> Figures:
    """GB/s to the worker, from it, and from it without a copy here, where that can be done."""
    if not isinstance(subject, Peer):
        rate = _rate(_copy_s(_make(size), sizes), size)
        return dict.fromkeys(("to_gbs", "from_gbs", "view_gbs"), rate)
    figures = {"to_gbs": _rate(_to_s(subject, _make(size), sizes), size)}
    subject.call("keep_array", size)
    figures["from_gbs"] = _rate(_from_s(subject, subject.fetching(), size, sizes), size)
    if view := subject.viewing():
        figures["view_gbs"] = _rate(_from_s(subject, view, size, sizes), size)
    subject.call("let_go")
    return figures


def _make(size: int) -> np.ndarray[Any, Any]:
    remote.keep_array(size)
    made: np.ndarray[Any, Any] = remote.kept()
    remote.let_go()
    return made


def _rate(seconds: list[float], size: int) -> float:
    """GB/s of the median transfer."""
    return size * ITEM / median(seconds) / 1e9


def _copy_s(array: np.ndarray[Any, Any], sizes: Sizes) -> list[float]:
    import numpy as np  # not above: this module is imported before peers are timed

    target = np.zeros_like(array)
    return _transfers_s(lambda number: None, lambda: np.copyto(target, array), sizes)


def _to_s(peer: Peer, array: np.ndarray[Any, Any], sizes: Sizes) -> list[float]:
    def change(number: int) -> None:
        array[0] = number

    return _transfers_s(
        change,
        lambda: peer.send(array),
        sizes,
        lambda result: expect(result, array[0]),
    )


def _from_s(peer: Peer, fetch: Callable[[], Any], size: int, sizes: Sizes) -> list[float]:
    import numpy as np

    whole = _make(size)

    def change(number: int) -> None:
        peer.call("stamp", float(number))
        whole[0] = number

    def check(result: Any) -> None:
        expect((type(result), result.shape, result[0]), (np.ndarray, whole.shape, whole[0]))
        expect(bool(np.array_equal(result[:: size // 1000], whole[:: size // 1000])), True)

    return _transfers_s(change, fetch, sizes, check)


def frame(peer: Peer, sizes: Sizes) -> Figures:
    """A frame whose strings are Python objects."""
    return _frame(peer, sizes, arrow=False)


def frame_arrow(peer: Peer, sizes: Sizes) -> Figures:
    """A frame whose strings are in Arrow's memory."""
    return _frame(peer, sizes, arrow=True)


def _frame(peer: Peer, sizes: Sizes, *, arrow: bool) -> Figures:
    """Seconds to fetch it; and without a copy here, where that can be done."""
    peer.call("keep_frame", sizes.rows, arrow)
    wanted = remote.make_frame(1, arrow).dtypes.to_dict()

    def check(result: Any) -> None:
        expect((result.shape, result.dtypes.to_dict()), ((sizes.rows, len(wanted)), wanted))
        expect(result["text"].iloc[-1], f"item-{sizes.rows - 1:07d}")

    figures = {}
    for figure, fetch in (("s", peer.fetching()), ("view_s", peer.viewing())):
        if fetch:
            figures[figure] = median(_transfers_s(lambda number: None, fetch, sizes, check))
    peer.call("let_go")
    return figures


def _transfers_s(
    change: Callable[[int], None],
    transfer: Callable[[], Any],
    sizes: Sizes,
    check: Callable[[Any], None] = lambda result: None,
) -> list[float]:
    """Seconds of each transfer, warm; fewer than ``sizes.transfers`` where the budget runs out.

    Where it runs out before any is warm, the last one counts.

    Raises:
        TimeoutError: one took longer than is allowed.
    """
    end = time.perf_counter() + sizes.budget_s / 3
    taken: list[float] = []
    for number in range(WARM + sizes.transfers):
        change(number)
        took_s = _transfer_s(transfer, check)
        if took_s > TOO_LONG_S:
            # a timeout to the harness as well: it is not tried again
            raise TimeoutError(f"timeout, one transfer takes {took_s:.0f} s")
        over = time.perf_counter() > end
        if number >= WARM or over:
            taken.append(took_s)
        if over:
            break
    return taken


def _transfer_s(transfer: Callable[[], Any], check: Callable[[Any], None]) -> float:
    """Seconds of one; what it gave is dropped when this returns."""
    began = time.perf_counter()
    result = transfer()
    took_s = time.perf_counter() - began
    check(result)
    return took_s
