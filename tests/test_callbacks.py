"""Callbacks: functions of this process that code in the worker calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import gc
import inspect
import os
import signal
import sys
import threading
import weakref
from concurrent.futures import CancelledError
from functools import partial

import pytest
from conftest import DEADLINE, eventually
from test_backends import Gate, InThread

import bridge_ext
from bridge_ext import (
    BridgeClosedError,
    BridgeError,
    BridgeUsageError,
    CallTimeoutError,
    EncodeError,
    Ref,
    RefNotFoundError,
    SessionMismatchError,
    WorkerDiedError,
)
from bridge_ext.kernel import incarnation

THINGS = '''
import pathlib
import queue
import threading


class Thing:
    def __init__(self, n=0):
        self.n = n


def apply(fn, *args, **kwargs):
    return fn(*args, **kwargs)


def both(first, second):
    return [first(), second()]


def same(x):
    return x


def many(fn, count):
    return [fn(i) for i in range(count)]


def give_thing(fn, n):
    return fn(Thing(n))


def number_of(fn):
    return fn().n


def length_of(fn, size):
    return len(fn(b"x" * size))


def caught(fn, *args):
    """What came out of it."""
    try:
        return ["returned", fn(*args)]
    except BaseException as error:
        return [type(error).__name__, str(error)]


def caught_as(fn, kind):
    try:
        fn()
    except kind as error:
        return error.args
    except BaseException as error:
        return f"not {kind.__name__} but {error!r}"


def then_another(fn):
    try:
        fn()
    except Exception as error:
        raise KeyError("another") from error


class Keeper:
    """Keeps what it catches."""

    def catch(self, fn):
        try:
            fn()
        except Exception as error:
            self.error = error

    def throw(self):
        raise self.error


def in_threads(count, fn, *args):
    """What each of some threads got, while this one waits for them."""
    got = [None] * count

    def run(i):
        try:
            got[i] = fn(*args)
        except BaseException as error:
            got[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in got:
        if isinstance(one, BaseException):
            raise one
    return got


class Trainer:
    def __init__(self, on_step):
        self.on_step = on_step

    def fit(self, count):
        return [self.on_step(i) for i in range(count)]


class Later:
    """Calls back from a thread, once it is let go."""

    def __init__(self, fn, gate=None):
        self._fn, self._gate = fn, gate
        self._out = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            if self._gate is not None:
                pathlib.Path(self._gate).read_bytes()
            self._out.put(["returned", self._fn()])
        except BaseException as error:
            self._out.put([type(error).__name__, str(error)])

    def ended(self):
        return not self._thread.is_alive()

    def got(self):
        return self._out.get(timeout=20)


def wait_at(gate, fn):
    """Wait, then call back."""
    pathlib.Path(gate).read_bytes()
    return fn()


def note(path, fn):
    outcome = caught(fn)
    pathlib.Path(path).write_text(repr(outcome))


def call_and_wait(fn, gate):
    fn()
    pathlib.Path(gate).read_bytes()
'''


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "callback_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("callback_things", None)


@pytest.fixture(params=["memory", "local"], scope="module")
def shared(request, things):
    with bridge_ext.Bridge(request.param) as made:
        made.call("math.sqrt", 4)
        yield made


@pytest.fixture
def bridge(shared):
    """A bridge on each backend, which the tests that leave nothing behind share."""
    yield shared
    gc.collect()
    shared.release_all()


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


def run(name):
    return f"callback_things.{name}"


async def _awaited(bridge, path, *args):
    return await bridge.acall(path, *args)


def _batched(bridge, path, *args):
    with bridge.batch() as batch:
        made = batch.call(path, *args)
    return made.result(0)


OUTER = {
    "call": lambda bridge, path, *args: bridge.call(path, *args),
    "submit": lambda bridge, path, *args: bridge.submit(path, *args).result(DEADLINE),
    "acall": lambda bridge, path, *args: asyncio.run(_awaited(bridge, path, *args)),
    "batch": _batched,
}
"""Ways to make a call, and wait for what it gives."""


@pytest.fixture(params=OUTER.values(), ids=OUTER)
def outer(request):
    return request.param


# ---------------------------------------------------------------- arguments and results
def test_positional_and_keyword_arguments_arrive(bridge, outer):
    def fn(a, b=2, *rest, **named):
        return [a, b, list(rest), named]

    assert outer(bridge, run("apply"), bridge.callback(fn), 1) == [1, 2, [], {}]
    made = partial(bridge.call, run("apply"), bridge.callback(fn))
    assert made(1, 2, 3, x=5, fn_=None) == [1, 2, [3], {"x": 5, "fn_": None}]


def test_values_travel_both_ways_as_they_are(bridge, outer):
    seen = []

    def fn(x):
        seen.append(x)
        return x

    values = [None, 2**70, "\ud800", {1: (2, {3})}, b"x" * 100, float("inf")]
    for value in values:
        assert outer(bridge, run("apply"), bridge.callback(fn), value) == value
    assert seen == values


def test_huge_arguments_and_results(bridge, outer):
    assert outer(bridge, run("length_of"), bridge.callback(lambda x: x), 20_000_000) == 20_000_000


def test_an_object_arrives_as_a_ref_of_the_callbacks_session(bridge, outer):
    kept = []

    def fn(thing):
        kept.append(thing)
        return [type(thing).__name__, bridge.info(thing).session_id, thing.n]

    with bridge.session("named"):
        got = outer(bridge, run("give_thing"), bridge.callback(fn), 7)
    assert got == ["Ref", "named", 7]
    assert kept[0].n == 7, "it lives on with its handle"


def test_a_ref_as_a_result_is_its_object_there(bridge, outer):
    give = bridge.callback(lambda: bridge.new(run("Thing"), 9))
    assert outer(bridge, run("number_of"), give) == 9


def test_an_object_of_this_process_as_a_result_is_copied(bridge):
    class Local:
        n = 4

    assert bridge.call(run("number_of"), bridge.callback(Local)) == 4


def test_a_result_that_cannot_travel_is_an_error_there_and_here(bridge, outer):
    give = bridge.callback(threading.Lock)
    assert outer(bridge, run("caught"), give)[0] == "EncodeError"
    with pytest.raises(EncodeError, match="lock"):
        outer(bridge, run("apply"), give)


def test_a_callback_as_a_result_can_be_called_there(bridge):
    give = bridge.callback(lambda: bridge.callback(lambda: 8))
    got = bridge.call(run("apply"), give)
    assert isinstance(got, Ref)
    assert bridge.call(run("apply"), got) == 8
    assert got() == 8


@pytest.mark.parametrize("where", ["list", "dict", "partial", "closure", "put"])
def test_a_callback_may_stand_within_an_argument(bridge, where):
    made = bridge.callback(len)
    if where == "list":
        assert bridge.call("map", bridge.call("operator.itemgetter", 0)([made]), [[1, 2]])
    elif where == "dict":
        assert bridge.call(run("apply"), lambda d: d["f"]("abc"), {"f": made}) == 3
    elif where == "partial":
        assert bridge.call(run("apply"), partial(lambda f, x: f(x), made), "abc") == 3
    elif where == "closure":
        assert bridge.call(run("apply"), lambda x: made(x), "abc") == 3
    else:
        assert bridge.put(made)("abc") == 3


def test_a_stream_as_an_argument_is_iterated_here(bridge, outer):
    total = bridge.callback(lambda stream: sum(stream))
    assert outer(bridge, run("apply"), total, bridge.call("iter", [1, 2, 3])) == 6


def test_a_callback_is_what_it_says(bridge):
    made = bridge.callback(len)
    assert made("abc") == 3
    assert "len" in repr(made)
    with pytest.raises(BridgeUsageError, match="callback"):
        bridge.callback(5)


def test_a_coroutine_function_says_what_to_do(bridge, outer):
    async def fn():
        return 1

    with pytest.raises(BridgeUsageError, match="plain function"):
        outer(bridge, run("apply"), bridge.callback(fn))


@pytest.mark.parametrize("fetch", [True, False])
def test_options_of_the_call_are_not_those_of_its_callbacks(bridge, fetch):
    kinds = []

    def fn(thing):
        kinds.append(type(thing).__name__)
        return bridge.call("math.sqrt", 4)

    with_options = bridge.options(fetch=fetch)
    value = with_options.call(run("give_thing"), bridge.callback(fn), 1)
    assert kinds == ["Ref"], "an object is never copied unasked"
    assert (value if fetch else bridge.fetch(value)) == 2.0


# ---------------------------------------------------------------- exceptions
class Plain(Exception):
    pass


class WantsMore(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class WantsAName(Exception):
    def __init__(self, *, name):
        self.name = name


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class NoPickle(Exception):
    def __reduce__(self):
        raise RuntimeError("not me")


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class NoException(BaseException):
    pass


def _with(error, **attributes):
    error.__dict__.update(attributes)
    return error


ERRORS = {
    "ValueError": ValueError("x"),
    "OSError": OSError(2, "no such file", "f"),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"a", 0, 1, "why"),
    "SystemExit": SystemExit(3),
    "StopIteration": StopIteration(4),
    "StopAsyncIteration": StopAsyncIteration(),
    "GeneratorExit": GeneratorExit(),
    "CancelledError": asyncio.CancelledError(),
    "a class of the user's": Plain("x"),
    "no Exception": NoException("x"),
    "one that cannot be made again": WantsMore(1, 2),
    "one that is made by keyword": WantsAName(name=1),
    "frozen": Frozen(3),
    "no pickle": NoPickle("x"),
    "no text": NoText(),
    "holds a lock": _with(Plain("x"), lock=threading.Lock()),
    "holds much": _with(Plain("x"), data=b"x" * 3_000_000),
    "of the bridge": BridgeUsageError("x"),
    "not found": RefNotFoundError("x", "expired"),
}


@pytest.mark.parametrize("how", ["call", "batch", "submit"])
def test_an_exception_that_nothing_catches_comes_out_as_itself(bridge, how):
    def fn(error):
        raise error

    for name, error in ERRORS.items():
        with pytest.raises(type(error)) as found:
            OUTER[how](bridge, run("apply"), bridge.callback(partial(fn, error)))
        assert found.value is error, name


def test_an_exception_comes_out_of_an_awaited_call_as_itself(bridge):
    mine = WantsMore(1, 2)

    def fn():
        raise mine

    with pytest.raises(WantsMore) as found:
        asyncio.run(_awaited(bridge, run("apply"), bridge.callback(fn)))
    assert found.value is mine


def test_an_exception_comes_out_of_threads_and_nested_calls_as_itself(bridge, outer):
    mine = WantsMore(1, 2)

    def fn():
        raise mine

    def nested():
        bridge.call(run("in_threads"), 1, bridge.callback(fn))

    with pytest.raises(WantsMore) as found:
        outer(bridge, run("in_threads"), 2, bridge.callback(nested))
    assert found.value is mine


def test_an_exception_is_caught_there_by_its_type(bridge, outer):
    class Mine(Exception):
        pass

    def fn(error):
        raise error

    for error in (ValueError("x"), Mine("y"), KeyError("z")):
        made = bridge.callback(partial(fn, error))
        assert tuple(outer(bridge, run("caught_as"), made, type(error))) == error.args


def test_one_that_cannot_travel_is_caught_by_its_name(bridge):
    def fn():
        raise WantsMore("this text", 2)

    kind, text = bridge.call(run("caught"), bridge.callback(fn))
    assert kind == "RemoteError"
    assert "WantsMore" in text
    assert "this text" in text


def test_one_that_was_caught_there_is_gone(bridge, outer):
    def fn():
        raise ValueError("x")

    assert outer(bridge, run("caught"), bridge.callback(fn)) == ["ValueError", "x"]


def test_another_raised_for_it_is_that_other(bridge, outer):
    def fn():
        raise ValueError("x")

    with pytest.raises(KeyError, match="another"):
        outer(bridge, run("then_another"), bridge.callback(fn))


def test_one_that_was_kept_there_is_raised_later_by_its_type(bridge):
    def fn():
        raise ValueError("x")

    keeper = bridge.new(run("Keeper"))
    keeper.catch(bridge.callback(fn))
    with pytest.raises(ValueError, match="x"):
        keeper.throw()


def test_an_exception_of_the_worker_is_caught_in_a_callback_by_its_type(bridge, outer):
    def fn():
        with pytest.raises(ValueError, match="math domain"):
            bridge.call("math.sqrt", -1)
        return "caught"

    assert outer(bridge, run("apply"), bridge.callback(fn)) == "caught"


def test_a_stop_iteration_ends_the_iteration_that_asked(bridge):
    def fn(x):
        if x == 3:
            raise StopIteration
        return x

    assert list(bridge.call("map", bridge.callback(fn), [1, 2, 3, 4])) == [1, 2]


# ---------------------------------------------------------------- where it runs
def test_it_runs_in_the_thread_that_waits(bridge):
    here = threading.get_ident()
    for how in ("call", "batch"):
        assert OUTER[how](bridge, run("apply"), bridge.callback(threading.get_ident)) == here


def test_for_a_future_it_runs_in_a_daemon_thread_of_its_own(bridge):
    def fn():
        thread = threading.current_thread()
        return [thread.daemon, thread.ident not in (here, keeper)]

    bridge.call("math.sqrt", 4)
    here = threading.get_ident()
    keeper = next(t.ident for t in threading.enumerate() if t.name == "bridge-housekeeper")
    assert bridge.submit(run("apply"), bridge.callback(fn)).result(DEADLINE) == [True, True]


def test_for_an_awaited_call_it_runs_on_the_event_loop(bridge):
    async def main():
        loop = asyncio.get_running_loop()
        made = bridge.callback(lambda: asyncio.get_running_loop() is loop)
        return await bridge.acall(run("many"), bridge.callback(lambda i: made()), 3)

    assert asyncio.run(main()) == [True] * 3


@pytest.mark.parametrize("how", OUTER)
def test_it_runs_in_the_scope_of_the_call(bridge, how):
    mark = contextvars.ContextVar("mark", default=0)

    def fn():
        return [bridge.current_session(), mark.get()]

    def scoped():
        mark.set(7)
        with bridge.session("in-force"):
            return OUTER[how](bridge, run("apply"), bridge.callback(fn))

    assert contextvars.copy_context().run(scoped) == ["in-force", 7]
    auto = bridge.current_session()
    assert OUTER[how](bridge, run("apply"), bridge.callback(fn)) == [auto, 0]


def test_a_future_calls_back_in_the_session_that_was_in_force_where_it_was_made(bridge, gate):
    with bridge.session("then"):
        made = bridge.submit(
            run("wait_at"), gate.path, bridge.callback(lambda: bridge.current_session())
        )
    gate.reached().open()
    assert made.result(DEADLINE) == "then"


def test_a_callback_that_enters_a_session_leaves_it_to_nobody(bridge):
    def fn():
        entered.__enter__()
        return bridge.current_session()

    entered = bridge.session("entered")
    auto = bridge.current_session()
    try:
        assert bridge.submit(run("apply"), bridge.callback(fn)).result(DEADLINE) == "entered"
        assert bridge.current_session() == auto
    finally:
        entered.__exit__(None, None, None)


# ---------------------------------------------------------------- calls within it
def _in_a_thread(bridge):
    got = []
    thread = threading.Thread(target=lambda: got.append(bridge.call("math.sqrt", 4)))
    thread.start()
    thread.join(DEADLINE)
    return got[0]


def _in_another_loop(bridge):
    """`asyncio.run`, also where this thread runs a loop."""
    return InThread(bridge.bind(lambda: asyncio.run(bridge.acall("math.sqrt", 4)))).result()


INNER = {
    "call": lambda bridge: bridge.call("math.sqrt", 4),
    "submit": lambda bridge: bridge.submit("math.sqrt", 4).result(DEADLINE),
    "acall": _in_another_loop,
    "batch": lambda bridge: _batched(bridge, "math.sqrt", 4),
    "stream": lambda bridge: [*bridge.stream("map", bridge.attr("math.sqrt"), [1, 4])][1],
    "new": lambda bridge: bridge.new("fractions.Fraction", 2).numerator / 1.0,
    "module": lambda bridge: bridge.module("math").sqrt(4),
    "fetch": lambda bridge: bridge.fetch(bridge.put(2.0)),
    "a callback": lambda bridge: bridge.call(run("apply"), bridge.callback(lambda: 2.0)),
    "one of a thread": lambda bridge: bridge.call(
        run("in_threads"), 1, bridge.callback(lambda: bridge.call("math.sqrt", 4))
    )[0],
    "status": lambda bridge: bridge.status().refs * 0 + 2.0,
    "release": lambda bridge: bridge.release(bridge.put([])).refs * 2.0,
}
"""What a callback may do with the bridge; each gives 2.0."""


def test_a_callback_may_use_the_bridge(bridge, outer):
    for name, inner in INNER.items():
        made = bridge.callback(partial(inner, bridge))
        assert InThread(outer, bridge, run("apply"), made).result() == 2.0, name


def test_a_callback_of_a_thread_may_use_the_bridge(bridge, outer):
    for name, inner in INNER.items():
        made = bridge.callback(partial(inner, bridge))
        got = InThread(outer, bridge, run("in_threads"), 3, made).result()
        assert got == [2.0] * 3, name


def test_callbacks_of_threads_at_once_know_their_session_and_their_types(bridge, monkeypatch):
    """However long it takes to make known what a message brings, none overtakes it."""
    make_class, pause = incarnation.make_class, threading.Event()

    def slowly(record):
        pause.wait(0.02)
        return make_class(record)

    monkeypatch.setattr(incarnation, "make_class", slowly)
    for inner in (INNER["new"], INNER["stream"]):
        made = bridge.callback(partial(inner, bridge))
        got = InThread(bridge.call, run("in_threads"), 4, made).result()
        assert got == [2.0] * 4


def test_a_callback_of_a_thread_may_look_while_releases_wait(bridge):
    """What was dropped meanwhile is told to the worker in the turn of the call around it."""

    def look():
        ref = bridge.new("collections.deque")
        del ref
        return bridge.status().refs

    made = bridge.callback(look)
    got = InThread(bridge.call, run("in_threads"), 3, made).result()
    assert len(got) == 3
    assert bridge.status().refs == 0


def test_a_callback_that_waits_for_a_thread_that_calls_the_bridge_goes_on(bridge, outer):
    made = bridge.callback(lambda: _in_a_thread(bridge))
    assert InThread(outer, bridge, run("apply"), made).result() == 2.0


@pytest.mark.parametrize("path", ["apply", "in_threads", "either"])
def test_calls_and_callbacks_nest(bridge, path):
    def fn(depth):
        if not depth:
            return bridge.call("math.sqrt", 4)
        threaded = path == "in_threads" or (path == "either" and depth % 2)
        if threaded:
            return bridge.call(run("in_threads"), 1, bridge.callback(fn), depth - 1)[0]
        return bridge.call(run("apply"), bridge.callback(fn), depth - 1)

    assert InThread(fn, 12).result() == 2.0


def test_nesting_too_deep_is_an_error_and_harms_nothing(bridge):
    def fn(depth):
        return bridge.call(run("apply"), bridge.callback(fn), depth + 1)

    with pytest.raises((RecursionError, BridgeError)):
        fn(0)
    assert bridge.call("math.sqrt", 4) == 2.0
    assert bridge.call(run("apply"), bridge.callback(lambda: 5)) == 5


def test_wherever_the_stack_ends_here_the_worker_does_not_wait_for_an_answer(local):
    def fn(depth):
        return local.call("eval", "f(d)", {"f": local.callback(fn), "d": depth + 1})

    before = sys.getrecursionlimit()
    used = len(inspect.stack())
    for limit in range(used + 300, used + 400, 4):
        sys.setrecursionlimit(limit)
        try:
            with pytest.raises((RecursionError, BridgeError)):
                fn(0)
        finally:
            sys.setrecursionlimit(before)
        assert local.call("math.sqrt", 4) == 2.0


@pytest.mark.parametrize("how", OUTER)
def test_a_callback_waits_for_a_thread_there_that_calls_back(bridge, how, gate):
    # The thread asks while the first callback runs, before that waits for the thread.
    later = bridge.new(run("Later"), bridge.callback(lambda: 7), gate.path)

    def first():
        gate.reached().open()
        eventually(lambda: asked(bridge), "the question of the thread")
        return later.got()

    done = InThread(OUTER[how], bridge, run("apply"), bridge.callback(first))
    assert done.result() == ["returned", 7]


def asked(bridge):
    """Whether a question waits unread, or, in memory, was answered; see what a poll says."""
    connection = bridge._remote.incarnation.connection
    sock = getattr(connection, "_data", None)
    if sock is None:
        return True
    import select

    return select.select([sock.socket], [], [], 0)[0] or connection._exchange.board.pending


def test_a_call_is_made_while_an_awaited_one_waits_for_its_callback(bridge):
    async def main():
        slow = asyncio.create_task(
            bridge.acall(run("many"), bridge.callback(lambda i: bridge.call("math.sqrt", i)), 9)
        )
        await asyncio.sleep(0)
        fast = bridge.call("math.sqrt", 4)
        return fast, len(await slow)

    assert InThread(asyncio.run, main()).result() == (2.0, 9)


def test_callbacks_of_many_calls_at_once_are_not_mixed_up(bridge):
    def once(name, i):
        how = OUTER[("call", "submit", "acall", "batch")[i % 4]]
        made = bridge.callback(lambda: bridge.call(run("same"), f"{name}-{i}"))
        path = (run("apply"), made) if i % 3 else (run("in_threads"), 1, made)
        got = how(bridge, *path)
        return (got if i % 3 else got[0]) == f"{name}-{i}"

    def caller(name):
        return all(once(name, i) for i in range(25))

    callers = [InThread(caller, name) for name in range(8)]
    assert [one.result() for one in callers] == [True] * 8


@pytest.mark.parametrize("inner", ["call", "submit", "thread"])
def test_many_futures_call_back_at_once(bridge, inner):
    inners = {
        "call": lambda i: bridge.call(run("same"), i),
        "submit": lambda i: bridge.submit(run("same"), i).result(DEADLINE),
        "thread": lambda i: i if i % 10 else InThread(bridge.call, run("same"), i).result(),
    }
    made = [
        bridge.submit(run("apply"), bridge.callback(partial(inners[inner], i))) for i in range(200)
    ]
    assert [future.result(DEADLINE) for future in made] == list(range(200))


def test_a_future_that_waits_behind_many_callbacks_can_be_cancelled(local):
    ran, begun, go_on = [], threading.Event(), threading.Event()

    def fn(i):
        ran.append(i)
        begun.set()
        go_on.wait(DEADLINE)
        return i

    made = [local.submit(run("apply"), local.callback(partial(fn, i))) for i in range(50)]
    assert begun.wait(DEADLINE)
    last = made.pop()
    assert last.cancel()
    go_on.set()
    assert [future.result(DEADLINE) for future in made] == list(range(49))
    assert local.call("math.sqrt", 4) == 2.0
    assert sorted(ran) == list(range(49)), "it never began"


# ---------------------------------------------------------------- how long it lives
def test_an_object_keeps_a_callback_and_calls_it_in_later_calls(bridge, outer):
    seen = []

    def on_step(i):
        seen.append(i)
        return i * 10

    trainer = bridge.new(run("Trainer"), on_step=bridge.callback(on_step))
    assert trainer.fit(2) == [0, 10]
    assert outer(bridge, run("Trainer.fit"), trainer, 3) == [0, 10, 20]
    assert seen == [0, 1, 0, 1, 2]


def test_with_no_call_in_flight_it_is_a_clear_error(bridge, gate):
    later = bridge.new(run("Later"), bridge.callback(lambda: 7), gate.path)
    gate.reached().open()
    # What only looks is no call that could run it.
    eventually(lambda: bridge.status().busy is None, "the end of the call")
    settled = threading.Event()
    settled.wait(0.1)
    kind, text = later.got()
    assert kind == "BridgeUsageError"
    assert "no call of the notebook was running" in text


def test_a_thread_calls_back_during_another_call(bridge, gate):
    later = bridge.new(run("Later"), bridge.callback(lambda: 7), gate.path)
    waiting = InThread(later.got)  # a call, in another thread
    eventually(lambda: bridge.status().busy, "the call")
    gate.reached().open()
    assert waiting.result() == ["returned", 7]


def test_it_ends_with_its_session(bridge):
    with bridge.session("first"):
        trainer = bridge.new(run("Trainer"), bridge.callback(lambda i: i))
        bridge.move(trainer, "second")
    with bridge.session("second"):
        assert trainer.fit(2) == [0, 1]
        bridge.release("first")
        with pytest.raises(RefNotFoundError) as found:
            trainer.fit(2)
    assert found.value.reason == "session released"


def test_it_ends_with_its_session_in_the_middle_of_its_call(bridge, outer):
    ran = []

    def fn(i):
        ran.append(i)
        bridge.release("short")
        return i

    with bridge.session("short"), pytest.raises(RefNotFoundError):
        outer(bridge, run("many"), bridge.callback(fn), 5)
    assert ran == [0]


@pytest.mark.parametrize("how", OUTER)
def test_the_function_is_let_go_with_its_session(bridge, how):
    def fn():
        return 1

    gone = weakref.ref(fn)
    with bridge.session("short"):
        assert OUTER[how](bridge, run("apply"), bridge.callback(fn)) == 1
    del fn
    gc.collect()
    assert gone() is not None, "the worker may still call it"
    bridge.release("short")
    eventually(lambda: gc.collect() or gone() is None, "letting the function go")


def test_the_function_is_let_go_when_its_thread_has_ended(bridge):
    def fn():
        return 1

    gone = weakref.ref(fn)
    made = bridge.callback(fn)
    assert InThread(bridge.call, run("apply"), made).result() == 1
    del fn, made
    eventually(lambda: gc.collect() or gone() is None, "letting the function go")


# ---------------------------------------------------------------- walls
def test_walls_stand_in_results_of_callbacks(bridge, outer):
    with bridge.session("walled"):
        walled = bridge.new(run("Thing"), 1)
    give = bridge.callback(lambda: walled)
    assert outer(bridge, run("caught"), give)[0] == "SessionMismatchError"
    with pytest.raises(SessionMismatchError):
        outer(bridge, run("number_of"), give)
    with bridge.session("walled"):
        assert outer(bridge, run("number_of"), give) == 1


def test_an_argument_of_a_callback_in_a_named_session_is_no_argument_elsewhere(bridge):
    kept = []
    with bridge.session("named"):
        bridge.call(run("give_thing"), bridge.callback(lambda x: kept.append(x)), 7)
    with pytest.raises(SessionMismatchError):
        bridge.call(run("same"), kept[0])


def test_what_a_callback_makes_is_in_the_session_of_its_call(bridge, outer):
    made = []

    def fn():
        made.append(bridge.new(run("Thing"), 1))

    with bridge.session("mine"):
        outer(bridge, run("apply"), bridge.callback(fn))
        outer(bridge, run("in_threads"), 1, bridge.callback(fn))
    assert [bridge.info(ref).session_id for ref in made] == ["mine", "mine"]


# ---------------------------------------------------------------- stops
@pytest.mark.parametrize("path", ["caught", "apply"])
def test_a_keyboard_interrupt_in_it_stops_the_call_and_is_raised_here(local, path):
    mine = KeyboardInterrupt()

    def fn():
        raise mine

    with pytest.raises(KeyboardInterrupt) as found:
        local.call(run(path), local.callback(fn))
    assert found.value is mine
    assert local.call("math.sqrt", 4) == 2.0


def test_an_interrupt_while_it_runs_stops_the_call(local, gate):
    ref = local.put([1])

    def fn():
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(DEADLINE)

    with pytest.raises(KeyboardInterrupt):
        local.call(run("caught"), local.callback(fn))
    assert local.call("len", ref) == 1


def test_an_interrupt_after_it_stops_the_call(local, gate):
    def stop():
        gate.reached()
        os.kill(os.getpid(), signal.SIGINT)

    stopper = InThread(stop)
    with pytest.raises(KeyboardInterrupt):
        local.call(run("call_and_wait"), local.callback(lambda: 1), gate.path)
    stopper.result()
    assert local.call("math.sqrt", 4) == 2.0


def test_an_interrupt_in_a_call_of_a_callback_stops_all_of_them(local, gate):
    def stop():
        gate.reached()
        os.kill(os.getpid(), signal.SIGINT)

    stopper = InThread(stop)
    inner = local.callback(lambda: local.call(run("wait_at"), gate.path, abs))
    with pytest.raises(KeyboardInterrupt):
        local.call(run("caught"), inner)
    stopper.result()
    assert local.call("math.sqrt", 4) == 2.0


def test_a_thread_that_asked_for_what_was_interrupted_is_told(local, gate):
    def fn():
        raise KeyboardInterrupt

    later = local.new(run("Later"), local.callback(fn), gate.path)
    waiting = InThread(later.got)
    eventually(lambda: local.status().busy, "the call")
    gate.reached().open()
    with pytest.raises(KeyboardInterrupt):
        waiting.result()
    eventually(later.ended, "the end of the thread")


def test_a_timeout_stops_a_call_that_has_called_back(local, gate):
    with pytest.raises(CallTimeoutError):
        local.options(timeout=0.2).call(run("call_and_wait"), local.callback(abs_), gate.path)
    assert local.call("math.sqrt", 4) == 2.0


def abs_():
    return 1


def test_a_cancelled_future_ends_after_its_callback(local):
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def fn():
        begun.set()
        go_on.wait(DEADLINE)
        ended.set()

    future = local.submit(run("many"), local.callback(lambda i: fn()), 3)
    assert begun.wait(DEADLINE)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    go_on.set()
    assert local.call("math.sqrt", 4) == 2.0
    assert ended.wait(DEADLINE)


def test_a_worker_that_dies_in_a_callback_is_one_error(local, outer):
    def fn():
        os.kill(local.status().pid, signal.SIGKILL)
        return 1

    with pytest.raises(WorkerDiedError):
        outer(local, run("apply"), local.callback(fn))
    assert local.call("math.sqrt", 4) == 2.0


def test_a_restart_in_a_callback_is_the_death_of_its_call(local):
    with pytest.raises(WorkerDiedError):
        local.call(run("apply"), local.callback(lambda: local.restart().incarnation))
    assert local.call("math.sqrt", 4) == 2.0


def test_a_bridge_that_is_closed_in_a_callback_is_closed():
    bridge = bridge_ext.Bridge()
    try:
        with contextlib.suppress(BridgeClosedError, RefNotFoundError):
            InThread(bridge.call, run("apply"), bridge.callback(bridge.close)).result()
        with pytest.raises(BridgeClosedError):
            bridge.call("math.sqrt", 4)
    finally:
        bridge.close()


def test_a_callback_that_runs_on_delays_no_close_and_keeps_nothing_open(things):
    begun, goes_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert goes_on.wait(DEADLINE)

    before = len(os.listdir("/proc/self/fd"))
    bridge = bridge_ext.Bridge()
    outer = InThread(bridge.call, run("apply"), bridge.callback(wait))
    assert begun.wait(DEADLINE)
    bridge.close()
    assert len(os.listdir("/proc/self/fd")) == before
    goes_on.set()
    with pytest.raises((WorkerDiedError, BridgeClosedError)):
        outer.result()


def test_an_event_loop_that_was_closed_leaves_no_call_behind(local, tmp_path, gate):
    noted = tmp_path / "noted"

    async def main():
        task = asyncio.create_task(local.acall(run("wait_at"), gate.path, abs_))
        other = asyncio.create_task(local.acall(run("note"), str(noted), local.callback(abs_)))
        for one in (task, other):
            one._log_destroy_pending = False
        await asyncio.to_thread(gate.reached)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gate.open()
    eventually(noted.exists, "the end of the call")
    assert local.call("math.sqrt", 4) == 2.0
    assert local._remote.incarnation.connection.in_flight == 0


def test_nothing_is_left_of_callbacks(bridge):
    gc.collect()
    before = threading.active_count()
    things = []
    for how in OUTER.values():
        how(bridge, run("give_thing"), bridge.callback(things.append), 1)
    things.clear()
    gc.collect()
    eventually(lambda: not bridge.refs(), "the release")
    eventually(lambda: threading.active_count() <= before, "the end of the threads")
