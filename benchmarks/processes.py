"""Processes under ours: who they are, what memory they hold, how they end.

Reads /proc, so Linux only; elsewhere ``descendants`` is empty and memory is not measured.
Imports little, because a subject's process imports it before anything is timed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

PROC = "/proc"
PR_SET_CHILD_SUBREAPER = 36
TERM_GRACE_S = 3.0
KILL_GRACE_S = 3.0


def adopt_orphans() -> None:
    """Make this process the parent of orphans below it, so that ``end_descendants`` sees them."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parents() -> dict[int, int]:
    """Process id to parent's, of all processes that are not zombies."""
    found = {}
    for pid in _all_ids():
        with contextlib.suppress(OSError):
            # the name in parentheses may itself hold spaces and parentheses
            state, parent = _read(pid, "stat").rpartition(")")[2].split()[:2]
            if state != "Z":
                found[pid] = int(parent)
    return found


def _all_ids() -> list[int]:
    if not os.path.isdir(PROC):
        return []
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def _read(pid: int, name: str) -> str:
    with open(f"{PROC}/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read()


def descendants(root: int | None = None) -> list[int]:
    """The living processes below ``root`` (default: this process), parents first."""
    parents = _parents()
    below = [os.getpid() if root is None else root]
    for pid in below:
        below += [child for child, parent in parents.items() if parent == pid]
    return below[1:]


def end_descendants() -> int:
    """End all that descends from this process, politely then by force; returns how many were left.

    Returns within ``TERM_GRACE_S + KILL_GRACE_S``.
    """
    left = len(descendants())
    for sign, grace in ((signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, KILL_GRACE_S)):
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        _wait_until_none(grace)
    return left


def _wait_until_none(grace: float) -> None:
    end = time.monotonic() + grace
    while descendants() and time.monotonic() < end:
        _reap()
        time.sleep(0.01)
    _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def memory(pid: int) -> tuple[int, int]:
    """Resident and proportional set size of ``pid``, in bytes."""
    lines = _read(pid, "smaps_rollup").splitlines()
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return int(kilobytes["Rss"]) * 1024, int(kilobytes["Pss"]) * 1024


def reset_peak(pid: int) -> None:
    """Count the peak of ``pid`` from what is resident now."""
    with open(f"{PROC}/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak(pid: int) -> int:
    """The most that ``pid`` had resident at once, in bytes."""
    line = next(each for each in _read(pid, "status").splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
