"""What the tests of interrupts, timeouts and output run in the worker; it speaks through files."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import queue
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

TICK = 0.002
"""Seconds between two bytes that `stall` writes."""
LONG = 20.0
"""Seconds after which what hangs ends by itself, so that a failure leaves nothing behind."""
armed = [os.devnull]
"""Where `stall` writes; the last one counts."""
held: list[object] = []


def touch(path):
    """Add a byte to a file, and make it."""
    with open(path, "a") as stream:
        stream.write("x")


def arm(path):
    """From now on stalls write there."""
    armed.append(path)


def stall(seconds=LONG):
    """Write a byte every few milliseconds: the file grows as long as this runs."""
    end = time.monotonic() + seconds
    with open(armed[-1], "ab", 0) as stream:
        while time.monotonic() < end:
            stream.write(b"x")
            time.sleep(TICK)


def same(value):
    return value


class Token:
    def __init__(self, token):
        self.token = token


def objects(token, count):
    return [Token([token, number]) for number in range(count)]


def numbered(token, count):
    return ([token, number] for number in range(count))


def search_path():
    return list(sys.path)


def touch_and_give(path, value):
    touch(path)
    return value


def sleep_and_touch(seconds, started, ended):
    touch(started)
    time.sleep(seconds)
    touch(ended)
    return "slept"


def same_after(seconds, value):
    time.sleep(seconds)
    return value


def touch_and_stall(path):
    touch(path)
    stall()


def wait_for(path, started):
    """Wait until a file exists."""
    touch(started)
    end = time.monotonic() + LONG
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(TICK)
    return "waited"


def __getattr__(name):
    if name == "lazy":
        stall()
        return 1
    raise AttributeError(name)


# ---------------------------------------------------------------- an object that takes its time
def late(*_):
    stall()
    return 1


class Late:
    """Everything it does takes long."""

    value = property(late, late)
    stall = __add__ = __radd__ = __len__ = __contains__ = __eq__ = __bool__ = late
    __call__ = __getitem__ = __setitem__ = __delitem__ = __reduce__ = __iter__ = late
    __enter__ = __neg__ = __matmul__ = late
    __hash__ = None

    def __exit__(self, *error):
        pass


class LateInit:
    __init__ = late


class LateRepr:
    def __repr__(self):
        stall()
        return "late"


class StubbornRepr:
    def __init__(self, seconds):
        self.seconds = seconds

    def __repr__(self):
        hold_gil(self.seconds, os.devnull)
        return "stubborn"


class LateLoad:
    """The process that loads it waits; it says so where stalls do, or in a file."""

    def __init__(self, path=None):
        self.path = path

    def __reduce__(self):
        return (stall, ()) if self.path is None else (_load_late, (self.path,))


def _load_late(path):
    arm(path)
    stall()


class LatePickle:
    """The process that pickles it waits."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        _load_late(self.path)
        return int, (1,)


class Items:
    """An iterator that stalls once, before one item, and loses none."""

    def __init__(self, stalls_at):
        self.number, self.stalls_at = -1, stalls_at

    def __iter__(self):
        return self

    def __next__(self):
        if self.number + 1 == self.stalls_at:
            self.stalls_at = None
            stall()
        self.number += 1
        return self.number


def generate(stalls_at):
    for number in range(100):
        if number == stalls_at:
            stall()
        yield number


def slow_numbers(count, seconds):
    for number in range(count):
        time.sleep(seconds)
        yield number


def late_list():
    stall()
    return [1]


# ---------------------------------------------------------------- ways to wait
def _loop():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass


def _recv():
    with contextlib.ExitStack() as stack:
        here, _ = map(stack.enter_context, socket.socketpair())
        here.recv(1)


def _lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _numpy():
    import numpy as np

    square = np.ones((100, 100))
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        square = square @ square / 100


def _sqlite():
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        for _ in base.execute(COUNT + "select n from t"):
            pass


COUNT = "with recursive t(n) as (select 1 union all select n + 1 from t limit 1000000000) "

WAYS = {
    "time.sleep": lambda: time.sleep(LONG),
    "loop": _loop,
    "socket.recv": _recv,
    "subprocess.run": lambda: subprocess.run(["sleep", str(LONG)], check=False),
    "Lock.acquire": _lock,
    "Event.wait": lambda: threading.Event().wait(),
    "Queue.get": lambda: queue.Queue().get(),
    "select": lambda: select.select([], [], [], LONG),
    "signal.pause": signal.pause,
    "asyncio.run": lambda: asyncio.run(asyncio.sleep(LONG)),
    "numpy loop": _numpy,
    "sqlite rows": _sqlite,
    "C that lets go of the GIL": lambda: ctypes.CDLL(None).sleep(int(LONG)),
}


def hang(how, started):
    touch(started)
    return WAYS[how]()


def run_child(path):
    """`subprocess.run` of a child that says its pid."""
    script = f"echo $$ > {path}.new; mv {path}.new {path}; exec sleep 20"
    subprocess.run(["sh", "-c", script], check=False)


# ---------------------------------------------------------------- code that does not stop
def hold_gil(seconds, started):
    touch(started)
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return "held"


def swallow(seconds, started):
    """Tick for so long, whatever interrupts come."""
    arm(started)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(KeyboardInterrupt):
            stall(end - time.monotonic())
    return "swallowed"


def sqlite_statement(started):
    """One statement that runs for long, without the GIL."""
    touch(started)
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        return base.execute(COUNT + "select max(n) from t").fetchone()


def backtrack(started):
    """C code that keeps the GIL, and looks for signals."""
    import re

    touch(started)
    return re.match("(a+)+$", "a" * 32 + "b")


# ---------------------------------------------------------------- code that catches it
def catch(how, seen):
    """Catch the interrupt, say so, and end in some way."""
    try:
        stall()
    except KeyboardInterrupt:
        touch(seen)
        if how == "raise":
            raise ValueError("made of an interrupt") from None
        if how == "exit":
            raise SystemExit(3) from None
        if how == "wait":
            time.sleep(0.3)
    return [object()] if how == "refs" else 5


def clean_up(ended):
    try:
        stall()
    finally:
        touch(ended)


def clean_up_slowly(ended):
    try:
        stall()
    finally:
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.01)
        touch(ended)


HANDLERS = {
    "ignored": signal.SIG_IGN,
    "the system's": signal.SIG_DFL,
    "Python's": signal.default_int_handler,
    "one that goes on": lambda *_: None,
}


def replace_handler(which):
    signal.signal(signal.SIGINT, HANDLERS[which])


def replace_handler_and_stall(which):
    replace_handler(which)
    stall()


def block_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def interrupt_caller(value, delay=0.0):
    """Interrupt the process that called, and end."""
    os.kill(os.getppid(), signal.SIGINT)
    if delay:
        time.sleep(delay)
    return value


def interrupt_caller_and_die():
    interrupt_caller(None)
    os._exit(3)


class Interrupting:
    """Making one interrupts the process that asked."""

    def __init__(self, delay):
        interrupt_caller(None, delay)


# ---------------------------------------------------------------- callbacks
def call_back(function, before="", after=""):
    """Stall before or after a callback, if armed for it; say that the end was reached."""
    if before:
        touch(before)
        stall()
    result = function()
    if after:
        touch(after)
        stall()
    return result


def call_back_and_touch(function, path):
    result = function()
    touch(path)
    return result


# ---------------------------------------------------------------- output
def say(text, stream="stdout", end="\n"):
    print(text, end=end, file=getattr(sys, stream), flush=True)


def say_and_wait(text, started, path, stream="stdout"):
    say(text, stream)
    return wait_for(path, started)


def say_and_die(text):
    say(text)
    os._exit(3)


def say_around(function, before, after):
    say(before)
    function()
    say(after)


def talk_and_stall(before, after):
    say(before)
    try:
        stall()
    finally:
        say(after)


def write(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]


def log_and_wait(text, started, path):
    logging.getLogger("steered").warning(text)
    return wait_for(path, started)


def puts_and_wait(text, started, path):
    libc = ctypes.CDLL(None)
    libc.puts(text.encode())
    libc.fflush(None)
    return wait_for(path, started)


def echo_and_wait(text, started, path):
    subprocess.run(["echo", text], check=True)
    return wait_for(path, started)


def thread_says_and_wait(text, started, path):
    thread = threading.Thread(target=say, args=(text,))
    thread.start()
    thread.join()
    return wait_for(path, started)


def bar(steps, path=None, started=None):
    """A progress bar as they are drawn: each state over the last, on stderr."""
    for step in range(steps + 1):
        sys.stderr.write(f"\r{step}/{steps}")
        sys.stderr.flush()
        if path and step == steps // 2:
            wait_for(path, started)
    sys.stderr.write("\n")


def tqdm_bar(steps):
    from tqdm import tqdm

    for _ in tqdm(range(steps), mininterval=0):
        pass


def flood(megabytes):
    """Write so much, and say by how much the memory of this process grew, in MB."""
    chunk = b"0123456789abcde\n" * 65_536
    before = peak()
    for _ in range(megabytes):
        write(1, chunk)
    return peak() - before


def peak():
    """The most memory that this process ever held, in MB."""
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def say_later(text, gate, said):
    """Start a thread that says something once a file exists, and end before."""

    def run():
        wait_for(gate, os.devnull)
        say(text)
        touch(said)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
