"""Arrays of strings as objects travel as one buffer, and are what they were."""

from __future__ import annotations

import io
import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_ext.kernel.wire.opening import Unpickler
from bridge_ext.kernel.wire.pickling import dump
from bridge_ext.kernel.wire.strings import LEAST, open_coded, open_joined, reduce_strings

numpy = pytest.importorskip("numpy")

ANY = st.text(st.characters(), max_size=8)
"""Any characters, halves of pairs too."""


def objects(items, shape=None, order="C"):
    flat = numpy.empty(len(items), dtype=object)
    flat[:] = items
    return flat if shape is None else flat.reshape(shape, order=order)


def crossed(x):
    buffers = []
    data = dump(x, lambda obj: None, buffers)
    return Unpickler(io.BytesIO(data), buffers=[bytearray(b.raw()) for b in buffers]).load()


def same(a, b):
    assert (a.dtype, a.shape, type(a)) == (b.dtype, b.shape, type(b))
    assert a.flags.writeable == b.flags.writeable
    assert a.flags.c_contiguous == b.flags.c_contiguous
    for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
        assert type(x) is type(y)
        assert x == y or (x != x and y != y)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=40), st.booleans())
def test_any_text_arrives_as_it_is(texts, spread):
    items = [texts[i % len(texts)] + (str(i) if spread else "") for i in range(LEAST + 17)]
    array = objects(items)
    assert reduce_strings(array) is not None or any("\x00" in t for t in texts)
    same(crossed(array), array)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(ANY, st.none(), st.just(math.nan), st.floats()), min_size=1, max_size=200)
)
def test_missing_values_are_in_their_places(some):
    items = [some[i] if i < len(some) else f"text {i}" for i in range(LEAST + 100)]
    same(crossed(objects(items)), objects(items))


@pytest.mark.parametrize("order", ["C", "F"])
def test_shape_and_order_stay(order):
    array = objects([str(i) for i in range(6000)], (60, 100), order)
    assert reduce_strings(array)[0] is open_joined
    same(crossed(array), array)
    same(crossed(array[:, ::2]), array[:, ::2].copy())


def test_the_same_few_strings_are_sent_once_and_stay_the_same_objects():
    names = ["north", "south", "", "\x00"]
    array = objects([names[i % 4] for i in range(10_000)])
    made = reduce_strings(array)
    assert made[0] is open_coded
    assert made[1][0] == names
    back = crossed(array)
    same(back, array)
    assert len({id(x) for x in back}) == 4


def test_equal_strings_that_are_few_but_other_objects_are_still_right():
    array = objects(["".join(["a", str(i % 3)]) for i in range(5_000)])
    same(crossed(array), array)


def test_texts_with_every_separator_go_the_ordinary_way():
    array = objects(["\x00\x1f\x1e\ue000\ue001" + str(i) for i in range(LEAST)])
    assert reduce_strings(array) is None
    same(crossed(array), array)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "items",
    [
        [Text("a")] * LEAST,
        [b"a"] * LEAST,
        ["a", 1] * LEAST,
        [None] * LEAST,
        [1.5] * LEAST,
        ["a", None] * LEAST,
        ["a"] * (LEAST - 1),
        [numpy.str_("a")] * LEAST,
    ],
    ids=["subclass", "bytes", "mixed", "none", "floats", "half", "short", "numpy"],
)
def test_other_arrays_are_left_alone(items):
    assert reduce_strings(objects(items)) is None
    same(crossed(objects(items)), objects(items))


def test_so_are_subclasses_and_what_cannot_be_written_to():
    array = objects([str(i) for i in range(LEAST)])
    array.flags.writeable = False
    assert reduce_strings(array) is None
    assert reduce_strings(array.view(numpy.recarray)) is None
    assert reduce_strings("no array") is None


def test_an_array_that_is_there_twice_is_one_array():
    array = objects([str(i) for i in range(LEAST)])
    one, other = crossed([array, array])
    assert one is other


def test_without_buffers_beside_it_a_pickle_is_an_ordinary_one():
    array = objects([str(i) for i in range(LEAST)])
    same(pickle.loads(dump(array, lambda obj: None)), array)


def test_a_frame_with_text_arrives_as_it_is(bridge):
    pandas = pytest.importorskip("pandas")
    text = pandas.Series([f"é{i}" if i % 7 else None for i in range(3_000)], dtype=object)
    frame = pandas.DataFrame({"a": range(3_000), "text": text, "few": objects(["x", "y"] * 1_500)})
    pandas.testing.assert_frame_equal(bridge.fetch(bridge.put(frame)), frame)
