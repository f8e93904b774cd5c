"""A KeyboardInterrupt is raised at a wait, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
from conftest import DEADLINE, eventually
from test_backends import Gate, InThread, open_books

import bridge_ext
from bridge_ext.kernel.backends import interrupts
from bridge_ext.kernel.backends.base import Interrupted
from bridge_ext.kernel.backends.interrupts import check, hold, let_go
from bridge_ext.kernel.backends.local import LocalBackend

SIGINT = signal.SIGINT


@pytest.fixture(autouse=True)
def handler():
    """Python's own handler, as every test begins; it, and no note, must be there at its end."""
    before = signal.signal(SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    after = signal.signal(SIGINT, before)
    left, interrupts._Note.pending = interrupts._Note.pending, False
    assert after in (signal.default_int_handler, signal.SIG_IGN, custom)
    assert not left, "a note was left behind"


calls = []


def custom(signum, frame):
    calls.append((signum, frame))


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


class Mine(Exception):
    """What a handler of the user's raises."""


# ---------------------------------------------------------------- hold and let go
def test_between_hold_and_let_go_nothing_is_raised_and_then_it_is(handler):
    held = hold()
    assert held is handler
    assert signal.getsignal(SIGINT) is not handler
    signal.raise_signal(SIGINT)  # would raise here, between any two bytecodes
    signal.raise_signal(SIGINT)
    with pytest.raises(KeyboardInterrupt):
        let_go(held)
    assert signal.getsignal(SIGINT) is handler


def test_without_an_interrupt_nothing_is_raised(handler):
    held = hold()
    check(held)
    let_go(held)
    assert signal.getsignal(SIGINT) is handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(SIGINT)


def test_an_interrupt_is_raised_once(handler):
    held = hold()
    signal.raise_signal(SIGINT)
    with pytest.raises(KeyboardInterrupt):
        let_go(held)
    let_go(hold())


def test_nested_holds_raise_at_the_outermost_end(handler):
    outer = hold()
    inner = hold()
    signal.raise_signal(SIGINT)
    let_go(inner)
    assert signal.getsignal(SIGINT) is not handler
    with pytest.raises(KeyboardInterrupt):
        let_go(outer)
    assert signal.getsignal(SIGINT) is handler


def test_a_wait_of_an_inner_hold_raises(handler):
    outer = hold()
    inner = hold()
    signal.raise_signal(SIGINT)
    with pytest.raises(Interrupted) as caught:
        check(inner)
    assert type(caught.value.error) is KeyboardInterrupt
    let_go(inner)
    let_go(outer)
    assert signal.getsignal(SIGINT) is handler


def test_an_ignored_interrupt_stays_ignored():
    signal.signal(SIGINT, signal.SIG_IGN)
    held = hold()
    assert held is None
    signal.raise_signal(SIGINT)
    check(held)
    let_go(held)
    assert signal.getsignal(SIGINT) is signal.SIG_IGN


def test_the_systems_own_handler_is_left_alone():
    signal.signal(SIGINT, signal.SIG_DFL)
    try:
        held = hold()
        assert held is None
        assert signal.getsignal(SIGINT) is signal.SIG_DFL
        let_go(held)
    finally:
        signal.signal(SIGINT, signal.default_int_handler)


def test_a_handler_of_the_users_is_called_at_the_end_and_put_back():
    signal.signal(SIGINT, custom)
    held = hold()
    signal.raise_signal(SIGINT)
    assert calls == []
    let_go(held)
    assert [signum for signum, _ in calls] == [SIGINT]
    assert signal.getsignal(SIGINT) is custom


def test_what_a_handler_of_the_users_raises_comes_out_of_let_go():
    def raising(signum, frame):
        raise Mine

    signal.signal(SIGINT, raising)
    try:
        held = hold()
        signal.raise_signal(SIGINT)
        with pytest.raises(Mine):
            let_go(held)
        assert signal.getsignal(SIGINT) is raising
    finally:
        signal.signal(SIGINT, signal.default_int_handler)


# ---------------------------------------------------------------- check
def test_a_wait_raises_what_came(handler):
    held = hold()
    signal.raise_signal(SIGINT)
    with pytest.raises(Interrupted) as caught:
        check(held)
    assert type(caught.value.error) is KeyboardInterrupt
    check(held)
    let_go(held)


def test_a_wait_calls_a_handler_of_the_users_which_may_go_on():
    signal.signal(SIGINT, custom)
    held = hold()
    signal.raise_signal(SIGINT)
    check(held)
    check(held)
    assert [signum for signum, _ in calls] == [SIGINT]
    let_go(held)
    assert len(calls) == 1


def test_a_wait_raises_what_a_handler_of_the_users_raises():
    def raising(signum, frame):
        raise Mine("stop")

    signal.signal(SIGINT, raising)
    try:
        held = hold()
        signal.raise_signal(SIGINT)
        with pytest.raises(Interrupted) as caught:
            check(held)
        assert type(caught.value.error) is Mine
        let_go(held)
    finally:
        signal.signal(SIGINT, signal.default_int_handler)


def test_a_wait_that_holds_nothing_leaves_the_note_to_the_one_that_does(handler):
    held = hold()
    signal.raise_signal(SIGINT)
    check(None)
    with pytest.raises(Interrupted):
        check(held)
    let_go(held)


# ---------------------------------------------------------------- other threads
def test_another_thread_holds_nothing(handler):
    held = InThread(hold)
    assert held.result() is None
    InThread(let_go, None).result()
    assert signal.getsignal(SIGINT) is handler


def test_a_wait_of_another_thread_does_not_take_the_note(handler):
    held = hold()
    signal.raise_signal(SIGINT)
    InThread(check, None).result()
    InThread(lambda: let_go(hold())).result()
    with pytest.raises(KeyboardInterrupt):
        let_go(held)


# ---------------------------------------------------------------- an event loop
def test_in_an_event_loop_a_wait_raises_whatever_the_loops_handler(handler):
    async def main():
        before = signal.getsignal(SIGINT)
        held = hold()
        signal.raise_signal(SIGINT)
        try:
            with pytest.raises(Interrupted) as caught:
                check(held)
        finally:
            let_go(held)
        assert signal.getsignal(SIGINT) is before
        return type(caught.value.error)

    assert asyncio.run(main()) is KeyboardInterrupt


def test_in_an_event_loop_with_a_handler_of_its_own_a_wait_raises():
    async def main():
        asyncio.get_running_loop().add_signal_handler(SIGINT, calls.append, 1)
        held = hold()
        signal.raise_signal(SIGINT)
        try:
            with pytest.raises(Interrupted) as caught:
                check(held)
        finally:
            let_go(held)
            asyncio.get_running_loop().remove_signal_handler(SIGINT)
        return type(caught.value.error)

    assert asyncio.run(main()) is KeyboardInterrupt
    signal.signal(SIGINT, signal.default_int_handler)


# ---------------------------------------------------------------- calls
@pytest.fixture
def worker():
    books = open_books("local")
    books.declare("s")
    books.call("math.sqrt", 4.0)
    yield books
    books.close()


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


def interrupt_at(gate):
    """Once the call waits in the worker, interrupt this process as the system does."""

    def send():
        gate.reached()
        os.kill(os.getpid(), SIGINT)

    return InThread(send)


def test_a_call_that_waits_is_interrupted_and_the_handler_put_back(worker, gate, handler):
    sender = interrupt_at(gate)
    with pytest.raises(Interrupted) as caught:
        worker.run(gate.READ, gate=gate.path)
    sender.result()
    assert type(caught.value.error) is KeyboardInterrupt
    assert signal.getsignal(SIGINT) is handler
    assert worker.connection.in_flight == 0
    gate.open()
    assert worker.call("math.sqrt", 9.0) == [0, 3.0], "the late reply is not taken for this one"


def test_a_question_that_waits_is_interrupted_and_the_handler_put_back(worker, handler):
    worker._stop.set()  # now nobody reads the answers
    worker._watcher.join(DEADLINE)

    def send():
        eventually(lambda: worker.connection._control._asked, "the question")
        os.kill(os.getpid(), SIGINT)

    sender = InThread(send)
    with pytest.raises(Interrupted):
        worker.control("ping")
    sender.result()
    assert signal.getsignal(SIGINT) is handler
    assert worker.connection._control._asked == {}


def test_a_caller_that_waits_for_the_reader_is_interrupted(worker, gate, handler):
    reader = InThread(worker.run, gate.READ, gate=gate.path)
    gate.reached()

    def send():
        eventually(lambda: worker.connection.in_flight == 2, "the second call")
        os.kill(os.getpid(), SIGINT)

    sender = InThread(send)
    with pytest.raises(Interrupted):
        worker.call("math.sqrt", 4.0)
    sender.result()
    assert signal.getsignal(SIGINT) is handler
    gate.open()
    assert reader.result() == [0, b""]
    assert worker.call("math.sqrt", 9.0) == [0, 3.0]


def test_a_call_of_another_thread_is_not_interrupted(worker, gate, handler):
    call = InThread(worker.run, gate.READ, gate=gate.path)
    gate.reached()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(SIGINT)
    assert worker.connection.in_flight == 1
    gate.open()
    assert call.result() == [0, b""]


def test_an_interrupt_while_the_books_are_kept_is_raised_after_them(worker, handler):
    kept = []

    def finish(reply):
        signal.raise_signal(SIGINT)
        kept.append("all")
        return reply

    body = worker_body()
    with pytest.raises(KeyboardInterrupt):
        worker.send(body, finish=finish)
    assert kept == ["all"]
    assert signal.getsignal(SIGINT) is handler
    assert worker.call("math.sqrt", 9.0) == [0, 3.0]


def test_an_interrupt_while_a_request_is_made_harms_no_bytes(worker, handler):
    asked = []

    def outgoing(session, helper):
        signal.raise_signal(SIGINT)
        asked.append(1)
        return None, None

    worker.outgoing = outgoing
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        worker.send(worker_body())
    assert asked == [1]
    assert signal.getsignal(SIGINT) is handler
    del worker.outgoing
    assert worker.call("math.sqrt", 9.0) == [0, 3.0]


def worker_body():
    from bridge_ext.kernel.wire.codec import pack
    from bridge_ext.kernel.wire.payload import base

    return pack({**base("module_attr", "s"), "generation": 1, "python_module": "math",
                 "attr": "pi"})  # fmt: skip


def test_an_interrupt_between_the_bytes_of_a_large_frame_harms_no_other_call(local, capsys):
    """Many interrupts while megabytes move: a call is whole, or interrupted, and the next works."""
    stop, armed = threading.Event(), []
    main = threading.main_thread().ident

    def raising(signum, frame):
        if armed:
            armed.clear()
            raise Mine

    def pester():
        while not stop.wait(0.004):
            signal.pthread_kill(main, SIGINT)

    data, ended = os.urandom(2 << 20), []
    signal.signal(SIGINT, raising)
    pestering = InThread(pester)
    try:
        for _ in range(12):
            assert local.call("math.sqrt", 4) == 2.0
            try:
                armed.append(1)
                answer = local.call("len", data)
                armed.clear()
            except Mine:
                ended.append("interrupted")
            else:
                assert answer == len(data)
                ended.append("replied")
    finally:
        armed.clear()
        stop.set()
        pestering.result()
        signal.signal(SIGINT, signal.default_int_handler)
    assert "interrupted" in ended
    assert local.call("math.sqrt", 9) == 3.0
    assert local._remote.incarnation.connection.in_flight == 0


@pytest.mark.parametrize("ends", ["sent", "died"])
def test_what_is_left_of_an_interrupted_frame_is_sent_or_given_up(local, ends):
    pid = local.call("os.getpid")
    connection = local._remote.incarnation.connection
    sender = connection._exchange.sender
    main = threading.main_thread().ident

    def interrupt():
        eventually(lambda: connection.in_flight, "the call")
        signal.pthread_kill(main, SIGINT)

    os.kill(pid, signal.SIGSTOP)
    interrupting = InThread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        local.call("len", os.urandom(8 << 20))
    interrupting.result()
    assert sender.rest
    os.kill(pid, signal.SIGCONT if ends == "sent" else signal.SIGKILL)
    eventually(lambda: not sender.rest, "the rest to be sent, or given up")
    if ends == "died":
        eventually(lambda: connection.death, "the death to be seen")
    assert local.call("math.sqrt", 9) == 3.0


def test_an_interrupt_while_a_worker_starts_leaves_none_behind(handler):
    class Slow(LocalBackend):
        def open(self, incarnation, config):
            connection = super().open(incarnation, config)
            if incarnation == 1:
                signal.raise_signal(SIGINT)
            return connection

    with bridge_ext.Bridge(Slow()) as bridge:
        with pytest.raises(KeyboardInterrupt):
            bridge.call("math.sqrt", 4)
        assert signal.getsignal(SIGINT) is handler
        assert bridge.call("math.sqrt", 4) == 2.0


def test_an_interrupted_call_of_a_bridge_stops_and_nothing_is_lost(local, gate, handler, capsys):
    ref, pid = local.new("list", [1]), local.status().pid
    sender = interrupt_at(gate)
    with pytest.raises(KeyboardInterrupt):
        local.call("eval", gate.READ, {"gate": gate.path})
    sender.result()
    assert capsys.readouterr().err == ""
    assert signal.getsignal(SIGINT) is handler
    assert (len(ref), local.status().pid, local.status().busy) == (1, pid, None)


def test_a_handler_of_the_users_that_goes_on_does_not_end_the_call(local, gate):
    signal.signal(SIGINT, custom)

    def send():
        gate.reached()
        os.kill(os.getpid(), SIGINT)
        eventually(lambda: calls, "the handler")
        gate.open()

    sender = InThread(send)
    assert local.call("eval", gate.READ, {"gate": gate.path}) == b""
    sender.result()
    assert [signum for signum, _ in calls] == [SIGINT]
    assert signal.getsignal(SIGINT) is custom


def test_an_interrupt_in_an_event_loop_ends_the_call_that_blocks_it(local, gate, capsys):
    async def main():
        sender = interrupt_at(gate)
        try:
            local.call("eval", gate.READ, {"gate": gate.path})
        finally:
            sender.result()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert local.call("math.sqrt", 4) == 2.0


def test_an_ignored_interrupt_does_not_end_the_call(local, gate):
    signal.signal(SIGINT, signal.SIG_IGN)

    def send():
        gate.reached()
        os.kill(os.getpid(), SIGINT)
        gate.open()

    sender = InThread(send)
    assert local.call("eval", gate.READ, {"gate": gate.path}) == b""
    sender.result()
    assert signal.getsignal(SIGINT) is signal.SIG_IGN


def test_in_a_forked_child_no_note_is_left(handler):
    held = hold()
    interrupts._Note.pending = True
    pid = os.fork()
    if pid == 0:
        os._exit(interrupts._Note.pending or interrupts._Note.main != threading.get_ident())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with pytest.raises(KeyboardInterrupt):
        let_go(held)
