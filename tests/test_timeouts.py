"""Timeouts: the call stops, or the error says that it has not, and what to do."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import eventually, map_segments
from steering import (
    AT_ONCE,
    GRACE,
    PATHS,
    STUCK,
    Growing,
    Held,
    gone,
    in_background,
    in_flight,
    interrupted,
)

import bridge_ext
from bridge_ext import (
    BridgeUsageError,
    CallTimeoutError,
    Released,
    WorkerBusyError,
    WorkerDiedError,
)
from bridge_ext.kernel.backends import stopping

pytestmark = pytest.mark.timeout(60)
SHORT = 0.1
"""Seconds that calls are given here which take longer."""


@pytest.fixture(scope="module", autouse=True)
def shared():
    """One bridge for all tests that leave its worker alive and well."""
    with bridge_ext.Bridge() as bridge:
        bridge.call("steered.same", 0)
        map_segments(bridge)
        yield bridge


@pytest.fixture
def own():
    """A bridge of the test's own, which `local` is then: its worker may be ended."""
    with bridge_ext.Bridge() as bridge:
        bridge.call("steered.same", 0)
        yield bridge


@pytest.fixture
def local(request, shared):
    if "own" in request.fixturenames:
        yield request.getfixturevalue("own")
    else:
        yield shared
        shared.release_all()


@pytest.fixture
def quick(monkeypatch):
    """The grace is short, for what does not depend on its length."""
    monkeypatch.setattr(stopping, "GRACE", 0.4)


@pytest.fixture
def growing(local, tmp_path):
    """What `steered.stall` writes to."""
    file = Growing(tmp_path / "growing")
    local.call("steered.arm", str(file))
    return file


@pytest.fixture
def held(local):
    return Held(local)


@pytest.fixture
def file(tmp_path):
    """A function that gives the path of a file of that name."""
    return tmp_path.joinpath


class Late:
    """The CallTimeoutError that came out of a block, and when.

    Attributes:
        error: what was raised.
        took: seconds until it was.
    """

    def __enter__(self):
        self._start = time.monotonic()
        return self

    def __exit__(self, kind, error, traceback):
        self.took = time.monotonic() - self._start
        self.error = error
        return isinstance(error, CallTimeoutError)

    def stopped(self, timeout=SHORT):
        """Check that the call was stopped soon after its time, and nothing was lost."""
        error = self.error
        assert isinstance(error, TimeoutError)
        assert (error.timeout, error.stopped, error.ended) == (timeout, True, False)
        assert (error.sessions, error.refs) == ((), 0)
        assert timeout - 0.01 <= self.took < timeout + AT_ONCE
        assert "timeout" in str(error)
        assert f"{timeout:g}" in str(error)
        return True

    def runs_on(self, timeout=SHORT):
        """Check that the error says that the call has not stopped, and what to do."""
        error = self.error
        assert (error.timeout, error.stopped, error.ended) == (timeout, False, False)
        assert (error.sessions, error.refs) == ((), 0)
        assert timeout + stopping.GRACE - 0.01 <= self.took < timeout + stopping.GRACE + AT_ONCE
        for text in ("timeout", "has not stopped", "bridge.restart()", "kill=True"):
            assert text in str(error)
        return True


# ---------------------------------------------------------------- every path
ALIKE = {"call with keywords", "reflected +", "@", "-", "item assignment", "assignment to a ref"}
"""What is left out here; the tests of interrupts have them."""


@pytest.mark.parametrize("path", [path for path in PATHS if path not in ALIKE])
def test_a_timeout_stops_the_call_on_every_path(local, growing, held, path):
    make, act = PATHS[path]
    made = make(local)
    with Late() as late, local.options(timeout=SHORT):
        act(local, made)
    assert late.stopped()
    assert growing.begun()
    held.check()
    assert growing.has_stopped(local)


BOUND = ["call", "method", "put", "acall"]


@pytest.mark.parametrize("path", BOUND)
def test_a_timeout_of_a_bound_bridge_stops_the_call(local, growing, held, path):
    make, act = PATHS[path]
    made = make(local)
    with Late() as late:
        act(local.options(timeout=SHORT), made)
    assert late.stopped()
    held.check()
    assert growing.has_stopped(local)


def test_a_future_raises_its_timeout(local, growing, held):
    with local.options(timeout=SHORT):
        future = local.submit("steered.stall")
    with Late() as late:
        future.result(STUCK)
    assert (late.error.stopped, late.error.timeout) == (True, SHORT)
    assert late.took < SHORT + AT_ONCE
    assert future.done()
    assert not future.cancelled()
    held.check()
    assert growing.has_stopped(local)


def test_a_batch_has_one_timeout_for_all_its_calls(local, growing, held, file):
    with Late() as late, local.options(timeout=SHORT), local.batch() as batch:
        futures = [
            batch.call("steered.same", 7),
            batch.call("steered.stall"),
            batch.call("steered.touch", str(file("ran"))),
        ]
    assert late.stopped()
    assert all(future.done() for future in futures)
    held.check()
    assert not file("ran").exists()
    assert growing.has_stopped(local)


def test_the_loop_of_a_stream_has_its_timeout_for_each_item(local, growing, held):
    local.call("steered.same", 0)
    stream, seen = local.stream("steered.slow_numbers", 8, 0.04), []
    with local.options(timeout=0.3):
        seen += list(stream)  # 0.32 s as a whole
    assert seen == list(range(8))
    stream, seen = local.stream("steered.Items", 3), []
    with Late() as late, local.options(timeout=SHORT):
        for item in stream:
            seen.append(item)
    assert late.error.stopped
    assert growing.has_stopped(local)
    seen += [next(stream) for _ in range(20)]
    assert seen == list(range(len(seen))), "no item is lost by a timeout"
    held.check()


BEHIND = {
    "call": lambda bridge, ref, file: bridge.call("steered.touch", file),
    "submit": lambda bridge, ref, file: bridge.submit("steered.touch", file).result(STUCK),
    "acall": lambda bridge, ref, file: asyncio.run(bridge.acall("steered.touch", file)),
    "put": lambda bridge, ref, file: bridge.put([1]),
    "fetch": lambda bridge, ref, file: bridge.fetch(ref),
    "keep": lambda bridge, ref, file: bridge.keep(ref, "name"),
    "kept": lambda bridge, ref, file: bridge.kept("named")["other"],
    "move": lambda bridge, ref, file: bridge.move(ref, "elsewhere"),
    "len": lambda bridge, ref, file: len(ref),
    "large": lambda bridge, ref, file: bridge.call("steered.touch_and_give", file, bytes(20 << 20)),
}


@pytest.mark.parametrize("path", BEHIND)
def test_a_timeout_of_a_call_that_waits_behind_another_keeps_it_from_starting(
    local, held, file, path
):
    with local.session("named"):
        ref, other = local.put(["mine"]), local.put(["other"])
        local.keep(other, "other")
    call = in_background(local.call, "steered.wait_for", str(file("go")), str(file("started")))
    eventually(file("started").exists)
    with Late() as late, local.session("named"), local.options(timeout=SHORT):
        BEHIND[path](local, ref, str(file("ran")))
    assert late.stopped()
    assert not call.done()
    file("go").touch()
    assert call.result(STUCK) == "waited"
    held.check()
    assert not file("ran").exists()
    assert local.info(ref).session_id == "named"
    assert local.info(ref).kept_as is None
    assert ref[0] == "mine"


def test_a_timeout_of_a_call_that_runs_leaves_those_behind_it_alone(local, held, growing):
    stalling = in_background(local.options(timeout=0.3).call, "steered.stall")
    eventually(growing.begun)
    behind = [in_background(local.call, "steered.same", n) for n in range(3)]
    assert isinstance(stalling.exception(STUCK), CallTimeoutError)
    assert [future.result(STUCK) for future in behind] == [0, 1, 2]
    held.check()


def test_a_large_result_has_a_timeout(local, held):
    ref = local.call("numpy.zeros", 200 << 20, "u1")
    with Late() as late, local.options(timeout=0.02):
        local.fetch(ref)
    assert late.error.stopped
    held.check()


def test_a_request_for_a_worker_that_stands_still_has_a_timeout(local, held, file):
    pid = local.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with Late() as late, local.options(timeout=SHORT):
            local.call("steered.touch_and_give", str(file("ran")), bytes(20 << 20))
        assert late.took < SHORT + GRACE + AT_ONCE
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: serves(local), "a worker that serves")
    held.check()
    assert not file("ran").exists()


def serves(bridge):
    try:
        return bridge.call("math.sqrt", 4) == 2.0
    except WorkerBusyError:
        return False


# ---------------------------------------------------------------- what a timeout is
def test_a_call_within_its_timeout_changes_nothing(local, held):
    with local.options(timeout=30, kill=True):
        assert local.call("steered.same", 7) == 7
    assert local.options(timeout=30).submit("steered.same", 7).result(STUCK) == 7
    held.check()


def test_the_innermost_timeout_counts(local, growing, held):
    with Late() as late, local.options(timeout=30), local.options(timeout=SHORT):
        local.call("steered.stall")
    assert late.stopped()
    with local.options(timeout=0.1), local.options(timeout=30):
        assert local.call("steered.sleep_and_touch", 0.3, os.devnull, os.devnull) == "slept"
    with local.options(timeout=0.1):
        bound = local.options(timeout=30)
        assert bound.call("steered.sleep_and_touch", 0.3, os.devnull, os.devnull) == "slept"
    held.check()


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "1", True, 1j], ids=repr)
def test_a_timeout_without_meaning_is_a_usage_error(local, timeout):
    with pytest.raises(BridgeUsageError, match="timeout"):
        local.options(timeout=timeout)


@pytest.mark.parametrize("timeout", [math.inf, 1e12], ids=repr)
def test_a_timeout_without_end_is_one_or_none(local, held, timeout):
    try:
        bound = local.options(timeout=timeout)
    except BridgeUsageError:
        return
    assert bound.call("steered.same", 7) == 7
    held.check()


def test_a_first_call_has_its_timeout_too():
    with bridge_ext.Bridge() as bridge:
        with Late() as late, bridge.options(timeout=0.3):
            bridge.call("time.sleep", STUCK)
        assert late.error.stopped
        assert late.took < STUCK / 2
        assert bridge.call("math.sqrt", 4) == 2.0


def test_an_idempotent_call_that_is_late_is_not_tried_again(local, growing, held, file):
    with Late() as late, local.options(timeout=SHORT, idempotent=True):
        local.call("steered.touch_and_stall", str(file("tries")))
    assert late.stopped()
    held.check()
    assert file("tries").read_text() == "x"


def test_a_worker_that_dies_in_time_is_told_as_that(own):
    with own.options(timeout=30), pytest.raises(WorkerDiedError):
        own.call("os._exit", 3)


def test_what_was_made_for_nobody_is_freed(local, held, growing):
    before = local.status().refs
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.catch", "refs", os.devnull)
    assert late.stopped()
    held.check()
    eventually(lambda: local.status().refs == before, "the end of the refs of the result")


@pytest.mark.parametrize("how", ["raise", "exit", "finish", "refs"])
def test_whatever_the_code_makes_of_it_the_call_is_late(local, growing, held, file, how):
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.catch", how, str(file("seen")))
    assert late.stopped()
    assert file("seen").read_text() == "x"
    held.check()


def test_a_finally_of_the_users_runs(local, growing, held, file):
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.clean_up", str(file("ended")))
    assert late.stopped()
    assert file("ended").exists()
    held.check()


def test_the_workers_children_live_on(local, growing, held):
    child = local.call("subprocess.Popen", ["sleep", "20"])
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.stall")
    assert late.stopped()
    assert child.poll() is None
    held.check()


def test_an_interrupt_before_the_time_is_over_is_an_interrupt(local, growing, held):
    with interrupted(local, growing.begun) as sent, local.options(timeout=30):
        local.call("steered.stall")
    assert sent.took < AT_ONCE
    held.check()


def test_many_timeouts_at_any_moment_cost_nothing(local, held):
    """Each call gives its own value or is late, and no reply reaches another call."""
    random.seed(7)
    late, refs = [], local.status().refs
    for turn in range(60):
        try:
            with local.options(timeout=random.uniform(0.001, 0.02)):
                pause = random.uniform(0, 0.02)
                assert local.call("steered.same_after", pause, turn) == turn
                assert len(local.call("steered.objects", turn, 3)) == 3
                assert list(local.stream("steered.slow_numbers", 3, 0.003)) == [0, 1, 2]
                with local.batch() as batch:
                    futures = [batch.call("steered.same", [turn, n]) for n in range(3)]
                    futures += [batch.call("steered.same_after", pause, [turn, 3])]
                assert [f.result() for f in futures] == [[turn, n] for n in range(4)]
        except CallTimeoutError as error:
            late.append(error.stopped)
    assert len(late) > 8
    assert all(late)
    held.check()
    eventually(lambda: local.status().refs == refs and not in_flight(local), "the end of all")


def test_timeouts_of_many_threads_are_their_own(local, held):
    def work(number):
        late = []
        for turn in range(12):
            try:
                with local.options(timeout=random.uniform(0.001, 0.03)):
                    pause = random.uniform(0, 0.006)
                    made = local.call("steered.same_after", pause, [number, turn])
                    assert made == [number, turn]
            except CallTimeoutError as error:
                late.append(error.stopped)
        return late

    with ThreadPoolExecutor(6) as pool:
        late = [stopped for each in pool.map(work, range(6)) for stopped in each]
    assert len(late) > 5
    assert all(late)
    held.check()
    eventually(lambda: not in_flight(local), "the end of all")


# ---------------------------------------------------------------- callbacks
def test_a_timeout_of_a_call_within_a_callback_leaves_the_outer_call(local, growing, held, file):
    def nested():
        with Late() as late, local.options(timeout=SHORT):
            local.call("steered.stall")
        return late.stopped()

    assert local.call("steered.call_back_and_touch", local.callback(nested), str(file("after")))
    assert file("after").exists()
    held.check()
    assert growing.has_stopped(local)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_what_stops_an_outer_call_stops_the_one_within_its_callback_first(
    local, growing, held, file, how
):
    def nested():
        with local.options(timeout=30):
            return local.call("steered.stall", 1.8)

    future = local.options(timeout=0.3 if how == "timeout" else 30).submit(
        "steered.call_back_and_touch", local.callback(nested), str(file("after"))
    )
    eventually(growing.begun)
    if how == "cancel":
        assert future.cancel()
    begun = time.monotonic()
    eventually(lambda: not in_flight(local), "the end of both calls")
    held.check()
    assert not file("after").exists()
    assert time.monotonic() - begun < AT_ONCE


def test_a_callback_that_takes_longer_than_the_timeout_is_late(local, held, file):
    """Its own code cannot be stopped from outside; when it is done, the call is late."""
    with Late() as late, local.options(timeout=SHORT):
        local.call(
            "steered.call_back_and_touch",
            local.callback(lambda: time.sleep(0.6)),
            str(file("after")),
        )
    assert late.error.stopped
    assert late.took < 0.6 + AT_ONCE
    held.check()
    assert not file("after").exists()


# ---------------------------------------------------------------- calls that do not stop
STUBBORN = {"GIL": "steered.hold_gil", "swallows": "steered.swallow"}


@pytest.mark.parametrize("how", STUBBORN)
def test_a_call_that_has_not_stopped_is_said_to_run_until_it_ends(
    local, held, file, how, monkeypatch
):
    if how == "swallows":  # the other shows how long it is
        monkeypatch.setattr(stopping, "GRACE", 0.4)
    seconds = SHORT + stopping.GRACE + 0.8
    with Late() as late, local.options(timeout=SHORT):
        local.call(STUBBORN[how], seconds, str(file("started")))
    assert late.runs_on()
    start = time.monotonic()
    for _ in range(3):
        with pytest.raises(WorkerBusyError, match=r"bridge\.restart\(\)") as busy:
            local.call("math.sqrt", 4)
        assert STUBBORN[how] in str(busy.value)
    assert time.monotonic() - start < 0.5, "whoever is told so does not wait"
    eventually(lambda: serves(local), "the end of the call")
    held.check()


@pytest.mark.usefixtures("quick")
def test_while_a_call_has_not_stopped_every_other_is_told_so(local, held, growing, file):
    ref = local.put([1])
    stream = local.stream("range", 10)
    made = {path: make(local) for path, (make, _) in PATHS.items()}
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.hold_gil", 1.6, str(file("started")))
    assert late.runs_on()
    for path, (_, act) in PATHS.items():
        with pytest.raises(WorkerBusyError):
            act(local, made[path])
    for act in (
        lambda: local.submit("math.sqrt", 4).result(STUCK),
        lambda: local.keep(ref, "name"),
        lambda: local.move(ref, "elsewhere"),
        lambda: local.kept("named"),
        lambda: next(stream),
        lambda: local.options(timeout=30, kill=True).call("math.sqrt", 4),
    ):
        with pytest.raises(WorkerBusyError):
            act()
    eventually(lambda: serves(local), "the end of the call")
    assert next(stream) == 0
    assert not growing.begun(), "nothing of that has run"
    held.check()


@pytest.mark.usefixtures("quick")
def test_while_a_call_has_not_stopped_what_asks_nothing_of_the_worker_works(local, held, file):
    ref = local.put([1])
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.hold_gil", 1.1, str(file("started")))
    assert late.runs_on()
    start = time.monotonic()
    assert "list" in repr(ref)
    assert "append" in dir(ref)
    assert local.status().pid is not None
    assert {"named"} <= {session.id for session in local.sessions()}
    local.refs()
    assert time.monotonic() - start < 1.0
    del ref
    eventually(lambda: serves(local), "the end of the call")
    held.check()


@pytest.mark.usefixtures("quick")
def test_a_restart_is_the_way_out(own, file):
    held, pid = Held(own), own.status().pid
    with Late() as late, own.options(timeout=SHORT):
        own.call("steered.hold_gil", 20, str(file("started")))
    assert late.runs_on()
    with pytest.raises(WorkerBusyError):
        own.call("math.sqrt", 4)
    own.restart()
    assert gone(pid)
    held.check_lost()


@pytest.mark.usefixtures("quick")
def test_interrupt_ends_a_worker_whose_call_was_late_and_has_not_stopped(own, file, capsys):
    held = Held(own)
    with Late() as late, own.options(timeout=SHORT):
        own.call("steered.hold_gil", 20, str(file("started")))
    assert late.runs_on()
    assert own.interrupt() is True
    held.check_lost()


@pytest.mark.usefixtures("quick")
def test_an_interrupt_in_the_grace_of_a_timeout_is_an_interrupt(local, held, file):
    with (
        interrupted(local, file("started").exists, send=lambda: None, error=KeyboardInterrupt),
        local.options(timeout=SHORT),
    ):
        interrupt = in_background(
            lambda: (time.sleep(SHORT + 0.2), os.kill(os.getpid(), signal.SIGINT))
        )
        try:
            local.call("steered.hold_gil", 1.2, str(file("started")))
        finally:
            interrupt.result(STUCK)
    held.check()


@pytest.mark.parametrize("how", STUBBORN)
def test_with_kill_a_worker_that_has_not_stopped_is_ended(own, file, how, monkeypatch):
    if how == "swallows":
        monkeypatch.setattr(stopping, "GRACE", 0.4)
    held, pid = Held(own), own.status().pid
    with Late() as late, own.options(timeout=SHORT, kill=True):
        own.call(STUBBORN[how], 20, str(file("started")))
    error = late.error
    assert (error.timeout, error.ended, error.refs) == (SHORT, True, 2)
    assert set(error.sessions) == {"named", own_auto(own, error.sessions)}
    assert SHORT + stopping.GRACE - 0.01 <= late.took < SHORT + stopping.GRACE + AT_ONCE
    for text in ("timeout", "was ended", "2 refs", "'named'", "fresh worker"):
        assert text in str(error)
    eventually(lambda: gone(pid))
    held.check_lost()


def own_auto(bridge, sessions):
    (auto,) = [id for id in sessions if id.startswith("auto_")]
    return auto


@pytest.mark.usefixtures("quick")
def test_with_kill_a_future_says_so_too(own, file):
    held = Held(own)
    with own.options(timeout=SHORT, kill=True):
        future = own.submit("steered.hold_gil", 20, str(file("started")))
    with Late() as late:
        future.result(STUCK)
    assert (late.error.ended, late.error.refs) == (True, 2)
    held.check_lost()


@pytest.mark.usefixtures("quick")
def test_without_kill_a_future_says_that_its_call_runs_on(local, held, file):
    with local.options(timeout=SHORT):
        future = local.submit("steered.hold_gil", 1.1, str(file("started")))
    with Late() as late:
        future.result(STUCK)
    assert (late.error.stopped, late.error.ended) == (False, False)
    with pytest.raises(WorkerBusyError):
        local.call("math.sqrt", 4)
    eventually(lambda: serves(local), "the end of the call")
    held.check()


@pytest.mark.usefixtures("quick")
def test_an_awaited_call_that_has_not_stopped_says_so(local, held, file):
    with Late() as late, local.options(timeout=SHORT):
        asyncio.run(local.acall("steered.hold_gil", 1.1, str(file("started"))))
    assert late.runs_on()
    with pytest.raises(WorkerBusyError):
        asyncio.run(local.acall("math.sqrt", 4))
    eventually(lambda: serves(local), "the end of the call")
    held.check()


@pytest.mark.usefixtures("quick")
def test_calls_behind_one_that_does_not_stop_run_when_it_ends(local, held, file):
    """Those that were sent before it was known are neither lost nor refused."""
    bound = local.options(timeout=SHORT)
    stubborn = in_background(bound.call, "steered.hold_gil", 1.1, str(file("started")))
    eventually(file("started").exists)
    behind = in_background(local.call, "steered.same", 7)
    error = stubborn.exception(STUCK)
    assert (error.stopped, error.ended) == (False, False)
    assert behind.result(STUCK) == 7
    held.check()


@pytest.mark.usefixtures("quick")
def test_with_kill_a_call_that_stops_keeps_its_worker(local, growing, held):
    with Late() as late, local.options(timeout=SHORT, kill=True):
        local.call("steered.stall")
    assert late.stopped()
    held.check()


@pytest.mark.usefixtures("quick")
def test_with_kill_a_call_behind_one_that_does_not_stop_ends_nothing(local, held, file):
    """A call that waits is stopped by not starting it: there is no reason to end its worker."""
    call = in_background(local.call, "steered.hold_gil", 1.1, str(file("started")))
    eventually(file("started").exists)
    with Late() as late, local.options(timeout=SHORT, kill=True):
        local.call("steered.touch", str(file("ran")))
    assert not late.error.ended
    assert call.result(STUCK) == "held"
    eventually(lambda: serves(local), "the end of the call")
    held.check()
    assert not file("ran").exists()


def test_release_works_while_a_late_call_runs(local, held, file, monkeypatch):
    monkeypatch.setattr(stopping, "GRACE", 0.3)
    ref = local.put([1])
    with Late() as late, local.options(timeout=SHORT):
        local.call("steered.swallow", 1.2, str(file("started")))
    assert late.runs_on()
    assert local.release(ref) == Released(1, local_size(ref))
    eventually(lambda: serves(local), "the end of the call")
    held.check()


def local_size(ref):
    return ref._bridge_state.nbytes


# ---------------------------------------------------------------- displays
def test_a_display_behind_a_long_call_is_the_inert_text(local, held, file):
    ref = local.put([1, 2])
    call = in_background(local.call, "steered.wait_for", str(file("go")), str(file("started")))
    eventually(file("started").exists)
    start = time.monotonic()
    shown = ref._repr_mimebundle_()
    assert time.monotonic() - start < 2.0 + AT_ONCE
    assert "<ref list" in str(shown)
    file("go").touch()
    assert call.result(STUCK) == "waited"
    held.check()


def test_a_display_of_what_does_not_stop_raises_nothing_and_is_told_later(local, held, file):
    ref = local.new("steered.StubbornRepr", 3.0)
    start = time.monotonic()
    shown = ref._repr_mimebundle_()
    assert time.monotonic() - start < 2.0 + AT_ONCE
    assert "StubbornRepr" in str(shown)
    eventually(lambda: serves(local), "the end of the display")
    held.check()
