"""Segments of shared memory: two ends of one channel in this process."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import mmap
import os
import random
import signal
import socket
import threading
import time
from itertools import chain, starmap

import numpy as np
import pytest

from bridge_ext.kernel.errors import ProtocolError
from bridge_ext.kernel.wire import limits, mapped, segments, shared
from bridge_ext.kernel.wire.channel import Channel
from bridge_ext.kernel.wire.framing import Kind, Placed, build
from bridge_ext.kernel.wire.mapped import FREE, PAGE, WRITTEN
from bridge_ext.kernel.wire.segments import FROM_WORKER, LEAST, TO_WORKER, attach, create, detach
from bridge_ext.kernel.wire.shared import Shared, Stalled, Torn, copied, viewed

MIB = 1 << 20


class Pair:
    """A kernel's and a worker's end of a data channel."""

    def __init__(self, fds=None):
        self.fds = create() if fds is None else fds
        ours, theirs = socket.socketpair()
        self.kernel, self.worker = Channel(ours), Channel(theirs)
        self.dead = threading.Event()
        attach(self.kernel, self.fds, ours=0, gone=self.dead.is_set)
        attach(self.worker, self.fds, ours=1)

    def over(self, *buffers, back=False):
        """Send buffers; as they came."""
        source, target = (self.worker, self.kernel) if back else (self.kernel, self.worker)
        target.socket.settimeout(10)
        sender = threading.Thread(target=source.send, args=(Kind.REQUEST, b"h", b"b", buffers))
        sender.start()
        frame = target.read()
        sender.join()
        return frame.buffers

    def taken(self, back=True):
        outgoing = (self.worker if back else self.kernel).outgoing
        return [not s.words[FREE] for s in outgoing._segments]

    def memory(self):
        """Bytes of memory that the segments have."""
        return sum(os.fstat(fd).st_blocks * 512 for fd in self.fds)

    def close(self):
        for channel in (self.kernel, self.worker):
            detach(channel)
            channel.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def pair():
    made = Pair()
    yield made
    made.close()


def some(size, seed=1):
    return random.Random(seed).randbytes(size)


def kinds(buffers):
    return [type(b) is Shared for b in buffers]


# ---------------------------------------------------------------- what goes where
@pytest.mark.parametrize(
    "sizes",
    [
        [LEAST],
        [LEAST - PAGE],
        [MIB - 1],
        [MIB],
        [MIB + 1],
        [5_000_000],
        [PAGE] * 200,
        [0, 5, PAGE - 1, MIB, 1, 3 * MIB + 7, 0],
    ],
)
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("opened", [copied, viewed])
def test_what_arrives_is_what_was_sent(pair, sizes, back, opened):
    sent = [some(size, n) for n, size in enumerate(sizes)]
    for _ in range(3):
        came = pair.over(*sent, back=back)
        assert kinds(came) == [size >= PAGE for size in sizes], "small ones go inline"
        assert [bytes(b) for b in opened(came)] == sent
        del came
        assert not any(pair.taken(back))


@pytest.mark.parametrize("sizes", [[], [0], [0, 0], [100], [LEAST - PAGE - 64], [PAGE - 1] * 200])
def test_what_is_small_goes_through_the_socket(pair, sizes):
    sent = [some(size, n) for n, size in enumerate(sizes)]
    came = pair.over(*sent)
    assert not any(kinds(came))
    assert [bytes(b) for b in copied(came)] == sent


def test_what_is_larger_than_a_segment_may_be_goes_through_the_socket(pair, monkeypatch):
    monkeypatch.setattr(segments, "MOST", 2 * MIB)
    assert kinds(pair.over(bytes(2 * MIB))) == [False]
    assert kinds(pair.over(bytes(2 * MIB - PAGE))) == [True]
    assert kinds(pair.over(bytes(MIB), bytes(MIB))) == [False, False], "together they are"


def test_with_all_segments_taken_the_socket_has_the_same_values(pair):
    held = [pair.over(some(MIB, n), back=True) for n in range(FROM_WORKER + 3)]
    assert [kinds(h) for h in held] == [[True]] * FROM_WORKER + [[False]] * 3
    for n, buffers in enumerate(held):
        assert [bytes(b) for b in copied(buffers)] == [some(MIB, n)]
    assert not any(pair.taken())
    assert kinds(pair.over(some(MIB), back=True)) == [True]


def test_both_ways_have_segments_of_their_own(pair):
    there = [pair.over(some(MIB, n)) for n in range(TO_WORKER)]
    back = [pair.over(some(MIB, 10 + n), back=True) for n in range(FROM_WORKER)]
    for n, buffers in enumerate(there):
        assert kinds(buffers) == [True]
        assert bytes(next(copied(buffers))) == some(MIB, n)
    for n, buffers in enumerate(back):
        assert kinds(buffers) == [True]
        assert bytes(next(copied(buffers))) == some(MIB, 10 + n)


def test_a_channel_begins_a_frame_the_same_way(pair):
    rest = pair.kernel.begin(Kind.REQUEST, b"h", b"b", [some(2 * MIB)])
    assert rest == []
    assert bytes(next(copied(pair.worker.read().buffers))) == some(2 * MIB)


def test_no_segment_is_taken_for_a_frame_that_is_too_large(pair, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BUFFERS", 2)
    for send in (pair.worker.send, pair.worker.begin):
        with pytest.raises(ProtocolError, match="exceed the limit"):
            send(Kind.REPLY, b"", b"", [bytes(MIB)] * 3)
    assert not any(pair.taken())


# ---------------------------------------------------------------- when one is free again
def test_it_is_free_as_soon_as_its_buffers_are_copied(pair):
    came = pair.over(some(MIB), some(MIB, 2), back=True)
    opened = copied(came)
    first = next(opened)
    assert sum(pair.taken()) == 1
    second = next(opened)
    assert not any(pair.taken()), "while the frame and its buffers are still referred to"
    pair.over(some(MIB, 3), some(MIB, 4), back=True)
    assert (bytes(first), bytes(second)) == (some(MIB), some(MIB, 2))
    assert len(came) == 2


def test_it_is_free_when_nobody_reads_it(pair):
    pair.over(some(MIB), back=True)
    assert not any(pair.taken())


def test_a_buffer_is_opened_once(pair):
    came = pair.over(some(MIB))
    next(copied(came))
    for opened in (copied, viewed):
        with pytest.raises(ProtocolError, match="twice"):
            next(opened(came))


HOLDERS = {
    "the view": lambda view: view,
    "a slice": lambda view: view[5:7],
    "a slice of a slice": lambda view: view[10:200][3:4],
    "a cast": lambda view: view.cast("Q"),
    "an array": lambda view: np.frombuffer(view, np.uint8),
    "an array's base": lambda view: np.frombuffer(view, np.uint8).base,
    "a part of an array": lambda view: np.frombuffer(view, "u8")[7::5],
    "a transposed array": lambda view: np.frombuffer(view, np.uint8).reshape(8, -1).T,
    "a view of an array": lambda view: memoryview(np.frombuffer(view, np.uint8)[3:])[4:],
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_read_in_place_keeps_it_until_nobody_holds_any_part(pair, holder):
    data = some(MIB)
    view = next(viewed(pair.over(data, back=True)))
    assert view.readonly
    held = HOLDERS[holder](view)
    expected = bytes(
        memoryview(HOLDERS[holder](data if "cast" not in holder else memoryview(data)))
    )
    del view
    for n in range(3 * FROM_WORKER):
        assert sum(pair.taken()) == 1
        assert bytes(next(copied(pair.over(some(MIB, 50 + n), back=True)))) == some(MIB, 50 + n)
    assert bytes(memoryview(held)) == expected
    gc.disable()
    try:
        del held
        assert not any(pair.taken())
    finally:
        gc.enable()


def test_one_view_of_several_keeps_it(pair):
    one, two = viewed(pair.over(some(MIB), some(MIB, 2), back=True))
    del one
    assert sum(pair.taken()) == 1
    assert bytes(two) == some(MIB, 2)
    del two
    assert not any(pair.taken())


def test_what_is_read_in_place_outlives_the_channel():
    pair = Pair()
    view = next(viewed(pair.over(some(MIB), back=True)))
    pair.close()
    assert bytes(view) == some(MIB)
    del view  # the guard of every test sees that no mapping is left
    assert shared._alive == {}


def test_a_forked_child_frees_nothing(pair):
    view = next(viewed(pair.over(some(MIB), back=True)))
    pid = os.fork()
    if pid == 0:
        del view
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert sum(pair.taken()) == 1
    for n in range(2 * FROM_WORKER):
        pair.over(some(MIB, n + 5), back=True)
    assert bytes(view) == some(MIB)


def test_an_interrupt_keeps_no_segment(pair):
    """A handler that raises runs before the next line of Python, be it a finalizer's first."""

    def handler(signum, frame):
        raise KeyboardInterrupt

    raise_signal = ctypes.PyDLL(None)["raise"]
    before = signal.signal(signal.SIGINT, handler)
    try:
        for back in (True, False):
            buffers = pair.over(some(MIB), back=back)
            assert sum(pair.taken(back)) == 1
            both = chain(starmap(raise_signal, [(signal.SIGINT,)]), starmap(buffers.clear, [()]))
            with pytest.raises(KeyboardInterrupt):
                list(both)  # no line of Python is between the signal and the end of the lease
            assert buffers == []
            assert not any(pair.taken(back))
    finally:
        signal.signal(signal.SIGINT, before)


def test_nothing_is_left_of_leases_that_have_ended(pair):
    before = len(shared._alive)
    view = next(viewed(pair.over(some(MIB), back=True)))
    for _ in range(5):
        pair.over(some(MIB), back=True)
    assert len(shared._alive) == before + 1
    del view
    assert len(shared._alive) == before


def test_what_is_read_in_place_in_a_cycle_is_freed_by_the_collector(pair):
    for wrap in (lambda view: view, np.frombuffer, iter):
        held = [wrap(next(viewed(pair.over(some(MIB), back=True))))]
        held.append(held)
        del held
        assert sum(pair.taken()) == 1
        gc.collect()
        assert not any(pair.taken())


# ---------------------------------------------------------------- growing and giving back
def test_it_grows_while_what_it_held_before_is_still_read(pair, monkeypatch):
    view = next(viewed(pair.over(some(MIB), back=True)))
    for size in (MIB, 2 * MIB, 6 * MIB, 7 * MIB, MIB):
        sent = [some(size, n) for n in range(FROM_WORKER)]
        frames = [pair.over(data, back=True) for data in sent]
        assert [bytes(next(copied(frame))) for frame in frames] == sent
    assert bytes(view) == some(MIB)


def test_the_tightest_free_segment_is_taken(pair):
    held = [pair.over(bytes(size), back=True) for size in (5 * MIB, MIB, 3 * MIB)]
    held.clear()
    sizes = sorted(s.size for s in pair.worker.outgoing._segments)
    for size in (MIB, 2 * MIB, 4 * MIB):
        pair.over(bytes(size), back=True)
    assert sorted(s.size for s in pair.worker.outgoing._segments) == sizes, "none had to grow"


def test_what_was_large_enough_before_is_taken_again(pair):
    """After its memory was given back, both sides still have it mapped."""
    held = [pair.over(bytes(size), back=True) for size in (5 * MIB, MIB, 3 * MIB)]
    held.clear()
    segments.trim(pair.worker, 0.0)
    for size, expected in ((2 * MIB, 2), (4 * MIB, 0), (6 * MIB, 0), (MIB, 1)):
        before = [s.size for s in pair.worker.outgoing._segments]
        came = pair.over(bytes(size), back=True)
        assert pair.taken().index(True) == expected
        grown = [s.size for s in pair.worker.outgoing._segments] != before
        assert grown is (size == 6 * MIB)
        came.clear()
        segments.trim(pair.worker, 0.0)


def test_idle_memory_goes_back_and_is_there_again_when_it_is_needed(pair):
    before = pair.memory()
    for size in (5 * MIB, MIB, 8 * MIB):
        pair.over(some(size), back=True)
    assert pair.memory() >= before + 8 * MIB
    pair.worker.outgoing.trim(60.0)
    assert pair.memory() >= before + 8 * MIB, "not yet"
    segments.trim(pair.worker, 0.0)
    assert pair.memory() <= before + FROM_WORKER * PAGE
    assert pair.worker.outgoing.due(0.0) is None
    for size in (8 * MIB, MIB, 9 * MIB):
        assert bytes(next(copied(pair.over(some(size, 3), back=True)))) == some(size, 3)


def test_memory_that_went_back_is_asked_for_before_it_is_written(pair, monkeypatch):
    """A page that the system cannot give would end the process with SIGBUS."""
    pair.over(bytes(4 * MIB), back=True)
    segments.trim(pair.worker, 0.0)

    def full(*args):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert kinds(pair.over(bytes(2 * MIB), back=True)) == [False]
    assert kinds(pair.over(bytes(2 * MIB), back=True)) == [True]
    assert pair.memory() < 3 * MIB, "no more than is needed"


@pytest.mark.parametrize("most", [0, 1000, MIB, None])
def test_new_memory_is_written_whole_however_little_the_system_writes(pair, monkeypatch, most):
    """None: it refuses. What is not new is not asked of it."""
    real, asked = os.pwrite, []

    def pwrite(fd, data, offset):
        asked.append(offset)
        if most is None:
            raise OSError(errno.EFBIG, "no")
        return real(fd, data[:most], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    for n in range(2):
        data = some(3 * MIB + 5, n)
        assert bytes(next(copied(pair.over(data, back=True)))) == data
        assert len(asked) == len(range(0, 3 * MIB + 5, segments._CHUNK)), "only while it is new"
    segments.trim(pair.worker, 0.0)
    assert bytes(next(copied(pair.over(some(3 * MIB, 7), back=True)))) == some(3 * MIB, 7)
    assert len(asked) > len(range(0, 3 * MIB + 5, segments._CHUNK)), "it is new again"


def test_what_is_taken_is_not_given_back_and_is_looked_at_again(pair, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(segments.time, "monotonic", lambda: clock[0])
    view = next(viewed(pair.over(some(2 * MIB), back=True)))
    outgoing = pair.worker.outgoing
    clock[0] += 10
    segments.trim(pair.worker, 3.0)
    assert bytes(view) == some(2 * MIB)
    assert outgoing.due(3.0) == clock[0] + segments._AGAIN
    del view
    clock[0] += segments._AGAIN
    segments.trim(pair.worker, 3.0)
    assert outgoing.due(3.0) is None
    assert pair.memory() < MIB


def test_a_segment_that_is_not_used_goes_back_while_others_are(pair, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(segments.time, "monotonic", lambda: clock[0])
    held = [pair.over(bytes(8 * MIB), back=True), pair.over(bytes(MIB), back=True)]
    held.clear()
    for _ in range(5):
        clock[0] += 1
        pair.over(bytes(MIB), back=True)
        segments.trim(pair.worker, 3.0)
    assert pair.memory() < 3 * MIB


def test_it_says_when_there_is_something_to_give_back(pair):
    outgoing, begun = pair.worker.outgoing, []
    outgoing.begins = lambda: begun.append(1)
    assert outgoing.due(3.0) is None
    for _ in range(3):
        pair.over(bytes(MIB), back=True)
    assert begun == [1]
    assert 0 < outgoing.due(3.0) - time.monotonic() <= 3.0
    segments.trim(pair.worker, 0.0)
    pair.over(bytes(MIB), back=True)
    assert begun == [1, 1]


def test_nothing_is_given_back_while_somebody_sends(pair):
    pair.over(bytes(4 * MIB), back=True)
    with pair.worker.send_lock:
        segments.trim(pair.worker, 0.0)
        assert pair.memory() >= 4 * MIB
    segments.trim(pair.worker, 0.0)
    assert pair.memory() < MIB
    segments.trim(Channel(pair.worker.socket), 0.0)  # it has none


# ---------------------------------------------------------------- a writer that takes its time
class Stopped(Exception):
    """The writer's, midway."""


def slowly(monkeypatch, step):
    """Have `step` called before each piece is written."""
    real = mapped.fence

    def wait():
        step()
        real()

    monkeypatch.setattr(segments, "fence", wait)


@pytest.mark.parametrize("opened", [copied, viewed])
def test_it_is_read_while_it_is_written(pair, monkeypatch, opened):
    sent, turns = [some(3 * MIB + 17), some(2 * MIB, 2)], []
    go = threading.Semaphore(0)
    slowly(monkeypatch, lambda: turns.append(go.acquire(timeout=10)))
    writer = threading.Thread(target=pair.worker.send, args=(Kind.REPLY, b"", b"", sent))
    writer.start()
    go.release()
    frame, came = pair.kernel.read(), []
    reader = threading.Thread(target=lambda: came.extend(bytes(b) for b in opened(frame.buffers)))
    reader.start()
    for _ in range(20):
        reader.join(0.005)
        assert reader.is_alive() or len(turns) > 5
        go.release()
    writer.join()
    reader.join()
    assert came == sent
    assert len(turns) > 5


def midway(pair, monkeypatch):
    """A frame whose writer has stopped after the first MiB."""
    pieces = iter([1, 1])

    def step():
        if next(pieces, None) is None:
            raise Stopped

    slowly(monkeypatch, step)
    with pytest.raises(Stopped):
        pair.worker.send(Kind.REPLY, b"", b"", [some(4 * MIB), some(MIB)])
    return pair.kernel.read().buffers


@pytest.mark.parametrize("opened", [copied, viewed])
def test_a_writer_that_died_is_noticed_at_once(pair, monkeypatch, opened):
    buffers = midway(pair, monkeypatch)
    threading.Timer(0.05, pair.dead.set).start()
    begun = time.monotonic()
    with pytest.raises(Torn, match="died in the middle"):
        next(opened(buffers))
    assert 0.04 < time.monotonic() - begun < 2.0


@pytest.mark.parametrize("opened", [copied, viewed])
def test_a_writer_that_does_not_go_on_is_given_up(pair, monkeypatch, opened):
    monkeypatch.setattr(shared, "_STALLED", 0.05)
    buffers = midway(pair, monkeypatch)
    with pytest.raises(ConnectionResetError, match="does not go on") as caught:
        next(opened(buffers))
    assert type(caught.value) is Stalled
    assert sum(pair.taken()) == 1
    buffers.clear()
    assert not any(pair.taken()), "though the traceback is still there"
    monkeypatch.undo()
    assert bytes(next(copied(pair.over(some(MIB, 8), back=True)))) == some(MIB, 8)


def test_no_time_passes_while_both_sides_are_stopped(pair, monkeypatch):
    """A machine that was suspended, or a container that was paused, goes on where it was."""
    buffers, clock = midway(pair, monkeypatch), iter(range(0, 100_000, 100))
    monkeypatch.setattr(shared.time, "monotonic", lambda: next(clock))
    looks = []
    monkeypatch.setattr(shared.os, "sched_yield", lambda: looks.append(1))
    with pytest.raises(ConnectionResetError):
        next(copied(buffers))
    assert len(looks) >= shared._STALLED / shared._LOOK


# ---------------------------------------------------------------- a system without
def test_a_system_without_memfd_has_none(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert create() == []


@pytest.mark.parametrize("call", ["fcntl", "ftruncate"])
def test_what_was_made_is_closed_if_the_system_refuses_more(monkeypatch, call):
    def refuse(*args):
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(fcntl if call == "fcntl" else os, call, refuse)
    assert create() == []  # the guard of every test counts the descriptors


def test_without_segments_all_goes_through_the_socket():
    pair = Pair([])
    sent = [some(2 * MIB), b"", some(7)]
    came = pair.over(*sent)
    assert not any(kinds(came))
    assert [bytes(b) for b in copied(came)] == sent
    pair.close()


def test_nothing_more_is_written_for_a_side_that_has_died(pair):
    pair.dead.set()
    pair.kernel.send(Kind.REQUEST, b"h", b"b", [b"x" * (8 * MIB)])
    (taken,) = [s for s in pair.kernel.outgoing._segments if not s.words[FREE]]
    assert taken.words[WRITTEN] == PAGE


@pytest.mark.parametrize("missing", ["posix_fallocate", "mmap"])
def test_without_memory_all_goes_through_the_socket(pair, monkeypatch, missing):
    pair.over(bytes(MIB), back=True)  # this one exists already

    def refuse(*args, **kwargs):
        raise OSError(errno.ENOSPC if missing == "posix_fallocate" else errno.ENOMEM, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os if missing == "posix_fallocate" else mmap, missing, refuse)
        for size, there in ((MIB, True), (3 * MIB, False), (MIB, True)):
            if there or missing == "posix_fallocate":
                came = pair.over(some(size), back=True)
                assert kinds(came) == [there]
                assert bytes(next(copied(came))) == some(size)
    assert kinds(pair.over(some(3 * MIB), back=True)) == [True]


def test_without_room_to_map_the_first_page_all_goes_through_the_socket(pair, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENOMEM, "no")

    monkeypatch.setattr(mmap, "mmap", refuse)
    came = pair.over(some(MIB), back=True)
    assert kinds(came) == [False]
    assert bytes(next(copied(came))) == some(MIB)


# ---------------------------------------------------------------- a peer that lies
LIES = {
    "no such segment": Placed(FROM_WORKER, PAGE, MIB),
    "a far segment": Placed(2**32 - 1, PAGE, MIB),
    "in the first page": Placed(0, 0, 64),
    "just before the data": Placed(0, PAGE - 1, MIB),
    "beyond its end": Placed(0, PAGE, 1 << 37),
    "one byte beyond": Placed(0, PAGE, 4 * MIB + 1),
    "begins beyond": Placed(0, 1 << 40, 1),
    "begins beyond, and is empty": Placed(0, 1 << 40, 0),
    "an overflow": Placed(0, 2**64 - 1, 2**38),
    "an overflow to the first page": Placed(0, 2**64 - PAGE, PAGE),
    "in one that was never used": Placed(FROM_WORKER - 1, PAGE, MIB),
    "too large": Placed(0, PAGE, limits.MAX_BUFFER + 1),
}


def told(pair, *placed, back=True):
    """The frame of a peer that says where buffers lie."""
    source, target = (pair.worker, pair.kernel) if back else (pair.kernel, pair.worker)
    source.socket.sendall(b"".join(build(Kind.REPLY, b"", b"", placed)))
    return target.read().buffers


@pytest.fixture
def exact(pair, monkeypatch):
    """Segments with one of 4 MiB of data exactly."""
    monkeypatch.setattr(segments, "_GROW", 1)
    pair.over(some(4 * MIB), back=True)
    return pair


@pytest.mark.parametrize("lie", LIES)
def test_a_place_that_is_none_is_a_protocol_error(exact, lie):
    with pytest.raises(ProtocolError):
        told(exact, LIES[lie])
    assert not any(exact.taken())


@pytest.mark.parametrize(
    ("offset", "size"), [(PAGE + 1, 5000), (PAGE + 3, MIB), (PAGE + 4 * MIB, 0), (PAGE, 0)]
)
@pytest.mark.parametrize("opened", [copied, viewed])
def test_a_place_need_not_be_aligned(exact, offset, size, opened):
    data = some(4 * MIB)[offset - PAGE :][:size]
    assert bytes(next(opened(told(exact, Placed(0, offset, size))))) == data


@pytest.mark.parametrize("written", [0, 1, PAGE - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("opened", [copied, viewed])
def test_a_count_that_lies_reads_nothing_outside(exact, monkeypatch, written, opened):
    monkeypatch.setattr(shared, "_STALLED", 0.02)
    exact.worker.outgoing._segments[0].words[WRITTEN] = written
    buffers = told(exact, Placed(0, PAGE, 4 * MIB))
    if written < 2**62:
        with pytest.raises(ConnectionResetError):
            next(opened(buffers))
    else:
        assert bytes(next(opened(buffers))) == some(4 * MIB)


def test_a_count_that_goes_back_is_waited_for(exact, monkeypatch):
    monkeypatch.setattr(shared, "_STALLED", 0.05)
    words = exact.worker.outgoing._segments[0].words
    words[WRITTEN] = PAGE + 2 * MIB
    monkeypatch.setattr(shared.os, "sched_yield", lambda: words.__setitem__(WRITTEN, PAGE + MIB))
    with pytest.raises(ConnectionResetError):
        next(copied(told(exact, Placed(0, PAGE, 4 * MIB))))


def test_a_channel_without_segments_knows_no_places():
    pair = Pair([])
    with pytest.raises(ProtocolError, match="has none"):
        told(pair, Placed(0, PAGE, 10))
    pair.close()


def replaced(pair, fd):
    os.dup2(fd, pair.fds[TO_WORKER])
    os.close(fd)


def test_a_segment_that_could_shrink_is_refused(pair):
    fd = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4 * MIB)
    replaced(pair, fd)
    with pytest.raises(ProtocolError, match="cannot shrink"):
        told(pair, Placed(0, PAGE, MIB))


def test_a_file_is_no_segment(pair, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(4 * MIB))
    replaced(pair, os.open(path, os.O_RDWR))
    with pytest.raises(ProtocolError, match="cannot shrink"):
        told(pair, Placed(0, PAGE, MIB))


def test_a_segment_that_is_empty_is_refused(pair):
    fd = os.memfd_create("empty", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    replaced(pair, fd)
    with pytest.raises(ProtocolError, match="a segment of 0 bytes"):
        told(pair, Placed(0, PAGE, MIB))


def test_a_segment_that_is_larger_than_any_is_refused(pair):
    os.ftruncate(pair.fds[TO_WORKER], mapped.MOST + PAGE)
    with pytest.raises(ProtocolError, match="at most"):
        told(pair, Placed(0, PAGE, MIB))


def test_a_segment_cannot_be_made_smaller(pair):
    for fd in pair.fds:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
