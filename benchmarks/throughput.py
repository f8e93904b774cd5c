"""What many small things cost each: items of a stream, calls of a batch, lines of output."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import MB, Figures, Sizes, elapsed_ms, expect, median

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.peers.base import Peer
    from benchmarks.peers.bridge import BridgePeer

FEW = 100
"""Before anything is timed; what they take says how many are affordable."""
LOOK = 256
"""Items after which a reader looks at the clock: once an item would be what is measured."""
LINE = 1024
"""Bytes of a line of output, with its newline."""


def stream(peer: Peer, sizes: Sizes) -> Figures:
    """A ``for`` loop over ints that an iterator there gives one by one."""
    expect(list(peer.numbers(FEW)), list(range(FEW)))
    end = time.perf_counter() + sizes.budget_s / 3
    each_us: list[float] = []
    count = 0
    while len(each_us) < sizes.repeats and time.perf_counter() < end:
        began = time.perf_counter()
        count = _read(peer.numbers(sizes.items), sizes.items, end)
        each_us.append((time.perf_counter() - began) / count * 1e6)
    return {"item_us": median(each_us), "per_s": 1e6 / median(each_us), "n": count}


def _read(items: Iterable[int], wanted: int, end: float) -> int:
    """How many ``items`` were read: all that are ``wanted``, fewer where it is past ``end``."""
    last = -1
    for last in items:
        if not last % LOOK and time.perf_counter() > end:
            return last + 1
    expect(last + 1, wanted)
    return wanted


def batch(peer: Peer, sizes: Sizes) -> Figures:
    """``math.sqrt(4.0)`` there, many times, the peer's way to make calls that do not wait."""
    few = peer.batch(FEW)
    expect(few(), [2.0] * FEW)
    affordable = int(sizes.budget_s * 1e3 / 3 / sizes.repeats / (elapsed_ms(few) / FEW))
    count = min(sizes.batch, max(affordable, FEW))
    calls = peer.batch(count)
    taken = [_batch_ms(calls, count) for _ in range(sizes.repeats)]
    call_us = median(taken) / count * 1e3
    return {"call_us": call_us, "per_s": 1e6 / call_us, "n": count}


def _batch_ms(calls: Callable[[], list[Any]], count: int) -> float:
    results: list[Any] = []
    took_ms = elapsed_ms(lambda: results.extend(calls()))
    expect((len(results), set(results)), (count, {2.0}))
    return took_ms


def output(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Lines that the worker prints, until all of them were written here."""
    count = sizes.output_mb * MB // LINE
    _print_ms(peer, FEW)
    end = time.perf_counter() + sizes.budget_s
    taken = [_print_ms(peer, count)]
    while len(taken) < sizes.repeats and time.perf_counter() < end:
        taken.append(_print_ms(peer, count))
    mb_ms = median(taken) / (count * LINE / MB)
    return {"mb_ms": mb_ms, "mb_per_s": 1e3 / mb_ms, "n": len(taken)}


def _print_ms(peer: BridgePeer, count: int) -> float:
    sink = Sink()
    with contextlib.redirect_stdout(sink):
        took_ms = elapsed_ms(lambda: peer.call("print_lines", count, LINE))
    expect(sink.written, count * LINE)
    return took_ms


class Sink:
    """A stream that counts what is written to it, and keeps nothing."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, text: str) -> int:
        """Count the characters, which are bytes here."""
        self.written += len(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
