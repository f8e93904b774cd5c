"""A watch tells what a bridge holds, whatever has happened meanwhile and whenever it looked."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import threading

import pytest
from conftest import eventually
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import bridge_ext
from bridge_ext.kernel import watching
from bridge_ext.kernel.watching import Watch
from bridge_ext.kernel.worker import books, sizing
from bridge_ext.kernel.worker import previews as worker_previews
from bridge_ext.kernel.worker.books import Total

NAMED = ("shared", "other", "evicting")
KEPT = ("one", "two")


def shared_object(number):
    """The same list each time it is asked for, in whatever session."""
    import sys

    return sys.__dict__.setdefault("_of_test_watching", {}).setdefault(number, [number])


def plain(snapshot):
    """What a snapshot says of refs, as `refs` says it."""
    return {
        ref.id: (
            ref.session_id,
            ref.type_name,
            ref.length,
            ref.shape,
            ref.nbytes,
            ref.estimated,
            ref.retained,
            ref.kept_as,
            (snapshot.names[ref.id] or ("Python code",)) if ref.id in snapshot.names else (),
        )
        for ref in snapshot.refs.values()
    }


def told(infos):
    return {
        info.id: (
            info.session_id,
            info.type_name,
            info.length,
            info.shape,
            info.nbytes,
            info.nbytes_estimated,
            info.retained,
            info.kept_as,
            info.held_by,
        )
        for info in infos
    }


def sessions(infos):
    return {s.id: (s.kind, s.status, s.worker, s.refs, s.nbytes, s.owners) for s in infos}


class Notebook(RuleBasedStateMachine):
    """A bridge, the handles that its user has, and somebody who watches."""

    backend = "memory"
    most_refs = 1_000

    names = Bundle("names")
    in_session = st.sampled_from((None, *NAMED))

    def __init__(self):
        super().__init__()
        self.handles = {}
        self.numbers = itertools.count()

    @initialize()
    def begin(self):
        self.bridge = bridge_ext.Bridge(self.backend)
        self.bridge._holders = self.holders
        self.bridge.register_helper(shared_object)
        self.watch = Watch(self.bridge._client, self.holders, dict)

    def holders(self, handles):
        """The names of this test, as those of a notebook."""
        wanted = {id(handle) for handle in handles}
        found = {}
        for name, handle in sorted(self.handles.items()):
            if id(handle) in wanted:
                found[id(handle)] = (*found.get(id(handle), ()), name)
        return found

    def block(self, session):
        if session is None:
            return contextlib.nullcontext()
        limits = {"max_refs": 3, "overflow": "evict"} if session == "evicting" else {}
        return self.bridge.session(session, **limits)

    def named(self, handle):
        name = f"h{next(self.numbers)}"
        self.handles[name] = handle
        return name

    @contextlib.contextmanager
    def on(self, name):
        """A handle, if it was not dropped; it may have ended."""
        handle = self.handles.get(name)
        if handle is None:
            handle = self.bridge.new("list")
        with contextlib.suppress(bridge_ext.BridgeError):
            yield handle

    # ------------------------------------------------------------ what a user does
    @rule(target=names, session=in_session, kind=st.sampled_from(("list", "bytearray", "array")))
    def make(self, session, kind):
        with self.block(session):
            if kind == "array":
                return self.named(self.bridge.new("array.array", "d", [1.0, 2.0]))
            return self.named(self.bridge.new(kind, [1, 2, 3]))

    @rule(target=names, session=in_session, number=st.integers(0, 1))
    def make_shared(self, session, number):
        return self.make_shared_now(session, number)

    def make_shared_now(self, session, number):
        with self.block(session):
            return self.named(self.bridge.options(fetch=False).helper("shared_object", number))

    @rule(target=names, name=names)
    def view(self, name):
        with self.on(name) as handle:
            if "array" in type(handle).__name__:
                with self.block(handle._bridge_state.session.id):
                    return self.named(self.bridge.new("memoryview", handle))
        return name

    @rule(name=names)
    def drop(self, name):
        self.handles.pop(name, None)

    @rule(name=names, kept=st.sampled_from(KEPT))
    def keep(self, name, kept):
        with self.on(name) as handle:
            self.bridge.keep(handle, kept)

    @rule(target=names, session=st.sampled_from(NAMED), kept=st.sampled_from(KEPT))
    def get_kept(self, session, kept):
        with contextlib.suppress(bridge_ext.SessionNotFoundError):
            found = self.bridge.kept(session)
            if kept in found:
                return self.named(found[kept])
        return "nothing"

    @rule(target=names, name=names, session=st.sampled_from(NAMED))
    def move(self, name, session):
        with self.on(name) as handle:
            return self.named(self.bridge.move(handle, session))
        return name

    @rule(target=names, number=st.integers(0, 1), sessions=st.tuples(in_session, in_session))
    def move_where_it_is(self, number, sessions):
        first, second = (self.make_shared_now(session, number) for session in sessions)
        with self.on(first) as handle:
            target = self.handles[second]._bridge_state.session.id
            with self.block(target):
                return self.named(self.bridge.move(handle, target))
        return first

    @rule(name=names, count=st.integers(1, 1000))
    def grow(self, name, count):
        with self.on(name) as handle, contextlib.suppress(BufferError, AttributeError):
            handle.extend([7] * count)

    @rule(name=names)
    def use(self, name):
        with self.on(name) as handle:
            len(handle)

    @rule(name=names)
    def release(self, name):
        with self.on(name) as handle:
            self.bridge.release(handle)

    @rule(session=st.sampled_from(NAMED))
    def release_session(self, session):
        with contextlib.suppress(bridge_ext.SessionNotFoundError):
            self.bridge.release(session)

    @rule()
    def release_auto_session(self):
        self.bridge.release_auto_session()

    @rule()
    def expire(self):
        with self.bridge.session("brief", ttl_seconds=0.01):
            self.bridge.keep(self.bridge.new("list", [1]), "one")
        ids = lambda: [s.id for s in self.bridge.sessions()]  # noqa: E731
        eventually(lambda: "brief" not in ids(), "that it expires")

    # ------------------------------------------------------------ what watching does
    @rule()
    def look(self):
        self.watch.look()

    @rule()
    def look_and_hear_nothing(self):
        """The worker answers, and the answer is late."""
        self.bridge._client.ask("look", self.watch._worker.journal if self.watch._worker else 0, 9)

    @rule()
    def quiet(self):
        gc.collect()
        self.bridge._client.settle()
        self.watch.look()
        shown = self.watch.look()
        while self.watch.unfinished:
            shown = self.watch.look()
        infos = self.bridge.refs()
        assert plain(shown).items() <= told(infos).items()
        least = min(len(infos), self.most_refs // 2 + 1)
        assert least <= len(shown.refs) <= self.most_refs
        assert shown.unlisted == len(infos) - len(shown.refs)
        if not shown.unlisted:  # which are not measured
            assert sessions(shown.sessions.values()) == sessions(self.bridge.sessions())
            assert (shown.worker.held if shown.worker else 0) == self.bridge.status().nbytes
        for name, handle in self.handles.items():
            state = handle._bridge_state
            if not state.ended() and state.id in shown.refs:
                assert name in shown.names[state.id]

            eventually(
                lambda s=state: s.ended() or s.id in told(infos), "that it is known to be gone"
            )

    @invariant()
    def nothing_is_negative(self):
        if not hasattr(self, "bridge"):
            return
        assert self.bridge.status().nbytes >= 0

    def teardown(self):
        if not hasattr(self, "bridge"):
            return
        try:
            self.quiet()
            self.handles.clear()
            self.bridge.release_all()
            gc.collect()
            self.bridge._client.settle()
            shown = self.watch.look()
            assert not shown.refs
            assert shown.unlisted == 0
            if shown.worker is not None:
                assert shown.worker.held == 0
                assert self.bridge._client.incarnation.refs._states == {}
        finally:
            self.bridge.close()


class InMemory(Notebook):
    """The same, and the worker's own books can be looked at."""

    @invariant()
    def the_totals_are_the_sums(self):
        incarnation = self.bridge._client.incarnation if hasattr(self, "bridge") else None
        if incarnation is None:
            return
        store = incarnation.connection._dispatcher.store
        every = Total()
        for session in store._sessions.values():
            own = Total()
            for entry in session.by_object.values():
                own.add(entry)
                every.add(entry)
                assert all(store._refs[i] is entry for i in entry.ids)
            assert own.nbytes == session.nbytes
        assert every.nbytes == store.books.total.nbytes
        held = {i for s in store._sessions.values() for e in s.by_object.values() for i in e.ids}
        assert held == store._refs.keys()


class Crowded(InMemory):
    """The same with more refs than are listed, and more changes than are kept in mind."""

    most_refs = 6


class InWorker(Notebook):
    """The same with a process that may end."""

    backend = "local"

    @precondition(lambda self: self.bridge._client.incarnation is not None)
    @rule()
    def restart(self):
        self.bridge.restart()

    @precondition(lambda self: self.bridge._client.incarnation is not None)
    @rule()
    def die(self):
        with pytest.raises(bridge_ext.WorkerDiedError):
            self.bridge.call("os._exit", 1)


SETTINGS = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
    "database": None,
    "phases": (Phase.generate,),
}


def check(machine, **more):
    run_state_machine_as_test(machine, settings=settings(**SETTINGS, **more))


def test_whatever_happens_in_this_process():
    check(InMemory, max_examples=25, stateful_step_count=30)


def test_whatever_happens_to_more_than_is_listed(monkeypatch):
    monkeypatch.setattr(books, "MAX_LISTED", Crowded.most_refs)
    monkeypatch.setattr(books, "_FORGOTTEN", 4)
    check(Crowded, max_examples=20, stateful_step_count=30)


def test_whatever_happens_with_a_worker():
    check(InWorker, max_examples=6, stateful_step_count=30)


# ---------------------------------------------------------------- one thing at a time
@pytest.fixture
def watch(bridge):
    return Watch(bridge._client, bridge._holders, dict)


def sizes(shown):
    return [ref.nbytes for ref in shown.refs.values()]


def test_an_answer_that_came_too_late_is_made_good(bridge, watch):
    held = [bridge.new("list")]
    watch.look()
    held.append(bridge.new("list"))
    bridge._client.ask("look", watch._worker.journal, 100)
    held.append(bridge.new("list"))
    assert len(watch.look().refs) == 3


def test_an_answer_that_an_interrupt_has_cut_short_is_made_good(bridge, watch, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    held = [bridge.new("list")]
    watch.look()
    held.append(bridge.new("list"))
    with monkeypatch.context() as patch:
        patch.setattr(watching, "_held", interrupt)
        with pytest.raises(KeyboardInterrupt):
            watch.look()
    assert len(watch.look().refs) == 2


def test_a_name_that_another_ref_has_taken_is_told_of_both(bridge, watch):
    with bridge.session("shared"):
        first, second = bridge.new("list"), bridge.new("list")
    bridge.keep(first, "model")
    watch.look()
    bridge.keep(second, "model")
    assert [ref.kept_as for ref in watch.look().refs.values()] == [None, "model"]


def grow(items, ready, go):
    """Says that it has begun, and changes what it was given when it is told to go on."""
    with open(ready, "w"):
        pass
    with open(go):
        pass
    items.extend(range(1000, 5000))


def test_what_a_call_changes_after_it_was_measured_is_measured_again(bridge, watch, tmp_path):
    ready, go = tmp_path / "ready", tmp_path / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    bridge.register_helper(grow)
    items = bridge.new("list")
    before = sizes(watch.look())
    thread = threading.Thread(target=bridge.helper, args=("grow", items, str(ready), str(go)))
    thread.start()
    with open(ready):
        assert sizes(watch.look()) == before
    with open(go, "w"):
        pass
    thread.join(10)
    assert sizes(watch.look())[0] > before[0] + 4000 * 8


def test_a_handle_of_a_ref_that_has_become_another_holds_that_one(bridge, watch):
    bridge.register_helper(shared_object)
    handles = {}
    bridge._holders = watch._holders = lambda found: {
        id(h): (name,) for h in found for name, mine in handles.items() if mine is h
    }
    for name in ("first", "second", "third"):
        with bridge.session(name):
            handles[name] = bridge.options(fetch=False).helper("shared_object", 7)
    assert bridge.move(handles["first"], "second") is handles["second"]
    assert bridge.move(handles["second"], "third") is handles["third"]
    (info,) = bridge.refs()
    assert set(info.held_by) == {"first", "second", "third"}
    assert plain(watch.look()) == told([info])
    del handles["third"]
    gc.collect()
    assert len(handles["first"]) == len(handles["second"]) == 1, "it is in the third session"
    with bridge.session("third"):
        assert bridge.options(fetch=False).helper("shared_object", 7) in handles.values()
    del handles["second"]
    gc.collect()
    assert len(bridge.refs()) == 1, "the first holds it"
    del handles["first"]
    gc.collect()
    assert bridge.refs() == []
    assert bridge._client.incarnation.refs._states == {}


def test_a_session_that_expires_just_before_its_first_call_is_made_again(bridge, monkeypatch):
    client = bridge._client
    encode = client.encode

    def late(*args):
        encode(*args)
        for session in client.sessions.all():
            session.created_mono -= 10_000 if session.generation == 1 else 0
        client.sessions.expire_unused()

    monkeypatch.setattr(client, "encode", late)
    with bridge.session("shared"):
        made = bridge.new("list", [1, 2])
    assert len(made) == 2
    assert [info.id for info in bridge.sessions()] == ["shared"]


def test_more_refs_than_are_listed_are_counted_and_move_up(memory, monkeypatch):
    monkeypatch.setattr(books, "MAX_LISTED", 4)
    watch = Watch(memory._client, memory._holders, dict)
    handles = [memory.new("list", [n]) for n in range(3)]
    assert (len(watch.look().refs), watch.look().unlisted) == (3, 0)
    handles += [memory.new("list", [n]) for n in range(6)]
    assert (len(watch.look().refs), watch.look().unlisted) == (4, 5)
    del handles[:3]
    gc.collect()
    memory._client.settle()
    assert (len(watch.look().refs), watch.look().unlisted) == (4, 2)
    del handles[:5]
    gc.collect()
    memory._client.settle()
    assert (len(watch.look().refs), watch.look().unlisted) == (1, 0)


def test_nothing_is_measured_or_shown_under_the_lock_of_the_store(memory, monkeypatch):
    made = memory.new("list")
    store = memory._client.incarnation.connection._dispatcher.store
    free = []

    def noting(look):
        def noted(*args):
            free.append(store._lock.acquire(blocking=False))
            store._lock.release()
            return look(*args)

        return noted

    monkeypatch.setattr(sizing, "measure", noting(sizing.measure))
    monkeypatch.setattr(worker_previews, "preview", noting(worker_previews.preview))
    watch = Watch(memory._client, memory._holders, dict)
    watch.previews(watch.look().refs)
    assert free == [True, True]
    del made
