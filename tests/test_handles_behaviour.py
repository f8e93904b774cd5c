"""Handles as a user meets them: what they look like, what runs where, what they hold."""

from __future__ import annotations

import builtins
import collections
import contextlib
import datetime
import gc
import json
import math
import operator
import pickle
import subprocess
import sys
import threading
import traceback
from collections import abc
from concurrent.futures import ThreadPoolExecutor

import pytest

import bridge_ext
from bridge_ext import (
    BridgeUsageError,
    EncodeError,
    InvalidRefError,
    Module,
    Ref,
    RefNotFoundError,
    RemoteError,
    StreamRef,
)

THINGS = '''
import gc
import operator
import weakref

_live = weakref.WeakSet()
calls = []

BINARY = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul",
    "lshift", "rshift", "and", "or", "xor", "divmod",
]


class Live:
    def __init__(self, tag=""):
        self.tag = tag
        self.part = None
        _live.add(self)

    def itself(self):
        return self

    def several(self, count):
        return [self] * count

    def __str__(self):
        return f"live {self.tag}"


def live(tag=""):
    gc.collect()
    return sum(thing.tag == tag for thing in list(_live))


def same(thing, *others, **named):
    return thing


class Operators:
    """Tells which of its operators ran, and with what."""

    def __neg__(self):
        return "neg"

    def __pos__(self):
        return "pos"

    def __invert__(self):
        return "invert"

    def __abs__(self):
        return "abs"

    def __round__(self, digits=None):
        return ["round", digits]

    def __trunc__(self):
        return "trunc"

    def __floor__(self):
        return "floor"

    def __ceil__(self):
        return "ceil"


def _binary(name):
    def run(self, other):
        return [name, "itself" if other is self else other]

    return run


for _name in BINARY:
    for _prefix in ("", "r", "i"):
        if (_prefix, _name) != ("i", "divmod"):
            setattr(Operators, f"__{_prefix}{_name}__", _binary(_prefix + _name))


class Ordered:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        calls.append("eq")
        return self.value == getattr(other, "value", other)

    def __lt__(self, other):
        calls.append("lt")
        return self.value < getattr(other, "value", other)

    def __gt__(self, other):
        calls.append("gt")
        return self.value > getattr(other, "value", other)


class Polite:
    """Leaves every operator to the other operand."""

    def __add__(self, other):
        return NotImplemented

    def __lt__(self, other):
        return NotImplemented

    def __eq__(self, other):
        return NotImplemented

    __hash__ = None


class Adder:
    def __add__(self, other):
        return "add"

    def __radd__(self, other):
        return "radd"


class Plain:
    pass


class ByIndex:
    """A sequence of the old kind."""

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError(index)
        return index * 10


class Keys:
    """Tells what it was indexed with."""

    def __getitem__(self, key):
        return key


class Context:
    def __init__(self, quiet=False):
        self.seen = []
        self.quiet = quiet

    def __enter__(self):
        self.seen.append("in")
        return self

    def __exit__(self, kind, error, traceback):
        self.seen.append([kind and kind.__name__, error and list(error.args)])
        return self.quiet


class Named:
    """Has, as its own, every name that a handle could be tempted to use."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: [name, list(args), kwargs]


class Holder:
    release = "my release"
    session = "my session"
    id = "my id"

    def get(self):
        return "my get"


class Loud:
    """Counts and refuses everything that could be run behind the user's back."""

    def _refuse(self, *args, **kwargs):
        calls.append("loud")
        raise RuntimeError("must not run")

    __repr__ = __str__ = __len__ = __eq__ = __hash__ = __bool__ = __dir__ = _refuse
    __format__ = __getattr__ = __iter__ = __sizeof__ = __reduce_ex__ = _refuse

    @property
    def size(self):
        return self._refuse()

    nbytes = shape = length = size

    def quiet(self):
        return "quiet"


class Watched:
    """A descriptor that counts its reads."""

    def __get__(self, instance, owner):
        calls.append("watched")
        return 5


class WithDescriptor:
    watched = Watched()


class Lying:
    @property
    def __class__(self):
        calls.append("class")
        return dict


class Meta(type):
    def __getattribute__(cls, name):
        calls.append("meta")
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance):
        calls.append("instancecheck")
        return True

    def __dir__(cls):
        calls.append("dir")
        return []


class OfMeta(metaclass=Meta):
    pass


def colored():
    return type("Evil\\x1b[31m\\nname", (), {})()


class Known(Exception):
    def __init__(self, left, right):
        super().__init__(left, right)
        self.left = left
        self.right = right


class KnownOs(OSError):
    pass


def raise_known(left, right):
    raise Known(left, right)


def raise_from_below(value):
    return int(value)


def raise_hidden():
    class Hidden(Exception):
        pass

    raise Hidden("where am I from")


def raise_named(name, args):
    import builtins

    raise getattr(builtins, name)(*args)


def raise_chained():
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("outer") from error


def raise_odd_text():
    class Odd(ValueError):
        def __str__(self):
            raise RuntimeError("no text")

        __repr__ = __str__

    raise Odd(1)


def raise_lock():
    import threading

    raise ValueError("holds", threading.Lock())


def raise_json():
    import json

    json.loads("{broken")


def raise_process():
    import subprocess

    raise subprocess.CalledProcessError(3, ["cmd"], output="text")


def raise_unicode():
    b"\\xff".decode("utf-8")


def raise_file():
    open("/nowhere/at/all")


def raise_os():
    raise KnownOs(2, "text", "file")


def raise_group():
    raise ExceptionGroup("many", [ValueError(1), TypeError(2)])


def count():
    yield from range(3)


def broken_after(number):
    yield from range(number)
    raise ValueError("broken")


def pair(thing):
    return {"a": thing, "b": [thing, (thing,)]}


def grow(data):
    data += [4]
    return data
'''
BROKEN = "import a_module_that_does_not_exist_anywhere\n"
RAISING = "raise ValueError('at import')\n"


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "handle_things.py").write_text(THINGS)
    (folder / "handle_broken.py").write_text(BROKEN)
    (folder / "handle_raising.py").write_text(RAISING)
    sys.path.insert(0, str(folder))
    import handle_things

    yield handle_things
    sys.path.remove(str(folder))
    sys.modules.pop("handle_things", None)


@pytest.fixture
def new(bridge):
    """Make an instance of a class of the test's module."""

    def make(name, *args, **kwargs):
        return bridge.new(f"handle_things.{name}", *args, **kwargs)

    return make


@pytest.fixture
def boxed(bridge):
    """Make a ref of plain data."""
    return bridge.put


@pytest.fixture
def ran(bridge):
    """What ran in the worker since the test began, as far as it was noted."""
    bridge.call("handle_things.calls.clear")
    return lambda: bridge.call("list", bridge.attr("handle_things.calls"))


def trips(bridge, action):
    """How many calls the worker served while `action` ran."""
    before = bridge.status().calls
    action()
    return bridge.status().calls - before


# --- What a handle is -------------------------------------------------------------------------


def test_a_ref_is_a_ref_and_an_iterator_is_a_stream_ref(bridge, boxed):
    assert isinstance(boxed([]), Ref)
    assert not isinstance(boxed([]), StreamRef)
    stream = bridge.call("handle_things.count")
    assert isinstance(stream, Ref)
    assert isinstance(stream, StreamRef)
    assert issubclass(StreamRef, Ref)


@pytest.mark.parametrize("value", [5, "text", None, [], Ref], ids=repr)
def test_what_is_no_ref_is_no_ref(value):
    assert not isinstance(value, Ref)


def test_the_class_of_a_handle_is_named_for_what_it_is(bridge, boxed):
    assert type(boxed([])).__name__ == "Ref"
    assert type(bridge.call("handle_things.count")).__name__ == "StreamRef"


def test_handles_of_one_type_share_a_class_and_others_do_not(boxed, new):
    assert type(boxed([1])) is type(boxed([2]))
    assert type(boxed([1])) is not type(boxed({}))
    assert type(new("Plain")) is type(new("Plain"))


def test_a_ref_cannot_be_made_by_hand():
    with pytest.raises(TypeError):
        Ref()
    with pytest.raises(TypeError):
        StreamRef()


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ([1], {"Sized", "Iterable", "Container", "Reversible"}),
        ({"a": 1}, {"Sized", "Iterable", "Container", "Reversible"}),
        (5, set()),
        ("text", {"Sized", "Iterable", "Container"}),
        ({1}, {"Sized", "Iterable", "Container"}),
    ],
    ids=["list", "dict", "int", "str", "set"],
)
def test_a_handle_has_the_protocols_of_its_type(boxed, value, kinds):
    ref = boxed(value)
    names = ["Sized", "Iterable", "Container", "Reversible", "Iterator", "Callable", "Awaitable"]
    assert {name for name in names if isinstance(ref, getattr(abc, name))} == kinds


def test_a_plain_object_has_no_special_methods(new):
    ref = new("Plain")
    for name in ("__len__", "__iter__", "__getitem__", "__contains__", "__next__", "__reversed__"):
        assert not hasattr(type(ref), name), name
    for name in ("__enter__", "__exit__", "__add__", "__radd__", "__iadd__", "__int__"):
        assert not hasattr(type(ref), name), name
    for action in (len, iter, next, reversed, list, lambda r: r[0], lambda r: 1 in r):
        with pytest.raises(TypeError):
            action(ref)


def test_what_can_be_called_is_callable_and_what_cannot_is_not(bridge, new):
    assert callable(bridge.call("operator.itemgetter", 0))
    assert callable(bridge.attr("handle_things.Plain"))
    assert not callable(new("Plain"))
    with pytest.raises(TypeError, match="not callable"):
        new("Plain")()


def test_a_sequence_of_the_old_kind_has_no_length(new):
    ref = new("ByIndex")
    assert not hasattr(type(ref), "__iter__")
    with pytest.raises(TypeError):
        len(ref)


# --- Operators --------------------------------------------------------------------------------

OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "matmul": operator.matmul,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "divmod": divmod,
}
IN_PLACE = {
    name: getattr(operator, f"i{name}") for name in OPERATORS if name not in ("divmod", "and", "or")
} | {"and": operator.iand, "or": operator.ior}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_run_in_the_worker(new, name):
    ref, run = new("Operators"), OPERATORS[name]
    assert run(ref, 5) == [name, 5]
    assert run(5, ref) == [f"r{name}", 5]
    assert run(ref, ref) == [name, "itself"]


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_operators_run_in_the_worker(new, name):
    assert IN_PLACE[name](new("Operators"), 5) == [f"i{name}", 5]


def test_unary_operators_run_in_the_worker(new):
    ref = new("Operators")
    assert [-ref, +ref, ~ref, abs(ref)] == ["neg", "pos", "invert", "abs"]
    assert [math.trunc(ref), math.floor(ref), math.ceil(ref)] == ["trunc", "floor", "ceil"]
    assert [round(ref), round(ref, 2)] == [["round", None], ["round", 2]]


@pytest.mark.parametrize("value", [7, 2.5, True, -3])
def test_numbers_behave_as_numbers(boxed, value):
    ref = boxed(value)
    assert (ref + 1, 1 + ref, 10 - ref, ref * 2, 2**ref) == (
        value + 1,
        1 + value,
        10 - value,
        value * 2,
        2**value,
    )
    assert (int(ref), float(ref), bool(ref), abs(ref)) == (
        int(value),
        float(value),
        bool(value),
        abs(value),
    )
    assert (ref == value, ref != value, ref < 100, operator.lt(100, ref), ref >= value) == (
        True,
        False,
        True,
        False,
        True,
    )


def test_truth_is_that_of_the_object(boxed, new):
    assert not boxed([])
    assert boxed([0])
    assert not boxed(0)
    assert new("Plain")


def test_a_mutable_object_is_changed_in_place_and_stays_the_same_ref(boxed, bridge):
    ref = before = boxed([1])
    ref += [2]
    assert ref is before
    ref *= 2
    assert ref is before
    assert bridge.fetch(ref) == [1, 2, 1, 2]


def test_an_immutable_object_is_replaced_by_the_result(boxed):
    ref = boxed(5)
    ref += 1
    assert ref == 6
    assert type(ref) is int


def test_an_operator_that_nobody_implements_is_a_type_error(new):
    for run in (operator.add, operator.lt, operator.matmul, divmod):
        for left, right in [(new("Plain"), 5), (5, new("Plain")), (new("Plain"), new("Plain"))]:
            with pytest.raises(TypeError):
                run(left, right)


def test_not_implemented_leaves_the_operator_to_the_other_operand(new):
    assert new("Polite") + new("Adder") == "radd"
    assert new("Adder") + new("Polite") == "add"
    with pytest.raises(TypeError):
        new("Polite") + 5
    with pytest.raises(TypeError):
        _ = new("Polite") < new("Polite")


def test_equality_that_nobody_implements_is_identity(new):
    ref, other = new("Polite"), new("Polite")
    assert (ref == ref, ref == other, ref != other, ref == 5) == (True, False, True, False)


def test_an_operand_of_the_wrong_type_is_the_remote_type_error(boxed):
    with pytest.raises(TypeError, match="can only concatenate list"):
        boxed([1]) + 5


def test_comparisons_run_in_the_worker_once_and_not_reflected(new, ran):
    ref, other = new("Ordered", 1), new("Ordered", 2)
    assert ref < other
    assert not ref > other
    assert ref == 1
    assert ran() == ["lt", "gt", "eq"]


def test_a_comparison_with_a_value_on_the_left_is_reflected(new, ran):
    assert operator.gt(5, new("Ordered", 1))
    assert operator.eq(1, new("Ordered", 1))
    assert ran() == ["lt", "eq"]


def test_equality_may_give_an_object(bridge):
    array = bridge.call("numpy.arange", 3)
    assert isinstance(array == 1, Ref)
    assert bridge.fetch(array == array).tolist() == [True, True, True]


def test_an_operator_is_one_trip(new, bridge):
    ref = new("Operators")
    assert trips(bridge, lambda: ref + 1) == 1
    assert trips(bridge, lambda: 1 + ref) == 1


def test_the_first_ref_of_an_operator_is_its_target(bridge):
    with bridge.session("named"):
        named = bridge.put([1])
        other = bridge.new("collections.Counter", "ab")
    auto = bridge.put([2])
    assert named + auto == [1, 2]
    with pytest.raises(bridge_ext.SessionMismatchError):
        auto + named
    result = other + bridge.new("collections.Counter", "b")
    assert bridge.info(result).session_id == "named"


def test_numpy_values_on_the_left_are_reflected(bridge):
    import numpy

    array = bridge.call("numpy.arange", 3)
    total = numpy.ones(3) + array
    assert isinstance(total, Ref)
    assert bridge.fetch(total).tolist() == [1, 2, 3]
    assert bridge.fetch(numpy.float64(2) * array).tolist() == [0, 2, 4]


def test_a_ref_in_a_formatted_text_is_the_remote_text(boxed, new):
    assert str(boxed([1, 2])) == "[1, 2]"
    assert str(new("Live", "one")) == "live one"
    assert f"{boxed(2.5):.3f}" == "2.500"


# --- Items ------------------------------------------------------------------------------------


def test_items_are_read_set_and_deleted(boxed, bridge):
    ref = boxed([10, 20, 30, 40])
    assert (ref[0], ref[-1], ref[1:3], ref[::-2]) == (10, 40, [20, 30], [40, 20])
    ref[0] = 11
    ref[2:] = [3, 4, 5]
    del ref[1]
    assert bridge.fetch(ref) == [11, 3, 4, 5]


def test_keys_of_any_kind_travel(new):
    ref = new("Keys")
    for key in (1, "a", (1, 2), slice(1, None), (slice(None), 3), None, 2.5, slice("a", 3, (1,))):
        assert ref[key] == key
    assert ref[..., 0][1] == 0


def test_a_ref_may_be_a_key_and_an_item(boxed, bridge):
    held, key = boxed({"a": 1}), boxed("a")
    assert held[key] == 1
    held["b"] = boxed([1])
    assert bridge.fetch(held) == {"a": 1, "b": [1]}


def test_missing_items_are_the_remote_errors(boxed):
    with pytest.raises(IndexError, match="list index out of range"):
        boxed([])[0]
    with pytest.raises(KeyError) as caught:
        boxed({})["key"]
    assert caught.value.args == ("key",)
    with pytest.raises(TypeError):
        boxed((1,))[0] = 2


def test_containment_runs_in_the_worker(boxed, new, bridge):
    assert 2 in boxed([1, 2])
    assert "x" not in boxed({"a": 1})
    assert "ell" in boxed("hello")
    assert 20 in new("ByIndex")
    assert 25 not in new("ByIndex")
    ref = boxed(list(range(100)))
    assert trips(bridge, lambda: 99 in ref) == 1


def test_length_is_current(boxed):
    ref = boxed([1])
    ref.append(2)
    assert len(ref) == 2


# --- Iteration --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [[1, 2, 3], (1, "b", None), {"a": 1, "b": 2}, "text", b"ab"])
def test_iterating_a_ref_gives_its_items(boxed, value):
    assert list(boxed(value)) == list(value)


def test_a_sequence_of_the_old_kind_can_be_iterated(new):
    assert list(new("ByIndex")) == [0, 10, 20]


def test_iterators_are_independent(boxed):
    ref = boxed([1, 2, 3])
    first, second = iter(ref), iter(ref)
    assert (next(first), next(first), next(second)) == (1, 2, 1)


def test_reversal_and_unpacking(boxed):
    assert list(reversed(boxed([1, 2, 3]))) == [3, 2, 1]
    assert [*boxed([1, 2])] == [1, 2]
    first, *rest = boxed("abc")
    assert (first, rest) == ("a", ["b", "c"])
    assert dict(boxed({"a": 1})) == {"a": 1}
    assert dict(**boxed({"a": 1})) == {"a": 1}


def test_items_that_are_objects_are_refs(bridge, new):
    pair = bridge.options(fetch=False).call("list", [new("Live", "a"), 5])
    first, second = pair
    assert first.tag == "a"
    assert second == 5


def test_a_stream_is_its_own_iterator_and_ends_once_for_all(bridge):
    stream = bridge.call("handle_things.count")
    assert iter(stream) is stream
    assert list(stream) == [0, 1, 2]
    assert list(stream) == []
    with pytest.raises(StopIteration):
        next(stream)
    assert next(stream, "default") == "default"


def test_a_stream_that_is_shared_with_the_worker_loses_nothing(bridge):
    stream = bridge.call("handle_things.count")
    assert next(stream) == 0
    assert bridge.call("list", stream) == [1, 2]


def test_an_error_in_a_stream_comes_after_its_items(bridge):
    stream = bridge.call("handle_things.broken_after", 2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(stream)
    assert list(stream) == []


def test_bridge_stream_gives_the_items_of_any_iterable(bridge):
    assert list(bridge.stream("builtins.range", 3)) == [0, 1, 2]
    assert list(bridge.stream("handle_things.count")) == [0, 1, 2]
    assert list(bridge.stream("builtins.dict", a=1)) == ["a"]


def test_bridge_stream_of_what_cannot_be_iterated_is_a_type_error(bridge):
    with pytest.raises(TypeError):
        list(bridge.stream("math.sqrt", 4))


def test_a_stream_may_be_left_early_and_is_freed(bridge, eventually):
    for item in bridge.stream("itertools.count"):
        if item == 3:
            break
    gc.collect()
    eventually(lambda: bridge.refs() == [])


def test_a_stream_can_be_iterated_asynchronously(bridge):
    import asyncio

    async def main():
        return [item async for item in bridge.stream("builtins.range", 3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_an_open_file_is_a_full_ref_that_keeps_its_place(bridge, tmp_path):
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\nfour\n")
    with bridge.call("open", str(path)) as file:
        assert isinstance(file, StreamRef)
        assert next(file) == "one\n"
        assert file.readline() == "two\n"
        assert next(file) == "three\n"
        assert file.read() == "four\n"
    assert file.closed is True


def test_a_cursor_keeps_its_place(bridge):
    database = bridge.call("sqlite3.connect", ":memory:")
    cursor = database.execute("select value from json_each('[1, 2, 3, 4]')")
    assert next(cursor) == (1,)
    assert cursor.fetchone() == (2,)
    assert cursor.fetchmany(1) == [(3,)]
    assert list(cursor) == [(4,)]
    database.close()


# --- With and calls ---------------------------------------------------------------------------


def test_with_enters_and_exits_in_the_worker(new):
    ref = new("Context")
    with ref as inside:
        assert inside is ref
        assert ref.seen == ["in"]
    assert ref.seen == ["in", [None, None]]


def test_an_exception_in_the_block_reaches_the_exit_and_goes_on(new):
    ref = new("Context")
    with pytest.raises(ValueError, match="text"), ref:
        raise ValueError("text", 5)
    assert ref.seen == ["in", ["ValueError", ["text", 5]]]


def test_the_exit_may_silence_an_exception(new):
    with new("Context", quiet=True) as ref:
        raise KeyError("silenced")
    assert ref.seen == ["in", ["KeyError", ["silenced"]]]


def test_an_exception_that_cannot_travel_still_releases_a_lock(bridge):
    lock = bridge.call("threading.Lock")
    error = ValueError(threading.Lock())
    with pytest.raises(ValueError, match="lock") as caught, lock:
        raise error
    assert caught.value is error
    assert lock.locked() is False


def test_an_exception_that_cannot_travel_still_exits(new):
    class Local(Exception):
        pass

    ref = new("Context")
    error = Local(threading.Lock())
    with pytest.raises(Local) as caught, ref:
        raise error
    assert caught.value is error
    assert len(ref.seen) == 2


def test_a_lock_is_held_by_with_in_the_worker(bridge):
    lock = bridge.call("threading.Lock")
    with lock:
        assert lock.locked() is True
    assert lock.locked() is False


def test_a_plain_object_is_no_context_manager(new):
    with pytest.raises((TypeError, AttributeError)), new("Plain"):
        pass


def test_refs_of_functions_and_classes_can_be_called(bridge):
    getter = bridge.call("operator.itemgetter", 1)
    assert getter([1, 2]) == 2
    power = bridge.call("functools.partial", bridge.attr("builtins.pow"), 2)
    assert power(5) == 32
    assert power(5, mod=10) == 2
    counter = bridge.attr("collections.Counter")("aab")
    assert counter["a"] == 2


def test_a_keyword_of_any_name_is_the_functions(bridge, boxed):
    words = {"path": 1, "ref": 2, "name": 3, "self": 4, "session": 5, "timeout": 6, "fetch": 7}
    assert bridge.call("dict", **words) == words
    assert bridge.fetch(bridge.new("dict", **words)) == words
    first, second = boxed({}), boxed({})
    bridge.method(first, "update", **words)
    second.update(**words)
    assert bridge.fetch(first) == bridge.fetch(second) == words
    assert bridge.module("builtins").dict(**words) == words


def test_a_keyword_of_any_name_is_that_of_a_called_ref(bridge):
    words = {"self": 1, "ref": 2, "state": 3, "args": 4, "kwargs": 5}
    assert bridge.attr("builtins.dict")(**words) == words


def test_a_keyword_of_any_name_is_the_helpers(bridge):
    bridge.register_helper(lambda **words: words, "words")
    words = {"path": 1, "ref": 2, "name": 3, "self": 4, "helper": 5}
    assert bridge.helper("words", **words) == words


def test_keywords_need_not_be_identifiers(bridge):
    words = {"with space": 1, "": 2, "é": 3, "\ud800": 4}
    assert bridge.call("dict", **words) == words


# --- Attributes -------------------------------------------------------------------------------


def test_attributes_are_read_set_and_deleted(new):
    ref = new("Plain")
    ref.value = [1, 2]
    assert ref.value == [1, 2]
    del ref.value
    with pytest.raises(AttributeError, match="value"):
        _ = ref.value
    with pytest.raises(AttributeError):
        del ref.value
    assert not hasattr(ref, "value")
    assert getattr(ref, "value", "default") == "default"


def test_an_attribute_may_hold_a_ref(new, bridge):
    ref, part = new("Live"), new("Live", "part")
    ref.part = part
    assert ref.part is part


def test_the_spelled_out_forms_do_the_same(new, bridge):
    ref = new("Live", "tag")
    assert bridge.get(ref, "tag") == "tag"
    bridge.set(ref, "tag", "new")
    assert ref.tag == "new"
    assert bridge.method(ref, "itself") is ref


@pytest.mark.parametrize("name", ["_private", "__private", "_repr_html_", "__wrapped__", "_"])
def test_names_with_a_leading_underscore_are_refused_here(new, bridge, name):
    ref = new("Named")

    def attempts():
        with pytest.raises(AttributeError, match=r"bridge\.get"):
            getattr(ref, name)
        with pytest.raises(AttributeError, match=r"bridge\.set"):
            setattr(ref, name, 1)
        with pytest.raises(AttributeError):
            delattr(ref, name)
        assert not hasattr(ref, name)

    assert trips(bridge, attempts) == 0


def test_a_private_attribute_is_not_deleted_through_a_ref(new, bridge):
    ref = new("Plain")
    bridge.set(ref, "_private", 5)
    with pytest.raises(AttributeError):
        del ref._private
    assert bridge.get(ref, "_private") == 5


def test_the_spelled_out_forms_reach_names_with_a_leading_underscore(new, bridge):
    ref = new("Plain")
    bridge.set(ref, "_private", 5)
    assert bridge.get(ref, "_private") == 5
    assert bridge.get(ref, "__dict__") == {"_private": 5}
    assert bridge.method(bridge.put([1, 2]), "__len__") == 2


# fmt: off
NAMES = [
    "release", "get", "set", "id", "session", "info", "keep", "kept", "fetch", "call",
    "close", "name", "type", "module", "method", "attr", "new", "put", "move", "helper",
    "stream", "options", "use", "refs", "status", "interrupt", "restart", "kind", "bridge",
    "client", "ref", "session_id", "type_name", "worker", "count", "copy", "items", "keys",
    "values", "generation", "incarnation", "handle",
]
# fmt: on


@pytest.mark.parametrize("name", NAMES)
def test_every_name_without_an_underscore_is_the_objects(new, name):
    assert getattr(new("Named"), name)(1, a=2) == [name, [1], {"a": 2}]


@pytest.mark.parametrize("name", NAMES[:6])
def test_such_names_can_be_set(new, name):
    ref = new("Plain")
    setattr(ref, name, "mine")
    assert getattr(ref, name) == "mine"


def test_attributes_of_a_class_that_a_bridge_could_shadow(new):
    ref = new("Holder")
    assert (ref.release, ref.session, ref.id, ref.get()) == (
        "my release",
        "my session",
        "my id",
        "my get",
    )


def test_a_locks_release_is_the_locks(bridge):
    lock = bridge.call("threading.Lock")
    assert lock.acquire() is True
    lock.release()
    assert lock.locked() is False


def test_a_method_call_is_one_trip(boxed, bridge):
    ref = boxed([1])
    assert trips(bridge, lambda: ref.append(2)) == 1
    assert trips(bridge, lambda: bridge.method(ref, "append", 3)) == 1


def test_reading_a_method_runs_nothing_and_it_can_be_called_later(boxed, bridge):
    ref = boxed([1])
    append = ref.append
    append(2)
    append(3)
    assert bridge.fetch(ref) == [1, 2, 3]


def test_a_method_shadowed_on_the_instance_is_the_instances(new, bridge):
    ref = new("Live")
    ref.itself = bridge.attr("builtins.len")
    assert ref.itself([1, 2]) == 2


def test_a_missing_attribute_is_the_remote_error(boxed):
    with pytest.raises(AttributeError, match="'list' object has no attribute 'apend'"):
        boxed([]).apend(1)


def test_an_attribute_that_is_a_module_is_a_module_handle(bridge):
    assert isinstance(bridge.module("os").path, Module)
    assert bridge.module("os").path.join("a", "b") == "a/b"


# --- Identity ---------------------------------------------------------------------------------


def test_the_same_object_is_the_same_ref_across_results(new, bridge):
    ref = new("Live")
    assert ref.itself() is ref
    assert bridge.call("handle_things.same", ref) is ref
    assert bridge.method(ref, "itself") is ref


def test_the_same_object_is_the_same_ref_within_a_result(bridge, new):
    result = bridge.call("handle_things.pair", new("Live"))
    assert result["a"] is result["b"][0]
    assert result["a"] is result["b"][1][0]


def test_one_object_in_two_sessions_is_two_refs(new, bridge):
    ref = new("Live")
    with bridge.session("named"):
        twin = bridge.call("handle_things.same", ref)
    assert twin is not ref
    with bridge.session("named"):
        assert bridge.call("operator.is_", ref, twin) is True


def test_plain_data_has_no_identity(bridge):
    with_list = bridge.options(fetch=False).call("dict", a=[1])
    assert with_list["a"] == [1]
    assert with_list["a"] is not with_list["a"]


def test_a_handle_made_again_is_of_the_same_object(new, bridge):
    holder = new("Live")
    holder.part = new("Live", "part")
    gc.collect()
    bridge.set(holder.part, "tag", "changed")
    gc.collect()
    assert holder.part.tag == "changed"


def test_the_hash_of_a_handle_is_its_identity(boxed, bridge, new):
    ref, other = boxed([1]), boxed([1])
    assert trips(bridge, lambda: (hash(ref), hash(other))) == 0
    assert hash(ref) == hash(ref)
    assert {ref: 1}[ref] == 1
    assert len({new("Plain"), new("Plain")}) == 2


# --- Counts -----------------------------------------------------------------------------------


def live(bridge, tag):
    return bridge.call("handle_things.live", tag)


def test_an_object_is_freed_with_its_last_handle(new, bridge, eventually):
    ref = new("Live", "counted")
    assert live(bridge, "counted") == 1
    del ref
    eventually(lambda: live(bridge, "counted") == 0)
    assert bridge.refs() == []


def test_an_object_received_many_times_is_freed_with_its_last_handle(new, bridge, eventually):
    ref = new("Live", "counted")
    again = [ref.itself() for _ in range(5)] + ref.several(5)
    assert all(one is ref for one in again)
    assert len(bridge.refs()) == 1
    del again
    assert ref.tag == "counted"
    del ref
    eventually(lambda: live(bridge, "counted") == 0)


def test_a_handle_dropped_without_a_later_call_is_freed_within_a_second(new, bridge, eventually):
    ref = new("Live", "counted")
    del ref
    eventually(lambda: bridge.status().refs == 0, deadline=2)


def test_a_handle_in_a_cycle_is_freed_when_it_is_collected(new, bridge, eventually):
    holder = [new("Live", "counted")]
    holder.append(holder)
    del holder
    gc.collect()
    eventually(lambda: live(bridge, "counted") == 0)


def test_an_object_that_the_worker_holds_lives_without_a_handle(new, bridge):
    holder = new("Live", "holder")
    holder.part = new("Live", "part")
    gc.collect()
    assert live(bridge, "part") == 1
    assert holder.part.tag == "part"


def test_an_argument_is_held_by_its_call_only(bridge, eventually):
    assert bridge.call("getattr", bridge.new("handle_things.Live", "argument"), "tag") == "argument"
    eventually(lambda: live(bridge, "argument") == 0)


def test_a_target_is_held_by_its_call_only(bridge, eventually):
    assert bridge.new("handle_things.Live", "target").tag == "target"
    eventually(lambda: live(bridge, "target") == 0)


def test_what_an_error_passed_through_is_freed(new, bridge, eventually):
    with contextlib.suppress(TypeError):
        bridge.call("math.sqrt", new("Live", "failed"))
    eventually(lambda: live(bridge, "failed") == 0)


def test_a_bound_method_holds_its_ref(new, bridge, eventually):
    method = new("Live", "bound").several
    gc.collect()
    assert [ref.tag for ref in method(1)] == ["bound"]
    del method
    eventually(lambda: live(bridge, "bound") == 0)


def test_handles_that_come_and_go_in_many_threads_free_nothing_too_early(new, bridge, eventually):
    holder = new("Live", "holder")
    holder.part = new("Live", "part")
    together = threading.Barrier(4)

    def read_again_and_again(holder):
        together.wait(10)
        return [bridge.get(holder.part, "tag") for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(read_again_and_again, holder) for _ in range(4)]
    assert [future.result() for future in running] == [["part"] * 50] * 4
    assert holder.part.tag == "part"
    eventually(lambda: len(bridge.refs()) == 1)
    assert live(bridge, "part") == 1
    bridge.release(holder)
    eventually(lambda: live(bridge, "part") == 0)


# --- Inertness --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "args", "text"),
    [
        ("list", ([1, 2],), "<ref list of 2>"),
        ("dict", (), "<ref dict of 0>"),
        ("object", (), "<ref object>"),
        ("pandas.DataFrame", ({"a": [1, 2], "b": [3, 4], "c": [5, 6]},), "<ref DataFrame 2×3>"),
    ],
    ids=["list", "dict", "object", "DataFrame"],
)
def test_a_ref_looks_the_same_everywhere(bridge, path, args, text):
    assert repr(bridge.new(path, *args)) == text
    with bridge.session("shared"):
        named = bridge.new(path, *args)
    assert repr(named) == f"{text[:-1]} in 'shared'>"


def test_numpy_arrays_show_their_shape(bridge):
    array = bridge.call("numpy.zeros", (1000, 3))
    assert repr(array) == "<ref ndarray 1000×3>"
    info = bridge.info(array)
    assert (info.module, info.shape, info.length) == ("numpy", (1000, 3), 1000)
    assert info.nbytes >= 24000


def test_types_written_in_c_tell_their_module(bridge):
    for path, module in [("collections.deque", "collections"), ("decimal.Context", "decimal")]:
        assert bridge.info(bridge.new(path)).module == module


def test_looking_at_a_ref_runs_none_of_its_code(new, bridge, ran):
    ref = new("Loud")

    def look():
        repr(ref)
        hash(ref)
        dir(ref)
        isinstance(ref, dict)
        callable(ref)
        hasattr(ref, "_repr_html_")
        type(ref)
        pickle.dumps(ref)

    assert trips(bridge, look) == 0
    assert repr(ref) == "<ref Loud>"
    assert ran() == []


def test_holding_listing_and_freeing_a_ref_runs_none_of_its_code(new, bridge, ran, eventually):
    ref = new("Loud")
    assert bridge.info(ref).type_name == "Loud"
    assert [info.type_name for info in bridge.refs() if info.module == "handle_things"] == ["Loud"]
    with bridge.session("named"):
        bridge.keep(bridge.call("handle_things.same", ref), "loud")
        bridge.kept()
    bridge.release("named")
    bridge.release(ref)
    assert ran() == []


def test_the_methods_of_a_loud_object_still_work(new):
    ref = new("Loud")
    assert ref.quiet() == "quiet"
    with pytest.raises(RuntimeError, match="must not run"):
        len(ref)


def test_descriptors_run_only_when_they_are_read(new, ran):
    ref = new("WithDescriptor")
    dir(ref)
    assert ran() == []
    assert ref.watched == 5
    assert "watched" in ran()


def test_an_object_that_lies_about_its_class_is_not_asked(new, ran):
    ref = new("Lying")
    assert repr(ref) == "<ref Lying>"
    assert ran() == []


def test_a_metaclass_is_not_asked(bridge, ran):
    ref = bridge.new("handle_things.OfMeta")
    before = len(ran())
    bridge.call("handle_things.same", ref)
    repr(ref)
    dir(ref)
    bridge.info(ref)
    assert [name for name in ran()[before:] if name != "meta"] == []


def test_control_characters_in_names_are_stripped(bridge):
    ref = bridge.call("handle_things.colored")
    for text in (repr(ref), bridge.info(ref).type_name, bridge.info(ref).summary):
        assert text.isprintable(), text
        assert "Evil" in text


def test_dir_lists_what_the_type_has(boxed, new):
    assert {"append", "sort", "index"} <= set(dir(boxed([])))
    assert {"tag", "itself", "several"} <= set(dir(new("Live"))) | {"tag"}
    assert {"read_ahead", "session", "release"}.isdisjoint(dir(boxed([])))


def test_a_ref_that_has_ended_can_still_be_looked_at(new, bridge):
    ref = new("Live")
    bridge.release(ref)
    assert "Live" in repr(ref)
    assert hash(ref) == hash(ref)
    assert "itself" in dir(ref)
    assert isinstance(ref, Ref)


# --- Nothing is pulled over silently ----------------------------------------------------------


def to_array(ref):
    import numpy

    return numpy.asarray(ref)


def to_frame(ref):
    import pandas

    return pandas.DataFrame(ref)


def to_series(ref):
    import pandas

    return pandas.Series(ref)


def index_an_array(ref):
    import numpy

    return numpy.arange(3)[ref]


def from_dataframe(ref):
    import pandas

    return pandas.api.interchange.from_dataframe(ref)


@pytest.mark.parametrize(
    "convert",
    [to_array, index_an_array, range, operator.index, [1, 2].__getitem__],
)
def test_a_conversion_names_fetch_and_makes_no_trips(boxed, bridge, convert):
    ref = boxed([1, 2, 3])

    def attempt():
        with pytest.raises(TypeError, match=r"bridge\.fetch"):
            convert(ref)

    assert trips(bridge, attempt) == 0


@pytest.mark.parametrize("convert", [to_frame, to_series])
def test_pandas_does_not_take_the_items_of_a_ref(boxed, convert):
    with pytest.raises(TypeError, match=r"bridge\.fetch"):
        convert(boxed([1, 2, 3]))


@pytest.mark.parametrize("convert", [to_array, to_frame, from_dataframe])
def test_a_frame_is_not_pulled_over(bridge, convert):
    frame = bridge.call("pandas.DataFrame", {"a": [1, 2]})
    with pytest.raises(TypeError, match=r"bridge\.fetch"):
        convert(frame)


def test_the_buffer_of_a_ref_is_refused(bridge):
    array = bridge.call("numpy.arange", 300)
    names_fetch = r"bridge\.fetch" if sys.version_info >= (3, 12) else "bytes-like"
    with pytest.raises(TypeError, match=names_fetch):
        memoryview(array)


def test_the_bytes_of_an_array_are_not_its_items(bridge):
    array = bridge.call("numpy.arange", 3)
    with pytest.raises(TypeError, match=r"bridge\.fetch"):
        bytes(array)


def test_a_ref_of_an_int_is_an_index(boxed):
    assert range(boxed(3)) == range(3)
    assert [1, 2, 3][boxed(1)] == 2
    assert operator.index(boxed(True)) == 1


def test_a_numpy_function_on_a_ref_is_refused(bridge):
    import numpy

    with pytest.raises(TypeError):
        numpy.sin(bridge.call("numpy.arange", 3))


# --- Fetching and putting ---------------------------------------------------------------------


def test_fetch_brings_a_copy(bridge):
    counter = bridge.call("collections.Counter", "aab")
    here = bridge.fetch(counter)
    assert type(here) is collections.Counter
    here["a"] = 100
    assert counter["a"] == 2


def test_fetch_as_an_option_brings_the_result(bridge):
    assert bridge.options(fetch=True).call("collections.Counter", "aab") == {"a": 2, "b": 1}
    assert bridge.refs() == []


def test_fetch_refused_as_an_option_leaves_even_plain_data_there(bridge):
    for value in (5, "text", [1, [2]], {"a": 1}, None):
        ref = bridge.options(fetch=False).call("handle_things.same", value)
        assert isinstance(ref, Ref)
        assert bridge.fetch(ref) == value


def test_new_always_gives_a_ref(bridge):
    for path, value in [("int", 5), ("list", [1]), ("dict", {}), ("str", "a")]:
        ref = bridge.new(path, value)
        assert isinstance(ref, Ref)
        assert bridge.fetch(ref) == value


def test_fetching_what_cannot_be_pickled_is_an_encode_error(bridge):
    lock = bridge.call("threading.Lock")
    with pytest.raises(EncodeError, match="lock"):
        bridge.fetch(lock)
    assert lock.locked() is False


def test_an_array_travels_whole_when_it_is_fetched(bridge):
    import numpy

    array = bridge.call("numpy.arange", 12).reshape(3, 4)
    here = bridge.fetch(array)
    assert here.dtype == numpy.arange(1).dtype
    assert (here == numpy.arange(12).reshape(3, 4)).all()
    here[0, 0] = 99
    assert array[0, 0] == 0


def test_an_array_as_an_argument_arrives_as_it_was(bridge):
    import numpy

    array = numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3))
    ref = bridge.put(array)
    array[0, 0] = 99
    assert ref[0, 0] == 0
    assert ref.flags["F_CONTIGUOUS"] is True
    ref[0, 1] = 5
    assert bridge.fetch(ref)[0, 1] == 5


def test_put_ships_once_and_gives_a_ref(bridge):
    local = {"a": [1]}
    ref = bridge.put(local)
    local["a"].append(2)
    assert bridge.fetch(ref) == {"a": [1]}


def test_functions_and_local_classes_travel_as_arguments(bridge):
    class Local:
        def __init__(self, value):
            self.value = value

    factor = 3
    assert bridge.call("list", bridge.call("map", lambda x: x * factor, [1, 2])) == [3, 6]
    assert bridge.call("getattr", Local(5), "value") == 5


def test_refs_arrive_as_their_objects_however_deep(bridge, new):
    ref = new("Live", "deep")
    held = bridge.put({"list": [{"tuple": (1, ref)}]})
    assert held["list"][0]["tuple"][1] is ref


def test_refs_in_local_objects_and_closures_arrive_as_their_objects(bridge, new):
    class Local:
        def __init__(self, inside):
            self.inside = inside

    ref = new("Live", "inside")
    assert bridge.call("operator.attrgetter", "inside.tag")(Local(ref)) == "inside"
    bridge.register_helper(lambda fn: fn(), "run")
    assert bridge.helper("run", lambda: ref.tag) == "inside"
    assert bridge.helper("run", lambda: ref) is ref


def test_a_released_ref_in_an_argument_is_refused(bridge, new):
    ref = new("Live")
    bridge.release(ref)
    with pytest.raises(RefNotFoundError):
        bridge.put({"deep": [ref]})


@pytest.mark.parametrize(
    "use",
    [
        lambda b: b.get(5, "real"),
        lambda b: b.method([], "append", 1),
        lambda b: b.set(object(), "a", 1),
        lambda b: b.fetch("text"),
        lambda b: b.info(None),
        lambda b: b.keep(5, "name"),
    ],
    ids=["get", "method", "set", "fetch", "info", "keep"],
)
def test_what_is_no_ref_is_an_invalid_ref(bridge, use):
    with pytest.raises(InvalidRefError):
        use(bridge)


# --- Modules ----------------------------------------------------------------------------------


def test_a_module_handle_calls_reads_and_descends(bridge):
    numpy = bridge.module("numpy")
    assert isinstance(numpy, Module)
    assert numpy.linalg.norm([3.0, 4.0]) == 5.0
    assert numpy.pi == math.pi
    assert numpy.random.mtrand.RandomState(0).randint(1) == 0


def test_a_module_handle_is_no_ref_and_has_no_session(bridge):
    with bridge.session("one"):
        collections_there = bridge.module("collections")
    assert not isinstance(collections_there, Ref)
    made = collections_there.Counter("a")
    assert bridge.info(made).session_id == bridge.current_session()


def test_a_module_handle_looks_like_one(bridge):
    assert "numpy" in repr(bridge.module("numpy"))
    assert bridge.sessions() == []


def test_a_submodule_that_is_not_yet_imported_is_found(bridge):
    assert bridge.module("xml.dom.minidom").parseString("<a/>").documentElement.tagName == "a"
    assert bridge.call("xml.sax.saxutils.escape", "<") == "&lt;"


def test_an_attribute_by_path_may_be_anything(bridge):
    assert bridge.attr("math.pi") == math.pi
    assert isinstance(bridge.attr("os.path"), Module)
    assert bridge.attr("collections.OrderedDict")([("a", 1)])["a"] == 1
    assert bridge.attr("handle_things.BINARY")[0] == "add"


@pytest.mark.parametrize(
    ("path", "args", "result"),
    [
        ("len", ([1, 2],), 2),
        ("builtins.len", ([1, 2],), 2),
        ("os.path.join", ("a", "b"), "a/b"),
        ("builtins:dict.fromkeys", ("ab",), {"a": None, "b": None}),
        ("datetime:date.fromisoformat", ("2024-02-29",), datetime.date(2024, 2, 29)),
        ("datetime.date.fromisoformat", ("2024-02-29",), datetime.date(2024, 2, 29)),
    ],
)
def test_the_forms_of_a_path(bridge, path, args, result):
    assert bridge.call(path, *args) == result


@pytest.mark.parametrize(
    "path", ["", ".", "a..b", ":x", "os:", "a:b:c", "os.", " os", "1.x", 5, None], ids=repr
)
def test_a_malformed_path_is_a_usage_error(bridge, path):
    with pytest.raises(BridgeUsageError):
        bridge.call(path)


def test_an_unknown_module_names_those_that_are_near(bridge):
    with pytest.raises(ModuleNotFoundError, match="'numpy'") as caught:
        bridge.call("numpyy.arange", 3)
    assert caught.value.name == "numpyy"
    with pytest.raises(ModuleNotFoundError, match="'json'"):
        bridge.module("jsom").loads("1")


def test_near_names_are_told_once(bridge):
    with pytest.raises(ModuleNotFoundError) as caught:
        bridge.call("nope.x")
    suggestions = str(caught.value).partition("did you mean")[2].partition("?")[0].split(",")
    assert len(set(suggestions)) == len({s.strip() for s in suggestions}) == len(suggestions)


def test_an_unknown_function_names_those_that_are_near(bridge):
    with pytest.raises(AttributeError, match="'sqrt'"):
        bridge.call("math.sqroot", 4)
    with pytest.raises(AttributeError, match="'sqrt'"):
        bridge.module("math").sqroot(4)
    with pytest.raises(AttributeError, match="'sorted'"):
        bridge.call("sortd", [1])


def test_an_import_error_inside_a_module_surfaces_as_itself(bridge):
    with pytest.raises(ModuleNotFoundError) as caught:
        bridge.call("handle_broken.anything")
    assert caught.value.name == "a_module_that_does_not_exist_anywhere"
    assert "handle_broken" in "".join(traceback.format_exception(caught.value))


def test_an_error_at_import_surfaces_as_itself(bridge):
    with pytest.raises(ValueError, match="at import"):
        bridge.call("handle_raising.anything")


def test_what_cannot_be_called_says_how_to_read_it(bridge):
    with pytest.raises(TypeError, match=r"bridge\.attr\('math\.pi'\)"):
        bridge.call("math.pi")


# --- Helpers ----------------------------------------------------------------------------------


def test_register_helper_is_a_decorator(bridge):
    @bridge.register_helper
    def double(x: int) -> int:
        """Twice as much."""
        return 2 * x

    assert bridge.helper("double", 4) == 8
    assert double(4) == 8
    (info,) = bridge.helpers()
    assert (info.name, info.doc) == ("double", "Twice as much.")
    assert "x" in info.signature


def test_an_unknown_helper_names_those_that_are_near(bridge):
    bridge.register_helper(lambda: 1, "double")
    with pytest.raises(BridgeUsageError, match="'double'"):
        bridge.helper("duble")


def test_a_helper_that_is_no_function_is_refused(bridge):
    with pytest.raises(BridgeUsageError):
        bridge.register_helper(5)
    with pytest.raises(BridgeUsageError):
        bridge.register_helper(lambda: 1)


def test_a_helper_registered_again_is_the_new_one(bridge):
    bridge.register_helper(lambda: 1, "number")
    assert bridge.helper("number") == 1
    bridge.register_helper(lambda: 2, "number")
    assert bridge.helper("number") == 2


# --- Errors -----------------------------------------------------------------------------------


def fail(bridge, name, *args):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - each test looks at the type
        bridge.call(f"handle_things.{name}", *args)
    return caught.value


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ValueError", ("text", 5)),
        ("KeyError", ("key",)),
        ("ZeroDivisionError", ()),
        ("StopIteration", (5,)),
        ("AttributeError", ("text",)),
        ("TimeoutError", ("late",)),
        ("RecursionError", ([1, {"a": None}],)),
        ("UserWarning", ("warn",)),
        ("MemoryError", ()),
        ("AssertionError", ("\ud800",)),
        ("OSError", (2, "text")),
    ],
)
def test_an_error_keeps_its_type_and_its_arguments(bridge, name, args):
    error = fail(bridge, "raise_named", name, args)
    expected = getattr(builtins, name)(*args)
    assert type(error) is type(expected)
    assert error.args == expected.args


@pytest.mark.parametrize("name", ["SystemExit", "GeneratorExit", "BaseException"])
def test_what_is_no_exception_arrives_as_a_remote_error(bridge, name):
    error = fail(bridge, "raise_named", name, [3])
    assert type(error) is RemoteError
    assert error.type_name.endswith(name)
    assert error.message == "3"
    assert bridge.call("math.sqrt", 4) == 2


def test_a_keyboard_interrupt_of_the_workers_own_is_a_remote_error(local):
    error = fail(local, "raise_named", "KeyboardInterrupt", [3])
    assert type(error) is RemoteError
    assert error.type_name == "KeyboardInterrupt"
    assert local.call("math.sqrt", 4) == 2


def test_a_type_that_is_known_here_is_raised_as_itself(bridge, things):
    error = fail(bridge, "raise_known", 1, "two")
    assert type(error) is things.Known
    assert (error.args, error.left, error.right) == ((1, "two"), 1, "two")


def test_a_type_that_is_unknown_here_is_a_remote_error(bridge):
    error = fail(bridge, "raise_hidden")
    assert type(error) is RemoteError
    assert "Hidden" in error.type_name
    assert "where am I from" in error.message


def test_the_traceback_goes_on_in_the_worker_without_frames_of_the_bridge(bridge):
    error = fail(bridge, "raise_from_below", "x")
    frames = "".join(traceback.format_exception(error))
    assert "raise_from_below [in the worker]" in frames
    assert "return int(value)" in frames
    assert "bridge_ext" not in frames.partition("[in the worker]")[2]


def test_a_chained_error_shows_its_cause(bridge):
    error = fail(bridge, "raise_chained")
    assert type(error) is ValueError
    assert type(error.__cause__) is KeyError
    assert error.__cause__.args == ("missing",)


def test_an_error_whose_text_fails_still_arrives(bridge):
    error = fail(bridge, "raise_odd_text")
    assert isinstance(error, RemoteError)
    assert "Odd" in error.type_name


def test_an_error_that_holds_what_cannot_travel_still_arrives(bridge):
    error = fail(bridge, "raise_lock")
    assert type(error) is ValueError
    assert error.args[0] == "holds"
    assert len(error.args) == 2


def test_errors_with_fields_keep_them(bridge):
    error = fail(bridge, "raise_json")
    assert type(error) is json.JSONDecodeError
    assert (error.doc, error.pos, error.lineno) == ("{broken", 1, 1)
    error = fail(bridge, "raise_process")
    assert type(error) is subprocess.CalledProcessError
    assert (error.returncode, error.output) == (3, "text")
    assert "3" in str(error)
    error = fail(bridge, "raise_unicode")
    assert type(error) is UnicodeDecodeError
    assert (error.object, error.start, error.end) == (b"\xff", 0, 1)
    assert "invalid start byte" in str(error)


def test_os_errors_keep_number_and_file(bridge, things):
    error = fail(bridge, "raise_file")
    assert type(error) is FileNotFoundError
    assert (error.errno, error.filename) == (2, "/nowhere/at/all")
    assert str(error) == "[Errno 2] No such file or directory: '/nowhere/at/all'"
    error = fail(bridge, "raise_os")
    assert type(error) is things.KnownOs
    assert (error.errno, error.strerror, error.filename) == (2, "text", "file")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with 3.11")
def test_a_group_of_errors_arrives(bridge):
    error = fail(bridge, "raise_group")
    assert isinstance(error, (ExceptionGroup, RemoteError))  # noqa: F821 - newer than 3.10
    assert "many" in str(error)


def test_the_next_call_works_after_any_error(bridge):
    for name in ("raise_hidden", "raise_odd_text", "raise_lock", "raise_chained"):
        fail(bridge, name)
        assert bridge.call("math.sqrt", 4) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "long"},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"fetch": "yes"},
        {"session": ""},
        {"idempotent": "maybe"},
        {"kill": "maybe"},
    ],
    ids=str,
)
def test_a_bad_option_is_a_usage_error_that_names_it(bridge, options):
    with pytest.raises(BridgeUsageError, match=next(iter(options)).rstrip("_")):
        bridge.options(**options)


def test_an_option_that_does_not_exist_names_itself(bridge):
    with pytest.raises((BridgeUsageError, TypeError), match="tiemout"):
        bridge.options(tiemout=5)
