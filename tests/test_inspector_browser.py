"""The session inspector, used as a user does: what it shows, and what its buttons do."""

from __future__ import annotations

import psutil
import pytest
from apps import LAB, NOTEBOOK_7
from inspectors import Inspector
from kernels import all_gone

pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser

everywhere = pytest.mark.parametrize("notebook", [LAB, NOTEBOOK_7], indirect=True)

LARGE = 200e6
"""Bytes of the array that is released."""
COMPUTES = """\
import os
open("computing", "w").close()
steps = 0
while not os.path.exists("enough"):
    steps += 1
print("went on")\
"""
MANY = """\
@bridge.register_helper
def many():
    import collections
    deques = [collections.deque(range(i % 100)) for i in range(9_990)]
    return deques + [collections.Counter(range(i)) for i in range(10)]

with bridge.session("many"):
    refs = bridge.helper("many")\
"""
WINDOW = 80
"""Rows in the page, at most, however many there are."""


def resident(pid):
    return psutil.Process(pid).memory_info().rss


# ---------------------------------------------------------------- what it shows
@everywhere
def test_it_shows_what_a_later_cell_made(notebook, inspector):
    inspector.says("no worker; the next call starts one")
    inspector.says("Nothing is held.")
    notebook.run("%%session shared\nrows = bridge.new('collections.deque', [1, 2])")
    inspector.shows("shared", "deque")
    session, ref = inspector.rows
    assert (session["kind"], session["shape"], session["index"]) == ("session", "1 ref", 2)
    assert (ref["kind"], ref["held"], ref["index"]) == ("ref", "rows", 3)
    assert ref["size"].endswith(" B")
    inspector.says("1 session · 1 ref")
    inspector.says("idle")
    assert inspector.pid == int(notebook.run("print(bridge.status().pid)").text)


def test_two_inspectors_follow_each_other(notebook, inspector):
    other = Inspector(notebook, notebook.run("bridge.inspect()"))
    notebook.run("rows = bridge.new('collections.deque', [1, 2])")
    inspector.shows("deque")
    other.shows("deque")
    other.find("nothing of this name")
    other.lacks("deque")
    inspector.release("deque")
    inspector.lacks("deque")
    other.find("")
    other.lacks("deque")


def test_a_cell_that_is_run_again_shows_its_inspector_as_it_was_left(notebook, inspector):
    notebook.run("rows = bridge.new('collections.deque', [1, 2])")
    inspector.find("deque")
    inspector.says("1 of 1 ref")
    again = Inspector(notebook, notebook.again(inspector.cell))
    assert again.filter.input_value() == "deque"
    again.shows("deque")


# ---------------------------------------------------------------- releasing
@everywhere
def test_a_ref_and_a_session_are_released_by_their_buttons(notebook, inspector):
    notebook.run("kept = bridge.new('tracked.Thing', 'one')")
    notebook.run("with bridge.session('shared'):\n    bridge.new('tracked.Thing', 'two');")
    inspector.shows("cell [3]", "shared")
    inspector.click("shared", "Fold")
    inspector.until(lambda: inspector.row("Thing").count() == 1, "a folded session")
    inspector.release("Thing")
    notebook.until_file("freed-one")
    inspector.lacks("Thing")
    assert "shared" in inspector.names
    inspector.release("shared")
    notebook.until_file("freed-two")
    inspector.lacks("shared")
    notebook.fail("kept.name").shows("RefNotFoundError")


def test_the_workers_memory_falls_with_what_is_released(notebook, inspector):
    notebook.run(f"ones = bridge.new('numpy.ones', {LARGE / 8:.0f})")
    inspector.shows("ndarray")
    inspector.until(lambda: inspector.rss > LARGE, "200 MB more of resident memory")
    assert resident(inspector.pid) > LARGE
    inspector.release("ndarray")
    inspector.until(lambda: resident(inspector.pid) < LARGE / 2, "less memory in the worker")
    inspector.until(lambda: inspector.rss < LARGE / 2, "less memory on show")
    inspector.lacks("ndarray")


@everywhere
def test_a_ref_is_released_while_the_kernel_computes(notebook, inspector):
    notebook.run("thing = bridge.new('tracked.Thing', 'one')")
    inspector.shows("Thing")
    cell = notebook.send(COMPUTES)
    notebook.until_file("computing")
    inspector.release("Thing")
    notebook.until_file("freed-one")
    inspector.lacks("Thing")
    assert not cell.done
    notebook.touch("enough")
    notebook.wait(cell).shows("went on")
    assert cell.status == "ok"


def test_a_named_session_that_names_hold_is_asked_about(notebook, inspector):
    notebook.run("%%session shared\nthing = bridge.new('tracked.Thing', 'one')")
    inspector.shows("shared")
    inspector.release("shared")
    inspector.says("thing still holds refs of it. Release?")
    inspector.click("shared", "Keep")
    inspector.until(lambda: not inspector.asks("shared"), "no question any more")
    assert "Release?" not in inspector.text
    assert notebook.run("print(thing.name)").text == "one\n"
    inspector.release("shared")
    inspector.says("thing still holds refs of it. Release?")
    assert not notebook.file("freed-one")
    inspector.click("shared", "Release")
    notebook.until_file("freed-one")
    inspector.lacks("shared")


def test_everything_is_released_when_that_is_confirmed(notebook, inspector):
    notebook.run("one = bridge.new('tracked.Thing', 'one')")
    notebook.run("%%session shared\ntwo = bridge.new('tracked.Thing', 'two')")
    inspector.shows("shared")
    inspector.refs.get_by_role("button", name="Release all").click()
    inspector.says("Release everything? 2 refs in 2 sessions")
    inspector.refs.get_by_role("button", name="Release them").click()
    notebook.until_file("freed-one")
    notebook.until_file("freed-two")
    inspector.says("Nothing is held.")


# ---------------------------------------------------------------- many
def test_of_ten_thousand_refs_the_page_holds_those_in_sight(notebook, inspector):
    notebook.run(MANY)
    inspector.says("1 session · 10,000 refs")
    assert inspector.sort("Object") == "ascending"
    inspector.until(lambda: inspector.names[1] == "Counter", "Counters first")
    assert inspector.drawn < WINDOW
    inspector.scroll_to_end()
    last = {"name": "deque", "index": 10_002}
    inspector.until(
        lambda: [row for row in inspector.rows if last.items() <= row.items()], "the end"
    )
    assert inspector.drawn < WINDOW
    inspector.find("counter")
    inspector.says("10 of 10,000 refs")
    inspector.until(lambda: inspector.names == ["many"] + ["Counter"] * 10, "what was found")
    assert inspector.sort("Size") == "descending"
    sizes = [inspector.bytes_of(row) for row in inspector.rows[1:]]
    assert sizes == sorted(sizes, reverse=True)
    inspector.click("many", "Fold")
    inspector.until(lambda: inspector.names == ["many"], "no more than its session")
    inspector.find("")
    inspector.until(lambda: len(inspector.rows) > 10, "all again")
    assert inspector.drawn < WINDOW


# ---------------------------------------------------------------- the worker
def test_the_stop_button_ends_a_call_and_the_inspector_goes_on(notebook, inspector):
    cell = notebook.send("bridge.call('tracked.block', 'called')")
    notebook.until_file("called")
    inspector.says("tracked.block")
    notebook.interrupt()
    notebook.wait(cell).shows("KeyboardInterrupt")
    inspector.says("idle")
    notebook.run("rows = bridge.new('collections.deque', [1, 2])")
    inspector.shows("deque")
    inspector.release("deque")
    inspector.lacks("deque")


def test_its_own_buttons_interrupt_and_restart_the_worker(notebook, inspector):
    notebook.run("%%session shared\nrows = bridge.new('collections.deque', [1, 2])")
    cell = notebook.send("bridge.call('tracked.block', 'called')")
    notebook.until_file("called")
    inspector.says("busy")
    inspector.worker.get_by_role("button", name="Interrupt").click()
    notebook.wait(cell).shows("KeyboardInterrupt")
    inspector.says("idle")
    inspector.shows("deque")
    worker = inspector.pid
    inspector.worker.get_by_role("button", name="Restart").click()
    inspector.says("1 ref in 1 session will be lost")
    inspector.worker.get_by_role("button", name="Restart the worker").click()
    all_gone(worker, within=5)
    inspector.lacks("deque")
    inspector.click("shared", "Dismiss")  # it is lost
    inspector.lacks("shared")
    notebook.fail("len(rows)").shows("SessionLostError")
    notebook.run("rows = bridge.new('collections.deque', [1, 2])")
    inspector.shows("deque")
    inspector.until(lambda: inspector.pid not in (None, worker), "another worker")
