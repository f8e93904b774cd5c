"""What an inspector does with what its user does, and what it has the front end draw."""

from __future__ import annotations

import json

import pytest
from snapshots import NOW, ref, session, snapshot, worker

from bridge_ext import BridgeUsageError, Status
from bridge_ext.widgets.view import (
    FIRST,
    MAX_VIEWS,
    MAX_WINDOW,
    Interrupt,
    Release,
    Restart,
    View,
)


@pytest.fixture
def view():
    return View()


@pytest.fixture
def shown():
    """A named session that `df` holds a ref of, and an auto-session that nothing holds."""
    return snapshot(
        [session("shared", refs=2), session("auto_1", "auto", cell="cell [9]", refs=1)],
        [ref(1, nbytes=300), ref(2, nbytes=200), ref(3, "auto_1", nbytes=100)],
        names={1: ("df",), 2: ()},
    )


def rows(view, shown, name="", previews=None):
    state = view.state(shown, previews or {})
    json.dumps(state)
    return state["windows"][name]["rows"]


def by_key(view, shown, previews=None):
    return {row["key"]: row for row in rows(view, shown, previews=previews)}


def do(inspector, shown, what, /, **more):
    return inspector.handle({"do": what, **more}, shown)


# ---------------------------------------------------------------- what is drawn
def test_a_ref_says_what_it_is_how_big_and_who_holds_it(view):
    shown = snapshot(
        [session()],
        [
            ref(1, type_name="DataFrame", nbytes=24_000, shape=(1000, 3), estimated=True),
            ref(2, length=5),
            ref(3, kept_as="model"),
            ref(4),
        ],
        names={1: ("df", "Out[2]"), 2: ()},
    )
    row = by_key(view, shown, {1: "zone, fare"})
    first = row["r:1"]
    assert (first["name"], first["shape"], first["size"]) == ("DataFrame", "1,000 × 3", "~24 kB")
    assert (first["held"], first["text"], first["cell"]) == ("df, Out[2]", "zone, fare", "cell [3]")
    assert first["made"] == NOW - 59
    assert (row["r:2"]["shape"], row["r:2"]["held"]) == ("5 items", "Python code")
    assert (row["r:3"]["held"], row["r:3"]["badges"]) == ("kept as model", ["kept as model"])
    assert row["r:4"]["held"] == "nothing"


def test_a_view_of_a_larger_array_says_what_it_keeps(view):
    shown = snapshot([session()], [ref(1, nbytes=80, retained=80_000_000)])
    assert by_key(view, shown)["r:1"]["note"] == "keeps 80 MB"


def test_a_session_says_how_it_is(view):
    named = session(tags={"team": "blue"}, refs=2, nbytes=5_000, idle=30.0)
    auto = session("auto_1", "auto", cell="cell [9]", refs=1)
    refs = [ref(1), ref(2, "auto_1")]
    shown = snapshot([named, auto], refs, names={}, marks={"shared": "in force"})
    row = by_key(view, shown)
    assert row["s:shared"]["name"] == "shared"
    assert row["s:shared"]["badges"] == ["in force", "named"]
    assert row["s:shared"]["text"] == "team=blue · worker 4711"
    assert (row["s:shared"]["shape"], row["s:shared"]["size"]) == ("2 refs", "5 kB")
    assert row["s:shared"]["idle"] == NOW - 30
    assert row["s:shared"]["expires"] == NOW - 30 + 3600
    assert row["s:auto_1"]["name"] == "cell [9]"
    assert row["s:auto_1"]["badges"] == []


def test_a_session_that_names_can_reach_does_not_expire(view, shown):
    assert by_key(view, shown)["s:shared"]["expires"] is None


@pytest.mark.parametrize(("status", "can"), [(Status.LOST, True), (Status.RELEASING, False)])
def test_lost_and_releasing_sessions_say_so(view, status, can):
    row = by_key(view, snapshot([session(status=status)]))["s:shared"]
    assert status.value in row["badges"]
    assert row["can"] is can, "a lost one can be dismissed"


def test_the_worker_says_what_it_does_and_where_its_memory_is(view):
    state = view.state(snapshot(worker=worker(busy="time.sleep", since=NOW - 5)), {})
    panel = state["worker"]
    assert (panel["status"], panel["what"], panel["since"]) == ("busy", "time.sleep", NOW - 5)
    assert panel["memory"] == {
        "rss": "100 MB",
        "held": "60 MB",
        "start": "15 MB",
        "other": "25 MB",
    }
    assert panel["curve"] == [99_000_000, 100_000_000]


def test_a_worker_in_c_is_said_not_to_answer(view):
    shown = snapshot(worker=worker(answers=False, busy="hold", since=NOW - 9))
    assert view.state(shown, {})["worker"]["status"] == "silent"
    assert view.state(shown, {})["worker"]["since"] == NOW - 9


def test_no_worker_and_nothing_held_says_what_to_do(view):
    state = view.state(snapshot(worker=None), {})
    assert state["worker"] is None
    assert "bridge.call" in state["empty"]
    do(view, snapshot(), "filter", text="nobody")
    state = view.state(snapshot([session("x")]), {})
    assert "'nobody'" in state["empty"]
    assert "Escape" in state["empty"]


def test_refs_too_many_to_list_are_counted(view):
    state = view.state(snapshot([session()], [ref(1)], unlisted=999), {})
    assert state["note"] == "1 of 1,000 refs are listed"


# ---------------------------------------------------------------- windows
@pytest.fixture
def many():
    return snapshot([session(refs=10_000)], [ref(i, nbytes=10_000 - i) for i in range(10_000)])


def test_only_the_window_is_sent(view, many):
    do(view, many, "window", view="a", first=5_000, count=30)
    state = view.state(many, {})
    assert state["total"] == 10_001
    assert len(state["windows"][""]["rows"]) == FIRST
    assert [r["key"] for r in state["windows"]["a"]["rows"]] == [
        f"r:{4_999 + i}" for i in range(30)
    ]
    assert set(view.in_sight(many)) == {*range(FIRST - 1), *range(4_999, 5_029)}


def test_a_window_is_bounded_and_so_is_their_number(view, many):
    for i in range(10):
        do(view, many, "window", view=str(i), first=-5, count=10**9)
    state = view.state(many, {})
    assert set(state["windows"]) == {"", *map(str, range(10 - MAX_VIEWS, 10))}
    assert len(state["windows"]["9"]["rows"]) == MAX_WINDOW


def test_a_view_that_leaves_is_forgotten(view, shown):
    assert not view.seen
    do(view, shown, "window", view="a", first=0, count=5)
    assert view.seen
    do(view, shown, "leave", view="a")
    do(view, shown, "leave", view="never")
    assert not view.seen
    assert list(view.state(shown, {})["windows"]) == [""]


def test_sorting_is_done_once_for_what_has_not_changed(view, many):
    first = view.lines(many)
    assert view.lines(many) is first
    do(view, many, "sort", by="name")
    assert view.lines(many) is not first


# ---------------------------------------------------------------- sort, filter, fold, select
def test_sort(view, shown):
    do(view, shown, "sort", by="size")
    assert view.state(shown, {})["sort"] == ["size", "ascending"]
    assert [r["key"] for r in rows(view, shown)] == ["s:shared", "r:2", "r:1", "s:auto_1", "r:3"]


def test_a_filter_shows_what_it_finds_also_in_folded_sessions(view, shown):
    do(view, shown, "fold", keys=["s:shared"], folded=True)
    assert "r:1" not in by_key(view, shown)
    do(view, shown, "filter", text="df")
    assert list(by_key(view, shown)) == ["s:shared", "r:1"]
    state = view.state(shown, {})
    assert (state["found"], state["refs"], state["filter"]) == (1, 3, "df")
    do(view, shown, "fold", keys=["s:shared"], folded=True)
    assert list(by_key(view, shown)) == ["s:shared"]
    do(view, shown, "filter", text="")
    assert "r:1" not in by_key(view, shown), "the folds of before are still there"


def test_fold_all_and_unfold(view, shown):
    do(view, shown, "fold", keys=[], folded=True)
    row = by_key(view, shown)
    assert list(row) == ["s:shared", "s:auto_1"]
    assert row["s:shared"]["folded"] is True
    do(view, shown, "fold", keys=["s:auto_1"], folded=False)
    assert list(by_key(view, shown)) == ["s:shared", "s:auto_1", "r:3"]


def selected(view, shown):
    return [key for key, row in by_key(view, shown).items() if row["selected"]]


def test_select_one_several_a_span_all_and_none(view, shown):
    do(view, shown, "select", key="r:1", how="only")
    assert selected(view, shown) == ["r:1"]
    do(view, shown, "select", key="r:3", how="toggle")
    assert selected(view, shown) == ["r:1", "r:3"]
    assert view.state(shown, {})["selected"] == 2
    do(view, shown, "select", key="r:3", how="toggle")
    do(view, shown, "select", key="r:2", how="only")
    do(view, shown, "select", key="r:3", how="to")
    assert selected(view, shown) == ["r:2", "s:auto_1", "r:3"]
    do(view, shown, "select", key="s:shared", how="to")
    assert selected(view, shown) == ["s:shared", "r:1", "r:2"], "from where it began"
    do(view, shown, "select", key=None, how="all")
    assert len(selected(view, shown)) == 5
    do(view, shown, "select", key=None, how="none")
    assert selected(view, shown) == []


def test_what_is_gone_is_selected_no_more(view, shown):
    do(view, shown, "select", key=None, how="all")
    view.state(snapshot([session("shared")], [ref(1)]), {})
    assert selected(view, shown) == ["s:shared", "r:1"]


# ---------------------------------------------------------------- release
def test_a_ref_is_released_at_once(view, shown):
    assert do(view, shown, "release", key="r:1") == [Release("r:1")]
    assert by_key(view, shown)["r:1"]["doing"] == "releasing …"
    assert do(view, shown, "release", key="r:1") == [], "it is under way"
    view.done("r:1")
    assert by_key(view, shown)["r:1"]["doing"] == ""


def test_a_failure_stands_in_its_row_until_it_is_read(view, shown):
    do(view, shown, "release", key="r:1")
    view.done("r:1", "no way")
    assert by_key(view, shown)["r:1"]["failed"] == "no way"
    do(view, shown, "dismiss", of="r:1")
    assert by_key(view, shown)["r:1"]["failed"] == ""


def test_a_session_whose_refs_names_hold_asks_once(view, shown):
    assert do(view, shown, "release", key="s:shared") == []
    assert "df still holds" in by_key(view, shown)["s:shared"]["asks"]
    assert do(view, shown, "answer", to="s:shared", yes=False) == []
    assert by_key(view, shown)["s:shared"]["asks"] == ""
    do(view, shown, "release", key="s:shared")
    assert do(view, shown, "answer", to="s:shared", yes=True) == [Release("s:shared")]
    assert do(view, shown, "answer", to="s:shared", yes=True) == [], "it was answered"


def test_to_release_again_is_to_say_yes(view, shown):
    do(view, shown, "release", key="s:shared")
    assert do(view, shown, "release", key="s:shared") == [Release("s:shared")]


def test_an_auto_session_and_one_that_no_name_holds_do_not_ask(view, shown):
    assert do(view, shown, "release", key="s:auto_1") == [Release("s:auto_1")]
    unheld = snapshot([session()], [ref(1)], names={1: ()})
    assert do(view, unheld, "release", key="s:shared") == [Release("s:shared")]


def test_the_selection_is_released_together_and_refs_go_with_their_session(view, shown):
    do(view, shown, "select", key="s:auto_1", how="only")
    for key in ("r:1", "r:3"):
        do(view, shown, "select", key=key, how="toggle")
    assert do(view, shown, "release_selected") == [Release("s:auto_1"), Release("r:1")]


def test_release_all_asks_first(view, shown):
    assert do(view, shown, "release_all") == []
    assert view.state(shown, {})["asks"] == (
        "Release everything? 3 refs in 2 sessions; df still holds some."
    )
    assert do(view, shown, "answer", to="all", yes=True) == [Release("all")]
    assert view.state(shown, {})["doing"] == "releasing …"
    assert do(View(), snapshot(), "release_all") == [], "there is nothing"


def test_interrupt_and_restart(view, shown):
    assert do(view, shown, "interrupt") == [Interrupt()]
    assert view.state(shown, {})["worker"]["doing"] == "interrupting …"
    view.done("worker")
    assert do(view, shown, "restart") == []
    assert "3 refs in 2 sessions will be lost" in view.state(shown, {})["worker"]["asks"]
    assert do(view, shown, "answer", to="worker", yes=True) == [Restart()]
    assert do(View(), snapshot(), "restart") == [Restart()], "nothing is lost"


def test_what_is_not_there_any_more_is_not_released(view, shown):
    assert do(view, shown, "release", key="r:99") == []
    assert do(view, shown, "release", key="s:never") == []


# ---------------------------------------------------------------- bad messages, the end
@pytest.mark.parametrize(
    "message",
    [
        None,
        5,
        [],
        {},
        {"do": "explode"},
        {"do": ["release"]},
        {"do": "release"},
        {"do": "release", "key": 5},
        {"do": "release", "key": "r:x"},
        {"do": "sort", "by": "colour"},
        {"do": "window", "view": "a", "first": "x", "count": 1},
        {"do": "select", "key": "r:1"},
        {"do": "fold", "keys": 5, "folded": True},
    ],
)
def test_a_message_that_is_none_is_refused(view, shown, message):
    with pytest.raises(BridgeUsageError):
        view.handle(message, shown)
    view.state(shown, {})


def test_nothing_is_done_once_it_is_over(view, shown):
    view.over = "over"
    assert do(view, shown, "release", key="r:1") == []
    assert view.state(shown, {})["over"] == "over"


def test_the_next_inspector_of_a_cell_goes_on_as_the_last(view, shown):
    do(view, shown, "sort", by="name")
    do(view, shown, "fold", keys=[], folded=True)
    after = View()
    after.take_over(view)
    assert list(by_key(after, shown)) == list(by_key(view, shown))
    do(view, shown, "fold", keys=[], folded=False)
    assert "r:1" not in by_key(after, shown)
