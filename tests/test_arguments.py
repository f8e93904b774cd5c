"""Code as an argument: functions, classes and what they close over, there and back."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import fnmatch
import functools
import gc
import io
import linecache
import pickle
import sys
import threading
import traceback
import types
import typing
import weakref

import pytest
from kernels import Kernel

from bridge_ext import EncodeError
from bridge_ext.kernel.wire.culprits import locate
from bridge_ext.kernel.wire.pickling import MAX_SOURCE, dump

LOCK = threading.Lock()


def run(bridge, fn, *args):
    """Run a local function in the worker."""
    return bridge.call("functools.partial", fn)(*args)


def round_trip(bridge, obj):
    return bridge.fetch(bridge.put(obj))


# --- Functions --------------------------------------------------------------------------------


def test_a_function_brings_what_it_closes_over(bridge):
    factor = 3

    def times(x):
        return x * factor

    def thrice(x):
        return times(times(times(x)))

    assert run(bridge, thrice, 1) == 27
    assert bridge.call("sorted", [1, 3, 2], key=lambda x: -x) == [3, 2, 1]


def test_functions_may_call_themselves_and_each_other(bridge):
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    assert run(bridge, factorial, 5) == 120
    assert run(bridge, even, 10) is True
    assert run(bridge, odd, 10) is False


def test_a_generator_function_is_a_stream_there(bridge):
    def count(n):
        yield from range(n)

    assert list(run(bridge, count, 3)) == [0, 1, 2]


def test_defaults_keywords_and_attributes_of_a_function_travel(bridge):
    def fn(a, b=[1], *rest, key="k", **more):  # noqa: B006
        """Its text."""
        return [a, b, list(rest), key, more]

    fn.mark = {"x": 1}
    ref = bridge.put(fn)
    assert ref(1) == [1, [1], [], "k", {}]
    assert ref(1, 2, 3, key=4, other=5) == [1, 2, [3], 4, {"other": 5}]
    assert ref.mark == {"x": 1}
    assert bridge.get(ref, "__doc__") == "Its text."


def test_what_a_function_changes_it_changes_in_its_copy(bridge):
    seen = []
    count = 0

    def note():
        nonlocal count
        count += 1
        seen.append(count)
        return list(seen)

    there = bridge.put(note)
    assert [there(), there()] == [[1], [1, 2]], "one copy keeps what it did"
    assert run(bridge, note) == [1], "and each shipping is a copy"
    assert (seen, count) == ([], 0)


def test_bound_static_and_class_methods_travel_with_their_class(bridge):
    class Counter:
        start = 10

        def __init__(self):
            self.n = 1

        def up(self, by):
            return self.start + self.n + by

        @staticmethod
        def twice(x):
            return 2 * x

        @classmethod
        def named(cls):
            return cls.__name__

    counter = Counter()
    assert run(bridge, counter.up, 2) == 13
    assert run(bridge, Counter.twice, 2) == 4
    assert run(bridge, Counter.named) == "Counter"
    assert run(bridge, functools.partial(counter.up, 5)) == 16


def test_a_function_that_closes_over_a_ref_has_the_object(bridge):
    rows = bridge.put([1, 2])

    def add(x):
        rows.append(x)
        return len(rows)

    assert run(bridge, add, 3) == 3
    assert bridge.fetch(rows) == [1, 2, 3]


def test_a_function_that_closes_over_a_module_handle_has_the_module(bridge):
    math = bridge.module("math")
    path = bridge.module("os.path")
    root = math.sqrt

    assert run(bridge, lambda: math.floor(math.pi)) == 3
    assert run(bridge, lambda: path.join("a", "b")) == "a/b"
    assert run(bridge, lambda: root(16)) == 4.0
    assert list(bridge.call("map", math.sqrt, [4, 9])) == [2.0, 3.0]


def test_cached_functions_travel_and_begin_with_an_empty_cache(bridge):
    @functools.lru_cache(maxsize=7, typed=True)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    fib.mark = "kept"
    assert fib(20) == 6765
    there = bridge.put(fib)
    info = bridge.method(there, "cache_info")
    assert (info.currsize, info.maxsize) == (0, 7)
    assert bridge.method(there, "cache_parameters") == {"maxsize": 7, "typed": True}
    assert there(40) == 102334155
    assert there.mark == "kept"
    assert bridge.get(there, "__name__") == "fib"


def test_a_cached_function_of_a_module_is_that_modules(bridge):
    cached = bridge.put(fnmatch._compile_pattern)
    assert bridge.call("operator.is_", cached, bridge.attr("fnmatch:_compile_pattern"))


def test_single_dispatch_travels_with_what_was_registered(bridge):
    @functools.singledispatch
    def kind(x):
        return "other"

    @kind.register
    def _(x: int):
        return "int"

    assert kind(1) == "int", "its own cache of types is filled by now"
    assert (run(bridge, kind, 1), run(bridge, kind, "a")) == ("int", "other")


def test_a_weak_dictionary_travels_as_one(bridge):
    keys = [frozenset("a")]
    sizes = weakref.WeakKeyDictionary({keys[0]: 1})
    assert run(bridge, lambda: (len(sizes), type(sizes).__name__, len(keys))) == (
        1,
        "WeakKeyDictionary",
        1,
    )


def test_the_standard_streams_are_the_workers_own(bridge, capfd):
    def say(text, out=sys.stdout):
        print(text, file=out)

    run(bridge, say, "said there")
    assert capfd.readouterr().out == "said there\n"


# --- Classes ----------------------------------------------------------------------------------


def test_an_instance_comes_back_as_the_class_it_is(bridge):
    class Point:
        def __init__(self, x):
            self.x = x

        def double(self):
            return 2 * self.x

    there = bridge.put(Point(3))
    assert there.double() == 6
    there.x = 4
    back = bridge.fetch(there)
    assert type(back) is Point
    assert back.x == 4
    assert round_trip(bridge, Point) is Point


def test_a_class_that_is_passed_twice_is_one_class_there(bridge):
    class Point:
        pass

    first, second = bridge.put(Point()), bridge.put([Point()])
    cls = bridge.put(Point)
    assert bridge.call("operator.is_", bridge.get(first, "__class__"), cls)
    assert bridge.call("isinstance", second[0], cls)
    assert bridge.call("isinstance", first, Point)
    assert bridge.call("isinstance", Point(), cls)
    assert run(bridge, lambda x: type(x) is Point, first) is True


def test_a_class_made_again_is_another_class_and_old_instances_keep_theirs(bridge):
    def make(value):
        class Thing:
            def get(self):
                return value

        return Thing

    old_class, new_class = make("old"), make("new")
    old, new = bridge.put(old_class()), bridge.put(new_class())
    assert (old.get(), new.get()) == ("old", "new")
    assert bridge.call("isinstance", old, new_class) is False
    assert [type(bridge.fetch(ref)) for ref in (old, new)] == [old_class, new_class]


def test_a_round_trip_changes_nothing_in_the_class_here(bridge):
    scale = 2

    class Thing:
        seen: typing.ClassVar = []

        def scaled(self):
            return scale

    thing = Thing()
    thing.__reduce_ex__(5)  # leaves a note of its own in the class
    before = dict(vars(Thing))
    assert type(round_trip(bridge, thing)) is Thing
    assert dict(vars(Thing)) == before
    scale = 3
    assert Thing().scaled() == 3


def test_what_the_worker_does_to_its_class_stays_there(bridge):
    class Thing:
        seen: typing.ClassVar = []

        def note(self, x):
            type(self).seen.append(x)
            return list(self.seen)

    there = bridge.put(Thing())
    assert there.note(1) == [1]
    if bridge._backend.name == "local":
        assert bridge.fetch(there).seen == []


def test_a_class_is_shipped_as_it_is_now(local):
    class Thing:
        size = 1

    old = local.put(Thing())
    Thing.size = 2
    Thing.more = lambda self: self.size + 1
    new = local.put(Thing())
    assert (new.size, local.method(new, "more")) == (2, 3)
    assert old.size == 2, "it is one class"


def test_classes_are_registered_once_on_either_side(bridge):
    class Base:
        names: typing.ClassVar = []

        def __init_subclass__(cls, **words):
            super().__init_subclass__(**words)
            Base.names.append(cls.__name__)

    class Thing(Base):
        pass

    for _ in range(2):
        there = bridge.put(Thing())
        assert type(bridge.fetch(there)) is Thing
    assert Base.names == ["Thing"]


def test_super_properties_and_nested_classes_work_there(bridge):
    class Base:
        def who(self):
            return "base"

    class Thing(Base):
        class Inner:
            def who(self):
                return type(self).__qualname__.rpartition(".")[2]

        def who(self):
            return "thing of " + super().who()

        @property
        def inner(self):
            return self.Inner()

    there = bridge.put(Thing())
    assert there.who() == "thing of base"
    assert there.inner.who() == "Inner"
    assert type(bridge.fetch(there.inner)) is Thing.Inner
    assert bridge.call("issubclass", Thing, Base)


@pytest.mark.parametrize("words", [{}, {"frozen": True}, {"slots": True}, {"order": True}], ids=str)
def test_dataclasses_come_back_equal(bridge, words):
    made = dataclasses.make_dataclass("Made", [("a", int), ("b", list)], **words)
    made.__module__ = "__main__"
    there = bridge.put(made(1, [2]))
    assert (there.a, there.b) == (1, [2])
    back = bridge.fetch(there)
    assert type(back) is made
    assert back == made(1, [2])


def test_classes_with_slots_have_them_there_and_back(bridge):
    class Base:
        __slots__ = ("__hidden", "a")

        def __init__(self):
            self.a, self.__hidden = 1, 2

        def hidden(self):
            return self.__hidden

    class Child(Base):
        __slots__ = ()

    class Weak(Base):
        __slots__ = ("__weakref__", "b")

    for cls in (Base, Child, Weak):
        there = bridge.put(cls())
        assert there.hidden() == 2
        with pytest.raises(AttributeError):
            there.other = 1
        back = bridge.fetch(there)
        assert type(back) is cls
        assert (back.a, back.hidden()) == (1, 2)


def test_enums_are_themselves_there_and_back(bridge):
    class Colour(enum.Enum):
        RED = 1
        BLUE = 2

        def other(self):
            return Colour.BLUE if self is Colour.RED else Colour.RED

    class Mode(enum.Flag):
        READ = 1
        WRITE = 2

    assert round_trip(bridge, Colour.RED) is Colour.RED
    assert bridge.fetch(bridge.put(Colour.RED).other()) is Colour.BLUE
    assert bridge.call("operator.is_", bridge.put(Colour.RED), Colour.RED)
    assert round_trip(bridge, Mode.READ | Mode.WRITE) == Mode.READ | Mode.WRITE


def test_named_tuples_keep_their_names(bridge):
    class Typed(typing.NamedTuple):
        a: int
        b: str = "x"

    plain = collections.namedtuple("plain", "a b")
    plain.__module__ = "__main__"
    for value in (Typed(1), plain(1, 2)):
        there = bridge.put(value)
        assert (there.a, bridge.call("len", there)) == (1, 2)
        back = bridge.fetch(there)
        assert type(back) is type(value)
        assert back == value


def test_metaclasses_abstract_and_generic_classes_travel(bridge):
    class Meta(type):
        def __call__(cls, *args):
            made = super().__call__(*args)
            made.tag = cls.__name__
            return made

    class Tagged(metaclass=Meta):
        pass

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Square(Shape):
        def area(self):
            return 4

    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        def __init__(self, x: T):
            self.x = x

    assert bridge.put(Tagged)().tag == "Tagged"
    assert type(round_trip(bridge, Tagged())) is Tagged
    assert bridge.put(Square()).area() == 4
    assert bridge.call("isinstance", Square(), Shape)
    with pytest.raises(TypeError, match="abstract"):
        bridge.put(Shape)()
    assert type(round_trip(bridge, Box[int](3))) is Box


def test_a_virtual_subclass_is_one_there(bridge):
    class Shape(metaclass=abc.ABCMeta):  # noqa: B024
        pass

    class Square:
        pass

    Shape.register(Square)
    assert bridge.call("issubclass", Square, Shape)
    Shape.register(int)
    assert bridge.call("isinstance", 5, Shape)


def test_a_cached_property_is_one_there(bridge):
    made = []

    class Thing:
        @functools.cached_property
        def slow(self):
            """What takes long."""
            made.append(1)
            return len(made)

    there = bridge.put(Thing())
    assert (there.slow, there.slow) == (1, 1)
    assert bridge.get(bridge.get(bridge.get(there, "__class__"), "slow"), "__doc__") == (
        "What takes long."
    )


def test_an_instance_that_holds_itself_does_so_there(bridge):
    class Node:
        def __init__(self):
            self.me = self
            self.get = lambda: self

    there = bridge.put(Node())
    assert there.me is there
    assert there.get() is there


def test_a_class_that_holds_a_ref_has_the_object(bridge):
    class Holder:
        held = bridge.put([1, 2])

        def count(self):
            return len(self.held)

    assert bridge.put(Holder()).count() == 2


def test_a_class_that_arrived_here_is_one_class_however_often_it_is_fetched(local):
    def make():
        class Born:
            size = 1

        return Born

    cls = run(local, make)
    first, second = local.fetch(cls()), local.fetch(cls())
    assert type(first) is type(second)
    assert (type(first).__name__, first.size) == ("Born", 1)
    cls.size = 2
    assert local.fetch(cls()).size == 2
    assert local.call("isinstance", first, cls)


def test_a_class_is_let_go_when_nobody_has_it(local):
    def count(name):
        gc.collect()
        return sum(c.__name__ == name for c in object.__subclasses__())

    class Passing:
        pass

    assert run(local, lambda x: count(type(x).__name__), Passing()) == 1
    assert run(local, count, "Passing") == 0


# --- What cannot travel -----------------------------------------------------------------------


class Box:
    def __init__(self, inside):
        self.inside = inside


class Slotted:
    __slots__ = ("full", "unset")

    def __init__(self, full):
        self.full = full


def closes_over(x):
    def inner():
        return x

    return inner


def with_default(x):
    def inner(a, b=x, *, c=x):
        return a

    return inner


def using_global(x):
    scope = {"__name__": "__main__", "far": x}
    exec("def outer():\n    def inner():\n        return far\n    return inner", scope)
    return scope["outer"]


def with_member(x):
    class Local:
        member = x

    return Local


class Refusing:
    def __reduce_ex__(self, protocol):
        raise LookupError("not today")


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda x: x, ""),
        (lambda x: [1, {"a": (x,)}], "[1]['a'][0]"),
        (lambda x: {"k" * 100: x}, f"['{'k' * 59}]"),
        (lambda x: {(x,): 1}, None),
        (lambda x: {frozenset([x])}, "{...}{...}"),
        (lambda x: collections.deque([0, x]), "[1]"),
        (Box, ".inside"),
        (lambda x: [Box({"a": Box(x)})], "[0].inside['a'].inside"),
        (Slotted, ".full"),
        (closes_over, ".__closure__['x']"),
        (with_default, ".__defaults__[0]"),
        (using_global, ".__globals__['far']"),
        (lambda x: functools.partial(print, 1, x), ".args[1]"),
        (lambda x: functools.partial(print, key=x), ".keywords['key']"),
        (lambda x: types.MethodType(closes_over(1), x), ".__self__"),
        (with_member, ".member"),
        (lambda x: with_member(x)(), ".__class__.member"),
        (lambda x: with_member(closes_over(x)), ".member.__closure__['x']"),
        (lambda x: with_member(property(closes_over(x))), ".member.fget.__closure__['x']"),
        (lambda x: with_member(staticmethod(closes_over(x))), ".member.__func__.__closure__['x']"),
    ],
)
def test_the_path_to_a_culprit_is_found_in_any_object(make, path):
    where, culprit = locate(make(LOCK), "args[0]", lambda obj: None)
    if path is not None:
        assert where == f"args[0]{path}"
    assert culprit is LOCK


def test_a_key_that_cannot_be_shown_is_no_obstacle():
    class Key:
        def __repr__(self):
            raise ValueError("no")

    assert locate({Key(): LOCK}, "x", lambda obj: None) == ("x[<Key>]", LOCK)


def test_a_culprit_that_is_made_while_pickling_is_its_maker():
    class Making:
        def __getstate__(self):
            return {"made": threading.Lock()}

    made = Making()
    assert locate([made], "x", lambda obj: None) == ("x", [made])


def test_only_what_would_travel_is_on_the_path():
    ref = Box(LOCK)  # stands for something that has a name there
    both = {"by name": ref, "whole": Box(LOCK)}
    persistent = {id(ref): "a ref"}
    assert locate(both, "x", lambda obj: persistent.get(id(obj))) == ("x['whole'].inside", LOCK)


def test_what_can_be_pickled_has_no_culprit():
    assert locate([1], "x", lambda obj: None) == ("x", [1])


def test_a_very_deep_culprit_is_named_by_the_argument():
    deep = LOCK
    for _ in range(200):
        deep = [deep]
    assert locate(deep, "args[0]", lambda obj: None)[0] == "args[0]"


def test_an_error_names_the_global_that_cannot_travel(bridge):
    with pytest.raises(EncodeError) as caught:
        bridge.call("len", using_global(LOCK))
    assert caught.value.where == "args[0].__globals__['far']"
    assert caught.value.what == "lock"


def test_refs_handles_and_callbacks_are_not_to_blame(bridge):
    ref, math, here = bridge.put([1]), bridge.module("math"), bridge.callback(lambda: LOCK)
    with pytest.raises(EncodeError) as caught:
        bridge.call("len", [ref, math, math.sqrt, here, Box(LOCK)])
    assert (caught.value.where, caught.value.what) == ("args[0][4].inside", "lock")


def test_a_bridge_does_not_travel_and_the_error_says_so(bridge):
    for culprit in (bridge, bridge.options(fetch=True)):
        with pytest.raises(EncodeError, match="give refs as arguments") as caught:
            bridge.put(closes_over(culprit))
        assert caught.value.where == "args[0].__closure__['x']"


def test_an_open_file_is_refused_and_not_read(bridge, tmp_path):
    path = tmp_path / "text"
    path.write_text("text")
    with open(path) as file:
        with pytest.raises(EncodeError, match="path") as caught:
            bridge.call("len", [file])
        assert caught.value.where == "args[0][0]"
        assert file.read() == "text"
    assert round_trip(bridge, io.StringIO("kept")).read() == "kept"


def test_an_object_that_refuses_says_what_it_said(bridge):
    with pytest.raises(EncodeError, match="not today") as caught:
        bridge.put(closes_over([Refusing()]))
    assert caught.value.where == "args[0].__closure__['x'][0]"


# --- Source lines -----------------------------------------------------------------------------


@pytest.fixture
def cell():
    """Compile functions as a cell would: their source is in memory only."""
    names = []

    def define(source, name="<a cell>"):
        names.append(name)
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        scope = {"__name__": "__main__"}
        exec(compile(source, name, "exec"), scope)
        return scope

    yield define
    for name in names:
        linecache.cache.pop(name, None)


def test_a_traceback_shows_the_lines_of_a_cell(local, cell):
    scope = cell("def fail(x):\n    inner = lambda: 1 / x  # the line\n    return inner()\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run(local, scope["fail"], 0)
    note = "".join(traceback.format_exception(caught.value))
    assert "inner = lambda: 1 / x  # the line" in note
    assert "return inner()" in note
    assert local.call("inspect.getsource", scope["fail"]).startswith("def fail(x):")


def test_a_cells_source_is_in_a_pickle_once(cell):
    source = "def a():\n    return b()\ndef b():\n    return 'a marked line'\n"
    assert dump(cell(source)["a"], lambda obj: None).count(b"a marked line") == 2, "code, source"


@pytest.mark.parametrize("kind", ["file", "large"])
def test_other_sources_do_not_travel(cell, kind):
    comment = "# not a cell\n" * (1 if kind == "file" else MAX_SOURCE // 10)
    fn = cell(comment + "def fn(): return 1\n")["fn"]
    if kind == "file":
        size, _, *rest = linecache.cache["<a cell>"]
        linecache.cache["<a cell>"] = (size, 12.5, *rest)
    assert b"not a cell" not in dump(fn, lambda obj: None)


def test_source_that_is_known_is_left_alone(cell):
    fn = cell("def fn(): return 1\n")["fn"]
    data = dump(fn, lambda obj: None)
    entry = linecache.cache["<a cell>"] = (1, None, ["newer\n"], "<a cell>")
    assert pickle.loads(data)() == 1
    assert linecache.cache["<a cell>"] is entry


# --- In a notebook ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        kernel.run(
            "%load_ext bridge_ext\n"
            "import functools\n"
            "def run(fn, *args): return bridge.call('functools.partial', fn)(*args)\n"
        )
        yield kernel
    finally:
        kernel.close()


def test_a_notebooks_class_round_trips_by_identity(kernel):
    kernel.run(
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def double(self): return 2 * self.x\n"
        "there = bridge.put(Point(3))"
    )
    assert kernel.get("there.double()") == 6
    assert kernel.get("type(bridge.fetch(there)) is Point") is True
    assert kernel.get("bridge.call('isinstance', bridge.put(Point(4)), Point)") is True
    assert kernel.get("run(lambda p: isinstance(p, Point), there)") is True


def test_a_notebooks_class_stays_what_it_was_after_a_fetch(kernel):
    kernel.run(
        "scale = 2\n"
        "class Scaled:\n"
        "    def get(self): return scale\n"
        "back = bridge.fetch(bridge.put(Scaled()))"
    )
    kernel.run("scale = 3")
    assert kernel.get("(back.get(), Scaled().get(), run(Scaled().get))") == (3, 3, 3)


def test_a_cell_that_runs_again_makes_a_new_class(kernel):
    cell = "class Thing:\n    def get(self): return {!r}\n"
    kernel.run(cell.format("old") + "old, Old = bridge.put(Thing()), Thing")
    kernel.run(cell.format("new"))
    kernel.run("new = bridge.put(Thing())")
    assert kernel.get("(old.get(), new.get())") == ("old", "new")
    assert kernel.get("[bridge.call('isinstance', x, Thing) for x in (old, new)]") == [False, True]
    assert kernel.get("[type(bridge.fetch(x)) for x in (old, new)] == [Old, Thing]") is True


def test_a_notebooks_exception_arrives_as_its_class(kernel):
    kernel.run(
        "class Refused(ValueError):\n"
        "    def __init__(self, code, *, why):\n"
        "        super().__init__(f'{code}: {why}')\n"
        "        self.code, self.why = code, why\n"
        "class Worse(Refused): pass\n"
        "def refuse(cls): raise cls(3, why={'a': (1,)})\n"
    )
    cell = kernel.run(
        "for cls in (Refused, Worse):\n"
        "    try: run(refuse, cls)\n"
        "    except Refused as error: print(type(error) is cls, error.code, error.why, error)"
    )
    assert cell.stdout == "True 3 {'a': (1,)} 3: {'a': (1,)}\n" * 2


def test_a_remote_traceback_shows_the_cells_line(kernel):
    kernel.run("def fail(x):\n    return 1 / x  # here it fails\n")
    cell = kernel.fail("run(fail, 0)")
    assert "return 1 / x  # here it fails" in cell.traceback
    assert "line 2, in fail" in cell.traceback


def test_globals_are_copied_at_each_shipping(kernel):
    kernel.run("count = 0\ndef up():\n    global count\n    count += 1\n    return count\n")
    kernel.run("there = bridge.put(up)")
    assert kernel.get("[there(), there(), run(up), count]") == [1, 2, 1, 0]
    kernel.run("count = 10")
    assert kernel.get("[there(), run(up)]") == [3, 11]


def test_a_function_of_the_notebook_may_use_its_imports_and_handles(kernel):
    kernel.run("import math as m\nnp_like = bridge.module('math')\nrows = bridge.put([4, 9])")
    kernel.run("def roots(): return [m.sqrt(x) + np_like.sqrt(x) for x in rows]")
    assert kernel.get("run(roots)") == [4.0, 6.0]


def test_the_kernels_streams_are_the_workers_there(kernel):
    kernel.run("import sys\ndef say(out=sys.stderr): print('said', file=out)")
    assert kernel.run("run(say)").stderr == "said\n"


def test_an_error_names_the_notebooks_global_by_its_name(kernel):
    kernel.run("import threading\nguard = threading.Lock()\ndef guarded():\n    with guard: pass")
    cell = kernel.fail("run(guarded)")
    assert "args[0].__globals__['guard'] (lock) cannot travel" in cell.traceback
    kernel.run("def calls(): return bridge.call('len', [])")
    cell = kernel.fail("run(calls)")
    assert "args[0].__globals__['bridge'] (Bridge) cannot travel" in cell.traceback


def test_a_class_goes_with_its_last_instance(local):
    def make():
        ballast = bytes(1000)

        class Goes:
            def size(self):
                return len(ballast)

        return Goes()

    def count():
        import gc

        gc.collect()
        return sum(cls.__name__ == "Goes" for cls in object.__subclasses__())

    local.register_helper(count, "count")
    for _ in range(3):
        assert local.put(make()).size() == 1000
    assert local.helper("count") == 0


def test_an_object_that_cannot_come_here_is_named_down_to_its_culprit(local):
    ref = local.call("eval", "[1, {'lock': __import__('threading').Lock()}]")
    kept = local.options(fetch=False).call("eval", "[1, {'lock': __import__('threading').Lock()}]")
    assert ref[0] == 1
    with pytest.raises(EncodeError, match=r"The result\[1\]\['lock'\] \(_thread.lock\)"):
        local.fetch(kept)
