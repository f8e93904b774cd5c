"""Tracebacks of remote errors: their frames, where the source comes from, what debuggers find."""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
import linecache
import os
import pdb
import random
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge_ext
from bridge_ext import BridgeError, RemoteError
from bridge_ext.kernel import raising
from bridge_ext.kernel.surface import surface
from bridge_ext.kernel.wire import limits, stacks
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.failure import encode_failure, is_failure
from bridge_ext.kernel.wire.loading import plain
from bridge_ext.kernel.wire.rebuilding import rebuild
from bridge_ext.kernel.wire.stacks import frames_of, is_frame, traceback_of

NEWER = sys.version_info >= (3, 11)
"""Whether Python knows columns, and raises again with a traceback that was changed."""
SOURCE = """
import importlib


def int_of(value):
    # a comment
    return int(value) + 1


def outer(value):
    try:
        return int_of(value)
    except ValueError as error:
        raise KeyError("outer") from error


def several(first,
            second):
    return (first +
            int_of(second))


def deep(levels):
    if levels:
        return deep(levels - 1)
    raise ValueError("at the bottom")


def load():
    return importlib.import_module("traced_broken")


def run(source, name):
    exec(compile(source, name, "exec"), {})


def twice(failure):
    from bridge_ext.kernel.wire.rebuilding import rebuild
    try:
        raise rebuild(failure, "kernel")
    finally:
        pass
"""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    (folder / "traced.py").write_text(SOURCE)
    (folder / "traced_broken.py").write_text("x = 1\n1/0\n")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("traced", None)


def fail(function, *args):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each test looks at the type
        function(*args)
    return caught.value


def text(error):
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def entries(tb):
    while tb is not None:
        yield tb
        tb = tb.tb_next


def remote_frames(error):
    """Function, line number and line of the frames in the worker."""
    found = traceback.extract_tb(error.__traceback__)
    return [(f.name, f.lineno, f.line) for f in found if f.name.endswith(" [in the worker]")]


# --- What is shown ----------------------------------------------------------------------------


def test_frames_in_the_worker_follow_the_users_own(bridge):
    error = fail(bridge.call, "traced.int_of", "x")
    assert remote_frames(error) == [("int_of [in the worker]", 7, "return int(value) + 1")]
    assert traceback.extract_tb(error.__traceback__)[0].filename == __file__


@pytest.mark.skipif(not NEWER, reason="columns came with 3.11")
def test_the_part_of_the_line_is_marked(bridge):
    shown = text(fail(bridge.call, "traced.int_of", "x"))
    line = shown.index("return int(value) + 1")
    marks = shown[line:].splitlines()[1].strip()
    assert set(marks) <= set("~^")
    assert len(marks) == len("int(value)")


@pytest.mark.skipif(not NEWER, reason="columns came with 3.11")
def test_columns_are_those_of_the_frame(bridge):
    error = fail(bridge.call, "traced.several", 1, "x")
    codes = [entry.tb_frame.f_code for entry in entries(error.__traceback__)]
    several = next(code for code in codes if "several" in code.co_name)
    positions = next(several.co_positions())
    assert positions == (20, 20, 12, 26)
    assert "int_of(second)" in text(error)


def test_an_error_without_frames_of_the_user_says_so(bridge):
    error = fail(bridge.call, "math.sqrt", -1)
    ((name, _, line),) = remote_frames(error)
    assert name == "call [in the worker]"
    assert line.startswith("# no Python code of yours")


def test_frames_of_the_import_system_are_left_out(bridge):
    for path in ("traced.load", "traced_broken.anything"):
        sys.modules.pop("traced_broken", None)
        error = fail(bridge.call, path)
        assert type(error) is ZeroDivisionError
        assert "importlib" not in text(error).partition("in the worker")[2].replace(
            'importlib.import_module("traced_broken")', ""
        )
        assert remote_frames(error)[-1] == ("<module> [in the worker]", 2, "1/0")


def test_the_source_of_a_function_that_was_shipped_is_shown(local):
    """The worker has no file of it; the lines are known here, as those of a notebook's cell are."""
    source = "x = 1\n\n\ndef shipped(value):\n    # a comment\n    return value / 0\n"
    name = "<a cell of the test>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), space)
    local.register_helper(space["shipped"])
    try:
        error = fail(local.helper, "shipped", 1)
        assert remote_frames(error) == [("shipped [in the worker]", 6, "return value / 0")]
        frame = list(entries(error.__traceback__))[-1].tb_frame
        assert inspect.getsourcelines(frame) == (source.splitlines(keepends=True)[3:], 4)
        assert "return value / 0" in local.traceback()
    finally:
        del linecache.cache[name]


def test_a_line_that_only_the_worker_knows_is_shown(local):
    source = (
        "import linecache\nlinecache.cache[__name__] = (9, None, ['a = 1\\n', '1/0\\n'], 'x')\n"
    )
    local.call("exec", source, {"__name__": "made up"})
    error = fail(local.call, "traced.run", "a = 1\n1/0\n", "made up")
    found = traceback.extract_tb(error.__traceback__)[-1]
    assert (found.filename, found.lineno, found.line) == ("<worker: made up>", 2, "1/0")
    assert "made up" not in linecache.cache


def test_a_line_that_differs_here_is_shown_as_the_worker_has_it(local, tmp_path):
    file = tmp_path / "changing.py"
    file.write_text("\n\n1/0\n")
    with open(file) as stream:
        source = stream.read()
    error = fail(local.call, "traced.run", source, str(file))
    assert remote_frames(error)[-1][2] == "1/0"
    failure = local._client._last
    file.write_text("something = 'else'\n" * 5)
    back = rebuild(failure)
    found = traceback.extract_tb(back.__traceback__)[-1]
    assert found.line == "1/0"
    assert found.filename == f"<worker: {file}>"


@pytest.mark.parametrize("line", ["1/0", ""])
def test_what_is_no_source_file_is_not_read(tmp_path, line):
    pipe, data = tmp_path / "pipe", tmp_path / "data"
    os.mkfifo(pipe)  # reading it would wait for ever
    with open(data, "wb") as stream:
        stream.truncate(1 << 40)  # and this would take all memory
    for file in (pipe, data):
        frame = [str(file), 1, "f", 1, line, None, False, ""]
        (entry,) = entries(traceback_of([frame], "worker"))
        assert (traceback.extract_tb(entry)[0].line or "") == line


def test_lines_of_the_other_side_are_not_kept_for_ever():
    before = len(linecache.cache)
    for number in range(3 * stacks._SOURCES):
        frame = [f"no such {number}.py", number + 1, "f", 1, "1/0", None, False, ""]
        assert traceback_of([frame], "worker") is not None
    assert len(linecache.cache) <= before + stacks._SOURCES


def test_a_hidden_frame_is_there_when_all_are_asked_for(local):
    error = fail(local.call, "traced.int_of", "x")
    assert "serving" not in text(error)
    everything = local.traceback()
    assert "serving.py" in everything
    assert "return int(value) + 1" in everything


# --- The frames themselves --------------------------------------------------------------------


def test_a_frame_has_no_variables_and_says_where_they_are(bridge):
    error = fail(bridge.call, "traced.int_of", "x")
    frame = list(entries(error.__traceback__))[-1].tb_frame
    assert dict(frame.f_locals) == {}
    with pytest.raises(
        NameError, match="'value' cannot be looked at here: this frame is in the wor"
    ):
        eval("value", frame.f_globals, frame.f_locals)
    assert eval("len('abc')", frame.f_globals, frame.f_locals) == 3


def test_a_frame_refers_to_no_other_and_keeps_what_it_has(bridge):
    error = fail(bridge.call, "traced.outer", "x")
    gc.collect()
    junk = [{"junk": n} for n in range(100_000)]  # what was freed by mistake would be one of these
    for each in (error, error.__cause__):
        for entry in entries(each.__traceback__):
            frame = entry.tb_frame
            if frame.f_code.co_name.endswith("[in the worker]"):
                assert frame.f_back is None
                assert stacks.record_of(frame)[2] + " [in the worker]" == frame.f_code.co_name
                assert "junk" not in frame.f_globals
                assert entry.tb_lineno == stacks.record_of(frame)[1]
    del junk


def test_an_error_leaves_nothing_for_the_collector(bridge):
    def once():
        try:
            bridge.call("traced.outer", "x")
        except KeyError:
            pass

    once()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            once()
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_no_line_of_a_made_frame_runs(bridge):
    """A debugger's breakpoint on the line must not be hit here."""
    lines = []

    def trace(frame, event, arg):
        if frame.f_code.co_filename.endswith("traced.py"):
            lines.append(event)
        return trace

    before = sys.gettrace()
    local = bridge_ext.Bridge()
    with local:
        local.call("traced.int_of", 1)
        sys.settrace(trace)
        try:
            error = fail(local.call, "traced.int_of", "x")
        finally:
            sys.settrace(before)
    assert remote_frames(error)
    assert "line" not in lines


def test_frames_may_be_cleared(bridge):
    error = fail(bridge.call, "traced.outer", "x")
    traceback.clear_frames(error.__traceback__)
    assert "int_of [in the worker]" in text(error)


def test_pdb_says_that_the_frame_is_remote(bridge):
    error = fail(bridge.call, "traced.int_of", "x")
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("p value\nup\np value\nq\n"), stdout=out, nosigint=True)
    debugger.reset()
    debugger.interaction(None, error.__traceback__)
    shown = out.getvalue()
    assert "traced.py(7)int_of [in the worker]()" in shown
    assert "-> return int(value) + 1" in shown
    assert "'value' cannot be looked at here: this frame is in the worker" in shown


@given(
    first=st.integers(0, 10**6),
    more=st.integers(0, 10**5),
    columns=st.none()
    | st.tuples(st.integers(0, 3_000), st.integers(0, 5_000), st.integers(0, 5_000)),
)
def test_the_code_of_a_frame_has_the_place_that_was_asked_for(first, more, columns):
    number = first + more
    wanted = (number + columns[0], *columns[1:]) if columns else None
    code = stacks._code("f.py", number, "name", first, wanted)
    assert (code.co_firstlineno, code.co_name, code.co_filename) == (first, "name", "f.py")
    if NEWER:
        expected = (number, *wanted) if wanted else (number, number, None, None)
        assert set(code.co_positions()) == {expected}


def test_odd_line_numbers_and_names_arrive():
    odd = [
        ["\x00\x1b[31m", 0, "\n\x1b", 0, "\x00", None, False, ""],
        ["a" * 10_000, 1 << 30, "f" * 10_000, 1 << 30, "x", [1 << 30, 1 << 30, 0], False, ""],
        ["\ud800", 5, "\ud800", 9, "\ud800", [0, 9, 3], False, "\x1b"],
        ["", 1, "", 1, "", None, True, ""],
    ]
    assert all(map(is_frame, odd))
    shown = "".join(traceback.format_tb(traceback_of(odd, "worker", everything=True)))
    assert "\x1b" not in shown
    shown.encode()
    assert "[in the worker]" in shown


def test_made_code_that_claims_odd_lines_is_survived(bridge):
    source = (
        "import types\n"
        "def f(): 1/0\n"
        "code = f.__code__.replace(co_firstlineno=2147483600, co_name='odd')\n"
        "types.FunctionType(code, {})()\n"
    )
    error = fail(bridge.call, "traced.run", source, "odd.py")
    assert type(error) is ZeroDivisionError
    assert "odd [in the worker]" in text(error)


def test_a_deep_stack_is_cut_in_the_middle(bridge):
    source = "import sys\nsys.setrecursionlimit(20000)\nimport traced\ntraced.deep(5000)\n"
    limit = sys.getrecursionlimit()
    try:
        error = fail(bridge.call, "traced.run", source, "deep.py")
    finally:
        sys.setrecursionlimit(limit)
    assert error.args == ("at the bottom",)
    found = remote_frames(error)
    assert len(found) < limits.MAX_FRAMES
    assert found[0][0] == "run [in the worker]" or found[1][0] == "run [in the worker]"
    assert found[-1][2] == 'raise ValueError("at the bottom")'
    assert any("frames [in the worker]" in name for name, _, _ in found)


def test_stacks_of_a_long_chain_stay_within_the_limit():
    def grow(levels, error):
        if levels:
            grow(levels - 1, error)
        raise error

    error = None
    for number in range(90):
        following = ValueError(number)
        following.__cause__ = error
        error = fail(grow, 200, following)
    failure = encode_failure(error)
    assert sum(len(record[5]) for record in (failure, *failure[-1])) < limits.MAX_STACKS + 1_500
    assert is_failure(plain.load(pack(failure)))


def test_a_frame_that_crosses_twice_says_where_it_was_first(bridge):
    def here(value):
        return int(value)

    error = fail(bridge.call, "traced.twice", encode_failure(fail(here, "x")))
    names = [f.name for f in traceback.extract_tb(error.__traceback__)]
    assert "twice [in the worker]" in names
    assert names[-1] == "here [in the kernel]"


def calling_back(function, value):
    """Runs in the worker."""
    return function(value)


def test_an_error_of_a_callback_shows_its_own_frames_and_none_of_the_bridge(bridge):
    def callback(value):
        return int(value)

    bridge.register_helper(calling_back)
    error = fail(bridge.helper, "calling_back", bridge.callback(callback), "x")
    names = [
        f.name for f in traceback.extract_tb(error.__traceback__) if NEWER or f.name != "helper"
    ]
    assert names == ["fail", "callback"]


def test_a_callbacks_frames_stay_where_it_calls_in_turn(bridge):
    def callback(value):
        return bridge.call("traced.int_of", value)

    bridge.register_helper(calling_back)
    error = fail(bridge.helper, "calling_back", bridge.callback(callback), "x")
    names = [f.name for f in traceback.extract_tb(error.__traceback__)]
    ours = {"helper", "call"}
    assert [n for n in names if n not in ours] == ["fail", "callback", "int_of [in the worker]"]
    assert not NEWER or ours.isdisjoint(names)


# --- At the surface ---------------------------------------------------------------------------


def test_an_error_of_ours_shows_no_frame_of_ours(bridge):
    error = fail(bridge.session_info, "never_was")
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "bridge_ext" in f.filename]
    assert len(ours) == (0 if NEWER else 1)


def test_a_fault_of_ours_and_an_error_of_the_users_code_show_every_frame():
    @surface
    def outermost():
        return inner()

    def inner():
        raise ZeroDivisionError

    names = [f.name for f in traceback.extract_tb(fail(outermost).__traceback__)]
    assert names[-2:] == ["outermost", "inner"]


def test_the_surface_of_a_coroutine_is_a_coroutine():
    @surface
    async def outermost():
        raise BridgeError("ours")

    assert inspect.iscoroutinefunction(outermost)
    error = fail(asyncio.run, outermost())
    names = [f.name for f in traceback.extract_tb(error.__traceback__)]
    assert names.count("outermost") == (0 if NEWER else 1)


def test_functions_of_the_bridge_keep_their_names_and_signatures():
    call = bridge_ext.Bridge.call
    assert (call.__name__, call.__qualname__) == ("call", "Calls.call")
    assert list(inspect.signature(call).parameters) == ["self", "path", "args", "kwargs"]
    assert call.__doc__.startswith("Call a function in the worker.")
    assert "by_path" in inspect.getsource(call)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import bridge_ext


def main(bridge):
    bridge.call("traced.int_of", "x")


with bridge_ext.Bridge() as bridge:
    main(bridge)
"""


def test_a_script_that_fails_shows_its_own_frames_and_the_workers(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(folder)))
    root = str(Path(bridge_ext.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    shown = done.stderr
    files = [line for line in shown.splitlines() if line.startswith("  File ")]
    ours = [line for line in files if "bridge_ext" in line]
    assert len(ours) == (0 if NEWER else 1)
    names = [line.partition(", in ")[2] for line in files if line not in ours]
    assert names == ["<module>", "main", "int_of [in the worker]"]
    assert "    return int(value) + 1\n" in shown
    assert shown.rstrip().endswith("ValueError: invalid literal for int() with base 10: 'x'")


# --- bridge.traceback() -----------------------------------------------------------------------


def test_there_is_no_traceback_at_first(bridge):
    assert bridge.traceback() == ""
    bridge.call("math.sqrt", 4)
    assert bridge.traceback() == ""


def test_the_traceback_is_whole(bridge):
    fail(bridge.call, "traced.outer", "x")
    shown = bridge.traceback()
    assert shown.index("ValueError: invalid literal") < shown.index("direct cause")
    assert shown.index("direct cause") < shown.index("KeyError: 'outer'")
    assert "return int(value) + 1" in shown
    assert "_serve [in the worker]" in shown


def test_the_traceback_of_compiled_code_has_the_frames_that_called_it(bridge):
    fail(bridge.call, "math.sqrt", -1)
    assert "_call [in the worker]" in bridge.traceback()


def test_the_traceback_is_that_of_the_last_error_of_this_bridge(bridge):
    fail(bridge.call, "traced.int_of", "first")
    fail(bridge.call, "traced.int_of", "second")
    fail(bridge.session_info, "never_was")  # an error of ours has none
    bridge.call("math.sqrt", 4)
    assert "'second'" in bridge.traceback()
    with bridge_ext.Bridge("memory") as other:
        assert other.traceback() == ""


SHOWN = """
import sys, types
module = sys.modules["shown"] = types.ModuleType("shown")
class Thing:
    def __repr__(self):
        raise SystemExit("not to be shown")
module.Thing = Thing
"""


def test_what_is_asked_for_a_display_is_no_error_of_the_users(local):
    fail(local.call, "traced.int_of", "x")
    local.call("exec", SHOWN)
    ref = local.new("shown.Thing")
    assert ref._repr_mimebundle_() == {"text/plain": "<ref Thing>"}
    assert "int_of" in local.traceback()


def test_a_traceback_outlives_its_worker(local):
    fail(local.call, "traced.int_of", "x")
    local.restart()
    assert "return int(value) + 1" in local.traceback()


@pytest.mark.skipif(not NEWER, reason="groups came with 3.11")
def test_the_traceback_of_a_group_has_every_member(bridge):
    source = "raise ExceptionGroup('many', [ValueError(n) for n in range(40)])"
    fail(bridge.call, "traced.run", source, "group.py")
    assert all(f"ValueError: {n}\n" in bridge.traceback() for n in range(40))


def test_a_huge_traceback_loses_its_middle(bridge, monkeypatch):
    monkeypatch.setattr(raising, "_LONGEST", 1_000)
    fail(bridge.call, "traced.outer", "x" * 3_000)
    shown = bridge.traceback()
    assert len(shown) < 1_100
    assert "characters left out" in shown
    assert shown.endswith("KeyError: 'outer'\n")


# --- What a peer may send ---------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 40) | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(x, path=()):
    """Every place in nested lists and maps."""
    yield path
    for key, child in x.items() if type(x) is dict else enumerate(x) if type(x) is list else ():
        yield from places(child, (*path, key))


def changed(x, path, value):
    if not path:
        return value
    copy = dict(x) if type(x) is dict else list(x)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def sample():
    """A failure with all that one can have."""

    def inner():
        raise OSError(2, "text", "file")

    error = ValueError("a", 5)
    error.field = {"a": [1]}
    error.__cause__, error.__context__ = fail(inner), KeyError("k")
    vars(error)["__notes__"] = ["note"]
    if NEWER:
        error.__context__ = ExceptionGroup("g", [KeyError("k"), error.__cause__])  # noqa: F821
    return plain.load(pack(encode_failure(fail(raise_it, error))))


def raise_it(error):
    raise error


SAMPLE = sample()
PLACES = list(places(SAMPLE))


@given(place=st.sampled_from(PLACES), value=VALUES)
def test_a_failure_is_refused_or_rebuilt_whatever_it_holds(place, value):
    failure = changed(SAMPLE, place, value)
    if is_failure(failure):
        back = rebuild(failure)
        assert isinstance(back, Exception)
        assert isinstance(text(back), str)


def test_a_good_failure_is_accepted():
    assert is_failure(SAMPLE)
    assert text(rebuild(SAMPLE))


def test_every_part_of_a_record_is_checked():
    """Where a part has a type of its own, no other passes."""
    wrong = {str: 5, int: "x", bool: 5, list: "x", dict: []}
    free = {2, 3}  # arguments and attributes are any values
    for place in PLACES:
        inner = place[2:] if place and place[0] == 10 and len(place) > 1 else place
        if len(inner) > 1 and inner[0] in free:
            continue
        value = SAMPLE
        for key in place:
            value = value[key]
        if value is None:
            continue
        assert not is_failure(changed(SAMPLE, place, wrong[type(value)])), place


def test_links_that_lead_nowhere_are_refused():
    for links in ([99, None, False, []], [None, -2, False, []], [None, None, False, [None]]):
        assert not is_failure([*SAMPLE[:9], links, SAMPLE[10]])


def test_a_group_that_holds_itself_is_survived():
    if not NEWER:
        pytest.skip("groups came with 3.11")
    failure = encode_failure(ExceptionGroup("g", [KeyError("k")]))  # noqa: F821
    failure[9][3] = [0, 1]
    back = rebuild(failure)
    assert [type(e) for e in back.exceptions] == [RemoteError, KeyError]


def test_too_many_exceptions_are_refused():
    linked = [SAMPLE[:10]] * limits.MAX_ERRORS
    assert not is_failure([*SAMPLE[:10], linked])


@pytest.mark.parametrize("number", [-1, 1 << 31, 1 << 70, True])
def test_numbers_that_no_line_can_have_are_refused(number):
    frame = ["f.py", 1, "f", 1, "", [1, 0, 3], False, ""]
    assert is_frame(frame)
    assert not is_frame(changed(frame, (1,), number))
    assert not is_frame(changed(frame, (3,), number))
    for place in range(3):
        assert not is_frame(changed(frame, (5, place), number))


def test_frames_beyond_the_limit_are_refused():
    frame = ["f.py", 1, "f", 1, "", None, False, ""]
    assert is_failure([*SAMPLE[:5], [frame] * limits.MAX_FRAMES, *SAMPLE[6:]])
    assert not is_failure([*SAMPLE[:5], [frame] * (limits.MAX_FRAMES + 1), *SAMPLE[6:]])


def test_a_random_stack_is_kept_frame_by_frame():
    rng = random.Random(5)
    depth = rng.randrange(5, 20)

    def down(levels):
        if not levels:
            raise ValueError
        down(levels - 1)

    error = fail(down, depth)
    frames = frames_of(error.__traceback__, frozenset())
    assert [f[2] for f in frames][-depth - 1 :] == ["down"] * (depth + 1)
    back = traceback_of(frames, "worker")
    original = [(f.filename, f.lineno, f.line) for f in traceback.extract_tb(error.__traceback__)]
    assert [(f.filename, f.lineno, f.line) for f in traceback.extract_tb(back)] == original
