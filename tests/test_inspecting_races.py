"""Inspectors while workers die, bridges close, many threads call, and processes fork and exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from test_inspecting import DEADLINE, HOLD, Page

import bridge_ext
from bridge_ext.kernel.watching import Watch


@pytest.fixture
def page(local):
    return Page(local.inspect())


@pytest.fixture
def hold(local, tmp_path):
    """Has C code hold the worker's interpreter for so many seconds; the future of that."""
    (tmp_path / "holding_gil.py").write_text(HOLD)
    local.call("builtins.exec", f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    return lambda seconds: local.submit("holding_gil.hold", seconds)


# ---------------------------------------------------------------- deaths
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_may_die_in_the_middle_of_a_look(local, monkeypatch, eventually, when):
    watch = Watch(local._client, local._holders, dict)
    with local.session("shared"):
        made = local.new("list")
    assert len(watch.look().refs) == 1
    connection = local._client.incarnation.connection
    control = connection.control

    def dying(body, deadline):
        reply = control(body, deadline) if when == "after" else None
        os.kill(connection.pid, signal.SIGKILL)
        return reply if when == "after" else control(body, deadline)

    monkeypatch.setattr(connection, "control", dying)
    watch.look()
    shown = eventually(lambda: (s := watch.look()).worker is None and s, "that it is known")
    assert shown.refs == {}
    assert [s.status for s in shown.sessions.values()] == [bridge_ext.Status.LOST]
    with pytest.raises(bridge_ext.SessionLostError):
        len(made)


def test_a_release_says_so_until_a_worker_in_c_can_do_it(local, page, hold, eventually):
    made = local.new("list")
    key = eventually(lambda: page.row("list"), "the ref")["key"]
    slow = hold(1.5)
    eventually(lambda: page.status == "silent", "the silence")
    page.do("release", key=key)
    eventually(lambda: page.row("list")["doing"], "that it is under way")
    assert not slow.done()
    eventually(lambda: page.row("list") is None, "its end")
    slow.result(DEADLINE)
    with pytest.raises(bridge_ext.RefNotFoundError):
        len(made)


def test_a_restart_ends_a_release_that_waits(local, page, hold, eventually):
    with local.session("shared"):
        made = local.new("list")
    eventually(lambda: page.row("list"), "the ref")
    slow = hold(60)
    eventually(lambda: page.status == "silent", "the silence")
    page.do("release", key="s:shared")
    page.do("release", key="s:shared")  # which is to say yes
    eventually(lambda: page.row("shared")["doing"], "that it is under way")
    local.restart()
    with pytest.raises(bridge_ext.WorkerDiedError):
        slow.result(DEADLINE)
    eventually(lambda: not page.row("list") and page.status == "idle", "the next worker")
    eventually(lambda: not (page.row("shared") or {}).get("doing"), "the end of the release")
    del made


@pytest.mark.parametrize("action", ["release", "restart", "interrupt"])
def test_a_bridge_may_be_closed_in_the_middle_of_an_action(action, eventually):
    with bridge_ext.Bridge() as bridge:
        page = Page(bridge.inspect())
        made = [bridge.new("list") for _ in range(200)]
        eventually(lambda: page.state["refs"] == 200, "the refs")
        if action == "release":
            page.do("select", key=None, how="all")
            page.do("release_selected")
        else:
            page.do(action)
            page.do("answer", to="worker", yes=True)
    assert "closed" in page.state["over"]
    assert "failed" not in page.state["over"]
    page.do("release_all")
    page.inspector.close()
    del made


# ---------------------------------------------------------------- many at once
def test_many_inspectors_and_many_threads(local, eventually):
    pages, errors, end = [], [], time.monotonic() + 3

    def work(number):
        try:
            while time.monotonic() < end:
                with local.session(f"s{number % 3}"):
                    made = [local.new("list", [number]) for _ in range(10)]
                assert [len(x) for x in made] == [1] * 10
                local.release(made[0])
                page = pages[number % len(pages)]
                page.do("sort", by=("size", "name", "made")[number % 3])
                page.do("window", view="v", first=number, count=20)
        except BaseException as error:
            errors.append(error)

    starters = [
        threading.Thread(target=lambda: pages.append(Page(local.inspect()))) for _ in range(5)
    ]
    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for group in (starters, workers):
        for thread in group:
            thread.start()
        if group is starters:
            for thread in starters:
                thread.join(DEADLINE)
    for thread in workers:
        thread.join(DEADLINE)
    assert errors == []
    looking = [t for t in threading.enumerate() if t.name == "bridge-inspection"]
    assert len(looking) == 1
    for page in pages:
        eventually(lambda page=page: page.state["refs"] == 0, "that all are gone")
        assert page.state["over"] is None
        assert {row["name"] for row in page.rows.values()} == {"s0", "s1", "s2"}
    assert local.refs() == []


# ---------------------------------------------------------------- processes
def run(code, *flags, deadline=DEADLINE):
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert time.monotonic() - begun < deadline
    return done.stdout


BEGIN = """
import os, sys, time, warnings
import bridge_ext
bridge = bridge_ext.Bridge()
held = bridge.new("list", [1, 2, 3])
inspector = bridge.inspect()
end = time.monotonic() + 10
while inspector.state["refs"] != 1 and time.monotonic() < end:
    time.sleep(0.01)
"""


def test_a_script_ends_with_an_inspector_open():
    assert "1 ref" in run(BEGIN + "print(repr(inspector))", "-X", "dev")


def test_a_forked_child_has_inspectors_that_do_nothing():
    run(
        BEGIN
        + """
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
for number in range(20):
    pid = os.fork()
    if not pid:
        repr(inspector)
        inspector._receive(inspector, {"do": "release_all"}, [])
        inspector.close()
        try:
            bridge.inspect()
        except bridge_ext.BridgeClosedError:
            sys.exit(0) if number % 2 else os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
assert len(held) == 3 and inspector.state["over"] is None
""",
        deadline=30,
    )


RELOAD = """
import gc, threading, time, weakref
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
seen = []
def cell(code):
    shell.run_cell(code, store_history=True).raise_error()
cell("%load_ext bridge_ext")
for number in range(20):
    cell("x = bridge.new('list', [1]); i = bridge.inspect(); j = bridge.inspect()")
    bridge, widget = shell.user_ns["bridge"], shell.user_ns["i"]
    seen += [weakref.ref(bridge), weakref.ref(bridge._inspection), weakref.ref(bridge._client)]
    del bridge, widget
    cell("%reload_ext bridge_ext" if number < 19 else "%unload_ext bridge_ext")
    assert "over" in shell.user_ns["i"].state["over"], shell.user_ns["i"].state["over"]
    cell("for w in (i, j): w.close()")
    cell("del x, i, j, w")
from ipywidgets import Widget
end = time.monotonic() + 10
while any(ref() is not None for ref in seen) and time.monotonic() < end:
    gc.collect()
    time.sleep(0.01)
assert [ref() for ref in seen if ref() is not None] == [], [ref() for ref in seen if ref()]
assert [t for t in threading.enumerate() if t.name.startswith("bridge-")] == []
from bridge_ext.widgets.inspector import Inspector
assert [x for x in gc.get_objects() if type(x) is Inspector] == []
"""


def test_loading_again_leaves_nothing_of_the_inspectors(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    run(RELOAD, deadline=60)
