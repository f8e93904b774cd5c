"""Ours only: other ways to go there and back, as ratios to the scalar call.

The two are timed in turns, a block of each, so that what slows one down slows both.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figures, Sizes, expect, median, repeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.peers.bridge import BridgePeer

BLOCKS = 10


def acall(peer: BridgePeer, sizes: Sizes) -> Figures:
    """``await bridge.acall(...)`` of the scalar call, one after the other."""
    import asyncio  # not above: it is not what others have to pay for

    call = peer.bridge.acall
    loop = asyncio.new_event_loop()

    def block(times: int, allowed_ns: int) -> list[int]:
        return loop.run_until_complete(
            _repeat_awaited(lambda: call("math.sqrt", 4.0), times, allowed_ns)
        )

    try:
        expect(loop.run_until_complete(call("math.sqrt", 4.0)), 2.0)
        return _in_turns(peer, block, sizes)
    finally:
        loop.close()


async def _repeat_awaited(
    call: Callable[[], Awaitable[Any]], times: int, allowed_ns: int
) -> list[int]:
    """As ``measure.repeat``, awaiting each."""
    clock = time.perf_counter_ns
    taken: list[int] = []
    end = clock() + allowed_ns
    while len(taken) < times:
        began = clock()
        await call()
        now = clock()
        taken.append(now - began)
        if now > end:
            break
    return taken


def callback(peer: BridgePeer, sizes: Sizes) -> Figures:
    """A function of this process that ``functools.reduce`` calls there, many times in one call."""
    bridge, count = peer.bridge, sizes.callbacks
    numbers = list(range(count + 1))

    def reduce() -> None:
        add = bridge.callback(lambda x, y: x + y)
        expect(bridge.call("functools.reduce", add, numbers), sum(numbers))

    def block(times: int, allowed_ns: int) -> list[int]:
        return [taken // count for taken in repeat(reduce, 1, allowed_ns)]

    return _in_turns(peer, block, sizes)


def _in_turns(peer: BridgePeer, block: Callable[[int, int], list[int]], sizes: Sizes) -> Figures:
    """The medians of the scalar call and of what ``block`` times, and their ratio."""
    scalar = peer.scalar()
    times, allowed_ns = sizes.calls // BLOCKS, int(sizes.budget_s / 6 / BLOCKS * 1e9)
    repeat(scalar, times, allowed_ns)
    block(times, allowed_ns)
    plain: list[int] = []
    others: list[int] = []
    for _ in range(BLOCKS):
        plain += repeat(scalar, times, allowed_ns)
        others += block(times, allowed_ns)
    return {
        "ratio": median(others) / median(plain),
        "median_us": median(others) / 1e3,
        "scalar_us": median(plain) / 1e3,
        "n": len(others),
    }
