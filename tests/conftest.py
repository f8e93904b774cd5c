"""Fixtures, and a guard on every test: no thread, process or descriptor may be left behind."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import bridge_ext

ARTIFACTS = Path(__file__).parent.parent / ".artifacts"
"""What a run leaves to look at: pictures of the pages, the servers' logs."""
DEADLINE = 10.0
"""Seconds that anything in these tests may take to become true."""


def eventually(check, what="the condition", deadline=DEADLINE):
    """Wait until `check()` is true; its value. The pauses grow, so that it is soon seen."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    wait = 0.001
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {deadline} s")
        pause.wait(wait)
        wait = min(0.05, wait * 2)


def pytest_sessionstart(session):
    """Empty the artifacts' folder: once, whatever processes the tests run in."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(ARTIFACTS, ignore_errors=True)
        ARTIFACTS.mkdir()


def pytest_collection_modifyitems(config, items):
    """Begin with what waits for pages; leave out what takes minutes, unless `-m` speaks of it.

    Of tests in several processes the long files come first, or one would end them alone.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    if "torture" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("torture")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("torture")]


def pytest_terminal_summary(terminalreporter):
    """Say where the pictures are."""
    count = len([*ARTIFACTS.glob("*.png")])
    if count:
        terminalreporter.write_line(f"{count} pictures of the browser: {ARTIFACTS.name}/")


@pytest.fixture(name="eventually")
def _eventually():
    return eventually


def _threads():
    return {t for t in threading.enumerate() if t.name.startswith("bridge-")}


def _children():
    try:
        lists = [p.read_text().split() for p in Path("/proc/self/task").glob("*/children")]
    except OSError:  # no such list, or a thread that has just ended
        return {p.pid for p in psutil.Process().children()}
    return {int(pid) for pids in lists for pid in pids}


def _descriptors():
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()


@pytest.fixture(autouse=True, scope="module")
def _quick_collections():
    """What is loaded by now is not looked through again by each collection of the guard."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_leaks(request):
    """Fail a test that leaves threads, processes or descriptors of ours behind."""
    if request.node.get_closest_marker("leaks_allowed"):
        yield
        return
    gc.collect()
    threads, children, descriptors = _threads(), _children(), len(_descriptors())
    yield
    aio = sys.modules.get("bridge_ext.kernel.worker.aio")
    if aio is not None:
        aio.close()  # the event loop of the memory backend is this process's
    gc.collect()

    def clean():
        return (
            _threads() <= threads and _children() <= children and len(_descriptors()) <= descriptors
        )

    try:
        eventually(clean, "cleaning up", 5.0)
    except AssertionError:
        left = (_threads() - threads, _children() - children, len(_descriptors()) - descriptors)
        pytest.fail(f"left behind: threads {left[0]}, processes {left[1]}, descriptors {left[2]}")


def map_segments(bridge):
    """Map all shared memory of a bridge that several tests use.

    Else the first that uses a segment would be the one that leaves its descriptor behind.
    """
    data = bridge._remote.incarnation.connection._data
    for end in (data.outgoing, data.incoming):
        assert all(segment.words for segment in end._segments)


@pytest.fixture(params=["memory", "local"])
def bridge(request):
    """A bridge on each backend."""
    with bridge_ext.Bridge(request.param) as made:
        yield made


@pytest.fixture
def local():
    """A bridge with a real worker process."""
    with bridge_ext.Bridge() as made:
        yield made


@pytest.fixture
def memory():
    """A bridge in this process."""
    with bridge_ext.Bridge("memory") as made:
        yield made
