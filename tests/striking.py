"""Ways to break a worker, and what leads a call to each moment; imported in the worker."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time


def touch(path):
    with open(path, "w"):
        pass


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)


# --- The faults -------------------------------------------------------------------------------


def recurse():
    return recurse()


def overflow():
    """glibc compiles an opening bracket by recursion, and counts none of it."""
    ctypes.CDLL(None).regcomp(ctypes.create_string_buffer(1024), b"(" * 20_000_000, 1)


FAULTS = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "os._exit": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "memory_limit": lambda: bytearray(2 << 40),
    "out of memory": lambda: time.sleep(60),  # whoever waits for the file kills it
    "hang in C": lambda: ctypes.PyDLL(None).sleep(60),
    "Python's stack": recurse,
    "C's stack": overflow,
    "SIGSTOP": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def strike(fault, ready):
    """Break this process, and say so first."""
    touch(ready)
    FAULTS[fault]()


# --- The moments ------------------------------------------------------------------------------


class Bomb:
    """Strikes where its pickle is opened."""

    def __init__(self, fault, ready):
        self.blow = fault, ready

    def __reduce__(self):
        return strike, self.blow


class Dud(Bomb):
    """Strikes where it is pickled."""

    def __reduce__(self):
        strike(*self.blow)
        return list, ()


class Last(Bomb):
    """Strikes where it is freed."""

    def __del__(self):
        strike(*self.blow)


def identity(value):
    return value


def items(fault, ready):
    yield 1
    yield 2
    strike(fault, ready)
    yield 3


def ask(function):
    return function()


def later(fault, ready, gate):
    """Strike while no call runs."""

    def wait():
        wait_for(gate)
        strike(fault, ready)

    threading.Thread(target=wait, daemon=True).start()


def be_busy(started, gate):
    touch(started)
    wait_for(gate)


def stop(ready):
    """Stop the whole process, as a debugger would."""
    strike("SIGSTOP", ready)
