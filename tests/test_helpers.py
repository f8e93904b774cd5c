"""Helpers: functions that are registered once and run in the worker by name."""

from __future__ import annotations

import functools
import os
import signal
import statistics
import sys
import threading
import traceback

import pytest
from kernels import Kernel

from bridge_ext import BridgeUsageError, EncodeError, WorkerDiedError
from bridge_ext.kernel.helpers import MAX_HELPER


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder on `sys.path`, where modules are written."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


# --- Registering ------------------------------------------------------------------------------


def test_a_function_is_registered_by_its_name_and_returned(bridge):
    def double(x, *, plus=0):
        """Twice as much.

        And more.
        """
        return 2 * x + plus

    assert bridge.register_helper(double) is double
    assert bridge.helper("double", 4) == 8
    assert bridge.helper("double", 4, plus=1) == 9
    (info,) = bridge.helpers()
    assert (info.name, info.signature) == ("double", "(x, *, plus=0)")
    assert info.doc == "Twice as much.\n\nAnd more."


def test_registering_is_a_decorator_with_and_without_a_name(bridge):
    @bridge.register_helper
    def plain():
        return "plain"

    @bridge.register_helper()
    def called():
        return "called"

    @bridge.register_helper(name="rows.count")
    def named():
        return "named"

    assert bridge.register_helper(lambda: "lambda", "given") is not None
    assert bridge.register_helper(lambda: "lambda", name="keyword")() == "lambda"
    assert [plain(), called(), named()] == ["plain", "called", "named"]
    names = ["plain", "called", "rows.count", "given", "keyword"]
    assert [info.name for info in bridge.helpers()] == names
    found = [bridge.helper(name) for name in names]
    assert found == ["plain", "called", "named", "lambda", "lambda"]


def test_anything_callable_may_be_a_helper(bridge):
    class Adder:
        """Adds."""

        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return self.n + x

        def add(self, x):
            return self.n + x

    bridge.register_helper(Adder(3), "instance")
    bridge.register_helper(Adder(4).add, "method")
    bridge.register_helper(functools.partial(max, 5), "partial")
    bridge.register_helper(len)
    assert bridge.helper("instance", 1) == 4
    assert bridge.helper("method", 1) == 5
    assert bridge.helper("partial", 1) == 5
    assert bridge.helper("len", [1, 2]) == 2


@pytest.mark.parametrize("fn", [5, [1], object()])
def test_what_is_no_function_is_refused(bridge, fn):
    with pytest.raises(BridgeUsageError, match="no function"):
        bridge.register_helper(fn, "name")
    assert bridge.helpers() == []


@pytest.mark.parametrize("name", ["", "two words", "a..b", ".a", "1st", 5])
def test_what_is_no_name_is_refused(bridge, name):
    with pytest.raises(BridgeUsageError, match=r"no name for a helper: give name="):
        bridge.register_helper(len, name)
    with pytest.raises(BridgeUsageError, match=r"'<lambda>' is no name"):
        bridge.register_helper(lambda: 1)


def test_a_name_where_a_function_belongs_is_explained(bridge):
    with pytest.raises(BridgeUsageError, match="a name is given as name='clean'"):

        @bridge.register_helper("clean")
        def clean():
            pass


def test_an_unknown_helper_names_near_ones(bridge):
    bridge.register_helper(len, "count_rows")
    bridge.register_helper(len, "clean")
    with pytest.raises(BridgeUsageError, match=r"no helper 'count_row'.*mean 'count_rows'"):
        bridge.helper("count_row")
    with pytest.raises(BridgeUsageError, match=r"registered are \['clean', 'count_rows'\]"):
        bridge.helper("else")


def test_helpers_belong_to_their_bridge(local, memory):
    local.register_helper(len, "count")
    assert memory.helpers() == []
    with pytest.raises(BridgeUsageError, match="no helper 'count'"):
        memory.helper("count", [])


# --- Of a module ------------------------------------------------------------------------------


def test_a_function_of_a_module_is_the_workers_own(bridge):
    bridge.register_helper(statistics.mean)
    assert bridge.helper("mean", [1, 2, 6]) == 3
    (info,) = bridge.helpers()
    assert info.signature.startswith("(data")
    bridge.register_helper(lambda: statistics.mean, "the_mean")
    assert bridge.call("operator.is_", bridge.helper("the_mean"), bridge.attr("statistics.mean"))


@pytest.mark.parametrize("path", ["mine:Shape.area", "mine.Shape.area"])
def test_a_helper_may_be_named_by_its_path_in_the_worker(bridge, project, path):
    (project / "mine.py").write_text(
        "class Shape:\n    @staticmethod\n    def area(x):\n        return x * x\n"
    )
    assert bridge.register_helper(path) == path
    assert "mine" not in sys.modules, "this process need not have it"
    assert bridge.helper("area", 3) == 9
    (info,) = bridge.helpers()
    assert (info.name, info.signature) == ("area", "(...)")
    assert path in info.doc
    bridge.register_helper(path, "surface")
    assert bridge.helper("surface", 4) == 16


def test_a_modules_helper_is_the_new_one_after_it_was_loaded_again(bridge, project):
    path = project / "mine.py"
    path.write_text("def f(): return 1")
    import mine

    bridge.register_helper(mine.f)
    bridge.register_helper("mine:f", "by_path")
    seen = []

    @bridge.register_helper
    def count():
        seen.append(1)
        return len(seen)

    assert [bridge.helper(name) for name in ("f", "by_path", "count")] == [1, 1, 1]
    path.write_text("def f(): return 22")
    bridge.reload("mine")
    assert [bridge.helper(name) for name in ("f", "by_path")] == [22, 22]
    assert bridge.helper("count") == 2, "and others were left alone"


def test_a_packages_reload_reaches_the_helpers_of_its_modules(bridge, project):
    (project / "pack").mkdir()
    (project / "pack" / "__init__.py").write_text("")
    (project / "pack" / "part.py").write_text("def f(): return 1")
    bridge.register_helper("pack.part:f")
    assert bridge.helper("f") == 1
    (project / "pack" / "part.py").write_text("def f(): return 22")
    bridge.reload("pack")
    assert bridge.helper("f") == 22


# --- What they bring --------------------------------------------------------------------------


def test_a_helper_brings_what_it_closes_over_as_it_was(bridge):
    factor = 2

    @bridge.register_helper
    def times(x):
        return factor * x

    factor = 3
    assert bridge.helper("times", 5) == 10
    assert times(5) == 15


def test_a_helper_keeps_its_state_from_call_to_call(bridge):
    seen = []

    @bridge.register_helper
    def note(x):
        seen.append(x)
        return list(seen)

    assert [bridge.helper("note", 1), bridge.helper("note", 2)] == [[1], [1, 2]]


def test_helpers_use_modules_and_module_handles(bridge):
    math = bridge.module("math")
    root = math.sqrt

    @bridge.register_helper
    def hypot(a, b):
        return root(math.pow(a, 2) + statistics.mean([b]) ** 2)

    assert bridge.helper("hypot", 3, 4) == 5


def test_refs_come_as_arguments_and_results_follow_the_usual_rule(bridge):
    bridge.register_helper(lambda rows, x: rows.append(x) or rows, "add")
    rows = bridge.put([1])
    assert bridge.options(fetch=False).helper("add", rows, 2) is rows
    assert bridge.fetch(rows) == [1, 2]
    bridge.register_helper(lambda: iter([1, 2]), "items")
    assert list(bridge.helper("items")) == [1, 2]


def test_a_helper_that_holds_what_is_a_sessions_is_refused(bridge):
    for held in (bridge.put([1]), bridge.callback(len)):
        with pytest.raises(EncodeError, match="give it refs and callbacks as arg") as caught:
            bridge.register_helper(lambda held=held: held, "count")
        assert caught.value.where == "Helper 'count'.__defaults__[0]"
    assert bridge.helpers() == []


def test_what_a_helper_cannot_bring_is_named(bridge):
    lock = threading.Lock()
    with pytest.raises(EncodeError, match=r"Helper 'guarded'\.__closure__\['lock'\] \(lock\)"):
        bridge.register_helper(lambda: lock, "guarded")


def test_a_helper_that_is_too_large_is_refused_with_both_numbers(bridge):
    data = b"x" * MAX_HELPER
    with pytest.raises(EncodeError, match=rf"16,77\d,\d+ bytes.* {MAX_HELPER:,}; bridge\.put"):
        bridge.register_helper(lambda: len(data), "large")
    small = b"x" * (MAX_HELPER - 10_000)
    bridge.register_helper(lambda: len(small), "small")
    assert bridge.helper("small") == len(small)


# --- In the worker ----------------------------------------------------------------------------


def test_a_helper_registered_again_is_the_new_one(bridge):
    def make(value):
        bridge.register_helper(lambda: value, "number")

    make(1)
    assert bridge.helper("number") == 1
    make(2)
    assert bridge.helper("number") == 2
    assert [info.name for info in bridge.helpers()] == ["number"]
    make(3)
    make(4)
    assert bridge.helper("number") == 4


def test_a_fresh_worker_gets_the_helpers_again(local):
    local.register_helper(lambda: os.getpid(), "pid")
    local.register_helper(lambda: os.kill(os.getpid(), signal.SIGKILL), "die")
    local.register_helper(lambda: "unused", "unused")
    first = local.helper("pid")
    with pytest.raises(WorkerDiedError, match="helper die"):
        local.helper("die")
    second = local.helper("pid")
    local.restart()
    third = local.helper("pid")
    assert len({first, second, third}) == 3
    assert local.helper("unused") == "unused"


def test_a_helper_that_cannot_be_opened_there_names_itself(bridge, project):
    (project / "mine.py").write_text("raise RuntimeError('not yet')")
    bridge.register_helper("mine:f")
    bridge.register_helper("t_missing:g")
    for _ in range(2):
        with pytest.raises(EncodeError, match=r"Helper 'f' .*RuntimeError: not yet"):
            bridge.helper("f")
    with pytest.raises(EncodeError, match=r"Helper 'g' .*No module named 't_missing'"):
        bridge.helper("g")
    (project / "mine.py").write_text("def f(): return 'now'")
    assert bridge.helper("f") == "now", "it is tried again"


def test_a_helpers_error_is_the_users_with_its_lines(bridge):
    @bridge.register_helper
    def share(total, people):
        return total / people  # the line that fails

    with pytest.raises(ZeroDivisionError) as caught:
        bridge.helper("share", 1, 0)
    note = "".join(traceback.format_exception(caught.value))
    assert "return total / people  # the line that fails" in note
    assert "in share" in note
    assert "bridge_ext/kernel" not in note


def test_helpers_make_their_objects_in_the_session_of_the_call(bridge):
    bridge.register_helper(object, "thing")
    with bridge.session("shared"):
        ref = bridge.helper("thing")
    assert bridge.info(ref).session_id == "shared"


# --- In a notebook ----------------------------------------------------------------------------


def test_a_notebooks_helpers_are_listed_and_show_their_lines(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext bridge_ext")
        assert kernel.run("%bridge helpers").result["text/plain"] == "no helpers"
        kernel.run(
            "rate = 2\n"
            "@bridge.register_helper\n"
            "def convert(x: int, *, digits=2):\n"
            "    '''Converts.\n\n    More.'''\n"
            "    return round(rate * x / (digits - 1), digits)  # here\n"
            "bridge.register_helper(max, name='largest')\n"
        )
        shown = kernel.run("%bridge helpers").result
        lines = shown["text/plain"].splitlines()
        assert lines[1].split("  ")[0] == "convert(x: int, *, digits=2)"
        assert lines[1].endswith("Converts.")
        assert lines[2].startswith("largest(...)")
        assert "<td" in shown["text/html"]
        assert kernel.get("bridge.helper('convert', 3)") == 6.0
        cell = kernel.fail("bridge.helper('convert', 3, digits=1)")
        assert "return round(rate * x / (digits - 1), digits)  # here" in cell.traceback
        kernel.run("rate = 3")
        assert kernel.get("bridge.helper('convert', 3)") == 6.0
        kernel.run("bridge.register_helper(convert)\nbridge.restart()")
        assert kernel.get("bridge.helper('convert', 3)") == 9.0
    finally:
        kernel.close()
