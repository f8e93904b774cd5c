"""The order of things in the inspector: sorting, filtering, folding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import ref, session, snapshot

from bridge_ext.widgets.listing import COLUMNS, Order, key_of, listing

AUTO = "auto_1_2_3"


BY_SIZE = Order()


def keys(shown, order=BY_SIZE, text="", folded=()):
    return [key_of(line) for line in listing(shown, order, text, folded).lines]


@pytest.fixture
def shown():
    return snapshot(
        [
            session("models", nbytes=50, created_at=1.0, cell="cell [10]", owners=("thread x",)),
            session(AUTO, "auto", nbytes=900, created_at=2.0, cell="cell [9]", refs=2),
        ],
        [
            ref(1, "models", "LinearRegression", 50, module="sklearn.linear_model._base"),
            ref(2, AUTO, "DataFrame", 700, shape=(10, 3), module="pandas", cell="cell [9]"),
            ref(3, AUTO, "ndarray", 200, shape=(100,), length=100, module="numpy", kept_as="w"),
        ],
        names={1: ("model",), 2: ("df", "Out[9]")},
    )


# ---------------------------------------------------------------- order
def test_the_largest_comes_first(shown):
    assert keys(shown) == [f"s:{AUTO}", "r:2", "r:3", "s:models", "r:1"]


@pytest.mark.parametrize(
    ("column", "descending", "expected"),
    [
        ("size", False, ["s:models", "r:1", f"s:{AUTO}", "r:3", "r:2"]),
        ("name", False, [f"s:{AUTO}", "r:2", "r:3", "s:models", "r:1"]),
        ("shape", True, [f"s:{AUTO}", "r:3", "r:2", "s:models", "r:1"]),
        ("held", False, [f"s:{AUTO}", "r:3", "r:2", "s:models", "r:1"]),
        ("made", True, [f"s:{AUTO}", "r:3", "r:2", "s:models", "r:1"]),
        ("cell", False, [f"s:{AUTO}", "r:3", "r:2", "s:models", "r:1"]),
    ],
)
def test_sessions_and_their_refs_are_in_the_order_of_a_column(shown, column, descending, expected):
    assert keys(shown, Order(column, descending)) == expected


def test_a_click_on_a_head_sorts_and_a_second_one_turns_it_around():
    order = Order().clicked("name")
    assert order == Order("name", False)
    assert order.clicked("name") == Order("name", True)
    assert order.clicked("made") == Order("made", True), "the latest is what one looks for"


def test_cells_are_in_the_order_of_their_numbers():
    shown = snapshot([session()], [ref(1, cell="cell [10]"), ref(2, cell="cell [9]")])
    assert keys(shown, Order("cell", False))[1:] == ["r:2", "r:1"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30),
    st.sampled_from(COLUMNS),
    st.booleans(),
)
def test_every_ref_is_listed_once_in_its_own_group(refs, column, descending):
    sessions = [session(f"s{n}") for n in range(4)]
    made = [ref(i, f"s{s}", nbytes=size) for i, (s, size) in enumerate(refs)]
    found = listing(snapshot(sessions, made), Order(column, descending), "", ())
    group, seen = None, []
    for line in found.lines:
        if key_of(line).startswith("s:"):
            group = line.id
        else:
            assert line.session_id == group
            seen.append(line.id)
    assert sorted(seen) == [r.id for r in made]
    assert found.found == len(made)


# ---------------------------------------------------------------- filter
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dataframe", [f"s:{AUTO}", "r:2"]),
        ("SKLEARN", ["s:models", "r:1"]),
        ("out[9]", [f"s:{AUTO}", "r:2"]),
        ("models", ["s:models", "r:1"]),
        ("cell [9] w", [f"s:{AUTO}", "r:3"]),
        ("df numpy", []),
        ("   ", [f"s:{AUTO}", "r:2", "r:3", "s:models", "r:1"]),
    ],
)
def test_all_words_of_a_filter_must_be_found(shown, text, expected):
    assert keys(shown, text=text) == expected


def test_a_session_without_a_match_is_not_shown_and_an_empty_one_by_its_name():
    shown = snapshot([session("empty", refs=0), session("models")], [ref(1, "models")])
    assert keys(shown, text="emp") == ["s:empty"]
    assert keys(shown, text="list") == ["s:models", "r:1"]


# ---------------------------------------------------------------- folding
def test_a_folded_session_hides_its_refs_but_they_are_counted(shown):
    found = listing(shown, Order(), "", {AUTO})
    assert [key_of(line) for line in found.lines] == [f"s:{AUTO}", "s:models", "r:1"]
    assert found.found == 3


def test_an_empty_auto_session_is_shown_only_while_its_cell_runs():
    sessions = [session(AUTO, "auto", refs=0), session("named", refs=0)]
    assert keys(snapshot(sessions)) == ["s:named"]
    assert set(keys(snapshot(sessions, marks={AUTO: "running"}))) == {f"s:{AUTO}", "s:named"}
