"""What is sent while the worker is busy: it waits its turn, in order, and keeps nobody else."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from conftest import DEADLINE, eventually
from test_backends import Gate, InThread

from bridge_ext import WorkerDiedError
from bridge_ext.kernel.backends import sending

MANY = 3000
"""Calls whose frames are far more than a socket holds."""


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


@pytest.fixture
def busy(local, gate):
    """A bridge whose worker waits at the gate; the future of that call."""
    local.call("builtins.setattr", local.module("sys"), "seen", [])
    future = local.submit("builtins.eval", Gate.READ, {"gate": gate.path})
    gate.reached()
    return future


def sender(bridge):
    return bridge._remote.incarnation.connection._exchange.sender


def submit_many(bridge):
    made = InThread(lambda: [bridge.submit("operator.add", n, 1) for n in range(MANY)])
    return made.result()


def test_calls_can_be_made_while_the_worker_is_busy_and_end_in_order(local, gate, busy):
    futures = submit_many(local)
    assert sender(local).rest
    assert not any(future.done() for future in futures)
    gate.open()
    assert [future.result(DEADLINE) for future in futures] == list(range(1, MANY + 1))
    assert not sender(local).rest
    assert sender(local)._size == 0


def test_a_call_that_waits_comes_behind_them(local, gate, busy):
    futures = submit_many(local)
    last = InThread(local.call, "operator.add", 1, 1)
    eventually(lambda: local._remote.incarnation.connection.in_flight == MANY + 2, "the call")
    gate.open()
    assert last.result() == 2
    assert all(future.done() for future in futures)


def test_a_large_argument_keeps_its_place(local, gate, busy):
    """Segments, frames through the socket and small calls, mixed, while nothing is read."""
    arrays = [np.arange(n, dtype="f8") for n in (10, 30_000, 200_000, 10, 40_000, 300_000)]

    def make():
        made = []
        for array in arrays:
            made.append((local.submit("builtins.sum", [1] * 5), 5))
            made.append((local.submit("numpy.sum", array), float(array.sum())))
            made += [(local.submit("operator.add", n, 1), n + 1) for n in range(200)]
        return made

    made = InThread(make).result()
    gate.open()
    for future, expected in made:
        value = future.result(DEADLINE)
        assert (local.fetch(value) if not isinstance(value, (int, float)) else value) == expected


def test_what_may_be_queued_is_bounded_and_who_waits_for_room_can_be_interrupted(
    local, gate, busy, monkeypatch
):
    monkeypatch.setattr(sending, "_MOST", 50_000)
    main = threading.main_thread().ident
    connection = local._remote.incarnation.connection

    def interrupt():
        eventually(lambda: sender(local)._size > 50_000, "the queue to be full")
        signal.pthread_kill(main, signal.SIGINT)

    interrupting, made = InThread(interrupt), []

    def submit():
        while True:
            made.append(local.submit("builtins.len", b"x" * 1000))

    with pytest.raises(KeyboardInterrupt):
        submit()
    interrupting.result()
    assert sender(local)._size < 60_000
    gate.open()
    assert {future.result(DEADLINE) for future in made} == {1000}
    eventually(lambda: connection.in_flight == 0, "the interrupted call to end")


def test_a_worker_that_dies_ends_what_was_queued(local, busy):
    futures = submit_many(local)
    old = sender(local)
    os.kill(local.status().pid, signal.SIGKILL)
    for future in (busy, *futures):
        assert isinstance(future.exception(DEADLINE), WorkerDiedError)
    assert local.call("operator.add", 1, 1) == 2
    assert not old.rest


def test_what_was_dropped_is_told_behind_what_is_queued(local, gate, busy):
    futures = submit_many(local)
    gate.open()
    ref = local.new("collections.deque")
    del ref
    assert local.status().refs == 0
    assert [future.result(DEADLINE) for future in futures] == list(range(1, MANY + 1))


def test_cancelled_while_queued_they_do_not_run(local, gate, busy):
    futures = [local.submit("sys.seen.append", n) for n in range(MANY)]
    for future in futures[::2]:
        assert future.cancel()
    gate.open()
    for future in futures[1::2]:
        future.result(DEADLINE)
    local.call("math.sqrt", 4)
    assert local.attr("sys.seen") == list(range(1, MANY, 2))
