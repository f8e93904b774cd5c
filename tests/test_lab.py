"""What a user of JupyterLab sees: real cells, keys and buttons, in a real browser."""

from __future__ import annotations

import time

import pytest
from kernels import all_gone, gone

pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser

SOON = 3.0
"""Seconds from a click on the stop button until the next cell has run."""


@pytest.fixture
def loaded(notebook):
    """A notebook with the extension, and a worker."""
    notebook.run("%load_ext bridge_ext\nbridge.call('os.getpid');")
    return notebook


def worker_of(notebook):
    """The pid of the worker that runs now."""
    return int(notebook.run("print(bridge.call('os.getpid'))").text)


def as_records(rows):
    """The rows of a table by the heads of its columns."""
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


# ---------------------------------------------------------------- what calls show
def test_the_first_cell_of_the_readme_shows_its_value(notebook):
    cell = notebook.run("%load_ext bridge_ext\n%bridge call math.sqrt 4")
    cell.shows("2.0")
    assert cell.prompt == "[1]:"


def test_a_remote_table_shows_as_the_table_it_is(loaded):
    loaded.run("df = bridge.new('pandas.DataFrame', {'zone': ['north', 'south'], 'fare': [3, 5]})")
    table = loaded.run("df")
    table.shows("north")
    assert table.rows == [["", "zone", "fare"], ["0", "north", "3"], ["1", "south", "5"]]
    number = loaded.run("df.fare.max() + 0.5")
    number.shows("5.5")
    assert number.html == []


def test_a_picture_in_what_a_ref_shows_is_drawn(loaded):
    cell = loaded.run("bridge.call('matplotlib.pyplot.get_cmap', 'viridis')")
    cell.shows("viridis")
    (image,) = cell.images
    assert image.startswith(b"\x89PNG")
    drawn = "image => image.complete && image.naturalWidth"
    assert cell.output.locator("img").evaluate(drawn) > 100


def test_a_session_of_a_cell_is_in_the_table_with_what_it_holds(loaded):
    cell = loaded.run(
        "%%session shared\n"
        "rows = bridge.new('collections.deque', [1, 2])\n"
        "print(bridge.current_session())"
    )
    cell.shows("shared")
    cell = loaded.run("%bridge sessions")
    cell.shows("shared")
    (shared,) = [row for row in as_records(cell.rows) if row["session"] == "shared"]
    assert (shared["kind"], shared["status"], shared["refs"]) == ("named", "active", "1")
    elsewhere = loaded.fail("bridge.call('len', rows)")
    elsewhere.shows("SessionMismatchError")


# ---------------------------------------------------------------- output
def test_what_the_worker_prints_is_there_while_the_call_runs(loaded):
    loaded.run(
        "@bridge.register_helper\n"
        "def speak():\n"
        "    import tracked\n"
        "    print('before')\n"
        "    tracked.wait_for('seen')\n"
        "    print('after')"
    )
    cell = loaded.send("bridge.helper('speak')")
    cell.shows("before")
    assert not cell.done
    assert cell.prompt == "[*]:"
    assert "after" not in cell.text
    loaded.touch("seen")
    loaded.wait(cell).shows("after")


# ---------------------------------------------------------------- stop, restart, death
def test_the_stop_button_ends_the_call_and_the_queue_and_loses_no_ref(loaded):
    loaded.run("rows = bridge.new('collections.deque', [1, 2])")
    cell = loaded.send("bridge.call('tracked.block', 'called')")
    queued = [loaded.send("print('queued')"), loaded.send("print('queued too')")]
    loaded.until_file("called")
    start = time.monotonic()
    loaded.interrupt()
    loaded.wait(cell)
    for each in queued:
        assert loaded.wait(each).status == "aborted"
    loaded.run("rows.append(3)\nlist(rows)").shows("[1, 2, 3]")
    assert time.monotonic() - start < SOON
    assert cell.status == "error"
    cell.shows("KeyboardInterrupt")
    assert [each.text for each in queued] == ["", ""]
    assert [each.prompt for each in queued] == ["[ ]:", "[ ]:"]


def test_a_restart_ends_the_worker(loaded):
    worker = worker_of(loaded)
    assert not gone(worker)
    loaded.restart()
    all_gone(worker, within=1)
    loaded.fail("bridge").shows("NameError")
    loaded.run("%load_ext bridge_ext\n%bridge call math.sqrt 4").shows("2.0")


def test_a_worker_that_dies_is_an_error_in_that_cell_alone(loaded):
    worker = worker_of(loaded)
    cell = loaded.fail("bridge.call('os.abort')")
    cell.shows("WorkerDiedError")
    cell.shows("SIGABRT")
    assert worker_of(loaded) != worker
    assert gone(worker)


# ---------------------------------------------------------------- help while typing
def test_tab_offers_what_the_bridge_can_do(loaded):
    assert "call" in loaded.complete("bridge.ca")
    offered = loaded.complete("bridge.re")
    assert {"refs", "release", "release_all", "register_helper"} <= set(offered)
    assert "call" not in offered


def test_shift_tab_shows_signature_and_docstring(loaded):
    tooltip = loaded.tooltip("bridge.call(")
    assert "Signature: bridge.call(path" in tooltip
    assert "Call a function in the worker." in tooltip


def test_tab_knows_a_remote_table(loaded):
    loaded.run("df = bridge.new('pandas.DataFrame', {'zone': ['north'], 'fare': [3]})")
    assert {"groupby", "group"} & {name.split("(")[0] for name in loaded.complete("df.grou")}
    columns = loaded.complete('df["')
    assert [name for name in columns if "zone" in name]
    assert [name for name in columns if "fare" in name]


def test_tab_knows_the_words_of_the_magics(loaded):
    loaded.run("%%session shared\nrows = bridge.new('list')")
    assert "sessions" in loaded.complete("%bridge sess")
    assert [path for path in loaded.complete("%bridge call math.sq") if "math.sqrt" in path]
    assert "shared" in loaded.complete("%bridge call -s sha")


def test_shift_tab_shows_the_help_of_a_remote_method(loaded):
    loaded.run("df = bridge.new('pandas.DataFrame', {'zone': ['north'], 'fare': [3]})")
    tooltip = loaded.tooltip("df.groupby(")
    assert "by" in tooltip
    assert "Group DataFrame" in tooltip


# ---------------------------------------------------------------- what worker code shows
def test_a_plot_drawn_in_the_worker_is_seen_in_the_cell(loaded):
    loaded.run(
        "@bridge.register_helper\n"
        "def draw():\n"
        "    import matplotlib.pyplot as plt\n"
        "    plt.plot([1, 4, 9])\n"
        "    print('drawn')\n"
        "    plt.show()"
    )
    cell = loaded.run("bridge.helper('draw')")
    cell.shows("drawn")
    (image,) = cell.images
    assert image.startswith(b"\x89PNG")


def test_a_call_that_does_not_stop_is_named_and_a_second_stop_ends_its_worker(loaded):
    loaded.run("rows = bridge.new('collections.deque', [1, 2])")
    cell = loaded.send("bridge.call('tracked.hold_gil', 'held')")
    loaded.until_file("held")
    loaded.interrupt()
    cell.shows("Interrupt again to end its worker")
    cell.shows("Would be lost: 1 ref")
    loaded.interrupt()
    loaded.wait(cell)
    cell.shows("KeyboardInterrupt")
    loaded.run("%bridge call math.sqrt 4").shows("2.0")
