"""What is in an object, in one line."""

from __future__ import annotations

import datetime
import math
import types
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest

from bridge_ext.kernel.worker.previews import MAX_PREVIEW, preview


class Model:
    def __init__(self):
        self.alpha = 0.5
        self.name = "ridge"
        self._hidden = 1
        self.inner = object()
        self.steps = [1, 2, 3]


class Hostile:
    def __repr__(self):
        raise AssertionError("it ran")

    def __getattr__(self, name):
        raise AssertionError("it ran")

    __str__ = __len__ = __iter__ = __hash__ = __repr__


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (None, "None"),
        (True, "True"),
        (7, "7"),
        (1 << 1000, "<int of 1,001 bits>"),
        (0.25, "0.25"),
        (2j, "2j"),
        ("it's", '"it\'s"'),
        ("line\nline", r"'line\nline'"),
        (b"\x00", r"b'\x00'"),
        (range(3), "range(0, 3)"),
        ([], "[]"),
        ([1, "a", None], "[1, 'a', None]"),
        ([[1, [2]], {"k": {}}], "[[1, […]], {'k': {}}]"),
        ((1,), "(1)"),
        ({1: [2]}, "{1: [2]}"),
        ({}, "{}"),
        (list(range(9)), "[0, 1, 2, 3, 4, 5, …]"),
        (deque([1, 2]), "[1, 2]"),
        (OrderedDict(a=1), "{'a': 1}"),
        (Counter("aa"), "{'a': 2}"),
        (defaultdict(list, a=[1]), "{'a': [1]}"),
        (datetime.date(2026, 1, 2), "datetime.date(2026, 1, 2)"),
        (Decimal("1.5"), "Decimal('1.5')"),
        (Fraction(1, 2), "Fraction(1, 2)"),
        (UUID(int=1), "UUID('00000000-0000-0000-0000-000000000001')"),
        (math.sqrt, "math.sqrt"),
        (types, "types"),
        (types.SimpleNamespace, "types.SimpleNamespace"),
        (object(), ""),
    ],
)
def test_known_types_show_what_is_in_them(obj, text):
    assert preview(obj) == text


def test_none_of_the_objects_own_code_runs():
    assert preview([Hostile(), 1]) == "[<Hostile>, 1]"
    assert preview({"a": Hostile()}) == "{'a': <Hostile>}"
    assert preview(Hostile()) == ""


def test_any_other_object_shows_its_plain_attributes():
    assert preview(Model()) == "alpha=0.5, name='ridge', steps=[1, 2, 3], …"


def test_a_preview_is_short():
    assert len(preview(["x" * 1000] * 100)) == MAX_PREVIEW
    assert preview("x" * 1000) == repr("x" * 60) + "…"


def test_what_refers_to_itself_ends():
    loop = [1]
    loop.append(loop)
    assert preview(loop) == "[1, [1, […]]]"


def test_arrays_show_their_type_and_first_values():
    numpy = pytest.importorskip("numpy")
    assert preview(numpy.array([0.1 + 0.2, 2.0])) == "float64  0.3, 2"
    assert preview(numpy.ones((2, 9), dtype="int8")) == "int8  1, 1, 1, 1, 1, 1, …"
    assert preview(numpy.array(["a", "b"])).endswith("'a', 'b'")
    assert preview(numpy.zeros((0, 3))) == "float64"
    assert preview(numpy.array(1.0)) == "float64"
    assert preview(numpy.array([None], dtype=object)) == "object"
    assert preview(numpy.zeros(2, dtype=[("a", "i4")])) == "structured"
    assert preview(numpy.array(["2026-01-01"], dtype="M8[D]")) == (
        "datetime64[D]  datetime.date(2026, 1, 1)"
    )


def test_tables_show_their_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"zone": ["a"], "fare": [1], 3: [2]})
    assert preview(frame) == "zone, fare, 3"
    assert preview(frame.groupby("zone")) == "zone, fare, 3"
    arrow = pytest.importorskip("pyarrow")
    assert preview(arrow.table({"a": [1], "b": [2]})) == "a, b"


def test_nothing_of_a_subclass_runs():
    class Hidden(dict):
        def items(self):
            raise AssertionError("it ran")

        __iter__ = __len__ = items

    preview(Hidden(a=1))
