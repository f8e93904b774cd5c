"""What is idle goes back to the system: kept blocks and segments, here and in the worker."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import bridge_ext
from bridge_ext.kernel.wire.channel import Channel
from bridge_ext.kernel.wire.framing import pool
from bridge_ext.kernel.wire.pool import IDLE, LEAST
from bridge_ext.kernel.wire.segments import attach, create, detach
from bridge_ext.kernel.worker import idling
from bridge_ext.kernel.worker.idling import Idling
from bridge_ext.kernel.worker.trimming import LEAST_BYTES

MB = 1_000_000


# ---------------------------------------------------------------- when to look
@pytest.fixture
def emptied():
    pool.trim(0.0)
    yield
    pool.begins = None
    pool.trim(0.0)


@pytest.fixture
def line():
    """A worker's end of a channel with segments, and who reads."""
    fds, (ours, theirs) = create(), socket.socketpair()
    worker, kernel = Channel(ours), Channel(theirs)
    attach(worker, fds, ours=1)
    attach(kernel, fds, ours=0)
    yield worker, kernel
    for channel in (worker, kernel):
        detach(channel)
        channel.close()
    for fd in fds:
        os.close(fd)


def sent(line, size):
    worker, kernel = line
    worker.send(2, b"", b"", [bytes(size)])
    return kernel.read()


def test_with_nothing_to_give_back_there_is_nothing_to_wait_for(emptied, line):
    idle = Idling(line[0], lambda: None)
    assert idle.turn(time.monotonic(), 5, False) is None


def test_a_channel_without_segments_is_fine(emptied):
    ours, theirs = socket.socketpair()
    assert Idling(Channel(ours), lambda: None).turn(time.monotonic(), 0, False) is None
    ours.close()
    theirs.close()


@pytest.mark.parametrize("what", ["a block", "a segment"])
def test_it_wakes_once_and_waits_until_it_is_due(emptied, line, monkeypatch, what):
    woken = []
    idle = Idling(line[0], lambda: woken.append(1))
    for _ in range(3):
        pool.take(LEAST) if what == "a block" else sent(line, MB)
    assert woken == [1]
    assert IDLE - 1 < idle.turn(time.monotonic(), 0, False) <= IDLE
    monkeypatch.setattr(idling, "UNUSED", 0.0)
    assert idle.turn(time.monotonic(), 0, False) is None
    pool.take(LEAST) if what == "a block" else sent(line, MB)
    assert woken == [1, 1]


def test_what_was_let_go_of_goes_back_to_the_system(emptied, line, monkeypatch):
    runs = []
    monkeypatch.setattr(idling.Trimmer, "run", lambda self: runs.append(1))
    monkeypatch.setattr(idling, "UNUSED", 0.0)
    idle = Idling(line[0], lambda: None)
    pool.take(LEAST_BYTES)
    now = time.monotonic()
    assert idle.turn(now, 1, True) is not None
    assert runs == [], "not while a call runs"
    idle.turn(now + 1, 1, False)
    assert runs == [1]


def test_a_sender_is_not_waited_for(emptied, line, monkeypatch):
    monkeypatch.setattr(idling, "UNUSED", 0.0)
    idle = Idling(line[0], lambda: None)
    sent(line, MB)
    with line[0].send_lock:
        assert 0 < idle.turn(time.monotonic(), 0, False) < 1
    assert idle.turn(time.monotonic(), 0, False) is None


# ---------------------------------------------------------------- in real processes
def memory(pid):
    """Resident memory of a process, with what it has mapped of segments."""
    return psutil.Process(pid).memory_info().rss


def segments_of(bridge):
    """Bytes of memory that the segments of a worker have."""
    fds = bridge._remote.incarnation.connection._process.segments
    return sum(os.fstat(fd).st_blocks * 512 for fd in fds)


def wakes(pid):
    """How often the threads of a process have waited for something."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        total += next(int(x.split()[1]) for x in lines if x.startswith("voluntary_ctxt"))
    return total


def woken_within(pid, seconds):
    before = wakes(pid)
    threading.Event().wait(seconds)
    return wakes(pid) - before


@pytest.mark.parametrize("nbytes", [300_000, 4 * MB])
def test_three_hundred_transfers_each_way_take_no_more_memory(local, nbytes):
    x = np.ones(nbytes, np.uint8)
    pid, seen = local.status().pid or local.call("os.getpid"), []
    for n in range(360):
        ref = local.put(x)
        assert local.fetch(ref, copy=n % 3 > 0).nbytes == nbytes
        del ref
        if n in (59, 359):
            gc.collect()
            seen.append((memory(os.getpid()), memory(pid)))
    (kernel, worker), (kernel_after, worker_after) = seen
    assert kernel_after - kernel < 12 * MB
    assert worker_after - worker < 12 * MB


def test_idle_memory_goes_back_on_both_sides(local, eventually):
    x = np.ones(48 * MB, np.uint8)
    pid = local.call("os.getpid")
    local.release(local.put(np.ones(1000)))
    kernel, worker = memory(os.getpid()), memory(pid)
    for _ in range(3):
        local.release(ref := local.put(x))
        ref = local.put(x)
        assert local.fetch(ref)[-1] == 1
        local.release(ref)
    assert segments_of(local) > 90 * MB
    assert memory(pid) - worker > 90 * MB
    assert memory(os.getpid()) - kernel > 90 * MB

    def back():
        return (
            segments_of(local) < MB
            and memory(pid) - worker < 20 * MB
            and memory(os.getpid()) - kernel < 20 * MB
        )

    eventually(back, "the memory's return", 10.0)
    assert pool.due(0.0) is None
    assert (local.fetch(local.put(x)) == x).all()


def test_a_worker_with_nothing_left_to_give_back_is_not_woken(local, eventually):
    pid = local.call("os.getpid")
    assert local.fetch(local.put(np.ones(MB)))[-1] == 1
    eventually(lambda: segments_of(local) < MB, "the memory's return", 10.0)
    eventually(lambda: woken_within(pid, 1.0) == 0, "a second without a wake", 8.0)


def test_a_closed_bridge_keeps_no_memory():
    with bridge_ext.Bridge() as bridge:
        assert bridge.fetch(bridge.put(np.ones(MB)))[-1] == 1
        assert pool.due(0.0) is not None
    assert pool.due(0.0) is None
