"""What the worker's threads print goes to the cell that started them."""

from __future__ import annotations

import contextlib
import io
from contextvars import ContextVar, copy_context

import pytest
from test_backends import Gate, InThread

from bridge_ext.kernel import context

place = ContextVar("place", default="nowhere")


class Screen(io.TextIOBase):
    """Notes what is written, and where."""

    def __init__(self):
        self.written = {}

    def write(self, text):
        self.written[place.get()] = self.written.get(place.get(), "") + text
        return len(text)


def cell(name, bridge, fn, *args):
    """Run a function in the worker, as a cell of that name does."""

    def run():
        place.set(name)
        context.current.set(context.Scope(name, 1))
        return bridge.call("builtins.eval", "fn(*args)", {"fn": fn, "args": args})

    return copy_context().run(run)


def start_thread(gates, out):
    """Start a thread that prints each time a gate is opened."""
    import sys
    import threading

    def run():
        for gate in gates:
            with open(gate) as pipe:
                pipe.read()
            print("through", gate[-1], file=getattr(sys, out))

    threading.Thread(target=run, daemon=True).start()
    print("started", file=getattr(sys, out))


def print_around(gate, out):
    """Print, wait at a gate, and print again."""
    import sys

    print("before", file=getattr(sys, out))
    with open(gate) as pipe:
        pipe.read()
    print("after", file=getattr(sys, out))


@pytest.mark.parametrize("out", ["stdout", "stderr"])
def test_a_thread_prints_in_the_cell_that_started_it(local, tmp_path, eventually, out):
    gates = [Gate(tmp_path, f"gate{n}") for n in range(3)]
    paths = [gate.path for gate in gates]
    screen = Screen()
    with contextlib.ExitStack() as stack:
        for gate in gates:
            stack.enter_context(contextlib.closing(gate))
        stack.enter_context(contextlib.redirect_stdout(screen))
        stack.enter_context(contextlib.redirect_stderr(screen))
        cell("A", local, start_thread, paths[:2], out)
        gates[0].reached().open()  # while no call runs
        eventually(lambda: "through 0\n" in screen.written["A"], "the first line")
        other = InThread(cell, "B", local, print_around, paths[2], out)
        gates[2].reached()
        gates[1].reached().open()  # while another cell's call runs
        eventually(lambda: "through 1\n" in screen.written["A"], "the second line")
        gates[2].open()
        other.result()
        cell("C", local, print, "later")
    assert screen.written == {
        "A": "started\nthrough 0\nthrough 1\n",
        "B": "before\nafter\n",
        "C": "later\n",
    }


def test_dots_without_a_newline_are_seen_while_the_call_runs(local, tmp_path, eventually):
    def dots(gate):
        import time

        for _ in range(2):
            __import__("sys").stdout.write(".")
            time.sleep(0.1)
        with open(gate) as pipe:
            pipe.read()

    screen = Screen()
    with contextlib.closing(Gate(tmp_path)) as gate, contextlib.redirect_stdout(screen):
        call = InThread(cell, "A", local, dots, gate.path)
        gate.reached()
        eventually(lambda: screen.written.get("A") == "..", "the dots")
        gate.open()
        call.result()
