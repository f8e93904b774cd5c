"""The end of a kernel, however it comes, is the end of its worker and of what that has started."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from kernels import Kernel, all_gone, gone

POLITE = 2.0
"""Seconds after an orderly end (and for it) until nothing may be left."""
KILLED = 1.0
"""Seconds after a SIGKILL of the kernel until nothing may be left."""

START = (
    "%load_ext bridge_ext\n"
    "import threading, time, os, tracked\n"
    "x = bridge.new('tracked.Thing', 'held')\n"
    "print(bridge.call('os.getpid'), bridge.call('tracked.child'))"
)
FORK = "fork = os.fork()\nif fork == 0:\n    time.sleep(60)\n    os._exit(0)\nprint(fork)"
FORK_PAST_PYTHON = (  # so that no hook of Python's closes anything in the child
    "import ctypes\n"
    "libc = ctypes.PyDLL(None)\n"
    "fork = libc.fork()\n"
    "if fork == 0:\n"
    "    libc.sleep(60)\n"
    "    libc._exit(0)\n"
    "print(fork)"
)


@pytest.fixture
def kernel(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        yield kernel
    finally:
        kernel.close()


def start(kernel):
    """Load, call, and hold a ref; the pids of the worker and of a process that it started."""
    worker, child = map(int, kernel.run(START).stdout.split())
    assert psutil.Process(worker).ppid() == kernel.pid
    assert psutil.Process(child).ppid() == worker
    return worker, child


def call_in_a_thread(kernel, path):
    """Let a thread of the kernel wait for a call, beside cells."""
    kernel.run(
        "threading.Thread(\n"
        f"    target=bridge.call, args=({path!r}, 'called'), daemon=True).start()"
    )
    kernel.until_file("called")


@pytest.fixture
def sibling():
    """Ends a process that a kernel has forked."""
    pids = []
    yield pids.append
    for pid in pids:
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


# ---------------------------------------------------------------- an orderly end
def test_shutdown_ends_the_worker_and_is_not_slowed_down(kernel):
    pids = start(kernel)
    assert kernel.shutdown() < POLITE
    all_gone(*pids, within=POLITE)


def test_shutdown_while_a_thread_waits_for_a_call(kernel):
    pids = start(kernel)
    call_in_a_thread(kernel, "tracked.block")
    assert kernel.shutdown() < POLITE
    all_gone(*pids, within=POLITE)


def test_shutdown_while_the_worker_holds_its_gil(kernel):
    pids = start(kernel)
    call_in_a_thread(kernel, "tracked.hold_gil")
    assert kernel.shutdown() < POLITE
    all_gone(*pids, within=POLITE)


def test_restart_ends_the_worker_and_the_new_kernel_works(kernel):
    pids = start(kernel)
    assert kernel.restart() < POLITE
    all_gone(*pids, within=POLITE)
    again = start(kernel)
    assert not set(again) & set(pids)


def test_unloading_ends_the_worker(kernel):
    pids = start(kernel)
    kernel.run("%unload_ext bridge_ext")
    all_gone(*pids, within=POLITE)
    assert kernel.get("[t.name for t in threading.enumerate() if 'bridge' in t.name]") == []
    assert kernel.shutdown() < POLITE


def test_reloading_ends_the_worker_and_the_next_call_starts_one(kernel):
    pids = start(kernel)
    kernel.run("%reload_ext bridge_ext")
    all_gone(*pids, within=POLITE)
    (worker,) = {kernel.get("bridge.call('os.getpid')"), kernel.get("bridge.status().pid")}
    assert [c.pid for c in psutil.Process(kernel.pid).children()] == [worker]
    assert kernel.fail("x.name").error["ename"] == "BridgeClosedError"
    assert kernel.shutdown() < POLITE
    all_gone(worker, within=POLITE)


def test_a_kernel_without_the_extensions_worker_shuts_down_as_fast(kernel):
    kernel.run("%load_ext bridge_ext")
    assert kernel.shutdown() < POLITE


# ---------------------------------------------------------------- a sudden end
def test_sigterm(kernel):
    pids = start(kernel)
    kernel.kill(signal.SIGTERM)
    all_gone(*pids, within=POLITE)


@pytest.mark.parametrize("how", ["os._exit(0)", "os.abort()"])
def test_a_cell_that_ends_the_kernel(kernel, how):
    pids = start(kernel)
    kernel.send(how)
    all_gone(*pids, within=POLITE)


BUSY = ["idle", "loop", "hold_gil"]


def keep_busy(kernel, what):
    if what != "idle":
        kernel.send(f"bridge.call('tracked.{what}', 'busy')")
        kernel.until_file("busy")


@pytest.mark.parametrize("busy", BUSY)
def test_sigkill(kernel, busy):
    pids = start(kernel)
    keep_busy(kernel, busy)
    kernel.kill()
    all_gone(*pids, within=KILLED)


@pytest.mark.parametrize("busy", BUSY)
def test_sigkill_with_a_forked_sibling_of_the_kernel(kernel, sibling, busy):
    pids = start(kernel)
    forked = int(kernel.run(FORK).stdout)
    sibling(forked)
    keep_busy(kernel, busy)
    kernel.kill()
    all_gone(*pids, within=KILLED)
    assert not gone(forked), "the sibling was there all the time"


@pytest.mark.parametrize("busy", ["idle", "loop"])
def test_sigkill_with_a_sibling_that_holds_every_descriptor(kernel, sibling, busy):
    pids = start(kernel)
    forked = int(kernel.run(FORK_PAST_PYTHON).stdout)
    sibling(forked)
    keep_busy(kernel, busy)
    kernel.kill()
    all_gone(*pids, within=KILLED)
    assert not gone(forked), "the sibling was there all the time"


def test_sigkill_while_the_worker_starts(kernel):
    kernel.run("%load_ext bridge_ext\nimport tracked, psutil, threading")
    kernel.run(
        "pids = set()\n"
        "def watch():\n"
        "    while not pids: pids.update(p.pid for p in psutil.Process().children())\n"
        "    tracked.touch(f'worker-{min(pids)}')\n"
        "threading.Thread(target=watch, daemon=True).start()"
    )
    kernel.send("bridge.call('tracked.block', 'on')")
    (file,) = kernel.until(lambda: list(kernel.directory.glob("worker-*")), "a worker")
    kernel.kill()
    all_gone(int(file.name.partition("-")[2]), within=KILLED)
