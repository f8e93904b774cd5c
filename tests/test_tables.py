"""Snapshots as tables."""

from __future__ import annotations

import re
import time
from types import MappingProxyType
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_ext import HelperInfo, RefInfo, SessionInfo, Status, WorkerInfo
from bridge_ext.widgets.listing import title
from bridge_ext.widgets.tables import (
    Table,
    helpers_table,
    refs_table,
    sessions_table,
    status_table,
)
from bridge_ext.widgets.units import size


def session(id="shared", kind="named", **changes):
    facts = {
        "status": Status.ACTIVE,
        "worker": 4711,
        "refs": 1234,
        "nbytes": 1_500_000,
        "created_at": 1_700_000_000.0,
        "idle": 3.5,
        "ttl_seconds": 3600.0,
        "max_refs": 10_000,
        "overflow": "error",
        "tags": MappingProxyType({"team": "blue"}),
        "owners": ("kernel",),
        "cell": "cell [3]",
    }
    return SessionInfo(id=id, kind=kind, **{**facts, **changes})


def ref(**changes):
    facts = {
        "id": 9876,
        "session_id": "shared",
        "type_name": "DataFrame",
        "module": "pandas",
        "nbytes": 24_000,
        "nbytes_estimated": False,
        "length": 1000,
        "shape": (1000, 3),
        "summary": "<ref DataFrame 1000×3 in 'shared'>",
        "age": 1.0,
        "idle": 1.0,
        "cell": "cell [3]",
        "held_by": ("df", "Out[3]"),
        "kept_as": None,
    }
    return RefInfo(**{**facts, **changes})


AUTO = "auto_4242_3_1700000000000"


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (1_500, "1.5 kB"),
        (12_345_678, "12.3 MB"),
        (999_999, "1 MB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**9, "2 GB"),
        (3 * 10**12, "3 TB"),
        (None, "?"),
    ],
)
def test_bytes_as_people_read_them(nbytes, text):
    assert size(nbytes) == text


def test_an_estimate_is_marked():
    assert size(48, True) == "~48 B"
    assert size(None, True) == "?"


@given(st.integers(0, 10**15 - 1))
def test_every_size_is_short_and_close(nbytes):
    text = size(nbytes)
    number, unit = re.fullmatch(r"([\d.]+) (B|kB|MB|GB|TB)", text).groups()
    factor = 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert len(number) <= 4
    assert abs(float(number) * factor - nbytes) <= 0.01 * nbytes


# ---------------------------------------------------------------- any table
def test_text_is_aligned_under_headings_without_trailing_blanks():
    table = Table(("name", "n"), [("a", "1"), ("long name", "22")])
    assert repr(table) == "name       n\na          1\nlong name  22"
    assert len(table) == 2


def test_html_has_the_same_cells():
    table = Table(("name", "n"), [("a", "1"), ("b", "2")])
    root = ElementTree.fromstring(table._repr_html_())
    assert [cell.text for cell in root.iter("th")] == ["name", "n"]
    assert [cell.text for cell in root.iter("td")] == ["a", "1", "b", "2"]


def test_no_rows_are_said_in_words():
    table = Table(("name",), [], "no sessions")
    assert repr(table) == "no sessions"
    assert "no sessions" in table._repr_html_()
    assert len(table) == 0


@pytest.mark.parametrize(
    "table",
    [
        Table(("<script>alert(1)</script>",), [("x",)]),
        Table(("x",), [("<script>alert(1)</script>",)]),
        Table(("x",), [], "<script>alert(1)</script>"),
        Table(("x",), [("<img src=x onerror='alert(1)'>&\"",)]),
    ],
    ids=["heading", "cell", "empty", "attributes"],
)
def test_html_escapes_what_it_shows(table):
    shown = table._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    ElementTree.fromstring(shown)


# ---------------------------------------------------------------- sessions
def test_sessions_show_what_they_hold():
    text = repr(sessions_table([session()]))
    for shown in ("shared", "named", "active", "1,234", "1.5 MB", "kernel", "team=blue"):
        assert shown in text


def test_the_session_in_force_is_marked():
    _, shared, other = repr(sessions_table([session(), session("other")], "shared")).splitlines()
    assert "←" in shared
    assert "←" not in other


def test_no_sessions():
    assert repr(sessions_table([])) == "no sessions"


def test_an_auto_session_is_called_by_its_cell():
    auto = session(AUTO, "auto")
    assert title(auto) == "cell [3]"
    assert title(session()) == "shared"


def test_tables_hold_no_made_ids_and_no_times_so_that_they_compare():
    auto = session(AUTO, "auto", idle=12.75)
    shown = sessions_table([auto])
    refs = refs_table([ref(session_id=AUTO, summary="<ref DataFrame 1000×3>")], {AUTO: "cell [3]"})
    for table in (shown, refs):
        for text in (repr(table), table._repr_html_()):
            assert "auto_" not in text
            assert "12.75" not in text
            assert "9876" not in text
            assert "4711" not in text
            assert "1700000000" not in text


# ---------------------------------------------------------------- refs
def test_refs_show_where_they_are_and_who_holds_them():
    text = repr(refs_table([ref(kept_as="model")], {"shared": "shared"}))
    for shown in ("DataFrame 1000×3", "shared", "24 kB", "cell [3]", "df, Out[3]", "model"):
        assert shown in text


def test_a_ref_that_nothing_here_holds():
    assert "nothing" in repr(refs_table([ref(held_by=(), kept_as="model")], {}))


def test_what_changes_by_itself_is_shown_when_asked_for():
    made = time.time() - 3 * 3600 - 60
    text = repr(sessions_table([session(created_at=made, idle=125, ttl_seconds=5400)], times=True))
    for shown in ("3 h 1 min", "2 min", "1 h 30 min", "4711"):
        assert shown in text
    text = repr(refs_table([ref(age=90_000, idle=7)], {}, times=True))
    assert "25 h" in text
    assert "7 s" in text


def test_a_view_of_more_says_what_it_keeps():
    text = repr(refs_table([ref(nbytes=80, retained=80_000_000)], {}))
    assert "80 B (keeps 80 MB)" in text
    assert "keeps" not in repr(refs_table([ref(nbytes=80_000_000, retained=80_000_200)], {}))


def test_no_refs():
    assert repr(refs_table([], {})) == "no refs"


def test_a_type_name_cannot_add_markup():
    table = refs_table([ref(summary="<ref <b>Bold</b>>", held_by=("<i>",))], {"shared": "<u>"})
    ElementTree.fromstring(table._repr_html_())
    for tag in ("<b>", "<i>", "<u>"):
        assert tag not in table._repr_html_()


# ---------------------------------------------------------------- the worker
def test_the_worker():
    info = WorkerInfo(4711, 2, "time.sleep", 1.26, 25_000_000, 3, 1_500, 12_000, "socket")
    text = repr(status_table(info))
    for shown in ("4711", "time.sleep", "1.3 s", "25 MB", "1,500", "12,000", "socket"):
        assert shown in text


def test_the_memory_of_a_worker_is_held_against_what_is_known_of_it():
    info = WorkerInfo(
        1, 1, None, 0.0, 100_000_000, 1, 1, 1, "socket", nbytes=60_000_000, rss_at_start=15_000_000
    )
    text = repr(status_table(info))
    for shown in ("100 MB", "60 MB", "15 MB", "25 MB"):
        assert shown in text


def test_a_worker_that_does_nothing():
    info = WorkerInfo(4711, 1, None, 0.0, None, 0, 0, 0, "socket")
    assert "nothing" in repr(status_table(info))
    assert "?" in repr(status_table(info))


def test_no_worker():
    info = WorkerInfo(None, 0, None, 0.0, None, 0, 0, 0, "local")
    assert "no worker" in repr(status_table(info))


# ---------------------------------------------------------------- helpers
def test_helpers_show_their_signature_and_first_line():
    table = helpers_table([HelperInfo("top", "(df, n=3)", "The top rows.\n\nMore.")])
    assert "top(df, n=3)" in repr(table)
    assert "The top rows." in repr(table)
    assert "More" not in repr(table)
    assert repr(helpers_table([])) == "no helpers"
