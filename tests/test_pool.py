"""The pool of memory: a block is given again once nobody holds any part of it, and never before."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import random
import threading
import time

import numpy as np
import pytest

from bridge_ext.kernel.wire.pool import HUGE, LEAST, LOOSE, Pool

SIZE = 4 * LEAST


def address(view):
    return np.frombuffer(view, np.uint8).ctypes.data


def where(pool, size=SIZE):
    """Where the pool's next block of a size lies; nobody holds it afterwards."""
    return address(pool.take(size))


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize("size", [0, 1, LEAST - 1, LEAST, LEAST + 1, SIZE, HUGE, 5_000_003])
def test_memory_is_exactly_as_large_as_asked_for_and_writable(size):
    pool = Pool()
    for _ in range(3):
        block = memoryview(pool.take(size))
        assert block.nbytes == len(block) == size
        assert not block.readonly
        block[:] = b"\x07" * size
        del block


def test_small_memory_is_not_kept():
    pool = Pool()
    pool.take(LEAST - 1)
    assert pool._blocks == []
    assert pool.due(0.0) is None


def test_a_block_is_given_for_what_is_a_little_smaller():
    pool = Pool()
    first = where(pool)
    assert where(pool, SIZE) == first
    assert where(pool, int(SIZE / LOOSE) + 1) == first
    other = pool.take(int(SIZE / LOOSE) - 1)
    assert address(other) != first, "too much of it would be lost"
    assert where(pool, SIZE) == first
    larger = pool.take(SIZE + 1)
    assert address(larger) != first


def test_the_tightest_block_is_given():
    pool = Pool()
    held = [pool.take(SIZE + 4096), pool.take(SIZE)]
    tight = address(held[1])
    del held
    assert where(pool) == tight


def test_no_more_is_kept_than_the_limit_and_the_last_used_is_kept_longest():
    pool = Pool()
    pool.most = 3 * SIZE
    held = [pool.take(SIZE) for _ in range(5)]
    assert len(pool._blocks) == 3
    places = [address(view) for view in held[2:]]
    for view in held:
        view[:] = b"x" * SIZE  # what is not kept is still its holder's
    del held, view
    again = [pool.take(SIZE) for _ in range(3)]
    assert sorted(address(view) for view in again) == sorted(places)


def test_what_is_larger_than_the_limit_is_given_and_not_kept():
    pool = Pool()
    pool.most = SIZE
    assert len(pool.take(3 * SIZE)) == 3 * SIZE
    assert pool._blocks == []


# ---------------------------------------------------------------- who holds it
def packed(view):
    """An array rebuilt from a pickle with its buffer beside it, as a transfer does."""
    buffers = []
    data = pickle.dumps(np.arange(view.nbytes, dtype=np.uint8), 5, buffer_callback=buffers.append)
    view[:] = buffers[0].raw()
    return pickle.loads(data, buffers=[view])


def cycle(view):
    made = [view]
    made.append(made)
    return made


HOLDERS = {
    "the view": lambda view: view,
    "a slice": lambda view: view[10:20],
    "a slice of a slice": lambda view: view[10:200][5:6],
    "an empty slice": lambda view: view[:0],
    "a cast": lambda view: view.cast("d"),
    "a read-only view": lambda view: view.toreadonly(),
    "the block itself": lambda view: view.obj,
    "a PickleBuffer": pickle.PickleBuffer,
    "a raw PickleBuffer": lambda view: pickle.PickleBuffer(view).raw(),
    "an array": lambda view: np.frombuffer(view, np.uint8),
    "a part of an array": lambda view: np.frombuffer(view, np.uint8)[100:101],
    "a reversed array": lambda view: np.frombuffer(view, np.uint8)[::-1],
    "an array of other type": lambda view: np.frombuffer(view, np.uint8).view("f4").reshape(8, -1),
    "an array's base": lambda view: np.frombuffer(view, np.uint8)[3:].base,
    "an unpickled array": packed,
    "an unpickled array's column": lambda view: packed(view).reshape(-1, 8)[:, 3],
    "a cycle": cycle,
    "a closure": lambda view: lambda: view,
    "an iterator": iter,
    "an array's view in a list": lambda view: [memoryview(np.frombuffer(view, np.uint8))[4:5]],
}  # fmt: skip


@pytest.mark.parametrize("size", [SIZE, HUGE])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_block_is_given_again_only_when_nobody_holds_any_part_of_it(holder, size):
    pool = Pool()
    view = pool.take(size)
    assert (type(view.obj) is mmap.mmap) is (size == HUGE)
    place = address(view)
    held = HOLDERS[holder](view)
    del view
    others = [pool.take(size) for _ in range(3)]
    assert place not in [address(other) for other in others]
    if holder == "a cycle":
        held.clear()
    del held, others
    assert place in [address(view) for view in [pool.take(size) for _ in range(4)]]


def test_a_large_block_is_other_memory_where_there_are_no_huge_pages(monkeypatch):
    def refuse(*args):
        raise OSError("no")

    monkeypatch.setattr(mmap, "mmap", refuse)
    pool = Pool()
    first = where(pool, HUGE)
    assert where(pool, HUGE) == first
    assert type(pool._blocks[0][0]) is bytearray


def test_what_was_given_back_is_given_without_a_collection():
    pool = Pool()
    gc.disable()
    try:
        place = where(pool)
        array = packed(pool.take(SIZE))
        assert array.ctypes.data == place
        del array
        assert where(pool) == place
    finally:
        gc.enable()


def test_free_is_what_only_the_pool_refers_to():
    """The counting of references is that of this interpreter."""
    pool = Pool()
    pool.take(SIZE)
    assert pool._free_block(SIZE) is not None
    held = pool._blocks[0][0]
    assert pool._free_block(SIZE) is None
    del held
    assert pool._free_block(SIZE) is not None
    exported = memoryview(pool._blocks[0][0])
    assert pool._free_block(SIZE) is None
    exported.release()
    assert pool._free_block(SIZE) is not None
    assert len(pool._blocks[0][0]) == SIZE, "looking changes no size"


# ---------------------------------------------------------------- giving back
def test_trim_lets_go_of_what_was_not_used_and_leaves_what_is_held():
    pool = Pool()
    held = pool.take(SIZE)
    held[:] = b"h" * SIZE
    pool.take(SIZE * 2)
    assert pool.trim(60.0) == 0
    assert len(pool._blocks) == 2
    assert pool.trim(0.0) == 3 * SIZE
    assert pool._blocks == []
    assert pool.trim(0.0) == 0
    assert bytes(held) == b"h" * SIZE
    pool.take(SIZE)[:] = b"n" * SIZE
    assert bytes(held) == b"h" * SIZE


def test_it_says_when_there_is_something_to_let_go_of():
    pool, begun = Pool(), []
    pool.begins = lambda: begun.append(pool.due(3.0))
    assert pool.due(3.0) is None
    now = time.monotonic()
    pool.take(SIZE)
    pool.take(2 * SIZE)
    assert len(begun) == 1, "only the first is news"
    assert now + 3.0 <= begun[0] <= time.monotonic() + 3.0
    pool.trim(0.0)
    pool.take(SIZE)
    assert len(begun) == 2


# ---------------------------------------------------------------- threads and forks
def test_two_threads_never_hold_the_same_block():
    pool, wrong, end = Pool(), [], time.monotonic() + 1.5
    sizes = [LEAST, LEAST + 4096, SIZE, SIZE + 8192]

    def work(number):
        mine = random.Random(number)
        held = []
        while time.monotonic() < end and not wrong:
            size = mine.choice(sizes)
            array = np.frombuffer(pool.take(size), np.uint8)
            mark = mine.randrange(256)
            array[:] = mark
            held.append((array[mine.randrange(64) :], mark))
            if len(held) > 6:
                array, mark = held.pop(mine.randrange(len(held)))
                if array.min() != mark or array.max() != mark:
                    wrong.append((number, mark))
            if mine.random() < 0.02:
                pool.trim(0.0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_can_use_it_whoever_had_its_lock():
    from bridge_ext.kernel.wire.framing import pool

    with pool._lock:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if len(pool.take(SIZE)) == SIZE else 1)
    end = time.monotonic() + 10
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        threading.Event().wait(0.01)
    if done == (0, 0):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert done == (pid, 0)
