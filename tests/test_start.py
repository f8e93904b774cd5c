"""The way to the first call: what is imported for it, what later, and that nobody can tell."""

from __future__ import annotations

import copy
import fractions
import importlib.util
import logging
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import eventually

import bridge_ext
from bridge_ext.kernel import log
from bridge_ext.kernel.display import Cleared, Shown
from bridge_ext.kernel.wire.own import LATE
from bridge_ext.kernel.worker import rest

ROOT = Path(__file__).resolve().parent.parent
SLOW = {"asyncio", "dataclasses", "logging", "numpy", "pandas", "pickle", "uuid"}
"""What no first call of plain data needs on either side."""
REST_OF_OURS = {f"bridge_ext.kernel.{name}" for name in rest.REST}
LOADED = "sorted(__import__('sys').modules)"


def run(code):
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder before all others in the worker's path: it has a file for each name in LATE."""
    for name in LATE:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was shadowed')\n")
    (tmp_path / "mine.py").write_text(
        "from fractions import Fraction\n"
        "def fail():\n    raise ValueError('mine')\n"
        "async def later():\n    yield 42\n"
        "class Thing:\n    def __init__(self):\n        self.here = 1\n"
        "def third():\n    return Fraction(1, 3)\n"
    )
    for name in LATE:  # the kernel has them, as one of IPython's has
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_kernel_side_imports_little_for_the_first_call():
    code = (
        "import sys, bridge_ext\n"
        "with bridge_ext.Bridge() as bridge:\n"
        "    assert bridge.call('math.sqrt', 4) == 2\n"
        "    print(*sys.modules)\n"
    )
    loaded = set(run(code).stdout.split())
    assert not loaded & (SLOW | {"IPython", "bridge_ext.kernel.backends.memory"})
    assert "bridge_ext.kernel.model" not in loaded


def test_a_worker_imports_little_for_its_first_call_and_the_rest_after_it():
    with bridge_ext.Bridge() as bridge:
        first = set(bridge.call("eval", LOADED))
        assert not first & (SLOW | LATE | REST_OF_OURS)
        eventually(lambda: set(bridge.call("eval", LOADED)) >= REST_OF_OURS)
        assert not set(bridge.call("eval", LOADED)) & {"IPython", "asyncio", "numpy", "pandas"}


def test_a_worker_that_never_pauses_imports_the_rest_all_the_same(monkeypatch):
    imported = []
    monkeypatch.setattr(rest, "complete", lambda: imported.append(True))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        waiting = rest.Rest()
        for _ in range(1_000):
            waiting.look(ours.fileno())
        assert (imported, waiting.missing) == ([], True)
        waiting.look(ours.fileno())
        assert (imported, waiting.missing) == ([True], False)


def test_a_worker_imports_the_rest_when_no_request_comes(monkeypatch):
    imported = []
    monkeypatch.setattr(rest, "complete", lambda: imported.append(True))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waiting = rest.Rest()
        waiting.look(ours.fileno())
        assert (imported, waiting.missing) == ([True], False)


def test_what_a_worker_has_not_imported_is_still_the_standard_librarys(beside):
    with bridge_ext.Bridge() as bridge:
        for name in LATE:
            if getattr(importlib.util.find_spec(name), "has_location", False):
                assert Path(bridge.attr(f"{name}:__file__")).parent != beside


def fails(bridge):
    with pytest.raises(ValueError, match="mine") as caught:
        bridge.call("mine.fail")
    return "mine.py" in str(caught.traceback[-1].path)


def misses(bridge):
    with pytest.raises(ModuleNotFoundError, match="did you mean 'mine'"):
        bridge.call("minee.fail")
    return True


def copies(bridge):
    stream = bridge.new("enumerate", "abcdef")
    assert next(stream) == (0, "a")
    return next(copy.copy(stream)) == (1, "b")


FIRST = {
    "an argument that is pickled": lambda b: b.call("sorted", [2, 1], key=lambda x: x) == [1, 2],
    "a result that is pickled": lambda b: next(b.options(fetch=True).call("iter", [5])) == 5,
    "a fraction": lambda b: b.call("mine.third") == fractions.Fraction(1, 3),
    "an error with its source lines": fails,
    "a module that is missing": misses,
    "a stream that is copied": copies,
    "an asynchronous stream": lambda b: list(b.stream("mine.later")) == [42],
    "help": lambda b: "here" in dir(b.new("mine.Thing")),
    "sizes": lambda b: b.info(b.new("mine.Thing")).nbytes > 0,
}


@pytest.mark.parametrize("first", FIRST)
def test_a_first_call_that_needs_more_takes_no_file_for_it(beside, first):
    with bridge_ext.Bridge() as bridge:
        assert FIRST[first](bridge)


def test_records_are_what_they_were():
    released = bridge_ext.Released(1, 2)
    assert released == pickle.loads(pickle.dumps(released))
    assert released.__reduce_ex__(2)[1][0] is bridge_ext.Released
    assert pickle.loads(pickle.dumps(bridge_ext.Status.ACTIVE)) is bridge_ext.Status.ACTIVE


def test_messages_compare_and_show_by_what_they_say():
    assert Shown({}, {}, "x") == Shown({}, {}, "x", False)
    assert Shown({}, {}, "x") != Shown({}, {}, "x", True)
    assert Cleared(True) != Cleared(False)
    assert Cleared(True) != Shown({}, {})
    assert repr(Cleared(True)) == "Cleared(wait=True)"
    assert repr(Shown({}, {})) == "Shown(data={}, metadata={}, display_id=None, update=False)"


def test_nothing_is_logged_where_logging_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "logging")
    assert log.logger() is None
    log.report("nobody hears %s", "this")
    assert "logging" not in sys.modules


def test_a_log_that_nobody_set_up_is_silent():
    code = (
        "import logging, sys\n"
        "from bridge_ext.kernel import log\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError:\n"
        "    log.report('unheard')\n"
        "    log.warn('bridge_ext.display', 'unheard')\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "log.warn('bridge_ext.display', 'heard')\n"
        "assert len(logging.getLogger('bridge_ext').handlers) == 1\n"
    )
    done = run(code)
    assert "unheard" not in done.stdout + done.stderr
    assert "heard" in done.stdout


def test_the_root_logger_hears_as_before(caplog):
    with caplog.at_level(logging.ERROR, "bridge_ext"):
        log.report("an error")
    assert caplog.record_tuples == [("bridge_ext", logging.ERROR, "an error")]
