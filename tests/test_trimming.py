"""Giving memory back: when it is due, what a run does, and that it shows in the process."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import weakref

import pytest

from bridge_ext.kernel.worker import trimming
from bridge_ext.kernel.worker.trimming import (
    IDLE,
    LEAST_BYTES,
    LEAST_REFS,
    PAUSE,
    SECONDS_PER_BLOCK,
    Trimmer,
    generation,
)


# ---------------------------------------------------------------- when
@pytest.mark.parametrize(
    ("dropped", "due"),
    [
        ([], False),
        ([(LEAST_REFS - 1, LEAST_BYTES - 1)], False),
        ([(1, LEAST_BYTES)], True),
        ([(LEAST_REFS, 0)], True),
        ([(1, LEAST_BYTES // 2)] * 2, True),
        ([(LEAST_REFS // 2, 0)] * 2, True),
    ],
)
def test_it_is_due_once_enough_was_dropped(dropped, due):
    trimmer = Trimmer()
    for refs, nbytes in dropped:
        trimmer.dropped(refs, nbytes)
    assert trimmer.due(100.0, 50.0) == (100.0 if due else None)


def test_it_waits_until_the_worker_has_been_idle_for_a_moment():
    trimmer = Trimmer()
    trimmer.dropped(1, LEAST_BYTES)
    assert trimmer.due(100.0, 100.0) == 100.0 + IDLE
    assert trimmer.due(100.0, 100.0 - IDLE / 2) == 100.0 + IDLE / 2
    assert trimmer.due(100.0, None) is None, "a call is running"
    assert trimmer.due(200.0, 100.0) == 200.0


def test_after_a_run_nothing_is_due_until_enough_is_dropped_again():
    trimmer = Trimmer()
    trimmer.dropped(1, LEAST_BYTES)
    trimmer.run()
    assert trimmer.due(1e12, 0.0) is None
    trimmer.dropped(1, LEAST_BYTES)
    assert trimmer.due(1e12, 0.0) == 1e12


def test_a_run_is_followed_by_a_rest(monkeypatch):
    times = iter([1000.0, 1000.0, 1000.01, 1000.02]).__next__
    monkeypatch.setattr(trimming.time, "monotonic", times)
    monkeypatch.setattr(trimming.gc, "collect", lambda generation: 0)
    monkeypatch.setattr(trimming.sys, "getallocatedblocks", lambda: 1000)
    trimmer = Trimmer()
    trimmer.run()
    trimmer.dropped(1, LEAST_BYTES)
    assert trimmer.due(1000.1, 0.0) == pytest.approx(1000.02 + trimming.REST * 0.02)


# ---------------------------------------------------------------- cycles
class Loop:
    def __init__(self):
        self.me = self


def dropped_loop():
    loop = Loop()
    gc.collect()
    gc.collect()  # so that it is of the oldest generation
    return weakref.ref(loop)


def test_a_run_frees_old_cycles(monkeypatch):
    monkeypatch.setattr(trimming, "PAUSE", 60.0)
    loop = dropped_loop()
    Trimmer().run()
    assert loop() is None


def test_of_a_heap_where_that_takes_long_only_young_ones_are_collected(monkeypatch):
    monkeypatch.setattr(trimming, "PAUSE", 0.0)
    old, young = dropped_loop(), weakref.ref(Loop())
    Trimmer().run()
    assert (old() is None, young() is None) == (False, True)
    gc.collect()


def test_what_a_collection_took_tells_what_the_next_will(monkeypatch):
    asked = []
    monkeypatch.setattr(trimming.gc, "collect", asked.append)
    monkeypatch.setattr(trimming.sys, "getallocatedblocks", lambda: 1000)
    times = iter([0.0, 0.0, PAUSE / 2, PAUSE / 2, 9.0, 9.0, 9.0]).__next__
    monkeypatch.setattr(trimming.time, "monotonic", times)
    trimmer = Trimmer()
    trimmer.run()
    monkeypatch.setattr(trimming.sys, "getallocatedblocks", lambda: 2001)
    trimmer.run()
    assert asked == [2, 1]


def test_one_slow_collection_is_not_believed_for_ever(monkeypatch):
    asked = []
    monkeypatch.setattr(trimming.gc, "collect", asked.append)
    monkeypatch.setattr(trimming.sys, "getallocatedblocks", lambda: 100_000)
    trimmer = Trimmer()
    with monkeypatch.context() as slow:
        slow.setattr(trimming.time, "monotonic", iter([0.0, 0.0, 3.0, 3.0]).__next__)
        trimmer.run()
    for _ in range(10):
        trimmer.run()
    assert asked[:3] == [2, 1, 1]
    assert asked[-1] == 2


def test_how_far_to_collect():
    most = int(PAUSE / SECONDS_PER_BLOCK)
    assert generation(most - 1, SECONDS_PER_BLOCK) == 2
    assert generation(most + 2, SECONDS_PER_BLOCK) == 1
    assert generation(most * 5, SECONDS_PER_BLOCK / 10) == 2


def test_a_collector_that_was_turned_off_is_left_alone(monkeypatch):
    monkeypatch.setattr(trimming, "PAUSE", 60.0)
    loop = dropped_loop()
    gc.disable()
    try:
        Trimmer().run()
        assert loop() is not None
    finally:
        gc.enable()
        gc.collect()


# ---------------------------------------------------------------- the process
RSS = """
import gc, os, sys
from bridge_ext.kernel.worker.trimming import Trimmer

assert "ctypes" not in sys.modules

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000

class Node:
    pass

def cycle():
    node = Node()
    node.me, node.data = node, [bytes(600) for _ in range(100_000)]
    return node
"""
MAKES = {
    "floats": "[float(n) for n in range(2_000_000)]",
    "texts": "[f'number {n}' for n in range(1_000_000)]",
    "dicts": "[{'n': n} for n in range(200_000)]",
    "buffers": "[bytes(2_000) for _ in range(50_000)]",
    "cycle": "cycle()",
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
@pytest.mark.skipif(trimming._find_trim() is trimming._nothing, reason="has no malloc_trim")
@pytest.mark.parametrize("kind", MAKES)
def test_what_was_dropped_is_the_systems_again(kind):
    script = f"""
    obj = {MAKES[kind]}
    full = rss()
    del obj
    trimmer = Trimmer()
    trimmer.dropped(1, 50_000_000)
    trimmer.run()
    print(before, full, rss())
    """
    code = RSS + "before = rss()\n" + textwrap.dedent(script)
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    ).stdout
    before, full, after = map(int, out.split())
    assert full > before + 40, "else it shows nothing"
    assert after < before + 0.1 * (full - before) + 3, out  # ctypes takes 2 MB


def test_without_a_malloc_trim_a_run_still_collects(monkeypatch):
    import ctypes

    class Other:
        def __init__(self, name):
            assert name is None

    monkeypatch.setattr(ctypes, "CDLL", Other)
    assert trimming._find_trim() is trimming._nothing
    monkeypatch.setattr(trimming, "PAUSE", 60.0)
    loop = dropped_loop()
    trimmer = Trimmer()
    trimmer.run()
    trimmer.run()
    assert loop() is None
