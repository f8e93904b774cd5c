"""What objects weigh: sums and samples, blocks that are shared, and code that must not run."""

from __future__ import annotations

import array
import collections
import gc
import logging
import mmap
import re
import subprocess
import sys
import threading
import warnings
import weakref
from datetime import datetime
from decimal import Decimal

import pytest

from bridge_ext.kernel.worker import sizing
from bridge_ext.kernel.worker.sizing import MOST, Walk, measure

UNHURRIED = 60.0


def weigh(obj, budget=UNHURRIED):
    return measure(obj, (None, None, None, True), budget)


ran = []


def run(*args, **kwargs):
    """Code of the user's. A walk survives what it raises, so it is noted as well."""
    ran.append(sys._getframe(1).f_code.co_qualname if sys.version_info >= (3, 11) else "somewhere")
    raise AssertionError("the user's code was run")


@pytest.fixture(autouse=True)
def nothing_of_the_users_runs():
    ran.clear()
    yield
    assert ran == []


def keys(obj):
    return [key for key, _ in weigh(obj).buffers]


def deep(obj, seen=None):
    """The whole weight of plain data, by the long way."""
    seen = set() if seen is None else seen
    if id(obj) in seen:
        return 0
    seen.add(id(obj))
    parts = []
    if isinstance(obj, dict):
        parts = [*obj.keys(), *obj.values()]
    elif isinstance(obj, (list, tuple, set, frozenset, collections.deque)):
        parts = list(obj)
    return sys.getsizeof(obj) + sum(deep(part, seen) for part in parts)


def close(found, true, within=0.1):
    return abs(found - true) <= within * true


# ---------------------------------------------------------------- builtin containers
PLAIN = [
    [],
    [1000, 2000, 3000],
    ["a", "bb", "ccc" * 50],
    (1.5, 2.5, (3.5,)),
    {"a": 1, "b": [2, 3], "c": {"d": "e"}},
    {1.5, 2.5, 3.5},
    frozenset((10**30, 10**40)),
    collections.deque([1000, "a"]),
    collections.OrderedDict(a=[1.5], b="x"),
    list(map(float, range(64))),
]


@pytest.mark.parametrize("obj", PLAIN, ids=repr)
def test_a_small_container_weighs_what_all_of_it_does(obj):
    size = weigh(obj)
    assert (size.nbytes, size.estimated, size.buffers) == (deep(obj), False, ())
    assert size.own == size.retained == size.nbytes


def test_what_is_in_it_twice_counts_once():
    text = "x" * 1000
    assert weigh([text, text, [text]]).nbytes == deep([text, text, [text]]) < 1500


def test_what_holds_itself_is_weighed_once():
    loop = [1.5]
    loop += [loop, {"again": loop}]
    assert (weigh(loop).nbytes, weigh(loop).estimated) == (deep(loop), False)


@pytest.mark.parametrize(
    "obj",
    [
        list(map(float, range(100_000))),
        tuple(str(n) * 3 for n in range(100_000)),
        {n: str(n) for n in range(100_000)},
        set(map(float, range(100_000))),
        frozenset(range(300, 100_000)),
        collections.deque(map(float, range(100_000))),
        collections.OrderedDict((str(n), n) for n in range(1000, 9_000)),
        [[float(n) for n in range(100)] for _ in range(3_000)],
        [[[float(n) for n in range(70)] for _ in range(70)] for _ in range(70)],
        [{"id": n, "name": str(n), "value": n / 3} for n in range(1000, 31_000)],
        [list(map(float, range(65)))] * 1 + [list(map(float, range(65))) for _ in range(64)],
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_a_large_container_is_sampled_and_scaled(obj):
    size = weigh(obj)
    assert size.estimated
    assert close(size.nbytes, deep(obj), within=0.15), (size.nbytes, deep(obj))


def test_what_all_places_share_is_not_scaled():
    text = "x" * 10_000
    assert weigh([text] * 100_000).nbytes == deep([text] * 100_000)


def test_what_many_places_share_counts_by_its_references():
    few = [str(n) * 200 for n in range(50)]
    obj = [few[n % 50] for n in range(100_000)]
    assert close(weigh(obj).nbytes, deep(obj), 0.2)


def test_what_every_sample_refers_to_is_not_scaled():
    config = {"values": [float(n) for n in range(60)], "text": "x" * 100_000}
    obj = [{"config": config, "n": float(n)} for n in range(50_000)]
    assert close(weigh(obj).nbytes, deep(obj))


# ---------------------------------------------------------------- where a walk ends
def test_a_walk_looks_at_so_many_objects_and_no_more():
    lists = [[float(n) for n in range(20)] for _ in range(500)]
    many = [[list(inner) for inner in lists] for _ in range(1000)]  # 10 million items
    walk = Walk(UNHURRIED)
    walk.run(many)
    assert 0 <= walk.left <= MOST
    assert len(walk.seen) <= MOST
    inner = sys.getsizeof(many[0][0]) + 8
    true = 1000 * 500 * inner + deep([x for part in lists for x in part])
    assert walk.size().estimated
    assert close(walk.size().nbytes, true)


def test_a_long_chain_is_no_deep_recursion():
    chain = inner = {}
    for _ in range(100_000):
        inner["next"] = {}
        inner = inner["next"]
    size = weigh(chain)
    assert size.estimated
    assert size.nbytes > 300_000
    inner = chain
    while inner:  # or its end would be a deep recursion
        inner = inner.pop("next", None)


def test_when_the_time_is_up_a_sample_still_gives_the_whole(monkeypatch):
    monkeypatch.setattr(sizing.time, "thread_time", iter(range(1000)).__next__)
    obj = [[float(n) for n in range(30)] for _ in range(10_000)]
    walk = Walk(0.5)
    walk.run(obj)
    assert walk.late
    assert len(walk.seen) < 150
    assert walk.size().estimated
    assert close(walk.size().nbytes, deep(obj), 0.15)


def test_what_is_simple_is_looked_at_before_what_is_deep():
    numpy = pytest.importorskip("numpy")
    tree = [[[float(a + b + c) for a in range(60)] for b in range(60)] for c in range(60)]
    big = numpy.zeros(1_000_000)
    for budget in (0.0, UNHURRIED):
        assert [key for key, _ in weigh([tree, big], budget).buffers] == keys(big)


# ---------------------------------------------------------------- instances
class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class Both(Slotted):
    def __init__(self, a, b, c):
        super().__init__(a, b)
        self.c = c


@pytest.mark.parametrize(
    "make",
    [lambda text: Plain(x=text), lambda text: Slotted(text, 1), lambda text: Both(1, 2, text)],
    ids=["dictionary", "slots", "both"],
)
def test_an_instance_weighs_what_its_attributes_do(make):
    size = weigh(make("x" * 100_000))
    assert not size.estimated
    assert 100_000 < size.nbytes < 101_000


class Listed(list):
    pass


class Mapped(dict):
    pass


@pytest.mark.parametrize(
    "make", [Listed, Mapped, collections.Counter, lambda: collections.defaultdict(list)]
)
def test_a_class_derived_from_a_container_is_one_with_attributes(make):
    obj, text = make(), "x" * 50_000
    if isinstance(obj, list):
        obj.append(text)
    else:
        obj["k"] = text
    assert 50_000 < weigh(obj).nbytes < 51_000
    if hasattr(obj, "__dict__"):
        obj.more = "y" * 50_000
        assert 100_000 < weigh(obj).nbytes < 101_000


def test_modules_classes_functions_threads_and_frames_are_not_followed():
    text = "x" * 100_000

    class Holder:
        held = text

    def function(default=text):
        yield default

    thread = threading.Thread(target=function, args=(text,))
    generator = function()
    next(generator)
    held = [sys, Holder, function, thread, generator, sys._getframe(), len, text.join]
    for obj in (held[:-1], *held[:-1]):
        assert weigh(obj).nbytes < 5_000
    assert weigh(Holder()).nbytes < 5_000


def test_locks_weak_references_and_loggers_are_no_weight_and_no_estimate():
    obj = Plain(text="x" * 1000)
    held = [threading.RLock(), threading.Event(), weakref.ref(obj), logging.getLogger("bridge")]
    size = weigh(held)
    assert not size.estimated
    assert size.nbytes < 3000


def test_what_c_code_keeps_for_itself_makes_it_an_estimate():
    assert weigh(re.compile("x")).estimated
    assert not weigh(object()).estimated
    assert not weigh([Decimal("1.5"), datetime(2024, 1, 1), None, ValueError("x")]).estimated


# ---------------------------------------------------------------- code of the user's
class Meta(type):
    __hash__ = __eq__ = __len__ = __iter__ = __instancecheck__ = __subclasscheck__ = run
    __getattribute__ = __call__ = run


def _forbidden(name, *bases):
    hooks = "__sizeof__ __len__ __iter__ __getitem__ __getattr__ __getattribute__ __eq__ __hash__"
    space = dict.fromkeys(
        (*hooks.split(), "__bool__", "__contains__", "__repr__", "__del__", "__length_hint__"), run
    )
    for attribute in ("__class__", "nbytes", "base", "keys", "values", "items", "copy"):
        space[attribute] = property(run)
    del space["__del__"]
    return type.__new__(Meta, name, bases, space)


HOSTILE = [
    _forbidden(f"Hostile_{b.__name__}", b)
    for b in (object, list, dict, tuple, set, collections.deque, str, int, bytes, bytearray)
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_none_of_the_users_code_runs(number):
    cls = HOSTILE[number]
    base = type.__dict__["__mro__"].__get__(cls)[1]
    obj = base.__new__(cls)
    for held in (obj, [obj], {"k": obj}, Plain(x=obj), [[obj] for _ in range(200)]):
        found = weigh(held).nbytes  # alone: what pytest says of a failure would run the user's code
        assert found > 0


def test_a_dictionary_that_is_a_property_is_not_asked():
    class Hidden:
        __dict__ = property(run)
        __slots__ = ("x",)

    obj = Hidden()
    obj.x = "x" * 10_000
    assert weigh(obj).nbytes > 10_000


def test_nothing_is_imported():
    code = (
        "import sys; from bridge_ext.kernel.worker.sizing import measure\n"
        "before = set(sys.modules)\n"
        "import array, decimal; seen = set(sys.modules)\n"
        "class numpy: pass\n"
        "numpy.__module__ = 'numpy'\n"
        "class DataFrame: __module__ = 'pandas'\n"
        "class Tensor: __module__ = 'torch'\n"
        "class Table: __module__ = 'pyarrow.lib'\n"
        "for obj in (numpy(), DataFrame(), Tensor(), Table(), array.array('d'), [1], 'x'):\n"
        "    assert measure(obj, (None, None, 1, True)).nbytes >= 0\n"
        "assert set(sys.modules) == seen, set(sys.modules) - seen\n"
        "assert not {'numpy', 'pandas', 'ctypes', 'mmap'} & before, before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---------------------------------------------------------------- other threads
@pytest.mark.parametrize("kind", ["list", "dict", "set", "deque", "instance"])
def test_another_thread_may_change_it_meanwhile(kind):
    holder = Plain()
    obj = {"list": [], "dict": {}, "set": set(), "deque": collections.deque(), "instance": holder}
    obj = obj[kind]
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            size = n * 37 % 300
            if kind == "list":
                obj[:] = range(size)
            elif kind == "deque":
                obj.extend(range(size))
                obj.clear()
            elif kind == "instance":
                obj.__dict__ = {f"a{n}": n for n in range(size)}
            else:
                obj.update(dict.fromkeys(range(size), n))
                obj.clear()

    thread = threading.Thread(target=change)
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(2000):
            assert weigh([obj]).nbytes > 0
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join(10)


def test_what_cannot_be_weighed_gives_the_facts(monkeypatch):
    released = memoryview(b"x" * 100)
    released.release()
    size = measure(released, (1, None, 77, False))
    assert (size.nbytes, size.estimated, size.buffers) == (77, True, ())
    assert measure(released, (1, None, None, False)).nbytes == 0
    assert measure([released, "x" * 99], (1, None, 7, False)).nbytes > 99, "the rest is as it is"

    def fail(*args):
        raise TypeError("other insides")

    monkeypatch.setattr(Walk, "run", fail)
    assert measure([1], (1, None, 77, False)).nbytes == 77


def test_a_result_holds_no_object():
    obj = Plain(a=[1.5])
    size = weigh([obj] * 3)
    assert not {id(obj), id(obj.a)} & {id(x) for x in gc.get_referents(size)}
    assert sys.getrefcount(obj) == 2


# ---------------------------------------------------------------- blocks
def test_bytes_and_views_of_them_share_a_block():
    data = bytes(10_000)
    assert keys(data) == keys(memoryview(data)) == keys(memoryview(data)[5:10]) == keys([data])
    assert weigh(data).nbytes == sys.getsizeof(data)
    view = weigh(memoryview(data)[5:10])
    assert (view.nbytes, view.own, view.retained) == (5, 0, 10_000)
    assert keys([b"small"]) == []


@pytest.mark.parametrize(
    "make",
    [lambda: bytearray(9000), lambda: array.array("d", bytes(9000)), lambda: mmap.mmap(-1, 9000)],
    ids=["bytearray", "array", "mmap"],
)
def test_what_lends_its_memory_shares_it_with_views(make):
    numpy = pytest.importorskip("numpy")
    owner = make()
    assert 9000 <= weigh(owner).nbytes < 9100
    assert keys(owner) == keys(memoryview(owner)[5:100]) == keys(numpy.frombuffer(owner)[3:])
    size = weigh([owner, memoryview(owner)])
    assert size.nbytes == 9000 + size.own
    assert size.own < 500


def test_a_view_shares_the_block_of_its_root():
    numpy = pytest.importorskip("numpy")
    whole = numpy.zeros((1000, 1000))
    size = weigh(whole)
    assert (size.nbytes, size.own, size.retained, size.estimated) == (8e6, 0, 8e6, False)
    views = [whole[::2], whole.reshape(-1), whole.T[3:5], memoryview(whole), whole[:, 5][::3]]
    for view in views:
        assert keys(view) == keys(whole)
        assert weigh(view).nbytes == view.nbytes
        assert weigh(view).retained == 8_000_000
    together = weigh([whole, *views])
    assert together.nbytes - together.own == 8_000_000
    assert together.own < 2_000
    assert keys(whole) != keys(whole.copy())
    assert keys(whole.view(numpy.matrix)[2:].view(numpy.ndarray)) == keys(whole)


def test_an_array_with_bytes_under_it_shares_them():
    numpy = pytest.importorskip("numpy")
    data = bytes(80_000)
    assert keys(numpy.frombuffer(data, offset=8)[2:]) == keys(data)
    assert weigh(numpy.frombuffer(data)[:10]).retained == 80_000


def test_many_views_of_one_array_weigh_no_more_than_it():
    numpy = pytest.importorskip("numpy")
    whole = numpy.zeros((1000, 1000))
    size = weigh(list(whole))
    assert len(size.buffers) == 1
    assert size.nbytes - size.own == pytest.approx(8_000_000)
    assert 1000 * 100 < size.own < 1000 * 130


def test_many_arrays_weigh_what_all_do():
    numpy = pytest.importorskip("numpy")
    size = weigh([numpy.zeros(1000) for _ in range(1000)])
    assert close(size.nbytes, 1000 * 8120, 0.02)
    assert size.own + sum(n for _, n in size.buffers) == size.nbytes


def test_an_array_of_objects_weighs_its_cells():
    numpy = pytest.importorskip("numpy")
    for count in (10, 5000, 50_000):
        cells = [str(n) for n in range(count)]
        size = weigh(numpy.array(cells, dtype=object))
        assert close(size.nbytes, sum(map(sys.getsizeof, cells)) + 8 * count, 0.05)
        assert size.estimated == (count > 10_000)
    assert weigh(numpy.array([Plain(x="y" * 9000)] * 3, dtype=object)).nbytes > 9000
    structured = numpy.zeros(5, dtype=[("a", "O"), ("b", "f8")])
    assert (weigh(structured).nbytes, weigh(structured).estimated) == (80, True)


def test_a_subclass_of_an_array_is_not_asked():
    numpy = pytest.importorskip("numpy")

    class Odd(numpy.ndarray):
        nbytes = base = dtype = size = property(run)
        __array_finalize__ = None

    Odd.__array_finalize__ = lambda self, source: None
    whole = numpy.zeros(1000)
    odd = whole.view(Odd)
    odd.note = "x" * 500
    Odd.__getitem__ = Odd.__len__ = Odd.__array_finalize__ = run
    assert keys(odd) == keys(whole)
    assert 8500 < weigh(odd).nbytes < 9500
    masked = numpy.ma.masked_array(numpy.zeros(1000), mask=numpy.ones(1000, bool))
    assert weigh(masked).nbytes >= 9000


def test_numpy_scalars_are_values():
    numpy = pytest.importorskip("numpy")
    size = weigh([numpy.float64(1), numpy.dtype("f8")])
    assert not size.estimated
    assert size.nbytes < 400


# ---------------------------------------------------------------- pandas
def deep_usage(frame):
    usage = frame.memory_usage(deep=True)
    return int(usage if isinstance(usage, int) else usage.sum())


COLUMNS = {
    "floats": lambda p, n: p.Series([1.5] * n),
    "texts": lambda p, n: p.Series([f"text {i}" for i in range(n)]),
    "objects": lambda p, n: p.Series([f"text {i}" for i in range(n)], dtype=object),
    "category": lambda p, n: p.Series([f"c{i % 5}" for i in range(n)], dtype="category"),
    "masked": lambda p, n: p.Series([1, None] * (n // 2), dtype="Int64"),
    "dates": lambda p, n: p.Series(p.date_range("2024-01-01", periods=n, tz="Europe/Zurich")),
    "arrow": lambda p, n: p.Series([f"text {i}" for i in range(n)], dtype="string[pyarrow]"),
    "sparse": lambda p, n: p.Series([0, 1] * (n // 2), dtype="Sparse[int]"),
    "interval": lambda p, n: p.Series(p.interval_range(0, n)),
    "period": lambda p, n: p.Series(p.period_range("2024-01", periods=n, freq="D")),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("count", [1000, 50_000])
def test_a_frame_weighs_what_pandas_says_with_all_in_it(kind, count):
    pandas = pytest.importorskip("pandas")
    if kind == "arrow":
        pytest.importorskip("pyarrow")
    column = COLUMNS[kind](pandas, count)
    frame = pandas.DataFrame({"a": column, "b": range(count)})
    size = weigh(frame)
    assert abs(size.nbytes - deep_usage(frame)) < 0.02 * deep_usage(frame) + 1000
    assert size.estimated == (frame["a"].dtype == object and count > 10_000)
    series = weigh(frame["a"])
    assert abs(series.nbytes - deep_usage(frame["a"])) < 0.02 * deep_usage(frame["a"]) + 1000
    assert {key for key, _ in series.buffers} <= {key for key, _ in size.buffers}
    assert weigh([frame, frame["a"]]).retained < size.retained + 3000


def test_a_column_is_a_view_of_its_frame():
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    frame = pandas.DataFrame(numpy.zeros((10_000, 10)))
    column = weigh(frame[3])
    assert 80_000 <= column.nbytes < 82_000
    assert column.retained >= 800_000
    assert set(keys(frame[3].to_numpy())) <= set(keys(frame))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.Index([f"text {n}" for n in range(5000)]),
        lambda p: p.Index(range(0, 50_000, 3)).astype("int64"),
        lambda p: p.MultiIndex.from_product([range(100), list("abc" * 9)]),
        lambda p: p.CategoricalIndex(list("abc") * 900),
        lambda p: p.date_range("2024", periods=900),
    ],
)
def test_an_index_weighs_what_pandas_says(make):
    pandas = pytest.importorskip("pandas")
    index = make(pandas)
    found = weigh(index).nbytes  # before it is asked, for which some versions make a table
    true = index.memory_usage(deep=True)
    assert abs(found - true) < 0.05 * true + 1500


def test_the_hash_table_of_an_index_counts_once_it_is_there():
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    index = pandas.Index(numpy.arange(1000) * 7 % 1009)
    before = weigh(index).nbytes
    assert 7 in index
    assert weigh(index).nbytes - before == index.memory_usage() - 8000 > 8000


def test_objects_of_users_in_a_frame_are_weighed_without_asking_them():
    pandas = pytest.importorskip("pandas")

    class Odd:
        def __init__(self):
            self.text = "x" * 1000 + str(id(self))

    objects = [Odd() for _ in range(500)]
    Odd.__sizeof__ = Odd.__getattr__ = run
    frame = pandas.DataFrame({"a": pandas.Series(objects, dtype=object)})
    assert 500 * 1100 < weigh(frame).nbytes < 500 * 1400

    class Frame(pandas.DataFrame):
        memory_usage = shape = dtypes = property(run)

    frame = pandas.DataFrame({"a": range(1000)})
    frame.__class__ = Frame
    assert 8000 <= weigh(frame).nbytes < 12_000


def test_a_frame_of_very_many_pieces_is_sampled():
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    frame = pandas.DataFrame(index=range(100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is what pandas warns of
        for n in range(1500):
            frame[n] = numpy.zeros(100)
    size = weigh(frame)
    assert size.estimated
    assert close(size.nbytes, deep_usage(frame), 0.3)


def test_an_array_that_somebody_derived_from_those_of_pandas_counts():
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")

    class Odd(pandas.arrays.IntegerArray):
        pass

    column = pandas.Series(Odd(numpy.zeros(10_000, int), numpy.zeros(10_000, bool)))
    assert type(column.array) is Odd
    Odd.nbytes = Odd.__len__ = Odd.__getattr__ = Odd.memory_usage = run
    found = weigh(column).nbytes
    assert 90_000 <= found < 92_000


# ---------------------------------------------------------------- arrow, scipy, scikit-learn
def test_a_slice_of_a_table_keeps_the_whole():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": [1.5] * 10_000, "s": [f"text {n}" for n in range(10_000)]})
    size = weigh(table)
    assert (size.nbytes, size.estimated) == (table.nbytes, False)
    part = weigh(table.slice(5, 10))
    assert part.nbytes == table.slice(5, 10).nbytes < 400
    assert (part.own, part.buffers) == (0, size.buffers)
    assert set(keys(table["a"].chunk(0)[3:5])) <= set(keys(table))
    assert set(keys(table.to_batches()[0])) == set(keys(table))


def test_arrow_and_numpy_share_a_block():
    arrow = pytest.importorskip("pyarrow")
    numpy = pytest.importorskip("numpy")
    whole = arrow.array([1.5] * 10_000)
    assert keys(whole.to_numpy()[5:]) == keys(whole)
    assert keys(whole.buffers()[1]) == keys(whole.buffers()[1].slice(80, 8)) == keys(whole)
    data = bytes(80_000)
    assert keys(arrow.py_buffer(data)) == keys(data) == keys(numpy.frombuffer(data))


def test_the_categories_of_an_arrow_dictionary_count():
    arrow = pytest.importorskip("pyarrow")
    words = arrow.array(["word" * 100, "other" * 100] * 5000).dictionary_encode()
    assert weigh(words).nbytes == words.nbytes
    assert sum(n for _, n in weigh(words).buffers) >= words.nbytes


def test_a_sparse_matrix_weighs_its_arrays():
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.random(500, 500, 0.1, format="csr")
    arrays = (matrix.data, matrix.indices, matrix.indptr)
    size = weigh(matrix)
    assert size.nbytes - size.own == sum(a.nbytes for a in arrays)
    assert size.own < 1000
    assert set(keys(matrix.data)) <= set(keys(matrix))
    assert weigh(sparse.random(500, 500, 0.1, format="lil")).nbytes > 25_000 * 16


def test_trees_in_memory_of_c_count():
    ensemble = pytest.importorskip("sklearn.ensemble")
    numpy = pytest.importorskip("numpy")
    rng = numpy.random.default_rng(0)
    model = ensemble.RandomForestClassifier(10, random_state=0)
    model.fit(rng.random((500, 8)), rng.integers(0, 2, 500))
    nodes = sum(tree.tree_.node_count for tree in model.estimators_)
    size = weigh(model)
    assert size.estimated
    assert close(size.nbytes, nodes * 80, 0.5)


# ---------------------------------------------------------------- where they are not installed here
def test_a_tensor_shares_its_storage():
    torch = pytest.importorskip("torch")
    whole = torch.zeros(1000, 10)
    size = weigh(whole)
    assert (size.nbytes, size.own, size.retained) == (40_000, 0, 40_000)
    assert keys(whole[3]) == keys(whole.T) == keys(whole.numpy()[2:]) == keys(whole)
    assert weigh(whole[3]).nbytes == 40
    layer = torch.nn.Linear(100, 100)
    before = weigh(layer)
    assert {*keys(layer.weight), *keys(layer.bias)} == {key for key, _ in before.buffers}
    assert 40_400 < before.nbytes < 45_000
    layer(torch.ones(100)).sum().backward()
    assert weigh(layer).nbytes > before.nbytes + 40_000, "gradients"


def test_a_polars_frame_weighs_what_polars_says():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1.5] * 1000, "s": ["text"] * 1000})
    assert weigh(frame).nbytes == frame.estimated_size()
