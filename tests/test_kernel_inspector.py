"""A real kernel with an inspector: what it sends, when, and what its front end's messages do."""

from __future__ import annotations

import time

import pytest
from kernels import PATIENCE, Kernel, all_gone

LOAD = "%load_ext bridge_ext\nimport tracked"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    kernel.run(LOAD)
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(shared):
    yield shared
    shared.run("bridge.release_all();")


class Front:
    """A front end that shows one inspector."""

    def __init__(self, kernel, code="bridge.inspect()", **options):
        self.kernel = kernel
        self.cell = kernel.run(code, **options)
        data = self.cell.result["application/vnd.jupyter.widget-view+json"]
        self.id = data["model_id"]
        self.subshell = None

    @property
    def states(self):
        """Every state that was sent, in order."""
        found = []
        for message in self.kernel.comms:
            content = message["content"]
            if content["comm_id"] == self.id:
                sent = content["data"].get("state") or {}
                if "state" in sent:
                    found.append(sent["state"])
        return found

    @property
    def state(self):
        return self.states[-1]

    @property
    def rows(self):
        return {row["key"]: row for row in self.state["windows"][""]["rows"]}

    def row(self, name):
        return next((row for row in self.rows.values() if row["name"] == name), None)

    def do(self, what, **more):
        self.kernel.send_custom(self.id, {"do": what, **more}, subshell=self.subshell)

    def until(self, true, what):
        self.kernel.watch(true, what)


@pytest.fixture
def front(kernel):
    return Front(kernel)


# ---------------------------------------------------------------- what is displayed
def test_where_no_widget_shows_there_are_tables(kernel):
    kernel.run("df = bridge.new('collections.OrderedDict', {'one': 1})")
    with_names = Front(kernel).cell.result
    assert with_names["text/plain"].splitlines()[0].startswith("1 session, 1 ref, ")
    assert "df" in with_names["text/plain"]
    assert "<table>" in with_names["text/html"]
    assert str(kernel.get("bridge.status().pid")) not in with_names["text/plain"]
    kernel.run("del df")


def test_the_magic_shows_it_too(kernel):
    assert Front(kernel, "%bridge inspect").state["sessions"] == 0
    assert kernel.fail("%bridge inspect now").error["ename"] == "BridgeUsageError"


def test_the_tables_of_the_magics_say_ages_when_asked(kernel):
    kernel.run("held = bridge.new('list')")
    assert "idle" not in kernel.run("%bridge sessions").result["text/plain"]
    for line in ("%bridge sessions -l", "%bridge refs -l", "%bridge refs --times"):
        assert "idle" in kernel.run(line).result["text/plain"]
    assert "in refs" in kernel.run("%bridge status").result["text/plain"]
    assert kernel.fail("%bridge sessions shared").error["ename"] == "BridgeUsageError"
    kernel.run("del held")


# ---------------------------------------------------------------- live
def test_names_that_hold_a_ref_are_found_as_cells_end(kernel, front):
    kernel.run("from bridge_ext import inspecting; inspecting._STEADY = 1000")  # by nothing else
    kernel.run("first = bridge.new('set')")
    front.until(lambda: front.row("set") and front.row("set")["held"] == "first", "its name")
    kernel.run("second = {'a': first}\ndel first")
    front.until(lambda: front.row("set")["held"] == "second['a']", "its other name")
    kernel.run("del second")
    front.until(lambda: front.row("set") is None, "its end")
    kernel.run("inspecting._STEADY = 1.0")


def test_the_session_in_force_is_marked(kernel, front):
    kernel.run("%session sticky\nkept = bridge.new('list')")
    front.until(
        lambda: front.row("sticky") and "in force" in front.row("sticky")["badges"], "the mark"
    )
    kernel.run("%session --clear")
    front.until(lambda: "in force" not in front.row("sticky")["badges"], "that it is not")


def test_it_is_live_while_a_cell_computes(kernel, front):
    kernel.run("import os, time")
    cell = kernel.send(
        "made = bridge.new('list')\nwhile not os.path.exists('seen'):\n    time.sleep(0.001)"
    )
    front.until(lambda: front.row("list"), "the ref, while the cell runs")
    assert not cell.done
    assert "running" in next(iter(front.rows.values()))["badges"]
    kernel.touch("seen")
    kernel.wait(cell)
    kernel.run("del made")


def test_a_loop_of_many_calls_is_told_in_few_messages(kernel, front):
    first = len(front.states)
    start = time.monotonic()
    kernel.run("many = [bridge.new('list') for _ in range(2000)]")
    front.until(lambda: front.state["refs"] == 2000, "all of them")
    spent = time.monotonic() - start
    assert len(front.states) - first <= spent / 0.15 + 5, "one message for each window of time"
    kernel.run("del many")


# ---------------------------------------------------------------- what its user does
def test_a_release_is_done_while_a_cell_runs_and_the_cell_goes_on(kernel, front):
    front.subshell = kernel.subshell()
    kernel.run("big = bridge.new('bytearray', 80_000_000)\nimport os, time")
    front.until(lambda: front.row("bytearray"), "the ref")
    before = front.state["worker"]["rss"]
    cell = kernel.send("while not os.path.exists('released'):\n    time.sleep(0.001)")
    front.do("release", key=front.row("bytearray")["key"])
    front.until(lambda: front.row("bytearray") is None, "its end")
    front.until(lambda: front.state["worker"]["rss"] < before - 70_000_000, "its memory")
    assert not cell.done
    kernel.touch("released")
    kernel.wait(cell)
    assert cell.status == "ok"
    assert kernel.fail("len(big)").error["ename"] == "RefNotFoundError"


def test_the_interrupt_button_reaches_a_call_of_a_cell_and_nothing_else(kernel, front):
    front.subshell = kernel.subshell()
    kernel.run("kept = bridge.new('list', [1])")
    cell = kernel.send("bridge.call('tracked.block', 'blocked')")
    kernel.until_file("blocked")
    front.until(lambda: front.state["worker"]["what"] == "tracked.block", "the call")
    front.do("interrupt")
    kernel.wait(cell)
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert kernel.get("list(kept)") == [1]


def test_state_that_was_sent_under_a_cell_does_not_tie_messages_to_it(kernel, front):
    """ipykernel takes messages to where the cell runs under which a comm spoke last."""
    front.subshell = kernel.subshell()
    cell = kernel.send("bridge.call('tracked.block', 'blocked-again')")
    kernel.until_file("blocked-again")
    front.until(lambda: front.state["worker"]["status"] == "busy", "a state sent meanwhile")
    front.do("filter", text="seen at once")
    front.until(lambda: front.state["filter"] == "seen at once", "the answer, while it runs")
    assert not cell.done
    front.do("interrupt")
    kernel.wait(cell)


# ---------------------------------------------------------------- its life
def closed(kernel, front):
    return any(
        m["msg_type"] == "comm_close" and m["content"]["comm_id"] == front.id for m in kernel.comms
    )


def test_a_cell_that_runs_again_takes_the_place_of_its_inspector(kernel):
    first = Front(kernel, cell_id="one")
    first.do("sort", by="name")
    first.until(lambda: first.state["sort"] == ["name", "ascending"], "the order")
    other = Front(kernel, cell_id="two")
    again = Front(kernel, cell_id="one")
    first.until(lambda: closed(kernel, first), "the end of the first")
    assert again.state["sort"] == ["name", "ascending"]
    assert not closed(kernel, other)


def test_unloading_ends_it_and_says_so(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run(LOAD)
        kernel.run("held = bridge.new('list')")
        front = Front(kernel)
        kernel.run("%unload_ext bridge_ext")
        front.until(lambda: front.state["over"], "the end")
        assert "was closed" in front.state["over"]
        front.do("release_all")
        kernel.run("%load_ext bridge_ext\nheld = bridge.new('list')")
        again = Front(kernel)
        again.until(lambda: again.row("list"), "another one")
        threads = "sum(t.name == 'bridge-inspection' for t in __import__('threading').enumerate())"
        assert kernel.get(threads) == 1
    finally:
        kernel.close()


def test_a_kernel_with_an_inspector_ends_as_soon_as_without(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run(LOAD)
        kernel.run("held = bridge.new('list')")
        Front(kernel)
        worker = kernel.get("bridge.status().pid")
        start = time.monotonic()
        kernel.shutdown()
        assert time.monotonic() - start < PATIENCE / 10
        all_gone(worker, within=2)
    finally:
        kernel.close()
