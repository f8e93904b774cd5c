"""Cells of a real kernel: sessions of cells, tasks, threads and subshells, display, output."""

from __future__ import annotations

import re
import signal
import time

import IPython
import nbformat
import pytest
from conftest import eventually
from kernels import ROOT, Kernel, plain
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

AT_ONCE = 2.0
"""Seconds in which what nobody can reach must have been freed without another message."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One kernel for all tests that leave it as they found it."""
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        kernel.run("%load_ext bridge_ext\nbridge.call('math.sqrt', 4);")
        kernel.run("import asyncio, gc, threading, time, tracked")
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def kernel(shared):
    """The shared kernel, with nothing held and no name left from another test."""
    for file in shared.directory.glob("*-*"):
        file.unlink()
    yield shared
    shared.run(
        "%session --clear\n"
        "for name in [n for n in globals() if n.startswith('t_')]: del globals()[name]\n"
        "bridge.release_all()\n"
        "None"
    )


@pytest.fixture
def own(tmp_path):
    """A kernel that a test may break."""
    kernel = Kernel(tmp_path)
    try:
        yield kernel
    finally:
        kernel.close()


def freed(kernel, name):
    """Wait until the worker has freed a tracked thing, with no message to help it."""
    eventually(lambda: kernel.file(f"freed-{name}"), f"the end of {name}", AT_ONCE)


def released(kernel, id):
    """Wait until a session has ended, and the worker has said so."""
    status = f"bridge.session_info({id!r}).status.value"
    eventually(lambda: kernel.get(status) == "released", f"the end of {id}")


# ---------------------------------------------------------------- auto-sessions
def test_every_cell_has_an_auto_session_with_its_number_in_the_id(kernel):
    started = time.time() * 1000
    cells = [kernel.run("print(bridge.current_session(), bridge.current_session())")]
    cells.append(kernel.run("print(bridge.current_session(), bridge.current_session())"))
    ids = []
    for cell in cells:
        first, second = cell.stdout.split()
        assert first == second, "one cell, one session"
        pid, number, made = re.fullmatch(r"auto_(\d+)_(\d+)_(\d+)(?:_\d+)?", first).groups()
        assert int(pid) == kernel.pid
        assert int(number) == cell.count
        assert started - 1000 <= int(made) <= time.time() * 1000 + 1000
        ids.append(first)
    assert ids[0] != ids[1]


def test_a_cell_that_makes_no_call_makes_nothing(kernel):
    kernel.run("t_events = []\nt_stop = bridge.subscribe(t_events.append)")
    kernel.run("t_x = 1")
    kernel.run("await asyncio.sleep(0)")
    kernel.run("bridge.sessions(), bridge.refs(), bridge.status();")
    assert kernel.get("[str(e) for e in t_events]") == []
    kernel.run("t_stop()")


@pytest.mark.parametrize("code", ["", "await asyncio.sleep(0)\n"], ids=["sync", "async"])
def test_what_a_cell_made_and_nobody_can_reach_is_freed_right_after_it(kernel, code):
    kernel.run(f"{code}bridge.new('tracked.Thing', 'lost');")
    freed(kernel, "lost")


def test_a_calls_plain_result_leaves_no_session_behind(kernel):
    cell = kernel.run("bridge.call('math.sqrt', 4)\nprint(bridge.current_session())")
    released(kernel, cell.stdout.strip())


def test_what_escaped_a_cell_keeps_working_and_the_rest_is_freed(kernel):
    kernel.run("t_x = bridge.new('tracked.Thing', 'kept')\nbridge.new('tracked.Thing', 'temp');")
    freed(kernel, "temp")
    assert kernel.get("t_x.name") == "kept"
    kernel.run("t_y = [t_x]; del t_x")
    assert kernel.get("t_y[0].name") == "kept"
    assert not kernel.file("freed-kept")


def test_the_last_handle_frees_the_object_and_ends_its_session(kernel):
    id = kernel.run(
        "t_x = bridge.new('tracked.Thing', 'last')\nprint(bridge.current_session())"
    ).stdout.strip()
    assert kernel.get(f"bridge.session_info({id!r}).status.value") == "active"
    kernel.run("del t_x")
    freed(kernel, "last")
    released(kernel, id)


@pytest.mark.parametrize("code", ["", "await asyncio.sleep(0)\n"], ids=["sync", "async"])
@pytest.mark.parametrize("error", ["1/0", "raise SystemExit(1)", "raise KeyboardInterrupt"])
def test_a_failing_cell_frees_what_did_not_escape(kernel, code, error):
    kernel.fail(f"%%session t1\n{code}bridge.new('tracked.Thing', 'beside');\n{error}")
    freed(kernel, "beside")
    assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


def test_a_cell_without_history_has_a_scope_too(kernel):
    ids = kernel.run("print(bridge.current_session())", store_history=False).stdout.split()
    ids += kernel.run("print(bridge.current_session())", store_history=False).stdout.split()
    assert len(set(ids)) == 2
    kernel.run("bridge.new('tracked.Thing', 'unstored').name", store_history=False)
    freed(kernel, "unstored")


def test_the_cell_that_loads_has_a_session_which_ends_with_it(own):
    first = own.run(
        "%load_ext bridge_ext\nx = bridge.new('tracked.Thing', 'loaded')\n"
        "bridge.new('tracked.Thing', 'temp');\nprint(bridge.current_session())"
    )
    second = own.run("print(bridge.current_session(), x.name)")
    id, other = first.stdout.strip(), second.stdout.split()[0]
    assert re.fullmatch(rf"auto_{own.pid}_{first.count}_\d+(_\d+)?", id)
    assert re.fullmatch(rf"auto_{own.pid}_{second.count}_\d+(_\d+)?", other)
    freed(own, "temp")
    assert not own.file("freed-loaded")
    own.run("del x")
    freed(own, "loaded")


def test_an_async_cell_that_loads_has_a_session_which_ends_with_it(own):
    id = own.run(
        "import asyncio\n%load_ext bridge_ext\nawait asyncio.sleep(0)\n"
        "bridge.new('tracked.Thing', 'temp');\nprint(bridge.current_session())"
    ).stdout.strip()
    assert re.fullmatch(rf"auto_{own.pid}_1_\d+(_\d+)?", id)
    freed(own, "temp")
    assert own.run("print(bridge.current_session())").stdout.strip() != id


# ---------------------------------------------------------------- Out, tracebacks, del
def test_out_holds_what_was_displayed_until_it_is_taken_from_there_too(kernel):
    count = kernel.run("t_x = bridge.new('tracked.Thing', 'shown')\nt_x").count
    kernel.run("del t_x")
    assert kernel.get("[r.held_by for r in bridge.refs()]") == [(f"Out[{count}]",)]
    assert not kernel.file("freed-shown")
    kernel.run(f"t_x = Out[{count}]\n%xdel t_x")
    freed(kernel, "shown")


def test_a_semicolon_keeps_a_result_out_of_out(kernel):
    cell = kernel.run("t_x = bridge.new('tracked.Thing', 'silent')\nt_x;")
    assert cell.results == []
    kernel.run("del t_x")
    freed(kernel, "silent")
    cell = kernel.run("%bridge new tracked.Thing 'magic';")
    assert cell.results == []
    freed(kernel, "magic")


def test_a_traceback_holds_its_refs_until_the_next_exception(kernel):
    kernel.fail("def t_f():\n    x = bridge.new('tracked.Thing', 'local')\n    1/0\nt_f()")
    assert kernel.get("[r.held_by for r in bridge.refs()]") == [("a traceback",)]
    assert not kernel.file("freed-local")
    kernel.fail("1/0")
    kernel.run("gc.collect();")
    freed(kernel, "local")


def test_a_ref_in_a_cycle_is_freed_with_it(kernel):
    kernel.run("t_a = [bridge.new('tracked.Thing', 'cycle')]\nt_a.append(t_a)\ndel t_a")
    kernel.run("gc.collect();")
    freed(kernel, "cycle")


# ---------------------------------------------------------------- %%session
def test_a_cell_runs_in_its_session_and_only_that_cell(kernel):
    assert kernel.run("%%session t1\nprint(bridge.current_session())").stdout == "t1\n"
    assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


def test_the_last_expression_is_displayed(kernel):
    cell = kernel.run("%%session t1\nx = 40\nx + 2")
    assert cell.result["text/plain"] == "42"
    assert kernel.run("%%session t1\n40 + 2;").results == []


def test_an_error_has_the_line_number_of_the_cell_as_it_was_written(kernel):
    cell = kernel.fail("%%session t1\nx = 1\n1/0")
    assert cell.error["ename"] == "ZeroDivisionError"
    assert "line 3" in cell.traceback
    assert "1/0" in cell.traceback
    cell = kernel.fail("\n# a note\n%%session t1\nx = 1\n1/0")
    assert "1/0" in cell.traceback


def test_a_syntax_error_has_its_line_number(kernel):
    cell = kernel.fail("%%session t1\nx = 1\ny = = 2")
    assert cell.error["ename"] == "SyntaxError"
    assert "line 3" in cell.traceback


def test_top_level_await_works(kernel):
    cell = kernel.run(
        "%%session t1\nawait asyncio.sleep(0)\nt_x = bridge.new('list')\nbridge.current_session()"
    )
    assert cell.result["text/plain"] == "'t1'"
    assert kernel.get("bridge.info(t_x).session_id") == "t1"


@pytest.mark.parametrize(
    "code",
    [
        "\n\n%%session t1\nprint(bridge.current_session())",
        "# a note\n%%session t1\nprint(bridge.current_session())",
        "\n  # a note\n\n  %%session t1\n  print(bridge.current_session())",
        "    %%session t1\n    print(bridge.current_session())",
        "%%session t1\n\n\nprint(bridge.current_session())",
        "%%session   t1  \nprint(bridge.current_session())",
        "%%session t1 --tag a=b\nprint(bridge.current_session())",
    ],
)
def test_blank_lines_comments_and_indentation_are_fine(kernel, code):
    assert kernel.run(code).stdout == "t1\n"


@pytest.mark.parametrize(
    "code",
    [
        "%%time\n%%session t1\nprint(bridge.current_session())",
        "%%session t1\n%%time\nprint(bridge.current_session())",
        "%%session t1\n\n%%time\nprint(bridge.current_session())",
        "# a note\n%%session t1\n%%time\nprint(bridge.current_session())",
    ],
)
def test_time_above_and_below_keeps_the_session(kernel, code):
    cell = kernel.run(code)
    assert cell.stdout.splitlines()[0] == "t1"
    assert "Wall time" in cell.stdout
    assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


@pytest.mark.parametrize(
    "code",
    [
        "%%capture t_out\n%%session t1\nprint(bridge.current_session())",
        "%%session t1\n%%capture t_out\nprint(bridge.current_session())",
    ],
)
def test_capture_above_and_below_keeps_the_session(kernel, code):
    assert kernel.run(code).stdout == ""
    assert kernel.get("t_out.stdout") == "t1\n"
    assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


@pytest.mark.skipif(IPython.version_info < (9,), reason="%%time of IPython 8 only shows errors")
def test_an_error_under_time_fails_the_cell(kernel):
    for code in ("%%time\n%%session t1\n1/0", "%%session t1\n%%time\n1/0"):
        assert kernel.fail(code).error["ename"] == "ZeroDivisionError"
        assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


@pytest.mark.parametrize("code", ["%%session?", "%%session??", "%session?", "?%%session"])
def test_a_question_mark_shows_the_help(kernel, code):
    cell = kernel.run(code)
    (page,) = [p for p in cell.reply["payload"] if p["source"] == "page"]
    assert "--max-refs" in plain(page["data"]["text/plain"])


@pytest.mark.parametrize(
    "code",
    [
        "%%session\nt_ran = 1",
        "%%session bad/id\nt_ran = 1",
        "%%session t1 --nope\nt_ran = 1",
        "%%session bad/id\n%%time\nt_ran = 1",
        "%%session t1 --nope\n%%time\nt_ran = 1",
        "%bridge cal math.sqrt 4\nt_ran = 1",
        "%session bad/id\nt_ran = 1",
    ],
)
def test_a_mistake_is_an_error_of_the_cell(kernel, code):
    cell = kernel.fail(code)
    assert cell.error["ename"] == "BridgeUsageError"
    assert kernel.get("'t_ran' in globals()") is False
    assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


def test_a_nested_cell_has_a_session_of_its_own_and_the_outer_one_is_back_after_it(kernel):
    cell = kernel.run(
        "%%session outer\n"
        "print(bridge.current_session())\n"
        "done = get_ipython().run_cell('%%session inner\\nprint(bridge.current_session())')\n"
        "print(done.success, bridge.current_session())"
    )
    assert cell.stdout.splitlines() == ["outer", "inner", "True outer"]


def test_nested_cells_without_names_are_scopes_of_their_own(kernel):
    cell = kernel.run(
        "first = bridge.current_session()\n"
        "get_ipython().run_cell('t_inner = bridge.current_session()')\n"
        "print(first == bridge.current_session(), first != t_inner)"
    )
    assert cell.stdout == "True True\n"


def test_a_nested_cell_that_fails_leaves_the_outer_session_in_force(kernel):
    cell = kernel.run(
        "%%session outer\n"
        "done = get_ipython().run_cell('%%session inner\\n1/0')\n"
        "print(done.success, bridge.current_session())"
    )
    assert cell.stdout.splitlines()[-1] == "False outer"


# ---------------------------------------------------------------- async cells
def test_the_session_is_in_force_after_an_await_and_in_tasks(kernel):
    kernel.run(
        "%%session t1\n"
        "async def t_where():\n"
        "    await asyncio.sleep(0)\n"
        "    return bridge.current_session()\n"
        "await asyncio.sleep(0.01)\n"
        "t_seen = [bridge.current_session(), await asyncio.create_task(t_where())]\n"
        "t_seen += await asyncio.gather(t_where(), t_where())"
    )
    assert kernel.get("t_seen") == ["t1"] * 4
    assert kernel.run("await asyncio.sleep(0)\nprint(bridge.current_session())").stdout.startswith(
        "auto_"
    )


def test_tasks_of_a_cell_share_its_auto_session(kernel):
    kernel.run(
        "async def t_where():\n"
        "    await asyncio.sleep(0)\n"
        "    return bridge.current_session()\n"
        "t_seen = {bridge.current_session(), *await asyncio.gather(t_where(), t_where())}"
    )
    assert kernel.get("len(t_seen)") == 1


def test_a_task_that_outlives_its_cell_keeps_its_scope(kernel):
    kernel.run(
        "t_gate = asyncio.Event()\n"
        "async def t_later():\n"
        "    x = bridge.new('tracked.Thing', 'early')\n"
        "    await t_gate.wait()\n"
        "    return bridge.current_session(), x.name\n"
        "t_task = asyncio.create_task(t_later())\n"
        "await asyncio.sleep(0)\n"
        "t_mine = bridge.current_session()"
    )
    assert kernel.get("bridge.current_session() != t_mine") is True
    kernel.run("t_gate.set()\nt_seen = await t_task\nt_other = bridge.current_session()")
    assert kernel.get("(t_seen == (t_mine, 'early'), t_other != t_mine)") == (True, True)
    kernel.run("del t_task")
    freed(kernel, "early")


def test_a_task_that_outlives_its_named_cell_stays_in_that_session(kernel):
    kernel.run(
        "%%session t1\n"
        "t_gate = asyncio.Event()\n"
        "async def t_later():\n"
        "    await t_gate.wait()\n"
        "    return bridge.current_session()\n"
        "t_task = asyncio.create_task(t_later())\n"
    )
    assert kernel.run("t_gate.set()\nprint(await t_task)").stdout == "t1\n"


def test_a_block_in_one_task_does_not_reach_another(kernel):
    kernel.run(
        "async def t_block(id):\n"
        "    with bridge.session(id):\n"
        "        await asyncio.sleep(0.01)\n"
        "        return bridge.current_session()\n"
        "t_seen = await asyncio.gather(*(t_block(id) for id in 'abc'))\n"
        "t_seen.append(bridge.current_session().partition('_')[0])"
    )
    assert kernel.get("t_seen") == ["a", "b", "c", "auto"]


def test_a_block_left_open_by_an_async_cell_does_not_reach_the_next(kernel):
    kernel.run("t_block = bridge.session('t1')\nawait asyncio.sleep(0)\nt_block.__enter__();")
    assert kernel.run("print(bridge.current_session())").stdout.startswith("auto_")


@pytest.mark.parametrize("code", ["bridge.use('t1')", "%session t1"])
def test_what_is_made_sticky_after_an_await_holds_in_the_next_cell(kernel, code):
    kernel.run(f"await asyncio.sleep(0)\n{code}")
    assert kernel.run("print(bridge.current_session())").stdout == "t1\n"
    assert kernel.run("await asyncio.sleep(0)\nprint(bridge.current_session())").stdout == "t1\n"


@pytest.mark.parametrize("code", ["", "await asyncio.sleep(0)\n"], ids=["sync", "async"])
@pytest.mark.parametrize("head", ["", "%%session t1\n"], ids=["auto", "named"])
def test_nothing_of_a_cell_reaches_what_runs_between_cells(kernel, head, code):
    cell = kernel.run(
        f"{head}{code}t_mine = bridge.current_session()",
        user_expressions={"id": "bridge.current_session()"},
    )
    after = cell.reply["user_expressions"]["id"]["data"]["text/plain"].strip("'")
    assert after.startswith("auto_")
    assert after != kernel.get("t_mine")


@pytest.mark.parametrize("code", ["", "await asyncio.sleep(0)\n"], ids=["sync", "async"])
def test_nothing_of_a_cell_reaches_a_comm_handler(kernel, code):
    kernel.run(
        "t_seen = []\n"
        "def t_handler(comm, message): t_seen.append(bridge.current_session())\n"
        "get_ipython().kernel.comm_manager.register_target('probe', t_handler)"
    )
    kernel.run(f"%%session t1\n{code}t_mine = bridge.current_session()")
    kernel.send_comm("probe")
    (id,) = eventually(lambda: kernel.get("t_seen"))
    assert id.startswith("auto_")
    kernel.run("get_ipython().kernel.comm_manager.unregister_target('probe', t_handler)")


def test_what_a_comm_handler_holds_lives_on(kernel):
    kernel.run(
        "t_box = []\n"
        "def t_handler(comm, message): t_box.append(bridge.new('tracked.Thing', 'widget'))\n"
        "get_ipython().kernel.comm_manager.register_target('probe', t_handler)"
    )
    kernel.send_comm("probe")
    eventually(lambda: kernel.get("len(t_box)"))
    assert kernel.get("t_box[0].name") == "widget"
    kernel.run("get_ipython().kernel.comm_manager.unregister_target('probe', t_handler)")
    kernel.run("t_box.clear()")
    freed(kernel, "widget")


# ---------------------------------------------------------------- threads
def test_to_thread_shares_the_scope_of_its_cell(kernel):
    kernel.run(
        "%%session t1\nt_seen = await asyncio.gather(\n"
        "    *(asyncio.to_thread(bridge.current_session) for _ in range(3)))"
    )
    assert kernel.get("t_seen") == ["t1"] * 3
    kernel.run(
        "t_seen = {await asyncio.to_thread(bridge.current_session), bridge.current_session()}"
    )
    assert kernel.get("len(t_seen)") == 1


def test_a_plain_thread_is_a_scope_of_its_own_which_ends_with_it(kernel):
    kernel.run(
        "%%session t1\n"
        "t_ids = [bridge.current_session()]\n"
        "def t_run():\n"
        "    t_ids.append(bridge.current_session())\n"
        "    bridge.new('tracked.Thing', 'threads')\n"
        "    t_ids.append(bridge.current_session())\n"
        "t_thread = threading.Thread(target=t_run)\n"
        "t_thread.start(); t_thread.join()"
    )
    cell, *threads = kernel.get("t_ids")
    assert cell == "t1"
    assert len(set(threads)) == 1
    assert threads[0].startswith("auto_")
    freed(kernel, "threads")
    released(kernel, threads[0])


def test_what_a_thread_hands_out_keeps_working(kernel):
    kernel.run(
        "t_box = []\n"
        "t_thread = threading.Thread(\n"
        "    target=lambda: t_box.append(bridge.new('tracked.Thing', 'handed')))\n"
        "t_thread.start(); t_thread.join()"
    )
    assert kernel.get("t_box[0].name") == "handed"
    kernel.run("t_box.clear()")
    freed(kernel, "handed")


def test_a_pools_threads_have_scopes_of_their_own(kernel):
    kernel.run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "t_meet = threading.Barrier(2)\n"
        "def t_where(_):\n"
        "    t_meet.wait(10)\n"
        "    return bridge.current_session()\n"
        "with ThreadPoolExecutor(2) as t_pool:\n"
        "    t_ids = [*t_pool.map(t_where, range(2)), *t_pool.map(t_where, range(2))]\n"
        "t_mine = bridge.current_session()"
    )
    ids, mine = kernel.get("t_ids"), kernel.get("t_mine")
    assert len(set(ids)) == 2, "one for each thread, for as long as it lives"
    assert mine not in ids


def test_run_in_executor_does_not_share_the_cells_scope(kernel):
    kernel.run(
        "%%session t1\n"
        "t_id = await asyncio.get_running_loop().run_in_executor(None, bridge.current_session)"
    )
    assert kernel.get("t_id").startswith("auto_")


def test_calls_of_many_threads_at_once_all_get_their_own_answers(kernel):
    kernel.run(
        "t_seen = {}\n"
        "def t_run(n): t_seen[n] = [bridge.call('math.sqrt', n * n) for _ in range(50)]\n"
        "t_threads = [threading.Thread(target=t_run, args=(n,)) for n in range(8)]\n"
        "for t in t_threads: t.start()\n"
        "for t in t_threads: t.join()"
    )
    assert kernel.get("all(t_seen[n] == [float(n)] * 50 for n in range(8))") is True


# ---------------------------------------------------------------- subshells
@pytest.fixture
def subshell(kernel):
    """A second shell of the same kernel, which runs cells at the same time."""
    id = kernel.subshell()
    yield id
    kernel.client.control_channel.send(
        kernel.client.session.msg("delete_subshell_request", {"subshell_id": id})
    )
    assert kernel.client.get_control_msg(timeout=10)["content"]["status"] == "ok"


def both(kernel, subshell, main, sub):
    """Run two cells at the same time: neither ends before the other has begun."""
    kernel.run("t_here, t_there = threading.Event(), threading.Event()")
    wait = "assert {}.wait(10)\n"
    cells = [
        kernel.send(main.replace("MEET\n", "t_here.set()\n" + wait.format("t_there"))),
        kernel.send(
            sub.replace("MEET\n", "t_there.set()\n" + wait.format("t_here")), subshell=subshell
        ),
    ]
    for cell in cells:
        assert kernel.wait(cell).status == "ok", cell
    return cells


def test_two_cells_at_once_have_two_auto_sessions(kernel, subshell):
    code = "first = bridge.current_session()\nMEET\nprint(first, bridge.current_session())"
    cells = both(kernel, subshell, code.replace("first", "t_a"), code.replace("first", "t_b"))
    (a, also_a), (b, also_b) = (cell.stdout.split() for cell in cells)
    assert a == also_a
    assert b == also_b
    assert a != b
    assert {a.split("_")[0], b.split("_")[0]} == {"auto"}


def test_two_cells_at_once_have_each_their_named_session(kernel, subshell):
    code = "%%session {0}\nMEET\nt_{0} = bridge.new('list')\nprint(bridge.current_session())"
    cells = both(kernel, subshell, code.format("main"), code.format("sub"))
    assert [cell.stdout for cell in cells] == ["main\n", "sub\n"]
    assert kernel.get("[bridge.info(r).session_id for r in (t_main, t_sub)]") == ["main", "sub"]


def test_two_async_cells_at_once_have_each_their_named_session(kernel, subshell):
    code = (
        "%%session {0}\nimport asyncio\nawait asyncio.sleep(0)\nMEET\nawait asyncio.sleep(0)\n"
        "print(bridge.current_session())"
    )
    cells = both(kernel, subshell, code.format("main"), code.format("sub"))
    assert [cell.stdout for cell in cells] == ["main\n", "sub\n"]


def test_a_sticky_session_belongs_to_its_subshell(kernel, subshell):
    where = "print(bridge.current_session())"
    kernel.run("%session sub", subshell=subshell)
    assert kernel.run(where, subshell=subshell).stdout == "sub\n"
    assert kernel.run(where).stdout.startswith("auto_")
    kernel.run("%session main")
    assert kernel.run(where, subshell=subshell).stdout == "sub\n"
    assert kernel.run(where).stdout == "main\n"
    kernel.run("%session --clear")
    assert kernel.run(where, subshell=subshell).stdout == "sub\n"
    kernel.run("%session --clear", subshell=subshell)
    assert kernel.run(where, subshell=subshell).stdout.startswith("auto_")


def test_a_cell_in_a_subshell_frees_what_did_not_escape(kernel, subshell):
    kernel.run("bridge.new('tracked.Thing', 'sub');", subshell=subshell)
    freed(kernel, "sub")


def test_a_ref_of_one_shell_works_in_the_other(kernel, subshell):
    kernel.run("t_x = bridge.new('tracked.Thing', 'both')", subshell=subshell)
    assert kernel.get("t_x.name") == "both"


def test_the_workers_output_reaches_the_shell_that_called(kernel, subshell):
    code = "MEET\nfor _ in range(20): bridge.call('tracked.shout', '{0} ')"
    cells = both(kernel, subshell, code.format("main"), code.format("sub"))
    assert [cell.stdout for cell in cells] == ["main " * 20, "sub " * 20]


# ---------------------------------------------------------------- output
def test_stdout_and_stderr_of_the_worker_reach_the_calling_cell(kernel):
    for n in range(3):
        cell = kernel.run(f"bridge.call('tracked.shout', 'out {n}\\n')")
        assert (cell.stdout, cell.stderr) == (f"out {n}\n", "")
        cell = kernel.run(f"bridge.call('tracked.shout', 'err {n}\\n', 'stderr')")
        assert (cell.stdout, cell.stderr) == ("", f"err {n}\n")


def test_output_written_past_python_reaches_the_cell_too(kernel):
    cell = kernel.run("bridge.call('tracked.write', 1, b'raw\\n')")
    assert cell.stdout == "raw\n"
    cell = kernel.run("bridge.call('tracked.write', 2, b'raw\\n')")
    assert cell.stderr == "raw\n"


def test_output_is_complete_and_in_order_when_the_call_ends(kernel):
    cell = kernel.run(
        "print('before')\nbridge.call('tracked.shout', 'x' * 300_000 + '\\n')\nprint('after')"
    )
    assert cell.stdout == "before\n" + "x" * 300_000 + "\nafter\n"


def test_text_of_any_language_arrives_whole(kernel):
    text = "größer – 日本語 🎉 "
    cell = kernel.run(f"bridge.call('tracked.shout', {text!r} * 5000)")
    assert cell.stdout == text * 5000


def test_output_of_a_call_in_another_thread_of_the_cell(kernel):
    cell = kernel.run("await asyncio.to_thread(bridge.call, 'tracked.shout', 'threaded\\n')")
    assert cell.stdout == "threaded\n"


def test_output_before_an_error_is_kept(kernel):
    cell = kernel.fail("bridge.call('tracked.shout', 'said\\n')\nbridge.call('tracked.fail')")
    assert cell.stdout == "said\n"
    assert cell.error["ename"] == "ValueError"
    assert "from the worker" in cell.error["evalue"]


def test_capture_takes_the_workers_output(kernel):
    cell = kernel.run("%%capture t_out\nbridge.call('tracked.shout', 'caught\\n')")
    assert cell.stdout == ""
    assert kernel.get("t_out.stdout") == "caught\n"


# ---------------------------------------------------------------- display
def test_a_frame_displays_as_the_table_it_is(kernel):
    cell = kernel.run(
        "t_df = bridge.call('pandas.DataFrame', {'zone': [1, 2], 'fare': [3, 4]})\nt_df"
    )
    assert "<table" in cell.result["text/html"]
    assert "zone" in cell.result["text/html"]
    assert cell.result["text/plain"].split() == ["zone", "fare", *"013124"]
    assert "script" not in cell.result["text/html"]
    assert set(cell.result) <= {"text/html", "text/plain"}
    shown = kernel.run("display(t_df)").displays
    assert "<table" in shown[0]["text/html"]


def test_a_frame_displays_with_the_options_of_this_kernel(kernel):
    kernel.run("import pandas\nt_df = bridge.call('pandas.DataFrame', {'a': list(range(50))})")
    assert "26" in kernel.run("t_df").result["text/plain"].split()
    try:
        kernel.run("pandas.set_option('display.max_rows', 4)")
        shown = kernel.run("t_df").result["text/plain"].split()
        assert "49" in shown
        assert "26" not in shown
    finally:
        kernel.run("pandas.reset_option('display.max_rows')")


def test_completion_and_help_of_a_ref_know_its_type_and_make_no_session(kernel):
    kernel.run("t_df = bridge.call('pandas.DataFrame', {'zone': [1, 2]})")
    before = kernel.get("[s.id for s in bridge.sessions() if s.status.value == 'active']")
    assert "groupby" in " ".join(kernel.ask("complete", "t_df.groupb")["matches"])
    assert "groupby" in plain(kernel.ask("inspect", "t_df.groupby")["data"]["text/plain"])
    after = kernel.get("[s.id for s in bridge.sessions() if s.status.value == 'active']")
    assert after == before


def test_a_ref_on_plain_data_displays_as_its_text(kernel):
    assert kernel.run("bridge.new('list', [1, 2])").result["text/plain"] == "[1, 2]"


def test_a_displayed_ref_holds_no_address_and_no_id(kernel):
    text = kernel.run("t_x = bridge.new('object')\nt_x").result["text/plain"]
    assert text == "<ref object>"
    with_address = kernel.run("t_y = bridge.call('threading.Lock')\nt_y").result["text/plain"]
    assert not re.search(r"0x[0-9a-f]+|auto_", with_address)


def test_a_ref_that_is_gone_still_displays_and_says_how_it_went(kernel):
    kernel.run("t_x = bridge.new('list')\nbridge.release(t_x);")
    cell = kernel.run("t_x")
    assert "released" in cell.result["text/plain"]


def test_a_repr_never_waits_and_a_display_of_a_busy_worker_is_the_inert_text(kernel):
    kernel.run(
        "t_df = bridge.call('pandas.DataFrame', {'a': [1, 2]})\n"
        "t_thread = threading.Thread(\n"
        "    target=bridge.call, args=('tracked.meet', 'busy-now', 'busy-end'))\n"
        "t_thread.start()"
    )
    try:
        kernel.until_file("busy-now")
        start = time.monotonic()
        assert kernel.run("print(repr(t_df), repr([t_df]))").stdout == (
            "<ref DataFrame 2×1> [<ref DataFrame 2×1>]\n"
        )
        assert time.monotonic() - start < 1
        cell = kernel.run("t_df")
        assert cell.result == {"text/plain": "<ref DataFrame 2×1>"}
        assert time.monotonic() - start < 5, "a display has a deadline"
        start = time.monotonic()
        assert "groupby" in " ".join(kernel.ask("complete", "t_df.groupb")["matches"])
        assert time.monotonic() - start < 1
    finally:
        kernel.touch("busy-end")
        kernel.run("t_thread.join(10)")
    assert "<table" in kernel.run("t_df").result["text/html"]


def test_the_tables_of_the_magics_display_as_html(kernel):
    kernel.run("%%session t1\nt_x = bridge.new('list')")
    for line in ("%bridge sessions", "%bridge refs", "%bridge status"):
        cell = kernel.run(line)
        assert "<table" in cell.result["text/html"]
        assert "auto_" not in cell.result["text/plain"]


# ---------------------------------------------------------------- errors
def test_a_remote_error_is_the_users_exception_with_the_remote_traceback(kernel):
    cell = kernel.fail("bridge.call('tracked.fail', 'so it is')")
    assert cell.error["ename"] == "ValueError"
    assert cell.error["evalue"].startswith("so it is")
    assert "tracked.py" in cell.traceback
    caught = kernel.run(
        "try:\n    bridge.call('tracked.fail')\nexcept ValueError as e:\n    print(e.args)"
    )
    assert caught.stdout == "('from the worker',)\n"


MISTAKES = {
    "%bridge cal math.sqrt 4": "BridgeUsageError",
    "%bridge call --nope math.sqrt 4": "BridgeUsageError",
    "%bridge call math.sqrt nowhere": "BridgeUsageError",
    "%bridge refs never_was": "SessionNotFoundError",
    "%bridge release never_was": "BridgeUsageError",
    "%session bad/id": "BridgeUsageError",
    "%%session\nx = 1": "BridgeUsageError",
    "%%session shared --nope\nx = 1": "BridgeUsageError",
    "%%session bad/id\n%%time\nx = 1": "BridgeUsageError",
    "%%session shared\n1/0": "ZeroDivisionError",
    "bridge.session_info('never_was')": "SessionNotFoundError",
    "bridge.call('math.sqrt', -1)": "ValueError",
    "bridge.call('no_such_module.f')": "ModuleNotFoundError",
    "bridge.call('math.no_such_function')": "AttributeError",
    "bridge.call('math.pi')": "TypeError",
    "bridge.call('len', __import__('threading').Lock())": "EncodeError",
    "bridge.call('math..sqrt')": "BridgeUsageError",
    "x = bridge.new('list'); bridge.release(x); len(x)": "RefNotFoundError",
}


def execute(cells, directory, monkeypatch, **options):
    """Run a notebook as nbclient does, in a kernel of its own."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("IPYTHONDIR", str(directory / "ip"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = NotebookClient(
        notebook, timeout=20, resources={"metadata": {"path": str(directory)}}, **options
    )
    client.execute()
    return notebook


def test_mistakes_are_error_outputs_in_an_executed_notebook(tmp_path, monkeypatch):
    cells = ["%load_ext bridge_ext"]
    for mistake in MISTAKES:
        cells += [mistake, "bridge.call('math.sqrt', 4)"]
    _, *done = execute(cells, tmp_path, monkeypatch, allow_errors=True).cells
    for mistake, after in zip(done[::2], done[1::2], strict=True):
        errors = [o["ename"] for o in mistake.outputs if o.output_type == "error"]
        assert errors == [MISTAKES[mistake.source]], mistake.source
        assert after.outputs[0]["data"]["text/plain"] == "2.0", "the next cell works"


@pytest.mark.parametrize("mistake", ["%bridge cal math.sqrt 4", "%%session bad/id\n%%time\nx = 1"])
def test_a_mistake_stops_an_executed_notebook(tmp_path, monkeypatch, mistake):
    with pytest.raises(CellExecutionError, match="BridgeUsageError"):
        execute(["%load_ext bridge_ext", mistake, "x = 1"], tmp_path, monkeypatch)


# ---------------------------------------------------------------- interrupts
def interrupted(kernel, code, started):
    """Interrupt a cell once the worker is in its call; the cell and how long it took to end."""
    cell = kernel.send(code)
    queued = kernel.send("print('must not run')")
    kernel.until_file(started)
    start = time.monotonic()
    kernel.interrupt()
    kernel.wait(cell, 10)
    took = time.monotonic() - start
    kernel.wait(queued, 10)
    assert queued.status == "aborted", "an interrupt stops the cells that wait, too"
    return cell, took


@pytest.mark.parametrize("function", ["block", "loop"])
def test_an_interrupt_of_a_call_stops_it_and_loses_nothing(own, function):
    own.run("%load_ext bridge_ext\nx = bridge.new('list')\npid = bridge.call('os.getpid')")
    own.run("%%session shared\ny = bridge.new('list', [1])")
    cell, took = interrupted(own, f"bridge.call('tracked.{function}', 'started')", "started")
    assert cell.status == "error"
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert took < 1.5
    assert cell.stderr == ""
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"
    assert own.get("(bridge.call('os.getpid') == pid, len(x), len(y))") == (True, 0, 1)


def test_a_second_interrupt_of_a_call_that_does_not_stop_says_what_was_lost(own):
    own.run("%load_ext bridge_ext\nx = bridge.new('list')\npid = bridge.call('os.getpid')")
    own.run("%%session shared\ny = bridge.new('list')")
    cell = own.send("bridge.call('tracked.hold_gil', 'started')")
    queued = own.send("print('must not run')")
    own.until_file("started")
    own.interrupt()
    own.watch(lambda: cell.stderr, "what a second interrupt would cost", 5)
    for text in ("tracked.hold_gil", "2 refs", "'shared'"):
        assert text in cell.stderr
    own.interrupt()
    own.wait(cell, 10)
    own.wait(queued, 10)
    assert (cell.error["ename"], queued.status) == ("KeyboardInterrupt", "aborted")
    assert "Lost: 2 refs" in cell.stderr
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"
    assert own.get("bridge.call('os.getpid') != pid") is True
    assert own.fail("len(x)").error["ename"] == "SessionLostError"
    assert own.fail("len(y)").error["ename"] == "SessionLostError"
    assert own.run("%%session shared\nprint(len(bridge.new('list')))").stdout == "0\n"


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\nawait asyncio.sleep(0)\nbridge.call('tracked.block', 'started')",
        "%%session shared\nimport asyncio\nawait asyncio.sleep(0)\n"
        "bridge.call('tracked.block', 'started')",
        "%bridge call tracked.block 'started'",
    ],
    ids=["async", "async named", "magic"],
)
def test_an_interrupt_reaches_a_call_however_it_is_made(own, code):
    own.run("%load_ext bridge_ext\nx = bridge.new('list')")
    cell, took = interrupted(own, code, "started")
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert took < 1.5
    assert cell.stderr == ""
    assert own.run("print(bridge.call('math.sqrt', 4), len(x))").stdout == "2.0 0\n"
    assert own.run("import asyncio\nawait asyncio.sleep(0)\n1").status == "ok"
    assert own.run("print(bridge.current_session())").stdout.startswith("auto_")


def test_an_interrupt_between_calls_loses_nothing(own):
    own.run("%load_ext bridge_ext\nx = bridge.new('list', [1])\npid = bridge.call('os.getpid')")
    cell = own.send("import tracked\nbridge.call('math.sqrt', 4)\ntracked.loop('started')")
    own.until_file("started")
    own.interrupt()
    own.wait(cell, 10)
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert own.get("(len(x), bridge.call('os.getpid') == pid)") == (1, True)


def test_an_interrupt_of_the_cell_leaves_the_call_of_another_thread_alone(own):
    own.run(
        "%load_ext bridge_ext\nimport threading, tracked\nt_seen = []\n"
        "def run(): t_seen.append(bridge.call('tracked.meet', 'in-call', 'go-on'))\n"
        "thread = threading.Thread(target=run)\nthread.start()"
    )
    own.until_file("in-call")
    cell = own.send("tracked.block('started')")
    own.until_file("started")
    own.interrupt()
    own.wait(cell, 10)
    assert cell.error["ename"] == "KeyboardInterrupt"
    own.touch("go-on")
    own.run("thread.join(10)")
    assert own.get("t_seen") == ["in-call"]


def test_a_subshell_can_stop_what_another_shell_waits_for(own):
    own.run("%load_ext bridge_ext\nx = bridge.new('list')")
    subshell = own.subshell()
    cell = own.send("bridge.call('tracked.block', 'started')")
    own.until_file("started")
    own.run("%bridge interrupt", subshell=subshell)
    own.wait(cell, 5)
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert cell.stderr == ""
    assert own.run("print(bridge.call('math.sqrt', 4), len(x))").stdout == "2.0 0\n"


def test_interrupts_at_any_moment_leave_a_bridge_that_works(own):
    own.run("%load_ext bridge_ext\nimport tracked\nbridge.call('math.sqrt', 4);")
    for n in range(5):
        cell = own.send(
            f"tracked.touch('round-{n}')\nwhile True: bridge.call('len', bridge.new('list'))"
        )
        own.until_file(f"round-{n}")
        own.interrupt()
        own.wait(cell, 10)
        assert cell.error["ename"] == "KeyboardInterrupt", cell
        assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"


def test_a_worker_that_dies_is_an_error_of_one_cell(own):
    own.run("%load_ext bridge_ext\nx = bridge.new('list')")
    cell = own.fail(f"bridge.call('os.kill', bridge.call('os.getpid'), {signal.SIGSEGV:d})")
    assert cell.error["ename"] == "WorkerDiedError"
    assert "SIGSEGV" in cell.told
    assert own.fail("len(x)").error["ename"] == "SessionLostError"
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"
