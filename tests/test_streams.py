"""Streams: the items of an iterator in the worker, as if it were here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import sys
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import DEADLINE, eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_backends import Gate, InThread

import bridge_ext
from bridge_ext import (
    BridgeClosedError,
    BridgeUsageError,
    CallTimeoutError,
    EncodeError,
    Ref,
    RefNotFoundError,
    SessionFullError,
    SessionLostError,
    SessionMismatchError,
    StreamRef,
    WorkerDiedError,
)

THINGS = '''
import gc
import os
import pathlib
import threading
import weakref

made = []
closed = []
_live = weakref.WeakSet()


def forget():
    made.clear()
    closed.clear()


class Thing:
    def __init__(self, n=0):
        self.n = n
        _live.add(self)


def live():
    gc.collect()
    return len(_live)


def numbers(count, fail_at=None):
    try:
        for i in range(count):
            if i == fail_at:
                raise ValueError(f"at {i}")
            made.append(i)
            yield i
    finally:
        closed.append(count)


def things(count):
    for i in range(count):
        yield Thing(i)


def filled_anew(count):
    buffer = []
    for i in range(count):
        buffer.append(i)
        yield buffer


def object_filled_anew(count):
    thing = Thing()
    for thing.n in range(count):
        yield thing


def raising(kind, after):
    yield from range(after)
    raise kind("x")


def sized(count, size):
    for i in range(count):
        yield bytes([i]) * size


def gated(gate, before, after):
    yield from range(before)
    pathlib.Path(gate).read_bytes()
    yield from range(before, before + after)


def gated_each(gates):
    for i, gate in enumerate(gates):
        pathlib.Path(gate).read_bytes()
        threading.Event().wait(0.005)  # longer than items are gathered for
        yield i


def lazily_gated(gate, x):
    if x == "gate":
        pathlib.Path(gate).read_bytes()
    return x


def dies(count):
    yield from range(count)
    os._exit(9)


def calling(fn, count):
    for i in range(count):
        yield fn(i)


def mixed():
    yield 1
    yield Thing(2)
    yield [3, Thing(3)]
    yield None
    yield StopIteration


class Cursor:
    """An iterator that is no generator: it must not lose its place."""

    def __init__(self, count):
        self.count, self.at = count, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.at >= self.count:
            raise StopIteration
        self.at += 1
        return self.at - 1

    def again(self):
        self.at = 0


class Scripted:
    """Gives what its script says: numbers, "stop", or "error"."""

    def __init__(self, script):
        self.script = list(script)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.script:
            raise StopIteration
        step = self.script.pop(0)
        if step == "stop":
            raise StopIteration
        if step == "error":
            raise ValueError("scripted")
        return step


def checked(x):
    if x == "error":
        raise ValueError("scripted")
    return x


class Box:
    def put(self, it):
        self.it = it

    def take(self, count):
        return [x for _, x in zip(range(count), self.it)]


def take(it, count):
    """Some items, and how it ended if it did."""
    out = []
    for _ in range(count):
        try:
            out.append(next(it))
        except StopIteration:
            out.append("stop")
        except ValueError:
            out.append("error")
    return out


def same(x):
    return x


def averager():
    total = count = 0
    value = None
    while True:
        sent = yield value
        total, count = total + sent, count + 1
        value = total / count


async def later(count):
    try:
        for i in range(count):
            yield i
    finally:
        closed.append("later")


async def collect(agen):
    return [x async for x in agen]


def all_of(agen):
    import asyncio

    return asyncio.run(collect(agen))
'''


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "stream_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    import stream_things

    yield stream_things
    sys.path.remove(str(folder))
    sys.modules.pop("stream_things", None)


@pytest.fixture
def made(bridge):
    """What the generators of the worker have made since the test began."""
    bridge.call("stream_things.forget")
    return lambda: bridge.call("list", bridge.attr("stream_things.made"))


@pytest.fixture
def closed(bridge):
    """Which generators of the worker were closed since the test began."""
    bridge.call("stream_things.forget")
    return lambda: bridge.call("list", bridge.attr("stream_things.closed"))


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


def drain(stream, count):
    """Some items of a stream, with its ends and errors at their places."""
    out = []
    for _ in range(count):
        try:
            out.append(next(stream))
        except StopIteration:
            out.append("stop")
        except Exception as error:
            out.append(f"{type(error).__name__}: {error}")
    return out


# ---------------------------------------------------------------- how many at a time
def test_nothing_is_read_before_the_first_item_is_asked_for(bridge, made):
    streams = bridge.call("stream_things.numbers", 9), bridge.stream("stream_things.numbers", 9)
    assert made() == []
    assert next(streams[0]) == 0
    assert made() == [0]


def test_fast_items_come_by_the_hundreds(bridge):
    stream = bridge.call("stream_things.numbers", 20_000)
    before = bridge.status().calls
    assert list(stream) == list(range(20_000))
    assert bridge.status().calls - before < 100


def test_no_more_is_read_ahead_than_fits_a_reply(bridge, made):
    stream = bridge.call("stream_things.numbers", 1_000_000)
    assert list(itertools.islice(stream, 5_000)) == list(range(5_000))
    assert 5_000 <= len(made()) <= 7_100


def test_slow_items_come_one_by_one(bridge, tmp_path):
    gates = [Gate(tmp_path, f"gate{i}") for i in range(4)]
    stream = bridge.call("stream_things.gated_each", [g.path for g in gates])
    for i, gate in enumerate(gates):
        item = InThread(next, stream)
        gate.reached().open()
        assert item.result() == i  # the next gate is shut: it is not waited for


@pytest.mark.parametrize("how", ["call", "stream"])
def test_an_item_is_not_held_back_for_a_later_one_that_does_not_come(bridge, how, gate):
    stream = getattr(bridge, how)("stream_things.gated", gate.path, 1, 2)
    assert InThread(next, stream).result() == 0
    rest = InThread(list, stream)
    gate.reached().open()
    assert rest.result() == [1, 2]


@pytest.mark.parametrize("path", ["Cursor", "open", "sqlite"])
def test_what_was_not_asked_to_be_read_ahead_keeps_its_place(bridge, path, tmp_path):
    if path == "Cursor":
        cursor = bridge.new("stream_things.Cursor", 9)
        assert [next(cursor), cursor.at, next(cursor), cursor.at] == [0, 1, 1, 2]
    elif path == "open":
        (tmp_path / "lines").write_text("a\nb\nc\nd\n")
        file = bridge.call("open", str(tmp_path / "lines"))
        assert [next(file), file.readline(), next(file), list(file)] == [
            "a\n",
            "b\n",
            "c\n",
            ["d\n"],
        ]
        file.close()
    else:
        cursor = bridge.call("sqlite3.connect", ":memory:").cursor()
        cursor.execute("create table t(a)")
        cursor.execute("insert into t values (1),(2),(3),(4)")
        cursor.execute("select a from t")
        assert [next(cursor), cursor.fetchone(), list(cursor)] == [(1,), (2,), [(3,), (4,)]]
        cursor.connection.close()


@pytest.mark.parametrize("how", ["call", "stream"])
def test_groups_are_there_when_their_key_is(bridge, how):
    stream = getattr(bridge, how)("itertools.groupby", [1, 1, 2, 3, 3])
    assert [(key, list(group)) for key, group in stream] == [(1, [1, 1]), (2, [2]), (3, [3, 3])]


def test_a_list_that_is_filled_anew_is_seen_as_it_was_at_each_item(bridge):
    stream = bridge.call("stream_things.filled_anew", 4)
    assert list(stream) == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_an_object_that_is_filled_anew_is_seen_as_it_was_at_each_item(bridge):
    assert [thing.n for thing in bridge.call("stream_things.object_filled_anew", 9)] == [*range(9)]


# ---------------------------------------------------------------- leaving off and going on
def test_a_stream_goes_on_where_it_was_left(bridge):
    stream = bridge.call("stream_things.numbers", 3_000)
    got = [next(stream), *itertools.islice(stream, 10)]
    for item in stream:
        got.append(item)
        if item == 1_500:
            break
    got += [item for item, _ in zip(stream, range(5), strict=False)]  # takes one more than it gives
    assert got == list(range(1_506))
    assert next(stream) == 1_507
    assert list(stream) == list(range(1_508, 3_000))
    assert list(stream) == []


def test_iterators_of_a_stream_are_the_stream(bridge):
    stream = bridge.stream("range", 6)
    assert iter(stream) is stream
    assert list(zip(stream, stream, strict=True)) == [(0, 1), (2, 3), (4, 5)]


def test_leaving_a_loop_early_closes_the_remote_iterator(bridge, closed):
    for item in bridge.call("stream_things.numbers", 5_000):
        if item == 3:
            break
    gc.collect()
    eventually(lambda: closed() == [5_000], "closing the generator")
    assert bridge.refs() == []


def test_a_stream_that_is_held_is_not_closed_by_leaving_a_loop(bridge, closed):
    stream = bridge.call("stream_things.numbers", 50)
    for _ in stream:
        break
    gc.collect()
    assert closed() == []
    assert list(stream) == list(range(1, 50))
    assert closed() == [50]


def test_closing_a_stream_there_ends_it_here(bridge, closed):
    stream = bridge.call("stream_things.numbers", 5_000)
    assert list(itertools.islice(stream, 20)) == list(range(20))
    stream.close()
    assert closed() == [5_000]
    assert list(stream) == []


def test_a_cursor_that_begins_again_is_iterated_again(bridge):
    cursor = bridge.new("stream_things.Cursor", 3)
    assert list(cursor) == [0, 1, 2]
    cursor.again()
    assert list(cursor) == [0, 1, 2]


def test_a_database_cursor_is_executed_again(bridge):
    cursor = bridge.call("sqlite3.connect", ":memory:").cursor()
    assert [list(cursor.execute(f"select {n}")) for n in range(3)] == [[(0,)], [(1,)], [(2,)]]
    cursor.connection.close()


def test_a_file_that_grows_is_read_on(bridge, tmp_path):
    path = tmp_path / "log"
    path.write_text("a\n")
    file = bridge.call("open", str(path))
    assert list(file) == ["a\n"]
    with path.open("a") as log:
        log.write("b\n")
    assert list(file) == ["b\n"]
    file.close()


# ---------------------------------------------------------------- errors and ends
def test_an_error_comes_at_its_place(bridge):
    stream = bridge.call("stream_things.numbers", 9, fail_at=7)
    assert drain(stream, 9) == [*range(7), "ValueError: at 7", "stop"]


def test_an_iterator_goes_on_after_an_error(bridge):
    stream = bridge.call(
        "map", bridge.attr("stream_things.checked"), [0, 1, 2, "error", 4, 5, "error"]
    )
    assert drain(stream, 8) == [
        0, 1, 2, "ValueError: scripted", 4, 5, "ValueError: scripted", "stop",
    ]  # fmt: skip


@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_error_that_is_no_exception_comes_at_its_place_too(bridge, before):
    stream = bridge.call("stream_things.raising", bridge.attr("builtins.SystemExit"), before)
    assert drain(stream, before + 2) == [*range(before), "RemoteError: SystemExit: x", "stop"]


def test_a_keyboard_interrupt_of_the_generators_own_comes_at_its_place(local):
    stream = local.call("stream_things.raising", local.attr("builtins.KeyboardInterrupt"), 3)
    assert drain(stream, 5) == [0, 1, 2, "RemoteError: KeyboardInterrupt: x", "stop"]


@pytest.mark.parametrize("before", [0, 3])
def test_a_stop_iteration_within_a_generator_is_what_python_makes_of_it(bridge, before):
    stream = bridge.call("stream_things.raising", bridge.attr("builtins.StopIteration"), before)
    assert drain(stream, before + 2) == [
        *range(before), "RuntimeError: generator raised StopIteration", "stop",
    ]  # fmt: skip


def test_an_error_that_was_not_seen_yet_is_raised_where_the_stream_is_used(bridge):
    stream = bridge.call("stream_things.numbers", 99, fail_at=7)
    assert list(itertools.islice(stream, 7)) == list(range(7))
    with pytest.raises(ValueError, match="at 7"):
        bridge.call("list", stream)
    assert list(stream) == []


def test_an_error_that_was_seen_is_not_raised_again(bridge):
    stream = bridge.call("map", bridge.attr("stream_things.checked"), [0, "error", 2, 3])
    assert drain(stream, 2) == [0, "ValueError: scripted"]
    assert bridge.call("list", stream) == [2, 3]


@pytest.mark.parametrize("before", [0, 5])
def test_an_exception_of_a_callback_comes_out_of_the_stream_as_itself(bridge, before):
    class Mine(Exception):
        pass

    mine = Mine("mine")

    def give(i):
        if i == before:
            raise mine
        return i

    stream = bridge.call("stream_things.calling", bridge.callback(give), 9)
    assert list(itertools.islice(stream, before)) == list(range(before))
    with pytest.raises(Mine) as caught:
        next(stream)
    assert caught.value is mine


def test_what_is_no_iterable_is_a_type_error(bridge):
    with pytest.raises(TypeError, match="not iterable"):
        bridge.stream("len", [])


# ---------------------------------------------------------------- used in the worker meanwhile
def test_an_argument_yields_first_what_was_read_ahead(bridge):
    stream = bridge.call("stream_things.numbers", 5_000)
    assert list(itertools.islice(stream, 50)) == list(range(50))
    assert bridge.call("stream_things.take", stream, 3) == [50, 51, 52]
    assert next(stream) == 53
    assert bridge.call("sum", stream) == sum(range(54, 5_000))
    assert list(stream) == []


def test_a_target_yields_first_what_was_read_ahead(bridge):
    stream = bridge.call("stream_things.numbers", 100)
    assert list(itertools.islice(stream, 20)) == list(range(20))
    assert [bridge.method(stream, "__next__"), next(stream), stream.send(None)] == [20, 21, 22]
    assert list(stream) == list(range(23, 100))


def test_an_iterator_that_is_used_lazily_there_shares_its_place(bridge):
    for before in (0, 1, 30):
        stream = bridge.call("stream_things.numbers", 1_000)
        assert list(itertools.islice(stream, before)) == list(range(before))
        three = bridge.call("itertools.islice", stream, 3)
        assert next(stream) == before
        assert list(three) == [before + 1, before + 2, before + 3]
        assert next(stream) == before + 4


def test_an_iterator_that_an_object_holds_shares_its_place(bridge):
    box = bridge.new("stream_things.Box")
    box.it = bridge.call("stream_things.numbers", 1_000)
    stream = box.it
    assert next(stream) == 0
    assert box.take(2) == [1, 2]
    assert list(itertools.islice(stream, 10)) == list(range(3, 13))
    assert box.take(2) == [13, 14]


def test_the_same_iterator_is_the_same_ref_whatever_was_read_ahead(bridge):
    stream = bridge.call("stream_things.numbers", 1_000)
    next(stream), next(stream)
    assert bridge.call("stream_things.same", stream) is stream
    assert bridge.call("stream_things.same", [stream])[0] is stream
    box = bridge.new("stream_things.Box")
    box.put(stream)
    assert box.it is stream
    assert next(stream) == 2


def test_a_handle_that_was_dropped_leaves_its_place_to_the_next(bridge):
    box = bridge.new("stream_things.Box")
    stream = bridge.call("stream_things.numbers", 1_000)
    assert list(itertools.islice(stream, 40)) == list(range(40))
    box.it = stream
    for at in (40, 43, 46):
        assert list(itertools.islice(stream, 2)) == [at, at + 1]
        del stream
        gc.collect()
        assert box.take(1) == [at + 2]
        stream = box.it
    assert next(stream) == 49


def test_a_kept_stream_goes_on_with_another_handle(bridge):
    with bridge.session("named"):
        stream = bridge.call("stream_things.numbers", 1_000)
        bridge.keep(stream, "numbers")
        for at in (0, 30, 60):
            assert list(itertools.islice(stream, 30)) == list(range(at, at + 30))
            del stream
            gc.collect()
            stream = bridge.kept()["numbers"]
        assert next(stream) == 90


def test_a_moved_stream_goes_on(bridge):
    stream = bridge.call("stream_things.numbers", 1_000)
    assert list(itertools.islice(stream, 30)) == list(range(30))
    stream = bridge.move(stream, "named")
    assert list(stream) == list(range(30, 1_000))


def test_a_stream_is_an_argument_of_batches_submits_and_acalls(bridge):
    stream = bridge.call("stream_things.numbers", 1_000)
    next(stream), next(stream)
    with bridge.batch() as batch:
        made = [batch.call("next", stream) for _ in range(3)]
    assert [future.result(0) for future in made] == [2, 3, 4]
    assert bridge.submit("next", stream).result(DEADLINE) == 5
    assert asyncio.run(bridge.acall("next", stream)) == 6
    assert next(stream) == 7


def test_a_stream_of_a_batch_is_iterated_after_it(bridge):
    with bridge.batch() as batch:
        made = [batch.stream("range", 3), batch.call("stream_things.numbers", 3)]
    assert [list(future.result(0)) for future in made] == [[0, 1, 2], [0, 1, 2]]


def test_an_argument_twice_in_one_call_shares_its_place(bridge):
    stream = bridge.stream("range", 7)
    assert next(stream) == 0
    assert [tuple(pair) for pair in bridge.call("list", bridge.call("zip", stream, stream))] == [
        (1, 2), (3, 4), (5, 6),
    ]  # fmt: skip


def test_what_is_sent_to_a_generator_reaches_it_or_is_refused(bridge):
    generator = bridge.call("stream_things.averager")
    assert generator.send(None) is None
    assert [generator.send(n) for n in (10, 20)] == [10, 15]
    other = bridge.call("stream_things.averager")
    assert next(other) is None  # which comes alone, so that nothing was read ahead
    assert other.send(4) == 4
    third = bridge.call("stream_things.numbers", 1_000)
    assert list(itertools.islice(third, 30)) == list(range(30))
    with pytest.raises(BridgeUsageError, match="read ahead"):
        third.send(5)
    assert next(third) == 30


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_copy_has_what_was_not_taken(bridge, taken):
    stream = bridge.stream("list", [1, 2, 3])
    assert list(itertools.islice(stream, taken)) == [1, 2, 3][:taken]
    assert list(bridge.fetch(stream)) == [1, 2, 3][taken:]
    assert bridge.call("list", bridge.call("copy.copy", stream)) == [1, 2, 3][taken:]
    assert bridge.call("list", bridge.call("copy.deepcopy", stream)) == [1, 2, 3][taken:]
    assert bridge.call("operator.length_hint", stream) == 3 - taken
    assert list(stream) == [1, 2, 3][taken:]


def test_a_generator_cannot_be_fetched_and_loses_nothing_by_it(bridge):
    stream = bridge.call("stream_things.numbers", 100)
    assert list(itertools.islice(stream, 30)) == list(range(30))
    with pytest.raises(EncodeError):
        bridge.fetch(stream)
    assert list(stream) == list(range(30, 100))


# ---------------------------------------------------------------- what items are
def test_items_are_values_or_refs_as_results_are(bridge):
    one, thing, pair, nothing, kind = bridge.call("stream_things.mixed")
    assert (one, nothing, pair[0]) == (1, None, 3)
    assert [thing.n, pair[1].n] == [2, 3]
    assert isinstance(kind, Ref)


def test_a_stream_of_streams(bridge):
    inner = bridge.call("map", bridge.attr("builtins.iter"), [[1, 2], [3]])
    assert [list(stream) for stream in inner] == [[1, 2], [3]]


def test_options_say_what_becomes_of_items(bridge):
    with bridge.options(fetch=False):
        refs = list(bridge.stream("range", 3))
    assert [type(ref).__name__ for ref in refs] == ["Ref"] * 3
    assert [bridge.fetch(ref) for ref in refs] == [0, 1, 2]
    with bridge.options(fetch=True):
        copies = list(bridge.stream("stream_things.things", 3))
    assert [thing.n for thing in copies] == [0, 1, 2]
    assert not isinstance(copies[0], Ref)


def test_items_too_large_for_one_message_come_in_several(bridge):
    stream = bridge.call("stream_things.sized", 9, 3_000_000)
    assert [len(item) for item in stream] == [3_000_000] * 9


def test_an_item_too_large_to_travel_is_a_ref(bridge):
    items = list(bridge.call("stream_things.sized", 2, 9_000_000))
    assert [type(item).__name__ for item in items] == ["Ref"] * 2
    assert [len(item) for item in items] == [9_000_000] * 2


def test_more_objects_than_a_session_holds_are_streamed_if_they_are_dropped(bridge):
    with bridge.session("few", max_refs=5):
        assert [thing.n for thing in bridge.call("stream_things.things", 2_000)] == [*range(2_000)]


def test_an_object_that_does_not_fit_is_refused_at_its_place_and_comes_later(bridge):
    with bridge.session("few", max_refs=5):
        stream, held = bridge.call("stream_things.things", 40), []
        with pytest.raises(SessionFullError):
            held.extend(stream)
        assert [thing.n for thing in held] == [0, 1, 2, 3]
        held.clear()
        gc.collect()
        assert [thing.n for thing in stream] == list(range(4, 40))


def test_a_session_that_evicts_drops_the_oldest_items_only(local, capfd):
    with local.session("few", max_refs=5, overflow="evict"):
        held = list(local.call("stream_things.things", 40))
        gone = local.call("stream_things.live")
        assert held[-1].n == 39
        assert gone <= 5
        with pytest.raises(RefNotFoundError) as caught:
            held[0].n  # noqa: B018
        assert caught.value.reason == "evicted"


def test_items_that_were_not_taken_are_freed_with_their_stream(bridge):
    stream = bridge.call("stream_things.things", 500)
    deque(itertools.islice(stream, 50), 0)
    del stream
    gc.collect()
    eventually(lambda: not bridge.refs(), "the release")
    assert bridge.call("stream_things.live") == 0


@pytest.mark.parametrize("how", ["numbers", "later"])
def test_a_stream_weighs_what_its_object_does(bridge, how):
    assert 0 < bridge.info(bridge.call(f"stream_things.{how}", 9)).nbytes < 10_000


# ---------------------------------------------------------------- sessions
def test_a_stream_and_its_items_belong_to_the_session_of_the_call(bridge):
    def of(ref):
        return bridge.info(ref).session_id

    with bridge.session("a"):
        stream = bridge.stream("stream_things.things", 9)
    assert (of(stream), of(next(stream))) == ("a", "a")
    with bridge.session("b"):
        assert of(next(stream)) == "a", "the target's session resolves"
    bound = bridge.options(session="c").stream("stream_things.things", 9)
    assert (of(bound), of(next(bound))) == ("c", "c")
    with bridge.options(session="d"):
        assert of(bridge.stream("stream_things.things", 9)) == "d"


def test_an_option_that_contradicts_a_stream_is_refused(bridge):
    with bridge.session("a"):
        stream = bridge.stream("range", 9)
    with bridge.options(session="b"), pytest.raises(SessionMismatchError):
        next(stream)
    assert list(stream) == list(range(9))


def test_a_stream_of_a_named_session_is_no_argument_elsewhere(bridge):
    with bridge.session("a"):
        stream = bridge.call("stream_things.numbers", 100)
    assert list(itertools.islice(stream, 30)) == list(range(30))
    with pytest.raises(SessionMismatchError):
        bridge.call("list", stream)
    with pytest.raises(SessionMismatchError):
        bridge.submit("list", stream)
    assert list(stream) == list(range(30, 100))


@pytest.mark.parametrize("end", ["ref", "session", "all"])
def test_a_stream_that_was_released_gives_nothing_more(bridge, end):
    with bridge.session("a"):
        stream = bridge.call("stream_things.numbers", 1_000)
    assert list(itertools.islice(stream, 30)) == list(range(30))
    if end == "all":
        bridge.release_all()
    else:
        bridge.release({"ref": stream, "session": "a"}[end])
    for _ in range(2):
        with pytest.raises(RefNotFoundError):
            next(stream)
    with pytest.raises(RefNotFoundError):
        asyncio.run(anext(stream))


def test_a_stream_of_an_ended_thread_lives_while_it_is_held(bridge):
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(bridge.call, "stream_things.numbers", 1_000).result(DEADLINE)
    gc.collect()
    assert list(stream) == list(range(1_000))


# ---------------------------------------------------------------- threads, tasks and callbacks
def test_threads_share_a_stream_and_each_item_comes_once(bridge):
    stream = bridge.call("stream_things.numbers", 10_000)
    callers = [InThread(list, stream) for _ in range(4)]
    got = [caller.result() for caller in callers]
    assert sorted(itertools.chain(*got)) == list(range(10_000))
    assert all(part == sorted(part) for part in got), "each thread sees them in order"


def test_tasks_and_loops_share_a_stream_and_each_item_comes_once(bridge):
    stream = bridge.call("stream_things.numbers", 3_000)

    async def some(count):
        return [item async for item, _ in _zip(stream, range(count))]

    async def main():
        parts = await asyncio.gather(some(500), some(700))
        parts.append(list(itertools.islice(stream, 300)))
        async for item in stream:
            parts.append([item])
            break
        parts.append(await asyncio.to_thread(list, stream))
        return parts

    parts = asyncio.run(main())
    assert sorted(itertools.chain(*parts)) == list(range(3_000))


async def _zip(stream, other):
    for x in other:
        yield await anext(stream), x


def test_async_for_waits_without_holding_the_loop(bridge, gate):
    stream = bridge.call("stream_things.gated", gate.path, 2, 2)

    async def main():
        beats, got = 0, []

        async def read():
            got.extend([item async for item in stream])

        task = asyncio.create_task(read())
        while len(got) < 2 and not gate._fd:
            beats += 1
            with contextlib.suppress(OSError):
                gate._fd = os.open(gate.path, os.O_WRONLY | os.O_NONBLOCK)
            await asyncio.sleep(0.001)
        gate.open()
        await asyncio.wait_for(task, DEADLINE)
        return beats, got

    beats, got = asyncio.run(main())
    assert got == [0, 1, 2, 3]
    assert beats > 1


def test_a_cancelled_async_for_loses_nothing(local, gate):
    stream = local.stream(
        "map", local.call("functools.partial", local.attr("stream_things.lazily_gated"), gate.path),
        [0, 1, "gate", 3],
    )  # fmt: skip
    got = []

    async def read():
        async for item in stream:
            got.append(item)  # noqa: PERF401

    async def main():
        task = asyncio.create_task(read())
        await asyncio.to_thread(gate.reached)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [*got, *stream] == [0, 1, 3], "only what ran was stopped"


def test_a_generator_that_calls_back_may_use_the_bridge(bridge):
    def give(i):
        return [*bridge.stream("range", i), bridge.call("math.sqrt", i * i)]

    stream = bridge.call("stream_things.calling", bridge.callback(give), 4)
    assert list(stream) == [[0.0], [0, 1.0], [0, 1, 2.0], [0, 1, 2, 3.0]]


def test_a_generator_that_asks_for_itself_is_told(bridge):
    found = []
    stream = bridge.call("stream_things.calling", bridge.callback(lambda i: next(found[0])), 4)
    found.append(stream)
    with pytest.raises(BridgeUsageError, match="being iterated already"):
        next(stream)
    assert list(stream) == []


# ---------------------------------------------------------------- stops
def test_an_interrupt_loses_only_the_item_that_was_being_made(local, gate):
    stream = local.stream(
        "map", local.call("functools.partial", local.attr("stream_things.lazily_gated"), gate.path),
        [0, 1, 2, "gate", 4, 5],
    )  # fmt: skip
    got = []

    def stop():
        gate.reached()
        os.kill(os.getpid(), signal.SIGINT)

    stopper = InThread(stop)
    with pytest.raises(KeyboardInterrupt):
        got.extend(stream)
    stopper.result()
    assert [*got, *stream] == [0, 1, 2, 4, 5]


def test_a_timeout_loses_only_the_item_that_was_being_made(local, gate):
    stream = local.stream(
        "map", local.call("functools.partial", local.attr("stream_things.lazily_gated"), gate.path),
        [0, 1, 2, "gate", 4, 5],
    )  # fmt: skip
    got = []
    with local.options(timeout=0.3), pytest.raises(CallTimeoutError):
        got.extend(stream)
    assert [*got, *stream] == [0, 1, 2, 4, 5]


def test_a_worker_that_dies_in_the_middle_is_one_error(local):
    stream, got = local.stream("stream_things.dies", 30), []
    with pytest.raises((WorkerDiedError, SessionLostError)):
        got.extend(stream)
    assert got == list(range(len(got)))
    with pytest.raises(SessionLostError):
        next(stream)


def test_a_stream_of_a_worker_that_is_gone_gives_nothing_more(local):
    stream = local.call("stream_things.numbers", 1_000)
    assert list(itertools.islice(stream, 30)) == list(range(30))
    local.restart()
    with pytest.raises(SessionLostError):
        next(stream)


def test_a_stream_of_a_closed_bridge_gives_nothing_more():
    with bridge_ext.Bridge() as bridge:
        stream = bridge.call("stream_things.numbers", 1_000)
        assert list(itertools.islice(stream, 30)) == list(range(30))
    with pytest.raises((BridgeClosedError, RefNotFoundError, SessionLostError)):
        next(stream)


def test_a_forked_child_gets_nothing_of_a_stream(local):
    stream = local.call("stream_things.numbers", 1_000)
    next(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork beside threads
        pid = os.fork()
    if not pid:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                next(stream)
            except BridgeClosedError:
                code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(stream) == list(range(1, 1_000))


# ---------------------------------------------------------------- asynchronous generators
@pytest.mark.parametrize("how", ["call", "stream"])
def test_an_asynchronous_generator_is_a_stream_like_any(bridge, how):
    stream = getattr(bridge, how)("stream_things.later", 2_000)
    assert isinstance(stream, StreamRef)
    got = list(itertools.islice(stream, 500))

    async def read():
        return [item async for item in stream]

    assert got + asyncio.run(read()) == list(range(2_000))


def test_an_asynchronous_generator_as_argument_yields_first_what_was_read_ahead(bridge):
    stream = bridge.call("stream_things.later", 50)
    assert list(itertools.islice(stream, 20)) == list(range(20))
    assert bridge.call("stream_things.all_of", stream) == list(range(20, 50))


# ---------------------------------------------------------------- against a plain iterator
def plain_next(it):
    try:
        return next(it)
    except StopIteration:
        return "stop"
    except ValueError:
        return "error"


class Model:
    """A stream in the worker, and the plain iterator it must look like."""

    def __init__(self, bridge, things, kind, script):
        self.bridge, self.things = bridge, things
        if kind != "call":  # what is read ahead ends once for all, as iterators should
            script = [x for x in script if x != "stop"]
        self.box = bridge.new("stream_things.Box")
        if kind == "map":
            self.plain = map(things.checked, script)
            self.stream = bridge.call("map", bridge.attr("stream_things.checked"), script)
        else:
            self.plain = things.Scripted(script)
            made = getattr(bridge, "stream" if kind == "stream" else "call")
            self.stream = made("stream_things.Scripted", script)

    def run(self, step, count):
        mine = getattr(self, step)(count)
        assert mine == self.things.take(self.plain, len(mine))

    def nexts(self, count):
        return [plain_next(self.stream) for _ in range(count)]

    def argument(self, count):
        return self.bridge.call("stream_things.take", self.stream, count)

    def submitted(self, count):
        return self.bridge.submit("stream_things.take", self.stream, count).result(DEADLINE)

    def batched(self, count):
        with self.bridge.batch() as batch:
            made = [batch.call("stream_things.take", self.stream, 1) for _ in range(count)]
        return [item for future in made for item in future.result(0)]

    def boxed(self, count):
        self.box.put(self.stream)
        got = self.nexts(1)
        got += self.bridge.call("stream_things.take", self.box.it, count)
        self.box.put(None)
        return got

    def dropped(self, count):
        got = self.nexts(count)
        self.box.put(self.stream)
        del self.stream
        gc.collect()
        self.stream = self.box.it
        self.box.put(None)
        return got

    def awaited(self, count):
        async def read():
            out = []
            for _ in range(count):
                try:
                    out.append(await anext(self.stream))
                except StopAsyncIteration:
                    out.append("stop")
                except ValueError:
                    out.append("error")
            return out

        return asyncio.run(read())

    def moved(self, count):
        self.stream = self.bridge.move(self.stream, "elsewhere")
        with self.bridge.session("elsewhere"):
            self.box = self.bridge.new("stream_things.Box")
        got = self.nexts(count)
        self.stream = self.bridge.move(self.stream, self.bridge.current_session())
        self.box = self.bridge.new("stream_things.Box")
        return got


STEPS = sorted(name for name in vars(Model) if not name.startswith("_") and name != "run")


@pytest.fixture(params=["memory", "local"], scope="module")
def shared(request, things):
    with bridge_ext.Bridge(request.param) as made:
        made.call("math.sqrt", 4)
        yield made


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(["call", "stream", "map"]),
    script=st.lists(
        st.one_of(st.integers(0, 99), st.sampled_from(["error", "stop"]), st.just([1])), max_size=60
    ),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=12),
)
def test_a_stream_is_as_a_plain_iterator_whatever_is_done_with_it(
    shared, things, kind, script, steps
):
    model = Model(shared, things, kind, script)
    for step, count in steps:
        model.run(step, count)
    model.run("nexts", 5)


def test_nothing_is_left_of_streams(bridge):
    bridge.call("math.sqrt", 4)
    before = threading.active_count()
    for stream in (bridge.stream("range", 99), bridge.call("stream_things.things", 99)):
        deque(itertools.islice(stream, 9), 0)
    del stream
    gc.collect()
    eventually(lambda: not bridge.refs(), "the release")
    assert threading.active_count() == before
    assert bridge.call("stream_things.live") == 0


@pytest.mark.parametrize(
    "made",
    [
        "list(range(3000))",
        "tuple(range(3000))",
        "'ab' * 1500",
        "dict.fromkeys(range(3000))",
        "set(range(3000))",
    ],
)
def test_a_builtin_container_is_iterated_in_few_trips(bridge, made):
    ref = bridge.options(fetch=False).call("eval", made)
    before = bridge.status().calls
    assert list(ref) == list(eval(made))
    assert bridge.status().calls - before < 20
