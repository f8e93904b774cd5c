"""What the worker's code shows, and what it cannot ask: IPython's functions, pyplot, prompts."""

from __future__ import annotations

import base64
import builtins
import contextlib
import gc
import inspect
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref
from functools import partial

import IPython.core.display_functions as original
import pytest
from conftest import DEADLINE, eventually

import bridge_ext
from bridge_ext import CallTimeoutError, WorkerDiedError
from bridge_ext.kernel.backends.base import Deadline
from bridge_ext.kernel.display import Cleared, Shown
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.framing import Kind
from bridge_ext.kernel.wire.heads import notice_head
from bridge_ext.kernel.wire.limits import MAX_DISPLAY
from bridge_ext.kernel.worker import hooks
from bridge_ext.kernel.worker.publishing import Publisher

MODULE = '''
"""Shows things, as the code of users does."""

import os
import subprocess
import sys
import threading
import time


class Thing:
    def _repr_html_(self): return "<b>thing</b>"


def one(value, **options):
    from IPython.display import display
    return display(value, **options)


def builtin(value):
    display(value)


def with_print(rounds):
    from IPython.display import HTML, display
    for n in range(rounds):
        print(f"before {n}")
        display(HTML(f"<b>{n}</b>"))
        print(f"after {n}", file=sys.stderr)


def large(rounds):
    data = {"text/plain": "x" * 3_000_000}
    from IPython.display import display
    for n in range(rounds):
        display(data, raw=True)


def unflushed():
    from IPython.display import display
    sys.stdout.write("no newline")
    os.write(1, b", and from below")
    display("x")
    sys.stdout.write("behind")


def c_level():
    from IPython.display import display
    subprocess.run(["echo", "a child"])
    display("x")
    subprocess.run(["echo", "another"])


def redirected(path):
    """Descriptor 1 is a file while something is shown."""
    from IPython.display import display
    saved = os.dup(1)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(fd, 1)
    try:
        print("to the file")
        display("x")
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(fd)
        os.close(saved)


def without_stdout():
    from IPython.display import display
    before, sys.stdout = sys.stdout, None
    try:
        display("x")
    finally:
        sys.stdout = before


def updated():
    from IPython.display import display, update_display, clear_output
    handle = display("first", display_id=True)
    handle.update("second")
    handle.display("third")
    update_display("fourth", display_id=handle.display_id)
    clear_output(wait=True)
    clear_output()
    return handle.display_id


def own_handle():
    from IPython.display import DisplayHandle
    handle = DisplayHandle("mine")
    handle.display("a")
    handle.update("b")


class Itself:
    def _ipython_display_(self):
        display("shown by itself")


class Failing:
    def __repr__(self): return "failing"
    def _repr_html_(self): raise ValueError("no html today")


def published(data, metadata=None, **options):
    from IPython.display import publish_display_data
    publish_display_data(data, metadata, **options)


def in_threads(count, each):
    from IPython.display import display
    def run(name):
        for n in range(each):
            print(f"{name}-{n}")
            display(f"{name}-{n}")
    threads = [threading.Thread(target=run, args=(f"t{i}",)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def later(go):
    """A thread shows something when a file is there."""
    def run():
        while not os.path.exists(go):
            time.sleep(0.005)
        print("printed late")
        display("shown late")
    threading.Thread(target=run, daemon=True).start()


def forked():
    pid = os.fork()
    if not pid:
        display("from a child")
        os._exit(0)
    os.waitpid(pid, 0)


def show_and_die():
    print("before")
    display("last")
    print("behind", flush=True)
    os.kill(os.getpid(), 9)


def live(go):
    print("before")
    display("x")
    print("behind")
    while not os.path.exists(go):
        time.sleep(0.005)


def figures(count, close=True):
    import matplotlib.pyplot as plt
    for n in range(count):
        plt.figure(figsize=(n + 1, 1))
        plt.plot([1, 2])
    plt.show() if close else plt.show(close=False)
    return plt.get_fignums(), plt.get_backend()


def figure_show():
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(2, 1))
    figure.show()
    numbers = plt.get_fignums()
    plt.close("all")
    return numbers


def pause():
    import matplotlib.pyplot as plt
    plt.plot([1])
    plt.pause(0.01)


def bare_figure():
    from matplotlib.figure import Figure
    figure = Figure()
    try:
        figure.show()
    except AttributeError as error:
        return str(error)


def ask(which):
    import bdb, getpass, pdb
    calls = {
        "input": lambda: input("Name? "),
        "getpass": lambda: getpass.getpass("Key: "),
        "breakpoint": lambda: breakpoint(),
        "set_trace": lambda: pdb.set_trace(),
        "Pdb.set_trace": lambda: pdb.Pdb().set_trace(),
        "post_mortem": lambda: pdb.post_mortem(),
        "post_mortem tb": lambda: pdb.post_mortem(caught()),
        "pm": lambda: pdb.pm(),
        "run": lambda: pdb.run("x = 1"),
        "runcall": lambda: pdb.runcall(lambda: 1),
        "ipython": lambda: __import__("IPython.core.debugger").core.debugger.set_trace(),
    }
    calls[which]()


def caught():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return error.__traceback__


def remote_debugger():
    """A debugger with streams of its own may be used."""
    import io, pdb
    out = io.StringIO()
    pdb.Pdb(stdin=io.StringIO("p 1 + 2\\nc\\n"), stdout=out, nosigint=True).runcall(lambda: 1)
    return out.getvalue()


def no_ipython():
    """As where IPython is not installed."""
    sys.modules["IPython"] = None
    handle = display(Thing(), display_id="x")
    handle.update([1] * 100)
    display(*"ab")


def names():
    import IPython.display, inspect
    return [IPython.display.display is display, display.__module__, display.__doc__ is not None,
            IPython.display.display.__name__]


def pickled():
    import cloudpickle, pickle
    return pickle.loads(cloudpickle.dumps(display)) is display


def loaders():
    import getpass, importlib, pdb
    importlib.reload(getpass)
    return [type(m.__loader__).__name__ for m in (getpass, pdb)] + [
        m.__spec__.loader is m.__loader__ for m in (getpass, pdb)]
'''


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory):
    """Makes `publishes` importable for workers that start now."""
    directory = tmp_path_factory.mktemp("publishes")
    (directory / "publishes.py").write_text(MODULE)
    sys.path.insert(0, str(directory))
    yield
    sys.path.remove(str(directory))


class Screen:
    """Everything that a bridge shows, in order: `("out" | "err", text)` and messages."""

    def __init__(self, bridge):
        self.seen = []
        bridge.call("math.sqrt", 4)
        bridge._client.show = self.show
        pipes = bridge._client.incarnation.connection._output._pipes.values()
        for pipe, name in zip(pipes, ("out", "err"), strict=True):
            pipe._stream = partial(Stream, self.seen, name)

    def show(self, message):
        self.seen.append(message)

    @property
    def messages(self):
        return [s for s in self.seen if not isinstance(s, tuple)]

    @property
    def texts(self):
        return [m.data.get("text/plain") for m in self.messages if isinstance(m, Shown)]

    def stream(self, name):
        return "".join(s[1] for s in self.seen if isinstance(s, tuple) and s[0] == name)

    def order(self, *streams):
        """Text and displays in order, the text of a stream joined where nothing is between."""
        out = []
        for one in self.seen:
            if isinstance(one, Shown):
                out.append(one.data.get("text/html") or one.data["text/plain"])
            elif isinstance(one, tuple) and one[0] in streams:
                if out and isinstance(out[-1], tuple) and out[-1][0] == one[0]:
                    out[-1] = (one[0], out[-1][1] + one[1])
                else:
                    out.append(one)
        return out


class Stream:
    def __init__(self, seen, name):
        self.seen, self.name = seen, name

    def write(self, text):
        self.seen.append((self.name, text))

    def flush(self):
        pass


@pytest.fixture
def screen(local):
    return Screen(local)


def call(bridge, name, *args, **kwargs):
    return bridge.call(f"publishes.{name}", *args, **kwargs)


# ---------------------------------------------------------------- display
def test_what_is_displayed_is_shown_with_all_its_types(local, screen):
    local.call("IPython.display.display", local.new("publishes.Thing"), 5)
    assert screen.messages == [
        Shown({"text/html": "<b>thing</b>", "text/plain": "<publishes.Thing>"}, {}),
        Shown({"text/plain": "5"}, {}),
    ]


def test_display_is_a_builtin_as_in_a_notebook(local, screen):
    call(local, "builtin", [1, 2])
    local.put(lambda x: display(x))("shipped")  # noqa: F821 - a builtin there
    assert screen.texts == ["[1, 2]", "'shipped'"]
    assert not local.call("sys.modules.__contains__", "IPython"), "it needs no IPython"


def test_displays_and_text_keep_their_order(local, screen):
    call(local, "with_print", 50)
    both = [x for n in range(50) for x in (("out", f"before {n}\n"), f"<b>{n}</b>")]
    assert screen.order("out") == both
    expected = [x for n in range(50) for x in (f"<b>{n}</b>", ("err", f"after {n}\n"))]
    assert screen.order("err") == expected


def test_text_that_was_not_flushed_comes_before(local, screen):
    call(local, "unflushed")
    before, shown, behind = screen.order("out")
    assert sorted(before[1].split(", ")) == ["and from below", "no newline"] or (
        before[1] == ", and from belowno newline"
    )
    assert (shown, behind) == ("'x'", ("out", "behind"))


def test_what_is_shown_and_what_follows_appear_at_once(local, screen, tmp_path):
    thread = threading.Thread(target=call, args=(local, "live", str(tmp_path / "go")))
    thread.start()
    try:
        expected = [("out", "before\n"), "'x'", ("out", "behind\n")]
        eventually(lambda: screen.order("out") == expected, "all three")
        assert thread.is_alive()
    finally:
        (tmp_path / "go").touch()
        thread.join(DEADLINE)


def test_the_output_of_children_keeps_its_place(local, screen):
    call(local, "c_level")
    assert screen.order("out") == [("out", "a child\n"), "'x'", ("out", "another\n")]


def test_a_redirected_descriptor_gets_nothing_of_ours(local, screen, tmp_path):
    call(local, "redirected", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b"to the file\n"
    assert screen.texts == ["'x'"]


def test_a_display_needs_no_stdout(local, screen):
    call(local, "without_stdout")
    assert screen.texts == ["'x'"]


def test_many_displays_do_not_hold_the_call(local, screen):
    call(local, "with_print", 2000)
    assert len(screen.messages) == 2000


def test_a_call_may_be_stopped_at_any_moment_of_its_displays(local, screen):
    kept = local.new("list", [1])
    for n in range(20):
        with pytest.raises(CallTimeoutError):
            local.options(timeout=0.01 + n / 300).call("publishes.large", 10**9)
    assert len(kept) == 1
    assert local.status().incarnation == 1
    del screen.seen[:]
    call(local, "with_print", 3)
    assert len(screen.messages) == 3


def test_displays_without_a_pause_do_not_keep_a_deadline_from_being_seen(local, screen):
    start = time.monotonic()
    with pytest.raises(CallTimeoutError):
        local.options(timeout=0.1).call("publishes.with_print", 10**9)
    assert time.monotonic() - start < 2


def test_displays_can_be_updated_and_cleared(local, screen):
    known = call(local, "updated")
    assert screen.messages == [
        Shown({"text/plain": "'first'"}, {}, known),
        Shown({"text/plain": "'second'"}, {}, known, True),
        Shown({"text/plain": "'third'"}, {}, known),
        Shown({"text/plain": "'fourth'"}, {}, known, True),
        Cleared(True),
        Cleared(False),
    ]
    assert len(known) == 32


def test_ipythons_own_handle_works_too(local, screen):
    call(local, "own_handle")
    assert [(m.display_id, m.update) for m in screen.messages] == [("mine", False), ("mine", True)]


def test_options_of_display_are_kept(local, screen):
    thing = local.new("publishes.Thing")
    call(local, "one", thing, include=["text/html"])
    call(local, "one", thing, exclude=["text/html"], metadata={"width": 5})
    call(local, "one", {"text/html": "<i>x</i>"}, raw=True, transient={"display_id": "a"})
    call(local, "one", thing, include=["text/latex"])
    call(local, "one", 1, clear=True)
    assert screen.messages == [
        Shown({"text/html": "<b>thing</b>"}, {}),
        Shown({"text/plain": "<publishes.Thing>"}, {"width": 5}),
        Shown({"text/html": "<i>x</i>"}, {}, "a"),
        Cleared(True),
        Shown({"text/plain": "1"}, {}),
    ]
    with pytest.raises(TypeError, match="display_id required") as caught:
        call(local, "one", 1, update=True)
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "publishes.py" in files[-1]
    assert not [file for file in files if "/worker/" in file], "the frames are the user's"


def test_a_place_can_be_made_to_be_filled_later(local, screen):
    local.call("IPython.display.display", display_id="later")
    assert screen.messages == [Shown({}, {}, "later")]


def test_an_object_that_displays_itself_does_so_once(local, screen):
    call(local, "one", local.new("publishes.Itself"))
    assert screen.texts == ["'shown by itself'"]


def test_a_representation_that_raises_prints_its_traceback(local, screen):
    call(local, "one", local.new("publishes.Failing"))
    assert screen.texts == ["failing"]
    assert "ValueError: no html today" in screen.stream("err")


def test_what_may_not_be_shown_is_told(local, screen):
    call(local, "published", {"application/javascript": "alert(1)"})
    call(local, "published", {"text/html": "x" * (MAX_DISPLAY + 1)})
    assert screen.texts == [
        "<application/javascript: not shown from a worker>",
        "<text/html: not shown from a worker>",
    ]
    assert "text/html of 4,194,305 bytes is not shown" in screen.stream("err")


def test_scripts_are_left_out(local, screen):
    call(local, "published", {"text/html": "<p>x</p><script>1</script>", "text/plain": "x"})
    assert screen.messages == [Shown({"text/html": "<p>x</p>", "text/plain": "x"}, {})]


def test_threads_show_in_the_order_in_which_they_do(local, screen):
    call(local, "in_threads", 4, 25)
    for name in ("t0", "t1", "t2", "t3"):
        mine = [t for t in screen.texts if t.startswith(f"'{name}-")]
        assert mine == [f"'{name}-{n}'" for n in range(25)]
    assert screen.stream("out").count("\n") == 100


def test_a_frame_is_displayed_with_the_options_of_this_kernel(local, screen):
    pandas = pytest.importorskip("pandas")
    frame = local.call("pandas.DataFrame", {"a": list(range(100))})
    with pandas.option_context("display.max_rows", 4):
        call(local, "one", frame)
        call(local, "builtin", frame)
    call(local, "one", frame)
    rows = [m.data["text/html"].count("<tr") for m in screen.messages]
    assert rows[0] == rows[1] < 10 < rows[2]


# ---------------------------------------------------------------- outside of a call
def test_a_display_after_the_call_is_shown_too(local, screen, tmp_path):
    call(local, "later", str(tmp_path / "go"))
    assert screen.seen == []
    (tmp_path / "go").touch()
    eventually(lambda: screen.messages, "the late display")
    assert screen.order("out") == [("out", "printed late\n"), "'shown late'"]
    assert local.call("math.sqrt", 4) == 2.0


def test_a_display_before_the_worker_dies_is_shown(local, screen):
    with pytest.raises(WorkerDiedError):
        call(local, "show_and_die")
    assert screen.order("out") == [("out", "before\n"), "'last'", ("out", "behind\n")]


def test_a_forked_child_shows_text(local, screen):
    call(local, "forked")
    assert screen.messages == []
    assert screen.stream("out") == "'from a child'\n"
    assert local.call("math.sqrt", 4) == 2.0


def test_a_screen_that_raises_harms_nothing(local, screen, caplog):
    def broken(message):
        raise RuntimeError("no screen")

    local._client.show = broken
    with caplog.at_level(logging.WARNING, "bridge_ext.display"):
        call(local, "with_print", 3)
    assert caplog.text.count("could not be shown") == 3
    assert screen.stream("out") == "before 0\nbefore 1\nbefore 2\n"


def test_a_display_does_not_hold_the_bridge():
    bridge = bridge_ext.Bridge()
    pid = bridge.call("os.getpid")
    gone = weakref.ref(bridge)
    del bridge
    gc.collect()
    assert gone() is None
    eventually(lambda: not os.path.exists(f"/proc/{pid}") or _zombie(pid), "the worker's end")


def _zombie(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().split()[2] == "Z"
    return True


# ---------------------------------------------------------------- without a notebook
def test_a_script_shows_text_on_stdout(capsys):
    code = (
        "import bridge_ext, sys\n"
        "with bridge_ext.Bridge() as bridge:\n"
        "    bridge.call('publishes.with_print', 2)\n"
        "    bridge.call('publishes.updated')\n"
        "    bridge.call('publishes.figures', 1)\n"
        "assert 'IPython' not in sys.modules\n"
    )
    path = os.pathsep.join([p for p in sys.path if p])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    object_ = "<IPython.core.display.HTML object>"
    assert done.stdout.splitlines() == [
        "before 0", object_, "before 1", object_,
        "'first'", "'second'", "'third'", "'fourth'", "<Figure size 100x100 with 1 Axes>",
    ]  # fmt: skip
    assert done.stderr.splitlines() == ["after 0", "after 1"]


def test_the_memory_backend_shows_as_the_process_does(memory, capsys):
    before = getattr(builtins, "display", None)
    call(memory, "one", [1, 2])
    assert capsys.readouterr().out == "[1, 2]\n"
    assert original.display.__module__ == "IPython.core.display_functions"
    assert "bridge" not in inspect.getsource(original.display)
    assert getattr(builtins, "display", None) is before


def test_the_memory_backend_hands_on_what_it_publishes(memory):
    seen = []
    memory._client.show = seen.append
    memory.call("math.sqrt", 4)
    connection = memory._client.incarnation.connection
    connection._dispatcher.publisher().display("x")
    assert seen == [Shown({"text/plain": "'x'"}, {})]


# ---------------------------------------------------------------- matplotlib
def pictures(screen):
    return [base64.b64decode(m.data["image/png"]) for m in screen.messages]


def test_pyplot_shows_its_figures_and_closes_them(local, screen):
    assert call(local, "figures", 2) == ([], "Agg")
    assert [p[:4] for p in pictures(screen)] == [b"\x89PNG"] * 2
    assert screen.texts == [f"<Figure size {n}00x100 with 1 Axes>" for n in (1, 2)]
    assert screen.stream("err") == ""


def test_figures_may_be_kept_open(local, screen):
    assert call(local, "figures", 1, close=False)[0] == [1]
    assert len(pictures(screen)) == 1


def test_a_figure_shows_itself_and_stays(local, screen):
    assert call(local, "figure_show") == [1]
    assert len(pictures(screen)) == 1


def test_a_pause_shows_and_ends(local, screen):
    call(local, "pause")
    assert len(pictures(screen)) == 1


def test_a_figure_without_pyplot_says_that_it_cannot_be_shown_so(local, screen):
    assert "pyplot" in call(local, "bare_figure")


def test_figures_are_made_and_shown_by_calls_as_well(local, screen):
    pyplot = local.module("matplotlib.pyplot")
    pyplot.plot([1, 2])
    pyplot.show()
    assert len(pictures(screen)) == 1
    pyplot.show()
    assert len(pictures(screen)) == 1


def test_another_backend_is_left_alone():
    with bridge_ext.Bridge(env={"MPLBACKEND": "svg"}) as bridge:
        screen = Screen(bridge)
        assert call(bridge, "figures", 1) == ([1], "svg")
    assert screen.messages == []


# ---------------------------------------------------------------- nobody to ask
ASKING = ["input", "getpass", "breakpoint", "set_trace", "Pdb.set_trace", "post_mortem",
          "post_mortem tb", "pm", "run", "runcall", "ipython"]  # fmt: skip


@pytest.mark.parametrize("which", ASKING)
def test_what_asks_the_user_raises_and_says_what_to_do(local, screen, which):
    with pytest.raises(EOFError, match="in the worker, where nobody can answer") as caught:
        call(local, "ask", which)
    said = caught.value.args[0]
    if which in ("input", "getpass"):
        assert f"{which}('" in said
        assert "pass the answer as an argument" in said
    else:
        assert "call the function in the notebook itself to debug it" in said
    assert screen.stream("out") == "", "no prompt is printed"
    assert screen.messages == []
    assert local.call("math.sqrt", 4) == 2.0


def test_a_breakpoint_may_be_switched_off(local, screen):
    local.call("os.environ.__setitem__", "PYTHONBREAKPOINT", "0")
    call(local, "ask", "breakpoint")
    assert screen.seen == []


def test_a_debugger_with_streams_of_its_own_works(local):
    assert "3" in call(local, "remote_debugger")


def test_this_process_is_left_alone(memory):
    import getpass
    import pdb

    memory.call("math.sqrt", 4)
    assert input.__module__ != hooks.__name__
    assert sys.breakpointhook is sys.__breakpointhook__
    for function in (getpass.getpass, pdb.set_trace, pdb.post_mortem, pdb.Pdb.interaction):
        assert "bridge_ext" not in function.__code__.co_filename
    assert not [f for f in sys.meta_path if isinstance(f, hooks.Finder)]


# ---------------------------------------------------------------- what it costs
def test_a_worker_imports_nothing_of_it_at_its_start(local):
    loaded = set(local.call("list", local.attr("sys.modules")))
    heavy = ("IPython", "matplotlib", "pandas", "numpy", "pdb", "getpass", "bdb", "json", "html")
    assert loaded.isdisjoint(heavy)
    assert "bridge_ext.kernel.worker.publishing" not in loaded
    call(local, "builtin", 1)
    assert set(local.call("list", local.attr("sys.modules"))).isdisjoint(heavy)


def test_a_worker_without_ipython_shows_all_the_same(local, screen):
    call(local, "no_ipython")
    assert [m.display_id for m in screen.messages] == ["x", "x", None, None]
    assert screen.texts[1:] == [repr([1] * 100), "'a'", "'b'"]


def test_the_functions_are_those_of_ipython(local):
    assert call(local, "names") == [True, "IPython.core.display_functions", True, "display"]
    assert call(local, "pickled")


def test_hooked_modules_keep_their_loaders(local):
    assert call(local, "loaders") == ["SourceFileLoader", "SourceFileLoader", True, True]
    with pytest.raises(EOFError):
        call(local, "ask", "getpass")


def test_what_is_imported_already_is_hooked_at_once():
    code = (
        "import getpass, pdb, os\n"
        "from bridge_ext.kernel.worker import hooks\n"
        "hooks.install(hooks.Later(lambda message: os._exit(1)))\n"
        "for ask in (getpass.getpass, pdb.set_trace, input, breakpoint):\n"
        "    try: ask()\n"
        "    except EOFError as error: assert 'nobody can answer' in str(error)\n"
        "    else: raise AssertionError(ask)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
    subprocess.run([sys.executable, "-c", code], env=env, timeout=30, check=True)


# ---------------------------------------------------------------- the finder, by itself
@pytest.fixture
def finder(tmp_path, monkeypatch):
    """Hooks for modules in a directory: `(hooks, directory)`."""
    made = {}
    monkeypatch.setattr(sys, "meta_path", [hooks.Finder(made), *sys.meta_path])
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made, tmp_path
    for name in made:
        sys.modules.pop(name, None)


def test_a_hook_runs_after_the_module_and_before_the_import_ends(finder):
    made, directory = finder
    (directory / "hooked_one.py").write_text("x = 1\nspec = __spec__.loader.__class__.__name__")
    made["hooked_one"] = lambda module: setattr(module, "x", module.x + 1)
    from hooked_one import spec, x

    assert (x, spec) == (2, "SourceFileLoader")


def test_a_module_that_is_missing_is_missing(finder):
    made, _ = finder
    made["hooked_nowhere"] = lambda module: None
    with pytest.raises(ModuleNotFoundError, match="hooked_nowhere"):
        __import__("hooked_nowhere")


def test_a_module_that_fails_fails_as_itself(finder):
    made, directory = finder
    (directory / "hooked_bad.py").write_text("1/0")
    made["hooked_bad"] = lambda module: pytest.fail("it is not there")
    with pytest.raises(ZeroDivisionError):
        __import__("hooked_bad")


def test_a_hook_that_fails_does_not_fail_the_import(finder, capsys):
    made, directory = finder
    (directory / "hooked_two.py").write_text("x = 1")
    made["hooked_two"] = lambda module: module.nothing
    assert __import__("hooked_two").x == 1
    assert "bridge: hooked_two is not hooked (AttributeError" in capsys.readouterr().err


# ---------------------------------------------------------------- the publisher, by itself
def test_a_publisher_takes_what_its_thread_captures_and_no_other():
    sent = []
    publisher = Publisher(sent.append, {"changed": {}, "defaults": {}})

    class Nested:
        def _ipython_display_(self):
            thread = threading.Thread(target=publisher.display, args=("other thread",))
            thread.start()
            thread.join(DEADLINE)
            publisher.display("mine")

    assert publisher.of_ref(Nested()) == [{"text/plain": "'mine'"}, {}]
    assert [m[1]["text/plain"] for m in sent] == ["'other thread'"]
    publisher.display("after")
    assert len(sent) == 2


def test_the_head_of_a_notice_is_checked():
    assert notice_head(pack(["display", 5, 6])) == ("display", 5, 6)
    for bad in (b"", pack(5), pack([]), pack(["display"]), pack([5, 5, 5]), pack(["x", "y", 1])):
        with pytest.raises(bridge_ext.ProtocolError):
            notice_head(bad)
    assert Kind.NOTICE in Kind.ALL
    assert Deadline(0).passed
