"""Batches: many calls in one message."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures as cf
import contextlib
import fractions
import gc
import itertools
import os
import signal
import sys
import threading

import numpy as np
import pytest
from conftest import DEADLINE, eventually
from test_backends import Gate, InThread

import bridge_ext
from bridge_ext import (
    BridgeClosedError,
    BridgeUsageError,
    CallTimeoutError,
    EncodeError,
    InvalidRefError,
    Ref,
    SessionMismatchError,
    StreamRef,
    WorkerDiedError,
)

THINGS = """
import pathlib

began = []


class Thing:
    def __init__(self, n=0):
        self.n = n

    def itself(self):
        return self


def same(x):
    return x


def note(x):
    began.append(x)
    return x


def apply(fn, *args):
    return fn(*args)


def wait_at(gate):
    pathlib.Path(gate).read_bytes()
"""


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "batch_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("batch_things", None)


@pytest.fixture
def began(bridge):
    """What has run in the worker since the test began."""
    bridge.call("batch_things.began.clear")
    return lambda: bridge.call("list", bridge.attr("batch_things.began"))


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


def run(name):
    return f"batch_things.{name}"


def outcome(future):
    """What a future that is done has: its value, or the type of its error."""
    assert future.done()
    if future.cancelled():
        return "cancelled"
    error = future.exception(0)
    return future.result(0) if error is None else type(error).__name__


def outcomes(futures):
    return [outcome(future) for future in futures]


def trips(bridge, action):
    """How many messages the exchange of requests took."""
    connection = bridge._remote.incarnation.connection
    before = connection._exchange.sent
    action()
    return connection._exchange.sent - before


# ---------------------------------------------------------------- the block
def test_a_batch_is_one_message_and_every_future_is_done_when_it_ends(local):
    local.call("math.sqrt", 4)
    made = []

    def many():
        with local.batch() as batch:
            made.extend(batch.call("math.sqrt", n * n) for n in range(500))
            assert not any(future.done() for future in made)

    assert trips(local, many) == 1
    assert outcomes(made) == list(range(500))


def test_calls_run_in_order(bridge, began):
    with bridge.batch() as batch:
        for i in range(100):
            batch.call(run("note"), i)
    assert began() == list(range(100))


def test_an_empty_batch_sends_nothing(local):
    local.call("math.sqrt", 4)

    def nothing():
        with local.batch():
            pass

    assert trips(local, nothing) == 0


def test_fifty_thousand_calls(local):
    with local.batch() as batch:
        made = [batch.call("math.sqrt", n * n) for n in range(50_000)]
    assert [future.result(0) for future in made] == list(range(50_000))


def test_an_exception_in_the_block_sends_nothing_and_cancels_the_futures(bridge, began):
    made = []

    class Mine(Exception):
        pass

    def block():
        with bridge.batch() as batch:
            made.extend(batch.call(run("note"), i) for i in range(3))
            raise Mine

    with pytest.raises(Mine):
        block()
    assert outcomes(made) == ["cancelled"] * 3
    assert began() == []


def test_a_cancelled_call_is_left_out(bridge, began):
    with bridge.batch() as batch:
        made = [batch.call(run("note"), i) for i in range(5)]
        assert made[1].cancel()
        assert made[4].cancel()
    assert outcomes(made) == [0, "cancelled", 2, 3, "cancelled"]
    assert began() == [0, 2, 3]
    with bridge.batch() as batch:
        assert batch.call(run("note"), 9).cancel()
    assert began() == [0, 2, 3]


def test_a_future_that_is_waited_for_within_the_block_is_not_done(bridge):
    with bridge.batch() as batch:
        made = batch.call("math.sqrt", 4)
        with pytest.raises(cf.TimeoutError):
            made.result(0.01)
    assert made.result(0) == 2.0


def test_batches_nest_and_other_calls_go_between(bridge, began):
    with bridge.batch() as outer:
        first = outer.call(run("note"), "outer")
        with bridge.batch() as inner:
            second = inner.call(run("note"), "inner")
        assert second.result(0) == "inner"
        assert bridge.call(run("note"), "call") == "call"
        assert bridge.submit(run("note"), "submit").result(DEADLINE) == "submit"
        assert not first.done()
    assert first.result(0) == "outer"
    assert began() == ["inner", "call", "submit", "outer"]


def test_a_block_is_used_again(bridge):
    block = bridge.batch()
    for n in (4, 9):
        with block:
            made = block.call("math.sqrt", n)
        assert made.result(0) == n**0.5


def test_threads_add_to_one_batch(bridge):
    with bridge.batch() as batch:

        def caller(name):
            return [(f"{name}-{i}", batch.call(run("same"), f"{name}-{i}")) for i in range(100)]

        callers = [InThread(caller, name) for name in range(4)]
        made = [entry for caller in callers for entry in caller.result()]
    assert [future.result(0) for _, future in made] == [value for value, _ in made]


def test_a_batch_in_an_async_cell(bridge):
    async def main():
        with bridge.batch() as batch:
            made = batch.call("math.sqrt", 4)
            awaited = await bridge.acall("math.sqrt", 9)
        return made.result(0), awaited, await asyncio.wrap_future(made)

    assert asyncio.run(main()) == (2.0, 3.0, 2.0)


def test_done_callbacks_run_once_it_is_done(bridge):
    seen = []
    with bridge.batch() as batch:
        made = batch.call("math.sqrt", 4)
        made.add_done_callback(lambda future: seen.append(future.result(0)))
        assert seen == []
    eventually(lambda: seen == [2.0], "the callback")


# ---------------------------------------------------------------- what can be in it
def test_every_call_path(bridge):
    numbers = bridge.put([3, 1, 2])
    thing = bridge.new(run("Thing"), 1)
    bridge.register_helper(lambda x: x + 1, "plus_one")
    with bridge.batch() as batch:
        made = {
            "call": batch.call("sorted", numbers),
            "keyword": batch.call("sorted", numbers, reverse=True),
            "method": batch.method(numbers, "append", 9),
            "fetch": batch.fetch(numbers),
            "get": batch.get(thing, "n"),
            "set": batch.set(thing, "n", 5),
            "get again": batch.get(thing, "n"),
            "attr": batch.attr("math.pi"),
            "helper": batch.helper("plus_one", 4),
            "new": batch.new("list", (1, 2)),
            "put": batch.put({"a": 1}),
            "stream": batch.stream("range", 3),
        }
    got = {name: outcome(future) for name, future in made.items()}
    assert got.pop("new")[1] == 2
    assert got.pop("put")["a"] == 1
    stream = got.pop("stream")
    assert isinstance(stream, StreamRef)
    assert list(stream) == [0, 1, 2]
    assert got == {
        "call": [1, 2, 3], "keyword": [3, 2, 1], "method": None, "fetch": [3, 1, 2, 9], "get": 1,
        "set": None, "get again": 5, "attr": 3.141592653589793, "helper": 5,
    }  # fmt: skip


def test_what_a_function_of_the_bridge_refuses_is_refused_where_it_is_made(bridge):
    with bridge.batch() as batch:
        with pytest.raises(BridgeUsageError):
            batch.call("no path")
        with pytest.raises(BridgeUsageError):
            batch.helper("unknown")
        with pytest.raises(InvalidRefError):
            batch.method([], "append", 1)
        with pytest.raises(EncodeError, match="lock"):
            batch.call("len", threading.Lock())
        made = batch.call("math.sqrt", 4)
    assert made.result(0) == 2.0


def test_an_argument_that_cannot_travel_ends_the_block(bridge, began):
    made = []

    def block():
        with bridge.batch() as batch:
            made.append(batch.call(run("note"), 1))
            batch.call("len", threading.Lock())

    with pytest.raises(EncodeError):
        block()
    assert outcomes(made) == ["cancelled"]
    assert began() == []


def test_arguments_are_as_they_are_where_the_call_is_made(bridge):
    growing = []
    with bridge.batch() as batch:
        made = []
        for i in range(3):
            growing.append(i)
            made.append(batch.call("len", growing))
    assert outcomes(made) == [1, 2, 3]


def test_refs_are_arguments_targets_and_results_with_their_identity(bridge):
    thing = bridge.new(run("Thing"), 4)
    with bridge.batch() as batch:
        made = [
            batch.call(run("same"), thing),
            batch.method(thing, "itself"),
            batch.call(run("same"), [thing, {"deep": (thing,)}]),
            batch.call(run("apply"), lambda: thing.n),  # which closes over it
        ]
    first, second, deep, number = outcomes(made)
    assert first is thing
    assert second is thing
    assert deep[0] is thing
    assert deep[1]["deep"][0] is thing
    assert number == 4


def test_a_batch_holds_the_refs_that_nobody_else_does(bridge):
    with bridge.batch() as batch:
        made = [
            batch.fetch(bridge.put([1])),
            batch.method(bridge.put([2]), "pop"),
            batch.get(bridge.new(run("Thing"), 3), "n"),
            batch.call("len", bridge.put([1, 2, 3, 4])),
        ]
        gc.collect()
        bridge.call("math.sqrt", 4)  # with which a release would go out
    assert outcomes(made) == [[1], 2, 3, 4]
    gc.collect()
    eventually(lambda: not bridge.refs(), "the release")


def test_arrays_and_pickles_each_have_their_own_buffers(bridge):
    arrays = [np.arange(n) for n in (10, 200_000, 3, 100_000)]
    refs = [bridge.put(array) for array in arrays]
    with bridge.batch() as batch:
        sums = [batch.call("numpy.sum", array) for array in arrays]
        plain = batch.call("math.sqrt", 4)
        both = batch.call("numpy.concatenate", [arrays[0], arrays[2]])
        copies = [batch.fetch(ref) for ref in refs]
    assert [int(value) for value in outcomes(sums)] == [int(array.sum()) for array in arrays]
    assert plain.result(0) == 2.0
    assert both.result(0).shape == (13,)
    for copy, array in zip(outcomes(copies), arrays, strict=True):
        assert (copy == array).all()


def test_results_that_are_large_together_come_by_value(bridge):
    with bridge.batch() as batch:
        made = [batch.call("bytes", 3_000_000) for _ in range(12)]
        one = batch.call("bytes", 9_000_000)
    assert [len(value) for value in outcomes(made)] == [3_000_000] * 12
    assert isinstance(one.result(0), Ref), "this one is too large by itself"
    assert len(one.result(0)) == 9_000_000


def test_options_hold_for_each_call(bridge):
    with bridge.batch() as batch:
        plain = [batch.call(run("same"), 5), batch.call("collections.Counter", "aa")]
        with bridge.options(fetch=False):
            refs = [batch.call(run("same"), 5), batch.call("collections.Counter", "aa")]
        with bridge.options(fetch=True):
            copies = [
                batch.call(run("same"), 5),
                batch.call("collections.Counter", "aa"),
                batch.call("fractions.Fraction", 5),
                batch.call("threading.Lock"),
            ]
        last = batch.call(run("same"), 6)
    assert [type(x).__name__ for x in outcomes(plain)] == ["int", "Ref"]
    assert [type(x).__name__ for x in outcomes(refs)] == ["Ref", "Ref"]
    assert outcomes(copies) == [
        5, collections.Counter("aa"), fractions.Fraction(5), "EncodeError",
    ]  # fmt: skip
    assert last.result(0) == 6
    for fetch, kind in ((True, int), (False, Ref), (None, int)):
        with bridge.options(fetch=fetch).batch() as batch:
            made = batch.call(run("same"), 5)
        assert isinstance(made.result(0), kind)
        with bridge.options(fetch=fetch), bridge.batch() as batch:
            made = batch.call(run("same"), 5)
        assert isinstance(made.result(0), kind)


# ---------------------------------------------------------------- errors at their place
def test_an_error_is_at_its_place_and_keeps_no_other_from_running(bridge, began):
    with bridge.batch() as batch:
        made = [
            batch.call(run("note"), 1),
            batch.call("math.sqrt", -1),
            batch.call("nowhere.at_all"),
            batch.call("sys.exit", 3),
            batch.call("next", bridge.call("iter", [])),
            batch.call(run("note"), 2),
            batch.get(bridge.put([]), "nothing"),
            batch.call(run("note"), 3),
        ]
    assert outcomes(made) == [
        1, "ValueError", "ModuleNotFoundError", "RemoteError", "StopIteration", 2,
        "AttributeError", 3,
    ]  # fmt: skip
    assert began() == [1, 2, 3]


def test_a_session_that_is_full_is_an_error_at_its_place(bridge):
    with bridge.session("few", max_refs=3), bridge.batch() as batch:
        made = [batch.new(run("Thing"), i) for i in range(5)]
        plain = batch.call("math.sqrt", 4)
    got = outcomes(made)
    assert [ref.n for ref in got[:3]] == [0, 1, 2]
    assert got[3:] == ["SessionFullError"] * 2
    assert plain.result(0) == 2.0


# ---------------------------------------------------------------- sessions
def of(bridge, future):
    return bridge.info(future.result(0)).session_id


def test_each_call_belongs_to_the_session_that_resolves_where_it_is_made(bridge):
    with bridge.session("a"):
        target = bridge.new(run("Thing"), 1)
    with bridge.batch() as batch:
        made = {"auto": batch.new(run("Thing"))}
        with bridge.session("a"):
            made["a"] = batch.new(run("Thing"))
            with bridge.session("b"):
                made["b"] = batch.new(run("Thing"))
        with bridge.options(session="c"):
            made["c"] = batch.new(run("Thing"))
        made["target"] = batch.method(target, "itself")
        with pytest.raises(SessionMismatchError):
            batch.call(run("same"), target)
        with bridge.options(session="b"), pytest.raises(SessionMismatchError):
            batch.get(target, "n")
    with bridge.options(session="d").batch() as batch:
        made["d"] = batch.new(run("Thing"))
    with bridge.session("e"):
        block = bridge.batch()
    with block as batch:
        made["left"] = batch.new(run("Thing"))
    got = {name: of(bridge, future) for name, future in made.items()}
    auto = bridge.current_session()
    assert got == {
        "auto": auto, "a": "a", "b": "b", "c": "c", "target": "a", "d": "d", "left": auto,
    }  # fmt: skip
    assert made["target"].result(0) is target


def test_a_session_that_was_released_between_is_made_again_for_what_has_no_ref_of_it(bridge):
    with bridge.session("short"):
        gone = bridge.new(run("Thing"), 1)
        with bridge.batch() as batch:
            made = [batch.new(run("Thing"), 2), batch.get(gone, "n"), batch.call("math.sqrt", 4)]
            bridge.release("short")
    got = outcomes(made)
    assert got[0].n == 2
    assert of(bridge, made[0]) == "short"
    assert got[1:] == ["RefNotFoundError", 2.0]


def test_a_session_that_is_released_within_ends_there(bridge):
    with bridge.session("short"):
        target = bridge.new(run("Thing"), 3)
    with bridge.batch() as batch:
        made = [
            batch.get(target, "n"),
            batch.call(run("apply"), bridge.callback(lambda: bridge.release("short") and None)),
            batch.get(target, "n"),
            batch.call("math.sqrt", 4),
        ]
    assert outcomes(made) == [3, None, "RefNotFoundError", 2.0]
    assert made[2].exception(0).reason == "session released"


def test_a_session_that_is_released_in_the_middle_from_outside(local, gate):
    with local.session("short"):
        target = local.new(run("Thing"), 3)
    made = []

    def block():
        with local.batch() as batch:
            made.append(batch.call(run("wait_at"), gate.path))
            made.append(batch.get(target, "n"))
            made.append(batch.call("math.sqrt", 4))

    caller = InThread(block)
    gate.reached()
    local.release("short")
    gate.open()
    caller.result()
    assert outcomes(made) == [None, "RefNotFoundError", 2.0]


# ---------------------------------------------------------------- callbacks
def test_callbacks_are_arguments_and_run_in_the_thread_that_waits(bridge):
    here = threading.get_ident()
    mine = KeyError("mine")

    def fails():
        raise mine

    with bridge.batch() as batch:
        made = [
            batch.call("map", bridge.callback(lambda x: x + 1), [1, 2]),
            batch.call(run("apply"), bridge.callback(threading.get_ident)),
            batch.call(run("apply"), bridge.callback(lambda: bridge.call("math.sqrt", 4))),
            batch.call(run("apply"), bridge.callback(fails)),
            batch.call(run("apply"), bridge.callback(bridge.current_session)),
            batch.call("math.sqrt", 9),
        ]
    assert list(made[0].result(0)) == [2, 3]
    assert outcomes(made[1:]) == [here, 2.0, "KeyError", bridge.current_session(), 3.0]
    assert made[3].exception(0) is mine


def test_a_batch_within_a_callback_of_a_batch(bridge):
    def nested():
        with bridge.batch() as batch:
            made = [batch.call("math.sqrt", n) for n in (4, -1)]
        return outcomes(made)

    with bridge.batch() as batch:
        made = [batch.call(run("apply"), bridge.callback(nested)) for _ in range(3)]
    assert outcomes(made) == [[2.0, "ValueError"]] * 3


def test_a_stream_is_an_argument_at_its_place(bridge):
    stream = bridge.stream("range", 100)
    assert list(itertools.islice(stream, 30)) == list(range(30))
    with bridge.batch() as batch:
        made = [batch.call("next", stream) for _ in range(3)]
    assert outcomes(made) == [30, 31, 32]
    assert list(stream) == list(range(33, 100))


# ---------------------------------------------------------------- stops
@pytest.mark.parametrize("bound", [True, False], ids=["bound", "in force"])
def test_a_timeout_is_of_the_whole(local, gate, bound):
    made = []
    options = local.options(timeout=0.2)

    def block():
        with options.batch() if bound else local.batch() as batch:
            made.append(batch.call("math.sqrt", 4))
            made.append(batch.call(run("wait_at"), gate.path))
            made.append(batch.call("math.sqrt", 9))

    in_force = contextlib.nullcontext() if bound else options
    with in_force, pytest.raises(CallTimeoutError, match="a batch of 3 calls"):
        block()
    assert outcomes(made) == ["CallTimeoutError"] * 3
    assert local.call("math.sqrt", 4) == 2.0


def test_an_interrupt_stops_the_whole(local, gate):
    def stop():
        gate.reached()
        os.kill(os.getpid(), signal.SIGINT)

    made = []

    def block():
        with local.batch() as batch:
            made.append(batch.call(run("note"), 1))
            made.append(batch.call(run("wait_at"), gate.path))
            made.append(batch.call(run("note"), 2))

    stopper = InThread(stop)
    with pytest.raises(KeyboardInterrupt):
        block()
    stopper.result()
    assert outcomes(made) == ["KeyboardInterrupt"] * 3
    assert local.call("list", local.attr(run("began"))) == [1]


def test_a_worker_that_dies_in_the_middle_is_an_error_of_the_whole(local):
    made = []

    def block():
        with local.batch() as batch:
            made.append(batch.call("math.sqrt", 4))
            made.append(batch.call("os._exit", 3))
            made.append(batch.call("math.sqrt", 9))

    with pytest.raises(WorkerDiedError, match="exited with code 3 during a batch of 3 calls"):
        block()
    assert outcomes(made) == ["WorkerDiedError"] * 3
    assert local.call("math.sqrt", 4) == 2.0


def test_a_batch_on_refs_never_reaches_another_worker(local):
    # The ids of the next worker's refs begin anew: these would be someone else's objects.
    mine = local.put([1, 2, 3])
    made = []

    def block():
        with local.batch() as batch:
            made.append(batch.call("len", mine))
            made.append(batch.method(mine, "append", 4))
            local.restart()
            others.append(local.put([]))

    others = []
    with pytest.raises(WorkerDiedError):
        block()
    assert outcomes(made) == ["WorkerDiedError"] * 2
    assert local.call("list", others[0]) == []


def test_a_batch_without_refs_goes_to_the_next_worker(local):
    with local.batch() as batch:
        made = [batch.call("math.sqrt", 4), batch.new(run("Thing"), 3)]
        local.restart()
        made.append(batch.call("math.sqrt", 9))
    first, thing, last = outcomes(made)
    assert (first, thing.n, last) == (2.0, 3, 3.0)


def test_a_closed_bridge_makes_no_batch():
    with bridge_ext.Bridge("memory") as bridge:
        block = bridge.batch()
        early = block.call("math.sqrt", 4)
    with pytest.raises(BridgeClosedError):
        block.call("math.sqrt", 4)
    with pytest.raises(BridgeClosedError):
        block.__exit__(None, None, None)
    assert outcome(early) == "BridgeClosedError"


def test_nothing_is_left_of_batches(bridge):
    with bridge.batch() as batch:
        made = [batch.new(run("Thing"), i) for i in range(20)]
        made += [batch.call(run("same"), bridge.put([])) for _ in range(5)]
    assert len(bridge.refs()) == 20
    del made
    gc.collect()
    eventually(lambda: not bridge.refs(), "the release")
    assert bridge._remote.incarnation.connection.in_flight == 0
