"""What crosses is what a pickle would give: in value, type, order and writeability, either way.

Both sides use segments from one page on here, so that small arrays go through them too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from conftest import DEADLINE, map_segments
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge_ext
from bridge_ext.kernel.wire import segments
from bridge_ext.kernel.wire.mapped import FREE, PAGE

MIB = 1 << 20

THINGS = """
import os, signal, sys
import numpy as np

np.seterr(all="ignore")

def eager():
    sys.modules["bridge_ext.kernel.wire.segments"].LEAST = 4097

def same(x):
    return x

def items(*xs):
    yield from xs

def asked(fn, x):
    return fn(x)

def fill(x, value):
    x[...] = value

def total(*xs):
    return [int(x.sum(dtype="u8")) for x in xs]

def address(x):
    return x.ctypes.data

def forked(x):
    pid = os.fork()
    if pid == 0:
        raise SystemExit(0)
    return os.waitpid(pid, 0)[1]

def dying(pieces):
    import bridge_ext.kernel.wire.segments as s
    real, left = s.fence, [pieces]
    def fence():
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        real()
    s.fence = fence

def killed(fn, x):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "transfer_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def least(monkeypatch):
    monkeypatch.setattr(segments, "LEAST", PAGE + 1)


@pytest.fixture(scope="module")
def shared(things):
    with pytest.MonkeyPatch.context() as patch, bridge_ext.Bridge() as made:
        patch.setattr(segments, "LEAST", PAGE + 1)
        made.call("transfer_things.eager")
        map_segments(made)
        yield made


@pytest.fixture
def bridge(shared):
    yield shared
    gc.collect()
    shared.release_all()
    assert free(shared), "a segment stays taken"


def ends(bridge):
    """The channel of the kernel's side."""
    return bridge._remote.incarnation.connection._data


def taken(bridge):
    """Which segments are taken: those that the kernel writes, and those that it reads."""
    channel = ends(bridge)
    mapped = [*channel.outgoing._segments, *channel.incoming._segments]
    return [not s.words[FREE] for s in mapped]


def free(bridge):
    return not any(taken(bridge))


# ---------------------------------------------------------------- what is alike
def alike(a, b):
    assert type(a) is type(b)
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            alike(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        alike(list(a.values()), list(b.values()))
    elif isinstance(a, np.ma.MaskedArray):
        alike(a.data, b.data)
        alike(np.ma.getmaskarray(a), np.ma.getmaskarray(b))
        assert a.fill_value == b.fill_value
    elif isinstance(a, np.ndarray):
        alike_arrays(a, b)
    else:
        assert a == b


def alike_arrays(a, b):
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
        assert a.flags[flag] == b.flags[flag], flag
    if a.dtype.hasobject or a.dtype.names:  # between fields there may be anything
        assert str(a.tolist()) == str(b.tolist())
    else:
        assert a.tobytes() == b.tobytes()


def pickled(x):
    return pickle.loads(pickle.dumps(x, 5))


# ---------------------------------------------------------------- arrays
DTYPES = [
    *[
        "?",
        "b",
        "B",
        "h",
        "H",
        "i",
        "I",
        "q",
        "Q",
        "e",
        "f",
        "d",
        "g",
        "F",
        "D",
        "G",
        "S7",
        "U3",
        "V5",
    ],
    *[">i4", ">f8", ">U2", "M8[ns]", "M8[D]", "m8[s]", "O"],
    np.dtype([("a", "i4"), ("b", "f8"), ("c", "S3")]),
    np.dtype([("a", "u1"), ("b", [("x", ">f4"), ("y", "?")])], align=True),
    np.dtype([("grid", "f4", (2, 3))]),
]


FORMS = {
    "as it is": lambda a: a,
    "F": np.asfortranarray,
    "T": lambda a: a.T,
    "reversed": lambda a: a[::-1],
    "every other": lambda a: a[..., ::2],
    "a slice": lambda a: a[1:],
    "a column": lambda a: a[..., :1],
    "repeated": lambda a: np.broadcast_to(a, (3, *a.shape)),
    "nothing": lambda a: a[:0],
    "0-d": lambda a: a.reshape(-1)[:1].reshape(()) if a.size else np.zeros((), a.dtype),
    "flat": lambda a: a.reshape(-1),
    "masked": lambda a: np.ma.array(a, mask=np.arange(a.size).reshape(a.shape) % 3 == 0),
    "moved": lambda a: np.moveaxis(a, 0, -1),
}


def numbers(seed, shape, dtype):
    dtype = np.dtype(dtype)
    values = np.random.default_rng(seed).integers(0, 100, shape)
    if dtype.names is None and dtype.kind != "V":
        return values.astype(dtype)
    raw = np.zeros(shape, dtype)
    if dtype.names is None:
        return np.frombuffer(values.astype("V5").tobytes(), dtype).reshape(shape).copy()
    for name in dtype.names:
        field = raw[name]
        if field.dtype.names is None:
            extra = (1,) * (field.ndim - values.ndim)
            field[...] = values.reshape(*values.shape, *extra).astype(field.dtype)
        else:
            field["x"] = values
    return raw


@st.composite
def arrays(draw):
    shape = draw(st.sampled_from([(5,), (700,), (3, 400), (40, 50), (7, 11, 30), (20_000,)]))
    array = numbers(draw(st.integers(0, 9)), shape, draw(st.sampled_from(DTYPES)))
    form = draw(st.sampled_from(sorted(FORMS)))
    if form == "masked" and (array.dtype.names is not None or array.dtype.kind in "Ve"):
        form = "as it is"  # whose pickles numpy cannot load, or only with a warning
    array = FORMS[form](array)
    if draw(st.booleans()) and type(array) is np.ndarray:
        array.flags.writeable = False
    return array


def submitted(bridge, x):
    return bridge.options(fetch=True).submit("transfer_things.same", [x]).result(DEADLINE)[0]


def awaited(bridge, x):
    return asyncio.run(bridge.options(fetch=True).acall("transfer_things.same", [x]))[0]


def batched(bridge, x):
    with bridge.options(fetch=True), bridge.batch() as batch:
        futures = [batch.call("transfer_things.same", [n, x]) for n in range(3)]
    for n, future in enumerate(futures):
        number, value = future.result(0)
        assert number == n
    return value


def called_back(bridge, x):
    return bridge.options(fetch=True).call("transfer_things.asked", bridge.callback(lambda _: x), 1)


WAYS = {
    "put": lambda bridge, x: bridge.fetch(bridge.put([x]))[0],
    "fetch=True": lambda bridge, x: bridge.options(fetch=True).call("transfer_things.same", [x])[0],
    "keyword": lambda bridge, x: bridge.options(fetch=True).call("transfer_things.same", x=(x,))[0],
    "submit": submitted,
    "acall": awaited,
    "batch": batched,
    "callback": called_back,
    "stream": lambda bridge, x: next(bridge.options(fetch=True).stream("transfer_things.items", x)),
}
BLIND = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.mark.parametrize("way", ["put", "batch", "callback"])
@settings(BLIND, max_examples=60)
@given(st.lists(arrays(), min_size=1, max_size=4))
def test_arrays_are_what_a_pickle_of_them_would_be(bridge, way, xs):
    x = tuple(xs)
    alike(WAYS[way](bridge, x), pickled(pickled(x)))
    assert free(bridge)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_on_every_way(bridge, way, dtype):
    x = numbers(3, (37, 50), dtype)
    came = WAYS[way](bridge, x)
    if way == "stream" and isinstance(came, bridge_ext.Ref):
        came = bridge.fetch(came)
    alike(came, pickled(pickled(x)))


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("writeable", [True, False])
def test_every_form_both_copied_and_in_place(bridge, form, writeable):
    x = FORMS[form](numbers(1, (60, 80), "f8"))
    if writeable is False:
        x.flags.writeable = False
    ref, expected = bridge.put(x), pickled(pickled(x))
    alike(bridge.fetch(ref), expected)
    view = bridge.fetch(ref, copy=False)
    if isinstance(view, np.ndarray) and type(view) is np.ndarray:
        expected.flags.writeable = view.flags.writeable
    if form in ("as it is", "F", "T", "flat", "a slice"):
        assert not view.flags.writeable
    if form == "masked":
        assert (view == expected).all()
    else:
        alike(view, expected)


def test_a_subclass_arrives_as_one(bridge):
    x = np.rec.array(numbers(2, (900,), DTYPES[-3]))
    alike(WAYS["put"](bridge, x), pickled(pickled(x)))


def test_overlapping_views_in_one_message(bridge):
    x = numbers(1, (100, 200), "i4")
    message = [x, x[::2], x[3:], x.T, x, {"again": x[5:], "flat": x.reshape(-1)}]
    came, expected = bridge.fetch(bridge.put(message)), pickled(pickled(message))
    alike(came, expected)
    assert came[0] is came[4]
    came[0][...] = 7
    alike(came[2], expected[2])


SIZES = [0, 1, PAGE - 1, PAGE, PAGE + 1, segments.LEAST - PAGE - 1, segments.LEAST - PAGE,
         segments.LEAST - 1, segments.LEAST, MIB - 1, MIB, MIB + 1, 2 * MIB - PAGE,
         5_000_000, 40_000_000]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("eager", [True, False])
def test_every_size_around_a_border(bridge, monkeypatch, size, eager):
    if not eager:
        monkeypatch.setattr(segments, "LEAST", 512 << 10)
    x = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    ref = bridge.put(x)
    assert (bridge.fetch(ref) == x).all()
    view = bridge.fetch(ref, copy=False)
    assert (view == x).all()
    assert not view.flags.writeable
    assert bridge.call("transfer_things.total", ref, x, x[::-1]) == [int(x.sum(dtype="u8"))] * 3


@pytest.mark.parametrize("made", [bytes, bytearray, lambda x: (bytes(x), bytearray(x))])
@pytest.mark.parametrize("size", [0, 1, PAGE, MIB + 1, 9 * MIB])
def test_bytes_of_every_size(bridge, made, size):
    x = made(os.urandom(size))
    alike(WAYS["put"](bridge, x), x)
    alike(WAYS["fetch=True"](bridge, x), x)


def test_a_pickle_buffer_as_an_argument(bridge):
    class Holder:
        def __init__(self, data):
            self.data = data

        def __reduce_ex__(self, protocol):
            return bytearray, (pickle.PickleBuffer(self.data),)

    for source in (os.urandom(MIB), bytearray(os.urandom(MIB))):
        for view in (memoryview(source), memoryview(source)[5 : 5 + 2 * PAGE]):
            assert bridge.fetch(bridge.put([Holder(view)]))[0] == bytes(view)


# ---------------------------------------------------------------- frames and tables
def frames():
    pd = pytest.importorskip("pandas")
    n = 3_000
    whole = np.arange(n)
    return {
        "numbers": pd.DataFrame({"a": whole, "b": whole / 7, "c": whole.astype("i2")}),
        "text": pd.DataFrame({"t": [f"text {i % 97} é" for i in range(n)], "u": whole}),
        "objects": pd.DataFrame({"o": pd.Series([(i, str(i)) for i in range(n)], dtype=object)}),
        "categories": pd.DataFrame({"c": pd.Categorical([f"k{i % 9}" for i in range(n)])}),
        "times": pd.DataFrame({
            "utc": pd.date_range("2020", periods=n, freq="h", tz="UTC"),
            "there": pd.date_range("2020", periods=n, freq="h", tz="Europe/Berlin"),
            "none": pd.date_range("2020", periods=n, freq="h"),
            "delta": pd.to_timedelta(whole, unit="s"),
        }),
        "nullable": pd.DataFrame({
            "i": pd.array([None, 1, 2] * (n // 3), dtype="Int64"),
            "b": pd.array([None, True, False] * (n // 3), dtype="boolean"),
            "s": pd.array([None, "x", "y"] * (n // 3), dtype="string"),
        }),
        "index": pd.DataFrame(
            {"v": whole}, index=pd.MultiIndex.from_arrays([whole // 10, whole % 10])
        ),
        "empty": pd.DataFrame({"a": np.array([], "f8"), "b": np.array([], "O")}),
        "no columns": pd.DataFrame(index=range(10)),
        "a series": pd.Series(whole, name="s"),
        "arrow": pd.DataFrame({
            "i": pd.array([None, 1, 2] * (n // 3), dtype="int64[pyarrow]"),
            "s": pd.array([None, "x", "yy"] * (n // 3), dtype="string[pyarrow]"),
        }),
    }  # fmt: skip


FRAMES = ("numbers", "text", "objects", "categories", "times", "nullable", "index", "empty",
          "no columns", "a series", "arrow")  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("way", ["put", "batch", "callback"])
def test_frames(bridge, name, way):
    frame = frames()[name]
    testing = pytest.importorskip("pandas").testing
    equal = testing.assert_series_equal if name == "a series" else testing.assert_frame_equal
    came = WAYS[way](bridge, frame)
    equal(came, pickled(frame))
    if name == "numbers":
        came.iloc[0, 0] = -5
        came["a"] += 1
        equal(WAYS[way](bridge, frame), frame)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_read_in_place(bridge, name):
    frame = frames()[name]
    testing = pytest.importorskip("pandas").testing
    equal = testing.assert_series_equal if name == "a series" else testing.assert_frame_equal
    ref = bridge.put(frame)
    view = bridge.fetch(ref, copy=False)
    bridge.release(ref)
    for _ in range(6):
        bridge.fetch(bridge.put(np.ones(30_000)))
    equal(view, frame)


def test_arrow_tables(bridge):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": list(range(5_000)), "s": [None, "xy"] * 2_500, "l": [[1], []] * 2_500})
    for one in (table, table.slice(100, 2_000), table.to_batches()[0], table["s"]):
        assert bridge.fetch(bridge.put(one)).equals(one)
        assert bridge.fetch(bridge.put(one), copy=False).equals(one)


def test_sparse_matrices(bridge):
    sparse = pytest.importorskip("scipy.sparse")
    for form in ("csr", "csc", "coo"):
        one = sparse.random(300, 400, 0.1, form, random_state=1)
        came = bridge.fetch(bridge.put(one))
        assert came.format == form
        assert (came != one).nnz == 0
        came.data[:] = 0
        assert (bridge.fetch(bridge.put(one), copy=False) != one).nnz == 0


# ---------------------------------------------------------------- nothing is shared
def test_a_copy_is_its_owners(bridge):
    ref = bridge.put(np.zeros(50_000))
    one, two = bridge.fetch(ref), bridge.fetch(ref)
    one[:] = 1
    assert not two.any()
    assert not bridge.fetch(ref).any()
    bridge.call("transfer_things.fill", ref, 5)
    assert one.min() == one.max() == 1
    assert not two.any()
    assert (bridge.fetch(ref) == 5).all()


def test_an_argument_is_a_copy(bridge):
    x = np.zeros(50_000)
    ref = bridge.put(x)
    x[:] = 1
    other = bridge.put(x)
    assert not bridge.fetch(ref).any()
    bridge.call("transfer_things.fill", other, 5)
    assert not bridge.fetch(ref).any()
    assert x.min() == x.max() == 1


def test_the_memory_backend_gives_copies_too(memory):
    x = np.zeros(300_000)
    ref = memory.put(x)
    x[:] = 1
    one, view = memory.fetch(ref), memory.fetch(ref, copy=False)
    assert one.flags.writeable
    assert not view.flags.writeable
    one[:] = 2
    memory.call("transfer_things.fill", ref, 3)
    assert not view.any()
    assert (memory.fetch(ref) == 3).all()


def test_what_is_read_in_place_stays_as_it_was(bridge):
    ref = bridge.put(np.arange(60_000.0))
    view = bridge.fetch(ref, copy=False)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    assert sum(taken(bridge)) == 1
    bridge.call("transfer_things.fill", ref, 5)
    bridge.release(ref)
    for n in range(10):
        assert (bridge.fetch(bridge.put(np.full(60_000, n))) == n).all()
    assert (view == np.arange(60_000.0)).all()


def test_more_is_read_in_place_than_there_are_segments(bridge):
    refs = [bridge.put(np.full(60_000, n)) for n in range(10)]
    views = [bridge.fetch(ref, copy=False) for ref in refs]
    assert sum(taken(bridge)) == segments.FROM_WORKER
    for n, view in enumerate(views):
        assert view.min() == view.max() == n
        assert not view.flags.writeable
    kept = views[3][5:6]
    del views, view
    assert sum(taken(bridge)) == 1
    assert kept == 3
    del kept
    assert free(bridge)


@pytest.mark.parametrize("end", ["close", "kill", "restart"])
def test_what_is_read_in_place_outlives_the_worker(things, least, eventually, end):
    with bridge_ext.Bridge() as bridge:
        views = [bridge.fetch(bridge.put(np.full(200_000, n)), copy=False) for n in range(6)]
        if end == "kill":
            os.kill(pid := bridge.status().pid, signal.SIGKILL)
            eventually(lambda: bridge.status().pid != pid, "the end of the worker")
        elif end == "restart":
            bridge.restart()
        if end != "close":
            assert (bridge.fetch(bridge.put(np.full(200_000, 9))) == 9).all()
    for n, view in enumerate(views):
        assert view.min() == view.max() == n


# ---------------------------------------------------------------- without segments
@pytest.mark.parametrize("name", ["memfd_create", "posix_fallocate"])
def test_a_system_without_shared_memory_has_the_same_values(things, monkeypatch, name):
    def refuse(*args):
        raise OSError("no")

    monkeypatch.setattr(os, name, refuse)
    with bridge_ext.Bridge() as bridge:
        x = numbers(1, (500, 700), "f8")
        ref = bridge.put([x, x.T])
        alike(bridge.fetch(ref), [x, x.T])
        one, two = bridge.fetch(ref, copy=False)
        assert not one.flags.writeable
        assert (two == x.T).all()


# ---------------------------------------------------------------- copying no more than there is
def test_each_buffer_of_a_message_is_copied_once(bridge):
    """Pickles of one message share its list of buffers."""
    from bridge_ext.kernel.wire.framing import pool

    x, sizes, take = np.ones(20_000), [], pool.take
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "take", lambda size: sizes.append(size) or take(size))
        with bridge.options(fetch=True), bridge.batch() as batch:
            futures = [batch.call("transfer_things.same", [x]) for _ in range(20)]
    assert all((future.result(0)[0] == 1).all() for future in futures)
    assert len([size for size in sizes if size == x.nbytes]) == 20


def test_a_segment_is_free_while_the_call_that_brought_its_arguments_runs(bridge):
    seen = []
    bridge.call(
        "transfer_things.asked",
        bridge.callback(lambda x: seen.append(taken(bridge))),
        np.ones(90_000),
    )
    assert not any(seen[0])


# ---------------------------------------------------------------- the worker dies
def test_a_worker_that_dies_while_it_is_sent_to(things):
    with bridge_ext.Bridge() as bridge:
        with pytest.raises(bridge_ext.WorkerDiedError):
            bridge.call("transfer_things.killed", None, np.ones(5_000_000))
        assert (bridge.fetch(bridge.put(np.ones(5_000_000))) == 1).all()


FETCHES = {
    "fetch": lambda bridge, ref: bridge.fetch(ref),
    "view": lambda bridge, ref: bridge.fetch(ref, copy=False),
    "submit": lambda bridge, ref: submitted(bridge, ref),
    "batch": lambda bridge, ref: batched(bridge, ref),
}


@pytest.mark.parametrize("way", FETCHES)
def test_a_worker_that_dies_while_it_sends(things, way):
    """It is killed after the frame was sent, and before all of its data is there."""
    with bridge_ext.Bridge() as bridge:
        ref = bridge.put(np.ones(5_000_000))
        bridge.call("transfer_things.dying", 5)
        with pytest.raises(bridge_ext.WorkerDiedError, match="SIGKILL"):
            FETCHES[way](bridge, ref)
        assert (bridge.fetch(bridge.put(np.ones(5_000_000))) == 1).all()


def test_a_worker_that_forks_while_the_kernel_reads_in_place(bridge):
    view = bridge.fetch(bridge.put(np.arange(90_000)), copy=False)
    assert bridge.call("transfer_things.forked", np.ones(90_000)) == 0
    assert bridge.call("transfer_things.forked", view) == 0
    assert (view == np.arange(90_000)).all()
    assert sum(taken(bridge)) == 1


def test_a_kernel_that_forks_while_it_reads_in_place(bridge):
    view = bridge.fetch(bridge.put(np.arange(90_000)), copy=False)
    pid = os.fork()
    if pid == 0:
        del view
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    assert sum(taken(bridge)) == 1
    for n in range(10):
        bridge.fetch(bridge.put(np.full(90_000, n)))
    assert (view == np.arange(90_000)).all()


# ---------------------------------------------------------------- many threads, interrupts
def test_eight_threads_at_once(bridge):
    wrong, done = [], threading.Event()

    def work(number):
        mine = np.random.default_rng(number)
        while not done.is_set():
            n, mark = int(mine.integers(130_000, 520_000)), int(mine.integers(1, 1000))
            ref = bridge.put(np.full(n, mark))
            one, two = bridge.fetch(ref), bridge.fetch(ref, copy=False)
            if not ((one == mark).all() and (two == mark).all() and len(one) == len(two) == n):
                wrong.append((n, mark))
            one[:] = -1
            if not (two == mark).all():
                wrong.append(("view", n, mark))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    done.wait(5.0)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_interrupts_at_any_moment_leave_nothing_taken_and_nothing_wrong(bridge, eventually):
    main, mine = threading.main_thread().ident, np.random.default_rng(5)
    x = np.arange(500_000)
    interrupted = 0
    for n in range(100):
        delay = float(mine.uniform(0, 0.006))
        timer = threading.Timer(delay, signal.pthread_kill, (main, signal.SIGINT))
        try:
            try:
                timer.start()
                ref = bridge.put(x)
                came = bridge.fetch(ref, copy=n % 2 == 0)
                assert came[-1] == 499_999
                del came
            finally:
                timer.join()
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted > 10
    assert (bridge.fetch(bridge.put(x)) == x).all()
    eventually(lambda: free(bridge), "all segments free")


def test_a_call_that_was_cancelled_before_it_began_frees_its_segment(bridge, eventually, tmp_path):
    os.mkfifo(tmp_path / "gate")
    first = bridge.submit("pathlib.Path.read_text", __import__("pathlib").Path(tmp_path / "gate"))
    second = bridge.submit("transfer_things.same", [np.ones(90_000)])
    assert sum(taken(bridge)) == 1
    second.cancel()
    (tmp_path / "gate").write_text("go")
    first.result(DEADLINE)
    eventually(lambda: free(bridge), "the segment free")
