"""Errors of the worker in a real kernel: what a cell shows, what `%debug` and `%bridge` say."""

from __future__ import annotations

import queue
import sys
import time

import pytest
from conftest import eventually
from kernels import PATIENCE, Cell, Kernel, plain

NEWER = sys.version_info >= (3, 11)
"""Whether Python raises again with a traceback that was changed."""
MODULE = '''
class Mine(Exception):
    """An exception of a module beside the notebook."""


def fail(text="from below"):
    raise Mine(text, 5)


def int_of(value):
    # a comment
    return int(value)


def outer(value):
    try:
        return int_of(value)
    except ValueError as error:
        raise KeyError("outer") from error


def many():
    raise ExceptionGroup("many", [ValueError("first"), KeyError("second")])


def parse():
    compile("x = (1\\n", "generated.py", "exec")


def shapes():
    import numpy

    x, weights = numpy.ones((2, 3)), numpy.ones(4)
    return x * weights
'''


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        for name in ("beside", "stranger"):
            (kernel.directory / f"{name}.py").write_text(MODULE)
        kernel.run("%load_ext bridge_ext\nimport beside, sys")
        yield kernel
    finally:
        kernel.close()


@pytest.fixture(autouse=True)
def _as_found(kernel):
    yield
    kernel.run("%xmode Context")


@pytest.mark.parametrize("mode", ["Context", "Plain", "Verbose", "Minimal"])
@pytest.mark.parametrize(
    "line", ["bridge.call('beside.int_of', 'x')", "%bridge call beside.int_of 'x'"]
)
def test_a_cell_shows_its_own_line_and_the_lines_in_the_worker(kernel, mode, line):
    kernel.run(f"%xmode {mode}")
    cell = kernel.fail(line)
    told = cell.told
    assert cell.error["ename"] == "ValueError"
    assert told.rstrip().endswith("ValueError: invalid literal for int() with base 10: 'x'")
    assert told.count("/bridge_ext/") <= (0 if NEWER else 1)
    if mode == "Minimal":
        return
    frame = told.index("int_of [in the worker]")
    assert told.index("Cell In") < frame < told.index("return int(value)")
    assert told.count("in the worker") == 1


def test_the_line_in_the_worker_stands_in_its_context(kernel):
    told = kernel.fail("bridge.call('beside.int_of', 'x')").told
    assert "beside.py:12, in int_of [in the worker]" in told
    assert (
        "     10 def int_of(value):\n     11     # a comment\n---> 12     return int(value)" in told
    )


def test_a_cause_stands_above_with_its_own_lines(kernel):
    told = kernel.fail("bridge.call('beside.outer', 'x')").told
    cause, _, rest = told.partition("The above exception was the direct cause")
    assert "int_of [in the worker]" in cause
    assert "Cell In" not in cause
    assert "Cell In" in rest
    assert 'raise KeyError("outer") from error' in rest


def test_the_code_of_a_cell_that_ran_in_the_worker_is_shown(kernel):
    source = "def of_a_cell(value):\n    # in the cell\n    return value / 0\n"
    count = kernel.run(source + "bridge.register_helper(of_a_cell);").count
    told = kernel.fail("bridge.helper('of_a_cell', 5)").told
    assert f"Cell In[{count}], line 3, in of_a_cell [in the worker]" in told
    assert "      1 def of_a_cell(value):\n      2     # in the cell\n----> 3     return" in told
    assert "return value / 0" in kernel.run("%bridge traceback").result["text/plain"]


def test_a_class_of_the_notebook_is_caught_as_itself(kernel):
    kernel.run(
        "class OfACell(Exception):\n    pass\n"
        "def raise_it():\n    raise OfACell('it', 5)\n"
        "bridge.register_helper(raise_it);"
    )
    code = "try:\n    bridge.helper('raise_it')\nexcept OfACell as error:\n    print(error.args)"
    assert kernel.run(code).stdout == "('it', 5)\n"


def test_a_class_of_a_module_beside_the_notebook_is_caught_as_itself(kernel):
    code = (
        "try:\n    bridge.call('beside.fail')\nexcept beside.Mine as error:\n    print(error.args)"
    )
    assert kernel.run(code).stdout == "('from below', 5)\n"


def test_a_type_of_a_module_that_only_the_worker_has_imported(kernel):
    cell = kernel.fail("bridge.call('stranger.fail')")
    assert cell.error["ename"] == "RemoteError"
    assert cell.error["evalue"] == "stranger.Mine: ('from below', 5)"
    assert "fail [in the worker]" in cell.told
    assert kernel.get("'stranger' in sys.modules") is False


def test_an_error_of_the_bridge_shows_no_frame_of_it(kernel):
    told = kernel.fail("bridge.session_info('never_was')").told
    assert "SessionNotFoundError" in told
    assert told.count("surface.py") == (0 if NEWER else 1)


def test_a_syntax_error_shows_its_line(kernel):
    cell = kernel.fail("bridge.call('beside.parse')")
    assert cell.error["ename"] == "SyntaxError"
    assert "generated.py:1" in cell.told or 'generated.py", line 1' in cell.told
    assert "    x = (1\n        ^\nSyntaxError: '(' was never closed" in cell.told


@pytest.mark.skipif(not NEWER, reason="groups came with 3.11")
def test_a_group_shows_its_members(kernel):
    cell = kernel.execute("bridge.call('beside.many')")
    assert cell.status == "error"
    told = plain(cell.stderr)  # IPython leaves groups to Python
    assert "many [in the worker]" in told
    assert "ValueError: first" in told
    assert "KeyError: 'second'" in told
    assert "bridge_ext" not in told
    code = "try:\n    bridge.call('beside.many')\nexcept* LookupError as group:\n    print(group)"
    assert kernel.execute(code).stdout == "many (1 sub-exception)\n"


def test_a_hint_stands_below_the_error(kernel):
    told = kernel.fail("bridge.call('beside.shapes')").told
    assert told.rstrip().endswith("At hand: x is (2, 3), weights is (4,).")


@pytest.mark.skipif(not NEWER, reason="there the frame that was called stays in the traceback")
def test_refs_of_a_call_that_failed_are_not_held_by_its_error(kernel):
    kernel.run("t_x = bridge.new('tracked.Thing', 'of-an-error')")
    kernel.fail("bridge.call('tracked.fail', t_x)")
    kernel.run("del t_x")
    eventually(lambda: kernel.file("freed-of-an-error"), "the end of the ref", 2.0)


# --- %bridge traceback ------------------------------------------------------------------------


def test_the_magic_shows_the_whole_traceback(kernel):
    kernel.run("%reload_ext bridge_ext")
    assert kernel.run("%bridge traceback").result["text/plain"] == (
        "no error was raised in the worker"
    )
    kernel.fail("bridge.call('beside.outer', 'x')")
    whole = kernel.run("%bridge traceback").result["text/plain"]
    assert (
        whole.index("ValueError: invalid") < whole.index("direct cause") < whole.index("KeyError")
    )
    assert "serving.py" in whole
    assert whole.rstrip() == kernel.get("bridge.traceback()").rstrip()
    assert kernel.run("%bridge traceback;").results == []


def test_the_magic_explains_itself(kernel):
    assert "%bridge traceback" in kernel.run("%bridge -h").result["text/plain"]
    assert kernel.fail("%bridge traceback now").error["ename"] == "BridgeUsageError"


# --- %debug -----------------------------------------------------------------------------------


def converse(kernel, code, answers):
    """Run a cell that asks for input; the answers, and what was printed."""
    client = kernel.client
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": True,
        "stop_on_error": True,
    }
    message = client.session.msg("execute_request", content)
    cell = kernel._cells[message["header"]["msg_id"]] = Cell(code)
    client.shell_channel.send(message)
    end, left = time.monotonic() + PATIENCE, list(answers)
    while not cell.done:
        assert time.monotonic() < end, cell
        kernel._read(client.shell_channel, 0)
        kernel._read(client.iopub_channel, 0.02)
        try:
            asked = client.stdin_channel.get_msg(timeout=0)
        except queue.Empty:
            continue
        if asked["msg_type"] == "input_request":
            client.input(left.pop(0))
    return plain(cell.stdout)


def test_debug_says_that_the_frame_is_in_the_worker(kernel):
    kernel.fail("bridge.call('beside.int_of', 'x')")
    told = converse(kernel, "%debug", ["p value", "up", "p 6 * 7", "q"])
    assert "beside.py(12)int_of [in the worker]()" in told
    assert "---> 12     return int(value)" in told
    assert (
        "NameError: 'value' cannot be looked at here: this frame is in the worker, and its "
        "variables stay there"
    ) in told
    assert "<module>()" in told  # one frame up is the cell
    assert "42" in told
    assert kernel.run("bridge.call('math.sqrt', 4)").result["text/plain"] == "2.0"


def test_debug_where_no_python_code_was_running(kernel):
    kernel.fail("bridge.call('math.sqrt', -1)")
    told = converse(kernel, "%debug", ["q"])
    assert "<worker: call>(1)call [in the worker]()" in told
    assert "no Python code of yours was running" in told
