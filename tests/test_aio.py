"""Awaiting what is in the worker: one event loop there, none blocked here."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import gc
import signal
import sys
import threading
import time
import traceback

import pytest
from kernels import Kernel

import bridge_ext
from bridge_ext import BridgeUsageError, CallTimeoutError, EncodeError, RemoteError, StreamRef
from bridge_ext.kernel.worker import aio
from bridge_ext.kernel.worker.running import Running

THINGS = '''
import asyncio
import os

told = []


async def add(x, y=0):
    await asyncio.sleep(0)
    return x + y


async def fail(text):
    await asyncio.sleep(0)
    raise ValueError(text)


async def loop_id():
    return id(asyncio.get_running_loop())


async def start(name):
    """A task that goes on after this call."""

    async def later():
        for _ in range(3):
            await asyncio.sleep(0)
        told.append(name)
        return name

    return asyncio.get_running_loop().create_task(later())


async def meet(mine, other):
    with open(mine, "w"):
        pass
    for _ in range(4000):
        if os.path.exists(other):
            return mine
        await asyncio.sleep(0.005)
    raise TimeoutError(other)


async def count():
    try:
        for number in range(5):
            yield number
    finally:
        told.append("ended")


async def several(generator, number):
    return [await generator.__anext__() for _ in range(number)]


class Thing:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.value


async def thing():
    return Thing(1)


async def stop():
    return next(iter(()))


class Manager:
    def __init__(self, answer=None):
        self.answer, self.seen = answer, []

    async def __aenter__(self):
        await asyncio.sleep(0)
        self.seen.append("in")
        return self

    async def __aexit__(self, kind, error, traceback):
        await asyncio.sleep(0)
        self.seen.append([kind and kind.__name__, error and str(error)])
        return self.answer


async def nested(awaitable):
    from bridge_ext.kernel.worker.aio import run

    return run(awaitable)


async def leave(code):
    raise SystemExit(code)


async def hold(path):
    try:
        with open(path, "w"):
            pass
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.01)
        told.append("cleaned")


async def hold_busy(path):
    with open(path, "w"):
        pass
    while True:
        pass


async def asks(callback, x):
    await asyncio.sleep(0)
    return callback(x) + 1
'''


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "aio_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    import aio_things

    yield aio_things
    sys.path.remove(str(folder))
    sys.modules.pop("aio_things", None)


@pytest.fixture
def make(bridge):
    """Make a ref on what a function of the test's module gives."""
    return lambda name, *args: bridge.call(f"aio_things.{name}", *args)


def wait_for(awaitable):
    """Await something in an event loop of its own."""

    async def main():
        return await awaitable

    return asyncio.run(main())


# --- await ref --------------------------------------------------------------------------------


def test_a_coroutine_is_awaited_there(make):
    assert wait_for(make("add", 1, 2)) == 3


def test_an_awaitable_has_a_handle_that_is_one_and_nothing_else_has(bridge, make):
    coroutine, plain = make("loop_id"), bridge.put([1])
    assert isinstance(coroutine, collections.abc.Awaitable)
    assert not isinstance(plain, collections.abc.Awaitable)
    assert not isinstance(plain, contextlib.AbstractAsyncContextManager)
    with pytest.raises(TypeError, match="await"):
        wait_for(plain)
    wait_for(coroutine)


def test_asyncio_awaits_a_coroutine_of_the_worker_and_does_not_step_it(make):
    async def main():
        task = asyncio.ensure_future(make("add", 1, 2))
        several = await asyncio.gather(make("add", 1, 1), asyncio.shield(make("add", 2, 2)), task)
        return [*several, await asyncio.wait_for(make("add", 3, 3), 10)]

    coroutine = make("add", 0, 0)
    assert not isinstance(coroutine, collections.abc.Coroutine)
    assert asyncio.run(main()) == [2, 4, 3, 6]
    assert coroutine.send(None) is None
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_an_object_with_await_is_awaited_there(bridge):
    assert wait_for(bridge.new("aio_things.Thing", 5)) == 5


def test_what_is_awaited_is_plain_data_or_a_ref(bridge, make):
    ref = wait_for(make("thing"))
    assert bridge.info(ref).type_name == "Thing"


def test_awaiting_is_one_trip_in_the_refs_session(bridge, make):
    with bridge.session("named"):
        coroutine = make("thing")
    before = bridge.status().calls
    made = wait_for(coroutine)
    assert bridge.status().calls - before == 1
    assert bridge.info(made).session_id == "named"


def test_a_coroutine_is_awaited_once_as_anywhere(make):
    coroutine = make("add", 1, 2)
    wait_for(coroutine)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        wait_for(coroutine)


def test_the_error_of_a_coroutine_shows_the_users_frames_only(make):
    with pytest.raises(ValueError, match="text") as caught:
        wait_for(make("fail", "text"))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    if sys.version_info < (3, 11):
        names.remove("_asked")  # of our frames one stays
    assert names[names.index("main") :] == ["main", "fail [in the worker]"]


def test_stopping_is_the_error_that_a_coroutine_makes_of_it(make):
    with pytest.raises(RuntimeError, match="StopIteration"):
        wait_for(make("stop"))


def test_leaving_the_process_is_an_error_and_the_loop_goes_on(make):
    with pytest.raises(RemoteError, match="SystemExit"):
        wait_for(make("leave", 3))
    assert wait_for(make("add", 1, 2)) == 3


def test_the_event_loop_here_is_not_blocked(bridge, make, tmp_path):
    mine, other = str(tmp_path / "mine"), str(tmp_path / "other")
    here = __import__("aio_things").meet

    async def main():
        return await asyncio.gather(here(other, mine), make("meet", mine, other))

    assert asyncio.run(main()) == [other, mine]


def test_a_context_is_that_of_the_cell_or_thread(bridge, make):
    async def main():
        with bridge.session("in-force"):
            return await make("thing")

    ref = asyncio.run(main())
    assert bridge.info(ref).session_id == "in-force"


# --- One loop ---------------------------------------------------------------------------------


def test_there_is_one_loop_for_all(make):
    assert wait_for(make("loop_id")) == wait_for(make("loop_id"))


def test_a_task_goes_on_in_later_calls(bridge, make):
    bridge.call("aio_things.told.clear")
    task = wait_for(make("start", "done"))
    assert task.done() is False
    assert wait_for(task) == "done"
    assert bridge.call("list", bridge.attr("aio_things.told")) == ["done"]


def test_an_asynchronous_generator_goes_on_in_later_calls(bridge, make):
    generator = make("count")
    assert wait_for(make("several", generator, 2)) == [0, 1]
    assert wait_for(make("several", generator, 1)) == [2]


def test_an_asynchronous_iterator_is_driven_item_by_item(things):
    generator = things.count()
    assert [aio.next_item(generator), aio.run(generator.__anext__())] == [0, 1]
    assert [aio.next_item(generator) for _ in range(3)] == [2, 3, 4]
    for ended in (lambda: aio.next_item(generator), lambda: aio.run(generator.__anext__())):
        with pytest.raises(StopAsyncIteration):
            ended()


@pytest.mark.parametrize("ask", ["call", "stream"])
def test_an_asynchronous_generator_is_a_stream(bridge, ask):
    async def main(stream):
        return [item async for item in stream]

    bridge.call("aio_things.told.clear")
    generator = getattr(bridge, ask)("aio_things.count")
    assert isinstance(generator, StreamRef)
    assert asyncio.run(main(generator)) == [0, 1, 2, 3, 4]
    assert bridge.call("list", bridge.attr("aio_things.told")) == ["ended"]
    assert list(getattr(bridge, ask)("aio_things.count")) == [0, 1, 2, 3, 4]


def test_a_lock_of_one_call_is_good_in_the_next(bridge):
    lock = bridge.new("asyncio.Lock")
    assert wait_for(lock.acquire()) is True
    assert lock.locked() is True
    lock.release()


def test_a_loop_within_the_loop_is_a_usage_error(bridge, make):
    inner = make("add", 1, 2)
    with pytest.raises(BridgeUsageError, match="event loop runs"):
        wait_for(make("nested", inner))
    assert wait_for(inner) == 3


def test_a_loop_of_the_kernels_own_is_not_driven(memory):
    async def main():
        coroutine = value(5)
        with pytest.raises(BridgeUsageError, match="event loop runs"):
            aio.run(coroutine)
        return await coroutine

    assert asyncio.run(main()) == 5


def test_modules_beside_the_notebook_are_not_taken_for_those_of_the_loop(tmp_path, monkeypatch):
    (tmp_path / "concurrent.py").write_text("raise RuntimeError('taken')")
    (tmp_path / "asynchronous.py").write_text(
        "class Thing:\n    def __await__(self):\n        return iter(())"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with bridge_ext.Bridge() as bridge:
        thing = bridge.new("asynchronous.Thing")
        with pytest.raises(RuntimeError, match="taken"):
            bridge.call("concurrent.futures.Future")
        assert wait_for(thing) is None
        assert bridge.call("sys.path.index", str(tmp_path)) == 0


# --- async with -------------------------------------------------------------------------------


async def block(manager, error=None):
    async with manager as inside:
        if error is not None:
            raise error
    return inside


def test_a_block_is_entered_and_left_there(bridge):
    manager = bridge.new("aio_things.Manager")
    assert wait_for(block(manager)) is manager
    assert manager.seen == ["in", [None, None]]


@pytest.mark.parametrize("answer", [True, 1, [0]], ids=repr)
def test_a_truthy_exit_silences_the_error(bridge, answer):
    manager = bridge.new("aio_things.Manager", answer)
    assert wait_for(block(manager, KeyError("text"))) is manager
    assert manager.seen == ["in", ["KeyError", "'text'"]]


@pytest.mark.parametrize("answer", [False, None, []], ids=repr)
def test_any_other_exit_lets_it_go_on(bridge, answer):
    with pytest.raises(KeyError, match="text"):
        wait_for(block(bridge.new("aio_things.Manager", answer), KeyError("text")))


def test_an_error_that_cannot_travel_is_told_as_its_nearest_builtin_kind(bridge):
    manager = bridge.new("aio_things.Manager", True)
    wait_for(block(manager, ValueError(threading.Lock())))
    assert manager.seen[1][0] == "ValueError"


def test_an_exit_that_comes_too_late_does_not_hide_the_error(bridge):
    async def main(manager):
        async with manager:
            bridge.release(manager)
            raise KeyError("under way")

    with pytest.raises(KeyError, match="under way"):
        asyncio.run(main(bridge.new("aio_things.Manager")))


def test_an_option_does_not_reach_a_block(bridge):
    manager = bridge.new("aio_things.Manager", 1)
    for fetch in (True, False):
        before = bridge.status().calls
        with bridge.options(fetch=fetch):
            assert wait_for(block(manager, KeyError("text"))) is manager
        assert bridge.status().calls - before == 2


def test_a_lock_is_held_by_a_block(bridge):
    lock = bridge.new("asyncio.Lock")

    async def main():
        async with lock:
            return lock.locked()

    assert asyncio.run(main()) is True
    assert lock.locked() is False


def test_what_is_no_asynchronous_manager_is_none(bridge):
    with pytest.raises((TypeError, AttributeError)):
        wait_for(block(bridge.put([1])))
    with pytest.raises((TypeError, AttributeError)), bridge.new("aio_things.Manager"):
        pass


def test_an_argument_that_cannot_travel_is_no_reason_to_leave_twice():
    from bridge_ext.kernel import blocks

    failure = EncodeError("The result", "lock", "it cannot be pickled")
    with pytest.raises(EncodeError) as caught:
        blocks._stand_in(ValueError(1), failure)
    assert caught.value is failure


# --- Interrupts: the loop in this very thread -------------------------------------------------


@contextlib.contextmanager
def interrupt_at(event, after=0.0, elsewhere=False):
    """Send this process SIGINT once the event is set; `elsewhere`, another thread takes it."""

    def send():
        event.wait(10)
        threading.Event().wait(after)
        taker = threading.current_thread() if elsewhere else threading.main_thread()
        signal.pthread_kill(taker.ident, signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()


# The loops have functions of their own: raised at the jump of a `while`, an interrupt skips the
# `finally` around it in Python 3.13.0.
async def for_ever(spin):
    while True:
        await (asyncio.sleep(0) if spin else asyncio.sleep(3600))


def never_wait():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass


async def cleaned(event, done, spin):
    """Wait for ever, and take some time to end."""
    try:
        event.set()
        await for_ever(spin)
    finally:
        await asyncio.sleep(0.01)
        done.append("cleaned")


async def busy(event, done):
    try:
        event.set()
        never_wait()
    finally:
        done.append("cleaned")


async def value(x):
    await asyncio.sleep(0)
    return x


@pytest.mark.parametrize("spin", [False, True], ids=["waiting", "spinning"])
def test_an_interrupt_cancels_the_task_and_runs_it_to_its_end(spin):
    event, done = threading.Event(), []
    with interrupt_at(event), pytest.raises(KeyboardInterrupt):
        aio.run(cleaned(event, done, spin))
    assert done == ["cleaned"]
    assert aio.run(value(5)) == 5


def test_an_interrupt_that_disturbs_no_wait_still_ends_it():
    """The system gave it to another thread, or it came just before the loop began to wait."""
    event, done = threading.Event(), []
    started = time.monotonic()
    with interrupt_at(event, after=0.05, elsewhere=True), pytest.raises(KeyboardInterrupt):
        aio.run(cleaned(event, done, False))
    assert done == ["cleaned"]
    assert time.monotonic() - started < 10


def test_an_interrupt_stops_code_that_never_waits():
    event, done = threading.Event(), []
    started = time.monotonic()
    with interrupt_at(event), pytest.raises(KeyboardInterrupt):
        aio.run(busy(event, done))
    assert done == ["cleaned"]
    assert time.monotonic() - started < 10
    assert aio.run(value(5)) == 5


@pytest.mark.parametrize("spin", [False, True], ids=["waiting", "spinning"])
def test_no_interrupt_is_lost_and_none_loses_a_step(spin):
    """Wherever it falls: just before the loop waits, or between two steps."""

    async def go_on(event, done):
        try:
            event.set()
            await for_ever(spin)
        finally:
            await asyncio.sleep(0)
            done.append("cleaned")

    for number in range(500):
        event, done = threading.Event(), []
        with interrupt_at(event, number % 100 * 1e-5), pytest.raises(KeyboardInterrupt):
            aio.run(go_on(event, done))
        assert done == ["cleaned"]


def test_an_interrupt_that_another_task_takes_ends_this_one_too(caplog):
    event, done = threading.Event(), []

    async def main():
        other = asyncio.get_running_loop().create_task(busy(event, []))
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            done.append(type(other.exception()))
            raise ValueError("at its end")

    with interrupt_at(event), pytest.raises(KeyboardInterrupt):
        aio.run(main())
    assert done == [KeyboardInterrupt]
    gc.collect()
    assert caplog.records == []  # the interrupt has told of it, and asyncio need not


def test_an_interrupt_leaves_other_tasks_as_they_were():
    event, done = threading.Event(), []

    async def start():
        return asyncio.get_running_loop().create_task(cleaned(threading.Event(), done, True))

    other = aio.run(start())
    with interrupt_at(event), pytest.raises(KeyboardInterrupt):
        aio.run(cleaned(event, [], False))
    assert not other.done()
    aio.close()
    assert done == ["cleaned"]


def test_a_task_that_does_not_mind_being_cancelled_is_interrupted_all_the_same():
    event = threading.Event()

    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            event.set()
            await asyncio.sleep(3600)
        return "stayed"

    with interrupt_at(event), pytest.raises(KeyboardInterrupt):
        aio.run(stubborn())


def test_the_handler_that_was_there_decides_and_stays():
    """A worker's own handler raises for the call that is cancelled, and for no other."""
    event, seen = threading.Event(), []

    def ours(signum, frame):
        seen.append(signum)

    async def main():
        event.set()
        while not seen:
            await asyncio.sleep(0)
        return "went on"

    previous = signal.signal(signal.SIGINT, ours)
    try:
        with interrupt_at(event):
            assert aio.run(main()) == "went on"
        assert signal.getsignal(signal.SIGINT) is ours
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_call_within_leaves_the_handler_of_the_loop_in_place():
    running, before = Running(), signal.getsignal(signal.SIGINT)

    async def main():
        found = signal.getsignal(signal.SIGINT)
        running.take_signal()
        return found, signal.getsignal(signal.SIGINT)

    try:
        running.take_signal()
        own = signal.getsignal(signal.SIGINT)
        found, left = aio.run(main())
        assert found is left
        assert found is not own
        assert signal.getsignal(signal.SIGINT) is own
        signal.signal(signal.SIGINT, before)
        running.take_signal()
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_and_its_context_are_left_as_they_are():
    async def fail():
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904

    with pytest.raises(ValueError, match="second") as caught:
        aio.run(fail())
    assert isinstance(caught.value.__context__, KeyError)
    assert not caught.value.__suppress_context__


# --- The end of the loop ----------------------------------------------------------------------


def test_the_end_cancels_tasks_and_ends_generators(things):
    things.told.clear()
    aio.run(things.start("never"))
    generator = things.count()
    assert aio.next_item(generator) == 0
    aio.close()
    assert things.told == ["ended"]
    assert aio.run(value(5)) == 5


def test_a_task_that_does_not_end_holds_up_nothing(monkeypatch):
    async def stubborn():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def start():
        return asyncio.get_running_loop().create_task(stubborn())

    monkeypatch.setattr(aio, "_GRACE", 0.01)
    task = aio.run(start())
    aio.close()
    assert not task.done()
    task._log_destroy_pending = False


LEAVING = """
import asyncio


async def count(path):
    try:
        for number in range(9):
            yield number
    finally:
        await asyncio.sleep(0)
        open(path, "w").close()


async def first(generator):
    return await generator.__anext__()
"""


@pytest.fixture(params=["awaited", "iterated"])
def begun(request, local, tmp_path):
    """A ref on an open generator whose end takes a wait, and the file that it makes then."""
    (tmp_path / "leaving.py").write_text(LEAVING)
    local.call("sys.path.append", str(tmp_path))
    ended = tmp_path / "ended"
    generator = local.call("leaving.count", str(ended))
    if request.param == "awaited":
        assert wait_for(local.call("leaving.first", generator)) == 0
    else:
        assert next(generator) == 0
    assert not ended.exists()
    return generator, ended


def test_a_worker_ends_its_generators_when_it_ends(local, begun):
    local.close()
    assert begun[1].exists()


def test_a_generator_that_is_freed_is_ended_while_the_loop_runs_again(local, begun):
    ended = begun[1]
    local.release(begun[0])
    wait_for(local.call("asyncio.sleep", 0.05))
    assert ended.exists()


# --- Calls that are stopped -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hold", "hold_busy"])
def test_a_call_that_is_given_up_here_is_stopped_there(local, tmp_path, eventually, name):
    started, pid, kept = tmp_path / "started", local.call("os.getpid"), local.put([1])

    async def main():
        task = asyncio.ensure_future(local.call(f"aio_things.{name}", str(started)))
        while not started.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    if name == "hold":
        eventually(lambda: local.call("list", local.attr("aio_things.told")) == ["cleaned"])
    assert wait_for(local.call("aio_things.add", 1, 2)) == 3
    assert (local.call("os.getpid"), kept[0]) == (pid, 1)


@pytest.mark.parametrize("name", ["hold", "hold_busy"])
def test_a_timeout_stops_what_is_awaited(local, tmp_path, name):
    coroutine = local.call(f"aio_things.{name}", str(tmp_path / "started"))
    with local.options(timeout=0.3), pytest.raises(CallTimeoutError) as caught:
        wait_for(coroutine)
    assert caught.value.stopped
    assert wait_for(local.call("aio_things.add", 1, 2)) == 3


def test_what_is_awaited_may_ask_here(bridge):
    twice = bridge.callback(lambda x: bridge.call("operator.mul", x, 2))
    assert wait_for(bridge.call("aio_things.asks", twice, 5)) == 11


def test_an_interrupt_after_a_question_still_stops_what_is_awaited(local, tmp_path):
    started = tmp_path / "started"

    def question(x):
        local.call("math.sqrt", x)
        return 0

    local.register_helper(_ask_and_hold, "ask_and_hold")
    coroutine = local.helper("ask_and_hold", local.callback(question), str(started))
    with local.options(timeout=0.5), pytest.raises(CallTimeoutError) as caught:
        wait_for(coroutine)
    assert caught.value.stopped
    assert wait_for(local.call("aio_things.add", 1, 2)) == 3


async def _ask_and_hold(callback, path):
    callback(4)
    while True:
        await asyncio.sleep(0)


# --- In a notebook ----------------------------------------------------------------------------

CELL_THINGS = """
import asyncio


class Held:
    async def __aenter__(self):
        print("entered")
        return self

    async def __aexit__(self, *error):
        print("left")
        return True


async def made():
    print("running")
    await asyncio.sleep(0)
    return Held()
"""


def test_a_cell_awaits_what_is_there(tmp_path):
    (tmp_path / "cell_things.py").write_text(CELL_THINGS)
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext bridge_ext")
        kernel.run("%%session mine\ncoroutine = bridge.call('cell_things.made')")
        cell = kernel.run("held = await coroutine\nbridge.info(held).session_id")
        assert (cell.stdout, cell.result["text/plain"]) == ("running\n", "'mine'")
        cell = kernel.run("async with held as x:\n    raise KeyError\nx is held")
        assert (cell.stdout, cell.result["text/plain"]) == ("entered\nleft\n", "True")
        cell = kernel.fail("await bridge.put([1])")
        assert "await" in cell.traceback
    finally:
        kernel.close()
