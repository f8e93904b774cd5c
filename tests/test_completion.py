"""What completion and help know of handles: it is asked in the worker, and nothing runs for it."""

from __future__ import annotations

import inspect
import os
import pydoc
import sqlite3
import sys
import threading
import time

import pytest

import bridge_ext
from bridge_ext import Ref
from bridge_ext.kernel import completion
from bridge_ext.kernel.completion import Place

LOOKED_AT = '''
"""Things that tell when somebody runs them."""

import ctypes
import functools
import os
import time

ran = []
stop = []


def note(what):
    ran.append(what)
    return what


class Descriptor:
    def __get__(self, instance, owner):
        return note("descriptor")


class Keyed(dict):
    """A dict that says when it is asked."""

    def keys(self):
        return note("keys")

    def _refuse(self, *args):
        note("refused")
        raise RuntimeError("must not run")

    __iter__ = __contains__ = __len__ = __getitem__ = copy = items = get = _refuse


class Thing:
    """A thing.

    With a second paragraph, which the record of its type leaves out.
    """

    shared = {"class": "data"}
    described = Descriptor()

    def __init__(self, value=1, *, part=None):
        self.value = value
        self.part = part
        self._hidden = 2

    @property
    def size(self):
        """How big it is."""
        return note("size")

    @property
    def broken(self):
        note("broken")
        raise AttributeError("inside")

    @functools.cached_property
    def cached(self):
        return note("cached")

    def method(self, a, b=2, *rest, c="x", d=ran, **more):
        """Does it.

        At length.
        """
        return [a, b, list(rest), c, more]

    @staticmethod
    def static(x, y=1):
        """Stays."""
        return [x, y]

    @classmethod
    def made(cls, z):
        return z

    def __getattr__(self, name):
        note("getattr " + name)
        raise AttributeError(name)

    def __getitem__(self, key):
        return note("item")

    def _loud(self, *args):
        note("loud")
        raise RuntimeError("must not run")

    __dir__ = __iter__ = __len__ = __bool__ = __eq__ = __lt__ = __repr__ = __str__ = _loud
    __hash__ = object.__hash__


class Part:
    def __init__(self, leaf=None):
        self.leaf = leaf

    def inner(self):
        pass


class Slotted:
    __slots__ = ("first", "second")

    def __init__(self):
        self.first = Part()


class Meta(type):
    def __getattribute__(cls, name):
        if name not in ("__name__", "__qualname__"):
            note("meta")
        return super().__getattribute__(name)

    def __dir__(cls):
        return note("meta dir")


class OfMeta(metaclass=Meta):
    """Of a class that looks."""

    level = 1

    def method(self, a):
        pass


class Odd:
    """Has a dictionary of its own making."""

    def __init__(self):
        self.__dict__ = Keyed(inside=1)


class Callable:
    def __call__(self, a, b=1):
        """Call it."""


class Growing:
    """Takes any name."""


@functools.lru_cache
def cached_function(a, b=3):
    """Remembers."""


@functools.wraps(cached_function.__wrapped__)
def wrapping(*args):
    pass


def own_dict_with_other_keys():
    thing = Growing()
    thing.__dict__[5] = 1
    thing.__dict__["plain"] = 2
    thing.__dict__["no identifier"] = 3
    return thing


def spin(started):
    """Python code that runs until it is told to stop."""
    stop.clear()
    open(started, "w").close()
    while not os.path.exists(started + "-end"):
        pass
    return "ended"


def hold_gil(started, fifo):
    """C code that keeps the lock of the interpreter until somebody opens the other end."""
    open(started, "w").close()
    return ctypes.PyDLL(None).open(os.fsencode(fifo), os.O_RDONLY)


def __getattr__(name):
    note("module " + name)
    raise AttributeError(name)


__all__ = ["note", "promised", 5]
'''
UNIMPORTED = '''
"""Must not be imported for a completion."""

raise RuntimeError("imported")

from os.path import (
    join as joined,  # a comment, with a comma
    split,
)
from json import dumps, loads
CONSTANT: int = 5
plain = other == 3
def function(a):
    local = 1
async def asynchronous(): ...
class Class:
    attribute = 2
_private = 1
'''


@pytest.fixture(scope="module", autouse=True)
def looked_at(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looked")
    (folder / "looked_at.py").write_text(LOOKED_AT)
    (folder / "looked_package").mkdir()
    (folder / "looked_package" / "__init__.py").write_text(UNIMPORTED)
    (folder / "looked_package" / "inner.py").write_text(UNIMPORTED)
    (folder / "looked_package" / "no module.py").write_text("")
    (folder / "looked_package" / "data").mkdir()
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [n for n in sys.modules if n.startswith("looked_")]:
        del sys.modules[name]


@pytest.fixture
def new(bridge):
    """Make an instance of a class of the test's module."""

    def make(name, *args, **kwargs):
        return bridge.new(f"looked_at.{name}", *args, **kwargs)

    return make


@pytest.fixture
def ran(bridge):
    """What ran in the worker since the test began."""
    bridge.call("looked_at.ran.clear")
    return lambda: bridge.fetch(bridge.options(fetch=False).attr("looked_at.ran"))


def place(ref, *path):
    return Place(ref._bridge_state.client, ref._bridge_state, path)


def in_module(bridge, module, *path):
    return Place(bridge._client, module, path)


def names_at(where):
    return dict(completion.names(where))


def calls_during(bridge, action):
    """How many calls the worker served while `action` ran."""
    before = bridge.status().calls
    action()
    return bridge.status().calls - before


def keys(ref):
    return ref._ipython_key_completions_()


# --- Names ------------------------------------------------------------------------------------


def test_dir_has_the_members_of_the_type_and_the_names_of_the_instance(new):
    ref = new("Thing")
    members = {"cached", "described", "made", "method", "shared", "size", "static", "broken"}
    assert dir(ref) == sorted(members | {"part", "value"})


def test_a_name_that_was_set_a_moment_ago_is_there(new):
    ref = new("Growing")
    assert dir(ref) == []
    ref.fresh = 1
    assert dir(ref) == ["fresh"]
    del ref.fresh
    assert dir(ref) == []


def test_names_of_instances_are_their_own(new):
    one, other = new("Growing"), new("Growing")
    one.mine = 1
    assert dir(one) == ["mine"]
    assert dir(other) == []


def test_only_texts_that_can_follow_a_dot_are_names(bridge):
    assert dir(bridge.call("looked_at.own_dict_with_other_keys")) == ["plain"]


def test_slots_are_names_even_of_unset_attributes(new):
    assert dir(new("Slotted")) == ["first", "second"]


def test_a_ref_on_a_class_has_the_names_of_the_class(bridge):
    names = dir(bridge.attr("looked_at.Thing"))
    assert {"static", "made", "shared", "size", "mro"} <= set(names)
    assert "value" not in names


def test_columns_that_are_identifiers_are_names_of_a_frame(bridge):
    frame = bridge.call("pandas.DataFrame", {"zone": [1], "two words": [2], "shape": [3]})
    names = dir(frame)
    assert {"zone", "groupby"} <= set(names)
    assert "two words" not in names
    assert names.count("shape") == 1


def test_looking_runs_nothing_and_makes_no_call(bridge, new, ran):
    refs = [new("Thing"), new("Odd"), new("OfMeta"), new("Keyed", a=1)]
    refs.append(bridge.options(fetch=False).attr("looked_at.OfMeta"))
    before = ran()

    def look():
        for ref in refs:
            assert dir(ref)
            for path in ((), ("method",), ("size",), ("described",), ("part",), ("cached",)):
                names_at(place(ref, *path))
                completion.keys(place(ref, *path))
                completion.help_on(place(ref, *path), source=True)

    assert calls_during(bridge, look) == 0
    assert ran() == before


def test_a_dictionary_of_the_users_own_kind_is_read_without_its_methods(new, ran):
    ref = new("Odd")
    assert dir(ref) == ["inside"]
    assert names_at(place(ref, "inside"))["bit_length"] == "function"
    assert ran() == []


def test_names_behind_an_attribute_are_found_without_reading_it(bridge, new):
    part = new("Part", new("Part"))
    ref = new("Thing", part=part)
    assert names_at(place(ref, "part")) == {"inner": "function", "leaf": "instance"}
    assert names_at(place(ref, "part", "leaf")) == {"inner": "function", "leaf": "instance"}
    assert names_at(place(ref, "shared"))["keys"] == "function"
    assert names_at(place(new("Slotted"), "first")) == {"inner": "function", "leaf": "instance"}
    assert names_at(place(new("Slotted"), "second")) == {}


@pytest.mark.parametrize("name", ["size", "described", "cached", "broken", "nope", "method"])
def test_behind_what_only_code_can_tell_there_are_no_names(new, ran, name):
    ref = new("Thing")
    assert names_at(place(ref, name)) == {}
    assert names_at(place(ref, name, "real")) == {}
    assert ran() == []


def test_a_cached_property_that_was_read_has_names(bridge, new):
    ref = new("Thing")
    assert ref.cached == "cached"
    assert "upper" in names_at(place(ref, "cached"))


# --- Keys -------------------------------------------------------------------------------------


def test_keys_of_dicts_are_those_that_are_plain(bridge):
    wide = {"a": 1, 2: 2, (1, "x"): 3, b"b": 4, None: 5, frozenset(): 6, (frozenset(),): 7, 1.5: 8}
    assert keys(bridge.put(wide)) == ["a", 2, (1, "x"), b"b", None, 1.5]


def test_keys_of_a_dict_that_overrides_its_methods_are_read_past_them(new, ran):
    ref = new("Keyed", a=1, b=2)
    assert keys(ref) == ["a", "b"]
    assert ran() == []


@pytest.mark.parametrize("kind", ["OrderedDict", "defaultdict", "Counter"])
def test_subclasses_of_dict_have_keys(bridge, kind):
    args = [bridge.attr("builtins.list"), {"a": 1}] if kind == "defaultdict" else [{"a": 1}]
    assert keys(bridge.new(f"collections.{kind}", *args)) == ["a"]


def test_keys_of_frames_series_and_groups(bridge):
    frame = bridge.call("pandas.DataFrame", {"zone": ["x", "y"], "two words": [1, 2], 3: [4, 5]})
    assert keys(frame) == ["zone", "two words", 3]
    assert keys(frame.groupby("zone")) == ["zone", "two words", 3]
    assert keys(bridge.call("pandas.Series", {"a": 1, "b": 2})) == ["a", "b"]
    columns = bridge.call("pandas.MultiIndex.from_tuples", [("a", 1), ("b", 2)])
    assert keys(bridge.call("pandas.DataFrame", [[1, 2]], columns=columns)) == [("a", 1), ("b", 2)]


def test_keys_of_structured_arrays_are_their_fields(bridge):
    fields = [("x", "<f8"), ("label", "<i4")]
    array = bridge.call("numpy.zeros", 2, dtype=fields)
    assert keys(array) == ["x", "label"]
    assert keys(bridge.options(fetch=False).call("operator.getitem", array, 0)) == ["x", "label"]
    assert keys(bridge.call("numpy.zeros", 2)) == []


def test_keys_of_arrow_tables_are_their_columns(bridge):
    table = bridge.call("pyarrow.table", {"a": [1], "b": [2]})
    assert keys(table) == ["a", "b"]
    assert keys(table.to_batches()[0]) == ["a", "b"]


def test_keys_of_a_database_row_are_its_columns(bridge, tmp_path):
    with sqlite3.connect(tmp_path / "d") as there:
        there.execute("create table t (name, age)")
        there.execute("insert into t values ('x', 1)")
    there.close()
    connection = bridge.call("sqlite3.connect", str(tmp_path / "d"), check_same_thread=False)
    connection.row_factory = bridge.attr("sqlite3.Row")
    assert keys(connection.execute("select * from t").fetchone()) == ["name", "age"]
    connection.close()


def test_an_unknown_type_has_no_keys_and_one_without_items_no_way_to_ask(new, ran):
    assert keys(new("Thing")) == []
    assert not hasattr(type(new("Part")), "_ipython_key_completions_")
    assert ran() == []


def test_so_many_keys_are_cut(bridge):
    assert len(keys(bridge.new("dict", enumerate(range(5000))))) == 1000


# --- Stubs ------------------------------------------------------------------------------------


def test_methods_have_their_signature_and_docstring(new):
    ref = new("Thing")
    assert str(inspect.signature(ref.method)) == "(a, b=2, *rest, c='x', d=..., **more)"
    assert str(inspect.signature(type(ref).method)).startswith("(self, a, b=2")
    assert ref.method.__doc__ == "Does it."
    assert (ref.method.__name__, ref.method.__qualname__) == ("method", "Ref.method")


def test_static_and_class_methods_show_what_a_caller_gives(new):
    ref = new("Thing")
    assert str(inspect.signature(ref.static)) == "(x, y=1)"
    assert str(inspect.signature(ref.made)) == "(z)"
    assert ref.static(5) == [5, 1]
    assert ref.made(6) == 6


def test_methods_of_c_types_have_the_signature_they_tell(bridge):
    assert str(inspect.signature(bridge.put([]).append)) == "(object, /)"
    assert str(inspect.signature(bridge.put({}).get)) == "(key, default=None, /)"
    assert str(inspect.signature(bridge.put({}).fromkeys)) == "(iterable, value=None, /)"
    assert "maketrans" in dir(bridge.options(fetch=False).call("str", "x"))


def test_methods_of_cython_types_are_methods(bridge):
    table = bridge.call("pyarrow.table", {"a": [1]})
    assert list(inspect.signature(table.group_by).parameters) == ["keys", "use_threads"]
    assert calls_during(bridge, lambda: table.column("a")) == 1


def test_other_members_are_seen_in_the_class_and_read_in_the_worker(bridge, new, ran):
    ref = new("Thing", 7)
    cls = type(ref)
    assert isinstance(cls.size, property)
    assert cls.size.__doc__ == "How big it is."
    assert isinstance(inspect.getattr_static(ref, "shared"), property)
    assert ran() == []
    assert ref.size == "size"
    assert ref.shared == {"class": "data"}
    assert ran() == ["size"]


def test_a_property_that_fails_is_run_once_and_its_error_is_its_own(new, ran):
    ref = new("Thing")
    with pytest.raises(AttributeError, match="broken"):
        _ = ref.broken
    assert ran()[:2] == ["broken", "getattr broken"], "as Python itself goes on"
    assert ran().count("broken") == 1


def test_members_can_be_set_and_deleted(new):
    ref = new("Thing")
    ref.shared = {"of": "mine"}
    assert ref.shared == {"of": "mine"}
    del ref.shared
    assert ref.shared == {"class": "data"}


def test_help_of_a_handle_is_text_and_makes_no_call(bridge, new, ran):
    ref = new("Thing")
    texts = []
    assert calls_during(bridge, lambda: texts.append(pydoc.plain(pydoc.render_doc(ref)))) == 0
    assert "method(self, a, b=2" in texts[0]
    assert ran() == []


def test_what_a_worker_sends_cannot_write_to_the_terminal(bridge):
    source = (
        "type('T', (), {'__doc__': 'red \\x1b[31m\\x07', 'm': lambda self: 0, "
        "'a\\x1b[31m': 1, 'two\\nlines': 2})"
    )
    ref = bridge.call("builtins.eval", source)()
    assert dir(ref) == ["m"]
    assert "\x1b" not in type(ref).__doc__
    assert "red" in type(ref).__doc__


# --- Help -------------------------------------------------------------------------------------


def test_help_tells_the_whole_docstring(new):
    found = completion.help_on(place(new("Thing")))
    assert found.doc.split("\n\n")[1].startswith("With a second paragraph")
    assert (found.kind, found.type, found.name) == ("instance", "looked_at.Thing", "")
    method = completion.help_on(place(new("Thing"), "method"))
    assert method.doc == "Does it.\n\nAt length."
    assert str(method.signature) == "(a, b=2, *rest, c='x', d=..., **more)"
    assert method.name == "looked_at.Thing.method"


@pytest.mark.parametrize(
    ("name", "signature", "doc"),
    [
        ("static", "(x, y=1)", "Stays."),
        ("made", "(z)", ""),
        ("size", None, "How big it is."),
        ("shared", None, "dict() -> new empty dictionary"),
        ("value", None, "int([x]) -> integer"),
    ],
)
def test_help_on_members(new, name, signature, doc):
    found = completion.help_on(place(new("Thing"), name))
    assert (str(found.signature) if found.signature else None) == signature
    assert found.doc.startswith(doc)
    assert bool(found.doc) == bool(doc)


@pytest.mark.parametrize(
    ("path", "signature", "doc"),
    [
        ("looked_at.spin", "(started)", "Python code that runs"),
        ("looked_at.cached_function", "(a, b=3)", "Remembers."),
        ("looked_at.wrapping", "(a, b=3)", "Remembers."),
        ("looked_at.Thing", "(value=1, *, part=None)", "A thing."),
        ("builtins.len", "(obj, /)", "Return the number of items"),
        ("builtins.list", "(iterable=(), /)", "Built-in mutable sequence."),
        ("textwrap.TextWrapper", "(width=70, ", "Object for wrapping"),
        ("builtins.range", None, "range(stop) -> range object"),
        ("numpy.linalg.norm", "(x, ord=None, axis=None, keepdims=False)", "Matrix or vector norm"),
        ("numpy.sort", "(a, axis=-1, ", "Return a sorted copy"),
        ("numpy.add", ..., "add(x1, x2, "),
    ],
)
def test_a_ref_on_what_can_be_called_tells_how(bridge, path, signature, doc):
    ref = bridge.options(fetch=False).attr(path)
    found = completion.help_on(place(ref))
    assert found.doc.lstrip().startswith(doc)
    if signature is None:
        assert not hasattr(ref, "__signature__")
    elif signature is not ...:
        assert str(inspect.signature(ref)).startswith(signature)
        assert str(found.signature).startswith(signature)


def test_a_bound_method_and_a_callable_object_tell_what_a_caller_gives(bridge, new):
    bound = bridge.get(new("Thing"), "method")
    assert str(inspect.signature(bound)) == "(a, b=2, *rest, c='x', d=..., **more)"
    assert str(inspect.signature(new("Callable"))) == "(a, b=1)"
    append = bridge.get(bridge.put([]), "append")
    assert str(inspect.signature(append)) == "(object, /)"


def test_a_module_tells_its_docstring_and_file(bridge, looked_at):
    bridge.attr("looked_at.ran")
    found = completion.help_on(in_module(bridge, "looked_at"))
    assert (found.kind, found.type) == ("module", "module")
    assert found.doc == "Things that tell when somebody runs them."
    assert found.file == str(looked_at / "looked_at.py")


def test_the_source_of_what_is_python(bridge, new):
    ref = new("Slotted")
    source = completion.help_on(place(ref), source=True).source
    assert source.startswith("class Slotted:")
    assert source.rstrip().endswith("self.first = Part()")
    method = completion.help_on(place(new("Thing"), "size"), source=True).source
    assert method.strip().startswith("@property\n    def size(self):")
    assert completion.help_on(place(ref)).source == "", "it is read only when it is wanted"


def test_a_file_that_was_edited_is_read_anew(bridge, tmp_path, monkeypatch):
    file = tmp_path / "looked_edited.py"
    file.write_text("def fn():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    ref = bridge.options(fetch=False).attr("looked_edited.fn")
    assert "return 1" in completion.help_on(place(ref), source=True).source
    file.write_text("def fn():\n    return 1234567\n")
    assert "1234567" in completion.help_on(place(ref), source=True).source


def test_a_frame_tells_where_its_class_really_stands(bridge):
    frame = bridge.call("pandas.DataFrame", {"a": [1]})
    assert completion.help_on(place(frame)).file.endswith(os.path.join("core", "frame.py"))


# --- Modules ----------------------------------------------------------------------------------


def test_a_module_handle_lists_what_is_in_its_module(bridge):
    numpy = bridge.module("numpy")
    numpy.linalg.norm([3, 4])
    assert {"linalg", "linspace", "pi"} <= set(dir(numpy))
    kinds = names_at(in_module(bridge, "numpy"))
    assert (kinds["linalg"], kinds["linspace"], kinds["ndarray"]) == ("module", "function", "class")
    assert names_at(in_module(bridge, "numpy", "linalg"))["norm"] == "function"
    assert "from_dict" in names_at(in_module(bridge, "pandas", "DataFrame")) or not bridge.call(
        "sys.modules.__contains__", "pandas"
    )


def test_a_function_of_a_module_handle_tells_its_signature(bridge):
    norm = bridge.module("numpy").linalg.norm
    assert str(inspect.signature(norm)) == "(x, ord=None, axis=None, keepdims=False)"
    deque = bridge.module("collections").deque
    assert "fromkeys" not in dir(deque)
    assert "rotate" in dir(deque)


def test_what_a_module_promises_is_listed_without_asking_it(bridge, ran):
    assert {"note", "promised"} <= set(dir(bridge.module("looked_at")))
    assert ran() == []


def test_a_module_that_was_not_imported_is_not_imported_to_be_listed(bridge, ran):
    package = bridge.module("looked_package")
    expected = ["CONSTANT", "Class", "asynchronous", "dumps", "function", "inner", "joined"]
    assert dir(package) == [*expected, "loads", "plain", "split"]
    assert dir(bridge.module("looked_package.inner")) == [n for n in dir(package) if n != "inner"]
    kinds = names_at(in_module(bridge, "looked_package"))
    assert [kinds[n] for n in ("inner", "Class", "function", "asynchronous", "CONSTANT")] == [
        "module",
        "class",
        "function",
        "function",
        "instance",
    ]
    assert completion.help_on(in_module(bridge, "looked_package", "function")) is None
    assert bridge.call("sys.modules.get", "looked_package") is None


def test_modules_at_the_top_are_those_that_can_be_imported(bridge):
    bridge.call("math.sqrt", 4)
    top = names_at(in_module(bridge, ""))
    assert {"looked_at", "looked_package", "math", "sys", "numpy", "json"} <= set(top)
    assert set(top.values()) == {"module"}
    assert not any(name.startswith("_") for name in top)


def test_a_module_that_does_not_exist_has_no_names(bridge):
    bridge.call("math.sqrt", 4)
    assert dir(bridge.module("no_such_module_anywhere")) == []
    assert dir(bridge.module("json.no_such_module")) == []


# --- No answer --------------------------------------------------------------------------------


@pytest.fixture
def asked(bridge, monkeypatch):
    """The control requests that are made; their answers can be replaced."""
    made = []
    real = bridge._client.ask

    def ask(verb, *args, **options):
        made.append(verb)
        return ask.answer(verb) if ask.answer else real(verb, *args, **options)

    ask.answer = None
    monkeypatch.setattr(bridge._client, "ask", ask)
    return made, ask


def everything_of(ref):
    """All that completion and help may ask; None of it may raise."""
    return [
        dir(ref),
        keys(ref),
        completion.names(place(ref, "a")),
        completion.help_on(place(ref), source=True),
        hasattr(ref, "__signature__"),
    ]


def test_a_ref_that_has_ended_has_its_members_and_asks_nothing(bridge, asked):
    ref = bridge.put({"key": 1})
    bridge.release(ref)
    made, _ = asked
    names, no_keys, no_names, no_help, _ = everything_of(ref)
    assert {"keys", "update"} <= set(names)
    assert (no_keys, no_names, no_help) == ([], [], None)
    assert made == []


def test_a_closed_bridge_and_one_without_a_worker_ask_nothing(bridge):
    assert dir(bridge.module("json")) == []
    ref = bridge.put({"key": 1})
    bridge.close()
    assert "keys" in dir(ref)
    assert keys(ref) == []


def test_a_ref_of_a_dead_worker_has_its_members(local):
    ref = local.put({"key": 1})
    local.restart()
    assert "keys" in dir(ref)
    assert keys(ref) == []


@pytest.mark.parametrize(
    "answer",
    [
        None,
        5,
        "text",
        [],
        [1, 2],
        [["a"]],
        [["a", 5]],
        [["__class__", "instance"], ["no name", "instance"], ["a\nb", "function"]],
        {"a": 1},
        [["key"], object],
        ["", "", "", "", False, "", ""],
        ["", "", "", "(((", "no", "", "", ""],
    ],
    ids=repr,
)
def test_an_answer_that_makes_no_sense_is_no_answer(bridge, asked, answer):
    ref = bridge.put({"key": 1})
    asked[1].answer = lambda verb: answer
    names, found, no_names, no_help, signature = everything_of(ref)
    assert "keys" in names
    assert all(name.isidentifier() and not name.startswith("_") for name in names)
    assert all(type(key) in (str, int, bool, tuple) for key in found)
    assert (no_names, no_help, signature) == ([], None, False)


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError(), ValueError("bad"), MemoryError])
def test_no_error_comes_of_looking(bridge, asked, error):
    ref = bridge.put({"key": 1})

    def fail(verb):
        raise error

    asked[1].answer = fail
    assert "keys" in dir(ref)
    assert everything_of(ref)[1:] == [[], [], None, False]


def test_dir_costs_one_request(bridge, new, asked):
    ref = new("Thing")
    made, _ = asked
    dir(ref)
    assert made == ["names"]


# --- A busy worker ----------------------------------------------------------------------------


class Running:
    """A call that runs in a thread, and whether it has ended."""

    def __init__(self, bridge, *args):
        self.ended = threading.Event()
        self.value = None
        self._thread = threading.Thread(target=self._run, args=(bridge, args))
        self._thread.start()

    def _run(self, bridge, args):
        try:
            self.value = bridge.call(*args)
        finally:
            self.ended.set()

    def join(self):
        self._thread.join(20)
        assert self.ended.is_set()


def test_while_python_code_runs_the_control_thread_answers(local, tmp_path, eventually):
    ref = local.new("looked_at.Thing", part=local.new("looked_at.Part"))
    mapping = local.put({"key": 1})
    numpy = local.module("numpy")
    numpy.linalg.norm([3, 4])
    started = tmp_path / "started"
    running = Running(local, "looked_at.spin", str(started))
    try:
        eventually(started.exists, "the start of the call")
        # One answer may come too late on a machine that is busy; that none ever comes is a fault.
        eventually(lambda: "value" in dir(ref), "names")
        eventually(lambda: keys(mapping) == ["key"], "keys")
        eventually(lambda: completion.help_on(place(ref, "method")), "help")
        eventually(lambda: "linspace" in dir(numpy), "names of a module")
        assert not running.ended.is_set(), "nothing waited for the call"
    finally:
        (tmp_path / "started-end").touch()
        running.join()
    assert running.value == "ended"


def count_requests(bridge, monkeypatch):
    """The control requests made from now on."""
    connection, made = bridge._client.incarnation.connection, []
    real = connection.control

    def control(body, deadline):
        made.append(body)
        return real(body, deadline)

    monkeypatch.setattr(connection, "control", control)
    return made


def test_while_c_code_holds_the_lock_the_type_is_what_is_known(
    local, tmp_path, eventually, monkeypatch
):
    ref = local.new("looked_at.Thing")
    mapping = local.put({"key": 1})
    started, fifo = tmp_path / "started", tmp_path / "fifo"
    os.mkfifo(fifo)
    running = Running(local, "looked_at.hold_gil", str(started), str(fifo))
    try:
        eventually(started.exists, "the start of the call")
        begun = time.monotonic()
        eventually(lambda: "value" not in dir(ref), "the lock to be held")
        assert time.monotonic() - begun < 5, "it does not wait for the call"
        asked = count_requests(local, monkeypatch)
        assert "method" in dir(ref)
        assert str(inspect.signature(ref.method)).startswith("(a, b=2")
        assert keys(mapping) == []
        assert completion.help_on(place(ref, "method")) is None
        assert dir(local.module("json")) == []
        assert len(asked) <= 1, "a worker that is silent is asked once in a while"
        assert not running.ended.is_set()
    finally:
        os.close(os.open(fifo, os.O_WRONLY))
        running.join()
    eventually(lambda: "value" in dir(ref), "an answer of the worker that is free again")


# --- Onlookers --------------------------------------------------------------------------------

ONLOOKER = """
def look(ref, stream, module, function):
    seen = [bool(ref), ref != 1, str(ref), f"{ref}"]
    for name in ("value", "size", "shared", "broken", "described", "nope"):
        seen.append(getattr(ref, name, "nothing"))
    for action in (len, iter, list, lambda x: x[0], lambda x: x + 1, lambda x: 1 in x):
        try:
            action(ref)
        except TypeError:
            seen.append(TypeError)
    try:
        list(stream)
    except TypeError:
        seen.append(TypeError)
    seen.append(getattr(module, "path", "nothing"))
    seen.append(getattr(function, "attribute", "nothing"))
    return seen
"""


def look_as(name, *args):
    """Look at handles from a module of that name."""
    space = {"__name__": name}
    exec(compile(ONLOOKER, "onlooker.py", "exec"), space)
    return space["look"](*args)


@pytest.mark.parametrize(
    "name",
    [
        "jedi.inference.compiled.access",
        "IPython.core.completer",
        "IPython.core.guarded_eval",
        "IPython.core.interactiveshell",
        "IPython.core.oinspect",
        "rlcompleter",
    ],
)
def test_an_onlooker_gets_what_a_plain_object_gives_and_nothing_runs(bridge, new, ran, name):
    ref, stream = new("Thing"), bridge.stream("builtins.range", 3)
    os_module = bridge.module("os")
    function = os_module.getcwd
    before = ran()
    seen = []
    args = (ref, stream, os_module, function)
    assert calls_during(bridge, lambda: seen.extend(look_as(name, *args))) == 0
    plain = [True, True, "<ref Thing>", "<ref Thing>", *["nothing"] * 6]
    assert seen == [*plain, *[TypeError] * 7, "nothing", "nothing"]
    assert ran() == before
    assert list(stream) == [0, 1, 2], "no item was taken"


@pytest.mark.parametrize("name", ["IPython.core.completer", "rlcompleter"])
def test_an_expression_that_is_evaluated_to_be_completed_gets_nothing(new, ran, name):
    ref = new("Thing")
    space = {"__name__": name, "names": {"__name__": "__main__", "ref": ref}}
    exec(compile("def evaluate(text): return eval(text, names)", "onlooker.py", "exec"), space)
    with pytest.raises(AttributeError, match="not read to be shown"):
        space["evaluate"]("ref.size")
    assert ran() == []


def test_anybody_else_gets_what_the_object_gives(bridge, new, ran):
    ref = new("Thing", 5)
    assert ref.value == 5
    assert ref[0] == "item"
    assert eval("ref.size") == "size"
    with pytest.raises(RuntimeError, match="must not run"):
        bool(ref)
    assert ran() == ["item", "size", "loud"]


def test_a_handle_is_no_class_for_completers_to_infer_from(new):
    ref = new("Thing")
    assert isinstance(ref, Ref)
    assert inspect.getattr_static(type(ref), "__getitem__").__annotations__ == {}
    assert not hasattr(bridge_ext.StreamRef.__iter__, "__wrapped__")
    assert bridge_ext.StreamRef.__iter__.__annotations__ == {}
