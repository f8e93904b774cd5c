"""Sizes of the workloads, and the bounded timing helpers they share.

This module runs before the measured imports, so it imports next to nothing: a standard module
imported here would be missing from the start-up time of whoever needs it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.peers.base import Peer

Figures = dict[str, Any]
"""What one workload measured: figure name (with its unit) to value; a curve is a list of them."""

MB = 1_000_000
DRAIN_S = 25.0
"""How long a peer may take to free what was dropped."""


class Sizes(NamedTuple):
    """How much each workload does; ``budget_s`` ends a loop that is slower than expected."""

    calls: int
    objects: int
    session_refs: int
    other_refs: int
    many_refs: int
    chunk: int
    items: int
    batch: int
    callbacks: int
    output_mb: int
    interrupts: int
    repeats: int
    imports: int
    cells: int
    array_mb: int
    large_array_mb: int
    transfers: int
    rows: int
    outstanding: int
    windows: int
    scale_sessions: int
    scale_refs: int
    scale_calls: int
    scale_cells: int
    budget_s: float


FULL = Sizes(
    calls=10_000,
    objects=10_000,
    session_refs=10_000,
    other_refs=200_000,
    many_refs=1_000_000,
    chunk=20_000,
    items=100_000,
    batch=10_000,
    callbacks=1_000,
    output_mb=64,
    interrupts=15,
    repeats=5,
    imports=10,
    cells=5_000,
    array_mb=8,
    large_array_mb=256,
    transfers=20,
    rows=1_000_000,
    outstanding=100_000,
    windows=20,
    scale_sessions=10_000,
    scale_refs=1_000_000,
    scale_calls=100_000,
    scale_cells=1_000,
    budget_s=12.0,
)
QUICK = Sizes(
    calls=1_000,
    objects=500,
    session_refs=2_000,
    other_refs=10_000,
    many_refs=20_000,
    chunk=5_000,
    items=20_000,
    batch=1_000,
    callbacks=100,
    output_mb=4,
    interrupts=3,
    repeats=3,
    imports=3,
    cells=1_000,
    array_mb=8,
    large_array_mb=32,
    transfers=3,
    rows=20_000,
    outstanding=5_000,
    windows=5,
    scale_sessions=200,
    scale_refs=20_000,
    scale_calls=6_400,
    scale_cells=50,
    budget_s=2.0,
)


def quantile(values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile of ``values``, which need not be sorted or be many."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle of ``values``; of an even number, the mean of the middle two.

    Not ``statistics.median``: that module brings fractions, decimal and random with it.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def elapsed_ms(action: Callable[[], object]) -> float:
    """Milliseconds that ``action`` takes, once."""
    began = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - began) / 1e6


def expect(actual: object, wanted: object) -> None:
    """Refuse a figure that was measured on a wrong result."""
    if actual != wanted:
        raise ValueError(f"the worker answered {actual!r:.80}, expected {wanted!r:.80}")


def drain(peer: Peer, wanted: int) -> None:
    """Return when no more than ``wanted`` objects live in the worker."""
    end = time.monotonic() + DRAIN_S
    while (alive := peer.call("live")) > wanted:
        if time.monotonic() > end:
            raise TimeoutError(
                f"{alive - wanted} objects still held {DRAIN_S:.0f} s after the drop"
            )
        time.sleep(0.0005)


def latency(call: Callable[[], object], sizes: Sizes) -> Figures:
    """Time ``call`` call by call, warm: ``sizes.calls`` of them or a sixth of the budget."""
    allowed_ns = int(sizes.budget_s / 6 * 1e9)
    repeat(call, max(sizes.calls // 30, 20), allowed_ns // 2)
    taken = repeat(call, sizes.calls, allowed_ns)
    return {
        "median_us": median(taken) / 1e3,
        "p99_us": quantile(taken, 0.99) / 1e3,
        "min_us": min(taken) / 1e3,
        "n": len(taken),
    }


def repeat(call: Callable[[], object], times: int, allowed_ns: int) -> list[int]:
    """Nanoseconds of each of up to ``times`` calls, fewer where the time allowed runs out."""
    clock = time.perf_counter_ns
    taken: list[int] = []
    end = clock() + allowed_ns
    while len(taken) < times:
        began = clock()
        call()
        now = clock()
        taken.append(now - began)
        if now > end:
            break
    return taken
