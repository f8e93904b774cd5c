"""The language's special methods on handles: what runs there, what here, and what is refused."""

from __future__ import annotations

import copy
import datetime
import math
import operator
import os
import re
import sys
import threading
from collections import abc

import pytest

import bridge_ext
from bridge_ext import BridgeError, EncodeError, Ref, RefNotFoundError, SessionMismatchError
from bridge_ext.kernel import operators
from bridge_ext.kernel.wire.specials import BINARY, SPECIALS

THINGS = '''
import contextlib
import enum
from collections.abc import Mapping

calls = []


class Plain:
    pass


class Text(str):
    """A string that is more than one."""


class Shown:
    def __str__(self):
        return Text("shown")

    def __format__(self, spec):
        return f"formatted with {spec!r}"

    def __bytes__(self):
        return b"shown"

    def __fspath__(self):
        return "/the/path"


class Money:
    """Adds only to its own kind, and has no reflected form."""

    def __init__(self, amount):
        self.amount = amount

    def __add__(self, other):
        return self.amount + other.amount if isinstance(other, Money) else NotImplemented

    def __pow__(self, other, modulus=None):
        return ["pow", other, modulus]

    def __rpow__(self, other, modulus=None):
        return ["rpow", other, modulus]


class Sized:
    def __init__(self, length):
        self.length = length

    def __len__(self):
        calls.append("len")
        return self.length


class Iterable:
    def __iter__(self):
        yield from range(100)


class Old:
    """A sequence of the old kind."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        calls.append(index)
        if index >= 3:
            raise IndexError(index)
        return index * 10


class Closed:
    """Refuses everything that Python would fall back on."""

    __iter__ = __contains__ = __reversed__ = __bool__ = __radd__ = __enter__ = None

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return index

    def __add__(self, other):
        return "added"


class Pairs(Mapping):
    def __getitem__(self, key):
        return key

    def __iter__(self):
        return iter("ab")

    def __len__(self):
        return 2


class Place:
    def __index__(self):
        return 7


class Whole(int):
    pass


class Real:
    def __float__(self):
        return 2.5


class Asked:
    @property
    def missing(self):
        raise AttributeError("the property's own text")

    @property
    def broken(self):
        raise ValueError("broken")


class Exits:
    """Is left with the given answer, and tells what it was told."""

    def __init__(self, answer=None):
        self.answer, self.told = answer, []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.told.append([kind and kind.__name__, str(error), isinstance(error, kind or object)])
        return self.answer


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Generic:
    def __class_getitem__(cls, item):
        return f"Generic of {item.__name__}"


def adds(self, other):
    return [self, other]


def made(name, *args):
    return globals()[name](*args)
'''


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "model_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("model_things", None)


@pytest.fixture
def new(bridge):
    """Make an instance of a class of the test's module."""
    return lambda name, *args: bridge.new(f"model_things.{name}", *args)


@pytest.fixture(scope="module")
def there():
    """One bridge for the tests of libraries, whose worker imports them once."""
    with bridge_ext.Bridge() as made:
        made.call("math.sqrt", 4)
        yield made


def trips(bridge, action, *args):
    """How many calls the worker served while `action` ran."""
    before = bridge.status().calls
    action(*args)
    return bridge.status().calls - before


def one_trip(bridge, action, *args):
    """The value of `action`, which makes one trip."""
    before = bridge.status().calls
    value = action(*args)
    assert bridge.status().calls - before == 1
    return value


def refused(action, *args):
    """`action` is refused by an error that names what brings the data here."""
    with pytest.raises(TypeError, match=r"bridge\.fetch\(ref\)"):
        action(*args)


# --- The table --------------------------------------------------------------------------------


SYMBOLS = {
    "__lt__": "<",
    "__le__": "<=",
    "__eq__": "==",
    "__ne__": "!=",
    "__gt__": ">",
    "__ge__": ">=",
    "__add__": "+",
    "__sub__": "-",
    "__mul__": "*",
    "__matmul__": "@",
    "__truediv__": "/",
    "__floordiv__": "//",
    "__mod__": "%",
    "__pow__": "**",
    "__lshift__": "<<",
    "__rshift__": ">>",
    "__and__": "&",
    "__xor__": "^",
    "__or__": "|",
}


def test_each_special_method_that_a_type_may_tell_of_is_decided():
    asynchronous = {"__aiter__", "__anext__"}  # those of a stream
    assert operators._MAKERS.keys() | asynchronous | {"__next__"} == SPECIALS


@pytest.mark.parametrize("name", sorted(SPECIALS - {f"__{p}{n}__" for n in BINARY for p in "ri"}))
def test_the_table_has_each_special_method(name):
    table = operators.__doc__.split("of every object")[0].split()
    assert SYMBOLS.get(name, name.strip("_")) in table


def test_a_reflected_form_goes_with_each_operator_and_is_the_only_addition():
    has = set(operators.special_methods(["__add__", "__len__"], "object"))
    assert has == {"__add__", "__radd__", "__len__"}
    assert set(operators.special_methods(["__radd__"], "object")) == {"__radd__"}
    assert operators.special_methods([], "object") == {}


def test_containment_is_asked_there_wherever_python_would_iterate():
    for name in ("__iter__", "__getitem__", "__contains__"):
        assert "__contains__" in operators.special_methods([name], "object")
    assert "__contains__" not in operators.special_methods(["__len__"], "object")


def test_what_a_type_refuses_its_handles_refuse():
    made = operators.special_methods(
        ["-__contains__", "-__radd__", "__add__", "__iter__"], "object"
    )
    assert (made["__contains__"], made["__radd__"]) == (None, None)
    assert made["__iter__"] is not None


@pytest.mark.parametrize("name", ["__getattribute__", "__class__", "__del__", "x", ""])
def test_a_record_can_refuse_special_methods_only(name):
    assert operators.special_methods([f"-{name}", name], "object") == {}


def test_a_class_can_be_subscripted_and_not_iterated():
    made = operators.special_methods(["__call__"], "class")
    assert made["__getitem__"] is not None
    assert made["__iter__"] is None
    assert "__contains__" not in made
    of_enum = operators.special_methods(["__iter__", "__getitem__"], "class")
    assert of_enum["__iter__"] is not None


# --- Operators --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"), [([1], [2]), ((1,), (2,)), ("a", "b"), (b"a", b"b")], ids=repr
)
def test_a_local_sequence_is_concatenated_with_a_remote_one(bridge, left, right):
    ref = bridge.put(right)
    assert one_trip(bridge, lambda: left + ref) == left + right
    assert ref + left == right + left


@pytest.mark.parametrize(
    ("run", "left", "right"),
    [
        (operator.mul, 3, [1]),
        (operator.or_, {1}, {2}),
        (operator.or_, {"a": 1}, {"b": 2}),
        (operator.le, {1}, {1, 2}),
        (operator.lt, datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)),
        (operator.sub, datetime.date(2024, 1, 2), datetime.timedelta(1)),
        (operator.eq, (1, 2), (1, 2)),
        (operator.mod, 7, 4),
        (divmod, 7, 4),
        (operator.pow, 2, 5),
    ],
)
def test_a_local_left_operand_leaves_the_operator_to_the_ref(bridge, run, left, right):
    ref = bridge.put(right)
    assert one_trip(bridge, run, left, ref) == run(left, right)


def test_a_reflected_form_that_nobody_has_is_the_remote_type_error(new):
    with pytest.raises(TypeError, match="'int' and 'Money'"):
        5 + new("Money", 1)


def test_objects_of_one_kind_need_no_reflected_form(bridge, new):
    assert new("Money", 1) + new("Money", 2) == 3


def test_the_first_ref_is_the_target_of_a_reflected_form_too(bridge):
    with bridge.session("named"):
        plain = bridge.new("model_things.Plain")
    auto = bridge.new("model_things.Money", 1)
    assert one_trip(bridge, lambda: plain**auto)[0] == "rpow"
    with bridge.session("named"):
        theirs = bridge.new("model_things.Money", 1)
    with pytest.raises(SessionMismatchError):
        bridge.new("model_things.Plain") ** theirs


def test_a_power_may_have_a_modulus(new):
    assert pow(new("Money", 1), 2, 5) == ["pow", 2, 5]
    assert pow(2, new("Money", 1)) == ["rpow", 2, None]


def test_inequality_falls_back_on_equality(bridge):
    ref = bridge.put([1])
    assert one_trip(bridge, operator.ne, ref, [2]) is True


def test_what_cannot_travel_is_named_when_it_is_an_operand(bridge):
    with pytest.raises(EncodeError, match=r"args\[1\] \(lock\)"):
        _ = bridge.put([1]) == threading.Lock()


# --- Truth, length, numbers -------------------------------------------------------------------


def test_truth_falls_back_on_length_in_one_trip(bridge, new):
    empty, full, plain = new("Sized", 0), new("Sized", 5), new("Plain")
    assert one_trip(bridge, bool, empty) is False
    assert one_trip(bridge, bool, full) is True
    assert trips(bridge, bool, plain) == 0


@pytest.mark.parametrize("convert", [int, float])
def test_an_index_is_a_number_to_those_who_ask_for_one(bridge, new, convert):
    ref = new("Place")
    assert one_trip(bridge, lambda: convert(ref)) == 7
    assert complex(ref) == 7
    refused(range, ref)
    refused(operator.index, ref)


@pytest.mark.parametrize(
    ("path", "args"), [("model_things.Whole", (3,)), ("numpy.int64", (3,)), ("bool", (3,))]
)
def test_an_integer_of_any_kind_is_an_index(bridge, path, args):
    ref = bridge.new(path, *args)
    expected = 1 if path == "bool" else 3
    assert one_trip(bridge, lambda: operator.index(ref)) == expected
    assert list(range(ref)) == list(range(expected))
    assert [*"abcd"][ref] == "abcd"[expected]


def test_floor_and_ceil_fall_back_on_float(bridge, new):
    ref = new("Real")
    assert one_trip(bridge, lambda: math.floor(ref)) == 2
    assert (math.ceil(ref), complex(ref), math.sqrt(ref)) == (3, 2.5, math.sqrt(2.5))


# --- Text and bytes ---------------------------------------------------------------------------


def test_a_format_without_a_spec_is_the_objects_own(new):
    ref = new("Shown")
    assert f"{ref}" == "formatted with ''"
    assert f"{ref:>5}" == "formatted with '>5'"


def test_a_text_that_is_more_than_one_is_not_opened_here(bridge, new):
    ref = new("Shown")
    assert str(ref) == repr(ref) == "<ref Shown>"
    with bridge.options(fetch=True):
        assert str(ref) == "<ref Shown>"


def test_bytes_and_paths_are_those_of_the_object(bridge, new):
    ref = new("Shown")
    assert one_trip(bridge, lambda: bytes(ref)) == b"shown"
    assert one_trip(bridge, lambda: os.fspath(ref)) == "/the/path"
    assert isinstance(ref, os.PathLike)
    assert not isinstance(new("Plain"), os.PathLike)


def test_a_path_there_opens_a_file_here(bridge, tmp_path):
    (tmp_path / "file").write_text("text")
    path = bridge.new("pathlib.Path", str(tmp_path)) / "file"
    with open(path) as file:
        assert file.read() == "text"
    assert tmp_path / path == tmp_path / "file"


# --- Containers -------------------------------------------------------------------------------


def test_containment_falls_back_on_iteration_in_one_trip(bridge, new):
    for name, inside, outside in [("Iterable", 99, 100), ("Old", 20, 25)]:
        ref = new(name)
        assert one_trip(bridge, lambda ref=ref, x=inside: x in ref)
        assert one_trip(bridge, lambda ref=ref, x=outside: x not in ref)


def test_containment_in_a_stream_takes_its_items(bridge):
    stream = bridge.stream("builtins.range", 5)
    assert 2 in stream
    assert next(stream) == 3


def test_iteration_falls_back_on_items_and_reversal_on_length_too(new):
    assert list(new("Old")) == [0, 10, 20]
    assert list(reversed(new("Old"))) == [20, 10, 0]


@pytest.mark.parametrize(
    "action",
    [iter, reversed, bool, lambda r: 1 in r, lambda r: 5 + r, list],
    ids=["iter", "reversed", "bool", "in", "plus", "list"],
)
def test_what_a_type_refuses_is_refused_without_a_trip(bridge, new, action):
    ref = new("Closed")

    def attempt():
        with pytest.raises(TypeError):
            action(ref)

    assert trips(bridge, attempt) == 0
    assert (len(ref), ref[5], ref + 1) == (1, 5, "added")


def test_a_mapping_is_not_reversible_and_its_handle_neither(new):
    ref = new("Pairs")
    assert list(ref) == ["a", "b"]
    assert not isinstance(ref, abc.Reversible)
    with pytest.raises(TypeError, match="not reversible"):
        reversed(ref)


def test_a_type_that_refuses_to_be_entered_is_no_context_manager(new):
    with pytest.raises((TypeError, AttributeError)), new("Closed"):  # the second in Python 3.10
        pass


@pytest.mark.parametrize(
    "key",
    [
        slice(None, None, 2),
        slice(-3, None),
        (slice(None), slice(1, 3)),
        (slice(None, None, -1), 2),
        (..., 0),
        (..., None, slice(0, 2)),
        ([0, 2], slice(None)),
        None,
        ...,
    ],
    ids=repr,
)
def test_slices_of_any_kind_reach_an_array(bridge, key):
    import numpy

    here = numpy.arange(12).reshape(3, 4)
    ref = bridge.call("numpy.reshape", bridge.call("numpy.arange", 12), [3, 4])
    assert bridge.fetch(ref[key]).tolist() == here[key].tolist()
    ref[key] = 0
    here[key] = 0
    assert bridge.fetch(ref).tolist() == here.tolist()


def test_items_and_attributes_are_deleted(bridge, new):
    ref = bridge.put(list(range(6)))
    del ref[::2]
    assert bridge.fetch(ref) == [1, 3, 5]
    del ref[-1], ref[0:1]
    assert bridge.fetch(ref) == [3]
    thing = new("Plain")
    thing.x = 1
    del thing.x
    assert not hasattr(thing, "x")
    with pytest.raises(AttributeError):
        del thing.x


def test_a_slice_may_hold_refs(bridge):
    assert bridge.put([1, 2, 3])[bridge.put(1) :] == [2, 3]


def test_items_and_attributes_are_changed_in_place(bridge, new):
    ref = bridge.put({"a": 1})
    ref["a"] += 4
    thing = new("Plain")
    thing.x = 2
    thing.x *= 3
    assert (ref["a"], thing.x) == (5, 6)


# --- Attributes -------------------------------------------------------------------------------


def test_the_errors_of_properties_arrive_as_they_are(new):
    ref = new("Asked")
    with pytest.raises(AttributeError, match="the property's own text"):
        _ = ref.missing
    assert not hasattr(ref, "missing")
    with pytest.raises(ValueError, match="broken"):
        hasattr(ref, "broken")


def test_a_handle_is_no_descriptor(bridge):
    function = bridge.attr("model_things.adds")

    class Here:
        add = function

    assert Here.add is function
    assert Here().add is function
    assert Here().add(1, 2) == [1, 2]


def test_a_handle_matches_no_pattern_but_its_own_class(bridge):
    def kind(x):
        match x:
            case [*_]:
                return "sequence"
            case {}:
                return "mapping"
            case list() | dict():
                return "builtin"
            case Ref():
                return "ref"

    assert {kind(bridge.put([1])), kind(bridge.put({"a": 1}))} == {"ref"}


# --- Classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["model_things.Plain", "builtins.list"])
def test_a_class_there_is_no_class_here(bridge, path):
    ref = bridge.attr(path)
    for check in (isinstance, issubclass):
        with pytest.raises(TypeError, match=rf"bridge\.call\('{check.__name__}', x, ref\)"):
            check(int, ref)
        with pytest.raises(TypeError, match=r"bridge\.call"):
            check(int, (str, ref))
    with pytest.raises(TypeError, match="cannot inherit"):

        class Local(ref):
            pass


def test_what_the_refusal_of_isinstance_names_works(bridge, new):
    cls, ref = bridge.attr("model_things.Plain"), new("Plain")
    assert bridge.call("isinstance", ref, cls) is True
    assert bridge.call("isinstance", 5, cls) is False


def test_no_instance_is_no_class_either(new):
    with pytest.raises(TypeError, match=r"bridge\.call"):
        isinstance(5, new("Plain"))
    with pytest.raises(TypeError):
        issubclass(new("Plain"), int)


def test_a_class_is_subscripted_there(bridge):
    assert bridge.attr("model_things.Generic")[int] == "Generic of int"
    assert str(bridge.attr("builtins.list")[int]) == "list[int]"
    with pytest.raises(TypeError, match="not subscriptable"):
        bridge.attr("model_things.Plain")[int]


def test_a_class_that_can_be_subscripted_is_not_iterated(bridge):
    for action in (iter, list, lambda ref: 5 in ref):
        with pytest.raises(TypeError, match="not iterable"):
            action(bridge.attr("builtins.list"))


def test_the_class_of_an_enumeration_has_its_members(bridge):
    ref = bridge.attr("model_things.Color")
    assert (len(ref), ref["RED"].value, [c.name for c in ref]) == (2, 1, ["RED", "BLUE"])
    assert ref.RED in ref


# --- With -------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [True, 1, "yes", [0]], ids=repr)
def test_a_truthy_exit_silences_the_error(new, answer):
    with new("Exits", answer) as ref:
        raise KeyError("silenced")
    assert ref.told == [["KeyError", "'silenced'", True]]


@pytest.mark.parametrize("answer", [False, None, 0, "", []], ids=repr)
def test_any_other_exit_lets_it_go_on(new, answer):
    with pytest.raises(KeyError), new("Exits", answer):
        raise KeyError("goes on")


def test_the_truth_of_an_exit_that_is_an_object_is_asked_there(bridge, new):
    with new("Exits", new("Sized", 1)):
        raise KeyError("silenced")
    with pytest.raises(KeyError), new("Exits", new("Sized", 0)):
        raise KeyError("goes on")


@pytest.mark.parametrize("fetch", [True, False])
def test_an_exit_is_asked_once_whatever_is_fetched(bridge, new, fetch):
    ref = new("Exits", bridge.call("threading.Lock"))
    with bridge.options(fetch=fetch), ref:
        raise KeyError("silenced")
    assert len(ref.told) == 1


def test_an_error_that_cannot_travel_is_told_as_its_nearest_builtin_kind(new):
    class Local(UnicodeDecodeError):
        def __init__(self, lock):
            super().__init__("utf-8", b"x", 0, 1, "no")
            self.lock = lock

    class Interrupt(KeyboardInterrupt):
        pass

    ref = new("Exits", True)
    with ref:
        raise Local(threading.Lock())
    with ref:
        raise Interrupt(threading.Lock())
    assert [told[0] for told in ref.told] == ["UnicodeError", "KeyboardInterrupt"]
    assert "utf-8" in ref.told[0][1]


def test_an_exit_that_comes_too_late_does_not_hide_the_error(bridge, new):
    def block(ref, error):
        with ref:
            bridge.release(ref)
            if error is not None:
                raise error

    with pytest.raises(KeyError, match="under way"):
        block(new("Exits"), KeyError("under way"))
    with pytest.raises(RefNotFoundError):
        block(new("Exits"), None)


def test_a_worker_that_dies_in_a_block_is_the_error_of_the_block(local):
    lock = local.call("threading.Lock")
    with pytest.raises(BridgeError, match="SIGABRT"), lock:
        local.call("os.abort")


# --- Options do not reach what Python asks ----------------------------------------------------


@pytest.mark.parametrize("fetch", [True, False])
def test_what_python_asks_is_plain_data_whatever_is_fetched(bridge, new, fetch):
    ref = bridge.put([1, 2])
    place, shown, number, exits = new("Place"), new("Shown"), bridge.put(2), new("Exits")
    with bridge.options(fetch=fetch, idempotent=True):
        assert (len(ref), bool(ref), 2 in ref, 3 in ref) == (2, True, True, False)
        assert (str(ref), f"{number:03}", operator.length_hint(ref)) == ("[1, 2]", "002", 2)
        assert (int(place), float(number), complex(number)) == (7, 2.0, 2 + 0j)
        assert (bytes(shown), os.fspath(shown)) == (b"shown", "/the/path")
        assert [5, 6, 7][number] == 7
        assert list(ref) == [1, 2]
        with pytest.raises(KeyError), exits as entered:
            raise KeyError
        assert entered is exits


def test_a_session_in_force_reaches_what_python_asks(bridge):
    ref = bridge.put([1, 2])
    with bridge.session("named"), bridge.options(fetch=False):
        assert len(ref) == 2


# --- Copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [copy.copy, copy.deepcopy])
def test_a_copy_is_a_ref_on_a_copy_there(bridge, action):
    with bridge.session("named"):
        ref = bridge.put([[1]])
    made = one_trip(bridge, lambda: action(ref))
    assert isinstance(made, Ref)
    assert made is not ref
    assert bridge.info(made).session_id == "named"
    bridge.method(ref, "append", 5)
    assert bridge.fetch(made) == [[1]]


def test_a_deep_copy_is_deep_and_a_copy_is_not(bridge):
    inner = bridge.put([1])
    outer = bridge.new("list", [inner])
    shallow, deep = copy.copy(outer), copy.deepcopy(outer)
    inner.append(2)
    assert bridge.fetch(shallow) == [[1, 2]]
    assert bridge.fetch(deep) == [[1]]


def test_refs_in_local_data_are_copied_once(bridge):
    ref = bridge.put([1])
    first, second = copy.deepcopy([ref, ref])
    assert first is second
    assert first is not ref
    assert copy.copy([ref])[0] is ref


def test_what_copies_to_itself_is_the_same_ref(bridge, new):
    for ref in (bridge.put("text"), bridge.put((1, 2)), bridge.attr("model_things.Plain")):
        assert copy.copy(ref) is ref
        assert copy.deepcopy(ref) is ref


def test_what_cannot_be_copied_there_says_so(bridge):
    with pytest.raises(TypeError, match="lock"):
        copy.copy(bridge.call("threading.Lock"))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is new in 3.13")
def test_a_record_is_replaced_there(bridge):
    cls = bridge.call("collections.namedtuple", "Point", "x y")
    moved = copy.replace(cls(1, 2), x=5)
    assert (moved.x, moved.y) == (5, 2)


# --- Libraries given a handle by mistake ------------------------------------------------------

SIZES = (30, 900)
FEW = 50
"""Trips that a library may make by asking for attributes, whatever the size of the object."""


def frame(n):
    import pandas

    return pandas.DataFrame({"a": [1.0] * n})


MISTAKES = {
    "asarray": lambda np, pd, ref: np.asarray(ref),
    "array": lambda np, pd, ref: np.array([ref, ref]),
    "sum": lambda np, pd, ref: np.sum(ref),
    "mean": lambda np, pd, ref: np.mean(ref, axis=0),
    "concatenate": lambda np, pd, ref: np.concatenate([ref, ref]),
    "array_equal": lambda np, pd, ref: np.array_equal(ref, ref),
    "allclose": lambda np, pd, ref: np.allclose(np.ones(3), ref),
    "shape": lambda np, pd, ref: np.shape(ref),
    "norm": lambda np, pd, ref: np.linalg.norm(ref),
    "where": lambda np, pd, ref: np.where(ref, 1, 2),
    "dot": lambda np, pd, ref: np.ones(3).dot(ref),
    "index": lambda np, pd, ref: np.ones(3)[ref],
    "assign": lambda np, pd, ref: operator.setitem(np.ones(3), ..., ref),
    "DataFrame": lambda np, pd, ref: pd.DataFrame(ref),
    "Series": lambda np, pd, ref: pd.Series(ref),
    "Index": lambda np, pd, ref: pd.Index(ref),
    "isna": lambda np, pd, ref: pd.isna(ref),
    "column": lambda np, pd, ref: operator.setitem(frame(len(ref)), "c", ref),
}
KINDS = {
    "array": lambda there, n: there.call("numpy.ones", n),
    "list": lambda there, n: there.put([1.0] * n),
    "series": lambda there, n: there.call("pandas.Series", [1.0] * n),
    "frame": lambda there, n: there.put(frame(n)),
    "dict": lambda there, n: there.put(dict.fromkeys(range(n), 1.0)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_library_names_fetch_and_pulls_nothing_over(there, kind, mistake):
    import numpy
    import pandas

    counts = []
    for size in SIZES:
        ref = KINDS[kind](there, size)
        counts.append(trips(there, refused, MISTAKES[mistake], numpy, pandas, ref))
    assert counts[0] == counts[1] <= FEW


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "act",
    [
        lambda np, pd, ref: np.sin(ref),
        lambda np, pd, ref: np.add(np.ones(3), ref),
        lambda np, pd, ref: operator.iadd(np.ones(3), ref),
        lambda np, pd, ref: pd.concat([ref, ref]),
        lambda np, pd, ref: pd.merge(ref, ref, on="a"),
    ],
    ids=["sin", "add", "in place", "concat", "merge"],
)
def test_what_a_library_refuses_by_itself_makes_no_trip(there, kind, act):
    import numpy
    import pandas

    ref = KINDS[kind](there, 30)

    def attempt():
        with pytest.raises(TypeError, match="Ref"):
            act(numpy, pandas, ref)

    assert trips(there, attempt) == 0


def test_the_error_of_a_numpy_function_names_a_call_that_works(there):
    import numpy

    ref = there.call("numpy.arange", 4)
    with pytest.raises(TypeError) as caught:
        numpy.linalg.norm(ref)
    (path,) = re.findall(r"bridge\.call\('([\w.]+)', \.\.\.\)", str(caught.value))
    assert there.call(path, ref) == numpy.linalg.norm(numpy.arange(4))


@pytest.mark.parametrize("swap", [False, True], ids=["ref first", "ref last"])
@pytest.mark.parametrize("kind", ["array", "list", "series"])
@pytest.mark.parametrize("run", [operator.mul, operator.add, operator.eq, operator.gt])
def test_operators_of_local_arrays_and_refs_run_there(there, kind, run, swap):
    import numpy
    import pandas

    size = 30
    ref = KINDS[kind](there, size)
    here = there.fetch(ref)
    for local in (numpy.arange(float(size)), pandas.Series(range(size))):
        expected = run(local, here) if swap else run(here, local)
        made = one_trip(there, run, *((local, ref) if swap else (ref, local)))
        assert isinstance(made, Ref)
        assert list(there.fetch(made)) == list(expected)


def test_a_local_frame_and_a_ref_are_added_there(there):
    local = frame(5)
    for ref in (there.put(frame(5)), there.call("pandas.Series", {"a": 1.0})):
        made = one_trip(there, operator.add, local, ref)
        assert there.fetch(made)["a"].tolist() == [2.0] * 5


def test_a_local_table_may_hold_refs(there):
    import pandas

    refs = [there.put([1]), there.call("threading.Lock")]
    table = pandas.DataFrame({"name": ["a", "b"], "ref": refs})
    assert list(table["ref"]) == refs
    assert table.ref[1].locked() is False


def test_scikit_learn_does_not_fit_what_is_there(there):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    counts = []
    for size in SIZES:
        ref = there.call("numpy.ones", (size, 2))
        counts.append(trips(there, refused, model.fit, ref, ref))
    assert counts[0] == counts[1] <= FEW


@pytest.mark.parametrize("kind", ["array", "list", "series"])
@pytest.mark.parametrize("draw", ["plot", "scatter", "bar", "imshow"])
def test_matplotlib_does_not_draw_what_is_there(there, kind, draw):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    counts = []
    for size in SIZES:
        ref = KINDS[kind](there, size)
        args = (ref,) if draw in ("plot", "imshow") else (ref, ref)
        figure, axes = plt.subplots()
        counts.append(trips(there, refused, getattr(axes, draw), *args))
        plt.close(figure)
    assert counts[0] == counts[1] <= FEW


def test_arrow_does_not_take_what_is_there(there):
    pa = pytest.importorskip("pyarrow")
    ref = there.put(frame(30))
    for action in (pa.array, pa.table, pa.Table.from_pandas, pa.chunked_array):
        assert trips(there, refused, action, ref) <= FEW


def test_python_iterates_what_it_is_told_to(there):
    ref = there.put([3, 1, 2])
    assert (sum(ref), sorted(ref), list(ref), max(ref)) == (6, [1, 2, 3], [3, 1, 2], 3)
