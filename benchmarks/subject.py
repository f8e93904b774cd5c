"""Runs inside the process of one subject: its workloads, reported line by line as JSON.

Started by the harness with ``-c``, not ``-m``: workers that are spawned would import the main
module of the client again, which is not theirs to pay for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.measure import FULL, QUICK
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measure import Figures, Sizes
    from benchmarks.peers.base import Subject

MESSAGE_LIMIT = 300


def main(order: str) -> None:
    """Run what ``order`` (JSON of ``harness.Order``, and the reporting ``fd``) asks for."""
    wanted = json.loads(order)
    if wanted["core"] is not None:
        os.sched_setaffinity(0, {wanted["core"]})
    report = _Report(wanted["fd"])
    subject = peers.load(wanted["subject"])()
    sizes = QUICK if wanted["quick"] else FULL
    for workload in wanted["workloads"]:
        if not _run(subject, workload, sizes, report) and workload == "start":
            break
    report.write(begin="stop")
    _attempt(subject.stop)
    report.write(done="stop", version=_version(subject.dist))


def _run(subject: Subject, workload: str, sizes: Sizes, report: _Report) -> bool:
    """Run one workload and report its figures or its failure."""
    report.write(begin=workload)
    began = time.monotonic()
    figures: Figures = {}
    failure = _attempt(lambda: figures.update(WORKLOADS[workload].run(subject, sizes)))
    if failure:
        report.write(done=workload, error=failure)
    else:
        report.write(done=workload, figures=figures, took_s=round(time.monotonic() - began, 2))
    return failure is None


def _attempt(action: Callable[[], object]) -> str | None:
    """What ``action`` raised, in a line; its traceback goes to the log."""
    try:
        action()
    except Exception as error:  # reported, and the next workload runs
        import traceback  # not above: it brings in more than some peers do

        traceback.print_exc()
        return f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT]
    return None


def _version(dist: str | None) -> str:
    """The version of ``dist``, or of Python for what comes with it."""
    if dist is None:
        return sys.version.split()[0]
    from importlib import metadata

    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return "not installed as a distribution"


class _Report:
    """Writes one JSON object a line to a file descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # the workers must not inherit it: the harness takes its end for ours
        os.set_inheritable(fd, False)

    def write(self, **fields: Any) -> None:
        os.write(self.fd, (json.dumps(fields) + "\n").encode())
