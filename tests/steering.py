"""What the tests of interrupts and timeouts share: call paths that hang, and real signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import psutil
import steered
from conftest import eventually

import bridge_ext

ROOT = Path(bridge_ext.__file__).resolve().parent.parent
HERE = Path(__file__).parent

PROMISED = 0.5
"""Seconds within which an interrupt has stopped a call: the promise, on a machine that is idle."""
AT_ONCE = 1.5
"""The same on a machine that is busy; less than the grace, in which a call may stop."""
GRACE = 2.0
"""Seconds that a call which was told to stop may take."""
STUCK = 12.0
"""Seconds after which a test ends the worker, so that a failure is no hang."""


# ---------------------------------------------------------------- call paths
def _made(bridge):
    return bridge.new("steered.Late")


def _nothing(bridge):
    return None


def _batch(bridge, _):
    with bridge.batch() as batch:
        future = batch.call("steered.stall")
    return future.result()


def _acall(bridge, _):
    return asyncio.run(bridge.acall("steered.stall"))


def _helper(bridge):
    bridge.register_helper(lambda: __import__("steered").stall(), "late")


def _stream(bridge):
    return bridge.stream("steered.Items", 0)


def _setitem(bridge, ref):
    ref[0] = 1


def _set(bridge, ref):
    ref.value = 1


def _with(bridge, ref):
    with ref:
        pass


PATHS = {
    "call": (_nothing, lambda bridge, _: bridge.call("steered.stall")),
    "call with keywords": (_nothing, lambda bridge, _: bridge.call("steered.stall", seconds=20)),
    "new": (_nothing, lambda bridge, _: bridge.new("steered.LateInit")),
    "attr": (_nothing, lambda bridge, _: bridge.attr("steered.lazy")),
    "module call": (_nothing, lambda bridge, _: bridge.module("steered").stall()),
    "module attribute": (_nothing, lambda bridge, _: bridge.module("steered").lazy),
    "method": (_made, lambda bridge, ref: bridge.method(ref, "stall")),
    "method of a ref": (_made, lambda bridge, ref: ref.stall()),
    "get": (_made, lambda bridge, ref: bridge.get(ref, "value")),
    "attribute of a ref": (_made, lambda bridge, ref: ref.value),
    "set": (_made, lambda bridge, ref: bridge.set(ref, "value", 1)),
    "assignment to a ref": (_made, _set),
    "call of a ref": (_made, lambda bridge, ref: ref()),
    "+": (_made, lambda bridge, ref: ref + 1),
    "reflected +": (_made, lambda bridge, ref: 1 + ref),
    "@": (_made, lambda bridge, ref: ref @ ref),
    "-": (_made, lambda bridge, ref: -ref),
    "==": (_made, lambda bridge, ref: ref == 1),
    "bool": (_made, lambda bridge, ref: bool(ref)),
    "len": (_made, lambda bridge, ref: len(ref)),
    "in": (_made, lambda bridge, ref: 1 in ref),
    "item": (_made, lambda bridge, ref: ref[0]),
    "item assignment": (_made, _setitem),
    "with": (_made, _with),
    "iter": (_made, lambda bridge, ref: iter(ref)),
    "helper": (_helper, lambda bridge, _: bridge.helper("late")),
    "stream": (_nothing, lambda bridge, _: bridge.stream("steered.late_list")),
    "next of a stream": (_stream, lambda bridge, stream: next(stream)),
    "put": (_nothing, lambda bridge, _: bridge.put(steered.LateLoad())),
    "argument": (_nothing, lambda bridge, _: bridge.call("steered.same", steered.LateLoad())),
    "fetch": (_made, lambda bridge, ref: bridge.fetch(ref)),
    "batch": (_nothing, _batch),
    "acall": (_nothing, _acall),
}
"""Name to (what is made first, what then stalls in the worker), for every way to make a call."""


class Growing:
    """A file that grows as long as code of the worker runs."""

    def __init__(self, path):
        self.path = path

    def __str__(self):
        return str(self.path)

    @property
    def size(self):
        return self.path.stat().st_size if self.path.exists() else 0

    def begun(self):
        return self.size > 0

    def has_stopped(self, bridge):
        """Whether it no longer grows, while the worker passes the time elsewhere."""
        size = self.size
        bridge.call("time.sleep", 10 * steered.TICK)
        return size == self.size


class Held:
    """Refs of a bridge in two sessions, which must outlive what a test does."""

    def __init__(self, bridge):
        self._bridge = bridge
        with bridge.session("named"):
            self._named = bridge.put(["named"])
        self._auto = bridge.put(["auto"])
        self._worker = bridge.status().pid

    def check(self):
        """Everything is as it was, and the worker serves."""
        assert self._bridge.call("math.sqrt", 4) == 2.0
        assert self._bridge.fetch(self._auto) == ["auto"]
        assert self._bridge.fetch(self._named) == ["named"]
        assert self._bridge.status().pid == self._worker
        assert self._bridge.status().busy is None

    def check_lost(self):
        """The worker was ended, and a fresh one serves."""
        assert self._bridge.call("math.sqrt", 4) == 2.0
        assert self._bridge.status().pid != self._worker
        for ref in (self._auto, self._named):
            try:
                ref.append(1)
            except bridge_ext.SessionLostError:
                continue
            raise AssertionError(f"{ref} was not lost")


def in_flight(bridge):
    """How many calls of a bridge wait for their replies."""
    return bridge._remote.incarnation.connection.in_flight


def gone(pid):
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# ---------------------------------------------------------------- signals
class Sent:
    """Interrupts that were sent.

    Attributes:
        at: when, on the monotonic clock.
        took: seconds from the last one until the block was left.
    """

    def __init__(self):
        self.at = []
        self.took = None


def in_background(fn, *args):
    """A Future of `fn(*args)`, run in a daemon thread; a clean test waits for it."""
    future = Future()

    def run():
        try:
            future.set_result(fn(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def linger():
    """Pass the time in this thread's own code, until something raises.

    In short sleeps: a signal that comes just before a long one would be seen at its end.
    """
    end = time.monotonic() + STUCK
    while time.monotonic() < end:
        time.sleep(0.005)


def interrupt():
    """What the system does at Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


@contextlib.contextmanager
def interrupted(bridge, when, *gaps, send=interrupt, error=KeyboardInterrupt):
    """The block must be ended by an interrupt that is sent as soon as `when()` is true.

    `gaps` are pauses, in seconds, or conditions, before further interrupts.
    """
    sent, entered, over = Sent(), threading.Event(), threading.Event()

    def come(moment):
        """Wait for it, at most as long as a test may; whether the block still runs then."""
        if callable(moment):
            with contextlib.suppress(AssertionError):
                eventually(lambda: over.is_set() or moment(), "the moment to interrupt", STUCK)
            # This thread runs when the main one lets go of the GIL, which is just before it waits:
            # a signal then would be seen by plain Python code only when the wait is over.
            return not over.wait(0.01)
        return not over.wait(moment)

    def run():
        entered.wait(STUCK)
        for moment in (when, *gaps):
            if not come(moment):
                return
            sent.at.append(time.monotonic())
            send()
        if not over.wait(STUCK):
            with contextlib.suppress(ProcessLookupError):
                os.kill(bridge.status().pid, signal.SIGKILL)

    sender = in_background(run)
    try:
        try:
            entered.set()
            yield sent
        finally:
            end = time.monotonic()
            over.set()
            sender.result(STUCK)
    except error:
        sent.took = end - sent.at[-1]
    else:
        raise AssertionError("nothing was interrupted")


class Process:
    """A script in a process of its own, which may import bridge_ext, steered and steering."""

    def __init__(self, folder, source, *args):
        path = folder / "script.py"
        path.write_text(textwrap.dedent(source))
        search = os.pathsep.join([str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(path), *map(str, args)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": search},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def line(self):
        return self.process.stdout.readline().strip()

    def finish(self, seconds=30):
        """What it wrote to stdout; it must end well and write nothing else."""
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, err
        assert err == ""
        return out

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Pester:
    """A process of its own that interrupts this one when it is told to: at any bytecode."""

    _SOURCE = """
import os, signal, sys, time
for line in sys.stdin:
    time.sleep(float(line))
    os.kill(os.getppid(), signal.SIGINT)
    print(flush=True)
"""

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.communicate()

    def interrupt_in(self, seconds):
        self._process.stdin.write(f"{seconds}\n".encode())

    def sent(self):
        """Wait until it has."""
        assert self._process.stdout.read(1) == b"\n"
