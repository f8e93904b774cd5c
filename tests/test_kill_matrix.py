"""Each end of a kernel in each state of its worker: soon after it nothing of ours is left.

The cells are tables in `matrix.py`; `remains.py` looks for what is left. Where the state's call is
made in the cell that runs, a second one of the user's threads does not wait for it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import matrix
import psutil
import pytest
import striking
from conftest import eventually
from kernels import Kernel, gone
from remains import MARK, Exits, Remains, marked, open_files
from served import ServedKernel

REACHED = 40.0
"""Seconds that a state may take to come about: the first trip of 1 GB touches all its pages."""
ENDED = 15.0
"""Seconds that a kernel may take to end; jupyter_client kills it before."""
SMALL, LARGE = 100_000_000, 1_000_000_000
"""Bytes of the array that is on its way, in the short form and in the whole."""

LOAD = "%load_ext bridge_ext\nimport os, threading, time, tracked, striking\n"
HOLD = (
    "with bridge.session('named'):\n"
    "    held = [bridge.new('tracked.Thing', 'held'), bridge.put(list(range(1000)))]\n"
    "bridge.call('tracked.child')"
)
OCCUPY = {
    "idle": "tracked.touch('ready')",
    "loop": "bridge.call('tracked.loop', 'ready')",
    "GIL": "bridge.call('tracked.hold_gil', 'ready')",
    "callback": "bridge.call('striking.ask', bridge.callback(lambda: tracked.block('ready')))",
    "transfer": (
        "import numpy\n"
        "data = numpy.ones({size}, 'u1')\n"
        "while True:\n"
        "    data = bridge.fetch(bridge.put(data))\n"
        "    tracked.touch('ready')"
    ),
    "batch": (
        "with bridge.batch() as batch:\n"
        "    batch.call('tracked.touch', 'ready')\n"
        "    for _ in range(1000):\n"
        "        batch.call('time.sleep', 0.05)"
    ),
    "start": "bridge.call('tracked.block', 'called')",
    "queue": (
        "futures = [bridge.submit('tracked.block', 'ready')]\n"
        "futures += [bridge.submit('math.sqrt', 4) for _ in range(100)]\n"
        "futures[-1].result()"
    ),
    "stopped": "bridge.call('striking.stop', 'ready')",
}
"""What brings a state about, and does not return in it unless it is idle."""
BARE = "import os, threading, time, tracked\n"
BARE_OCCUPY = {True: "tracked.touch('ready')", False: "tracked.block('ready')"}
"""The same in a kernel without us, by whether it is idle."""


def occupying(code, within):
    """Cells: a function of the code, and its run in the cell or in a thread beside it."""
    body = "".join(f"    {line}\n" for line in code.splitlines())
    call = {"cell": "occupy()", "thread": "threading.Thread(target=occupy, daemon=True).start()"}
    return f"def occupy():\n{body}", call[within]


# --- The kernels ------------------------------------------------------------------------------


class Subject:
    """A kernel whose every file is in folders of its own, and what it has.

    A context manager; in the end all that was started is gone.
    """

    def __init__(self, folder, *, served=False):
        self.mark = uuid.uuid4().hex
        places = {n: folder / n for n in ("work", "tmp", "home", "runtime")}
        for place in places.values():
            place.mkdir()
        shutil.copy(striking.__file__, places["work"])
        environment = {
            MARK: self.mark,
            "TMPDIR": str(places["tmp"]),
            "HOME": str(places["home"]),
            "IPYTHONDIR": str(folder / "ipython"),  # whose history is IPython's own affair
            "JUPYTER_RUNTIME_DIR": str(places["runtime"]),
        }
        self.kernel = (ServedKernel if served else Kernel)(places["work"], **environment)
        self.pid = self.kernel.pid
        self._places = list(places.values())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kernel.close()
        for pid in marked(self.mark):  # of a test that fails
            os.kill(pid, signal.SIGKILL)

    def look(self):
        """What there is before the extension is loaded."""
        self.before = set(open_files(self.pid))
        self.remains = Remains(self.mark, self._places, theirs=("ready", "called"))

    def occupy(self, code, within, ready):
        """Bring a state about."""
        definition, call = occupying(code, within)
        self.kernel.run(definition)
        cell = self.kernel.send(call)
        eventually(ready, "the state", REACHED)
        return cell


def ready(subject, state):
    """Whether a state has come about."""
    if state == "start":
        return bool(psutil.Process(subject.pid).children())
    if not subject.kernel.file("ready"):
        return False
    if state != "stopped":
        return True
    workers = psutil.Process(subject.pid).children()
    return [w.status() for w in workers] == [psutil.STATUS_STOPPED]


ACTS = {
    "shutdown": Kernel.shutdown,
    "shutdown of a busy shell": Kernel.shutdown,
    "restart": Kernel.restart,
    "SIGTERM": lambda kernel: kernel.kill(signal.SIGTERM),
    "SIGKILL": lambda kernel: kernel.kill(signal.SIGKILL),
    "os._exit()": lambda kernel: kernel.send("os._exit(0)"),
    "exit()": lambda kernel: kernel.send("exit()"),
    "unload": lambda kernel: kernel.run("%unload_ext bridge_ext"),
    "reload": lambda kernel: kernel.run("%reload_ext bridge_ext"),
    "SIGKILL of the server": ServedKernel.kill_server,
}


def bring_about(subject, end):
    """End it; when that began, when it had ended, and when each process had."""
    with Exits({subject.pid, *subject.remains.pids}) as exits:
        began = time.monotonic()
        ACTS[end](subject.kernel)
        if matrix.ENDS[end].kernel:
            eventually(lambda: subject.pid in exits.at, "the end of the kernel", ENDED)
            ended = exits.at[subject.pid]
        else:
            ended = time.monotonic()
        survivors = {} if matrix.ENDS[end].kernel else {subject.pid}
        theirs = subject.remains.pids - set(survivors) - {subject.pid}
        late = max(0.0, ended + matrix.GONE - time.monotonic())
        try:
            eventually(lambda: theirs <= exits.at.keys(), "the end of its processes", late)
        except AssertionError:
            pytest.fail(f"left: {[psutil.Process(p) for p in theirs - exits.at.keys()]}")
        gone_at = max([ended, *(exits.at[pid] for pid in theirs)])
    return ended - began, gone_at - ended


def check_nothing_is_left(subject, end):
    """Processes, descriptors, memory and files."""
    living = set()
    if end == "restart" or not matrix.ENDS[end].kernel:
        living = {subject.kernel.pid}
    left = []

    def clear():
        left[:] = subject.remains.left(but=living)
        return not left

    try:
        eventually(clear, "a clean end", matrix.GONE)
    except AssertionError:
        pytest.fail(f"left behind: {left}")


def check_the_kernel_is_as_before(subject):
    """After the extension was taken away, or before its next call."""
    kernel = subject.kernel
    assert kernel.get("[t.name for t in threading.enumerate() if 'bridge' in t.name]") == []

    def clear():
        return {n for n in new().values() if n.startswith(("pipe:", "socket:", "/memfd:"))} == set()

    def new():
        now = open_files(subject.pid)
        return {inode: now[inode] for inode in now.keys() - subject.before}

    try:
        eventually(clear, "the end of its descriptors", matrix.GONE)
    except AssertionError:
        pytest.fail(f"the kernel still has {new()}")


# --- The cells --------------------------------------------------------------------------------


def try_cell(state, end, folder, size=SMALL):
    """End a kernel and look for everything; seconds until it ended, and until all was gone."""
    how = matrix.ENDS[end]
    with Subject(folder, served=how.served) as subject:
        kernel = subject.kernel
        kernel.run("import tracked, os, threading, time")
        subject.look()
        kernel.run(LOAD)
        if state != "start":
            kernel.run(HOLD)
        code = OCCUPY[state].format(size=size)
        subject.occupy(code, how.within, functools.partial(ready, subject, state))
        subject.remains.note()
        assert len(subject.remains.pids - {subject.pid}) >= 1 + (state != "start")
        times = bring_about(subject, end)
        check_nothing_is_left(subject, end)
        if not how.kernel:
            check_the_kernel_is_as_before(subject)
        if end in ("restart", "reload"):
            kernel.run(LOAD)
            assert kernel.get("bridge.call('math.sqrt', 4)") == 2.0
    return times


@functools.cache
def without_us(end, idle):
    """Seconds in which a kernel ends that has never loaded the extension, and is idle or waits."""
    return statistics.median(_without_us(end, idle) for _ in range(3))


def _without_us(end, idle):
    with tempfile.TemporaryDirectory() as folder:
        with Subject(Path(folder), served=matrix.ENDS[end].served) as subject:
            subject.look()
            subject.kernel.run(BARE)
            file = functools.partial(subject.kernel.file, "ready")
            subject.occupy(BARE_OCCUPY[idle], matrix.ENDS[end].within, file)
            subject.remains.note()
            ended, _ = bring_about(subject, end)
        assert gone(subject.pid)
    return ended


@pytest.fixture(scope="module")
def measured():
    """Seconds for each cell; written for the page when the last was tried."""
    found = {}
    yield found
    if len(found) == len(matrix.STATES) * len(matrix.ENDS):
        matrix.keep("kill", found)


@pytest.mark.parametrize(("state", "end"), matrix.some(matrix.STATES, matrix.SHORT_ENDS))
def test_nothing_is_left_of_a_kernel(state, end, tmp_path):
    try_cell(state, end, tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize(("state", "end"), matrix.every(matrix.STATES, matrix.ENDS))
def test_nothing_is_left_after_any_end_in_any_state(state, end, tmp_path, measured):
    if matrix.ENDS[end].served and importlib.util.find_spec("jupyter_server") is None:
        pytest.skip("there is no Jupyter server here")
    times = try_cell(state, end, tmp_path, LARGE)
    bare = without_us(end, state == "idle") if matrix.ENDS[end].kernel else None
    measured[f"{state} | {end}"] = [t if t is None else round(t, 3) for t in (*times, bare)]
