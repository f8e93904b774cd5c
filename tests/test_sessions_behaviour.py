"""Sessions as a user of the public API meets them, on a worker process and in this process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import bridge_ext
from bridge_ext import (
    BridgeUsageError,
    CallEnded,
    CallStarted,
    InvalidRefError,
    RefNotFoundError,
    Released,
    SessionFullError,
    SessionMismatchError,
    SessionNotFoundError,
)

THINGS = """
import gc
import weakref

_things = weakref.WeakSet()
_touches = []


class Thing:
    def __init__(self, tag=""):
        self.tag = tag
        self.part = None
        _things.add(self)

    def make(self):
        return Thing(self.tag)

    def __call__(self):
        return Thing(self.tag)

    def __add__(self, other):
        return Thing(self.tag)

    def __getitem__(self, index):
        return Thing(self.tag)

    def __iter__(self):
        while True:
            yield Thing(self.tag)

    @property
    def fresh(self):
        return Thing(self.tag)


SHARED = Thing("shared")


def make(tag=""):
    return Thing(tag)


def several(count, tag=""):
    return [Thing(tag) for _ in range(count)]


def endless(tag=""):
    while True:
        yield Thing(tag)


def same(thing, *others):
    return thing


def with_a_new_one(thing):
    return [thing, Thing("new")]


def live(tag=""):
    gc.collect()
    return sum(thing.tag == tag for thing in list(_things))


def touch(*args):
    _touches.append(args and None)


def touches():
    return len(_touches)


def call(fn):
    return fn()


def after(gate, started, make_one):
    with open(started, "w"):
        pass
    with open(gate) as stream:
        stream.read()
    return Thing() if make_one else 7
"""


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "session_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("session_things", None)


@pytest.fixture(params=["memory", "local"])
def backend(request):
    return request.param


@pytest.fixture
def used(bridge):
    """A bridge whose worker has started."""
    bridge.call("math.sqrt", 4)
    return bridge


def make(bridge, tag=""):
    return bridge.new("session_things.Thing", tag)


def live(bridge, tag=""):
    return bridge.call("session_things.live", tag)


def home(bridge, ref):
    return bridge.info(ref).session_id


def ids(bridge):
    return [session.id for session in bridge.sessions()]


def in_thread(fn):
    """What `fn` returns in a thread of its own, which has ended when this returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn).result()


@contextlib.contextmanager
def running_thread():
    """A thread that runs until the block ends."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, daemon=True)
    thread.start()
    try:
        yield thread, end
    finally:
        end.set()
        thread.join()


# --- Resolution -------------------------------------------------------------------------------

# Each path makes an object, by a call that has no target.
FREE_PATHS = {
    "module handle": lambda b: b.module("session_things").make(),
    "class through a module handle": lambda b: b.module("session_things").Thing(),
    "dotted path": lambda b: b.call("session_things.make"),
    "new": lambda b: b.new("session_things.Thing"),
    "attribute through a module handle": lambda b: b.module("session_things").SHARED,
    "attribute by path": lambda b: b.attr("session_things.SHARED"),
    "helper": lambda b: b.helper("make_a_thing"),
    "stream": lambda b: next(iter(b.stream("session_things.endless"))),
    "put": lambda b: b.put({"plain": "data"}),
    "result as a ref": lambda b: b.options(fetch=False).call("math.sqrt", 4),
}
# Each path makes an object, by a call on the ref it is given.
TARGET_PATHS = {
    "method": lambda b, t: t.make(),
    "method by name": lambda b, t: b.method(t, "make"),
    "call": lambda b, t: t(),
    "attribute": lambda b, t: t.fresh,
    "attribute by name": lambda b, t: b.get(t, "fresh"),
    "operator": lambda b, t: t + 1,
    "index": lambda b, t: t[0],
    "iteration": lambda b, t: next(iter(t)),
}

free_path = pytest.mark.parametrize("path", FREE_PATHS.values(), ids=FREE_PATHS)
target_path = pytest.mark.parametrize("path", TARGET_PATHS.values(), ids=TARGET_PATHS)


@pytest.fixture
def equipped(bridge):
    def make_a_thing():
        import session_things

        return session_things.Thing()

    bridge.register_helper(make_a_thing)
    return bridge


@free_path
def test_with_nothing_in_force_an_object_belongs_to_the_auto_session(equipped, path):
    assert home(equipped, path(equipped)) == equipped.current_session()
    assert equipped.session_info(equipped.current_session()).kind == "auto"


@free_path
def test_an_object_belongs_to_the_named_session_in_force(equipped, path):
    with equipped.session("inner"):
        assert home(equipped, path(equipped)) == "inner"


@free_path
def test_the_sticky_session_is_in_force_until_it_is_cleared(equipped, path):
    equipped.use("sticky")
    assert home(equipped, path(equipped)) == "sticky"
    equipped.use(None)
    assert home(equipped, path(equipped)) != "sticky"


@free_path
def test_an_option_goes_before_the_session_in_force(equipped, path):
    with equipped.session("inner"), equipped.options(session="chosen"):
        assert home(equipped, path(equipped)) == "chosen"


@free_path
def test_entering_a_session_hides_an_outer_option_until_it_is_left(equipped, path):
    with equipped.options(session="chosen"):
        with equipped.session("inner"):
            assert home(equipped, path(equipped)) == "inner"
        assert home(equipped, path(equipped)) == "chosen"


@pytest.mark.parametrize(
    "path",
    [
        lambda b: b.call("session_things.make"),
        lambda b: b.new("session_things.Thing"),
        lambda b: b.attr("session_things.SHARED"),
        lambda b: b.helper("make_a_thing"),
        lambda b: next(iter(b.stream("session_things.endless"))),
        lambda b: b.put([1]),
    ],
    ids=["call", "new", "attr", "helper", "stream", "put"],
)
def test_options_bound_to_calls_are_not_hidden_by_a_session_entered_later(equipped, path):
    bound = equipped.options(session="chosen")
    with equipped.session("inner"):
        assert home(equipped, path(bound)) == "chosen"


@target_path
def test_the_target_decides_when_no_session_is_in_force(bridge, path):
    with bridge.session("home"):
        target = make(bridge)
    assert home(bridge, path(bridge, target)) == "home"


@target_path
def test_a_named_target_goes_before_the_session_in_force(bridge, path):
    with bridge.session("home"):
        target = make(bridge)
    with bridge.session("elsewhere"):
        assert home(bridge, path(bridge, target)) == "home"


@target_path
def test_an_auto_target_goes_before_the_session_in_force(bridge, path):
    target = make(bridge)
    with bridge.session("elsewhere"):
        assert home(bridge, path(bridge, target)) == home(bridge, target)


@target_path
def test_a_target_keeps_its_own_auto_session_in_another_thread(bridge, path):
    target = make(bridge)
    made = in_thread(lambda: path(bridge, target))
    assert home(bridge, made) == home(bridge, target)


@target_path
def test_under_an_option_an_auto_target_is_borrowed(bridge, path):
    target = make(bridge)
    before = home(bridge, target)
    with bridge.options(session="chosen"):
        assert home(bridge, path(bridge, target)) == "chosen"
    assert home(bridge, target) == before


@target_path
def test_an_option_that_contradicts_a_named_target_is_refused(bridge, path):
    with bridge.session("home"):
        target = make(bridge)
    with (
        bridge.options(session="chosen"),
        pytest.raises(SessionMismatchError) as caught,
    ):
        path(bridge, target)
    assert (caught.value.expected, caught.value.actual) == ("chosen", "home")


@target_path
def test_such_an_option_is_refused_even_while_the_session_is_in_force(bridge, path):
    with bridge.session("home"), bridge.options(session="chosen"):
        with bridge.options(session="home"):
            target = make(bridge)
        with pytest.raises(SessionMismatchError) as caught:
            path(bridge, target)
    assert (caught.value.expected, caught.value.actual) == ("chosen", "home")


def test_a_stream_item_belongs_to_the_streams_session(bridge):
    with bridge.session("home"):
        stream = bridge.call("session_things.endless")
    assert home(bridge, next(stream)) == "home"
    with bridge.session("elsewhere"):
        assert home(bridge, next(stream)) == "home"


def test_a_stream_item_under_an_option_belongs_to_the_options_session(bridge):
    stream = bridge.call("session_things.endless")
    with bridge.options(session="chosen"):
        assert home(bridge, next(stream)) == "chosen"


def test_the_next_item_of_a_named_stream_is_refused_under_another_option(bridge):
    with bridge.session("home"):
        stream = bridge.call("session_things.endless")
    with bridge.options(session="chosen"), pytest.raises(SessionMismatchError):
        next(stream)


def test_setting_an_attribute_runs_in_the_targets_session(bridge):
    with bridge.session("home"):
        target = make(bridge)
    with bridge.session("elsewhere"):
        foreign = make(bridge)
    with pytest.raises(SessionMismatchError) as caught:
        target.part = foreign
    assert (caught.value.expected, caught.value.actual) == ("home", "elsewhere")
    assert target.part is None


def test_setting_an_attribute_follows_an_option_for_an_auto_target(bridge):
    target = make(bridge)
    with bridge.options(session="chosen"):
        part = make(bridge)
        target.part = part
    assert bridge.call("operator.is_", target.part, bridge.get(target, "part"))


def test_setting_an_attribute_of_a_named_target_is_refused_under_another_option(bridge):
    with bridge.session("home"):
        target = make(bridge)
    with pytest.raises(SessionMismatchError):
        bridge.options(session="chosen").set(target, "part", 1)
    assert target.part is None


@pytest.mark.parametrize("force", ["nothing", "elsewhere"])
def test_a_ref_is_released_in_its_own_session(bridge, force):
    with bridge.session("home"):
        target = make(bridge, "released")
    with bridge.session(force) if force != "nothing" else contextlib.nullcontext():
        assert bridge.release(target).refs == 1
    assert bridge.refs("home") == []
    assert live(bridge, "released") == 0


def test_an_auto_ref_is_released_whatever_the_option(bridge):
    target = make(bridge, "released")
    with bridge.options(session="chosen"):
        assert bridge.release(target).refs == 1
    assert live(bridge, "released") == 0


def test_fetch_runs_in_the_refs_session(bridge):
    with bridge.session("home"):
        target = bridge.put([1, 2])
    with bridge.session("elsewhere"):
        assert bridge.fetch(target) == [1, 2]
    with pytest.raises(SessionMismatchError):
        bridge.options(session="elsewhere").fetch(target)


def test_options_nest_and_the_inner_one_holds(bridge):
    with bridge.options(session="outer"):
        with bridge.options(timeout=None):
            assert home(bridge, make(bridge)) == "outer"
        with bridge.options(session="inner"):
            assert home(bridge, make(bridge)) == "inner"
        assert home(bridge, make(bridge)) == "outer"


def test_an_options_block_that_raises_ends_its_options(bridge):
    with contextlib.suppress(KeyError), bridge.options(session="chosen"):
        raise KeyError
    assert home(bridge, make(bridge)) == bridge.current_session()


def test_options_are_not_seen_by_a_plain_thread(bridge):
    with bridge.options(session="chosen"):
        made = in_thread(lambda: make(bridge))
    assert home(bridge, made).startswith("auto_")


# --- Auto-sessions ----------------------------------------------------------------------------


def test_an_auto_session_is_made_by_the_first_call_and_not_before(bridge):
    assert bridge.sessions() == []
    bridge.call("math.sqrt", 4)
    assert [session.kind for session in bridge.sessions()] == ["auto"]


def test_asking_for_the_session_in_force_makes_the_auto_session(bridge):
    assert ids(bridge) == []
    assert bridge.current_session() in ids(bridge)


def test_an_auto_session_is_named_for_its_process(bridge):
    assert re.match(rf"auto_{os.getpid()}_\d+_\d{{13}}", bridge.current_session())


def test_one_thread_has_one_auto_session(bridge):
    assert len({home(bridge, ref) for ref in [make(bridge), make(bridge)]}) == 1


def test_threads_at_once_have_auto_sessions_of_their_own(bridge):
    together = threading.Barrier(5)

    def mine():
        session = bridge.current_session()
        together.wait(10)
        return session

    with ThreadPoolExecutor(5) as pool:
        found = [future.result() for future in [pool.submit(mine) for _ in range(5)]]
    assert len({*found, bridge.current_session()}) == 6


def test_a_named_session_in_force_leaves_the_auto_session_alone(bridge):
    auto = bridge.current_session()
    with bridge.session("named"):
        assert bridge.current_session() == "named"
    assert bridge.current_session() == auto


def test_the_auto_session_of_a_thread_that_left_nothing_ends_with_it(bridge, eventually):
    def work():
        make(bridge, "dropped")
        return bridge.current_session()

    session = in_thread(work)
    eventually(lambda: session not in ids(bridge))
    eventually(lambda: live(bridge, "dropped") == 0)


def test_a_ref_that_escaped_its_thread_keeps_working(bridge, eventually):
    def work():
        make(bridge, "dropped")
        return make(bridge, "escaped"), bridge.current_session()

    ref, session = in_thread(work)
    eventually(lambda: live(bridge, "dropped") == 0)
    assert ref.tag == "escaped"
    assert session in ids(bridge)


def test_the_last_escaped_ref_ends_the_session_of_an_ended_thread(bridge, eventually):
    def work():
        return [make(bridge, "escaped") for _ in range(2)], bridge.current_session()

    refs, session = in_thread(work)
    refs.pop()
    eventually(lambda: live(bridge, "escaped") == 1)
    assert session in ids(bridge)
    refs.pop()
    eventually(lambda: session not in ids(bridge))
    assert live(bridge, "escaped") == 0


def test_a_ref_in_a_reference_cycle_is_freed_when_the_cycle_is_collected(bridge, eventually):
    def work():
        holder = [make(bridge, "cyclic")]
        holder.append(holder)
        return bridge.current_session()

    session = in_thread(work)
    gc.collect()
    eventually(lambda: session not in ids(bridge))
    assert live(bridge, "cyclic") == 0


def test_a_thread_without_calls_makes_no_session(bridge):
    in_thread(lambda: None)
    assert ids(bridge) == []


def test_releasing_the_auto_session_frees_what_this_thread_made(bridge):
    mine, other = make(bridge, "mine"), in_thread(lambda: make(bridge, "other"))
    before = bridge.current_session()
    released = bridge.release_auto_session()
    assert released.refs == 1
    assert other.tag == "other"
    with pytest.raises(RefNotFoundError) as caught:
        mine.make()
    assert caught.value.reason == "session released"
    assert before not in ids(bridge)


def test_after_its_release_a_thread_gets_a_new_auto_session(bridge):
    before = bridge.current_session()
    bridge.release_auto_session()
    assert bridge.current_session() != before
    assert make(bridge, "again").tag == "again"


def test_releasing_an_auto_session_that_was_never_made_frees_nothing(bridge):
    assert bridge.release_auto_session() == Released(0, 0)
    assert ids(bridge) == []


def test_clearing_the_auto_session_forgets_it_without_freeing(bridge):
    ref = make(bridge, "forgotten")
    before = bridge.current_session()
    bridge.clear_auto_session()
    assert bridge.current_session() != before
    assert live(bridge, "forgotten") == 1
    assert ref.tag == "forgotten"


def test_in_strict_mode_everything_ends_with_its_thread(backend, eventually):
    with bridge_ext.Bridge(backend, auto_session="cell") as bridge:
        ref = in_thread(lambda: make(bridge, "strict"))
        eventually(lambda: live(bridge, "strict") == 0)
        with pytest.raises(RefNotFoundError) as caught:
            ref.make()
        assert caught.value.reason == "cell ended"


def test_in_strict_mode_named_sessions_outlive_the_thread(backend, eventually):
    with bridge_ext.Bridge(backend, auto_session="cell") as bridge:

        def work():
            with bridge.session("named"):
                return make(bridge, "named"), bridge.current_session()

        ref, _ = in_thread(work)
        auto = in_thread(bridge.current_session)
        eventually(lambda: auto not in ids(bridge))
        assert ref.tag == "named"


def test_an_unknown_mode_of_auto_sessions_is_refused(backend):
    with pytest.raises(BridgeUsageError, match="reachable"):
        bridge_ext.Bridge(backend, auto_session="forever")


# --- Family and walls -------------------------------------------------------------------------


def test_refs_of_another_threads_auto_session_may_be_arguments(bridge):
    other = in_thread(lambda: make(bridge, "theirs"))
    assert bridge.call("getattr", other, "tag") == "theirs"
    assert home(bridge, other) != bridge.current_session()


def test_an_auto_ref_is_borrowed_by_a_call_in_a_named_session(bridge):
    ref = make(bridge, "borrowed")
    before = home(bridge, ref)
    with bridge.session("named"):
        assert bridge.call("getattr", ref, "tag") == "borrowed"
    assert home(bridge, ref) == before
    assert bridge.refs("named") == []


def test_an_auto_ref_may_be_the_argument_of_a_named_target(bridge):
    ref = make(bridge)
    with bridge.session("named"):
        target = make(bridge)
    target.part = ref
    assert home(bridge, target.part) == "named"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda ref: (ref,),
        lambda ref: ([[ref]],),
        lambda ref: ({"a": (1, {"b": ref})},),
        lambda ref: (lambda: ref,),
        lambda ref: (dataclasses.make_dataclass("Box", ["inside"])(ref),),
    ],
    ids=["bare", "in lists", "in dicts", "in a closure", "in an object"],
)
def test_a_ref_of_a_named_session_is_refused_elsewhere_before_anything_runs(bridge, wrap):
    with bridge.session("named"):
        ref = make(bridge)
    before = bridge.call("session_things.touches")
    with pytest.raises(SessionMismatchError) as caught:
        bridge.call("session_things.touch", *wrap(ref))
    assert caught.value.actual == "named"
    assert caught.value.expected == bridge.current_session()
    assert "Thing" in str(caught.value.ref)
    assert "bridge.move" in str(caught.value)
    assert bridge.call("session_things.touches") == before


def test_a_keyword_argument_is_behind_the_wall_too(bridge):
    with bridge.session("named"):
        ref = make(bridge)
    with pytest.raises(SessionMismatchError):
        bridge.call("dict", key=ref)


def test_a_ref_of_another_named_session_is_refused(bridge):
    with bridge.session("one"):
        ref = make(bridge)
    with bridge.session("two"), pytest.raises(SessionMismatchError) as caught:
        bridge.call("session_things.same", ref)
    assert (caught.value.expected, caught.value.actual) == ("two", "one")


def test_a_named_ref_may_be_used_in_calls_made_while_its_session_is_in_force(bridge):
    with bridge.session("named"):
        ref = make(bridge, "inside")
        made = bridge.options(session="chosen").call("session_things.same", ref)
        auto_target = in_thread(lambda: make(bridge))
        auto_target.part = ref
    assert home(bridge, made) == "chosen"
    assert auto_target.part.tag == "inside"


def test_only_the_innermost_session_is_in_force(bridge):
    with bridge.session("outer"):
        ref = make(bridge)
        with bridge.session("inner"), pytest.raises(SessionMismatchError):
            bridge.call("session_things.same", ref)
        assert bridge.call("session_things.same", ref) is ref


def test_the_message_of_a_mismatch_shows_a_way_that_works(bridge):
    with bridge.session("named"):
        ref = make(bridge, "moved")
    with pytest.raises(SessionMismatchError) as caught:
        bridge.call("session_things.same", ref)
    target = re.search(r"bridge\.move\(ref, '([^']+)'\)", str(caught.value))[1]
    assert bridge.call("getattr", bridge.move(ref, target), "tag") == "moved"


def test_a_release_does_not_mind_a_wall(bridge):
    with bridge.session("one"):
        ref = make(bridge)
    with bridge.session("two"):
        assert bridge.release(ref).refs == 1


def test_isolated_cells_are_walls(backend):
    with bridge_ext.Bridge(backend, isolate_cells=True) as bridge:
        ref = in_thread(lambda: make(bridge, "isolated"))
        with pytest.raises(SessionMismatchError) as caught:
            bridge.call("session_things.same", ref)
        assert caught.value.actual == home(bridge, ref)
        assert ref.tag == "isolated"


def test_an_isolated_ref_may_be_used_in_its_own_cell(backend):
    with bridge_ext.Bridge(backend, isolate_cells=True) as bridge:
        ref = make(bridge)
        assert bridge.call("session_things.same", ref) is ref


def test_an_isolated_ref_is_refused_in_a_named_session(backend):
    with bridge_ext.Bridge(backend, isolate_cells=True) as bridge:
        ref = in_thread(lambda: make(bridge))
        with bridge.session("named"), pytest.raises(SessionMismatchError):
            bridge.call("session_things.same", ref)


def test_a_ref_of_another_bridge_is_invalid(backend):
    with bridge_ext.Bridge(backend) as one, bridge_ext.Bridge(backend) as two:
        ref = make(one)
        with pytest.raises(InvalidRefError):
            two.call("session_things.same", ref)
        with pytest.raises(InvalidRefError):
            two.method(ref, "make")
        with pytest.raises(InvalidRefError):
            two.release(ref)
        assert ref.make().tag == ""


# --- Named sessions ---------------------------------------------------------------------------


def test_blocks_nest_and_restore(bridge):
    auto = bridge.current_session()
    with bridge.session("outer"):
        with bridge.session("inner"):
            assert bridge.current_session() == "inner"
        assert bridge.current_session() == "outer"
    assert bridge.current_session() == auto


def test_a_block_restores_when_an_exception_leaves_it(bridge):
    with bridge.session("outer"):
        with pytest.raises(ZeroDivisionError), bridge.session("inner"):
            _ = 1 / 0
        assert bridge.current_session() == "outer"


def test_one_session_object_may_be_entered_within_itself(bridge):
    named = bridge.session("named")
    with named:
        with named, bridge.session("other"), named:
            assert bridge.current_session() == "named"
        assert bridge.current_session() == "named"
    assert bridge.current_session() != "named"


def test_threads_may_share_a_session_object(bridge):
    named = bridge.session("named")
    inside, leave = threading.Barrier(4), threading.Barrier(4)

    def work():
        auto = bridge.current_session()
        with named:
            inside.wait(10)
            during = home(bridge, make(bridge))
            leave.wait(10)
        return during == "named" and bridge.current_session() == auto

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work) for _ in range(4)]
        assert [future.result() for future in running] == [True] * 4


def test_tasks_may_share_a_session_object_and_leave_it_in_any_order(bridge):
    named = bridge.session("named")

    async def work(mine, other, session):
        with session:
            other.set()
            await mine.wait()
            found = home(bridge, make(bridge))
        return found, bridge.current_session()

    async def main():
        a, b, c = asyncio.Event(), asyncio.Event(), asyncio.Event()
        return await asyncio.gather(
            work(a, b, named), work(b, c, bridge.session("other")), work(c, a, named)
        )

    auto = bridge.current_session()
    assert asyncio.run(main()) == [("named", auto), ("other", auto), ("named", auto)]


def test_a_task_inherits_the_session_in_force_where_it_was_started(bridge):
    async def main():
        with bridge.session("named"):
            task = asyncio.create_task(asyncio.to_thread(lambda: home(bridge, make(bridge))))
        outside = bridge.current_session()
        return await task, outside

    inside, outside = asyncio.run(main())
    assert inside == "named"
    assert outside.startswith("auto_")


def test_a_plain_thread_does_not_inherit_the_session_in_force(bridge):
    with bridge.session("named"):
        assert in_thread(bridge.current_session).startswith("auto_")


def test_a_plain_thread_does_not_inherit_the_sticky_session(bridge):
    bridge.use("sticky")
    assert in_thread(bridge.current_session).startswith("auto_")
    assert bridge.current_session() == "sticky"


def test_the_sticky_session_of_a_thread_is_its_own(bridge):
    def work():
        bridge.use("theirs")
        return bridge.current_session()

    assert in_thread(work) == "theirs"
    assert bridge.current_session() != "theirs"


def test_a_block_goes_before_the_sticky_session_and_restores_it(bridge):
    bridge.use("sticky")
    with bridge.session("block"):
        assert bridge.current_session() == "block"
    assert bridge.current_session() == "sticky"


def test_a_named_session_outlives_its_block_and_its_thread(bridge):
    def work():
        with bridge.session("named"):
            return make(bridge, "lives")

    ref = in_thread(work)
    assert ref.tag == "lives"
    assert home(bridge, ref) == "named"


def test_a_made_id_is_a_uuid(bridge):
    uuid = r"session_[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}"
    with bridge.session():
        assert re.fullmatch(uuid, bridge.current_session())
    assert re.fullmatch(uuid, bridge.create_session())


def test_two_sessions_without_an_id_are_two(bridge):
    assert bridge.create_session() != bridge.create_session()


def test_a_block_without_an_id_is_the_same_session_each_time_it_is_entered(bridge):
    named = bridge.session()
    with named:
        first = bridge.current_session()
    with named:
        assert bridge.current_session() == first


NAMING = {
    "session": lambda b, id: b.session(id),
    "use": lambda b, id: b.use(id),
    "options": lambda b, id: b.options(session=id).call("math.sqrt", 4),
    "create_session": lambda b, id: b.create_session(id),
    "move": lambda b, id: b.move(make(b), id),
}


@pytest.mark.parametrize("name", NAMING.values(), ids=NAMING)
def test_naming_a_session_makes_it(bridge, name):
    name(bridge, "fresh")
    assert bridge.session_info("fresh").kind == "named"
    assert "fresh" in ids(bridge)


@pytest.mark.parametrize("name", NAMING.values(), ids=NAMING)
@pytest.mark.parametrize(
    "bad",
    ["", "a b", "a/b", "é", "a\n", "\u0661", "x" * 129, "a\x00", "a'b", 5, b"a", ["a"]],
    ids=repr,
)
def test_a_bad_id_is_a_usage_error(memory, name, bad):
    with pytest.raises(BridgeUsageError):
        name(memory, bad)


@pytest.mark.parametrize("good", ["x" * 128, "a.b_c:d-e", "0", ":", "-", "A"])
def test_a_good_id_is_taken_as_it_is(memory, good):
    with memory.session(good):
        assert memory.current_session() == good
        assert home(memory, make(memory)) == good


ASKING = {
    "release": lambda b, id: b.release(id),
    "refs": lambda b, id: b.refs(id),
    "kept": lambda b, id: b.kept(id),
    "session_info": lambda b, id: b.session_info(id),
    "terminate_session": lambda b, id: b.terminate_session(id),
    "register_owner": lambda b, id: b.register_owner(id, threading.current_thread()),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_asking_for_a_session_that_never_was_names_those_that_are_near(bridge, ask):
    bridge.create_session("shared")
    with pytest.raises(SessionNotFoundError, match="shared") as caught:
        ask(bridge, "sharde")
    assert caught.value.session_id == "sharde"
    assert "shared" in caught.value.near
    assert "sharde" not in ids(bridge)


def test_limits_that_are_not_given_are_left_as_they_are(bridge):
    bridge.session("named", ttl_seconds=9, max_refs=5, overflow="evict", tags={"a": "b"})
    bridge.session("named")
    with bridge.session("named", ttl_seconds=8):
        pass
    info = bridge.session_info("named")
    assert (info.ttl_seconds, info.max_refs, info.overflow) == (8, 5, "evict")
    assert dict(info.tags) == {"a": "b"}


def test_sessions_take_the_limits_of_the_bridge(backend):
    with bridge_ext.Bridge(backend, max_refs=3, ttl_seconds=11) as bridge:
        bridge.create_session("named")
        info = bridge.session_info("named")
        auto = bridge.session_info(bridge.current_session())
    assert (info.max_refs, info.ttl_seconds) == (3, 11)
    assert (auto.max_refs, auto.ttl_seconds) == (3, 11)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_refs": -1},
        {"max_refs": "many"},
        {"max_refs": 2.5},
        {"ttl_seconds": -1},
        {"ttl_seconds": float("nan")},
        {"ttl_seconds": "long"},
        {"overflow": "explode"},
        {"tags": "text"},
        {"tags": {"a": 1}},
    ],
    ids=str,
)
def test_a_bad_limit_is_a_usage_error_and_makes_nothing(memory, limits):
    with pytest.raises(BridgeUsageError):
        memory.session("limited", **limits)
    assert "limited" not in ids(memory)


def test_session_info_tells_what_is_held(bridge):
    with bridge.session("named", tags={"purpose": "test"}):
        refs = [make(bridge), bridge.put(b"x" * 1000)]
    info = bridge.session_info("named")
    assert (info.id, info.kind, info.status, info.refs) == (
        "named",
        "named",
        bridge_ext.Status.ACTIVE,
        len(refs),
    )
    assert info.nbytes >= 1000
    assert dict(info.tags) == {"purpose": "test"}
    assert info.owners == ("kernel",)
    assert info.worker == bridge.status().pid
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.refs = 0


def test_refs_lists_one_session_or_all(bridge):
    with bridge.session("one"):
        one = make(bridge)
    with bridge.session("two"):
        two = make(bridge)
    auto = make(bridge)
    assert [info.id for info in bridge.refs("one")] == [bridge.info(one).id]
    assert {info.id for info in bridge.refs()} == {bridge.info(ref).id for ref in (one, two, auto)}


# --- Keeping ----------------------------------------------------------------------------------


def test_a_ref_in_a_named_session_is_freed_with_its_last_handle(bridge, eventually):
    with bridge.session("named"):
        ref = make(bridge, "forgotten")
    again = ref
    del ref
    assert live(bridge, "forgotten") == 1
    del again
    eventually(lambda: live(bridge, "forgotten") == 0)
    assert bridge.refs("named") == []


def test_a_kept_ref_outlives_its_handles(bridge):
    with bridge.session("named"):
        ref = make(bridge, "kept")
        bridge.keep(ref, "model")
    del ref
    assert live(bridge, "kept") == 1
    assert bridge.kept("named")["model"].tag == "kept"
    assert [info.kept_as for info in bridge.refs("named")] == ["model"]


def test_kept_gives_the_handle_that_exists(bridge):
    with bridge.session("named"):
        ref = make(bridge)
        bridge.keep(ref, "model")
        assert bridge.kept()["model"] is ref
    assert bridge.kept("named") == {"model": ref}


def test_kept_gives_the_handles_of_the_session_in_force(bridge):
    for name in ("one", "two"):
        with bridge.session(name):
            bridge.keep(make(bridge, name), "model")
    with bridge.session("two"):
        assert bridge.kept()["model"].tag == "two"
    assert bridge.kept("one")["model"].tag == "one"
    assert bridge.kept() == {}


def test_keeping_names_a_ref_in_its_own_session(bridge):
    with bridge.session("named"):
        ref = make(bridge)
    with bridge.session("elsewhere"):
        bridge.keep(ref, "model")
        assert bridge.kept() == {}
    assert list(bridge.kept("named")) == ["model"]


def test_a_kept_ref_may_be_released(bridge):
    with bridge.session("named"):
        ref = make(bridge, "kept")
        bridge.keep(ref, "model")
    assert bridge.release(ref).refs == 1
    assert live(bridge, "kept") == 0
    assert bridge.kept("named") == {}


def test_a_kept_ref_ends_with_its_session(bridge):
    with bridge.session("named"):
        bridge.keep(make(bridge, "kept"), "model")
    assert bridge.release("named").refs == 1
    assert live(bridge, "kept") == 0


def test_a_ref_of_an_ended_thread_that_is_kept_in_a_named_session_stays(bridge):
    def work():
        with bridge.session("named"):
            bridge.keep(make(bridge, "kept"), "model")

    in_thread(work)
    assert live(bridge, "kept") == 1
    assert bridge.kept("named")["model"].tag == "kept"


# --- Moving -----------------------------------------------------------------------------------


def test_moving_re_homes_the_same_object(bridge):
    ref = make(bridge, "moved")
    before = bridge.call("id", ref)
    moved = bridge.move(ref, "named")
    assert home(bridge, moved) == "named"
    with bridge.session("named"):
        assert bridge.call("id", moved) == before
    assert live(bridge, "moved") == 1


def test_the_old_handle_stands_for_the_moved_ref(bridge):
    ref = make(bridge, "moved")
    moved = bridge.move(ref, "named")
    assert ref.tag == "moved"
    assert home(bridge, ref) == "named"
    assert bridge.info(ref).id == bridge.info(moved).id
    assert len(bridge.refs()) == 1


def test_a_moved_object_is_freed_with_its_last_handle(bridge, eventually):
    ref = make(bridge, "moved")
    moved = bridge.move(ref, "named")
    del ref
    assert live(bridge, "moved") == 1
    del moved
    eventually(lambda: live(bridge, "moved") == 0)


def test_moving_frees_an_object_from_the_end_of_its_old_session(bridge):
    with bridge.session("old"):
        ref = make(bridge, "moved")
    moved = bridge.move(ref, "new")
    bridge.release("old")
    assert moved.tag == "moved"
    assert ref.tag == "moved"


def test_moving_to_where_an_object_already_is_gives_the_handle_there(bridge):
    ref = make(bridge, "twin")
    with bridge.session("named"):
        twin = bridge.call("session_things.same", ref)
    assert twin is not ref
    assert bridge.move(ref, "named") is twin
    assert bridge.info(ref).id == bridge.info(twin).id
    assert len(bridge.refs()) == 1


def test_merged_twins_are_freed_with_the_last_of_their_handles(bridge, eventually):
    ref = make(bridge, "twin")
    with bridge.session("named"):
        twin = bridge.call("session_things.same", ref)
    bridge.move(ref, "named")
    del twin
    gc.collect()
    bridge.call("math.sqrt", 4)
    assert ref.tag == "twin"
    del ref
    eventually(lambda: live(bridge, "twin") == 0)
    assert bridge.refs("named") == []


def test_a_merged_twin_may_be_dropped_first_and_the_other_lives(bridge):
    ref = make(bridge, "twin")
    with bridge.session("named"):
        twin = bridge.call("session_things.same", ref)
    bridge.move(ref, "named")
    del ref
    gc.collect()
    bridge.call("math.sqrt", 4)
    assert twin.tag == "twin"


def test_releasing_one_of_merged_twins_releases_the_ref(bridge):
    ref = make(bridge, "twin")
    with bridge.session("named"):
        twin = bridge.call("session_things.same", ref)
    bridge.move(ref, "named")
    assert bridge.release(ref).refs == 1
    with pytest.raises(RefNotFoundError):
        twin.make()
    assert bridge.release(twin) == Released(0, 0)


def test_a_twin_that_was_kept_stays_kept_when_merged(bridge):
    ref = make(bridge, "twin")
    with bridge.session("named"):
        bridge.keep(bridge.call("session_things.same", ref), "model")
    moved = bridge.move(ref, "named")
    del ref, moved
    gc.collect()
    assert live(bridge, "twin") == 1
    assert bridge.kept("named")["model"].tag == "twin"


def test_moving_a_ref_to_its_own_session_changes_nothing(bridge):
    with bridge.session("named"):
        ref = make(bridge)
    assert bridge.move(ref, "named") is ref
    assert len(bridge.refs("named")) == 1


def test_a_moved_ref_may_be_moved_back(bridge):
    ref = make(bridge, "moved")
    auto = bridge.current_session()
    back = bridge.move(bridge.move(ref, "named"), auto)
    assert home(bridge, back) == auto
    assert bridge.call("session_things.same", back) is back
    assert bridge.refs("named") == []


def test_moving_into_a_full_session_is_refused_and_harms_nothing(bridge):
    with bridge.session("full", max_refs=1):
        inside = make(bridge, "inside")
    ref = make(bridge, "outside")
    before = home(bridge, ref)
    with pytest.raises(SessionFullError):
        bridge.move(ref, "full")
    assert home(bridge, ref) == before
    assert (ref.tag, inside.tag) == ("outside", "inside")


def test_a_released_ref_cannot_be_moved(bridge):
    ref = make(bridge)
    bridge.release(ref)
    with pytest.raises(RefNotFoundError):
        bridge.move(ref, "named")


def test_what_is_no_ref_cannot_be_moved(bridge):
    with pytest.raises(InvalidRefError):
        bridge.move([1], "named")


# --- Owners -----------------------------------------------------------------------------------


class Owner:
    pass


def test_owners_are_watched_before_the_first_call_too(bridge, eventually):
    owner = Owner()
    bridge.create_session("x", owner=owner)
    del owner
    eventually(lambda: "x" not in ids(bridge), deadline=2)


def test_a_session_of_two_threads_ends_with_the_second(used, eventually):
    with used.session("x"):
        ref = make(used, "owned")
    with running_thread() as (first, end_first), running_thread() as (second, end_second):
        used.register_owner("x", first)
        used.register_owner("x", second)
        end_first.set()
        first.join()
        eventually(lambda: len(used.session_info("x").owners) == 1)
        assert ref.tag == "owned"
        end_second.set()
        second.join()
        eventually(lambda: "x" not in ids(used), deadline=2)
    assert live(used, "owned") == 0
    with pytest.raises(RefNotFoundError):
        ref.make()


def test_a_thread_that_has_not_started_is_an_owner(used, eventually):
    later = threading.Thread(target=lambda: None)
    used.create_session("x", owner=later)
    probe = Owner()
    used.create_session("probe", owner=probe)
    with running_thread() as (thread, end):
        used.create_session("thread", owner=thread)
        end.set()
        thread.join()
        eventually(lambda: "thread" not in ids(used))
    assert "x" in ids(used)
    later.start()
    later.join()
    eventually(lambda: "x" not in ids(used))


def test_a_thread_that_ended_before_it_was_registered_keeps_nothing(used, eventually):
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    with contextlib.suppress(BridgeUsageError):
        used.create_session("x", owner=thread)
        eventually(lambda: "x" not in ids(used))


def test_an_owning_object_keeps_a_session_until_it_is_collected(used, eventually):
    owner = Owner()
    with used.session("x", owner=owner):
        used.keep(make(used, "owned"), "thing")
    assert live(used, "owned") == 1
    del owner
    eventually(lambda: "x" not in ids(used))
    assert live(used, "owned") == 0


def test_an_object_and_a_thread_may_own_together(used, eventually):
    owner = Owner()
    used.create_session("x", owner=owner)
    with running_thread() as (thread, end):
        used.register_owner("x", thread)
        del owner
        eventually(lambda: len(used.session_info("x").owners) == 1)
        assert "x" in ids(used)
        end.set()
        thread.join()
        eventually(lambda: "x" not in ids(used))


def test_an_owner_of_two_sessions_ends_both(used, eventually):
    owner = Owner()
    used.create_session("x", owner=owner)
    used.create_session("y", owner=owner)
    del owner
    eventually(lambda: not {"x", "y"} & set(ids(used)))


@pytest.mark.parametrize("owner", [5, "text", (1,), [], {}], ids=repr)
def test_what_cannot_be_weakly_referenced_is_no_owner(used, owner):
    used.create_session("x")
    with pytest.raises(BridgeUsageError, match=type(owner).__name__):
        used.register_owner("x", owner)
    assert used.session_info("x").owners == ("kernel",)


def test_a_bad_owner_makes_no_session(used):
    with pytest.raises(BridgeUsageError):
        used.create_session("x", owner=5)
    assert "x" not in ids(used)


def test_an_owner_need_not_be_hashable_or_comparable(used, eventually):
    class Odd:
        __hash__ = None

        def __eq__(self, other):
            raise RuntimeError

    owner, other = Odd(), Odd()
    used.create_session("x", owner=owner)
    used.register_owner("x", other)
    used.unregister_owner("x", owner)
    assert "x" in ids(used)
    del other
    eventually(lambda: "x" not in ids(used))


def test_owners_that_compare_equal_are_two(used):
    class Equal:
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    first, second = Equal(), Equal()
    used.create_session("x", owner=first)
    used.register_owner("x", second)
    used.unregister_owner("x", second)
    assert "x" in ids(used)
    used.unregister_owner("x", first)
    assert "x" not in ids(used)


def test_unregistering_the_last_owner_ends_the_session(used):
    first, second = Owner(), Owner()
    with used.session("x", owner=first):
        ref = make(used, "owned")
    used.register_owner("x", second)
    used.unregister_owner("x", first)
    assert ref.tag == "owned"
    used.unregister_owner("x", second)
    assert live(used, "owned") == 0


def test_unregistering_what_is_no_owner_releases_nothing(used):
    used.create_session("x")
    with contextlib.suppress(BridgeUsageError):
        used.unregister_owner("x", Owner())
    assert "x" in ids(used)
    owner = Owner()
    used.register_owner("x", owner)
    with contextlib.suppress(BridgeUsageError):
        used.unregister_owner("x", Owner())
    assert "x" in ids(used)


def test_an_owner_of_an_ended_session_does_not_end_the_next_of_that_name(used, eventually):
    owner, witness = Owner(), Owner()
    used.create_session("x", owner=owner)
    used.release("x")
    used.create_session("x")
    used.create_session("witness", owner=witness)
    del owner
    del witness
    eventually(lambda: "witness" not in ids(used))
    assert "x" in ids(used)


# --- Limits -----------------------------------------------------------------------------------


def test_a_full_session_refuses_the_next_ref_naming_the_numbers(bridge):
    with bridge.session("small", max_refs=3):
        refs = [make(bridge, "small") for _ in range(3)]
        with pytest.raises(SessionFullError) as caught:
            make(bridge, "small")
    error = caught.value
    assert (error.session_id, error.held, error.wanted, error.max_refs) == ("small", 3, 1, 3)
    assert "small" in str(error)
    assert "3" in str(error)
    assert [ref.tag for ref in refs] == ["small"] * 3
    assert live(bridge, "small") == 3


def test_a_result_that_does_not_fit_is_refused_whole(bridge):
    with bridge.session("small", max_refs=3):
        refs = [make(bridge, "small"), make(bridge, "small")]
        with pytest.raises(SessionFullError):
            bridge.call("session_things.several", 2, "small")
        assert len(bridge.refs("small")) == 2
        assert live(bridge, "small") == 2
        refs.append(make(bridge, "small"))
    assert len({bridge.info(ref).id for ref in refs}) == 3


def test_a_full_session_still_returns_plain_data_and_refs_it_holds(bridge):
    with bridge.session("small", max_refs=1):
        ref = make(bridge)
        assert bridge.call("math.sqrt", 4) == 2.0
        assert bridge.call("session_things.same", ref) is ref


def test_a_full_session_does_not_harm_another(bridge):
    with bridge.session("other"):
        other = [make(bridge, "other") for _ in range(5)]
    with bridge.session("small", max_refs=1, overflow="evict"):
        small = [make(bridge, "small") for _ in range(5)]
    assert [ref.tag for ref in other] == ["other"] * 5
    assert small[-1].tag == "small"


def test_a_dropped_handle_makes_room_at_once(bridge):
    with bridge.session("small", max_refs=2):
        held = make(bridge)
        for _ in range(50):
            make(bridge)
    assert held.tag == ""


def test_kept_refs_count(bridge):
    with bridge.session("small", max_refs=1):
        bridge.keep(make(bridge), "one")
        with pytest.raises(SessionFullError):
            make(bridge)


def test_eviction_drops_what_was_used_least_recently(bridge, recwarn):
    with bridge.session("small", max_refs=2, overflow="evict"):
        used, idle = make(bridge, "used"), make(bridge, "idle")
        assert used.tag == "used"
        new = make(bridge, "new")
    with pytest.raises(RefNotFoundError) as caught:
        idle.make()
    assert caught.value.reason == "evicted"
    assert (used.tag, new.tag) == ("used", "new")
    assert live(bridge, "idle") == 0


def test_use_as_an_argument_counts_for_eviction(bridge):
    with bridge.session("small", max_refs=2, overflow="evict"):
        used, idle = make(bridge, "used"), make(bridge, "idle")
        bridge.call("session_things.touch", [used])
        new = make(bridge, "new")
    assert (used.tag, new.tag) == ("used", "new")
    with pytest.raises(RefNotFoundError):
        idle.make()


def test_an_evicted_ref_releases_to_nothing(bridge):
    with bridge.session("small", max_refs=1, overflow="evict"):
        first = make(bridge)
        second = make(bridge, "second")
    assert bridge.release(first) == Released(0, 0)
    assert second.tag == "second"


def test_eviction_never_drops_a_ref_of_the_result_being_made(bridge):
    with bridge.session("small", max_refs=2, overflow="evict"):
        old = make(bridge, "old")
        pair = bridge.call("session_things.several", 2, "pair")
        assert [ref.tag for ref in pair] == ["pair", "pair"]
        with pytest.raises(RefNotFoundError):
            old.make()
        with pytest.raises(SessionFullError):
            bridge.call("session_things.several", 3, "three")
        assert [ref.tag for ref in pair] == ["pair", "pair"]


def test_a_ref_the_result_holds_again_is_not_evicted_for_it(bridge):
    with bridge.session("small", max_refs=2, overflow="evict"):
        first = make(bridge, "first")
        second = make(bridge, "second")
        again, new = bridge.call("session_things.with_a_new_one", first)
    assert again is first
    assert (first.tag, new.tag) == ("first", "new")
    with pytest.raises(RefNotFoundError):
        second.make()


def test_raising_max_refs_makes_room(bridge):
    with bridge.session("small", max_refs=1):
        refs = [make(bridge)]
        bridge.session("small", max_refs=2)
        refs.append(make(bridge))
        with pytest.raises(SessionFullError):
            make(bridge)


def test_lowering_max_refs_below_the_count_is_refused(bridge):
    with bridge.session("small", max_refs=5):
        refs = [make(bridge) for _ in range(3)]
    with pytest.raises(BridgeUsageError, match="3"):
        bridge.session("small", max_refs=2)
    assert bridge.session_info("small").max_refs == 5
    assert [ref.tag for ref in refs] == [""] * 3
    bridge.session("small", max_refs=3)
    assert bridge.session_info("small").max_refs == 3


# --- Expiry -----------------------------------------------------------------------------------


@contextlib.contextmanager
def released_events(bridge):
    """A function that waits for the release of a session and gives its reason."""
    seen, changed = {}, threading.Condition()

    def note(event):
        if isinstance(event, bridge_ext.SessionReleased):
            with changed:
                seen[event.session_id] = event.reason
                changed.notify_all()

    def wait(session):
        with changed:
            assert changed.wait_for(lambda: session in seen, 10), f"{session} was not released"
            return seen[session]

    stop = bridge.subscribe(note)
    try:
        yield wait
    finally:
        stop()


def test_what_was_kept_and_forgotten_expires_by_a_timer(bridge):
    with released_events(bridge) as wait:
        with bridge.session("short", ttl_seconds=0.1):
            bridge.keep(make(bridge, "expired"), "thing")
        assert wait("short") == "expired"
    assert live(bridge, "expired") == 0
    assert bridge.session_info("short").status is bridge_ext.Status.RELEASED


def test_what_a_handle_reaches_does_not_expire(bridge):
    with released_events(bridge) as wait:
        with bridge.session("held", ttl_seconds=0.1):
            ref = make(bridge, "held")
        with bridge.session("witness", ttl_seconds=0.4):
            bridge.keep(make(bridge), "thing")
        assert wait("witness") == "expired"
    assert ref.tag == "held"
    assert "held" in ids(bridge)


def test_a_session_whose_handle_is_dropped_expires_later(bridge):
    with released_events(bridge) as wait:
        with bridge.session("held", ttl_seconds=0.1):
            ref = make(bridge)
            bridge.keep(ref, "thing")
        del ref
        assert wait("held") == "expired"


def test_a_session_with_a_call_in_flight_does_not_expire(local, tmp_path, eventually):
    gate, started = tmp_path / "gate", tmp_path / "started"
    os.mkfifo(gate)
    with released_events(local) as wait, ThreadPoolExecutor(1) as pool:
        with local.session("witness", ttl_seconds=0.4):
            local.keep(make(local), "thing")
        local.session("busy", ttl_seconds=0.1)
        running = pool.submit(
            local.options(session="busy").call,
            "session_things.after",
            str(gate),
            str(started),
            True,
        )
        eventually(started.exists)
        try:
            assert wait("witness") == "expired"
        finally:
            gate.write_text("go")
        ref = running.result(10)
        assert ref.tag == ""
        assert home(local, ref) == "busy"


def test_an_expired_session_in_force_is_made_again(bridge):
    with released_events(bridge) as wait, bridge.session("short", ttl_seconds=0.1, max_refs=7):
        bridge.keep(make(bridge, "expired"), "thing")
        assert wait("short") == "expired"
        ref = make(bridge, "again")
        assert home(bridge, ref) == "short"
        assert bridge.kept() == {}
        assert bridge.session_info("short").max_refs == 7
        assert ref.tag == "again"


# --- Release ----------------------------------------------------------------------------------


def test_releasing_a_ref_tells_what_was_freed(bridge):
    ref = bridge.put(b"x" * 5000)
    released = bridge.release(ref)
    assert released.refs == 1
    assert released.nbytes >= 5000


def test_releasing_a_ref_again_is_fine(bridge):
    ref = make(bridge)
    bridge.release(ref)
    assert bridge.release(ref) == Released(0, 0)


def test_a_released_ref_says_so(bridge):
    ref = make(bridge)
    bridge.release(ref)
    with pytest.raises(RefNotFoundError) as caught:
        ref.make()
    assert caught.value.reason == "released"
    with pytest.raises(RefNotFoundError):
        bridge.call("session_things.same", [ref])
    assert "Thing" in repr(ref)


@pytest.mark.parametrize("by", ["id", "object", "terminate_session"])
def test_releasing_a_session_frees_everything_in_it(bridge, by):
    named = bridge.session("named")
    with named:
        refs = [make(bridge, "named") for _ in range(3)]
    free = bridge.terminate_session if by == "terminate_session" else bridge.release
    assert free(named if by == "object" else "named").refs == 3
    assert live(bridge, "named") == 0
    for ref in refs:
        with pytest.raises(RefNotFoundError) as caught:
            ref.make()
        assert caught.value.reason == "session released"


def test_releasing_a_session_again_is_fine(bridge):
    with bridge.session("named"):
        ref = make(bridge)
    assert bridge.release("named").refs == 1
    assert bridge.release("named") == Released(0, 0)
    assert bridge.terminate_session("named") == Released(0, 0)
    assert bridge.release(ref) == Released(0, 0)


def test_a_session_that_was_never_used_may_be_released(bridge):
    bridge.create_session("empty")
    assert bridge.release("empty") == Released(0, 0)
    assert "empty" not in ids(bridge)


def test_an_auto_session_may_be_released_by_its_id(bridge):
    ref = make(bridge)
    assert bridge.release(home(bridge, ref)).refs == 1
    with pytest.raises(RefNotFoundError):
        ref.make()
    assert make(bridge, "again").tag == "again"


@pytest.mark.parametrize(
    "what",
    [5, None, object(), ["named"], 1.5],
    ids=["int", "None", "object", "list", "float"],
)
def test_what_is_neither_ref_nor_session_cannot_be_released(bridge, what):
    with pytest.raises(InvalidRefError):
        bridge.release(what)


@pytest.mark.parametrize(
    "pair", [("a", "a:b"), ("a:b", "a"), ("a", "a.b"), ("a", "A"), ("a", "aa")]
)
def test_releasing_one_session_leaves_another_of_a_similar_name(bridge, pair):
    refs = {}
    for name in pair:
        with bridge.session(name):
            refs[name] = make(bridge, name)
    bridge.release(pair[0])
    assert refs[pair[1]].tag == pair[1]
    assert pair[1] in ids(bridge)


def test_release_all_frees_everything(bridge):
    with bridge.session("named"):
        refs = [make(bridge, "all")]
        bridge.keep(make(bridge, "all"), "kept")
    refs.append(make(bridge, "all"))
    assert bridge.release_all().refs == 3
    assert bridge.refs() == []
    assert bridge.sessions() == []
    assert live(bridge, "all") == 0
    for ref in refs:
        with pytest.raises(RefNotFoundError):
            ref.make()


def test_release_is_seen_through_every_handle_of_an_object_in_that_session_only(bridge):
    ref = make(bridge, "two homes")
    with bridge.session("named"):
        twin = bridge.call("session_things.same", ref)
    bridge.release("named")
    assert ref.tag == "two homes"
    with pytest.raises(RefNotFoundError):
        twin.make()


def test_a_plain_result_of_a_call_in_a_released_session_is_returned(local, tmp_path, eventually):
    with released_in_flight(local, tmp_path, eventually, make_one=False) as running:
        assert running.result(10) == 7


def test_objects_of_a_call_in_a_released_session_are_dropped(local, tmp_path, eventually):
    with (
        released_in_flight(local, tmp_path, eventually, make_one=True) as running,
        pytest.raises(RefNotFoundError) as caught,
    ):
        running.result(10)
    assert caught.value.reason == "session released"
    eventually(lambda: live(local) == 0)


@contextlib.contextmanager
def released_in_flight(bridge, tmp_path, eventually, make_one):
    """A call's Future: its session was released while it ran."""
    gate, started = tmp_path / "gate", tmp_path / "started"
    os.mkfifo(gate)
    with bridge.session("busy"):
        ref = make(bridge, "held")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            bridge.options(session="busy").call,
            "session_things.after",
            str(gate),
            str(started),
            make_one,
        )
        eventually(started.exists)
        try:
            assert bridge.release("busy").refs == 1
            assert not running.done()
        finally:
            gate.write_text("go")
        yield running
    with pytest.raises(RefNotFoundError):
        ref.make()


# --- Generations ------------------------------------------------------------------------------


def test_an_old_ref_never_reaches_the_next_session_of_its_name(bridge):
    with bridge.session("x"):
        old = [make(bridge, "old") for _ in range(3)]
    bridge.release("x")
    with bridge.session("x"):
        new = [make(bridge, "new") for _ in range(3)]
        for ref in old:
            with pytest.raises(RefNotFoundError) as caught:
                ref.make()
            assert caught.value.reason == "session released"
            with pytest.raises(RefNotFoundError):
                bridge.call("session_things.same", ref)
    assert [ref.tag for ref in new] == ["new"] * 3


def test_releasing_an_old_ref_leaves_the_next_session_alone(bridge):
    with bridge.session("x"):
        old = [make(bridge, "old") for _ in range(3)]
    bridge.release("x")
    with bridge.session("x"):
        new = [make(bridge, "new") for _ in range(3)]
    assert {bridge.release(ref) for ref in old} == {Released(0, 0)}
    assert [ref.tag for ref in new] == ["new"] * 3


def test_a_late_finalizer_leaves_the_next_session_alone(bridge):
    with bridge.session("x"):
        old = [make(bridge, "old") for _ in range(3)]
    bridge.release("x")
    with bridge.session("x"):
        new = [make(bridge, "new") for _ in range(3)]
    del old
    gc.collect()
    bridge.call("math.sqrt", 4)
    assert [ref.tag for ref in new] == ["new"] * 3
    assert live(bridge, "new") == 3


def test_a_handle_dropped_just_before_its_session_is_released_harms_nothing(bridge):
    for _ in range(20):
        with bridge.session("x"):
            old = make(bridge, "old")
            bridge.release("x")
            new = make(bridge, "new")
            del old
            assert new.tag == "new"


def test_a_session_released_while_in_force_is_made_again_with_its_limits(bridge):
    with bridge.session("x", max_refs=7, ttl_seconds=9, overflow="evict", tags={"a": "b"}):
        make(bridge)
        bridge.release("x")
        ref = make(bridge, "again")
        assert home(bridge, ref) == "x"
    info = bridge.session_info("x")
    assert (info.max_refs, info.ttl_seconds, info.overflow) == (7, 9, "evict")
    assert info.status is bridge_ext.Status.ACTIVE


def test_a_sticky_session_that_was_released_is_made_again(bridge):
    bridge.use("sticky")
    make(bridge)
    bridge.release("sticky")
    assert home(bridge, make(bridge)) == "sticky"


def test_a_session_object_may_be_entered_again_after_its_release(bridge):
    named = bridge.session("named")
    bridge.release(named)
    with named:
        ref = make(bridge, "again")
    assert home(bridge, ref) == "named"
    assert ref.tag == "again"


def test_naming_a_released_session_makes_a_new_one_with_the_bridges_limits(bridge):
    bridge.session("x", max_refs=7)
    bridge.release("x")
    bridge.session("x")
    info = bridge.session_info("x")
    assert info.status in (bridge_ext.Status.INITIALIZING, bridge_ext.Status.ACTIVE)
    assert info.refs == 0


def test_an_ended_session_is_remembered(bridge):
    with bridge.session("x"):
        make(bridge)
    bridge.release("x")
    assert bridge.session_info("x").status is bridge_ext.Status.RELEASED
    assert bridge.refs("x") == []
    assert "x" not in ids(bridge)


def test_a_thousand_ended_sessions_are_remembered_and_no_more(memory):
    for number in range(1005):
        memory.create_session(f"s{number}")
        memory.release(f"s{number}")
    assert memory.session_info("s1004").status is bridge_ext.Status.RELEASED
    assert memory.release("s5") == Released(0, 0)
    with pytest.raises(SessionNotFoundError):
        memory.release("s0")


# --- Status and events ------------------------------------------------------------------------


def test_the_states_of_a_session():
    assert [status.value for status in bridge_ext.Status] == [
        "initializing",
        "active",
        "releasing",
        "released",
        "lost",
    ]


@pytest.fixture
def events(used):
    seen = []
    stop = used.subscribe(seen.append)
    yield seen
    stop()


def test_events_come_before_the_first_call_too(bridge, eventually):
    seen = []
    stop = bridge.subscribe(seen.append)
    bridge.create_session("named")
    eventually(lambda: seen == [bridge_ext.SessionCreated("named", "named")], deadline=2)
    stop()


def test_events_tell_the_life_of_a_session(used, events, eventually):
    with used.session("named"):
        ref = make(used)
    number = used.info(ref).id
    used.release(ref)
    used.release("named")

    def named():
        told = [e for e in list(events) if type(e) not in (CallStarted, CallEnded)]
        return [event for event in told if event.session_id == "named"]

    eventually(lambda: len(named()) >= 4)
    assert named()[:3] == [
        bridge_ext.SessionCreated("named", "named"),
        bridge_ext.RefAdded(number, "named", "Thing"),
        bridge_ext.RefReleased(number, "named", "released"),
    ]
    (ended,) = named()[3:]
    assert isinstance(ended, bridge_ext.SessionReleased)
    assert (ended.reason, ended.refs) == ("session released", 0)


def test_an_auto_session_has_events_too(used, events, eventually):
    used.release_auto_session()
    session = used.current_session()
    eventually(lambda: bridge_ext.SessionCreated(session, "auto") in events)


def test_an_eviction_is_an_event(used, events, eventually):
    with used.session("small", max_refs=1, overflow="evict"):
        first = make(used)
        number = used.info(first).id
        second = make(used)
    eventually(lambda: bridge_ext.RefReleased(number, "small", "evicted") in events)
    assert second.tag == ""


def test_a_ref_freed_with_its_last_handle_is_an_event(used, events, eventually):
    with used.session("named"):
        ref = make(used)
    number = used.info(ref).id
    del ref
    eventually(lambda: bridge_ext.RefReleased(number, "named", "released") in events)


def test_events_are_frozen(used, events, eventually):
    used.create_session("named")
    eventually(lambda: events)
    with pytest.raises(dataclasses.FrozenInstanceError):
        events[0].session_id = "other"


def test_an_unsubscriber_ends_the_events(used, events, eventually):
    seen = []
    stop = used.subscribe(seen.append)
    used.create_session("one")
    eventually(lambda: bridge_ext.SessionCreated("one", "named") in seen)
    stop()
    used.create_session("two")
    eventually(lambda: bridge_ext.SessionCreated("two", "named") in events)
    assert [event.session_id for event in seen] == ["one"]
    stop()


def test_a_subscriber_may_use_the_bridge(used, eventually):
    found = []

    def note(event):
        if isinstance(event, bridge_ext.SessionCreated):
            found.append(used.session_info(event.session_id).kind)

    stop = used.subscribe(note)
    used.create_session("named")
    eventually(lambda: found == ["named"])
    stop()


# --- Many threads -----------------------------------------------------------------------------


def test_threads_that_share_a_session_lose_and_leak_nothing(bridge, eventually):
    named = bridge.session("shared")

    def work(_):
        with named:
            held = [make(bridge, "many") for _ in range(10)]
            for ref in held[5:]:
                bridge.release(ref)
            return held[:5]

    with ThreadPoolExecutor(4) as pool:
        held = [ref for refs in pool.map(work, range(4)) for ref in refs]
    assert len({bridge.info(ref).id for ref in held}) == 20
    assert live(bridge, "many") == 20
    assert len(bridge.refs("shared")) == 20
    del held
    eventually(lambda: live(bridge, "many") == 0)


def test_a_session_released_by_one_thread_while_others_use_it_ends_in_known_errors(bridge):
    together = threading.Barrier(3)

    def work():
        together.wait(10)
        for _ in range(20):
            with contextlib.suppress(RefNotFoundError), bridge.session("shared"):
                make(bridge, "raced").make()

    def release():
        together.wait(10)
        for _ in range(20):
            with contextlib.suppress(SessionNotFoundError):
                bridge.release("shared")

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work), pool.submit(work), pool.submit(release)]:
            future.result(30)
    bridge.session("shared")
    bridge.release("shared")
    assert live(bridge, "raced") == 0
