"""The inspectors of a bridge, without a front end: live, honest, bounded, safe in any thread."""

from __future__ import annotations

import ctypes
import gc
import threading
import tracemalloc

import pytest
from kernels import gone

import bridge_ext
from bridge_ext.widgets.view import FIRST

DEADLINE = 10.0


class Page:
    """What a front end does with an inspector, without drawing it."""

    def __init__(self, inspector):
        self.inspector = inspector
        self.messages = []
        inspector.observe(lambda change: self.messages.append(change["new"]), "state")

    @property
    def state(self):
        return self.inspector.state

    @property
    def rows(self):
        """The rows of the first window, by their keys."""
        return {row["key"]: row for row in self.state["windows"][""]["rows"]}

    def row(self, name):
        """The one row of that name, or None."""
        found = [row for row in self.rows.values() if row["name"] == name]
        assert len(found) < 2, found
        return found[0] if found else None

    @property
    def status(self):
        """Of the worker; None if there is none."""
        return (self.state["worker"] or {}).get("status")

    def do(self, what, **more):
        self.inspector._receive(self.inspector, {"do": what, **more}, [])


@pytest.fixture
def page(bridge):
    return Page(bridge.inspect())


@pytest.fixture
def local_page(local):
    return Page(local.inspect())


# ---------------------------------------------------------------- what it shows
def test_before_the_first_call_it_says_what_to_do(page):
    assert page.state["worker"] is None
    assert "bridge.call" in page.state["empty"]
    assert "no sessions" in repr(page.inspector)


def test_it_shows_what_is_held(bridge):
    with bridge.session("shared", tags={"team": "blue"}):
        kept = bridge.new("collections.OrderedDict", {"one": 1})
    bridge.keep(kept, "model")
    page = Page(bridge.inspect())
    session, ref = page.row("shared"), page.row("OrderedDict")
    assert (session["shape"], session["badges"]) == ("1 ref", ["named"])
    assert "team=blue" in session["text"]
    assert ref["badges"] == ["kept as model"]
    assert ref["held"] == "Python code"
    assert page.state["worker"]["pid"] == bridge.status().pid
    assert (page.state["sessions"], page.state["refs"]) == (1, 1)


def test_what_is_made_and_let_go_later_is_seen(bridge, page, eventually):
    made = bridge.new("list", [1, 2, 3])
    eventually(lambda: page.row("list"), "the ref")
    assert page.row("list")["text"] == "[1, 2, 3]"
    del made
    eventually(lambda: not page.row("list"), "its end")


def test_a_changed_object_is_shown_as_it_is_now(bridge, page, eventually):
    made = bridge.new("list", [1])
    eventually(lambda: page.row("list"), "the ref")
    before = page.row("list")["size"]
    made.extend(range(1000))
    eventually(lambda: page.row("list")["text"].startswith("[1, 0, 1"), "the new text")
    eventually(lambda: page.row("list")["size"] != before, "the new size")


def test_the_text_has_no_made_ids_and_no_times(bridge):
    auto = bridge.new("list")
    with bridge.session("shared"):
        ref = bridge.new("list", [1])
    inspector = bridge.inspect()
    data, _ = inspector._repr_mimebundle_()
    for text in (data["text/plain"], data["text/html"], repr(inspector)):
        assert "auto_" not in text
        assert str(bridge.status().pid) not in text
        assert "shared" in text
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("2 sessions, 2 refs, ")
    del auto, ref


def test_a_type_name_cannot_add_markup_to_the_tables(local):
    held = local.call("builtins.eval", "type('<b>x</b>', (), {})()")
    html = local.inspect()._repr_mimebundle_()[0]["text/html"]
    assert "<b>x</b>" not in html
    assert "&lt;b&gt;x" in html
    del held


# ---------------------------------------------------------------- memory
def test_shared_memory_is_counted_once(local):
    pytest.importorskip("numpy")
    array = local.call("numpy.ones", 1_000_000)
    parts = [array[::2], array[:10], array.reshape(1000, 1000)]
    page = Page(local.inspect())
    assert page.state["size"] == "8 MB"
    sizes = sorted(r["size"] for r in page.rows.values() if r["kind"] == "ref")
    assert sizes == ["4 MB", "8 MB", "8 MB", "80 B"]
    small = next(r for r in page.rows.values() if r["size"] == "80 B")
    assert small["note"] == "keeps 8 MB"
    (session,) = local.sessions()
    assert session.nbytes == 8_000_000
    info = local.info(parts[1])
    assert (info.nbytes, info.retained, info.nbytes_estimated) == (80, 8_000_000, False)
    status = local.status()
    assert status.nbytes == 8_000_000
    assert status.rss > status.nbytes + status.rss_at_start // 2


def test_sessions_are_measured_when_they_are_listed_without_an_inspector(local):
    pytest.importorskip("numpy")
    array = local.call("numpy.ones", 1_000_000)
    parts = [array[::2], array[:10]]
    (session,) = local.sessions()
    assert session.nbytes == 8_000_000
    del parts


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this is glibc's")
def test_what_small_objects_leave_behind_returns_once_the_worker_is_idle(local, eventually):
    local.call("math.sqrt", 4)
    before = local.status().rss
    texts = "['%600d' % i for i in range(100_000)]"
    held = local.options(fetch=False).call("builtins.eval", texts)
    full = local.status().rss
    assert full - before > 60_000_000
    local.release(held)
    eventually(lambda: local.status().rss < before + 20_000_000, "its memory")


def test_releasing_one_of_two_that_share_frees_what_is_its_own(local):
    pytest.importorskip("numpy")
    array = local.call("numpy.ones", 1_000_000)
    part = array[:10]
    assert Page(local.inspect()).state["size"] == "8 MB"
    local.release(array)
    assert local.status().nbytes == 8_000_000, "the part keeps it"
    local.release(part)
    assert local.status().nbytes == 0


def test_a_large_container_is_an_estimate_that_is_about_right(local):
    held = local.new("list", range(100_000))
    info = local.info(held)
    assert info.nbytes_estimated
    assert 2_000_000 < info.nbytes < 5_000_000


# ---------------------------------------------------------------- release
def test_release_a_ref(bridge, page, eventually):
    made = bridge.new("list")
    key = eventually(lambda: page.row("list"), "the ref")["key"]
    page.do("release", key=key)
    eventually(lambda: not page.row("list"), "its end")
    with pytest.raises(bridge_ext.RefNotFoundError):
        bridge.call("len", made)


def test_release_many_at_once(bridge, page, eventually):
    refs = [bridge.new("list") for _ in range(300)]
    eventually(lambda: page.state["refs"] == 300, "the refs")
    session = next(r for r in page.rows.values() if r["kind"] == "session")["key"]
    page.do("select", key=None, how="all")
    page.do("select", key=session, how="toggle")
    page.do("release_selected")
    eventually(lambda: page.state["refs"] == 0, "their end")
    assert {str(ref) for ref in refs} == {"<ref list of 0 (released)>"}


def test_release_all_when_it_is_confirmed(bridge, page, eventually):
    with bridge.session("shared"):
        refs = [bridge.new("list"), bridge.new("set")]
    eventually(lambda: page.state["refs"] == 2, "the refs")
    page.do("release_all")
    eventually(lambda: page.state["asks"], "the question")
    assert bridge.sessions()
    page.do("answer", to="all", yes=True)
    eventually(lambda: not bridge.sessions(), "their end")
    eventually(lambda: page.state["empty"], "the empty page")
    del refs


def test_a_session_is_released_while_a_call_runs_and_the_call_goes_on(local, eventually):
    page = Page(local.inspect())
    with local.session("shared"):
        array = local.new("bytearray", 50_000_000)
    slow = local.submit("time.sleep", 1.5)
    eventually(lambda: page.status == "busy", "the call")
    assert page.state["worker"]["what"] == "time.sleep"
    before = page.state["worker"]["rss"]
    page.do("release", key="s:shared")
    eventually(lambda: page.row("shared") is None, "its end")
    eventually(lambda: page.state["worker"]["rss"] < before - 40_000_000, "its memory")
    assert not slow.done()
    assert slow.result(DEADLINE) is None
    del array


def test_what_cannot_be_released_says_why_in_its_row(bridge, page, eventually, monkeypatch):
    made = bridge.new("list")
    key = eventually(lambda: page.row("list"), "the ref")["key"]

    def refuse(*args):
        raise bridge_ext.BridgeError("the reason")

    monkeypatch.setattr(bridge._client, "release_refs", refuse)
    page.do("release", key=key)
    eventually(lambda: page.row("list")["failed"] == "the reason", "the failure")
    page.do("dismiss", of=key)
    eventually(lambda: page.row("list")["failed"] == "", "that it was read")
    del made


def test_a_message_that_is_none_is_said_and_harms_nothing(bridge, page, eventually):
    page.do("explode")
    eventually(lambda: "explode" in page.state["failed"], "the failure")
    page.do("dismiss", of="all")
    eventually(lambda: not page.state["failed"], "that it was read")
    made = bridge.new("list")
    eventually(lambda: page.row("list"), "the ref")
    del made


# ---------------------------------------------------------------- the worker
def test_the_interrupt_button_stops_a_call(local, local_page, eventually):
    slow = local.submit("time.sleep", 60)
    eventually(lambda: local_page.status == "busy", "the call")
    local_page.do("interrupt")
    with pytest.raises(KeyboardInterrupt):
        slow.result(DEADLINE)
    eventually(lambda: local_page.status == "idle", "its end")
    eventually(lambda: local_page.state["worker"]["doing"] == "", "that it was done")


def test_the_restart_button_asks_and_starts_a_fresh_worker(local, local_page, eventually):
    made = local.new("list")
    pid = local.status().pid
    eventually(lambda: local_page.row("list"), "the ref")
    local_page.do("restart")
    eventually(lambda: local_page.state["worker"]["asks"], "the question")
    local_page.do("answer", to="worker", yes=True)
    eventually(lambda: (local_page.state["worker"] or {}).get("incarnation") == 2, "another one")
    assert local_page.state["worker"]["pid"] != pid
    eventually(lambda: local_page.row("list") is None, "that its refs are gone")
    with pytest.raises(bridge_ext.SessionLostError):
        len(made)


HOLD = """
import ctypes
def hold(seconds):
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
"""


def test_a_worker_in_c_is_said_not_to_answer_and_what_was_known_stays(local, eventually, tmp_path):
    (tmp_path / "holding_gil.py").write_text(HOLD)
    held = local.new("list", [1])
    local.call("builtins.exec", f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    page = Page(local.inspect())
    slow = local.submit("holding_gil.hold", 2.5)
    eventually(lambda: page.status == "silent", "the silence")
    assert page.state["worker"]["what"] == "holding_gil.hold"
    assert page.state["worker"]["since"] is not None
    assert page.row("list"), "the last that was known"
    assert page.state["worker"]["rss"] > 1_000_000
    slow.result(DEADLINE)
    eventually(lambda: page.status == "idle", "its answer")
    del held


def test_a_dead_worker_is_seen_and_its_named_sessions_are_lost(local, local_page, eventually):
    with local.session("shared"):
        made = local.new("list")
    eventually(lambda: local_page.row("shared"), "the session")
    with pytest.raises(bridge_ext.WorkerDiedError):
        local.call("os._exit", 3)
    eventually(lambda: "lost" in local_page.row("shared")["badges"], "the loss")
    assert local_page.state["worker"] is None
    local_page.do("release", key="s:shared")
    eventually(lambda: local_page.row("shared") is None, "that it was dismissed")
    assert local.sessions() == []
    with pytest.raises(bridge_ext.SessionLostError):
        len(made)


# ---------------------------------------------------------------- live, and no more than that
def test_many_changes_are_few_messages(local, local_page, eventually):
    """A window of changes is one message, however many there are in it."""
    first = len(local_page.messages)
    refs = [local.new("list") for _ in range(1000)]
    eventually(lambda: local_page.state["refs"] == len(refs), "all of them")
    assert len(local_page.messages) - first < 100, "fewer than one for ten changes"
    for message in local_page.messages:
        assert len(message["windows"][""]["rows"]) <= FIRST


def test_nothing_is_sent_while_nothing_happens(local, eventually, monkeypatch):
    """But the curve of memory, once a second."""
    held = local.new("list")
    page = Page(local.inspect())
    eventually(lambda: len(page.messages) >= 2, "the first points of the curve")
    known = [{**m, "worker": None, "now": 0} for m in page.messages[-2:]]
    assert known[0]["windows"][""]["rows"] == known[1]["windows"][""]["rows"]
    del held


def test_the_inspection_asks_nothing_of_the_hot_path(local, local_page):
    assert local_page.inspector is not None
    assert not local._client.sessions.heard, "events would slow every call"


def test_messages_may_come_from_many_threads_at_once(bridge, page, eventually):
    refs = [bridge.new("list", [i]) for i in range(50)]
    eventually(lambda: page.state["refs"] == 50, "the refs")
    keys = [key for key in page.rows if key.startswith("r:")]
    doing = [
        lambda n: page.do("window", view=f"v{n % 3}", first=n % 40, count=20),
        lambda n: page.do("sort", by=("size", "name", "made")[n % 3]),
        lambda n: page.do("filter", text=("", "list")[n % 2]),
        lambda n: page.do("select", key=keys[n % len(keys)], how="toggle"),
        lambda n: page.do("fold", keys=[], folded=bool(n % 2)),
        lambda n: bridge.call("len", refs[n % 50]),
        lambda n: repr(page.inspector),
        lambda n: page.do("leave", view=f"v{n % 3}"),
    ]
    errors = []

    def work(do):
        try:
            for n in range(40):
                do(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(do,)) for do in doing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    page.do("filter", text="nothing like this")
    eventually(lambda: page.state["empty"], "that it goes on")
    page.do("filter", text="")
    page.do("fold", keys=[], folded=False)
    eventually(lambda: page.state["total"] == 51, "all lines")
    assert page.state["failed"] == ""


def test_it_does_not_grow_with_its_updates(bridge, page, eventually):
    held = bridge.new("list")
    view = page.inspector.view
    hub = bridge._inspection
    eventually(lambda: page.row("list"), "the ref")

    def update(times):
        for n in range(times):
            page.do("sort", by="name")
            page.do("window", view=str(n), first=n, count=40)
            page.do("select", key=None, how=("all", "none")[n % 2])
        eventually(lambda: not hub._inbox, "their end", 60)
        page.messages.clear()
        gc.collect()

    update(300)
    tracemalloc.start()
    try:
        update(300)
        before = tracemalloc.get_traced_memory()[0]
        update(3_000)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 100_000, "30 bytes an update"
    assert len(view._windows) <= 4
    del held


# ---------------------------------------------------------------- its life
def test_two_inspectors_show_the_same_each_in_its_own_way(bridge, eventually):
    first, second = Page(bridge.inspect()), Page(bridge.inspect())
    made = bridge.new("list")
    for page in (first, second):
        eventually(lambda page=page: page.row("list"), "the ref")
    first.do("filter", text="nothing like this")
    eventually(lambda: first.state["empty"], "the filter")
    assert second.row("list")
    second.do("release", key=second.row("list")["key"])
    first.do("filter", text="")
    eventually(lambda: not first.row("list") and not second.row("list"), "its end")
    del made


def test_closing_the_bridge_ends_its_inspectors(bridge, page, eventually):
    bridge.new("list")
    bridge.close()
    assert "over" in page.state["over"]
    page.do("release_all")
    assert page.state["asks"] == ""
    repr(page.inspector)
    with pytest.raises(bridge_ext.BridgeClosedError):
        bridge.inspect()


def test_a_closed_inspector_is_forgotten(bridge, page, eventually):
    hub = bridge._inspection
    page.inspector.close()
    eventually(lambda: hub._open == [], "that it is forgotten")
    page.inspector.close()


def test_inspectors_that_nobody_sees_are_few(bridge, eventually):
    pages = [bridge.inspect() for _ in range(40)]
    eventually(lambda: len(bridge._inspection._open) <= 32, "that the oldest are closed")
    assert pages[-1] in [s.inspector for s in bridge._inspection._open]


def test_a_bridge_that_nobody_refers_to_is_closed_though_it_is_inspected(eventually):
    bridge = bridge_ext.Bridge()
    bridge.new("list")
    inspector = bridge.inspect()
    client = bridge._client
    pid = client.incarnation.connection.pid
    del bridge, client
    eventually(lambda: gc.collect() >= 0 and gone(pid), "the end of its worker")
    inspector.close()
