"""Ours only: very many calls that nobody waits for yet, and very many handles dropped at once."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from benchmarks import processes
from benchmarks.measure import MB, Figures, Sizes, drain, elapsed_ms, expect

if TYPE_CHECKING:
    from benchmarks.peers.bridge import BridgePeer

SESSION = "outstanding"
RESULT_S = 60.0


def outstanding(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Both must complete; peaks are beyond what was resident before, with handles to be dropped."""
    pids = {"kernel": os.getpid(), "worker": peer.worker_pid()}
    before = _reset(pids)
    submit_ms, calls_ms = _calls(peer, sizes.outstanding)
    figures = {
        "calls_s": calls_ms / 1e3,
        "submit_s": submit_ms / 1e3,
        **_peaks("calls", pids, before),
    }
    before = _reset(pids)
    handles, live = _handles(peer, sizes)
    drop_ms = elapsed_ms(lambda: _drop(peer, handles, live))
    peer.bridge.release(SESSION)
    return {**figures, "drop_s": drop_ms / 1e3, **_peaks("drop", pids, before)}


def _calls(peer: BridgePeer, count: int) -> tuple[float, float]:
    """Milliseconds until all are on their way, and until all results are here."""
    submit = peer.bridge.submit
    began = time.perf_counter()
    futures = [submit("math.sqrt", 4.0) for _ in range(count)]
    submitted = time.perf_counter()
    results = [future.result(RESULT_S) for future in futures]
    ended = time.perf_counter()
    expect((len(results), set(results)), (count, {2.0}))
    return (submitted - began) * 1e3, (ended - began) * 1e3


def _handles(peer: BridgePeer, sizes: Sizes) -> tuple[list[Any], int]:
    """So many handles, and how many objects lived in the worker before."""
    live = peer.call("live")
    handles: list[Any] = []
    with peer.bridge.session(SESSION, max_refs=2 * sizes.outstanding):
        while len(handles) < sizes.outstanding:
            now = min(sizes.chunk, sizes.outstanding - len(handles))
            handles += peer.call("helds", now)
    expect(peer.call("live"), live + sizes.outstanding)
    return handles, live


def _drop(peer: BridgePeer, handles: list[Any], wanted: int) -> None:
    handles.clear()
    drain(peer, wanted)


def _reset(pids: dict[str, int]) -> dict[str, int]:
    """What each process has resident now, from which its peak is counted."""
    for pid in pids.values():
        processes.reset_peak(pid)
    return {name: processes.peak(pid) for name, pid in pids.items()}


def _peaks(figure: str, pids: dict[str, int], before: dict[str, int]) -> Figures:
    return {
        f"{figure}_{name}_mb": (processes.peak(pid) - before[name]) / MB
        for name, pid in pids.items()
    }
