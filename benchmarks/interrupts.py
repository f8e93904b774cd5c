"""Ours only: how long after SIGINT the caller has its KeyboardInterrupt."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from benchmarks.measure import Figures, Sizes, expect, median

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.bridge import BridgePeer

RUNS_S = 30.0
"""What is interrupted would run for so long."""
BEFORE_S = 0.1
"""The call runs in the worker by then."""
SPREAD_S = 0.1
"""The signals come at times spread over so long: a caller that polls must not be met in step."""


def interrupt(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Interrupt a worker that sleeps, and one that runs Python code; both must live on."""
    pid = peer.worker_pid()
    # a shell that puts the benchmark in the background has SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sleep = _times_ms(lambda: peer.bridge.call("time.sleep", RUNS_S), sizes.interrupts)
        loop = _times_ms(lambda: peer.call("spin", RUNS_S), sizes.interrupts)
    finally:
        signal.signal(signal.SIGINT, before)
    expect(peer.worker_pid(), pid)
    return {
        "sleep_ms": median(sleep),
        "loop_ms": median(loop),
        "sleep_max_ms": max(sleep),
        "loop_max_ms": max(loop),
        "n": len(sleep),
    }


def _times_ms(call: Callable[[], object], count: int) -> list[float]:
    return [_interrupted_ms(call, BEFORE_S + SPREAD_S * i / count) for i in range(count)]


def _interrupted_ms(call: Callable[[], object], after_s: float) -> float:
    """Milliseconds from the signal, ``after_s`` into the call, to what it raises."""
    import threading  # not above: this module is imported before peers are timed

    sent: list[int] = []

    def send() -> None:
        sent.append(time.perf_counter_ns())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after_s, send)
    timer.start()
    try:
        call()
    except KeyboardInterrupt:
        return (time.perf_counter_ns() - sent[0]) / 1e6
    finally:
        timer.cancel()
        timer.join()
    raise ValueError("the call ended without an interrupt")
