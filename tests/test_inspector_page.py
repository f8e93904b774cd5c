"""The session inspector in its page: its keys and looks, and what it outlives."""

from __future__ import annotations

import json

import pytest
from apps import LAB, NOTEBOOK_7
from inspectors import REGION, Inspector

pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser

everywhere = pytest.mark.parametrize("notebook", [LAB, NOTEBOOK_7], indirect=True)

WIDTHS = (600, 900, 1400)
"""CSS pixels of the window in the pictures."""
STOPS = 30
"""Presses of the Tab key, at most, from a cell to the list in its output."""


@pytest.fixture
def filled(notebook, inspector):
    """An inspector that shows a named session with a deque above an auto-session with a Thing."""
    notebook.run("thing = bridge.new('tracked.Thing', 'one')")
    notebook.run("%%session shared\nrows = bridge.new('collections.deque', [1, 2])")
    inspector.until(lambda: inspector.names == ["shared", "deque", "cell [3]", "Thing"], "rows")
    return inspector


# ---------------------------------------------------------------- keys
def tab_into_list(notebook, inspector):
    """Press Tab from the inspector's cell until a row has the focus."""
    inspector.cell.element.locator(".jp-InputPrompt").click()
    for _ in range(STOPS):
        notebook.page.keyboard.press("Tab")
        if inspector.focus in inspector.names:
            return
    raise AssertionError(f"Tab leads to {inspector.focus!r}")


def goes(notebook, inspector, key, name):
    """Press a key that leads to the row, or whatever else, of this name."""
    notebook.page.keyboard.press(key)
    inspector.until(lambda: inspector.focus == name, f"{name!r} having the focus after {key}")


@everywhere
def test_keys_lead_through_the_list_and_fold_and_filter_it(notebook, filled):
    press = notebook.page.keyboard.press
    tab_into_list(notebook, filled)
    goes(notebook, filled, "Home", "shared")
    goes(notebook, filled, "ArrowDown", "deque")
    goes(notebook, filled, "ArrowLeft", "shared")
    press("ArrowLeft")
    filled.lacks("deque")
    press("ArrowRight")
    filled.shows("deque")
    goes(notebook, filled, "End", "Thing")
    goes(notebook, filled, "/", "Filter the refs")
    notebook.page.keyboard.type("deque")
    filled.until(lambda: filled.names == ["shared", "deque"], "what was found")
    press("Escape")
    filled.shows("Thing")
    goes(notebook, filled, "Escape", "deque")


@everywhere
def test_keys_select_release_and_answer_and_none_reaches_the_notebook(notebook, filled):
    press = notebook.page.keyboard.press
    cells = notebook.page.locator(".jp-Cell").count()
    tab_into_list(notebook, filled)
    goes(notebook, filled, "End", "Thing")
    press("Space")
    filled.says("Release selected (1)")
    press("Delete")
    notebook.until_file("freed-one")
    filled.lacks("Thing")
    goes(notebook, filled, "Home", "shared")
    press("Delete")
    filled.says("rows still holds refs of it. Release?")
    press("Escape")
    filled.until(lambda: not filled.asks("shared"), "no question any more")
    press("Delete")
    filled.says("Release?")
    press("x")  # which would cut the cell
    press("Enter")
    filled.lacks("shared", "deque")
    assert notebook.page.locator(".jp-Cell").count() == cells


# ---------------------------------------------------------------- looks
def test_it_looks_right_in_light_and_dark_and_at_any_width(notebook, filled):
    notebook.command("application:toggle-left-area")
    filled.row("Thing").click()
    filled.says("Release selected (1)")
    filled.release("shared")
    filled.says("Release?")
    grounds = []
    for theme in ("light", "dark"):
        notebook.theme(dark=theme == "dark")
        for width in WIDTHS:
            notebook.resize(width)
            notebook.screenshot(f"{theme}-{width}")
            assert filled.cut_off == []
        assert notebook.axe(REGION) == []
        grounds.append(filled.root.evaluate("root => getComputedStyle(root).backgroundColor"))
    assert grounds[0] != grounds[1]


# ---------------------------------------------------------------- what it outlives
@everywhere
def test_after_a_reload_of_the_page_it_goes_on_as_it_was_left(notebook, filled):
    filled.click("shared", "Fold")
    filled.lacks("deque")
    filled.sort("Object")
    filled.find("thing")
    filled.lacks("shared")
    notebook.reload()
    filled.root.wait_for()
    filled.shows("Thing")
    assert filled.filter.input_value() == "thing"
    filled.find("")
    filled.until(lambda: filled.names == ["cell [3]", "Thing", "shared"], "its folds and order")
    filled.release("Thing")
    notebook.until_file("freed-one")
    notebook.run("more = bridge.new('collections.Counter')")
    filled.shows("Counter")


def test_it_says_that_the_kernel_was_restarted(notebook, filled):
    notebook.restart()
    filled.says("The kernel was restarted.")
    assert filled.over
    notebook.run("%load_ext bridge_ext")
    fresh = Inspector(notebook, notebook.run("bridge.inspect()"))
    fresh.says("Nothing is held.")


def test_it_is_over_with_the_extension(notebook, filled):
    notebook.run("%unload_ext bridge_ext")
    filled.says("This inspector is over")
    assert filled.over
    assert notebook.axe(REGION) == []


def test_without_a_kernel_its_tables_are_there(lab, notebook):
    from nbconvert import HTMLExporter

    notebook.run("%load_ext bridge_ext\nrows = bridge.new('collections.deque', [1, 2])")
    Inspector(notebook, notebook.run("bridge.inspect()")).shows("deque")
    notebook.save()
    file = notebook.directory / "notebook.ipynb"
    page, _ = HTMLExporter().from_filename(file)
    assert ">deque</td>" in page
    content = json.loads(file.read_text())
    content["metadata"]["made"] = "elsewhere"  # so that it is not trusted here
    with lab.notebook("elsewhere", content=content) as other:
        other.page.get_by_role("cell", name="deque").wait_for()
