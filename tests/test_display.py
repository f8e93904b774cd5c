"""What a ref shows: by IPython's rules, of the types that may come, and never at any price."""

from __future__ import annotations

import base64
import sys
import threading
import time

import pandas
import pytest
from conftest import eventually
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter

from bridge_ext import ProtocolError
from bridge_ext.kernel import remote
from bridge_ext.kernel.display import Cleared, Shown, allowed, message
from bridge_ext.kernel.preferences import Preferences
from bridge_ext.kernel.wire import mimes
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.limits import MAX_DISPLAY
from bridge_ext.kernel.worker.display import mime_bundle

PNG = b"\x89PNG\r\n\x1a\n and so on"
SHOWING = '''
"""Things that show themselves."""

import os
import threading
import time

PNG = b"\\x89PNG\\r\\n\\x1a\\n and so on"


class Plain:
    def __repr__(self):
        return "plain"


class Rich(Plain):
    def _repr_html_(self): return "<b>html</b>"
    def _repr_markdown_(self): return "*markdown*"
    def _repr_svg_(self): return "<svg><circle></circle></svg>"
    def _repr_latex_(self): return "$x$"
    def _repr_png_(self): return PNG, {"width": 3, "height": 4, "secret": "x"}
    def _repr_jpeg_(self): return b"jpeg"
    def _repr_json_(self): return {"a": [1, 2.5, None, float("nan"), ("b",)]}, {"expanded": True}
    def _repr_javascript_(self): return "alert(1)"
    def _repr_pdf_(self): return b"%PDF"


class Bundle(Rich):
    """Its mime bundle wins, and is filled up."""
    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"text/html": "<i>bundle</i>", "application/javascript": "alert(1)", 5: "x",
                "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
                "application/vnd.vegalite.v5+json": {"mark": "bar"}}
        return data, {"text/html": {"isolated": True}, "image/png": {"width": 1}, "x": {"y": 1}}


class Asked(Plain):
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": f"{sorted(include or ())} {sorted(exclude or ())}"}
    def _repr_latex_(self): return "$x$"


class Text(str):
    pass


class Sub(Plain):
    def _repr_html_(self): return Text("<b>sub</b>")


class Odd(Plain):
    """What it returns is of no use."""
    def _repr_html_(self): return 5
    def _repr_markdown_(self): return None
    def _repr_svg_(self): return b"<svg/>"
    def _repr_png_(self): return 5
    def _repr_jpeg_(self): return "no base64!"
    def _repr_latex_(self): return ["$x$"]
    def _repr_json_(self): return {1: object()}
    def _repr_mimebundle_(self, **kwargs): return ["text/html"]


class Failing(Plain):
    def _repr_html_(self): raise ValueError("no html today")
    def _repr_latex_(self): raise NotImplementedError
    def _repr_markdown_(self): return "*still there*"


class BadRepr:
    def __repr__(self): raise ValueError
    def _repr_html_(self): return "<b>fine</b>"


class Everything(Plain):
    """Claims to have whatever it is asked for."""
    def __getattr__(self, name): return lambda *args, **kwargs: "<b>claimed</b>"


class Mean(Plain):
    def __getattr__(self, name): raise RuntimeError(name)


class Classy(Plain):
    def _repr_html_(self): return "of an instance"
    @classmethod
    def _repr_latex_(cls): return "$of a class$"


class Large(Plain):
    def __init__(self, size): self.size = size
    def _repr_html_(self): return "x" * self.size
    def _repr_png_(self): return b"x" * self.size
    def _repr_json_(self): return ["x" * self.size]


class Scripted(Plain):
    def _repr_html_(self): return "<p>text</p><script>alert(1)</script>"
    def _repr_svg_(self): return "<svg onload='alert(1)'><script>alert(1)</script></svg>"
    def _repr_markdown_(self): return "[x](javascript:alert(1))"
    def _repr_latex_(self): return "\\\\href{javascript:alert(1)}{x}"


class Itself(Plain):
    def __init__(self, *shown): self.shown = shown
    def _ipython_display_(self):
        from IPython.display import display
        print("showing")
        for one in self.shown:
            display({"text/html": one}, raw=True)


class ClearsLast(Plain):
    def _ipython_display_(self):
        from IPython.display import clear_output, display
        display("x")
        clear_output()


class NotItself(Rich):
    def _ipython_display_(self): raise NotImplementedError


class Pretty:
    def _repr_pretty_(self, printer, cycle): printer.text("pretty!")


class Slow(Plain):
    """Its display ends when a file is there."""
    def __init__(self, started, until): self.files = started, until
    def _repr_html_(self):
        started, until = self.files
        open(started, "w").close()
        while not os.path.exists(until):
            self.wait()
        return "<b>late</b>"
    def wait(self):
        time.sleep(0.005)


class Deaf(Slow):
    """It does not let itself be stopped."""
    def wait(self):
        try:
            time.sleep(0.005)
        except KeyboardInterrupt:
            pass


class Deadly(Plain):
    def _repr_html_(self): os.kill(os.getpid(), 9)


def figure(empty=False):
    from matplotlib.figure import Figure
    made = Figure(figsize=(2, 1))
    if not empty:
        made.subplots().plot([1, 2])
    return made


def shown_as(what, *args, **kwargs):
    import IPython.display
    return getattr(IPython.display, what)(*args, **kwargs)
'''


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory):
    """Makes `showing_things` importable for workers that start now."""
    directory = tmp_path_factory.mktemp("showing")
    (directory / "showing_things.py").write_text(SHOWING)
    sys.path.insert(0, str(directory))
    yield
    sys.path.remove(str(directory))
    sys.modules.pop("showing_things", None)


def new(bridge, name, *args):
    return bridge.new(f"showing_things.{name}", *args)


def shown(ref, **wanted):
    """`(data, metadata)` of a ref, as IPython's formatter gets them."""
    formatter = DisplayFormatter()
    return formatter.format(ref, **wanted)


def html(ref):
    return shown(ref)[0].get("text/html")


def b64(data):
    return base64.b64encode(data).decode()


# ---------------------------------------------------------------- IPython's rules
def test_every_representation_comes_that_a_notebook_may_have(bridge):
    data, metadata = shown(new(bridge, "Rich"))
    assert data == {
        "text/plain": "plain",
        "text/html": "<b>html</b>",
        "text/markdown": "*markdown*",
        "image/svg+xml": "<svg><circle></circle></svg>",
        "text/latex": "$x$",
        "image/png": b64(PNG),
        "image/jpeg": b64(b"jpeg"),
        "application/json": {"a": [1, 2.5, None, None, ["b"]]},
    }
    assert metadata == {
        "image/png": {"width": 3, "height": 4},
        "application/json": {"expanded": True},
    }


def test_a_mime_bundle_wins_and_is_filled_up(bridge):
    data, metadata = shown(new(bridge, "Bundle"))
    assert data["text/html"] == "<i>bundle</i>"
    assert data["text/latex"] == "$x$"
    assert data["text/plain"] == "plain"
    assert data["application/vnd.vegalite.v5+json"] == {"mark": "bar"}
    assert not {m for m in data if "javascript" in m or "widget" in m or "pdf" in m}
    assert metadata["text/html"] == {"isolated": True}
    assert metadata["image/png"] == {"width": 3, "height": 4}
    assert "x" not in metadata


def test_what_an_object_here_would_show_its_ref_shows(bridge):
    import showing_things

    for name in ("Plain", "Rich", "Sub", "Classy", "NotItself", "Pretty"):
        mine, about = DisplayFormatter().format(getattr(showing_things, name)())
        data, metadata = shown(new(bridge, name))
        kept = {k: v for k, v in mine.items() if k.startswith("text/")}
        assert {k: v for k, v in data.items() if k.startswith("text/")} == kept, name
        assert metadata.keys() == about.keys(), name


def test_the_types_that_are_not_wanted_are_not_asked_for(bridge):
    asked = new(bridge, "Asked")
    assert html(asked) == "[] []"
    data, _ = shown(asked, include=["text/html"])
    assert data == {"text/html": "['text/html'] []"}
    data, _ = shown(asked, exclude=["text/latex"])
    assert data["text/html"] == "[] ['text/latex']"
    assert "text/latex" not in data


def test_a_subclass_of_str_is_text(bridge):
    assert html(new(bridge, "Sub")) == "<b>sub</b>"


def test_what_is_of_the_wrong_type_is_left_out(bridge):
    assert shown(new(bridge, "Odd")) == ({"text/plain": "plain"}, {})


def test_a_representation_that_raises_is_left_out_and_its_traceback_shown(bridge, capsys):
    data, _ = shown(new(bridge, "Failing"))
    assert data == {"text/plain": "plain", "text/markdown": "*still there*"}
    told = capsys.readouterr().err
    assert "ValueError: no html today" in told
    assert "in _repr_html_" in told
    assert "NotImplementedError" not in told
    assert "worker/display.py" not in told, "it shows the user's frames only"


def test_a_repr_that_raises_is_told(bridge):
    data, _ = shown(new(bridge, "BadRepr"))
    assert data["text/html"] == "<b>fine</b>"
    assert data["text/plain"] == "<BadRepr: its repr raised ValueError>"


@pytest.mark.parametrize("name", ["Everything", "Mean"])
def test_an_object_that_answers_any_name_shows_its_text(bridge, name):
    assert shown(new(bridge, name)) == ({"text/plain": "plain"}, {})


def test_a_class_shows_what_its_class_methods_say(bridge, capsys):
    data, _ = shown(bridge.attr("showing_things.Classy"))
    assert data["text/latex"] == "$of a class$"
    assert "text/html" not in data
    assert capsys.readouterr().err == "", "its other methods are not called"


def test_an_object_without_a_text_of_its_own_has_the_refs(bridge):
    ref = bridge.new("object")
    assert shown(ref)[0] == {"text/plain": "<ref object>"}
    assert "0x" not in shown(bridge.call("threading.Lock"))[0]["text/plain"]


@pytest.mark.parametrize(
    "value",
    [[1, 2], [], list(range(100)), {"b": 1, "a": [1, 2]}, {"k" * 50: "v" * 50, "l": 1},
     {3, 1, 2}, frozenset("a"), [[1, "x"] * 30], list(range(3000)), [int, len]],
    ids=lambda v: repr(v)[:30],
)  # fmt: skip
def test_containers_are_printed_as_ipython_prints_them(bridge, value):
    ref = bridge.put(value)
    assert shown(ref)[0]["text/plain"] == DisplayFormatter().format(value)[0]["text/plain"]


def test_containers_are_printed_without_ipython_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.lib.pretty", None)
    assert mime_bundle([[1] * 50])[0]["text/plain"] == repr([[1] * 50])


# ---------------------------------------------------------------- figures, and IPython's objects
def test_a_figure_is_its_picture(local):
    data, _ = shown(local.call("showing_things.figure"))
    picture = base64.b64decode(data["image/png"])
    assert picture.startswith(b"\x89PNG\r\n")
    assert data["text/plain"] == "<Figure size 200x100 with 1 Axes>"
    assert set(data) == {"image/png", "text/plain"}


def test_an_empty_figure_is_its_text(local):
    data, _ = shown(local.call("showing_things.figure", empty=True))
    assert data == {"text/plain": "<Figure size 200x100 with 0 Axes>"}


IPYTHON = {
    "HTML": (["<b>x</b>"], {"text/html": "<b>x</b>"}),
    "Markdown": (["*x*"], {"text/markdown": "*x*"}),
    "Latex": (["$x$"], {"text/latex": "$x$"}),
    "Math": (["x"], {"text/latex": "$\\displaystyle x$"}),
    "SVG": (["<svg><g/></svg>"], {"image/svg+xml": "<svg><g></g></svg>"}),
    "JSON": ([{"a": 1}], {"application/json": {"a": 1}}),
    "GeoJSON": ([{"type": "Point"}], {"application/geo+json": {"type": "Point"}}),
    "Javascript": (["alert(1)"], {}),
    "IFrame": (["https://x.y", 1, 1], {}),
}


@pytest.mark.parametrize("name", IPYTHON)
def test_display_objects_of_ipython_show_what_they_hold(local, name):
    args, expected = IPYTHON[name]
    ref = local.options(fetch=False).call("showing_things.shown_as", name, *args)
    data, _ = shown(ref)
    text = data.pop("text/plain")
    assert name in text
    assert "0x" not in text
    assert data == expected


def test_a_picture_of_ipython_keeps_its_size(bridge):
    ref = bridge.call("showing_things.shown_as", "Image", data=PNG, format="png", width=7)
    data, metadata = shown(ref)
    assert data["image/png"] == b64(PNG)
    assert metadata == {"image/png": {"width": 7}}


def test_a_widget_is_its_text(local):
    pytest.importorskip("ipywidgets")
    data, _ = shown(local.new("ipywidgets.IntSlider", 3))
    assert data.keys() == {"text/plain"}
    assert data["text/plain"].startswith("IntSlider(value=3")


def test_a_table_with_a_style_keeps_it(local):
    pytest.importorskip("jinja2")
    styled = local.put(pandas.DataFrame({"a": [1, 2]})).style.highlight_max(color="red")
    assert "background-color: red" in html(styled)


def test_an_object_that_displays_itself_shows_what_it_displays(local, capsys):
    data, _ = shown(new(local, "Itself", "<b>only</b>"))
    assert data["text/html"] == "<b>only</b>"
    assert capsys.readouterr().out == "showing\n"
    assert shown(new(local, "NotItself"))[0]["text/html"] == "<b>html</b>"


def test_what_it_displays_before_goes_to_the_cell(local):
    seen = []
    local._client.show = seen.append
    data, _ = shown(new(local, "Itself", "<b>1</b>", "<b>2</b>", "<b>3</b>"))
    assert data["text/html"] == "<b>3</b>"
    assert [s.data["text/html"] for s in seen] == ["<b>1</b>", "<b>2</b>"]


def test_one_that_displays_nothing_has_the_refs_text(local):
    seen = []
    local._client.show = seen.append
    assert shown(new(local, "Itself"))[0] == {"text/plain": "<ref Itself>"}
    assert shown(new(local, "ClearsLast"))[0] == {"text/plain": "<ref ClearsLast>"}
    assert seen == [Shown({"text/plain": "'x'"}, {}), Cleared(False)]


# ---------------------------------------------------------------- what may not come
def test_scripts_are_left_out(bridge):
    data, _ = shown(new(bridge, "Scripted"))
    assert data == {
        "text/plain": "plain",
        "text/html": "<p>text</p>",
        "image/svg+xml": "<svg></svg>",
    }


def test_what_is_too_large_is_left_out_and_said(bridge, capsys):
    fits = new(bridge, "Large", MAX_DISPLAY - 10)
    assert shown(fits)[0].keys() == {
        "text/plain", "text/html", "image/png", "application/json"}  # fmt: skip
    assert capsys.readouterr().err == ""
    data, _ = shown(new(bridge, "Large", MAX_DISPLAY + 1))
    assert data == {"text/plain": "plain"}
    told = capsys.readouterr().err
    assert "text/html of 4,194,305 bytes is not shown" in told
    assert "up to 4,194,304 bytes" in told
    assert "image/png" in told


def test_a_text_that_is_too_large_is_the_refs(bridge):
    ref = bridge.options(fetch=False).call("builtins.bytearray", MAX_DISPLAY)
    assert shown(ref)[0] == {"text/plain": f"<ref bytearray of {MAX_DISPLAY}>"}


@pytest.mark.parametrize(
    ("mime", "value"),
    [
        ("application/javascript", "alert(1)"),
        ("application/vnd.jupyter.widget-view+json", {"model_id": "x"}),
        ("application/pdf", b"%PDF"),
        ("text/html", b"<b>bytes</b>"),
        ("text/html", "<script>alert(1)</script>"),
        ("text/html", "x" * (MAX_DISPLAY + 1)),
        ("text/plain", 5),
        ("image/svg+xml", "<b>x</b>"),
        ("image/png", 5),
        ("image/png", "'><script>alert(1)</script>"),
        ("image/png", "abc"),
        ("image/png", "é"),
        ("application/json", "alert(1)"),
        ("application/json", {1: 2}),
        ("application/vnd.plotly.v1+json;x", {}),
        ("application/vnd.plotly.1+json", {}),
        ("application/vnd.plotly.v+json", {}),
        ("application/vnd.other.v1+json", {}),
        ("x/vnd.plotly.v1+json", {}),
        ("plotly.v1+json", {}),
        (5, "x"),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_the_kernel_takes_nothing_else_whatever_a_worker_sends(mime, value):
    assert allowed({mime: value}, {}) == ({}, {})


def test_the_kernel_takes_what_it_shows():
    assert allowed({"image/png": b"x"}, {}) == ({"image/png": "eA=="}, {})
    assert allowed({"image/png": "eA\n==\n"}, {}) == ({"image/png": "eA=="}, {})
    assert allowed({"text/plain": "a\ud800b"}, {}) == ({"text/plain": "a?b"}, {})
    assert allowed({"image/gif": b"x", "image/webp": b"y"}, {})[0].keys() == {
        "image/gif", "image/webp"}  # fmt: skip


@pytest.mark.parametrize("bad", [None, 5, "x", [], [{}], [5, 5], {"text/html": "x"}], ids=repr)
def test_an_answer_of_another_shape_shows_the_refs_text(local, monkeypatch, bad):
    ref = local.new("list")
    monkeypatch.setattr(type(local._client), "request", lambda self, call: bad)
    assert ref._repr_mimebundle_() == {"text/plain": "<ref list of 0>"}


SETTINGS = {
    "width": 5, "height": "50%", "isolated": True, "needs_background": "light", "root": "a b",
}  # fmt: skip


def test_metadata_is_settings_and_nothing_else():
    data = {"image/png": "eA=="}
    assert mimes.settings({"image/png": SETTINGS, **SETTINGS}, data) == {
        "image/png": SETTINGS, **SETTINGS}  # fmt: skip
    bad = {"width": "'><script>", "height": [1], "root": "x" * 101, "onload": 1, 5: 6}
    assert mimes.settings({"image/png": bad, **bad, "text/html": SETTINGS}, data) == {}
    assert mimes.settings(5, data) == {}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(json_like)
def test_json_that_is_carried_can_be_packed_and_shown(value):
    taken = mimes.content("application/json", value)
    if taken is None:
        return
    data, _ = allowed({"application/json": taken}, {})
    assert repr(data["application/json"]) == repr(taken)
    pack(taken)


def test_json_that_is_too_deep_is_not_carried():
    deep = []
    for _ in range(1000):
        deep = [deep]
    assert mimes.content("application/json", deep) is None


# ---------------------------------------------------------------- messages
def test_a_message_is_taken_apart():
    sent = ["display", {"text/plain": "x", "text/x": "y"}, {"width": 1}, "id", True]
    assert message(pack(sent)) == Shown({"text/plain": "x"}, {"width": 1}, "id", True)
    assert message(pack(["clear", True])) == Cleared(True)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", pack(5), pack([]), pack(["display"]), pack(["clear", 1]), pack(["x", True]),
     pack(["display", [], {}, None, False]), pack(["display", {}, {}, 5, False]),
     pack(["display", {}, {}, None, 0]), pack(["display", {}, {}, None, False, 1]),
     pack([["display"], {}, {}, None, False])],
    ids=repr,
)  # fmt: skip
def test_a_message_of_another_shape_is_a_protocol_error(body):
    with pytest.raises(ProtocolError):
        message(body)


# ---------------------------------------------------------------- it never waits long
@pytest.fixture
def slow(local, tmp_path):
    """Makes a ref whose display has begun when a file is there, and ends with another."""
    files = tmp_path / "started", tmp_path / "until"
    yield lambda name: new(local, name, *map(str, files)), *files
    files[1].touch()


def test_a_display_that_takes_long_is_stopped_and_harms_nothing(local, slow, monkeypatch):
    make, started, until = slow
    kept, ref = local.put([1, 2]), make("Slow")
    monkeypatch.setattr(remote, "_PATIENCE", 0.3)
    begin = time.monotonic()
    assert shown(ref)[0] == {"text/plain": "<ref Slow>"}
    assert time.monotonic() - begin < 1.5
    assert started.exists()
    assert len(kept) == 2
    assert local.status().incarnation == 1
    until.touch()
    assert html(ref) == "<b>late</b>"


def test_a_display_that_cannot_be_stopped_makes_nobody_wait_again(local, slow, monkeypatch):
    make, _, until = slow
    ref = make("Deaf")
    monkeypatch.setattr(remote, "_PATIENCE", 0.3)
    assert shown(ref)[0] == {"text/plain": "<ref Deaf>"}
    begin = time.monotonic()
    assert shown(ref)[0] == {"text/plain": "<ref Deaf>"}
    assert time.monotonic() - begin < 0.25, "the worker is known to be busy with it"
    until.touch()
    assert local.call("math.sqrt", 9.0) == 3.0
    assert html(ref) == "<b>late</b>"
    assert local.status().incarnation == 1


def test_the_deadline_of_a_display_is_two_seconds():
    assert remote._PATIENCE == 2.0


def test_a_busy_worker_shows_the_refs_text_at_once(local, slow):
    make, started, until = slow
    ref, busy = local.put([1, 2]), make("Slow")
    thread = threading.Thread(target=html, args=(busy,))
    thread.start()
    try:
        eventually(started.exists, "the worker to be busy")
        begin = time.monotonic()
        assert shown(ref)[0] == {"text/plain": "<ref list of 2>"}
        assert time.monotonic() - begin < 0.25
    finally:
        until.touch()
        thread.join(10)


def test_a_worker_that_dies_of_a_display_shows_the_refs_text(local):
    ref = new(local, "Deadly")
    assert shown(ref)[0]["text/plain"].startswith("<ref Deadly")
    assert shown(ref)[0]["text/plain"] == "<ref Deadly (lost)>"
    assert local.status().pid is None, "a display starts no worker"
    assert local.call("math.sqrt", 4) == 2.0
    assert shown(ref)[0] == {"text/plain": "<ref Deadly (lost)>"}


def test_a_ref_that_is_gone_asks_nobody(bridge):
    ref = bridge.new("list")
    bridge.release(ref)
    assert shown(ref)[0] == {"text/plain": "<ref list of 0 (released)>"}


def test_a_display_is_one_request(bridge):
    ref = new(bridge, "Rich")
    before = bridge.status().calls
    shown(ref)
    assert bridge.status().calls == before + 1


def test_text_that_a_ref_prints_while_it_is_shown_is_shown_too(local, capsys):
    shown(new(local, "Itself", "<b>1</b>"))
    assert capsys.readouterr().out == "showing\n"


# ---------------------------------------------------------------- the kernel's pandas options
@pytest.fixture
def options():
    """Options of pandas in this process, put back afterwards."""
    with pandas.option_context("display.max_rows", 60):
        yield pandas.set_option
        pandas.reset_option("^display")


@pytest.fixture
def frame(local):
    return local.put(pandas.DataFrame({f"c{i}": [i / 3] * 100 for i in range(40)}))


def text(ref):
    return shown(ref)[0]["text/plain"]


PANDAS = {
    "display.max_rows": (4, lambda ref: text(ref).count("\n") < 20),
    "display.max_columns": (4, lambda ref: "c39" in text(ref) and "c20" not in text(ref)),
    "display.precision": (2, lambda ref: "0.33" in text(ref) and "0.333" not in text(ref)),
    "display.show_dimensions": (False, lambda ref: "columns]" not in text(ref)),
    "display.html.border": (7, lambda ref: 'border="7"' in html(ref)),
    "display.notebook_repr_html": (False, lambda ref: html(ref) is None),
    "display.chop_threshold": (0.5, lambda ref: "0.3" not in text(ref)),
    "display.large_repr": ("info", lambda ref: "RangeIndex" in text(ref)),
}


@pytest.mark.parametrize("name", PANDAS)
def test_an_option_that_was_changed_here_holds_in_a_display(frame, options, name):
    value, holds = PANDAS[name]
    before = shown(frame)
    options(name, value)
    assert holds(frame)
    pandas.reset_option(name)
    assert shown(frame) == before, "and no longer"


def test_frames_look_here_as_they_look_there(local, frame, options):
    mine = local.fetch(frame)
    with pandas.option_context("display.max_columns", 20, "display.max_rows", 12):
        assert html(frame) == mine._repr_html_()
        assert text(frame) == repr(mine)


def test_what_the_workers_code_sets_holds_where_the_kernel_has_left_it(local, frame, options):
    pandas.reset_option("display.max_rows")
    local.call("pandas.set_option", "display.max_rows", 6)
    local.call("pandas.set_option", "display.max_columns", 3)
    assert text(frame).count("\n") < 20
    assert text(frame).splitlines()[0].split() == ["c0", "...", "c39"]
    options("display.max_rows", None)
    assert text(frame).count("\n") > 99
    assert local.call("pandas.get_option", "display.max_rows") == 6, "it is put back"


def test_an_option_that_cannot_travel_is_left_alone(frame, options):
    options("display.float_format", "{:.1f}".format)
    assert "0.333333" in text(frame)


def test_an_option_that_the_worker_does_not_know_does_no_harm(frame, monkeypatch):
    unknown = {"changed": {"display.nonsense": 1, "display.max_rows": 4}, "defaults": {"x": 1}}
    monkeypatch.setattr(Preferences, "changed", lambda self: True)
    monkeypatch.setattr(Preferences, "take", lambda self: unknown)
    assert text(frame).count("\n") < 20


def test_looking_for_changes_finds_them_once(options):
    preferences = Preferences()
    assert preferences.changed()
    preferences.take()
    assert not preferences.changed()
    options("display.html.border", 3)
    assert preferences.changed()
    assert preferences.take()["changed"]["display.html.border"] == 3
    assert not preferences.changed()
    pandas.reset_option("display.html.border")
    assert preferences.changed()
    assert "display.html.border" not in preferences.take()["changed"]


@pytest.mark.parametrize("config", [None, object()], ids=["not loaded", "half loaded"])
def test_without_pandas_there_is_nothing_to_tell(monkeypatch, config):
    if config is None:
        monkeypatch.delitem(sys.modules, "pandas._config.config")
    else:
        monkeypatch.setitem(sys.modules, "pandas._config.config", config)
    preferences = Preferences()
    assert not preferences.changed()
    assert preferences.take() == {"changed": {}, "defaults": {}}


def test_a_pandas_that_is_not_loaded_here_shows_as_in_a_notebook(local, monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas._config.config")
    frame = local.call("pandas.DataFrame", {f"c{i}": [1] for i in range(40)})
    assert "c39" in html(frame)
    assert "c20" not in html(frame)
