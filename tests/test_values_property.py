"""What goes in comes out, type for type: the by-value table, through real calls."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import gc
import math
import struct
import sys
import threading
import typing
import zoneinfo

import msgpack
import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

import bridge_ext
from bridge_ext import EncodeError, Ref

VALUES = '''
import collections
import gc
import weakref

_live = weakref.WeakSet()


class Thing:
    def __init__(self, number=0):
        self.number = number
        _live.add(self)


def live():
    gc.collect()
    return len(_live)


def identity(value):
    return value


def describe(value):
    return [type(value).__name__, repr(value)]


def with_things(value):
    """The same, with a new Thing in place of every "thing"."""
    if value == "thing":
        return Thing()
    if isinstance(value, dict):
        return {key: with_things(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([with_things(item) for item in value])
    return value


def nested(depth, kind="list"):
    value = []
    for _ in range(depth - 1):
        value = {"list": lambda: [value], "tuple": lambda: (value,), "dict": lambda: {1: value}}[
            kind
        ]()
    return value


def deep_thing(depth):
    value = [Thing()]
    for _ in range(depth - 1):
        value = [value]
    return value


def shared_lists(levels):
    value = []
    for _ in range(levels):
        value = [value, value]
    return value


def big_with_things(size):
    return [Thing(1), b"x" * size, Thing(2)]


def with_a_lock():
    import threading

    return [Thing(), {"deep": Thing()}, threading.Lock()]


def cycle_of_lists():
    value = [1]
    value.append(value)
    return value


def cycle_of_dicts():
    value = {"a": 1}
    value["self"] = [value]
    return value


def cycle_through_thing():
    thing = Thing()
    thing.inside = [thing]
    return thing.inside


def lists_of(count, size):
    return [b"x" * size for _ in range(count)]


def keys_and_members():
    first, second = Thing(1), Thing(2)
    return [{first: second}, {first, second}, frozenset([first]), (first, [second])]


def twice():
    thing = Thing(1)
    return [thing, {"a": (thing,)}]


class Str(str):
    pass


class Int(int):
    pass


class Float(float):
    pass


class Bytes(bytes):
    pass


class List(list):
    pass


class Tuple(tuple):
    pass


class Dict(dict):
    pass


class Set(set):
    pass


class FrozenSet(frozenset):
    pass


class ByteArray(bytearray):
    pass


class Complex(complex):
    pass


def subclass(name):
    import datetime, decimal, enum, fractions, pathlib, uuid

    class Color(enum.Enum):
        RED = 1

    class Number(enum.IntEnum):
        ONE = 1

    class Flag(enum.IntFlag):
        A = 1

    class Zone(datetime.tzinfo):
        def utcoffset(self, when):
            return datetime.timedelta(0)

        def dst(self, when):
            return None

        def tzname(self, when):
            return "zone"

    class Day(datetime.date):
        pass

    class Moment(datetime.datetime):
        pass

    class Span(datetime.timedelta):
        pass

    class Exact(decimal.Decimal):
        pass

    class Ratio(fractions.Fraction):
        pass

    class Unique(uuid.UUID):
        pass

    return {
        "Counter": lambda: collections.Counter("aab"),
        "OrderedDict": lambda: collections.OrderedDict(a=1),
        "defaultdict": lambda: collections.defaultdict(int, a=1),
        "namedtuple": lambda: collections.namedtuple("Point", "x y")(1, 2),
        "deque": lambda: collections.deque([1]),
        "Enum": lambda: Color.RED,
        "IntEnum": lambda: Number.ONE,
        "IntFlag": lambda: Flag.A,
        "str": lambda: Str("a"),
        "int": lambda: Int(1),
        "float": lambda: Float(1),
        "bytes": lambda: Bytes(b"a"),
        "list": lambda: List([1]),
        "tuple": lambda: Tuple([1]),
        "dict": lambda: Dict(a=1),
        "set": lambda: Set([1]),
        "frozenset": lambda: FrozenSet([1]),
        "bytearray": lambda: ByteArray(b"a"),
        "complex": lambda: Complex(1),
        "date": lambda: Day(2024, 2, 29),
        "datetime": lambda: Moment(2024, 2, 29),
        "timedelta": lambda: Span(1),
        "Decimal": lambda: Exact(1),
        "Fraction": lambda: Ratio(1, 2),
        "UUID": lambda: Unique(int=1),
        "datetime in a zone of its own kind": lambda: datetime.datetime(2024, 1, 1, tzinfo=Zone()),
        "time in a zone of its own kind": lambda: datetime.time(1, tzinfo=Zone()),
        "path": lambda: pathlib.PurePosixPath("a"),
        "function": lambda: subclass,
        "class": lambda: dict,
        "Ellipsis": lambda: ...,
        "NotImplemented": lambda: NotImplemented,
        "memoryview": lambda: memoryview(b"ab"),
        "exception": lambda: ValueError(1),
        "dict view": lambda: {"a": 1}.keys(),
        "struct_time": lambda: __import__("time").gmtime(0),
        "Timestamp": lambda: __import__("pandas").Timestamp(0),
        "array": lambda: __import__("numpy").arange(3),
        "array of no dimension": lambda: __import__("numpy").array(5),
        "numpy str": lambda: __import__("numpy").str_("a"),
        "numpy bytes": lambda: __import__("numpy").bytes_(b"a"),
        "numpy void": lambda: __import__("numpy").void(b"ab"),
    }[name]()


def ext_type(code, data):
    import msgpack

    return msgpack.ExtType(code, data)


def timestamp():
    import msgpack

    return msgpack.Timestamp(1, 2)
'''
KINDS = [
    "Counter",
    "OrderedDict",
    "defaultdict",
    "namedtuple",
    "deque",
    "Enum",
    "IntEnum",
    "IntFlag",
    "str",
    "int",
    "float",
    "bytes",
    "list",
    "tuple",
    "dict",
    "set",
    "frozenset",
    "bytearray",
    "complex",
    "date",
    "datetime",
    "timedelta",
    "Decimal",
    "Fraction",
    "UUID",
    "datetime in a zone of its own kind",
    "time in a zone of its own kind",
    "path",
    "function",
    "class",
    "Ellipsis",
    "NotImplemented",
    "memoryview",
    "exception",
    "dict view",
    "struct_time",
    "Timestamp",
    "array",
    "array of no dimension",
    "numpy str",
    "numpy bytes",
    "numpy void",
]


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "value_things.py").write_text(VALUES)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("value_things", None)


@pytest.fixture(scope="module", params=["memory", "local"])
def bridge(request, things):
    with bridge_ext.Bridge(request.param) as made:
        made.call("value_things.live")
        yield made


@pytest.fixture(scope="module", params=["memory", "local"])
def narrow(request, things):
    """A bridge that returns little by value."""
    with bridge_ext.Bridge(request.param, inline_limit=10_000) as made:
        made.call("value_things.live")
        yield made


def identity(bridge, value):
    return bridge.call("value_things.identity", value)


def same(left, right):
    """Whether two values are the same, type for type."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (set, frozenset)):
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    if isinstance(left, (range, slice)):
        return same(parts(left), parts(right))
    if isinstance(left, numpy.generic):
        return left.dtype == right.dtype and (left.tobytes() == right.tobytes() or left != left)
    if isinstance(left, float):
        both_nan = left != left and right != right
        return both_nan or struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, decimal.Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, (datetime.datetime, datetime.time)):
        zones = left.tzinfo, right.tzinfo
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.fold == right.fold
            and type(zones[0]) is type(zones[1])
            and repr(zones[0]) == repr(zones[1])
        )
    return left == right


def parts(value):
    return [value.start, value.stop, value.step]


# --- The table --------------------------------------------------------------------------------

EDGES = [2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**64, 2**64 - 1, 2**300, -(2**300)]
NUMPY = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "M8[ns]",
    "M8[D]",
    "m8[us]",
    "m8[s]",
]

texts = st.text(st.characters(exclude_categories=()), max_size=12)
integers = st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from(EDGES)
offsets = st.timedeltas(
    min_value=datetime.timedelta(hours=-23, minutes=-59),
    max_value=datetime.timedelta(hours=23, minutes=59),
)
zones = (
    st.none()
    | st.timezones()
    | st.builds(datetime.timezone, offsets)
    | st.builds(datetime.timezone, offsets, texts)
    | st.just(datetime.timezone.utc)
)
dates = (
    st.dates()
    | st.timedeltas()
    | st.builds(
        lambda when, fold: when.replace(fold=fold),
        st.datetimes(timezones=zones) | st.times(timezones=zones),
        st.sampled_from([0, 1]),
    )
)
numpy_scalars = st.sampled_from(NUMPY).flatmap(
    lambda name: numpy_strategies.from_dtype(numpy.dtype(name))
)
hashable_scalars = (
    st.none()
    | st.booleans()
    | integers
    | st.floats()
    | st.complex_numbers()
    | texts
    | st.binary(max_size=12)
    | dates
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.builds(range, integers, integers, integers.filter(bool))
    | numpy_scalars
)
scalars = (
    hashable_scalars
    | st.binary(max_size=12).map(bytearray)
    | st.decimals(allow_nan=True)
    | st.sampled_from([decimal.Decimal("sNaN"), decimal.Decimal("-NaN123"), decimal.Decimal("-0")])
)
hashables = st.recursive(
    hashable_scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.builds(slice, inner, inner, inner)
        | st.sets(hashables, max_size=4)
        | st.frozensets(hashables, max_size=4)
    ),
    max_leaves=12,
)
trees = st.recursive(
    st.sampled_from(["thing", "text", None, 5, b"bytes"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=15,
)

moderately = settings(
    max_examples=150,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@moderately
@given(value=values)
def test_what_goes_in_comes_out(bridge, value):
    assert same(identity(bridge, value), value)


@moderately
@given(value=values)
def test_what_is_put_can_be_fetched(bridge, value):
    assert same(bridge.fetch(bridge.put(value)), value)


@settings(moderately, max_examples=60)
@given(value=values)
def test_the_worker_sees_what_was_sent(bridge, value):
    name, text = bridge.call("value_things.describe", value)
    assert name == type(value).__name__
    if not isinstance(value, (set, frozenset, dict, list, tuple, slice)):
        assert text == repr(value)


@settings(moderately, max_examples=60)
@given(key=hashables, value=scalars)
def test_keywords_keys_and_members_keep_their_types(bridge, key, value):
    result = bridge.call("builtins.dict", word={key: value}, other={key})
    assert same(result, {"word": {key: value}, "other": {key}})


@pytest.mark.parametrize("value", [10**5000, -(10**5000), 2**100_000 - 1], ids=int.bit_length)
def test_integers_of_any_size_travel(bridge, value):
    assert identity(bridge, value) == value
    assert identity(bridge, {value: [value]}) == {value: [value]}


@pytest.mark.parametrize(
    "name", ["bool", "float16", "float64", "longdouble", "clongdouble", "M8[ns]"]
)
def test_numpy_scalars_of_a_fixed_size_travel(bridge, name):
    value = numpy.ones(1, dtype=name)[0]
    result = identity(bridge, value)
    assert type(result) is type(value)
    assert result.dtype == value.dtype
    assert result == value


@pytest.mark.parametrize("text", ["\ud800", "\udcff\ud800", "a\x00b", "\U0001f600", "é" * 70_000])
def test_texts_of_any_kind_travel(bridge, text):
    assert identity(bridge, text) == text
    assert identity(bridge, {text: [text]}) == {text: [text]}


def test_containers_of_many_items_travel(bridge):
    value = [list(range(100_000)), {str(n): n for n in range(70_000)}, b"x" * 1_000_000]
    assert identity(bridge, value) == value


def test_true_is_not_one_and_one_is_not_one_point_oh(bridge):
    value = [True, 1, 1.0, (1, True), {1: True}, {True: 1}, {1.0: 0}]
    assert same(identity(bridge, value), value)


def test_signs_of_zero_and_not_a_number(bridge):
    value = [0.0, -0.0, math.nan, math.inf, -math.inf, complex(-0.0, math.nan)]
    assert same(identity(bridge, value), value)


def test_a_zone_keeps_its_key(bridge):
    when = datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    result = identity(bridge, when)
    assert (result.tzinfo.key, result.fold, result.utcoffset()) == (
        "Europe/Berlin",
        1,
        datetime.timedelta(hours=1),
    )


def test_an_empty_container_of_each_kind(bridge):
    value = [[], (), {}, set(), frozenset(), b"", bytearray(), "", range(0), slice(None)]
    assert same(identity(bridge, value), value)


# --- What is not in the table -----------------------------------------------------------------


def test_everything_else_is_a_ref(bridge):
    for kind in KINDS:
        assert isinstance(bridge.call("value_things.subclass", kind), Ref), kind


def test_in_a_container_only_such_a_leaf_is_a_ref(bridge):
    leaves = {kind: (bridge.call("value_things.subclass", kind), "text") for kind in KINDS}
    result = bridge.call("builtins.dict", plain=[1, 2.5], leaves=leaves)
    assert result["plain"] == [1, 2.5]
    assert list(result["leaves"]) == KINDS
    for kind, (leaf, text) in result["leaves"].items():
        assert isinstance(leaf, Ref), kind
        assert text == "text"


def test_a_zone_without_a_key_makes_a_ref_and_cannot_be_sent(bridge):
    import importlib.resources

    data = importlib.resources.files("tzdata.zoneinfo").joinpath("UTC")
    with data.open("rb") as stream:
        zone = zoneinfo.ZoneInfo.from_file(stream)
    with pytest.raises(EncodeError, match="args\\[0\\]"):
        identity(bridge, datetime.datetime(2024, 1, 1, tzinfo=zone))


class Point(typing.NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
        collections.deque([1]),
        Point(1, 2),
        Color.RED,
        ValueError(1),
        Ellipsis,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_arrives_as_what_it_is(bridge, value):
    assert bridge.call("value_things.describe", value) == [type(value).__name__, repr(value)]
    result = bridge.call("value_things.describe", [{"in": (value,)}])
    assert result[1] == repr([{"in": (value,)}])


@settings(moderately, max_examples=60)
@given(tree=trees)
def test_leaves_become_refs_where_they_are_and_nothing_stays_behind(bridge, tree):
    result = bridge.call("value_things.with_things", tree)
    check_leaves(result, tree)
    del result
    assert bridge.call("value_things.live") == 0
    assert bridge.refs() == []


def check_leaves(result, tree):
    if tree == "thing":
        assert isinstance(result, Ref)
        return
    assert type(result) is type(tree)
    if isinstance(tree, dict):
        assert list(result) == list(tree)
        for key, item in tree.items():
            check_leaves(result[key], item)
    elif isinstance(tree, (list, tuple)):
        assert len(result) == len(tree)
        for one, item in zip(result, tree, strict=True):
            check_leaves(one, item)
    else:
        assert result == tree


def test_keys_and_members_may_be_refs(bridge):
    mapping, members, frozen, pair = bridge.call("value_things.keys_and_members")
    ((first, second),) = mapping.items()
    assert (first.number, second.number) == (1, 2)
    assert {hash(member) for member in members} == {hash(first), hash(second)}
    assert next(iter(frozen)) is first
    assert pair[0] is first
    assert pair[1][0] is second


def test_an_object_twice_in_a_result_is_one_ref(bridge):
    first, rest = bridge.call("value_things.twice")
    assert rest["a"][0] is first
    del first, rest
    assert bridge.call("value_things.live") == 0


# --- Data that looks like something else ------------------------------------------------------


def test_an_extension_type_in_a_result_is_an_object(bridge):
    for code in range(128):
        result = bridge.call("value_things.ext_type", code, b"\x01")
        assert isinstance(result, Ref), code
        assert (result.code, result.data) == (code, b"\x01")


def test_an_extension_type_in_an_argument_is_an_object(bridge):
    for code in range(128):
        value = msgpack.ExtType(code, b"\x93\x01\x02\x03")
        assert bridge.call("value_things.describe", value) == ["ExtType", repr(value)]
        assert bridge.call("value_things.describe", [{"a": value}])[1] == repr([{"a": value}])


def test_a_timestamp_of_the_wire_format_is_an_object(bridge):
    assert isinstance(bridge.call("value_things.timestamp"), Ref)
    value = msgpack.Timestamp(1, 2)
    assert bridge.call("value_things.describe", value) == ["Timestamp", repr(value)]


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "ref", "id": 1},
        {"__ref__": 1},
        {"$ref": 1, "session_id": "x", "generation": 1},
        {"ref": {"id": 1, "session_id": "x"}},
        {"__complex__": True, "real": 1, "imag": 2},
        {b"nd": True, b"type": "<i8", b"shape": [], b"data": b""},
        ["ref", 1, "x"],
        ("tuple", 1),
        {0: 1, 1: b"\xc7\x01\x05"},
        b"\xc7\x01\x05\x00",
        {"error": "x", "ok": False, "call_id": 1},
    ],
    ids=repr,
)
def test_data_that_looks_like_a_tag_is_data(bridge, value):
    assert same(identity(bridge, value), value)
    assert same(identity(bridge, [value]), [value])


# --- Depth and cycles -------------------------------------------------------------------------


def nested(depth, wrap):
    value = wrap()
    for _ in range(depth - 1):
        value = wrap(value)
    return value


def depth_of(value):
    """How deep it is nested, and what it ends in."""
    depth = 0
    while type(value) in (list, tuple, dict):
        depth += 1
        if not value:
            return depth, None
        value = value[1] if type(value) is dict else value[0]
    return depth, value


WRAPS = {
    "list": lambda *inner: list(inner),
    "tuple": lambda *inner: inner,
    "dict": lambda *inner: dict(enumerate(inner, 1)),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_data_of_depth_256_travels_both_ways(bridge, kind):
    value = nested(256, WRAPS[kind])
    assert depth_of(bridge.call("value_things.nested", 256, kind)) == (256, None)
    assert depth_of(identity(bridge, value)) == (256, None)


@pytest.mark.parametrize("kind", WRAPS)
def test_deeper_data_ends_in_a_ref(bridge, kind):
    depth, end = depth_of(bridge.call("value_things.nested", 257, kind))
    assert depth <= 256
    assert isinstance(end, Ref)
    assert bridge.fetch(end) == []


@pytest.mark.parametrize("depth", [257, 1_000, 100_000])
@pytest.mark.parametrize("kind", WRAPS)
def test_deeper_arguments_are_refused(bridge, kind, depth):
    value = nested(depth, WRAPS[kind])
    with pytest.raises(EncodeError, match="256") as caught:
        identity(bridge, value)
    assert caught.value.where.startswith("args[0]")
    assert len(str(caught.value)) < 5_000
    flatten(value)


def flatten(value):
    """Take it apart, so that no deep recursion ends it."""
    while value:
        value = value.pop(1) if type(value) is dict else value[0]


def test_very_deep_data_ends_in_a_ref(bridge):
    depth, end = depth_of(bridge.call("value_things.nested", 50_000))
    assert depth <= 256
    assert isinstance(end, Ref)


def test_an_object_below_the_limit_is_reached_through_the_ref(bridge):
    _, end = depth_of(bridge.call("value_things.deep_thing", 300))
    assert isinstance(end, Ref)
    while isinstance(end, Ref) and hasattr(type(end), "__getitem__"):
        _, end = depth_of(end[0])
    assert end.number == 0


@pytest.mark.parametrize("name", ["cycle_of_lists", "cycle_of_dicts", "cycle_through_thing"])
def test_a_cycle_ends_in_a_ref(bridge, name):
    result = bridge.call(f"value_things.{name}")
    assert type(result) in (list, dict)
    assert contains_ref(result)


def contains_ref(value):
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, Ref) or (isinstance(value, list) and any(map(contains_ref, value)))


def test_the_ref_that_ends_a_cycle_is_the_container(bridge):
    result = bridge.call("value_things.cycle_of_lists")
    assert result[0] == 1
    assert result[1][0] == 1
    assert bridge.call("builtins.len", result[1]) == 2


def test_a_cycle_in_an_argument_arrives_as_a_cycle(bridge):
    loop = [1]
    loop.append({"self": (loop,)})
    assert bridge.call("value_things.describe", loop) == ["list", repr(loop)]


@pytest.mark.timeout(30)
def test_lists_that_share_their_items_do_not_grow_without_limit(narrow):
    assert isinstance(narrow.call("value_things.shared_lists", 60), Ref)


# --- Size -------------------------------------------------------------------------------------


def test_a_value_beyond_the_inline_limit_is_a_ref(narrow):
    assert identity(narrow, b"x" * 9_000) == b"x" * 9_000
    large = identity(narrow, b"x" * 11_000)
    assert isinstance(large, Ref)
    assert len(large) == 11_000


def test_a_container_beyond_the_inline_limit_is_one_ref(narrow):
    large = narrow.call("value_things.lists_of", 4, 4_000)
    assert isinstance(large, Ref)
    assert len(narrow.refs()) == 1
    assert large[0] == b"x" * 4_000


@pytest.mark.parametrize("value", ["é" * 6_000, [1.5] * 2_000, {n: n for n in range(5_000)}])
def test_the_limit_is_on_the_encoding(narrow, value):
    assert isinstance(identity(narrow, value), Ref)


def test_a_limit_on_results_is_none_on_arguments_and_fetching(narrow):
    value = [b"x" * 50_000, "text"]
    ref = narrow.put(value)
    assert narrow.fetch(ref) == value
    assert narrow.options(fetch=True).call("value_things.identity", value) == value


def test_the_default_limit_is_8_mib(bridge):
    assert identity(bridge, b"x" * 8_000_000) == b"x" * 8_000_000
    assert isinstance(identity(bridge, b"x" * (8 * 2**20 + 1)), Ref)


# --- Nothing is left behind -------------------------------------------------------------------


def test_a_result_that_grew_too_large_leaves_no_refs_of_its_parts(narrow):
    result = narrow.call("value_things.big_with_things", 11_000)
    assert len(narrow.refs()) == 1
    assert result[0].number == 1
    del result
    gc.collect()
    assert narrow.call("value_things.live") == 0
    assert narrow.refs() == []


def test_a_result_that_cannot_be_fetched_leaves_nothing(bridge):
    before = len(bridge.refs())
    with pytest.raises(EncodeError) as caught:
        bridge.options(fetch=True).call("value_things.with_a_lock")
    assert "result" in caught.value.where
    assert "lock" in str(caught.value)
    assert bridge.call("value_things.live") == 0
    assert len(bridge.refs()) == before


def test_a_failed_argument_leaves_no_count_behind(bridge):
    ref = bridge.new("value_things.Thing", 7)
    with pytest.raises(EncodeError):
        identity(bridge, [ref, threading.Lock()])
    assert identity(bridge, ref) is ref
    del ref
    assert bridge.call("value_things.live") == 0


class Box:
    def __init__(self, inside):
        self.inside = inside


def unpicklable():
    yield 1


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("args", "kwargs", "where"),
    [
        ((LOCK,), {}, "args[0]"),
        ((1, "a", LOCK), {}, "args[2]"),
        (([1, [2, {"model": LOCK}]],), {}, "args[0][1][1]['model']"),
        ((1, {"model": (0, LOCK)}), {}, "args[1]['model'][1]"),
        (({(1, 2): LOCK},), {}, "args[0][(1, 2)]"),
        ((), {"word": LOCK}, "word"),
        ((), {"word": {"deep": [LOCK]}}, "['deep'][0]"),
        ((Box(LOCK),), {}, "args[0]"),
        (([Box(1), Box([LOCK])],), {}, "args[0][1]"),
        ((lambda: LOCK,), {}, "args[0]"),
        (([unpicklable()],), {}, "args[0][0]"),
        (([sys._getframe()],), {}, "args[0][0]"),
        (({LOCK},), {}, "args[0]"),
        (({LOCK: 1},), {}, "args[0]"),
    ],
    ids=[
        "bare",
        "third",
        "in lists and a dict",
        "in a tuple",
        "under a tuple key",
        "keyword",
        "in a keyword",
        "in an object",
        "in the second object",
        "in a closure",
        "generator",
        "frame",
        "in a set",
        "as a key",
    ],
)
def test_an_argument_that_cannot_be_pickled_is_named_by_its_path(bridge, args, kwargs, where):
    with pytest.raises(EncodeError) as caught:
        bridge.call("value_things.identity", *args, **kwargs)
    assert where in caught.value.where
    assert where in str(caught.value)
    assert bridge.call("math.sqrt", 4) == 2


def test_the_path_is_counted_as_the_user_wrote_it(bridge):
    ref = bridge.put([])
    for attempt in (
        lambda: ref.append(LOCK),
        lambda: bridge.method(ref, "append", LOCK),
        lambda: bridge.new("builtins.list", LOCK),
        lambda: bridge.module("value_things").identity(LOCK),
    ):
        with pytest.raises(EncodeError) as caught:
            attempt()
        assert caught.value.where == "args[0]"
    assert bridge.fetch(ref) == []


@pytest.mark.parametrize(
    "attempt",
    [
        lambda bridge, ref: bridge.put(LOCK),
        lambda bridge, ref: bridge.set(ref, "name", LOCK),
        lambda bridge, ref: ref.__setitem__(0, LOCK),
        lambda bridge, ref: ref + LOCK,
        lambda bridge, ref: (
            bridge.register_helper(lambda: LOCK, "locked") and bridge.helper("locked")
        ),
    ],
    ids=["put", "set", "item", "operator", "helper"],
)
def test_what_cannot_be_pickled_is_an_encode_error_everywhere(bridge, attempt):
    with pytest.raises(EncodeError, match="lock"):
        attempt(bridge, bridge.put([1]))
    assert bridge.call("math.sqrt", 4) == 2


def test_an_object_whose_pickling_raises_says_what_it_raised(bridge):
    class Refusing:
        def __reduce_ex__(self, protocol):
            raise LookupError("not today")

    with pytest.raises(EncodeError, match="not today") as caught:
        identity(bridge, [0, Refusing()])
    assert caught.value.where == "args[0][1]"
    assert caught.value.what == "Refusing"
