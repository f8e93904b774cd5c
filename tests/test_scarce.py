"""Where memory, shared memory or descriptors run out: an error or a slower path, never the worker.

Limits of the system are set in a process of their own.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import psutil
import pytest

MIB, GIB = 1 << 20, 1 << 30

PREAMBLE = """
import errno, os, resource
import numpy as np
import bridge_ext
MIB = 1 << 20

def limit(which, most):
    resource.setrlimit(which, (most, resource.getrlimit(which)[1]))

def address_space(more):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit(resource.RLIMIT_AS, used + more)

def crosses(bridge, size=8 * MIB):
    x = np.arange(size // 8)
    ref = bridge.put(x)
    assert bridge.call("builtins.len", x) == len(x)
    one, view = bridge.fetch(ref), bridge.fetch(ref, copy=False)
    assert (one == x).all() and (view == x).all()
    assert one.flags.writeable and not view.flags.writeable
"""


def run(code):
    """Run code in a process whose limits are its own; what it printed, line by line."""
    source = PREAMBLE + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", source], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# ---------------------------------------------------------------- no shared memory
def test_no_file_may_be_that_large():
    """A segment cannot even have its first page."""
    assert run("""
        limit(resource.RLIMIT_FSIZE, 0)
        with bridge_ext.Bridge() as bridge:
            crosses(bridge)
            print(bridge.status().transport)
    """) == ["socket"]


def test_no_file_may_grow():
    """It is limited at the start, and for both: what is small enough still uses the segments."""
    assert run("""
        limit(resource.RLIMIT_FSIZE, 2 * MIB)
        with bridge_ext.Bridge() as bridge:
            crosses(bridge, MIB)
            print(bridge.status().transport)
            crosses(bridge)
            print(bridge.status().transport)
            crosses(bridge, MIB)
            limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
            crosses(bridge)
            print(bridge.status().transport, bridge.status().incarnation)
    """) == ["socket, shared memory", "socket", "socket, shared memory 1"]


@pytest.mark.parametrize("code", ["ENOSPC", "ENOMEM", "EMFILE", "EPERM"])
def test_no_shared_memory_at_the_start(code):
    assert run(f"""
        def refuse(*args):
            raise OSError(errno.{code}, "no")
        os.memfd_create = refuse
        with bridge_ext.Bridge() as bridge:
            crosses(bridge)
            print(bridge.status().transport)
    """) == ["socket"]


REFUSE = """
import os, sys

def refuse(code):
    def no(*args):
        raise OSError(code, "no")
    os.posix_fallocate = no
"""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM])
def test_no_more_shared_memory_later(local, monkeypatch, tmp_path, code):
    def refuse(*args):
        raise OSError(code, "no")

    (tmp_path / "scarce_refusing.py").write_text(REFUSE)
    monkeypatch.syspath_prepend(tmp_path)
    x = np.arange(MIB)
    ref, pid = local.put(x), local.status().pid
    assert local.status().transport == "socket, shared memory"
    local.call("scarce_refusing.refuse", code)
    larger = local.call("numpy.tile", ref, 3)
    assert (local.fetch(ref) == x).all()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        assert local.call("builtins.len", np.tile(x, 3)) == 3 * MIB
        assert local.status().transport == "socket"
    assert (local.fetch(larger) == np.tile(x, 3)).all()
    assert not local.fetch(larger, copy=False).flags.writeable
    assert local.call("builtins.len", np.tile(x, 3)) == 3 * MIB
    assert local.status().transport == "socket, shared memory"
    assert local.status().pid == pid


# ---------------------------------------------------------------- no memory
def test_a_kernel_without_room_for_a_result_keeps_its_worker():
    """Neither for a copy nor to map it; what is small still comes."""
    assert run("""
        with bridge_ext.Bridge() as bridge:
            ref, small = bridge.call("numpy.full", 16 * MIB, 7.0), bridge.put(np.ones(10))
            address_space(32 * MIB)
            for copy in (True, False):
                try:
                    bridge.fetch(ref, copy=copy)
                except bridge_ext.EncodeError as error:
                    print("MemoryError" in str(error))
                assert bridge.fetch(small).sum() == 10
            limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
            assert (bridge.fetch(ref) == 7).all()
            assert (bridge.fetch(ref, copy=False) == 7).all()
            crosses(bridge, 32 * MIB)
            print(bridge.status().transport, bridge.status().incarnation)
    """) == ["True", "True", "socket, shared memory 1"]


def test_a_kernel_without_room_to_map_a_segment_sends_through_the_socket():
    assert run("""
        with bridge_ext.Bridge() as bridge:
            x = np.ones(8 * MIB)
            ref = bridge.put([])
            address_space(16 * MIB)
            assert bridge.call("builtins.len", x) == 8 * MIB
            print(bridge.status().transport)
            limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
            assert bridge.call("builtins.len", x) == 8 * MIB
            print(bridge.status().transport, bridge.status().incarnation)
    """) == ["socket", "socket, shared memory 1"]


LIMITED = """
import resource

def limit(more):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))

def unlimited():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
"""


def test_a_worker_without_room_for_an_argument_says_so_and_lives(local, monkeypatch, tmp_path):
    (tmp_path / "scarce_limited.py").write_text(LIMITED)
    monkeypatch.syspath_prepend(tmp_path)
    x = np.ones(8 * MIB)
    held = local.put(np.ones(10))
    local.call("scarce_limited.limit", 16 * MIB)
    with pytest.raises(MemoryError):
        local.call("builtins.len", x)
    assert local.fetch(held).sum() == 10
    local.call("scarce_limited.unlimited")
    assert local.call("builtins.len", x) == 8 * MIB
    assert local.status().incarnation == 1


# ---------------------------------------------------------------- few descriptors
def test_few_descriptors_are_enough():
    """All the segments there are, each of them mapped."""
    assert run("""
        limit(resource.RLIMIT_NOFILE, 64)
        with bridge_ext.Bridge() as bridge:
            views = [bridge.fetch(bridge.put(np.full(MIB, n)), copy=False) for n in range(12)]
            assert [int(view[-1]) for view in views] == list(range(12))
            crosses(bridge)
            print(bridge.status().transport)
    """) == ["socket, shared memory"]


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_kernel_whose_descriptors_have_run_out_keeps_its_worker(left):
    """Before Python 3.13 each mapping has one of its own."""
    last, rest = run(f"""
        with bridge_ext.Bridge() as bridge:
            ref, small = bridge.call("numpy.full", MIB, 7.0), bridge.put(np.ones(10))
            held = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
            limit(resource.RLIMIT_NOFILE, held[-1] + 1)
            for fd in held[100 - {left}:]:
                os.close(fd)
            views = []
            for n in range(10):
                try:
                    views.append(bridge.fetch(ref, copy=n % 2 == 0))
                    last = "works"
                except bridge_ext.EncodeError as error:
                    assert "MemoryError" in str(error)
                    last = "no room"
            assert bridge.call("builtins.len", np.ones(MIB)) == MIB
            assert bridge.fetch(small).sum() == 10
            limit(resource.RLIMIT_NOFILE, 1000)
            crosses(bridge)
            assert all((view == 7).all() for view in views)
            print(last)
            print(bridge.status().transport, bridge.status().incarnation)
    """)
    assert last in ("works", "no room")
    assert rest == "socket, shared memory 1"


@pytest.mark.parametrize("left", range(0, 44, 4))
def test_no_descriptors_are_left_for_it(left):
    """A bridge starts and works, or says what is missing; and starts once there are some."""
    (line,) = run(f"""
        bridge = bridge_ext.Bridge()
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
        limit(resource.RLIMIT_NOFILE, held[-1] + 1)
        for fd in held[100 - {left}:]:
            os.close(fd)
        try:
            crosses(bridge)
            print("works")
        except (bridge_ext.BridgeError, OSError) as error:
            print(type(error).__name__)
        limit(resource.RLIMIT_NOFILE, 1000)
        crosses(bridge)
        bridge.close()
    """)
    assert line in ("works", "WorkerStartError", "OSError")


# ---------------------------------------------------------------- very large
ROOM = 20 * GIB


@pytest.mark.skipif(
    psutil.virtual_memory().available < ROOM, reason="it takes 12 GiB, of 20 that are free"
)
def test_four_gigabytes_each_way(local):
    """More than a segment may be, and than 32 bits count."""
    size = 4 * GIB + 8
    x = np.zeros(size, np.uint8)
    places = [0, 1, GIB, 2 * GIB - 1, 2 * GIB, 4 * GIB - 1, 4 * GIB, size - 1]
    x[places] = range(1, len(places) + 1)
    ref = local.put(x)
    taken = local.options(fetch=True).call("numpy.take", ref, places)
    assert taken.tolist() == x[places].tolist()
    del x
    came = local.fetch(ref)
    assert came.nbytes == size
    assert came[places].tolist() == [*range(1, len(places) + 1)]
    assert not came[2 : GIB - 1].any()
    assert local.status().incarnation == 1
