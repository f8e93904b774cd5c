"""The workloads that every peer runs, and the table of all workloads."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import (
    interrupts,
    large,
    notebook,
    outstanding,
    processes,
    ratios,
    scale,
    sessions,
    throughput,
)
from benchmarks.measure import MB, Figures, Sizes, drain, expect, latency

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Peer

SETTLE_S = 0.5
"""Before memory is read: helper processes and threads have come up by then."""
WARM_OBJECTS = 20


def start(peer: Peer, sizes: Sizes) -> Figures:
    """Import the client, start the worker, make the first call."""
    began = time.perf_counter()
    peer.load()
    loaded = time.perf_counter()
    peer.start()
    result = peer.scalar()()
    ended = time.perf_counter()
    expect(result, 2.0)
    return {"total_ms": (ended - began) * 1e3, "import_ms": (loaded - began) * 1e3}


def memory(peer: Peer, sizes: Sizes) -> Figures:
    """What the idle worker holds, and all processes of the peer but the client together."""
    time.sleep(SETTLE_S)
    rss, pss = processes.memory(peer.worker_pid())
    helpers = [processes.memory(pid)[1] for pid in processes.descendants()]
    return {
        "rss_mb": rss / MB,
        "pss_mb": pss / MB,
        "all_pss_mb": sum(helpers) / MB,
        "processes": len(helpers),
    }


def scalar(peer: Peer, sizes: Sizes) -> Figures:
    """``math.sqrt(4.0)`` there, one call after the other."""
    call = peer.scalar()
    expect(call(), 2.0)
    return latency(call, sizes)


def method(peer: Peer, sizes: Sizes) -> Figures:
    """``held.get("k")`` on an object held there."""
    call = peer.method(7)
    expect(call(), 7)
    return latency(call, sizes)


def objects(peer: Peer, sizes: Sizes) -> Figures:
    """Make held objects, then drop them and wait until the worker has freed them."""
    before = peer.call("live")
    peer.drop(_make(peer, WARM_OBJECTS, sizes.budget_s))
    drain(peer, before)
    began = time.perf_counter()
    handles = _make(peer, sizes.objects, sizes.budget_s)
    made = time.perf_counter() - began
    count = len(handles)
    if (alive := peer.call("live")) < count:
        raise ValueError(f"{alive} objects are alive in the worker of {count} that are held")
    began = time.perf_counter()
    peer.drop(handles)
    drain(peer, before)
    dropped = time.perf_counter() - began
    return {"create_us": made / count * 1e6, "drop_us": dropped / count * 1e6, "n": count}


def _make(peer: Peer, count: int, budget_s: float) -> list[Any]:
    """Up to ``count`` handles, fewer where the budget runs out."""
    handles: list[Any] = []
    end = time.perf_counter() + budget_s
    for i in range(count):
        handles.append(peer.create(i))
        if not i % 16 and time.perf_counter() > end:
            break
    return handles


class Workload(NamedTuple):
    """What to run, where the processes are placed, and how long it may take.

    ``alone`` is in a fresh process: one that measures memory, which may else lie there already.
    """

    run: Callable[[Any, Sizes], Figures]
    placements: tuple[str, ...]
    deadline_s: float
    alone: bool = False


PINNED, FREE = "pinned", "free"
"""All processes on one core, which repeats to a few percent; or wherever the scheduler likes."""
PLACEMENTS = (PINNED, FREE) if hasattr(os, "sched_setaffinity") else (FREE,)

WORKLOADS = {
    "start": Workload(start, (PINNED, FREE), 150),
    "memory": Workload(memory, (PINNED,), 30),
    "scalar": Workload(scalar, (PINNED, FREE), 60),
    "method": Workload(method, (PINNED,), 60),
    "objects": Workload(objects, (PINNED,), 90),
    "sessions": Workload(sessions.release, (PINNED,), 120),
    "many": Workload(sessions.release_many, (PINNED,), 240),
    "stream": Workload(throughput.stream, (PINNED, FREE), 60),
    "batch": Workload(throughput.batch, (PINNED, FREE), 60),
    "output": Workload(throughput.output, (PINNED, FREE), 90),
    "acall": Workload(ratios.acall, (PINNED, FREE), 60),
    "callback": Workload(ratios.callback, (PINNED, FREE), 60),
    "interrupt": Workload(interrupts.interrupt, (PINNED, FREE), 60),
    "array8": Workload(large.array8, (FREE,), 60),
    "array256": Workload(large.array256, (FREE,), 40),
    "frame": Workload(large.frame, (FREE,), 60),
    "frame_arrow": Workload(large.frame_arrow, (FREE,), 60),
    "outstanding": Workload(outstanding.outstanding, (FREE,), 120, alone=True),
    "scale_sessions": Workload(scale.many_sessions, (PINNED,), 240, alone=True),
    "scale_refs": Workload(scale.many_refs, (PINNED,), 240, alone=True),
    "scale_threads": Workload(scale.many_threads, (FREE,), 120, alone=True),
    "scale_cells": Workload(scale.many_cells, (PINNED,), 120, alone=True),
    "import": Workload(notebook.import_extension, (PINNED, FREE), 60),
    "extension": Workload(notebook.extension, (PINNED, FREE), 60),
}
STOP_DEADLINE_S = 40.0
