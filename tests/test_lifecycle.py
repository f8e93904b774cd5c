"""Sessions and refs from their making to their end, in the books of both sides."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from conftest import DEADLINE, eventually
from test_backends import Gate, InThread

import bridge_ext
from bridge_ext import BridgeUsageError, Released, SessionNotFoundError, Status
from bridge_ext.kernel.backends.base import Backend, TimedOut
from bridge_ext.kernel.configuration import make_backend
from bridge_ext.kernel.context import Scope
from bridge_ext.kernel.errors import RefNotFoundError, SessionFullError
from bridge_ext.kernel.handles import new_handle
from bridge_ext.kernel.operators import make_class
from bridge_ext.kernel.owners import Owners
from bridge_ext.kernel.refs import RefState, RefTable
from bridge_ext.kernel.session import LIVE, Limits, Session
from bridge_ext.kernel.sessions import SessionManager
from bridge_ext.kernel.status import TRANSITIONS
from bridge_ext.kernel.wire.limits import ENDED_REMEMBERED
from bridge_ext.kernel.wire.loading import plain
from bridge_ext.kernel.worker.holding import SessionEnded, Spec
from bridge_ext.kernel.worker.store import Store
from bridge_ext.kernel.worker.views import ref_count

CELLS = [(before, after) for before in Status for after in Status]


# ---------------------------------------------------------------- the table
def way_to(status):
    """Moves that lead from the beginning to a status."""
    ways = {Status.INITIALIZING: []}
    todo = [Status.INITIALIZING]
    while todo:
        here = todo.pop(0)
        for after in sorted(TRANSITIONS[here]):
            if after not in ways:
                ways[after] = [*ways[here], after]
                todo.append(after)
    return ways[status]


def session_in(status, auto=False):
    session = Session("x", 1, auto, Limits(10, 60.0, "error"), "here")
    for step in way_to(status):
        session.become(step)
    return session


@pytest.mark.parametrize(("before", "after"), CELLS)
def test_a_session_moves_as_the_table_says_and_not_otherwise(before, after):
    session = session_in(before)
    assert session.live is (before in LIVE)
    if after in TRANSITIONS[before]:
        session.become(after)
        assert session.status is after
        assert session.live is (after in LIVE)
    else:
        with pytest.raises(RuntimeError) as caught:
            session.become(after)
        assert str(caught.value) == (f"session 'x' cannot go from {before.value} to {after.value}")
        assert session.status is before


def test_the_table_covers_every_status_and_cannot_be_changed():
    assert set(TRANSITIONS) == set(Status)
    with pytest.raises(TypeError):
        TRANSITIONS[Status.LOST] = frozenset()
    assert {s for s in Status if not TRANSITIONS[s]} == {Status.RELEASED, Status.LOST}


# ---------------------------------------------------------------- the manager
@pytest.fixture
def manager():
    return SessionManager(1, Limits(100, 3600.0, "error"))


def managed_in(manager, status, session_id="x"):
    """A session of the manager in that status, brought there by the manager."""
    session = manager.named(session_id)
    if status is not Status.INITIALIZING:
        manager.declared(session, 1)
    if status is Status.RELEASING:
        manager.releasing(session, "session released")
    if status is Status.RELEASED:
        manager.ended(session, "session released")
    if status is Status.LOST:
        manager.lose(1, "its worker was killed")
    assert session.status is status
    return session


STEPS = {
    "declared": lambda manager, session: manager.declared(session, 1),
    "releasing": lambda manager, session: manager.releasing(session, "why"),
    "ended": lambda manager, session: manager.ended(session, "why", 3, 40),
    "lost": lambda manager, session: manager.lose(1, "why"),
    "unleased": lambda manager, session: manager.end_unleased(session, 1),
}
AFTER = {
    "declared": {Status.INITIALIZING: Status.ACTIVE},
    "releasing": {Status.INITIALIZING: Status.RELEASING, Status.ACTIVE: Status.RELEASING},
    "ended": {
        Status.INITIALIZING: Status.RELEASED,
        Status.ACTIVE: Status.RELEASED,
        Status.RELEASING: Status.RELEASED,
    },
    "lost": {Status.ACTIVE: Status.LOST, Status.RELEASING: Status.LOST},
    "unleased": {Status.INITIALIZING: Status.RELEASED, Status.ACTIVE: Status.RELEASING},
}
"""Step to the moves it makes; where it makes none, it changes nothing."""


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("step", STEPS)
def test_each_step_of_the_manager_in_each_status(manager, step, before):
    session = managed_in(manager, before)
    reason = session.reason
    STEPS[step](manager, session)
    after = AFTER[step].get(before, before)
    assert session.status is after
    if after is before:
        assert session.reason == reason
    assert manager.exists("x") is (after not in (Status.RELEASED, Status.LOST))
    assert manager.find("x") is session


def test_the_managers_steps_make_every_move_of_the_table():
    made = {(before, after) for moves in AFTER.values() for before, after in moves.items()}
    assert made == {(before, after) for before, afters in TRANSITIONS.items() for after in afters}


@pytest.mark.parametrize("before", list(Status))
def test_whether_there_is_anything_to_release(manager, before):
    session = managed_in(manager, before)
    ended = before in (Status.RELEASED, Status.LOST)
    assert manager.releasing(session, "again") is not ended


@pytest.mark.parametrize("before", list(Status))
def test_a_session_in_force_that_has_ended_is_made_again(manager, before):
    session = managed_in(manager, before)
    session.limits = Limits(7, 5.0, "evict")
    now = manager.again(session, "cell [2]")
    if before in LIVE:
        assert now is session
    elif before is Status.RELEASING:
        assert now is session, "the release is still under way"
    else:
        assert now.status is Status.INITIALIZING
        assert now.generation > session.generation
        assert now.limits.as_tuple() == (7, 5.0, "evict")
        assert manager.find("x") is now


@pytest.mark.parametrize("before", list(Status))
def test_naming_a_session_in_each_status(manager, before):
    session = managed_in(manager, before)
    session.tags = {"a": "b"}
    session.limits = Limits(7, 5.0, "evict")
    now = manager.named("x")
    if before in (Status.RELEASED, Status.LOST):
        assert now is not session
        assert now.generation > session.generation
        # What was lost is made again as it was, what was released begins anew.
        assert now.tags == ({"a": "b"} if before is Status.LOST else {})
        assert now.limits.max_refs == (7 if before is Status.LOST else 100)
    else:
        assert now is session


def test_losing_a_worker_loses_its_sessions_only(manager):
    ours, theirs, unused = (manager.named(i) for i in ("ours", "theirs", "unused"))
    manager.declared(ours, 1)
    manager.declared(theirs, 2)
    assert manager.lose(1, "it died") == [ours]
    assert [s.status for s in (ours, theirs, unused)] == [
        Status.LOST,
        Status.ACTIVE,
        Status.INITIALIZING,
    ]


def test_the_end_of_an_older_generation_leaves_the_newer(manager):
    old = managed_in(manager, Status.RELEASED)
    new = manager.named("x")
    manager.ended(old, "late news")
    assert manager.find("x") is new
    assert new.live
    assert manager.by_generation("x", new.generation) is new
    assert old.reason == "session released"


def test_exactly_a_thousand_ended_sessions_are_remembered(manager):
    more = 250
    for n in range(ENDED_REMEMBERED + more):
        manager.ended(manager.named(f"s{n}"), "session released")
    assert len(manager._ended) == ENDED_REMEMBERED
    assert manager.all() == []
    assert manager.find(f"s{more}").reason == "session released"
    with pytest.raises(SessionNotFoundError):
        manager.find(f"s{more - 1}")


def test_lost_sessions_are_no_more_than_the_others_that_ended(manager):
    for n in range(ENDED_REMEMBERED + 10):
        manager.declared(manager.named(f"s{n}"), 1)
    manager.lose(1, "it died")
    assert len(manager.all()) == ENDED_REMEMBERED


def test_what_was_never_used_expires(manager, monkeypatch):
    session = manager.named("x", Limits(None, 5.0, None))
    used = managed_in(manager, Status.ACTIVE, "used")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 4)
    manager.expire_unused()
    assert session.live
    monkeypatch.setattr(time, "monotonic", lambda: now + 7200)
    manager.expire_unused()
    assert (session.status, session.reason) == (Status.RELEASED, "expired")
    assert used.live, "its worker looks at its clock"


def test_threads_that_name_one_session_at_once_get_one(manager):
    together = threading.Barrier(8)

    def name():
        together.wait(DEADLINE)
        return [manager.named(f"s{n}") for n in range(50)]

    found = [t.result() for t in [InThread(name) for _ in range(8)]]
    assert all(sessions == found[0] for sessions in found)
    generations = [s.generation for s in found[0]]
    assert len(set(generations)) == len(generations)


def test_threads_that_release_one_session_at_once_tell_of_it_once(manager):
    events = []
    manager.subscribe(events.append)
    session = managed_in(manager, Status.ACTIVE)
    together = threading.Barrier(8)

    def release():
        together.wait(DEADLINE)
        manager.releasing(session, "session released")
        manager.ended(session, "session released")
        manager.publish()

    for thread in [InThread(release) for _ in range(8)]:
        thread.result()
    assert [type(e).__name__ for e in events] == ["SessionCreated", "SessionReleased"]


# ---------------------------------------------------------------- leases
def test_a_lease_only_queues_its_session_when_nothing_holds_it(manager):
    scope = Scope("thread t")
    lease = manager.auto(scope)
    session = lease.session
    assert manager.auto(scope) is lease
    assert session.leased
    del lease
    assert list(manager.leases_ended) == []
    scope.leases.clear()
    assert list(manager.leases_ended) == [session]
    assert not session.leased
    assert session.live, "whoever sends next ends it"
    assert manager.end_unleased(session, 1) is None
    assert (session.status, session.reason) == (Status.RELEASED, "cell ended")


def test_a_lease_that_was_disarmed_ends_nothing(manager):
    scope = Scope("thread t")
    manager.auto(scope).disarm()
    scope.leases.clear()
    assert list(manager.leases_ended) == []


def test_a_scope_whose_session_has_ended_gets_a_new_one(manager):
    scope = Scope("thread t")
    first = manager.auto(scope).session
    manager.ended(first, "session released")
    second = manager.auto(scope).session
    assert second.live
    assert second.id != first.id


# ---------------------------------------------------------------- owners
class Owner:
    pass


def ended_thread():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    return thread


def test_the_default_owner_gives_way_to_the_first_that_is_given():
    owners = Owners("kernel")
    assert owners.names() == ("kernel",)
    assert not owners.gone()
    owner = Owner()
    owners.add(owner)
    assert owners.names() == ("Owner object",)
    assert not owners.gone()


def test_owners_are_gone_with_the_last_of_them():
    owners = Owners("kernel")
    first, second = Owner(), Owner()
    owners.add(first)
    owners.add(second)
    del first
    assert not owners.gone()
    del second
    assert owners.gone()


def test_an_owner_is_one_however_often_it_is_given():
    owners, owner = Owners("kernel"), Owner()
    owners.add(owner)
    owners.add(owner)
    assert owners.remove(owner)
    with pytest.raises(BridgeUsageError, match="no owner"):
        owners.remove(owner)


def test_taking_one_owner_away_leaves_the_other():
    owners, first, second = Owners("kernel"), Owner(), Owner()
    owners.add(first)
    owners.add(second)
    assert not owners.remove(first)
    assert owners.remove(second)


def test_a_thread_is_gone_once_it_has_ended():
    owners, stop = Owners("kernel"), threading.Event()
    running = threading.Thread(target=stop.wait, name="bridge-test-owner")
    owners.add(running)
    assert not owners.gone(), "it has not begun"
    running.start()
    owners.add(ended_thread())
    assert not owners.gone()
    assert owners.names() == ("thread bridge-test-owner",)
    stop.set()
    running.join()
    assert owners.gone()


@pytest.mark.parametrize("owner", [1, "x", None, (), object()])
def test_what_cannot_be_weakly_referenced_is_no_owner(owner):
    owners = Owners("kernel")
    with pytest.raises(BridgeUsageError, match="cannot own a session"):
        owners.add(owner)
    assert owners.names() == ("kernel",)
    assert not owners.given


def test_an_owner_whose_place_in_memory_is_taken_is_not_mistaken():
    owners = Owners("kernel")
    owners.add(Owner())
    assert owners.gone()
    strangers = [Owner() for _ in range(100)]
    for stranger in strangers:
        with pytest.raises(BridgeUsageError):
            owners.remove(stranger)


# ---------------------------------------------------------------- the store
class Thing:
    """Something to hold."""

    def __init__(self, number=0):
        self.number = number


class Books:
    """A store with what it announces, and shorthands."""

    def __init__(self):
        self.announced, self.wakes = [], 0
        self.store = Store(
            lambda t: SimpleNamespace(type=t, id=1, stream=False),
            lambda obj: (None, None, 10, False),
            lambda event, details: self.announced.append((event, details)),
            self._wake,
        )

    def _wake(self):
        self.wakes += 1

    def session(self, name="s", generation=1, *, auto=False, most=100, ttl=60.0, overflow="error"):
        self.store.declare(Spec(name, generation, auto, most, ttl, overflow))
        session = self.store.enter(name, generation)
        self.store.leave(session)
        return session

    def send(self, session, *objects):
        """Send objects as one result; their ref ids."""
        draft = self.store.draft(session)
        ids = [draft.add(obj).ids[0] for obj in objects]
        self.store.admit(session, draft, "cell [1]")
        return ids

    @property
    def held(self):
        return self.store.view(ref_count)


@pytest.fixture
def books():
    return Books()


def test_an_object_is_held_for_its_receipts(books):
    session, thing = books.session(), Thing()
    (ref,) = books.send(session, thing)
    assert books.send(session, thing, thing) == [ref, ref]
    entry = books.store.find(ref)
    assert (entry.obj, entry.receipts, entry.cell) == (thing, 3, "cell [1]")
    assert books.store.give_back([ref, 2]) == []
    assert books.store.find(ref).receipts == 1
    assert [e.obj for e in books.store.give_back([ref, 1])] == [thing]
    assert books.store.find(ref) is None
    assert books.held == 0
    assert session.nbytes == 0


def test_what_is_let_go_is_handed_out_and_not_dropped_under_the_lock(books):
    class Asking:
        def __del__(self):
            held.append(books.held)  # takes the lock

    held = []
    session = books.session()
    refs = books.send(session, Asking(), Asking(), Asking())
    books.store.give_back([refs[0], 1])
    books.store.release_refs([refs[1]])
    books.store.release_session("s", 1, "session released")
    assert held == [2, 1, 0]


def test_receipts_of_what_is_gone_or_never_was_do_nothing(books):
    (ref,) = books.send(books.session(), Thing())
    books.store.give_back([ref, 1])
    assert books.store.give_back([ref, 1, 999, 5]) == []


def test_more_receipts_than_were_sent_take_nothing_of_another(books):
    session = books.session()
    first, second = books.send(session, Thing(), Thing())
    books.store.give_back([first, 50])
    assert session.live == 1
    assert books.store.find(second).receipts == 1


def test_receipts_come_in_pairs(books):
    (ref,) = books.send(books.session(), Thing())
    with pytest.raises(ValueError, match="zip"):
        books.store.give_back([ref, 1, ref])


def test_one_object_in_two_sessions_is_two_refs(books):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    (in_a,), (in_b,) = books.send(a, thing), books.send(b, thing)
    assert in_a != in_b
    books.store.give_back([in_a, 1])
    assert books.store.find(in_b).obj is thing


def test_a_late_receipt_of_an_old_generation_frees_nothing_in_the_new(books):
    thing = Thing()
    (old,) = books.send(books.session("s", 1), thing)
    books.store.release_session("s", 1, "session released")
    session = books.session("s", 2)
    (new,) = books.send(session, thing)
    assert old != new
    assert books.store.give_back([old, 1]) == []
    assert books.store.release_refs([old]).refs == 0
    late = books.store.release_session("s", 1, "session released")
    assert (late.refs, late.nbytes) == (1, 10), "what it freed then, said again"
    assert books.store.find(new).obj is thing
    assert books.store.why_gone(old, "s", 1) == "session released"


def test_a_generation_is_entered_and_no_other(books):
    books.session("s", 2)
    for generation in (1, 3, 0):
        with pytest.raises(SessionEnded):
            books.store.enter("s", generation)
    books.store.declare(Spec("s", 1, False, 100, 60.0, "error"))
    assert books.store.enter("s", 2).spec.generation == 2


def test_declaring_a_newer_generation_ends_the_older(books):
    thing = Thing()
    session = books.session("s", 1)
    (ref,) = books.send(session, thing)
    doomed = books.store.declare(Spec("s", 2, False, 100, 60.0, "error"))
    assert [entry.obj for entry in doomed[0].values()] == [thing]
    assert session.ended == "session released"
    assert books.store.find(ref) is None
    assert books.held == 0


def test_an_ended_generation_cannot_be_declared_again(books):
    books.session("s", 1)
    books.store.release_session("s", 1, "cell ended")
    books.store.declare(Spec("s", 1, False, 100, 60.0, "error"))
    with pytest.raises(SessionEnded) as caught:
        books.store.enter("s", 1)
    assert caught.value.reason == "cell ended"


def test_a_result_for_a_session_that_has_ended_holds_nothing(books):
    session = books.session()
    draft = books.store.draft(session)
    draft.add(Thing())
    books.store.release_session("s", 1, "cell ended")
    with pytest.raises(RefNotFoundError) as caught:
        books.store.admit(session, draft, "")
    assert caught.value.reason == "cell ended"
    assert books.held == 0


def test_a_draft_that_is_not_admitted_leaves_nothing(books):
    session, known = books.session(), Thing()
    (ref,) = books.send(session, known)
    draft = books.store.draft(session)
    draft.add(known)
    draft.add(Thing())
    del draft
    assert books.held == 1
    assert books.store.find(ref).receipts == 1
    assert session.nbytes == 10


def test_a_result_that_does_not_fit_leaves_nothing(books):
    session, known = books.session(most=2), Thing()
    (ref,) = books.send(session, known)
    with pytest.raises(SessionFullError) as caught:
        books.send(session, known, Thing(), Thing())
    assert (caught.value.held, caught.value.wanted, caught.value.max_refs) == (1, 2, 2)
    assert books.held == 1
    assert books.store.find(ref).receipts == 1
    assert (session.nbytes, session.live) == (10, 1)
    books.send(session, known, Thing())


def test_a_ref_released_while_a_result_is_made_is_sent_with_its_new_receipts_only(books):
    session, thing = books.session(), Thing()
    books.send(session, thing, thing)
    draft = books.store.draft(session)
    draft.add(thing)
    books.store.release_refs(list(books.store._refs))  # over the control channel
    books.store.admit(session, draft, "")
    (entry,) = session.by_object.values()
    assert entry.receipts == 1
    assert session.live == 1
    books.store.give_back([entry.ids[0], 1])
    assert books.held == 0


# ---------------------------------------------------------------- keep
def test_what_is_kept_outlives_its_receipts(books):
    session, thing = books.session(), Thing()
    (ref,) = books.send(session, thing)
    assert books.store.keep(books.store.find(ref), "model") == []
    assert books.store.give_back([ref, 1]) == []
    assert {n: e.obj for n, e in books.store.kept(session).items()} == {"model": thing}
    assert books.send(session, thing) == [ref]
    assert books.store.release_refs([ref]).refs == 1
    assert books.store.kept(session) == {}


def test_a_name_that_is_given_again_lets_go_of_what_nothing_else_holds(books):
    session = books.session()
    first, second = books.send(session, Thing(1), Thing(2))
    books.store.keep(books.store.find(first), "model")
    books.store.give_back([first, 1])
    dropped = books.store.keep(books.store.find(second), "model")
    assert [entry.obj.number for entry in dropped] == [1]
    assert books.store.find(first) is None
    assert books.store.why_gone(first, "s", 1) == "released"


def test_a_name_that_is_given_again_leaves_what_a_kernel_holds(books):
    session = books.session()
    first, second = books.send(session, Thing(1), Thing(2))
    books.store.keep(books.store.find(first), "model")
    assert books.store.keep(books.store.find(second), "model") == []
    assert books.store.find(first).kept is None
    assert len(books.store.give_back([first, 1])) == 1


def test_an_entry_has_one_name(books):
    session = books.session()
    (ref,) = books.send(session, Thing())
    for name in ("a", "b", "b"):
        books.store.keep(books.store.find(ref), name)
    assert [*books.store.kept(session)] == ["b"]


# ---------------------------------------------------------------- move
def test_moving_takes_receipts_and_size_along(books):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    (ref,) = books.send(a, thing)
    entry = books.store.find(ref)
    assert books.store.move(entry, b) is entry
    assert (a.nbytes, a.live, len(a.by_object)) == (0, 0, 0)
    assert (b.nbytes, b.live, len(b.by_object)) == (10, 1, 1)
    books.store.release_session("a", 1, "session released")
    assert books.store.find(ref).obj is thing
    assert books.store.release_session("b", 1, "session released").refs == 1


def test_moving_to_the_same_session_changes_nothing(books):
    a = books.session("a")
    (ref,) = books.send(a, Thing())
    entry = books.store.find(ref)
    books.store.keep(entry, "model")
    assert books.store.move(entry, a) is entry
    assert entry.kept == "model"
    assert a.live == 1


def test_merging_gives_one_entry_two_ids_and_the_receipts_of_both(books):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    (in_a,), (in_b,) = books.send(a, thing), books.send(b, thing)
    twin = books.store.move(books.store.find(in_a), b)
    assert twin is books.store.find(in_b) is books.store.find(in_a)
    assert (twin.ids, twin.receipts) == ([in_b, in_a], 2)
    assert (b.live, b.nbytes, a.live, a.nbytes) == (1, 10, 0, 0)
    assert books.held == 1


@pytest.mark.parametrize("first", [0, 1])
def test_a_merged_entry_goes_with_the_last_receipt_by_either_id(books, first):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    ids = [*books.send(a, thing), *books.send(b, thing)]
    books.store.move(books.store.find(ids[0]), b)
    assert books.store.give_back([ids[first], 1]) == []
    assert len(books.store.give_back([ids[1 - first], 1])) == 1
    assert [books.store.find(i) for i in ids] == [None, None]
    assert {books.store.why_gone(i, "b", 1) for i in ids} == {"released"}


def test_releasing_a_merged_entry_by_its_old_id_releases_it_once(books):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    (in_a,), (in_b,) = books.send(a, thing), books.send(b, thing)
    books.store.move(books.store.find(in_a), b)
    released = books.store.release_refs([in_a, in_b])
    assert (released.refs, released.nbytes) == (1, 10)
    assert books.store._refs == {}


def test_the_end_of_a_session_ends_the_old_ids_of_what_was_merged(books):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    (in_a,), (in_b,) = books.send(a, thing), books.send(b, thing)
    books.store.move(books.store.find(in_a), b)
    assert books.store.release_session("b", 1, "session released").refs == 1
    assert books.store._refs == {}
    assert books.store.find(in_a) is books.store.find(in_b) is None


def test_a_name_does_not_move_but_a_twins_stays(books):
    a, b, thing = books.session("a"), books.session("b"), Thing()
    (in_a,), (in_b,) = books.send(a, thing), books.send(b, thing)
    books.store.keep(books.store.find(in_a), "in a")
    books.store.keep(books.store.find(in_b), "in b")
    books.store.move(books.store.find(in_a), b)
    assert books.store.kept(a) == {}
    assert [*books.store.kept(b)] == ["in b"]


def test_moving_to_a_full_session_changes_nothing(books):
    a, b, thing = books.session("a"), books.session("b", most=1), Thing()
    (in_a,), (in_b,) = books.send(a, thing), books.send(b, Thing())
    with pytest.raises(SessionFullError):
        books.store.move(books.store.find(in_a), b)
    assert books.store.find(in_a).session is a
    assert (a.live, b.live) == (1, 1)
    books.store.give_back([in_b, 1])
    books.send(b, thing)
    assert books.store.move(books.store.find(in_a), b).receipts == 2, "the object is there already"


# ---------------------------------------------------------------- eviction
def evicted(books):
    return [i for event, (_, ids) in books.announced if event == "evicted" for i in ids]


def test_the_least_recently_used_goes_first(books, capsys):
    session = books.session(most=3, overflow="evict")
    refs = books.send(session, *[Thing(n) for n in range(3)])
    books.store.find(refs[0])
    books.send(session, Thing())
    assert evicted(books) == [refs[1]]
    books.send(session, Thing(), Thing())
    assert evicted(books) == [refs[1], refs[2], refs[0]]
    assert books.store.why_gone(refs[1], "s", 1) == "evicted"
    assert capsys.readouterr().err.count("is full") == 1, "it is said once"


def test_what_is_kept_is_never_evicted(books, capsys):
    session = books.session(most=2, overflow="evict")
    first, second = books.send(session, Thing(), Thing())
    books.store.keep(books.store.find(first), "model")
    books.store.find(second)
    books.send(session, Thing())
    assert evicted(books) == [second]
    books.store.keep(next(e for e in session.by_object.values() if not e.kept), "other")
    with pytest.raises(SessionFullError):
        books.send(session, Thing())
    assert books.held == 2


def test_what_the_result_holds_is_never_evicted_for_it(books, capsys):
    session = books.session(most=2, overflow="evict")
    oldest, other = Thing(), Thing()
    refs = books.send(session, oldest, other)
    assert books.send(session, oldest, Thing())[0] == refs[0]
    assert evicted(books) == [refs[1]]
    with pytest.raises(SessionFullError):
        books.send(session, Thing(), Thing(), Thing())
    assert books.held == 2


def test_evicted_receipts_do_not_keep_the_session_alive(books, capsys):
    session = books.session(most=1, overflow="evict")
    books.send(session, Thing())
    (second,) = books.send(session, Thing())
    assert session.live == 1
    books.store.give_back([second, 1])
    assert session.live == 0


# ---------------------------------------------------------------- the clock
@pytest.fixture
def clock(monkeypatch):
    """The time, which goes on when the test says."""
    now = SimpleNamespace(at=time.monotonic())
    monkeypatch.setattr(time, "monotonic", lambda: now.at)
    return now


def expiries(books):
    return [details for event, details in books.announced if event == "ended"]


def test_an_idle_session_expires_when_its_time_comes(books, clock):
    session = books.session(ttl=10.0)
    (ref,) = books.send(session, Thing())
    books.store.keep(books.store.find(ref), "model")
    books.store.give_back([ref, 1])
    clock.at += 9.9
    assert books.store.expire() == []
    clock.at = books.store.next_timer()
    (doomed,) = books.store.expire()
    assert len(doomed[0]) == 1
    assert expiries(books) == [["s", 1, "expired", 1, 10]]
    assert books.store.why_gone(ref, "s", 1) == "expired"
    assert books.store.next_timer() is None


def test_a_session_that_a_kernel_holds_does_not_expire(books, clock):
    (ref,) = books.send(books.session(ttl=10.0), Thing())
    clock.at += 1_000
    assert books.store.expire() == []
    books.store.give_back([ref, 1])
    clock.at += 9.9
    books.store.expire()
    assert expiries(books) == []
    clock.at += 10
    books.store.expire()
    assert len(expiries(books)) == 1


def test_a_session_with_a_call_in_flight_does_not_expire(books, clock):
    session = books.session(ttl=10.0)
    books.store.enter("s", 1)
    clock.at += 1_000
    books.store.expire()
    assert not session.ended
    books.store.leave(session)
    clock.at += 9.9
    books.store.expire()
    assert not session.ended
    clock.at = books.store.next_timer()
    books.store.expire()
    assert session.ended == "expired"


def test_the_clock_counts_from_the_last_call(books, clock):
    session = books.session(ttl=10.0)
    for _ in range(5):
        clock.at += 9
        books.store.leave(books.store.enter("s", 1))
        books.store.expire()
    assert not session.ended


def test_a_shorter_time_wakes_the_clock(books, clock):
    books.session("long", ttl=1_000.0)
    wakes = books.wakes
    books.session("longer", ttl=2_000.0)
    assert books.wakes == wakes
    books.session("short", ttl=5.0)
    assert books.wakes == wakes + 1
    assert books.store.next_timer() == clock.at + 5
    books.session("long", ttl=1.0)
    assert books.store.next_timer() == clock.at + 1
    clock.at += 2
    books.store.expire()
    assert [details[0] for details in expiries(books)] == ["long"]


def test_a_session_stands_on_the_clock_once_however_often_it_is_declared(books, clock):
    for _ in range(200):
        books.session(ttl=10.0)
    clock.at += 9
    books.store.leave(books.store.enter("s", 1))
    clock.at += 2
    books.store.expire()
    assert len(books.store._clock._heap) == 1


def test_no_more_than_a_thousand_ended_sessions_are_remembered(books):
    more = 250
    for n in range(ENDED_REMEMBERED + more):
        books.session(f"s{n}", ttl=3600.0)
        books.store.release_session(f"s{n}", 1, "cell ended")
    assert len(books.store._ended) == ENDED_REMEMBERED
    assert books.store.why_gone(1, f"s{more}", 1) == "cell ended"
    assert books.store.why_gone(1, f"s{more - 1}", 1) == "session released"
    assert len(books.store._clock._heap) <= ENDED_REMEMBERED, "the clock remembers them too"


def test_no_more_than_a_thousand_gone_refs_of_a_session_are_remembered(books):
    session = books.session(most=10_000)
    refs = books.send(session, *[Thing(n) for n in range(ENDED_REMEMBERED + 50)])
    books.store.release_refs(refs)
    assert len(session.gone) == ENDED_REMEMBERED


# ---------------------------------------------------------------- what a release costs
class Counting(dict):
    """A dict that counts the operations on it; going through all of it counts every item."""

    operations = 0


def _counted(name, whole):
    plain_method = getattr(dict, name)

    def method(self, *args):
        self.operations += len(self) if whole else 1
        return plain_method(self, *args)

    return method


for _name in ("__getitem__", "__setitem__", "__delitem__", "__contains__", "get", "pop"):
    setattr(Counting, _name, _counted(_name, False))
for _name in ("__iter__", "items", "values", "keys", "copy"):
    setattr(Counting, _name, _counted(_name, True))


def filled(books, name, count):
    session = books.session(name, most=count)
    books.send(session, *[Thing(n) for n in range(count)])
    return session


@pytest.mark.parametrize("other", [10, 5_000])
def test_a_release_touches_the_refs_of_that_session_only(books, other):
    big, small = filled(books, "big", other), filled(books, "small", 20)
    store = books.store
    store._refs, store._sessions = Counting(store._refs), Counting(store._sessions)
    big.by_object, big.gone = Counting(big.by_object), Counting(big.gone)
    assert store.release_session("small", 1, "session released").refs == 20
    assert store._refs.operations <= 20
    assert store._sessions.operations <= 5
    assert big.by_object.operations == big.gone.operations == 0
    assert small.by_object == {}


def test_giving_one_ref_back_touches_that_one_only(books):
    session = filled(books, "big", 5_000)
    (ref,) = books.send(books.session("small"), Thing())
    store = books.store
    store._refs = Counting(store._refs)
    session.by_object = Counting(session.by_object)
    store.give_back([ref, 1])
    assert store._refs.operations <= 3
    assert session.by_object.operations == 0


# ---------------------------------------------------------------- the kernel's table of refs
RECORD = [1, "Thing", "m", "object", [], "", []]


class Table:
    """A table of refs with a worker that counts: what it sent, and what was given back."""

    def __init__(self):
        self.refs = RefTable()
        self.session = session_in(Status.ACTIVE)
        self.sent, self.given = {}, {}
        self._lock = threading.Lock()
        self._cls = make_class(RECORD)

    def arrive(self, ref_id):
        """A ref as `Incarnation` takes it from a reply."""
        with self._lock:
            self.sent[ref_id] = self.sent.get(ref_id, 0) + 1
        return self.receive(ref_id)

    def receive(self, ref_id):
        def new_state():
            return RefState(None, self, self.session, None, ref_id, "Thing", None, None, 8)

        return self.refs.receive(ref_id, new_state, partial(new_handle, self._cls))

    def flush(self):
        with self._lock:  # messages go one after the other
            numbers = iter(self.refs.give_back(None))
            for ref_id, count in zip(numbers, numbers, strict=True):
                self.given[ref_id] = self.given.get(ref_id, 0) + count

    def held(self, ref_id):
        """How many receipts the worker thinks are out: at 0 the object is gone."""
        with self._lock:
            return self.sent.get(ref_id, 0) - self.given.get(ref_id, 0)


@pytest.fixture
def table():
    return Table()


def test_a_ref_that_comes_again_is_the_same_handle(table):
    handle = table.arrive(1)
    assert table.arrive(1) is handle
    del handle
    table.flush()
    assert table.held(1) == 0
    assert table.refs.get(1) is None


def test_a_handle_that_comes_back_before_the_flush_lives(table):
    table.arrive(1)
    handle = table.arrive(1)
    table.flush()
    assert table.held(1) == 2
    del handle
    table.flush()
    assert table.held(1) == 0


def test_a_flush_after_a_drop_and_a_new_receipt_gives_nothing_back(table):
    table.arrive(1)  # and its handle is dropped at once
    handle = table.arrive(1)
    table.flush()
    assert table.held(1) == 2, "the worker has freed what a handle stands for"
    del handle
    table.flush()
    assert table.held(1) == 0


def test_a_ref_that_was_said_to_be_gone_and_comes_again_can_be_used(table):
    handle = table.arrive(1)
    table.refs.mark([1], "released")
    assert handle._bridge_state.ended() == "released"
    assert table.arrive(1) is handle
    assert handle._bridge_state.ended() == ""


def test_threads_that_receive_and_give_back_keep_the_counts_right(table):
    threads, rounds, refs = 8, 400, 3
    together, dangling = threading.Barrier(threads), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(seed):
        choice = random.Random(seed)
        together.wait(DEADLINE)
        for _ in range(rounds):
            ref_id = choice.randrange(refs)
            handle = table.arrive(ref_id)
            if choice.random() < 0.5:
                table.flush()
            if table.held(ref_id) < 1:
                dangling.append(ref_id)
            del handle
            if choice.random() < 0.5:
                table.flush()

    try:
        for thread in [InThread(work, n) for n in range(threads)]:
            thread.result()
    finally:
        sys.setswitchinterval(interval)
    gc.collect()
    table.flush()
    assert dangling == [], "the worker had freed what a handle stood for"
    assert table.given == table.sent
    assert table.refs.count() == 0


# ---------------------------------------------------------------- finalizers
def test_finalizers_only_append(local, monkeypatch):
    """Dropped in any thread, with every lock of ours taken and no socket to write to."""
    refs = [local.new("list") for _ in range(3)]
    cycle = [local.new("dict")]
    cycle.append(cycle)
    incarnation = local._remote.incarnation
    connection = incarnation.connection
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with contextlib.ExitStack() as stack:
        for lock in (connection._data.send_lock, connection._control._channel.send_lock,
                     connection._exchange.board._lock, incarnation.refs._lock,
                     local._remote.sessions._lock, local._remote._lock):  # fmt: skip
            stack.enter_context(lock)
        stack.enter_context(_refusing(connection, monkeypatch))

        def drop():
            refs.clear()
            cycle.clear()
            gc.collect()
            return len(incarnation.refs.dropped)

        dropping = InThread(drop)
        done = dropping.ended(5.0)
    assert done, "a finalizer waits for a lock"
    assert dropping.result() == 4
    assert unraisable == []
    assert local.refs() == []


@contextlib.contextmanager
def _refusing(connection, monkeypatch):
    """While this is open, nothing may be sent."""

    def refuse(*args):
        raise AssertionError("a finalizer sends")

    with monkeypatch.context() as patched:
        for channel in (connection._data, connection._control._channel):
            patched.setattr(channel, "_sendall", refuse)
        yield


def test_finalizers_after_the_end_of_a_bridge_do_nothing(monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with bridge_ext.Bridge("memory") as bridge:
        ref = bridge.new("list")
    del ref
    gc.collect()
    assert unraisable == []


# ---------------------------------------------------------------- acknowledgements
class Lossy(Backend):
    """A backend that loses the acknowledgements of releases: so many, on each channel."""

    def __init__(self, backend, data, control):
        self._backend = make_backend(backend, None)
        self.name, self.lacks = self._backend.name, self._backend.lacks
        self.left = {"data": data, "control": control}
        self.asked = []

    def open(self, incarnation, config):
        return LossyConnection(self._backend.open(incarnation, config), self)

    def loses(self, channel, body):
        """Note a release that was asked for; whether its acknowledgement is lost."""
        payload = plain.load(body) if body.find(b"release_") >= 0 else {}
        release = str(payload.get("call_type", "")).startswith("release_")
        if not release or not payload["args"]:
            return False
        self.asked.append((channel, payload["call_type"]))
        self.left[channel] -= 1
        return self.left[channel] >= 0


class LossyConnection:
    """A connection that does what is asked, and then may not say so."""

    def __init__(self, connection, lossy):
        self._connection, self._lossy = connection, lossy

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def call(self, request, outgoing, deadline, finish):
        reply = self._connection.call(request, outgoing, deadline, finish)
        if self._lossy.loses("data", request.body):
            raise TimedOut
        return reply

    def control(self, body, deadline):
        reply = self._connection.control(body, deadline)
        if self._lossy.loses("control", body):
            raise TimedOut
        return reply


@pytest.fixture(params=["memory", "local"])
def lossy(request):
    """Make a bridge that loses so many acknowledgements."""
    with contextlib.ExitStack() as stack:

        def make(data=0, control=0):
            backend = Lossy(request.param, data, control)
            return stack.enter_context(bridge_ext.Bridge(backend)), backend

        yield make


LOST = {"none": (0, 0), "the first": (1, 0), "the first two": (1, 1), "many": (1, 4)}


@pytest.mark.parametrize("lost", LOST)
def test_the_release_of_a_session_is_asked_for_until_it_is_acknowledged(lossy, lost):
    bridge, backend = lossy(*LOST[lost])
    with bridge.session("x"):
        held = [bridge.new("list") for _ in range(3)]
    nbytes = sum(bridge.info(ref).nbytes for ref in held)
    assert bridge.release("x") == Released(3, nbytes)
    assert len(backend.asked) == sum(LOST[lost]) + 1
    assert {call_type for _, call_type in backend.asked} == {"release_session"}
    assert bridge.session_info("x").status is Status.RELEASED
    assert bridge.release("x") == Released(0, 0)
    assert bridge.refs() == []
    with pytest.raises(RefNotFoundError):
        held[0].append(1)


@pytest.mark.parametrize("lost", LOST)
def test_the_release_of_a_ref_is_asked_for_until_it_is_acknowledged(lossy, lost):
    bridge, backend = lossy(*LOST[lost])
    ref, other = bridge.new("list"), bridge.new("dict")
    nbytes = bridge.info(ref).nbytes
    assert bridge.release(ref) == Released(1, nbytes)
    assert len(backend.asked) == sum(LOST[lost]) + 1
    assert bridge.release(ref) == Released(0, 0)
    assert [info.type_name for info in bridge.refs()] == ["dict"]
    assert bridge.call("len", other) == 0


@pytest.mark.parametrize("times", [0, 1, 3])
def test_while_a_call_runs_a_release_goes_over_control_until_it_is_acknowledged(
    lossy, times, tmp_path
):
    bridge, backend = lossy(0, times)
    with bridge.session("x"):
        held = [bridge.new("list") for _ in range(3)]
    with contextlib.closing(Gate(tmp_path)) as gate:
        call = InThread(bridge.call, "eval", Gate.READ, {"gate": gate.path})
        gate.reached()
        assert bridge.release("x").refs == len(held)
        assert backend.asked == [("control", "release_session")] * (times + 1)
        gate.open()
        assert call.result() == b""


def test_a_release_that_is_asked_for_again_does_not_reach_the_next_of_that_name(lossy):
    bridge, backend = lossy(1, 1)
    with bridge.session("x"):
        old = bridge.new("list")
    assert bridge.release("x").refs == 1
    with bridge.session("x"):
        new = bridge.new("dict")
    del old
    gc.collect()
    assert [info.id for info in bridge.refs("x")] == [bridge.info(new).id]
    assert len(new) == 0
    assert len(backend.asked) == 3


def test_the_death_of_the_worker_settles_a_release(local):
    with local.session("x"):
        ref = local.new("list")
    connection = local._remote.incarnation.connection
    connection.kill()
    assert local.release("x") == Released(0, 0)
    assert local.session_info("x").status in (Status.RELEASED, Status.LOST)
    eventually(lambda: local._remote.incarnation is None, "the burial")
    with pytest.raises(bridge_ext.BridgeError):
        ref.append(1)
    assert local.call("math.sqrt", 4) == 2.0


# ---------------------------------------------------------------- a bridge nobody closes
@pytest.mark.parametrize("backend", ["memory", "local"])
def test_a_bridge_that_nobody_refers_to_is_closed(backend):
    bridge = bridge_ext.Bridge(backend)
    bridge.call("math.sqrt", 4)
    connection = bridge._remote.incarnation.connection
    keeper = bridge._remote._housekeeper._thread
    del bridge
    gc.collect()
    eventually(lambda: connection.death is not None, "the end of the worker")
    eventually(lambda: not keeper.is_alive(), "the end of the housekeeper")


@pytest.mark.parametrize("backend", ["memory", "local"])
def test_a_handle_keeps_its_bridge(backend):
    ref = bridge_ext.Bridge(backend).put([1, 2])
    gc.collect()
    assert len(ref) == 2
    ref._bridge_state.client.close()
