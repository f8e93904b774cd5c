"""Notes that help: which errors get one, what it says, and which look alike and get none."""

from __future__ import annotations

import concurrent.futures
import sys
import traceback
import types

import numpy as np
import pandas as pd
import pytest

from bridge_ext import RemoteError
from bridge_ext.kernel.worker.hints import hint_for

THINGS = """
import numpy as np
import pandas as pd


def ones(*shape):
    return np.ones(shape)


def added(a, weights):
    return a + weights


def says(text):
    raise ValueError(text)


def too_large():
    return np.ones((10**6, 10**6))


def exhausted():
    return bytearray(10**15)


def halved(count):
    counts = np.ones(count, int)
    counts += 0.5
    return counts
"""


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hints")
    (folder / "hint_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("hint_things", None)


def error_of(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


# --- Shapes -----------------------------------------------------------------------------------

A, B = np.ones((2, 3)), np.ones(4)
FRAME = pd.DataFrame({"a": [1, 2]})


def assign(target, key, value):
    target[key] = value


SHAPES = {
    "adding": (lambda a, b: a + b, (A, B), ["(2,3) and (4,)", "3 against 4", "a is (2, 3)"]),
    "three operands": (np.where, (A > 0, A, B), ["(2,3), (2,3) and (4,)", "3 against 3 against 4"]),
    "broadcasting": (np.broadcast_arrays, (A, B), ["(2, 3) and (4,)", "3 against 4"]),
    "in place": (lambda a, b: a.__iadd__(b), (A, np.ones((5, 2, 3))), ["(5,2,3)", "one of (2,3)"]),
    "assigning": (assign, (np.ones((2, 3)), slice(None), B), ["(4,)", "(2,3)", "4 against 3"]),
    "reshaping": (lambda a: a.reshape(4), (A,), ["has 4 elements, the array has 6", "a is (2, 3)"]),
    "dot": (lambda a, b: a.dot(b), (A, B), ["3 and 4", "a is (2, 3), b is (4,)"]),
    "matmul": (lambda a, b: a @ b, (A, A), ["3 and 2", "a is (2, 3), b is (2, 3)"]),
    "concatenating": (np.vstack, ([A, np.ones((1, 4))],), ["along dimension 1", "3 and 4"]),
    "a column": (assign, (FRAME, "b", [1, 2, 3]), ["3 values", "2 rows", "target is (2, 1)"]),
    "a frame": (lambda a: pd.DataFrame(a, columns=["x"]), (A,), ["(2, 3)", "(2, 1)"]),
    "a frame's dot": (lambda f, b: f.dot(b), (FRAME, B), ["(2, 1) and (4,)", "1 and 4"]),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_that_do_not_fit_are_explained(case):
    function, args, said = SHAPES[case]
    error = error_of(function, *args)
    assert type(error) is ValueError
    hint = hint_for(error)
    assert hint is not None, error
    assert all(part in hint for part in said), hint


def test_a_direct_call_names_its_arguments(bridge):
    a, b = bridge.call("hint_things.ones", 2, 3), bridge.call("hint_things.ones", 4)
    for call in (
        lambda: bridge.call("numpy.add", a, b),
        lambda: bridge.module("numpy").matmul(a, b),
        lambda: a + b,
        lambda: a.dot(b),
    ):
        (note,) = error_of(call).__notes__
        assert note.startswith("bridge: ")
        assert "(2, 3)" in note
        assert "(4,)" in note


def test_the_hint_names_the_variables_of_the_users_function(bridge):
    a, b = bridge.call("hint_things.ones", 2, 3), bridge.call("hint_things.ones", 4)
    error = error_of(bridge.call, "hint_things.added", a, b)
    (note,) = error.__notes__
    assert "a is (2, 3), weights is (4,)" in note
    assert note in "".join(traceback.format_exception_only(type(error), error)) or (
        sys.version_info < (3, 11)
    )


TEXTS = [str(error_of(function, *args)) for function, args, _ in SHAPES.values()]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_text_from_the_users_own_code_gets_none(bridge, text):
    error = error_of(bridge.call, "hint_things.says", text)
    assert error.args == (text,)
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_text_in_another_type_gets_none(text):
    def raise_it(cls):
        raise cls(text)

    class Mine(ValueError):
        pass

    for cls in (Mine, TypeError, KeyError, RuntimeError, MemoryError):
        assert hint_for(error_of(raise_it, cls)) is None
        assert cls is MemoryError or hint_for(error_of(thrown, cls(text))) is None


def test_what_only_looks_alike_gets_none():
    texts = [
        "operands could not be broadcast together with shapes",
        "operands could not be broadcast together with shapes (2,3) (4,) and more",
        "I said: shapes (2,3) and (4,) not aligned: 3 (dim 1) != 4 (dim 0)",
        "cannot reshape array of size many into shape (4,)",
    ]
    for text in texts:
        assert hint_for(error_of(thrown, ValueError(text))) is None


def thrown(error):
    """Raise an error at no `raise` statement, as compiled code does."""

    def generator():
        yield

    generator().throw(error)


def test_an_error_that_a_future_raises_is_judged_by_where_it_came_from():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert "3 against 4" in hint_for(error_of(pool.submit(lambda: A + B).result))
    future: concurrent.futures.Future = concurrent.futures.Future()
    future.set_exception(ValueError(TEXTS[0]))
    assert hint_for(error_of(future.result)) is None


def test_errors_of_numpy_that_are_about_something_else_get_none():
    for function, args in (
        (np.array(["a"]).astype, (float,)),
        (np.linalg.inv, (A,)),
        (np.ones(3).reshape, ("x",)),
        (np.stack, ([A, B],)),
        (int, ("x",)),
    ):
        assert hint_for(error_of(function, *args)) is None


def test_an_error_that_was_never_raised_gets_none():
    assert hint_for(ValueError(TEXTS[0])) is None


def test_without_numpy_nothing_is_looked_at(monkeypatch):
    error = error_of(lambda a, b: a + b, A, B)
    monkeypatch.delitem(sys.modules, "numpy")
    assert hint_for(error) is None
    assert "numpy" not in sys.modules


# --- Memory -----------------------------------------------------------------------------------


def test_an_array_that_is_too_large_says_how_large(local):
    error = error_of(local.call, "hint_things.too_large")
    assert isinstance(error, MemoryError)
    note = error.__notes__[-1]
    assert "shape (1000000, 1000000) and float64 takes 7.3 TiB" in note
    assert "%bridge refs" in note


def test_memory_that_ran_out_names_the_limit():
    import bridge_ext

    with bridge_ext.Bridge(memory_limit=3 << 30) as bridge:
        error = error_of(bridge.call, "hint_things.exhausted")
        assert type(error) is MemoryError
        assert "memory_limit is 3.0 GiB" in error.__notes__[0]
        assert bridge.call("math.sqrt", 4) == 2


def test_a_memory_error_of_the_users_own_gets_none():
    def mine():
        raise MemoryError("mine")

    assert hint_for(error_of(mine)) is None


@pytest.fixture
def torch(monkeypatch):
    """Modules with types of torch's names and structure: it is not installed for the tests."""
    package, cuda = types.ModuleType("torch"), types.ModuleType("torch.cuda")
    made = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})
    before = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch.cuda"})
    package.OutOfMemoryError, cuda.OutOfMemoryError = made, before
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)
    return made, before


OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 1 has a total capacity of 14.75 GiB of "
    "which 12.06 MiB is free. Process 123 has 14.73 GiB memory in use. Of the allocated memory "
    "14.58 GiB is allocated by PyTorch, and 30.00 MiB is reserved by PyTorch but unallocated."
)
OUT_OF_MEMORY_BEFORE = (
    "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.90 GiB total capacity; 14.42 GiB "
    "already allocated; 609.75 MiB free; 14.54 GiB reserved in total by PyTorch)"
)


def test_a_device_out_of_memory_says_which_and_how_much(torch):
    now, before = torch
    hint = hint_for(now(OUT_OF_MEMORY))
    assert "GPU 1 is out of memory: 20.00 MiB were asked for, 12.06 MiB of 14.75 GiB" in hint
    hint = hint_for(before(OUT_OF_MEMORY_BEFORE))
    assert "GPU 0 is out of memory: 2.00 GiB were asked for, 609.75 MiB of 15.90 GiB" in hint
    assert "the device is out of memory" in hint_for(now("another text"))
    assert "%bridge refs" in hint


def test_a_type_that_only_has_the_name_gets_none(torch):
    for module in ("torch", "torch.cuda", "mine"):
        fake = type("OutOfMemoryError", (RuntimeError,), {"__module__": module})
        assert hint_for(fake(OUT_OF_MEMORY)) is None
    assert hint_for(RuntimeError(OUT_OF_MEMORY)) is None


# --- Types of elements ------------------------------------------------------------------------


def add_in_place(x, y):
    x += y


TYPES = {
    "no loop": (lambda a: a + 1, (np.array(["a"]),), ["numpy.add", "<U1 and int64", "a is <U1"]),
    "dates": (np.add, (np.array([1], "M8[s]"),) * 2, ["numpy.add", "datetime64[s]"]),
    "in place": (
        add_in_place,
        (np.ones(3, int), 0.5),
        ["float64", "stored as int64", "x is int64"],
    ),
    "unsupported": (np.sqrt, (np.array(["a"]),), ["numpy.sqrt is not defined"]),
}


@pytest.mark.parametrize("case", TYPES)
def test_types_of_elements_that_do_not_fit_are_explained(case):
    function, args, said = TYPES[case]
    error = error_of(function, *args)
    assert isinstance(error, TypeError)
    hint = hint_for(error)
    assert hint is not None, error
    assert all(part in hint for part in said), hint


def test_the_same_text_in_a_plain_type_error_gets_none():
    def raise_it(text):
        raise TypeError(text)

    for function, args, _ in TYPES.values():
        text = str(error_of(function, *args))
        assert hint_for(error_of(raise_it, text)) is None
        assert hint_for(error_of(thrown, type("Mine", (TypeError,), {})(text))) is None


def test_a_type_of_numpys_that_the_kernel_has_not_imported_keeps_the_hint(local, monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy._core._exceptions", raising=False)
    monkeypatch.delitem(sys.modules, "numpy.core._exceptions", raising=False)
    error = error_of(local.call, "hint_things.halved", 3)
    assert type(error) is RemoteError
    assert "stored as int64" in error.__notes__[0]


# --- Whatever happens -------------------------------------------------------------------------


def test_a_library_that_has_changed_costs_only_the_hint(torch):
    module = sys.modules.get("numpy._core._exceptions") or sys.modules["numpy.core._exceptions"]
    made = module._ArrayMemoryError((5,), np.dtype("f8"))
    del made.dtype
    assert hint_for(made) is None


def test_nothing_is_imported_for_a_hint():
    before = set(sys.modules)
    for function, args, _ in [*SHAPES.values(), *TYPES.values()]:
        hint_for(error_of(function, *args))
    assert set(sys.modules) == before
