"""Calls as futures and awaitables: `submit` and `acall`."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import contextlib
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
import warnings
import weakref

import pytest
from conftest import DEADLINE, eventually
from test_backends import Gate, InThread

import bridge_ext
from bridge_ext import (
    BridgeClosedError,
    BridgeUsageError,
    CallTimeoutError,
    EncodeError,
    Ref,
    RefNotFoundError,
    SessionMismatchError,
    WorkerBusyError,
)
from bridge_ext.kernel.backends import stopping

THINGS = """
import os
import pathlib
import threading
import time
import weakref

began = []
_live = weakref.WeakSet()


class Thing:
    def __init__(self, n=0):
        self.n = n
        _live.add(self)


def live():
    return len(_live)


def same(x):
    return x


def note(x):
    began.append(x)
    return x


def apply(fn, *args):
    return fn(*args)


def die_once(path):
    if not pathlib.Path(path).exists():
        pathlib.Path(path).touch()
        os._exit(1)
    return True


def wait_at(gate, value=None):
    pathlib.Path(gate).read_bytes()
    return value


def spin(gate):
    \"\"\"Run until stopped, in Python code that sees an interrupt at once.\"\"\"
    pathlib.Path(gate).read_bytes()
    while True:
        time.sleep(0.01)


def stubborn(gate, seconds):
    \"\"\"Do not stop for a while, whatever comes.\"\"\"
    pathlib.Path(gate).read_bytes()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            pass
"""


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "future_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("future_things", None)


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


def run(name):
    return f"future_things.{name}"


async def gathered(bridge, path, values):
    return await asyncio.gather(*[bridge.acall(path, value) for value in values])


def kinds(outcomes):
    return [type(x).__name__ for x in outcomes]


def in_flight(bridge):
    return bridge._remote.incarnation.connection.in_flight


# ---------------------------------------------------------------- what they give
def test_a_future_gives_what_the_call_gives(bridge):
    made = bridge.submit("math.sqrt", 4)
    assert isinstance(made, cf.Future)
    assert made.result(DEADLINE) == 2.0
    assert (made.done(), made.running(), made.cancelled(), made.cancel()) == (
        True, False, False, False,
    )  # fmt: skip
    counter = bridge.submit("collections.Counter", "abca").result(DEADLINE)
    assert isinstance(counter, Ref)
    assert counter["a"] == 2
    assert bridge.options(fetch=True).submit("collections.Counter", "aa").result(DEADLINE)["a"] == 2
    with bridge.options(fetch=False):
        made = bridge.submit("math.sqrt", 4)
    assert bridge.fetch(made.result(DEADLINE)) == 2.0


def test_an_awaited_call_gives_what_the_call_gives(bridge):
    async def main():
        counter = await bridge.acall("collections.Counter", "abca")
        copy = await bridge.options(fetch=True).acall("collections.Counter", "aa")
        return await bridge.acall("math.sqrt", 4), counter["a"], copy["a"]

    assert asyncio.run(main()) == (2.0, 2, 2)


@pytest.mark.parametrize("how", ["submit", "acall"])
def test_an_error_of_the_call_is_raised_by_its_type(bridge, how):
    def outcome(path, *args):
        if how == "submit":
            return bridge.submit(path, *args).exception(DEADLINE)
        with pytest.raises(BaseException) as found:  # noqa: PT011
            asyncio.run(gathered(bridge, path, args))
        return found.value

    assert kinds([outcome("math.sqrt", -1), outcome("len", 5), outcome("sys.exit", 3)]) == [
        "ValueError", "TypeError", "RemoteError",
    ]  # fmt: skip
    ended = outcome("next", bridge.call("iter", []))
    assert type(ended).__name__ == ("StopIteration" if how == "submit" else "RuntimeError")


@pytest.mark.parametrize("how", ["submit", "acall"])
def test_what_cannot_be_sent_is_refused_where_it_is_made(bridge, how):
    def made(path, *args):
        if how == "submit":
            bridge.submit(path, *args)
        else:
            asyncio.run(gathered(bridge, path, args))

    with bridge.session("walled"):
        walled = bridge.new(run("Thing"))
    with pytest.raises(BridgeUsageError):
        made("no path", 1)
    with pytest.raises(EncodeError):
        made("len", threading.Lock())
    with pytest.raises(SessionMismatchError):
        made(run("same"), walled)
    bridge.release("walled")
    with pytest.raises(RefNotFoundError):
        made(run("same"), walled)
    assert in_flight(bridge) == 0


def test_calls_run_in_the_order_in_which_they_were_made(local):
    made = [local.submit(run("note"), i) for i in range(50)]
    cf.wait(made, DEADLINE)
    assert local.call("list", local.attr(run("began"))) == list(range(50))


def test_a_thousand_futures_at_once(bridge):
    made = [bridge.submit(run("same"), i) for i in range(1_000)]
    assert [future.result(DEADLINE) for future in made] == list(range(1_000))
    assert in_flight(bridge) == 0


def test_a_thousand_awaited_calls_at_once(bridge):
    assert asyncio.run(gathered(bridge, run("same"), range(1_000))) == list(range(1_000))


def test_many_large_arguments_and_results_at_once(local):
    # More than fits any buffer stands in both directions.
    data = [bytes([i]) * 3_000_000 for i in range(12)]
    made = [local.submit(run("same"), one) for one in data]
    assert [future.result(DEADLINE) for future in made] == data
    assert asyncio.run(gathered(local, run("same"), data)) == data


def test_nothing_is_crossed_between_threads(bridge):
    def one(name, i, kind):
        values = [f"{name}-{i}-{j}" for j in range(4)]
        if kind == "call":
            return [bridge.call(run("same"), v) for v in values] == values
        if kind == "submit":
            made = [bridge.submit(run("same"), v) for v in values]
            return [future.result(DEADLINE) for future in made] == values
        if kind == "acall":
            return asyncio.run(gathered(bridge, run("same"), values)) == values
        if kind == "stream":
            return [*bridge.stream(run("same"), values)] == values
        with bridge.batch() as batch:
            made = [batch.call(run("same"), v) for v in values]
        return [future.result(0) for future in made] == values

    def caller(name):
        rng = random.Random(name)
        picked = rng.choices(["call", "submit", "acall", "batch", "stream"], k=65)
        return [kind for i, kind in enumerate(picked) if not one(name, i, kind)]

    callers = [InThread(caller, name) for name in range(8)]
    assert [one.result() for one in callers] == [[]] * 8


# ---------------------------------------------------------------- as futures are used
def test_the_tools_for_futures_work(bridge):
    made = [bridge.submit(run("same"), i) for i in range(20)]
    assert len(cf.wait(made, DEADLINE).done) == 20
    assert sorted(f.result() for f in cf.as_completed(made, DEADLINE)) == list(range(20))
    first = bridge.submit(run("same"), 1)
    assert cf.wait([first], DEADLINE, cf.FIRST_COMPLETED).done == {first}

    async def wrapped():
        return await asyncio.wrap_future(bridge.submit("math.sqrt", 4))

    assert asyncio.run(wrapped()) == 2.0


def test_a_future_that_is_not_done_times_out_and_goes_on(local, gate):
    made = local.submit(run("wait_at"), gate.path, 7)
    gate.reached()
    assert (made.done(), made.running()) == (False, True)
    for wait in (made.result, made.exception):
        with pytest.raises(cf.TimeoutError):
            wait(0.01)
    gate.open()
    assert made.result(DEADLINE) == 7


def test_done_callbacks_run_once_outside_the_bridges_thread_and_may_use_it(bridge, gate):
    ran = []

    def done(future):
        thread = threading.current_thread().name
        ran.append((future is made, thread, bridge.call("math.sqrt", 4)))

    made = bridge.submit(run("wait_at"), gate.path)
    made.add_done_callback(done)
    made.add_done_callback(lambda future: 1 / 0)  # which is logged, and harms nothing
    made.add_done_callback(done)
    gate.reached().open()
    eventually(lambda: len(ran) == 2, "the callbacks")
    made.add_done_callback(done)
    assert len(ran) == 3, "it has ended: at once"
    assert {entry[0] for entry in ran} == {True}
    assert {entry[2] for entry in ran} == {2.0}
    assert "bridge-housekeeper" not in {entry[1] for entry in ran}
    eventually(lambda: not [t for t in threading.enumerate() if "callback" in t.name], "the end")


def test_a_future_is_waited_for_by_many_threads(bridge, gate):
    made = bridge.submit(run("wait_at"), gate.path, 7)
    waiting = [InThread(made.result, DEADLINE) for _ in range(5)]
    gate.reached().open()
    assert [one.result() for one in waiting] == [7] * 5


def test_the_bridges_thread_sleeps_while_a_future_waits(local, gate):
    made = local.submit(run("wait_at"), gate.path, 7)
    gate.reached()
    before = time.process_time()
    with pytest.raises(cf.TimeoutError):
        made.result(0.5)
    assert time.process_time() - before < 0.1
    gate.open()
    assert made.result(DEADLINE) == 7


# ---------------------------------------------------------------- sessions
def test_a_future_belongs_to_the_session_that_resolves_where_it_is_made(bridge, gate):
    def of(future):
        return bridge.info(future.result(DEADLINE)).session_id

    with bridge.session("a"):
        made = [bridge.submit(run("Thing")) for _ in range(2)]
        bound = bridge.options(session="b").submit(run("Thing"))
    auto = bridge.submit(run("Thing"))
    assert [of(future) for future in made] == ["a", "a"]
    assert of(bound) == "b"
    assert of(auto) == bridge.current_session()

    async def main():
        with bridge.session("c"):
            task = asyncio.create_task(bridge.acall(run("Thing")))
        return await task, await bridge.options(session="d").acall(run("Thing"))

    assert [bridge.info(ref).session_id for ref in asyncio.run(main())] == ["c", "d"]


def test_arguments_are_held_until_the_call_has_run(bridge, gate):
    argument = bridge.put([1, 2, 3])
    first = bridge.submit(run("wait_at"), gate.path)
    made = bridge.submit("len", argument)
    del first, argument
    gc.collect()
    gate.reached().open()
    assert made.result(DEADLINE) == 3

    async def main():
        return await bridge.acall("len", bridge.put([1, 2]))

    assert asyncio.run(main()) == 2


def test_a_result_of_a_session_that_has_ended_says_so(local, gate):
    with local.session("short"):
        plain = local.submit(run("wait_at"), gate.path, 7)
        made = local.submit(run("Thing"))
    gate.reached()
    releasing = InThread(local.release, "short")
    eventually(lambda: not any(s.id == "short" for s in local.sessions()), "the release")
    gate.open()
    assert plain.result(DEADLINE) == 7
    # It has not begun: it runs in the session of that name made anew, or says that it ended.
    outcome = made.exception(DEADLINE)
    assert outcome is None or outcome.reason == "session released"
    releasing.result()


def test_a_future_holds_no_session_once_it_is_done(bridge):
    def caller():
        return bridge.submit("math.sqrt", 4)

    made = InThread(caller).result()
    assert made.result(DEADLINE) == 2.0
    eventually(lambda: gc.collect() or not bridge.sessions(), "the end of the thread's session")


# ---------------------------------------------------------------- cancelling
def test_cancelling_stops_the_call_and_keeps_everything_else(local, gate):
    ref = local.put([1])
    made = local.submit(run("spin"), gate.path)
    queued = local.submit("math.sqrt", 4)
    gate.reached().open()
    assert made.cancel()
    assert made.cancelled()
    assert made.cancel(), "again, as futures do"
    with pytest.raises(cf.CancelledError):
        made.result(0)
    assert queued.result(DEADLINE) == 2.0
    assert local.call("len", ref) == 1
    assert in_flight(local) == 0


def test_what_is_cancelled_before_it_begins_never_runs(local, gate):
    first = local.submit(run("wait_at"), gate.path)
    gate.reached()
    made = [local.submit(run("note"), i) for i in range(10)]
    assert [future.cancel() for future in made[::2]] == [True] * 5
    gate.open()
    assert [future.result(DEADLINE) for future in made[1::2]] == [1, 3, 5, 7, 9]
    first.result(DEADLINE)
    assert local.call("list", local.attr(run("began"))) == [1, 3, 5, 7, 9]


def test_cancelling_all_sorts_of_moments_crosses_nothing(local):
    rng = random.Random(4)
    for _ in range(60):
        made = [local.submit(run("same"), i) for i in range(rng.randrange(1, 8))]
        chosen = rng.choice(made)
        if rng.random() < 0.5:
            with contextlib.suppress(cf.TimeoutError, cf.CancelledError):
                rng.choice(made).result(rng.random() * 0.002)
        cancelled = chosen.cancel()
        for i, future in enumerate(made):
            if future is chosen and cancelled:
                assert future.cancelled()
            else:
                assert future.result(DEADLINE) == i
        assert local.call(run("same"), "next") == "next"
    eventually(lambda: in_flight(local) == 0, "the replies of what was cancelled")


def test_refs_of_a_cancelled_call_are_given_back(local):
    for _ in range(30):
        made = local.submit(run("Thing"))
        made.cancel()
    del made
    gc.collect()
    eventually(lambda: not local.refs(), "the release")
    assert local.call(run("live")) == 0


def test_arguments_of_a_cancelled_call_are_let_go(local, gate):
    argument = local.put([1])
    made = local.submit(run("spin"), gate.path)
    queued = local.submit("len", argument)
    gate.reached().open()
    assert queued.cancel()
    made.cancel()
    del argument
    gc.collect()
    eventually(lambda: not local.refs(), "the release", 2.0)
    assert queued.cancelled()


def test_cancelling_a_task_stops_the_call(local, gate):
    async def main():
        task = asyncio.create_task(local.acall(run("spin"), gate.path))
        await asyncio.to_thread(gate.reached)
        gate.open()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await local.acall("math.sqrt", 4)

    assert asyncio.run(main()) == 2.0
    assert in_flight(local) == 0


def test_a_timeout_of_asyncio_stops_the_call(local, gate):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(local.acall(run("wait_at"), gate.path), 0.1)
        return await asyncio.wait_for(local.acall("math.sqrt", 4), DEADLINE)

    assert asyncio.run(main()) == 2.0


def test_one_that_fails_among_many_leaves_the_others(local):
    async def main():
        return await asyncio.gather(
            *[local.acall("math.sqrt", n) for n in (4, -1, 9)], return_exceptions=True
        )

    first, second, third = asyncio.run(main())
    assert (first, third) == (2.0, 3.0)
    assert isinstance(second, ValueError)


def test_in_memory_a_cancelled_future_is_cancelled_though_its_call_runs_on(memory, gate):
    made = memory.submit(run("wait_at"), gate.path)
    gate.reached()
    assert made.cancel()
    with pytest.raises(cf.CancelledError):
        made.result(0)
    gate.open()
    eventually(lambda: in_flight(memory) == 0, "the end of the call")
    assert memory.call("math.sqrt", 4) == 2.0


# ---------------------------------------------------------------- interrupts and timeouts
def test_an_interrupt_while_a_future_is_waited_for_leaves_it_running(local, gate):
    made = local.submit(run("wait_at"), gate.path, 7)
    gate.reached()
    stopper = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        made.result(DEADLINE)
    stopper.join()
    assert not made.done()
    gate.open()
    assert made.result(DEADLINE) == 7


def test_interrupting_the_bridge_stops_the_call_of_a_future(local, gate):
    made = local.submit(run("spin"), gate.path)
    queued = local.submit("math.sqrt", 4)
    gate.reached().open()
    assert local.interrupt()
    assert isinstance(made.exception(DEADLINE), KeyboardInterrupt)
    assert queued.result(DEADLINE) == 2.0


def test_an_interrupt_stops_an_awaited_call(local, gate):
    def stop():
        gate.reached().open()
        os.kill(os.getpid(), signal.SIGINT)

    stopper = InThread(stop)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(gathered(local, run("spin"), [gate.path]))
    stopper.result()
    assert local.call("math.sqrt", 4) == 2.0
    assert in_flight(local) == 0


@pytest.mark.parametrize("how", ["submit", "acall", "block"])
def test_a_timeout_stops_the_call(local, gate, how):
    bound = local.options(timeout=0.2)
    if how == "acall":
        with pytest.raises(CallTimeoutError) as found:
            asyncio.run(gathered(bound, run("wait_at"), [gate.path]))
        error = found.value
    elif how == "submit":
        error = bound.submit(run("wait_at"), gate.path).exception(DEADLINE)
    else:
        with bound:
            made = local.submit(run("wait_at"), gate.path)
        error = made.exception(DEADLINE)
    assert isinstance(error, CallTimeoutError)
    assert (error.timeout, error.stopped) == (0.2, True)
    assert local.call("math.sqrt", 4) == 2.0


def test_a_call_that_does_not_stop_makes_the_worker_busy(local, gate, monkeypatch):
    monkeypatch.setattr(stopping, "GRACE", 0.2)
    made = local.options(timeout=0.2).submit(run("stubborn"), gate.path, 1.5)
    gate.reached().open()
    error = made.exception(DEADLINE)
    assert isinstance(error, CallTimeoutError)
    assert not error.stopped
    with pytest.raises(WorkerBusyError):
        local.submit("math.sqrt", 4)
    with pytest.raises(WorkerBusyError):
        asyncio.run(gathered(local, "math.sqrt", [4]))
    eventually(lambda: in_flight(local) == 0, "the end of the call")
    assert local.submit("math.sqrt", 4).result(DEADLINE) == 2.0


# ---------------------------------------------------------------- ends
@pytest.mark.parametrize("how", ["killed", "exits", "restart"])
def test_a_worker_that_dies_is_told_to_every_future(local, gate, how):
    argument = local.put([1])
    first = local.submit("os._exit", 3) if how == "exits" else local.submit(
        run("wait_at"), gate.path
    )  # fmt: skip
    made = [local.submit("math.sqrt", 4), local.submit("len", argument)]
    if how == "killed":
        os.kill(local.status().pid, signal.SIGKILL)
    elif how == "restart":
        local.restart()
    outcomes = [future.exception(DEADLINE) for future in (first, *made)]
    assert kinds(outcomes) == ["WorkerDiedError"] * 3
    assert local.submit("math.sqrt", 4).result(DEADLINE) == 2.0
    assert in_flight(local) == 0


def test_a_worker_that_dies_is_told_to_every_awaited_call(local, gate):
    async def main():
        tasks = [asyncio.create_task(local.acall(run("wait_at"), gate.path)) for _ in range(5)]
        await asyncio.to_thread(gate.reached)
        os.kill(local.status().pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        return kinds(outcomes), await local.acall("math.sqrt", 4)

    assert asyncio.run(main()) == (["WorkerDiedError"] * 5, 2.0)


def test_a_call_that_may_run_twice_is_tried_again(local, tmp_path):
    made = local.options(idempotent=True).submit(run("die_once"), str(tmp_path / "once"))
    assert made.result(DEADLINE) is True


@pytest.mark.parametrize("backend", ["memory", "local"])
def test_closing_ends_every_future(backend, gate):
    bridge = bridge_ext.Bridge(backend)
    first = bridge.submit(run("wait_at"), gate.path)
    gate.reached()
    made = [bridge.submit("math.sqrt", 4) for _ in range(50)]
    if backend == "memory":
        gate.open()  # which cannot be stopped
    bridge.close()
    outcomes = [future.exception(DEADLINE) for future in (first, *made)]
    if backend == "memory":
        outcomes = [x for x in outcomes if x is not None]
    assert set(kinds(outcomes)) <= {"BridgeClosedError"}
    if backend == "local":
        assert len(outcomes) == 51
    for make in (bridge.submit, lambda *call: asyncio.run(gathered(bridge, call[0], call[1:]))):
        with pytest.raises(BridgeClosedError):
            make("math.sqrt", 4)


def test_closing_ends_every_awaited_call(gate):
    async def main():
        bridge = bridge_ext.Bridge()
        tasks = [asyncio.create_task(bridge.acall(run("wait_at"), gate.path)) for _ in range(5)]
        await asyncio.to_thread(gate.reached)
        await asyncio.to_thread(bridge.close)
        return kinds(await asyncio.gather(*tasks, return_exceptions=True))

    assert asyncio.run(main()) == ["BridgeClosedError"] * 5


def test_a_forked_child_has_no_futures(local, gate):
    made = local.submit(run("wait_at"), gate.path, 7)
    gate.reached()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork beside threads
        pid = os.fork()
    if not pid:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                local.submit("math.sqrt", 4)
            except BridgeClosedError:
                code = 2
            made.cancel()
            code = 0 if code == 2 else 1
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    gate.open()
    assert made.result(DEADLINE) == 7, "the child's cancel is the child's"
    assert local.call("math.sqrt", 4) == 2.0


def test_an_event_loop_that_was_closed_leaves_no_call_behind(local, gate):
    loop = asyncio.new_event_loop()

    async def main():
        for path, args in ((run("wait_at"), (gate.path,)), (run("Thing"), ())):
            asyncio.create_task(local.acall(path, *args))._log_destroy_pending = False
        await asyncio.to_thread(gate.reached)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gate.open()
    eventually(lambda: in_flight(local) == 0, "the end of the calls")
    eventually(lambda: gc.collect() or not local.refs(), "the release")
    assert local.call("math.sqrt", 4) == 2.0


def test_a_task_that_nobody_awaits_is_no_trouble(local):
    async def main():
        tasks = [asyncio.create_task(local.acall(run("same"), value)) for value in range(20)]
        await asyncio.sleep(0)
        tasks.clear()

    asyncio.run(main())  # which cancels what is left
    assert local.call("math.sqrt", 4) == 2.0
    eventually(lambda: in_flight(local) == 0, "the end of the calls")


def test_a_call_in_an_async_cell_does_not_wait_for_a_slow_one(bridge):
    async def main():
        slow = asyncio.create_task(bridge.acall("time.sleep", 0.1))
        await asyncio.sleep(0)
        fast = bridge.call("math.sqrt", 4)
        return fast, await slow

    assert asyncio.run(main()) == (2.0, None)


def test_loops_in_several_threads_await_at_once(bridge):
    def caller(name):
        values = [f"{name}-{i}" for i in range(50)]
        return asyncio.run(gathered(bridge, run("same"), values)) == values

    callers = [InThread(caller, name) for name in range(4)]
    assert [one.result() for one in callers] == [True] * 4


def test_nothing_is_left_of_futures(bridge):
    bridge.call("math.sqrt", 4)
    gc.collect()
    before = threading.active_count()

    class Marker:
        pass

    marker = Marker()
    gone = weakref.ref(marker)
    made = [bridge.submit(run("Thing")) for _ in range(20)]
    made[0].marker = marker
    for future in made:
        future.add_done_callback(lambda future, marker=marker: None)
    cf.wait(made, DEADLINE)
    made += itertools.chain(asyncio.run(gathered(bridge, run("Thing"), range(5))))
    del made, marker, future
    eventually(lambda: gc.collect() or not bridge.refs(), "the release")
    eventually(lambda: threading.active_count() <= before, "the end of the threads")
    assert gone() is None
    assert in_flight(bridge) == 0
