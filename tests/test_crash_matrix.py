"""Each way to break a worker at each moment: one error, which says what happened; all else lives.

The cells and what is expected of them are tables in `matrix.py`; `striking.py` breaks the worker.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections import Counter
from pathlib import Path

import matrix
import pytest
import striking
from conftest import eventually
from test_worker_life import gone, in_thread, lost_sessions

import bridge_ext
from bridge_ext import CallTimeoutError, RemoteError, SessionLostError, WorkerDiedError

LIMIT = 600 << 20
"""Bytes a worker may have where it shall run out of them."""
LARGE = 100_000_000
"""Bytes of what is on its way."""
TIMEOUT = 1.0
"""Seconds until a call that hangs is given up; the grace comes on top."""
TOLD = 9.0
"""Seconds in which every fault must have been told of."""


class Case:
    """One cell: a bridge that holds something, a fault, and how a moment brings it about."""

    def __init__(self, bridge, fault, moment, folder):
        self.bridge, self.fault, self.moment = bridge, fault, moment
        self.ready, self.gate = str(folder / "ready"), str(folder / "gate")
        self.folder = folder
        with bridge.session("named"):
            self.held = [bridge.put([1]), bridge.put({2})]
        self.held.append(bridge.put([3]))
        self.sessions = {"named", bridge.current_session()}
        self.ids = {bridge.info(ref).id for ref in self.held}
        self.pid = bridge.call("os.getpid")
        self.heard = []
        """What the code of a callback was told."""
        self.extra = (0,)
        """How many more refs there may be as the fault comes."""

    @property
    def strike(self):
        return self.fault, self.ready

    def decode(self):
        with self.patience():
            return self.bridge.call("striking.identity", striking.Bomb(*self.strike))

    def import_(self):
        (self.folder / "strikes.py").write_text(f"import striking\nstriking.strike{self.strike}\n")
        with self.patience():
            return self.bridge.call("strikes.f")

    def call(self):
        with self.patience():
            return self.bridge.call("striking.strike", *self.strike)

    def encode(self):
        dud = self.bridge.new("striking.Dud", *self.strike)
        self.extra = (1,)
        with self.patience():
            return self.bridge.options(fetch=True).call("striking.identity", dud)

    def stream(self):
        stream = self.bridge.stream("striking.items", *self.strike)
        self.extra = (1,)
        with self.patience():
            return list(stream)

    def callback(self):
        with self.patience():
            return self.bridge.call("striking.ask", self.bridge.callback(self.called_back))

    def called_back(self):
        """What the call within is told is told to the code of the callback alone."""
        try:
            self.call()
        except (WorkerDiedError, CallTimeoutError) as error:
            self.heard.append(error)
            raise

    def transfer(self):
        array = self.bridge.call("numpy.ones", LARGE, "u1")
        self.extra = (1,)
        self.bridge.call("striking.later", *self.strike, self.gate)
        striking.touch(self.gate)
        heard = False
        with self.patience():
            while not heard:  # and once more after the fault, if no call is told of it
                heard = os.path.exists(self.ready) and isinstance(self.expected, matrix.Passed)
                self.bridge.fetch(array)

    def idle(self):
        """Nobody is told until the next call, if it is told at all."""
        self.bridge.call("striking.later", *self.strike, self.gate)
        with lost_sessions(self.bridge) as wait:
            striking.touch(self.gate)
            eventually(lambda: os.path.exists(self.ready), "the fault")
            if isinstance(self.expected, matrix.Died):
                wait("named")
                return None
        with self.patience():
            return self.bridge.call("striking.identity", 5)

    def control(self):
        """The control thread frees what is released beside a call."""
        last = self.bridge.new("striking.Last", *self.strike)
        self.extra = (0, 1)  # it is being released, and may be counted as lost or not
        started = str(self.folder / "started")
        with in_thread(self.bridge.bind(self.busy), started) as running:
            eventually(lambda: os.path.exists(started), "the call beside it")
            with in_thread(self.bridge.release, last):
                eventually(lambda: os.path.exists(self.ready), "the fault")
                if isinstance(self.expected, matrix.Passed):
                    striking.touch(self.gate)
            return running.result(10)

    def busy(self, started):
        with self.patience():
            return self.bridge.call("striking.be_busy", started, self.gate)

    @property
    def expected(self):
        return matrix.expected(self.fault, self.moment)

    def patience(self):
        """What is in force while the fault comes."""
        if isinstance(matrix.FAULTS[self.fault], matrix.Ended):
            return self.bridge.options(timeout=TIMEOUT, kill=True)
        return contextlib.nullcontext()

    def run(self):
        """Bring it about; the error that the caller gets, and what the call was."""
        act = getattr(self, {"import": "import_"}.get(self.moment, self.moment))
        with killed_when(self.ready, self.pid, self.fault == "out of memory"):
            try:
                act()
            except Exception as error:
                return error
        return None


@contextlib.contextmanager
def killed_when(ready, pid, wanted):
    """Have a process killed from outside, as the system does that has run out of memory."""

    def kill():
        eventually(lambda: os.path.exists(ready), "the fault")
        os.kill(pid, signal.SIGKILL)

    if not wanted:
        yield
        return
    with in_thread(kill):
        yield


NAMES = {
    "decode": "striking.identity",
    "import": "strikes.f",
    "call": "striking.strike",
    "encode": "striking.identity",
    "stream": "next(<ref generator",
    "callback": "striking.ask",
    "transfer": "fetch",
    "idle": "striking.identity",
    "control": "striking.be_busy",
}
"""What an error of each moment must name."""


# --- What must be true afterwards -------------------------------------------------------------


def check_error(case, error):
    expected = case.expected
    if isinstance(expected, matrix.Passed) or (
        isinstance(expected, matrix.Died) and case.moment == "idle"
    ):
        assert error is None
        return
    if isinstance(expected, matrix.Raised):
        check_raised(error, expected.type)
        return
    if isinstance(expected, matrix.Died):
        assert type(error) is WorkerDiedError
        assert expected.how in error.how
        assert expected.how in str(error)
    else:
        assert type(error) is CallTimeoutError
        assert error.ended
    check_told(case, error)


def check_raised(error, name):
    if isinstance(error, RemoteError):
        assert error.type_name.rpartition(".")[2] == name
    else:
        assert type(error).__name__ == name, repr(error)


def check_told(case, error):
    """It names the call and what was lost, and it is one error."""
    kind = {matrix.Died: WorkerDiedError, matrix.Ended: CallTimeoutError}
    if case.moment == "callback":
        (heard,) = case.heard
        assert type(heard) is kind[type(matrix.FAULTS[case.fault])]
        assert NAMES["call"] in str(heard)
        assert heard.refs == len(case.held)
    assert NAMES[case.moment] in error.call
    assert NAMES[case.moment] in str(error)
    assert set(error.sessions) == case.sessions
    assert error.refs - len(case.held) in case.extra
    assert "'named'" in str(error)
    assert f"{error.refs} refs in {len(case.sessions)} sessions" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


def check_lost(case):
    """What was held is lost for ever, and nothing of it is ever another's."""
    bridge, expected = case.bridge, case.expected
    how = expected.how if isinstance(expected, matrix.Died) else "ended"
    assert bridge.call("os.getpid") != case.pid
    assert bridge.status().incarnation == 2
    with bridge.session("named"):
        fresh = [bridge.put(["fresh", n]) for n in range(8)]
    assert not {bridge.info(ref).id for ref in fresh} & case.ids
    for _ in range(2):
        for ref in case.held:
            with pytest.raises(SessionLostError, match="lost") as caught:
                bridge.fetch(ref)
            assert how in str(caught.value)
            with pytest.raises(SessionLostError):
                bridge.call("striking.identity", [ref])
    case.held.clear()
    gc.collect()
    assert [bridge.fetch(ref) for ref in fresh] == [["fresh", n] for n in range(8)]
    eventually(lambda: gone(case.pid), "the end of the broken worker", 2.0)


def check_kept(case):
    """The worker lives, and so does all that it holds."""
    assert case.bridge.call("os.getpid") == case.pid
    assert [case.bridge.fetch(ref) for ref in case.held] == [[1], {2}, [3]]


def seconds_until(told, ready):
    """Between the fault and the error."""
    return told - Path(ready).stat().st_mtime


# --- The cells --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other():
    """Another bridge, which nothing here may reach."""
    with bridge_ext.Bridge() as made:
        with made.session("elsewhere"):
            ref = made.put(["untouched"])
        pid = made.call("os.getpid")

        def check():
            assert made.call("os.getpid") == pid
            assert made.session_info("elsewhere").status is bridge_ext.Status.ACTIVE
            assert made.fetch(ref) == ["untouched"]

        yield check


def try_cell(fault, moment, folder, other):
    """Break a worker and look at everything; the seconds until somebody was told."""
    limit = LIMIT if fault == "memory_limit" else None
    with bridge_ext.Bridge(memory_limit=limit) as bridge:
        case = Case(bridge, fault, moment, folder)
        error = case.run()
        told = time.time()
        check_error(case, error)
        if isinstance(case.expected, matrix.Raised | matrix.Passed):
            check_kept(case)
        else:
            check_lost(case)
        other()
        took = seconds_until(told, case.ready)
    assert took < TOLD
    return took


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory from which modules are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def measured():
    """Seconds for each cell; written for the page when the last was tried."""
    found = {}
    yield found
    if len(found) == len(matrix.FAULTS) * len(matrix.MOMENTS):
        matrix.keep("crash", found)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(matrix.STATES, matrix.SHORT_ENDS), (matrix.FAULTS, matrix.MOMENTS)],
    ids=["kill", "crash"],
)
def test_the_short_form_has_each_row_and_each_column_twice(rows, columns):
    cells = matrix.some(rows, columns)
    assert len(set(cells)) == len(cells)
    for part, names in enumerate((rows, columns)):
        count = Counter(cell[part] for cell in cells)
        assert count.keys() == set(names)
        assert min(count.values()) >= 2


@pytest.mark.parametrize(("fault", "moment"), matrix.some(matrix.FAULTS, matrix.MOMENTS))
def test_a_fault_is_told_once_and_harms_nobody_else(fault, moment, folder, other):
    try_cell(fault, moment, folder, other)


@pytest.mark.torture
@pytest.mark.parametrize(("fault", "moment"), matrix.every(matrix.FAULTS, matrix.MOMENTS))
def test_every_fault_at_every_moment(fault, moment, folder, other, measured):
    took = try_cell(fault, moment, folder, other)
    passed = isinstance(matrix.expected(fault, moment), matrix.Passed)
    measured[f"{fault} | {moment}"] = None if passed else round(took, 3)
