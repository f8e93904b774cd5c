"""What a user of Notebook 7 sees: the same extension, in another application."""

from __future__ import annotations

import pytest
from apps import NOTEBOOK_7

pytest_plugins = ["browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("notebook", [NOTEBOOK_7], indirect=True),
]


def test_the_first_cell_of_the_readme_shows_its_value(notebook):
    cell = notebook.run("%load_ext bridge_ext\n%bridge call math.sqrt 4")
    cell.shows("2.0")
    assert cell.prompt == "[1]:"


def test_the_stop_button_ends_a_call_and_keeps_the_ref(notebook):
    notebook.run("%load_ext bridge_ext\nrows = bridge.new('collections.deque', [1, 2])")
    cell = notebook.send("bridge.call('tracked.block', 'called')")
    notebook.until_file("called")
    notebook.interrupt()
    notebook.wait(cell).shows("KeyboardInterrupt")
    assert cell.status == "error"
    notebook.run("rows.append(3)\nlist(rows)").shows("[1, 2, 3]")


def test_a_widget_reaches_the_kernel_also_after_a_reload(notebook):
    cell = notebook.run("import ipywidgets\nslider = ipywidgets.IntSlider(41)\nslider")
    number = cell.widget.locator(".widget-readout")  # arrow keys move between cells here
    number.fill("42")
    number.press("Enter")
    notebook.run("print(slider.value)").shows("42")
    notebook.reload()
    number.fill("43")
    number.press("Enter")
    notebook.run("print(slider.value)").shows("43")
