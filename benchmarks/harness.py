"""Runs every subject in a fresh process, rounds interleaved, each workload with a deadline."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import peers, processes
from benchmarks.peers.base import Peer
from benchmarks.workloads import PINNED, PLACEMENTS, STOP_DEADLINE_S, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
CODE = "import sys; from benchmarks.subject import main; main(sys.argv[1])"
READ = 65536
BETWEEN_S = 60.0
"""From the start of the process, or from one workload's end, to the next one's begin."""
EXIT_S = 10.0
ATTEMPTS = 3
"""A subject that hung is started again without that workload, at most this often in all."""
SLICE_S = 1.0

Outcome = dict[str, Any]
"""What one workload came to: ``figures``, ``error`` or ``lacks``."""
Key = tuple[str, str, str]
"""Subject, placement, workload."""


class Order(NamedTuple):
    """What one process is to do."""

    subject: str
    workloads: tuple[str, ...]
    quick: bool
    core: int | None


class Options(NamedTuple):
    """What to measure, and how thoroughly."""

    subjects: tuple[str, ...]
    workloads: tuple[str, ...]
    rounds: int
    quick: bool
    core: int


def missing(name: str) -> str | None:
    """Why the subject ``name`` cannot run here, or None if it can."""
    package = peers.load(name).package
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed"


class SubjectProcess:
    """One subject in a fresh process, and what it reports."""

    def __init__(self, order: Order, log: Path) -> None:
        self.subject = order.subject
        self.reader, writer = os.pipe()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, json.dumps({**order._asdict(), "fd": writer})],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": _python_path()},
                pass_fds=(writer,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        os.close(writer)

    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """What each workload came to, as it ends; the last is of the one that hung or died."""
        current, end = "", time.monotonic() + BETWEEN_S
        lines = _Lines(self.reader)
        while (line := lines.next(end)) is not None:
            message = json.loads(line)
            if "begin" in message:
                current = message["begin"]
                end = time.monotonic() + _deadline_s(current)
            else:
                yield message.pop("done"), message
                current, end = "", time.monotonic() + BETWEEN_S
        if current:
            hung = time.monotonic() >= end
            yield current, {"error": f"timeout, {_deadline_s(current):.0f} s" if hung else "died"}

    def end(self) -> None:
        """End the process and all below it."""
        os.close(self.reader)
        try:
            self.process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            print(f"   {self.subject} does not exit, and is ended", flush=True)
        processes.end_descendants()
        self.process.wait(EXIT_S)


class _Lines:
    """Lines of a pipe, each awaited no longer than until a given time."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.rest = b""

    def next(self, end: float) -> bytes | None:
        """The next line; None at the end of the pipe or at ``end``."""
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            if left <= 0:
                return None
            if select.select([self.fd], [], [], min(left, SLICE_S))[0]:
                data = os.read(self.fd, READ)
                if not data:
                    return None
                self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line


def _deadline_s(workload: str) -> float:
    return STOP_DEADLINE_S if workload == "stop" else WORKLOADS[workload].deadline_s


def _python_path() -> str:
    """The workers of every peer import ``benchmarks`` from here."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


class Harness:
    """One run of the benchmark; ``results`` grows as it goes and is plain JSON data."""

    def __init__(self, options: Options, logs: Path) -> None:
        self.options = options
        self.logs = logs
        self.hung: dict[Key, Outcome] = {}
        self.results: dict[str, Any] = {
            "python": sys.version.split()[0],
            "cores": len(os.sched_getaffinity(0)) if PINNED in PLACEMENTS else os.cpu_count(),
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "quick": options.quick,
            "rounds": options.rounds,
            "subjects": {name: _describe(name) for name in options.subjects},
            "runs": [],
        }

    def run(self, after_each: Callable[[dict[str, Any]], None]) -> None:
        """Run all rounds; ``after_each`` gets the record of every process that ended."""
        processes.adopt_orphans()
        for number in range(self.options.rounds):
            for placement in PLACEMENTS:
                for name in self.options.subjects:
                    if "skipped" not in self.results["subjects"][name]:
                        record = self._run_one(name, placement, number)
                        if record["outcomes"]:
                            self.results["runs"].append(record)
                            after_each(record)

    def _run_one(self, name: str, placement: str, number: int) -> dict[str, Any]:
        load = os.getloadavg()[0]
        outcomes = self._measure(name, placement)
        version = outcomes.pop("stop", {}).get("version")
        if version:
            self.results["subjects"][name]["version"] = version
        return {
            "round": number,
            "subject": name,
            "placement": placement,
            "load": load,
            "outcomes": outcomes,
        }

    def _measure(self, name: str, placement: str) -> dict[str, Outcome]:
        """What each workload came to; starts the subject again without one that hung."""
        lacks, todo = self._plan(name, placement)
        outcomes = {
            work: self.hung[name, placement, work]
            for work in todo
            if (name, placement, work) in self.hung
        }
        for group in _processes(todo):
            for _ in range(ATTEMPTS):
                left = tuple(work for work in group if work not in outcomes)
                if not left or "error" in outcomes.get("start", {}):
                    break
                if todo[0] == "start" != left[0]:  # a fresh process needs it, measured or not
                    left = ("start", *left)
                for work, outcome in self._attempt(name, placement, left):
                    outcomes.setdefault(work, outcome)
                    if "timeout" in outcome.get("error", ""):
                        self.hung[name, placement, work] = outcome
        return outcomes | {work: {"lacks": reason} for work, reason in lacks.items()}

    def _plan(self, name: str, placement: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """What the subject lacks, and what it runs in this placement."""
        subject = peers.load(name)
        wanted = [
            work
            for work in subject.workloads
            if work in self.options.workloads and placement in WORKLOADS[work].placements
        ]
        has = subject.lacks if issubclass(subject, Peer) else {}
        lacks = {work: has[work] for work in wanted if work in has}
        todo = tuple(work for work in wanted if work not in lacks)
        if todo and issubclass(subject, Peer) and todo[0] != "start":
            todo = ("start", *todo)
        return lacks, todo

    def _attempt(
        self, name: str, placement: str, workloads: tuple[str, ...]
    ) -> Iterator[tuple[str, Outcome]]:
        core = self.options.core if placement == PINNED else None
        order = Order(name, workloads, self.options.quick, core)
        process = SubjectProcess(order, self.logs / f"{name}-{placement}.log")
        try:
            yield from process.outcomes()
        finally:
            process.end()


def _processes(workloads: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Which workloads share a process: all, except those that need one alone."""
    alone = [(work,) for work in workloads if WORKLOADS[work].alone]
    return [tuple(work for work in workloads if not WORKLOADS[work].alone), *alone]


def _describe(name: str) -> dict[str, Any]:
    subject = peers.load(name)
    about: dict[str, Any] = {"label": subject.label, "notes": dict(subject.notes)}
    if reason := missing(name):
        about["skipped"] = reason
    return about


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory for what the subjects leave on disk, which they find by the environment."""
    directory = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
    os.environ["TMPDIR"] = directory.name
    os.environ["IPYTHONDIR"] = f"{directory.name}/ipython"
    return directory
