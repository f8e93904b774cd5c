"""Displays in a real kernel: of refs, and of what the worker's code shows in the calling cell."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import nbformat
import pytest
from kernels import HISTORY, ROOT, Kernel
from nbclient import NotebookClient

SHOWS = '''
"""What the cells of the tests call in the worker."""

import os
import sys

import tracked


def both(text, html):
    from IPython.display import HTML, display
    print(f"before {text}")
    display(HTML(html))
    print(f"after {text}")


def met(mine, other, text):
    tracked.meet(mine, other)
    both(text, f"<b>{text}</b>")


def steps():
    from IPython.display import clear_output, display, update_display
    display("first", display_id="t-step")
    update_display("second", display_id="t-step")
    clear_output(wait=True)
    display("third")


def plot():
    import matplotlib.pyplot as plt
    plt.plot([1, 2])
    plt.show()


def figure():
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    plt.close(figure)
    return figure


def later(go):
    import threading
    def run():
        tracked.wait_for(go)
        print("printed late")
        display("shown late")
        tracked.touch("late-done")
    threading.Thread(target=run, daemon=True).start()


class Sized:
    def _repr_png_(self):
        return b"png", {"width": 3, "height": 4}


class Slow:
    def _repr_html_(self):
        tracked.wait_for("slow-end")
        return "<b>late</b>"
'''


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One kernel for all tests that leave it as they found it."""
    directory = tmp_path_factory.mktemp("kernel")
    (directory / "shows.py").write_text(SHOWS)
    kernel = Kernel(directory)
    try:
        kernel.run("%load_ext bridge_ext\nbridge.call('math.sqrt', 4);")
        kernel.run("import asyncio, threading, tracked")
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def kernel(shared):
    """The shared kernel, with no name left from another test."""
    for file in shared.directory.glob("*-*"):
        file.unlink()
    yield shared
    shared.run("for name in [n for n in globals() if n.startswith('t_')]: del globals()[name]")


def shown(cell):
    """What a cell shows, in order: text, and HTML or text of what is displayed."""
    out = []
    for kind, content in cell.messages:
        if kind == "stream":
            text = HISTORY.sub("", content["text"])
            if out and out[-1][0] == "text":
                out[-1] = ("text", out[-1][1] + text)
            elif text:
                out.append(("text", text))
        elif "data" in content:
            data = content["data"]
            out.append((kind, data.get("text/html") or data.get("text/plain")))
        else:
            out.append((kind, None))
    return out


def around(text):
    """What `shows.both` shows."""
    return [
        ("text", f"before {text}\n"),
        ("display_data", f"<b>{text}</b>"),
        ("text", f"after {text}\n"),
    ]


# ---------------------------------------------------------------- the worker's code
def test_what_the_worker_displays_is_in_the_cell_in_its_place(kernel):
    cell = kernel.run("bridge.call('shows.both', 'x', '<b>x</b>')")
    assert shown(cell) == around("x")


def test_the_kernels_own_text_and_displays_keep_their_place_too(kernel):
    cell = kernel.run(
        "print('mine')\n"
        "bridge.call('shows.both', 'x', '<b>x</b>')\n"
        "display('mine too')\n"
        "print('end')"
    )
    assert shown(cell) == [
        ("text", "mine\nbefore x\n"),
        ("display_data", "<b>x</b>"),
        ("text", "after x\n"),
        ("display_data", "'mine too'"),
        ("text", "end\n"),
    ]


def test_a_function_of_the_notebook_may_display(kernel):
    cell = kernel.run("def t_f(x): display(x)\nbridge.put(t_f)([1, 2]);")
    assert shown(cell) == [("display_data", "[1, 2]")]


def test_pyplot_shows_a_picture(kernel):
    cell = kernel.run("bridge.call('shows.plot')")
    (data,) = cell.displays
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == "<Figure size 640x480 with 1 Axes>"


def test_displays_are_updated_and_cleared(kernel):
    cell = kernel.run("bridge.call('shows.steps')")
    assert shown(cell) == [
        ("display_data", "'first'"),
        ("update_display_data", "'second'"),
        ("clear_output", None),
        ("display_data", "'third'"),
    ]
    (_, first), (_, second), (_, cleared), _ = cell.messages
    assert first["transient"] == second["transient"] == {"display_id": "t-step"}
    assert cleared == {"wait": True}


def test_a_script_is_left_out(kernel):
    cell = kernel.run(
        "bridge.call('shows.both', 'x', '<p>x</p><script>alert(1)</script>')\n"
        "bridge.call('IPython.display.display', {'application/javascript': 'alert(1)'}, raw=True)"
    )
    assert cell.displays[0]["text/html"] == "<p>x</p>"
    assert cell.displays[1] == {"text/plain": "<application/javascript: not shown from a worker>"}


def test_an_async_cell_gets_its_displays(kernel):
    cell = kernel.run(
        "await asyncio.sleep(0)\nbridge.call('shows.both', 'x', '<b>x</b>')\nawait asyncio.sleep(0)"
    )
    assert shown(cell) == around("x")


def test_a_task_and_a_thread_of_a_cell_show_in_it(kernel):
    cell = kernel.run(
        "async def t_f():\n"
        "    await asyncio.to_thread(bridge.call, 'shows.both', 'x', '<b>x</b>')\n"
        "await asyncio.create_task(t_f())"
    )
    assert shown(cell) == around("x")


def test_capture_takes_the_workers_displays(kernel):
    cell = kernel.run("%%capture t_got\nbridge.call('shows.both', 'x', '<b>x</b>')")
    assert cell.messages == []
    assert kernel.get("t_got.stdout") == "before x\nafter x\n"
    assert kernel.get("[o.data['text/html'] for o in t_got.outputs]") == ["<b>x</b>"]
    assert shown(kernel.run("bridge.call('shows.both', 'y', '<b>y</b>')")) == around("y")


def test_capture_takes_the_display_of_a_ref(kernel):
    cell = kernel.run("%%capture t_got\nbridge.new('list', [1, 2])")
    assert cell.messages == []
    assert kernel.get("t_got.outputs[0].data") == {"text/plain": "[1, 2]"}


def test_of_two_subshells_each_gets_its_own(kernel):
    ids = [kernel.subshell() for _ in range(2)]
    for n in range(3):
        first = kernel.send(f"bridge.call('shows.met', 'a-{n}', 'b-{n}', 'one')", subshell=ids[0])
        kernel.until_file(f"a-{n}")
        second = kernel.send("bridge.call('shows.both', 'two', '<b>two</b>')", subshell=ids[1])
        third = kernel.send("bridge.call('shows.both', 'three', '<b>three</b>')")
        kernel.touch(f"b-{n}")
        for cell in (first, second, third):
            kernel.wait(cell)
        assert shown(first) == around("one")
        assert shown(second) == around("two")
        assert shown(third) == around("three")


def test_what_a_thread_of_the_worker_shows_late_goes_to_the_cell_that_started_it(kernel):
    cell = kernel.run("bridge.call('shows.later', 'go-now')")
    assert shown(cell) == []
    other = kernel.run("bridge.call('shows.both', 'x', '<b>x</b>')")
    assert shown(other) == around("x")
    kernel.touch("go-now")
    kernel.until_file("late-done")
    kernel._read_until(lambda: cell.displays, "the late display", 10)
    assert shown(cell) == [("text", "printed late\n"), ("display_data", "'shown late'")]


def test_a_bridge_made_by_hand_shows_in_the_notebook_too(kernel):
    cell = kernel.run(
        "import bridge_ext\n"
        "with bridge_ext.Bridge() as t_bridge:\n"
        "    t_bridge.call('shows.both', 'x', '<b>x</b>')\n"
        "with bridge_ext.Bridge('memory') as t_bridge:\n"
        "    t_bridge.call('shows.both', 'y', '<b>y</b>')\n"
    )
    assert shown(cell) == [
        ("text", "before x\n"),
        ("display_data", "<b>x</b>"),
        ("text", "after x\nbefore y\n"),
        ("display_data", "<b>y</b>"),
        ("text", "after y\n"),
    ]


# ---------------------------------------------------------------- refs
def test_a_ref_on_a_figure_is_its_picture(kernel):
    cell = kernel.run("t_figure = bridge.call('shows.figure')\nt_figure")
    assert base64.b64decode(cell.result["image/png"]).startswith(b"\x89PNG")
    assert cell.result["text/plain"] == "<Figure size 640x480 with 1 Axes>"


def test_the_size_of_a_picture_comes_with_it(kernel):
    cell = kernel.run("bridge.new('shows.Sized')")
    (content,) = [c for kind, c in cell.messages if kind == "execute_result"]
    assert content["data"]["image/png"] == base64.b64encode(b"png").decode()
    assert content["metadata"] == {"image/png": {"width": 3, "height": 4}}


def test_a_ref_shows_in_any_cell_what_it_shows(kernel):
    kernel.run("t_x = bridge.call('IPython.display.HTML', '<b>x</b>')")
    assert kernel.run("t_x").result["text/html"] == "<b>x</b>"
    assert kernel.run("await asyncio.sleep(0)\nt_x").result["text/html"] == "<b>x</b>"
    assert kernel.run("t_x", subshell=kernel.subshell()).result["text/html"] == "<b>x</b>"
    assert kernel.run("display(t_x)").displays[0]["text/html"] == "<b>x</b>"
    assert kernel.run("%%session t1\nbridge.move(t_x, 't1')").result["text/html"] == "<b>x</b>"
    kernel.run("bridge.release('t1');")


def test_a_display_that_takes_long_is_the_inert_text_and_the_worker_goes_on(kernel):
    cell = kernel.run("t_slow = bridge.new('shows.Slow')\nt_slow")
    assert cell.result == {"text/plain": "<ref Slow>"}
    kernel.touch("slow-end")
    assert kernel.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"
    assert kernel.run("t_slow").result["text/html"] == "<b>late</b>"


def test_a_widget_of_the_worker_is_its_text(kernel):
    cell = kernel.run("bridge.call('ipywidgets.IntSlider', 3)")
    assert set(cell.result) == {"text/plain"}
    assert "IntSlider" in cell.result["text/plain"]


# ---------------------------------------------------------------- other places
def test_an_executed_notebook_holds_what_was_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ip"))
    (tmp_path / "shows.py").write_text(SHOWS)
    (tmp_path / "tracked.py").write_text("")
    cells = [
        "%load_ext bridge_ext",
        "bridge.call('shows.both', 'x', '<b>x</b>')",
        "bridge.call('shows.plot')",
        "bridge.call('shows.steps')",
        "bridge.call('IPython.display.Markdown', '*x*')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.validate(notebook)
    _, both, plot, steps, markdown = [cell.outputs for cell in notebook.cells]
    whole = "".join(o.get("text") or o["data"]["text/html"] for o in both)
    assert whole == "before x\n<b>x</b>after x\n"
    assert "image/png" in plot[0].data
    assert [o.data["text/plain"] for o in steps] == ["'third'"]
    assert markdown[0].data["text/markdown"] == "*x*"


def test_in_a_terminal_ipython_shows_the_text(tmp_path):
    (tmp_path / "shows.py").write_text(SHOWS)
    (tmp_path / "tracked.py").write_text("")
    code = "get_ipython().run_line_magic('load_ext', 'bridge_ext'); bridge.call('shows.steps')"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT, "IPYTHONDIR": str(tmp_path / "ip")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    shown = [line for line in done.stdout.split() if line.startswith("'")]
    assert shown == ["'first'", "'second'", "'third'"], done.stdout
