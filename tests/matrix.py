"""What may break, in which state, and what is expected then: the tables of the two matrices.

`test_kill_matrix.py` and `test_crash_matrix.py` try the cells. A run of all of them
(`make torture`) leaves what it measured in `.artifacts/`; `python tests/matrix.py` then writes it
into `matrix.json` and the page into ARCHITECTURE.md, which a test compares.
"""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from itertools import product
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "ARCHITECTURE.md"
MEASURED = TESTS / "matrix.json"
ARTIFACTS = TESTS.parent / ".artifacts"
WIDTH = 108
HEADING = "### What was broken, and what became of it\n"

# --- The end of a kernel ----------------------------------------------------------------------

GONE = 2.0
"""Seconds after a kernel's end until nothing of ours may be left."""


class End(NamedTuple):
    """A way in which a kernel, or its use of the bridge, ends.

    Attributes:
        within: where the state's call is made: in a "thread", or in the "cell" that runs.
        kernel: whether the kernel itself ends.
        served: whether a Jupyter server has started the kernel.
    """

    within: str
    kernel: bool = True
    served: bool = False


ENDS = {
    "shutdown": End("thread"),
    "shutdown of a busy shell": End("cell"),
    "restart": End("thread"),
    "SIGTERM": End("cell"),
    "SIGKILL": End("cell"),
    "os._exit()": End("thread"),
    "exit()": End("thread"),
    "unload": End("thread", kernel=False),
    "reload": End("thread", kernel=False),
    "SIGKILL of the server": End("cell", served=True),
}
STATES = {
    "idle": "no call is in flight",
    "loop": "a loop in Python",
    "GIL": "C code that keeps the interpreter",
    "callback": "a callback runs in the kernel",
    "transfer": "an array goes there and back, again and again",
    "batch": "a batch of a thousand calls, some of them done",
    "start": "the worker's process is there and has not answered yet",
    "queue": "a hundred futures wait behind a call",
    "stopped": "SIGSTOP has stopped the worker",
}

# --- The end of a worker ----------------------------------------------------------------------


class Died(NamedTuple):
    """WorkerDiedError of each call in flight; with none, its refs are lost."""

    how: str

    def __str__(self):
        return "died"


class Raised(NamedTuple):
    """The call raises what the code has raised, and the worker lives."""

    type: str

    def __str__(self):
        return "raised"


class Ended(NamedTuple):
    """CallTimeoutError of the call with `options(timeout=..., kill=True)`: its worker was ended."""

    def __str__(self):
        return "ended"


class Passed(NamedTuple):
    """No call is told, as Python itself only prints what such code raises."""

    def __str__(self):
        return "passed"


Outcome = Died | Raised | Ended | Passed
FAULTS: dict[str, Outcome] = {
    "segfault": Died("SIGSEGV (signal 11)"),
    "abort": Died("SIGABRT (signal 6)"),
    "os._exit": Died("exited with code 3"),
    "sys.exit": Raised("SystemExit"),
    "SIGKILL": Died("SIGKILL (signal 9)"),
    "SIGTERM": Died("SIGTERM (signal 15)"),
    "memory_limit": Raised("MemoryError"),
    "out of memory": Died("SIGKILL (signal 9)"),
    "hang in C": Ended(),
    "Python's stack": Raised("RecursionError"),
    "C's stack": Died("SIGSEGV (signal 11)"),
    "SIGSTOP": Ended(),
}
MOMENTS = {
    "decode": "an argument's pickle is opened",
    "import": "the module of the call is imported",
    "call": "the function runs",
    "encode": "the result is pickled for `fetch=True`",
    "stream": "the third item of a generator is made",
    "callback": "a call made by a callback runs",
    "transfer": "a thread of the worker runs, and 100 MB are on their way to the kernel",
    "idle": "a thread of the worker runs, and no call",
    "control": "a destructor runs for a release, beside a call",
}
UNHEARD = ("transfer", "idle", "control")
"""Moments at which nobody waits for what the code raises."""
OTHERWISE: dict[tuple[str, str], Outcome] = {
    # What a pickle of the result raises is the reason why that cannot travel.
    ("memory_limit", "encode"): Raised("EncodeError"),
    ("Python's stack", "encode"): Raised("EncodeError"),
    # The timeout is that of the call within the callback; the one around it is told why it died.
    ("hang in C", "callback"): Died("was ended for a timeout"),
    ("SIGSTOP", "callback"): Died("was ended for a timeout"),
}


def expected(fault: str, moment: str) -> Outcome:
    """What a cell must come to."""
    outcome = OTHERWISE.get((fault, moment), FAULTS[fault])
    return Passed() if isinstance(outcome, Raised) and moment in UNHEARD else outcome


# --- Which cells ------------------------------------------------------------------------------

SHORT_ENDS = [name for name, end in ENDS.items() if not end.served]


def every(rows, columns):
    """All cells."""
    return list(product(rows, columns))


def some(rows, columns):
    """Few cells: each row and each column at least twice."""
    rows, columns = list(rows), list(columns)
    longest = max(len(rows), len(columns))
    steps = [(i, i + shift) for shift in (0, 3) for i in range(longest)]
    return [(rows[i % len(rows)], columns[j % len(columns)]) for i, j in steps]


# --- The page ---------------------------------------------------------------------------------


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _seconds(values):
    return f"{statistics.median(values):.2f} / {max(values):.2f}"


def _kill_table(measured):
    """A row for each end; the states are its cells."""
    rows = []
    for end in ENDS:
        cells = [measured[f"{state} | {end}"] for state in STATES]
        ended, gone, bare = zip(*cells, strict=True)
        ratio = "" if None in bare else f"{statistics.median(map(_ratio, ended, bare)):.2f}"
        rows.append([end, str(len(cells)), _seconds(ended), ratio, _seconds(gone)])
    head = [
        "end",
        "cells",
        "until it ended, s",
        "to without us",
        "then until nothing of ours was left, s",
    ]
    return _table(head, rows)


def _ratio(one, other):
    return one / other


def _crash_table(measured):
    """A row for each fault, a column for each moment, and the seconds of the whole row."""
    rows = []
    for fault in FAULTS:
        outcomes = [str(expected(fault, moment)) for moment in MOMENTS]
        told = [measured[f"{fault} | {moment}"] for moment in MOMENTS]
        rows.append([fault, *outcomes, _seconds([t for t in told if t is not None])])
    return _table(["", *MOMENTS, "until told, s"], rows)


KILLED = """\
Each end of a kernel in each state of its worker ({states}). "Without us" is the same kernel
that never loaded the extension and is idle or in `time.sleep`. A shell that is busy with what
no interrupt stops (GIL, stopped) ends at Jupyter's SIGTERM, after 2.5 s; and where 1 GB is on
its way, its pages are given back. Nothing of ours means: no
process, none of their pipes, sockets and shared memory in any other process, no file. Times are
median / max of the states, of one run (`make torture`) on a machine with two busy cores."""
CRASHED = """\
Each fault at each moment ({moments}). *died*: one WorkerDiedError that names the signal or the
code, the call and what was lost, or with no call in flight a SessionLostError for each use of
an old ref; *ended*: one CallTimeoutError of `options(timeout=1, kill=True)`; *raised*: the
error itself, and nothing is lost; *passed*: Python only prints what is raised there. After each
of them the next call runs, old refs are lost for ever, and another bridge has noticed nothing."""


def page(measured):
    """What ARCHITECTURE.md says of the matrices."""
    states = "; ".join(f"*{name}*: {what}" for name, what in STATES.items())
    moments = "; ".join(f"*{name}*: {what}" for name, what in MOMENTS.items())
    parts = [
        textwrap.fill(KILLED.format(states=states), WIDTH),
        _kill_table(measured["kill"]),
        textwrap.fill(CRASHED.format(moments=moments), WIDTH),
        _crash_table(measured["crash"]),
    ]
    return "\n\n".join(parts)


def section(text):
    """What stands under the heading of a page."""
    return re.split(r"\n##+ ", text.partition(HEADING)[2])[0].strip()


def keep(matrix, found):
    """Write what a run of all cells has measured, to be taken over."""
    (ARTIFACTS / f"matrix-{matrix}.json").write_text(json.dumps(found))


def taken_over():
    """What the page is made of."""
    return json.loads(MEASURED.read_text())


def main():
    """Take over what the last run of all cells has measured."""
    parts = ("kill", "crash")
    measured = {p: json.loads((ARTIFACTS / f"matrix-{p}.json").read_text()) for p in parts}
    MEASURED.write_text(re.sub(r"((?:null|[\d\]]),) (?=\")", r"\1\n", json.dumps(measured)) + "\n")
    text = PAGE.read_text(encoding="utf-8")
    assert HEADING in text
    PAGE.write_text(text.replace(section(text), page(measured)), encoding="utf-8")


if __name__ == "__main__":
    main()
