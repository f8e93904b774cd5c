"""Looking before blocking: what is there is seen, and who looks in vain soon stops."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest
from conftest import eventually

from bridge_ext.kernel.wire import spinning
from bridge_ext.kernel.wire.spinning import Spin


class Looks:
    """Counts the looks of a Spin."""

    def __init__(self, spin):
        self._poll, spin._poll = spin._poll, self
        self.count = 0

    def __call__(self, timeout):
        self.count += 1
        return self._poll(timeout)

    def of(self, wait):
        """How many looks a wait takes."""
        self.count = 0
        wait()
        return self.count


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


@pytest.fixture
def pipe():
    out, into = os.pipe()
    yield out, into
    os.close(out)
    os.close(into)


def test_what_is_there_takes_one_look(pair):
    spin = Spin(pair[0])
    looks = Looks(spin)
    pair[1].send(b"x")
    assert looks.of(spin.wait) == 1
    assert spin.alone


def test_what_comes_meanwhile_is_seen(pair, monkeypatch):
    monkeypatch.setattr(spinning, "_LONGEST", 10.0)
    spin = Spin(pair[0])
    thread = threading.Timer(0.01, pair[1].send, [b"x"])
    thread.start()
    spin.wait()
    thread.join()
    assert pair[0].recv(1, socket.MSG_DONTWAIT) == b"x"
    assert spin.alone


def test_who_looks_in_vain_does_without_twice_as_often_each_time(pair):
    spin = Spin(pair[0])
    looks = Looks(spin)
    waits = [looks.of(spin.wait) > 0 for _ in range(1 + 1 + 1 + 3 + 1 + 7 + 1)]
    assert [n for n, looked in enumerate(waits) if looked] == [0, 2, 6, 14]


def test_it_never_gives_up_for_ever(pair):
    spin = Spin(pair[0])
    looks = Looks(spin)
    for _ in range(3000):
        spin.wait()
    assert any(looks.of(spin.wait) for _ in range(256))


def test_success_begins_the_count_anew(pair, monkeypatch):
    spin = Spin(pair[0])
    looks = Looks(spin)
    for _ in range(2):
        while not looks.of(spin.wait):
            pass
    while spin._skip:
        spin.wait()
    monkeypatch.setattr(spinning, "_LONGEST", 10.0)
    thread = threading.Timer(0.01, pair[1].send, [b"x"])
    thread.start()
    spin.wait()
    thread.join()
    monkeypatch.undo()
    pair[0].recv(1)
    assert looks.of(spin.wait) > 1
    assert looks.of(spin.wait) == 0
    assert looks.of(spin.wait) > 1, "one wait without a look, as after the first time in vain"


@pytest.mark.parametrize("also", ["nothing", "text", "its end"])
def test_it_says_whether_the_socket_alone_has_something(pair, pipe, also):
    spin = Spin(pair[0], [pipe[0]])
    pair[1].send(b"x")
    if also == "text":
        os.write(pipe[1], b"text")
    elif also == "its end":
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), pipe[1])
    spin.wait()
    assert spin.alone is (also == "nothing")


def test_what_is_beside_it_ends_a_wait_and_is_no_news_of_the_socket(pair, pipe):
    spin = Spin(pair[0], [pipe[0]])
    os.write(pipe[1], b"text")
    spin.wait()
    assert not spin.alone
    pair[1].send(b"x")
    spin.wait()
    assert not spin.alone


def test_the_end_of_the_stream_is_no_quiet_reply(pair):
    spin = Spin(pair[0])
    pair[1].close()
    spin.wait()
    assert not spin.alone


def _waits_in(pid, tid):
    """The number of the system call that a thread sleeps in, as Linux gives it."""
    try:
        return Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[0]
    except PermissionError:
        pytest.skip("the system does not tell what other processes wait in")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_an_idle_worker_does_not_look(local, pair):
    """After its last reply it looks for a moment, and then sleeps until something comes."""
    reading = threading.Thread(target=pair[0].recv, args=(1,))
    reading.start()
    me = os.getpid(), reading.native_id
    eventually(lambda: _waits_in(*me) != "running", "the thread to sleep")
    recv = _waits_in(*me)
    pair[1].send(b"x")
    reading.join()
    pid = local.call("os.getpid")
    for _ in range(50):
        local.call("math.sqrt", 4)
    eventually(lambda: _waits_in(pid, pid) == recv, "the worker to sleep in its read")


def test_output_is_there_before_its_call_returns(local, capfd):
    """Also what the worker's C code writes by itself, whose reply is looked for."""
    for n in range(300):
        local.call("os.write", 1, f"line {n}\n".encode())
        assert capfd.readouterr().out == f"line {n}\n"
        local.call("math.sqrt", 4)
        assert capfd.readouterr().out == ""
