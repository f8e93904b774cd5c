"""What a worker answers to one who watches is taken for what it is, or for nothing."""

from __future__ import annotations

import json
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_inspecting import Page

import bridge_ext
from bridge_ext.kernel.hearing import heard, previews
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.widgets.view import View

AGE = 1.5
ROW = (7, "shared", 1, "list", "builtins", 3, None, 88, False, AGE, 0.5, "cell [1]", None, 88)
SESSION = ("shared", 1, 1, 88, 0.5, 0)
STATUS = ("time.sleep", 0.5, 12, 1, 88, 15_000_000)


def answer(status=STATUS, session=SESSION, row=ROW, **changes):
    fields = {
        "number": 4,
        "whole": True,
        "held": 88,
        "sessions": [list(session)],
        "rows": [list(row) if type(row) is tuple else row],
    }
    fields = {**fields, "gone": [3], "rest": 0, "unsized": 0, **changes}
    return [list(status), *fields.values()]


def put(record, place, value):
    return (*record[:place], value, *record[place + 1 :])


def strict(state):
    """Whether a front end can read it: no NaN, no half of a character."""
    json.dumps(state, allow_nan=False, ensure_ascii=False).encode()
    return state


def test_what_an_honest_worker_says_is_taken_as_it_is():
    told = heard(answer())
    assert (told.busy, told.number, told.whole, told.held, told.gone) == (
        *("time.sleep", 4, True, 88),
        [3],
    )
    assert told.refs == [ROW]
    assert told.sessions == [list(SESSION)]
    assert previews([[7, "[1, 2]"]], [7]) == {7: "[1, 2]"}


NUMBERS = [-1, 2**64, 10**400, 1.5, math.nan, True, "1", None, [], {}]
BAD_ROWS = [
    *[put(ROW, place, bad) for place in (0, 2, 7, 13) for bad in NUMBERS],
    *[put(ROW, place, bad) for place in (1, 3, 4, 11) for bad in (None, 5, b"x", ["x"])],
    *[put(ROW, place, bad) for place in (9, 10) for bad in (math.nan, math.inf, 1e300, "1", None)],
    *[put(ROW, 5, bad) for bad in (-1, "x", 1.5)],
    *[put(ROW, 6, bad) for bad in (5, "ab", [-1], [math.nan], [[1]], [1] * 1000, {"a": 1})],
    *[put(ROW, 12, bad) for bad in (5, ["x"])],
    ROW[:-1],
    (*ROW, 1),
    "fourteen chars",
]
BAD = [
    *[answer(row=row) for row in BAD_ROWS],
    *[answer(session=put(SESSION, place, bad)) for place in (1, 2, 3, 5) for bad in NUMBERS],
    *[answer(session=put(SESSION, 0, bad)) for bad in (5, None, ["x"], {})],
    *[answer(session=put(SESSION, 4, bad)) for bad in (math.nan, "1", None)],
    *[answer(status=put(STATUS, 1, bad)) for bad in (math.nan, -math.inf, "x", None)],
    *[answer(status=put(STATUS, 2, bad)) for bad in NUMBERS],
    *[answer(status=put(STATUS, 5, bad)) for bad in NUMBERS if bad is not None],
    *[answer(status=put(STATUS, 0, bad)) for bad in (5, ["x"])],
    *[answer(**{key: bad}) for key in ("number", "held", "rest", "unsized") for bad in NUMBERS],
    *[answer(gone=bad) for bad in (5, [-1], ["x"], [[1]], None)],
    *[answer(rows=bad) for bad in (5, None, [5], [None])],
    *[answer(sessions=bad) for bad in (5, None, [5], [[]])],
    *([], None, 5, "123456789", {}, answer()[:-1], [*answer(), 1]),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad!r:.150}")
def test_what_is_no_answer_is_refused(bad):
    with pytest.raises(bridge_ext.ProtocolError):
        heard(bad)


@pytest.mark.parametrize("bad", [5, None, [5], [[1]], [["x", "y"]], [[1, 5]], [[[], "x"]]])
def test_what_is_no_preview_is_refused(bad):
    with pytest.raises(bridge_ext.ProtocolError):
        previews(bad, [1])


def test_previews_that_nobody_asked_for_are_left_out():
    assert previews([[1, "a"], [2, "b"]], [1, 3]) == {1: "a"}


def test_texts_have_no_control_characters():
    evil = "a\x00\x1b[31m\u202eb\ud800"
    told = heard(answer(row=put(put(ROW, 3, evil), 12, evil), status=put(STATUS, 0, evil)))
    assert (told.refs[0].type_name, told.refs[0].kept, told.busy) == ("a[31mb",) * 3
    assert previews([[1, evil]], [1]) == {1: "a[31mb"}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)


@given(plain, st.integers(0, 8), st.integers(0, 13))
def test_anything_at_any_place_is_taken_or_refused(anything, field, place):
    for made in (
        [*answer()[:field], anything, *answer()[field + 1 :]],
        answer(row=put(ROW, place, anything)),
        anything,
    ):
        try:
            heard(made)
        except bridge_ext.ProtocolError:
            pass


# ---------------------------------------------------------------- with an inspector open
def answers(bridge, monkeypatch, verb, change):
    """Let the worker answer a question in another way."""
    connection = bridge._client.incarnation.connection
    control = connection.control

    def changed(body, deadline):
        reply = control(body, deadline)
        if verb.encode() in bytes(body):
            reply.body = change()
        return reply

    monkeypatch.setattr(connection, "control", changed)


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("look", pack([0, answer(row=put(ROW, 9, math.nan))])),
        ("look", pack([0, None, 1])),
        ("look", b"\xc1 no value"),
        ("previews", pack([0, [[[], "x"]]])),
    ],
)
def test_a_worker_that_answers_what_is_no_answer_is_ended_and_the_inspector_goes_on(
    local, monkeypatch, eventually, verb, body
):
    page = Page(local.inspect())
    with local.session("shared"):
        made = [local.new("list")]
    answers(local, monkeypatch, verb, lambda: body)
    eventually(lambda: page.state["worker"] is None and page.row("shared"), "its end")
    assert "lost" in page.row("shared")["badges"]
    with pytest.raises(bridge_ext.SessionLostError, match="broke the protocol"):
        len(made[0])
    made = [local.new("list", [1])]
    eventually(lambda: page.row("list"), "the ref in the next worker")
    assert page.state["over"] is None
    strict(page.state)


def test_a_worker_that_cannot_answer_is_asked_again(local, monkeypatch, eventually):
    page = Page(local.inspect())
    held = local.new("list")
    eventually(lambda: page.row("list"), "the ref")
    failures = iter(range(3))
    client = local._client
    ask = client.ask

    def failing(verb, *args, **more):
        if verb == "look" and next(failures, None) is not None:
            raise MemoryError
        return ask(verb, *args, **more)

    monkeypatch.setattr(client, "ask", failing)
    eventually(lambda: page.status == "silent", "that it is said")
    eventually(lambda: page.status == "idle", "that it goes on")
    assert page.row("list")
    del held


# ---------------------------------------------------------------- texts of the user's
EVIL = "x\x00\u202e\ud800"


def test_texts_of_the_user_cannot_break_the_page(bridge, eventually):
    with bridge.session("shared", tags={EVIL: EVIL}):
        made = bridge.new("list", [EVIL])
    bridge.keep(made, EVIL)
    bridge._holders = lambda handles: {id(h): (EVIL,) * 10_000 for h in handles}
    thread = threading.Thread(target=bridge.new, args=("list",), name="²" + EVIL)
    thread.start()
    thread.join()
    page = Page(bridge.inspect())
    eventually(lambda: page.row("list"), "the ref")
    for what, more in (
        ("filter", {"text": EVIL}),
        ("filter", {"text": ""}),
        ("window", {"view": EVIL, "first": 0, "count": 5}),
        ("window", {"view": "v", "first": 10**400, "count": 10**400}),
        ("window", {"view": "v", "first": math.inf, "count": 5}),
        ("explode", {EVIL: EVIL}),
        ("sort", {"by": "cell"}),
    ):
        page.do(what, **more)
        before = page.state["heard"]
        eventually(lambda before=before: page.state["heard"] > before, "that it was heard")
        strict(page.state)
    assert page.state["over"] is None
    assert len(json.dumps(page.state)) < 20_000


def test_an_observer_that_fails_harms_no_other_inspector(bridge, eventually):
    first, second = Page(bridge.inspect()), Page(bridge.inspect())

    def fail(change):
        raise ValueError("the user's")

    first.inspector.observe(fail, "state")
    made = bridge.new("list")
    for page in (first, second):
        eventually(lambda page=page: page.row("list"), "the ref")
        assert page.state["over"] is None
    del made


def test_sorting_by_any_text_is_sorting():
    from snapshots import ref, session, snapshot

    view = View()
    cells = ["²", "2", "cell [10]", "cell [9]", "", "9" * 6000, "x²5"]
    shown = snapshot([session()], [ref(n, cell=cell) for n, cell in enumerate(cells)])
    view.handle({"do": "sort", "by": "cell"}, shown)
    rows = view.state(shown, {})["windows"][""]["rows"]
    order = [row["cell"] for row in rows if row["kind"] == "ref"]
    assert order.index("cell [9]") < order.index("cell [10]")


def test_a_ref_of_the_next_worker_is_never_taken_for_one_of_the_last(local, eventually):
    page = Page(local.inspect())
    made = local.new("list")
    key = eventually(lambda: page.row("list"), "the ref")["key"]
    page.do("select", key=key, how="only")
    local.restart()
    made = [local.new("list", [n]) for n in range(3)]
    page.do("release", key=key)
    page.do("release_selected")
    eventually(lambda: page.state["refs"] == 3, "the refs of the next worker")
    assert key not in page.rows
    assert page.state["selected"] == 0
    assert [len(x) for x in made] == [1, 1, 1]
