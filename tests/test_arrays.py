"""Plain arrays without a pickle: the same as with one, or not taken; and nothing is believed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import bridge_ext
from bridge_ext import EncodeError, ProtocolError
from bridge_ext.kernel.wire import arrays
from bridge_ext.kernel.wire.arrays import INLINE, is_array, open_array, pack_array
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.framing import pool
from bridge_ext.kernel.wire.marks import Ext


def sent(array, number=0):
    """The data of the extension, and the buffers as a frame brings them; None if not taken."""
    made = pack_array(array, number)
    if made is None:
        return None
    ext, buffers = made
    assert ext.code == Ext.ARRAY
    return ext.data, [bytearray(buffer) for buffer in buffers]


def trip(array, **how):
    data, buffers = sent(array)
    return open_array(data, buffers, **how)


def pickled(array):
    """What a pickle with its buffers beside it brings."""
    buffers = []
    data = pickle.dumps(array, 5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytearray(b.raw()) for b in buffers])


def alike(a, b):
    assert type(a) is type(b) is np.ndarray
    assert (a.dtype, a.dtype.str, a.shape) == (b.dtype, b.dtype.str, b.shape)
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
        assert a.flags[flag] == b.flags[flag], flag
    assert a.tobytes() == b.tobytes()


# ---------------------------------------------------------------- as a pickle
DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(endianness="?"),
    npst.datetime64_dtypes(endianness="?"),
    npst.timedelta64_dtypes(endianness="?"),
    npst.byte_string_dtypes(endianness="?", min_len=1, max_len=9),
    npst.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
    st.integers(1, 40).map(lambda size: np.dtype(f"V{size}")),
    st.sampled_from(["M8[25s]", "M8", "m8[3us]", "g", ">c16"]).map(np.dtype),
)
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)


@st.composite
def plain_arrays(draw):
    dtype, shape = draw(DTYPES), draw(SHAPES)
    shape = tuple(side * draw(st.sampled_from([1, 1, 9])) for side in shape)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.random.default_rng(size).integers(0, 100, max(size, 1), np.uint8)[:size]
    if dtype.kind == "U":
        raw = np.resize(raw, size // 4).astype(f"{dtype.str[0]}u4").view(np.uint8)
    elif dtype.kind == "b":
        raw = (raw > 50).view(np.uint8)
    array = raw.view(dtype).reshape(shape)
    if shape:
        steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in shape]
        array = array[tuple(slice(None, None, step) for step in steps)]
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    if draw(st.booleans()):
        array.flags.writeable = False
    return array


@pytest.mark.parametrize("inline", [0, INLINE])
@settings(deadline=None, max_examples=400, derandomize=True)
@given(array=plain_arrays())
def test_an_array_is_what_its_pickle_would_be(inline, array):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "INLINE", inline)
        if sent(array) is None:
            permuted = not array.flags.forc
            assert permuted or not array.dtype.isnative, "all others need no pickle"
            return
        came, expected = trip(array), pickled(array)
        if array.flags.forc and not array.flags.writeable:
            # a bytearray stands for the buffer here, which a frame marks as read-only
            expected.flags.writeable = array.dtype.kind in "mM"
        alike(came, expected)
        expected.flags.writeable = False
        alike(trip(array, view=True), expected)


@pytest.mark.parametrize("nbytes", [INLINE - 8, INLINE, INLINE + 8])
def test_a_few_bytes_stand_in_the_body_and_more_beside_it(nbytes):
    array = np.arange(nbytes // 8)
    data, buffers = sent(array)
    assert [len(b) for b in buffers] == ([nbytes] if nbytes > INLINE else [])
    assert len(data) < 64 + (0 if buffers else nbytes)
    alike(trip(array), array)


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_came_is_nobody_elses_memory(size):
    array = np.arange(size)
    one, two = trip(array), trip(array)
    one[:] = -1
    alike(two, np.arange(size))
    alike(array, np.arange(size))


def test_the_buffer_of_an_array_is_its_own_memory():
    array = np.asfortranarray(np.ones((300, 400)))
    _, (buffer,) = pack_array(array, 0)
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), array), "no copy was made"


def test_an_array_in_pieces_is_put_together_in_memory_that_is_warm():
    array = np.arange(1_000_000).reshape(1000, 1000)[:, ::2]
    places = []
    for _ in range(3):
        _, (buffer,) = pack_array(array, 0)
        places.append(np.frombuffer(buffer, np.uint8).ctypes.data)
        assert bytes(buffer) == array.tobytes()
        del buffer
    assert places[1:] == places[:1] * 2
    pool.trim(0.0)


# ---------------------------------------------------------------- what needs a pickle
class Sub(np.ndarray):
    pass


OBJECTS = {
    "a list": [1.0],
    "a scalar": np.float64(1),
    "a subclass": np.ones(5).view(Sub),
    "a matrix": np.ones((2, 2)).view(np.matrix),
    "masked": np.ma.array([1, 2], mask=[0, 1]),
    "records": np.rec.array(np.zeros(3, [("a", "i4")])),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_only_numpys_own_class_is_an_array(name):
    assert not is_array(OBJECTS[name])


def test_a_class_that_only_says_so_is_none():
    made = type("ndarray", (), {"__module__": "numpy"})
    assert not is_array(made())
    assert is_array(np.ones(1))


NOT_PLAIN = {
    "objects": np.array([None, 1], object),
    "fields": np.zeros(3, [("a", "i4"), ("b", "f8")]),
    "a field of arrays": np.zeros(3, [("grid", "f4", (2, 3))]),
    "no bytes": np.zeros(3, [("a", "S0")])["a"],
    "metadata": np.zeros(3, np.dtype("f8", metadata={"unit": "m"})),
    "another order of bytes": np.ones(3, ">f8"),
    "permuted": np.moveaxis(np.zeros((3, 4, 5)), 0, 1),
}
if hasattr(np.dtypes, "StringDType"):
    NOT_PLAIN["text of any length"] = np.array(["a", "bb"], np.dtypes.StringDType())


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_has_more_to_it_than_bytes_is_not_taken(name):
    assert pack_array(NOT_PLAIN[name], 0) is None


@pytest.mark.parametrize("name", {**OBJECTS, **NOT_PLAIN})
def test_and_arrives_all_the_same(bridge, name):
    x = {**OBJECTS, **NOT_PLAIN}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numpy says that metadata is lost
        came = bridge.fetch(bridge.put(x))
    assert type(came) is type(x)
    assert repr(came) == repr(x)


# ---------------------------------------------------------------- a peer that lies
def record(*fields, data=b""):
    head = pack(list(fields))
    return len(head).to_bytes(2, "little") + head + data


LIES = {
    "nothing": b"",
    "a byte": b"\x05",
    "a length beyond": b"\xff\xff",
    "no msgpack": b"\x01\x00\xc1",
    "a number": b"\x01\x00\x05",
    "too few fields": record("<f8", [1], False, False),
    "too many fields": record("<f8", [1], False, False, None, 1, data=b"8" * 8),
    "objects": record("|O", [1], False, False, None, data=b"8" * 8),
    "objects of a size": record("|O8", [1], False, False, None, data=b"8" * 8),
    "fields": record("<f8,<f8", [1], False, False, None, data=b"8" * 16),
    "a name with an end of line": record("<f8\n", [1], False, False, None, data=b"8" * 8),
    "a name that is none": record("<f3", [1], False, False, None, data=b"333"),
    "a unit that is none": record("<M8[qq]", [1], False, False, None, data=b"8" * 8),
    "a name that is bytes": record(b"<f8", [1], False, False, None, data=b"8" * 8),
    "a name that is a list": record(["<f8"], [1], False, False, None, data=b"8" * 8),
    "no name": record(None, [1], False, False, None, data=b"8" * 8),
    "no bytes an item": record("|S0", [10**9], False, False, None),
    "items of no end": record("|V9999999999", [0], False, False, None),
    "a shape that is a number": record("<f8", 1, False, False, None, data=b"8" * 8),
    "a shape that is text": record("<f8", "1", False, False, None, data=b"8" * 8),
    "a shape of floats": record("<f8", [1.0], False, False, None, data=b"8" * 8),
    "a shape of truth": record("<f8", [True], False, False, None, data=b"8" * 8),
    "a shape below zero": record("<f8", [-1, -1], False, False, None, data=b"8" * 8),
    "a shape that wraps around": record("|u1", [2**32, 2**32], False, False, None),
    "empty, with a side too long": record("<f8", [0, 2**63], False, False, None),
    "too many axes": record("|u1", [1] * 1000, False, False, None, data=b"1"),
    "a shape too large": record("<f8", [2], False, False, None, data=b"8" * 8),
    "a shape too small": record("<f8", [1], False, False, None, data=b"8" * 16),
    "one byte too few": record("<f8", [1], False, False, None, data=b"7" * 7),
    "no such buffer": record("|u1", [40], False, False, 1),
    "a buffer before the first": record("|u1", [40], False, False, -1),
    "a buffer far away": record("|u1", [40], False, False, 2**63),
    "a buffer that is text": record("|u1", [40], False, False, "0"),
    "a buffer that is a truth value": record("|u1", [40], False, False, False),
    "a buffer too short": record("|u1", [41], False, False, 0),
    "a buffer too long": record("|u1", [39], False, False, 0),
    "a buffer of no whole items": record("<f8", [6], False, False, 0),
}


@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_protocol_error(lie, view):
    with pytest.raises(ProtocolError):
        open_array(LIES[lie], [bytearray(40)], view=view)


@settings(deadline=None, max_examples=500, derandomize=True)
@given(st.data())
def test_bytes_that_were_changed_make_a_plain_array_or_an_error(data):
    """Whatever it is, it is made of no more bytes than came."""
    made = bytearray(record("<f8", [2, 3], False, False, None, data=b"8" * 48))
    for _ in range(data.draw(st.integers(1, 3))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    try:
        came = open_array(bytes(made[: data.draw(st.integers(0, len(made)))]), [bytearray(40)])
    except ProtocolError:
        return
    assert type(came) is np.ndarray
    assert came.dtype.kind in arrays._KINDS
    assert came.nbytes <= 48


# ---------------------------------------------------------------- numpy is not there
def test_a_worker_without_numpy_has_it_when_an_array_comes(local):
    assert local.call("builtins.eval", "'numpy' in __import__('sys').modules") is False
    assert local.call("len", np.ones(3)) == 3
    assert local.call("builtins.eval", "'numpy' in __import__('sys').modules") is True


def test_an_array_is_not_made_for_a_call_that_is_refused(local):
    with local.session("a"):
        ref = local.put([1])
    with local.session("b"), pytest.raises(bridge_ext.SessionMismatchError):
        local.call("builtins.zip", np.ones(3), ref)
    assert local.call("builtins.eval", "'numpy' in __import__('sys').modules") is False


WITHOUT = """
import sys
import bridge_ext
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
with bridge_ext.Bridge() as bridge:
    ref = bridge.call("numpy.ones", 5)
    sys.meta_path.insert(0, Nowhere())
    try:
        bridge.fetch(ref)
    except bridge_ext.EncodeError as error:
        print(error)
    print(bridge.call("builtins.len", ref), "numpy" in sys.modules)
"""


def test_a_kernel_without_numpy_says_so_and_keeps_its_worker():
    run = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(run, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    why, after = done.stdout.splitlines()
    assert "cannot be rebuilt here (ModuleNotFoundError: No module named 'numpy')" in why
    assert after == "5 False"


def test_an_array_in_pieces_that_nothing_has_room_for_is_named(local, monkeypatch):
    def full(size):
        raise MemoryError

    monkeypatch.setattr(pool, "take", full)
    with pytest.raises(EncodeError, match=r"args\[0\].*ndarray.*MemoryError"):
        local.call("len", np.ones((300, 400))[:, ::2])
