"""What the system has and allows: memory, descriptors, cores, and the calls that a bridge uses."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DESCRIPTORS = 64
"""Descriptors that a worker, its segments and a restart take, with some room."""
_SCARCE = 0.05
"""The part of the memory that is free, below which it is said."""
_GB = 1e9
_UNLIMITED = 1 << 62
_STATES = {
    "T": "it is stopped by a signal; `kill -CONT {pid}` lets it go on",
    "t": "a debugger holds it",
    "D": "it waits for a disk or a network share",
    "Z": "it has ended",
}
"""Letters of /proc/PID/stat that say why a process does not answer."""


def limit(name: str) -> str:
    """A limit of this process, as text."""
    import resource

    soft, hard = resource.getrlimit(getattr(resource, name))
    shown = ["none" if n < 0 or n > _UNLIMITED else f"{n:,}" for n in (soft, hard)]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} (may be raised to {shown[1]})"


def descriptors() -> tuple[int | None, int]:
    """How many descriptors are open, where the system tells, and how many may be."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return len(os.listdir("/proc/self/fd")), soft
    except OSError:
        return None, soft


def memory() -> tuple[int, int] | None:
    """Bytes of memory that are available, and that there are; of the control group, if it has less.

    None where the system does not tell.
    """
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
    except (OSError, ValueError):
        return None
    free, whole = (int(rows[n].split()[0]) * 1024 for n in ("MemAvailable", "MemTotal"))
    most, used = _group("memory.max"), _group("memory.current")
    if most is not None and used is not None and most < whole:
        return min(free, most - used), most
    return free, whole


def _group(name: str) -> int | None:
    """A number of this process's control group."""
    try:
        with open(f"/sys/fs/cgroup/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def cores() -> str:
    """How many cores may be used, of how many."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return f"{allowed or os.cpu_count()} of {os.cpu_count()}"


def shared_memory() -> str:
    """What is free in /dev/shm, as text; large buffers do not need it, other libraries do."""
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 - asked about, not written to
    except OSError:
        return "no /dev/shm; large buffers do not need it"
    free, whole = (n * found.f_frsize / _GB for n in (found.f_bavail, found.f_blocks))
    return f"{free:.1f} of {whole:.1f} GB free in /dev/shm"


# ---------------------------------------------------------------- calls of the system
def _memfd() -> None:
    os.close(os.memfd_create("bridge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))


def _pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


def _process_vm() -> None:
    import ctypes

    _ = ctypes.CDLL(None).process_vm_readv


CALLS: dict[str, Callable[[], None]] = {
    "memfd_create": _memfd,
    "pidfd_open": _pidfd,
    "process_vm_readv": _process_vm,
}
"""Calls of the system, and a try of each."""


def has(call: str) -> str:
    """Whether the system has a call, and lets this process make it: "yes", or why not."""
    try:
        CALLS[call]()
    except (AttributeError, OSError) as error:
        return f"no ({type(error).__name__}: {error})"
    return "yes"


# ---------------------------------------------------------------- sentences
def findings() -> Iterator[str]:
    """Sentences on what of the machine stands in the way, with a next step each."""
    opened, most = descriptors()
    if most >= 0 and most - (opened or 0) < _DESCRIPTORS:
        yield (
            f"{opened if opened is not None else 'Some'} of {most} descriptors are open, and a "
            f"worker takes about {_DESCRIPTORS // 2}: raise the limit with `ulimit -n` before "
            "Jupyter starts, or close files."
        )
    known = memory()
    if known is not None and known[0] < _SCARCE * known[1]:
        yield (
            f"{known[0] / _GB:.1f} of {known[1] / _GB:.1f} GB of memory are available: the system "
            "may end the worker. `bridge.inspect()` shows what is held."
        )
    if has("memfd_create") != "yes" and sys.platform == "linux":
        yield (
            f"memfd_create: {has('memfd_create')}. Large arrays go through the socket, at about a "
            "third of the speed; nothing else is different."
        )
    if has("pidfd_open") != "yes" and sys.platform == "linux":
        yield (
            f"pidfd_open: {has('pidfd_open')}. The death of a worker is noticed a fifth of a "
            "second later."
        )


def silence(pid: int) -> str:
    """Why a process does not answer, as far as the system tells."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state = file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
    return _STATES.get(state, "").format(pid=pid)
