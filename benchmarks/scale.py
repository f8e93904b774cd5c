"""Ours only: whether the ten thousandth costs what the first did, in time and in memory.

Each workload does the same again and again, in windows: the curves say what one item took in each
window, and what both processes had resident after it.
"""

from __future__ import annotations

import gc
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import notebook, processes
from benchmarks.measure import MB, Figures, Sizes, elapsed_ms, expect, median
from benchmarks.sessions import ROOM

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.notebook import Notebook
    from benchmarks.peers.bridge import BridgePeer

PARTS = 4
"""The last so-manieth of the windows is compared with the first: a collection of everything that
there is takes place in one window and not in the next, so one of each would be a lottery."""
REFS = 100
"""Of each of the many sessions."""
THREADS = 64
START_S = 30.0
"""How long a thread waits for the others to be there."""
CELL = f"held = %bridge call benchmarks.remote.leaves {REFS}"
WORKER = "import os; worker = %bridge call os.getpid"


class Curve:
    """Windows of ``each`` items; ``run`` is given the number of the next one, and is timed."""

    def __init__(self, worker_pid: int) -> None:
        self.pids = {"kernel": os.getpid(), "worker": worker_pid}
        self.each_us: list[float] = []
        self.held = {name: [processes.memory(pid)[0] / MB] for name, pid in self.pids.items()}

    def run(self, windows: int, each: int, action: Callable[[int], object]) -> Figures:
        """Time ``action(number)`` of each window, which does so many items; the figures."""
        for number in range(windows):
            self.each_us.append(elapsed_ms(partial(action, number)) * 1e3 / each)
            for name, pid in self.pids.items():
                self.held[name].append(processes.memory(pid)[0] / MB)
        part = max(windows // PARTS, 1)
        return {
            "ratio": sum(self.each_us[-part:]) / sum(self.each_us[:part]),
            "last_ratio": self.each_us[-1] / self.each_us[0],
            "each_us": median(self.each_us),
            **{f"{name}_kb": self._each_kb(name, each) for name in self.pids},
            "window": each,
            "curve_us": self.each_us,
            **{f"curve_{name}_mb": held for name, held in self.held.items()},
        }

    def _each_kb(self, name: str, each: int) -> float:
        """Kilobytes an item, over all windows but the first, in which buffers may yet grow."""
        held = self.held[name]
        windows = len(held) - 2
        return (held[-1] - held[1]) * 1e3 / (windows * each) if windows > 0 else 0.0


def many_sessions(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Make sessions of some refs each, which all stay; then release them."""
    bridge = peer.bridge
    handles: list[Any] = []
    each = sizes.scale_sessions // sizes.windows

    def make(session: str) -> None:
        with bridge.session(session):
            handles.append(peer.call("leaves", REFS))

    def window(number: int) -> None:
        for i in range(number * each, (number + 1) * each):
            make(f"scale-{i}")

    make("warm")
    figures = Curve(peer.worker_pid()).run(sizes.windows, each, window)
    names = [f"scale-{i}" for i in range(each * sizes.windows)]
    freed: list[int] = []
    release_ms = elapsed_ms(lambda: freed.extend(bridge.release(name).refs for name in names))
    expect(set(freed), {REFS})
    return {**figures, "release_us": release_ms * 1e3 / len(names)}


def many_refs(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Make refs in one session, which all stay."""
    handles: list[Any] = []
    each = sizes.scale_refs // sizes.windows

    def window(number: int) -> None:
        while len(handles) < (number + 1) * each:
            now = min(sizes.chunk, (number + 1) * each - len(handles))
            handles.extend(peer.call("leaves", now))

    with peer.bridge.session("scale", max_refs=ROOM * sizes.scale_refs):
        peer.call("leaves", 1)  # the type is known from here on
        figures = Curve(peer.worker_pid()).run(sizes.windows, each, window)
    expect(peer.bridge.release("scale").refs, len(handles))
    return figures


def many_threads(peer: BridgePeer, sizes: Sizes) -> Figures:
    """The scalar call from threads all at once, new ones for each window."""
    import threading  # not above: this module is imported before peers are timed
    from concurrent.futures import ThreadPoolExecutor

    scalar = peer.scalar()
    each = sizes.scale_calls // sizes.windows // THREADS

    def window(number: int) -> None:
        there = threading.Barrier(THREADS)

        def work() -> None:
            there.wait(START_S)
            for _ in range(each):
                expect(scalar(), 2.0)

        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(work) for _ in range(THREADS)]:
                done.result()

    window(0)
    return Curve(peer.worker_pid()).run(sizes.windows, each * THREADS, window)


def many_cells(subject: Notebook, sizes: Sizes) -> Figures:
    """Cells that each bind one name to refs, in place of those of the cell before."""
    shell = notebook.make_shell()
    run = notebook.run_cell
    run(shell, f"%load_ext {notebook.EXTENSION}")
    run(shell, WORKER)
    each = sizes.scale_cells // sizes.windows

    def window(number: int) -> None:
        for _ in range(each):
            run(shell, CELL)

    window(0)
    gc.collect()
    figures = Curve(shell.user_ns["worker"]).run(sizes.windows, each, window)
    expect(len(shell.user_ns["held"]), REFS)
    run(shell, f"%unload_ext {notebook.EXTENSION}")
    return figures
