import collections
import datetime
import decimal
import enum
import fractions
import math
import uuid
import zoneinfo

import msgpack
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_ext import ProtocolError
from bridge_ext.kernel.wire.codec import Lowering, TooLarge, pack
from bridge_ext.kernel.wire.heads import reply_head, request_head
from bridge_ext.kernel.wire.limits import MAX_DEPTH
from bridge_ext.kernel.wire.loading import Loading, plain
from bridge_ext.kernel.wire.marks import Ext


class Leaf(Exception):
    pass


def refuse(obj):
    raise Leaf(type(obj).__name__)


def encode(value, budget=1 << 24):
    return pack(Lowering(refuse, refuse, budget).lower(value))


def trip(value):
    return plain.load(encode(value))


def equal(a, b):
    """Equal type for type, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, complex):
        return equal(a.real, b.real) and equal(a.imag, b.imag)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(equal, a.items(), b.items()))
    if isinstance(a, (set, frozenset)):
        return sorted(map(canonical, a)) == sorted(map(canonical, b))
    if isinstance(a, slice):
        return equal((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, (decimal.Decimal, datetime.datetime, datetime.time)):
        return repr(a) == repr(b)
    return bool(a == b)


def canonical(x):
    """Text that is the same for equal hashable values of equal types."""
    if isinstance(x, (tuple, frozenset)):
        parts = map(canonical, x)
        return f"{type(x).__name__}{[*parts] if isinstance(x, tuple) else sorted(parts)}"
    return f"{type(x).__name__} {x!r}"


zones = st.one_of(
    st.none(),
    st.just(datetime.timezone.utc),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata"]).map(zoneinfo.ZoneInfo),
    st.builds(
        datetime.timezone,
        st.integers(-1439, 1439).map(lambda m: datetime.timedelta(minutes=m)),
        st.just("named"),
    ),
)
hashable = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.complex_numbers(),
        st.text(st.characters(codec=None, exclude_categories=())),
        st.binary(),
        st.builds(range, st.integers(), st.integers(), st.integers(1, 2**70)),
        st.dates(),
        st.times(timezones=zones),
        st.datetimes(timezones=zones),
        st.timedeltas(),
        st.decimals(allow_nan=False),
        st.fractions(),
        st.uuids(),
    ),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=5,
)
values = st.recursive(
    hashable | st.binary().map(bytearray) | st.builds(slice, st.integers(), st.none(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner, inner),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
    ),
    max_leaves=12,
)


@given(values)
def test_what_goes_in_comes_out_type_for_type(value):
    assert equal(trip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400,
        -0.0, math.nan, math.inf, -math.inf, "\ud800", "", b"", bytearray(b"\0"), (), [], {}, set(),
        {1: 2, "1": 2, (1,): 3, None: 4, 1.5: 5, b"k": 6, frozenset([7]): 8},
        [(1, [2, (3, {4})])], {"__type__": "set", "value": [1]}, ["x", ["y", ("z",)]],
        datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime.timezone.utc and datetime.time(1, 2, 3, 4, fold=1),
        decimal.Decimal("-sNaN123"), decimal.Decimal("1E+999999"), fractions.Fraction(-1, 3),
        uuid.UUID(int=0, is_safe=uuid.SafeUUID.safe), numpy.float32(1.5), numpy.int64(-3),
        numpy.bool_(True),
        numpy.complex128(1j), numpy.datetime64("2020-01-02T03:04:05.678", "ms"),
        numpy.timedelta64(5, "D"), numpy.longdouble(1) / 3, [numpy.float64(2.0), 2.0],
    ],
    ids=repr,
)  # fmt: skip
def test_edges_survive(value):
    assert equal(trip(value), value)


class Number(enum.IntEnum):
    ONE = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "obj",
    [
        collections.Counter("ab"), collections.OrderedDict(a=1), Point(1, 2), Number.ONE,
        numpy.str_("x"), numpy.zeros(2), numpy.void(b"xy"), object(), len, memoryview(b"x"),
        msgpack.Timestamp(0), msgpack.ExtType(6, b"\0"), datetime.timezone.utc,
        datetime.datetime(2020, 1, 1, tzinfo=type("Z", (datetime.tzinfo,), {})()),
        zoneinfo.ZoneInfo("Europe/Berlin"),
    ],
    ids=lambda o: type(o).__name__,
)  # fmt: skip
def test_anything_else_is_a_leaf(obj):
    with pytest.raises(Leaf):
        encode(obj)
    with pytest.raises(Leaf):
        encode([1, {"a": (obj,)}])


def test_a_class_that_only_claims_to_be_a_known_type_is_a_leaf():
    fake = type("Decimal", (), {"__module__": "decimal"})
    with pytest.raises(Leaf):
        encode(fake())


def nested(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: frozenset([x])]
)
def test_depth_has_one_limit(wrap):
    assert trip(nested(MAX_DEPTH, wrap)) == nested(MAX_DEPTH, wrap)
    with pytest.raises(Leaf):
        encode(nested(MAX_DEPTH + 1, wrap))


def test_a_cycle_ends_in_a_leaf():
    loop = [1]
    loop.append(loop)
    found = []
    lowered = Lowering(lambda x: found.append(x) or "leaf", refuse, 1000).lower(loop)
    assert lowered == [1, "leaf"]
    assert found[0] is loop


def test_shared_parts_cost_no_more_than_the_budget():
    value = [1]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(TooLarge):
        encode(value, budget=100_000)
    with pytest.raises(TooLarge):
        encode(["x" * 1000] * 1000, budget=100_000)


def test_leaves_within_containers_are_asked_for_one_by_one():
    seen = []
    lowered = Lowering(lambda x: seen.append(x) or None, refuse, 1000).lower([1, {"a": len}, {max}])
    assert seen == [len, max]
    assert plain.load(pack(lowered)) == [1, {"a": None}, {None}]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x92\x01", b"\x91" * 2000 + b"\x01", pack(1) + pack(2),
        b"\xdd\xff\xff\xff\xff",
        msgpack.packb(msgpack.ExtType(Ext.MARK, b"\xff")),
        msgpack.packb([msgpack.ExtType(Ext.MARK, b"\x01"), [1]]),
        msgpack.packb(msgpack.ExtType(Ext.DECIMAL, b"x")),
        msgpack.packb(msgpack.ExtType(Ext.COMPLEX, b"x")),
        msgpack.packb(msgpack.ExtType(Ext.UUID, b"x")),
        msgpack.packb(msgpack.ExtType(Ext.NUMPY, msgpack.packb(["|O", b"x" * 8]))),
        msgpack.packb(msgpack.ExtType(Ext.NUMPY, b"\xc1")),
        msgpack.packb(msgpack.ExtType(99, b"")),
        msgpack.packb(msgpack.ExtType(Ext.PICKLE, b"")),
        msgpack.packb(msgpack.ExtType(Ext.REF, b"")),
        msgpack.packb({"a": [msgpack.ExtType(Ext.MARK, b"\x04"), "r"]}),
    ],
    ids=lambda d: repr(d[:12]),
)  # fmt: skip
def test_malformed_values_are_protocol_errors(data):
    with pytest.raises(ProtocolError):
        plain.load(data)


@given(st.binary(max_size=200))
def test_garbage_is_a_value_or_a_protocol_error(data):
    for load in (plain.load, request_head, reply_head):
        try:
            load(data)
        except ProtocolError:
            pass


def test_hooks_are_asked_for_their_own_extensions_only():
    loading = Loading({Ext.REF: lambda data: ("ref", data)})
    assert loading.load(pack([msgpack.ExtType(Ext.REF, b"1")])) == [("ref", b"1")]
    with pytest.raises(ProtocolError, match="not allowed in this message"):
        loading.load(pack(msgpack.ExtType(Ext.PICKLE, b"1")))


def test_a_packer_does_not_keep_a_large_buffer():
    assert plain.load(encode("x" * 3_000_000)) == "x" * 3_000_000
    assert trip([2**80, "after an int beyond 64 bits"]) == [2**80, "after an int beyond 64 bits"]
