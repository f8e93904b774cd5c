"""Errors of the worker as a user meets them: type, text, chain, traceback, and what they hold."""

from __future__ import annotations

import asyncio
import builtins
import math
import signal
import sys
import threading
import traceback
import types

import pytest

import bridge_ext
from bridge_ext import BridgeError, RefNotFoundError, RemoteError, SessionFullError
from bridge_ext.kernel.wire import limits
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.failure import encode_failure, is_failure
from bridge_ext.kernel.wire.loading import plain
from bridge_ext.kernel.wire.rebuilding import find, rebuild, throw

GROUPS = pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with 3.11")
ExceptionGroup = getattr(builtins, "ExceptionGroup", Exception)
BaseExceptionGroup = getattr(builtins, "BaseExceptionGroup", Exception)
OURS = 0 if sys.version_info >= (3, 11) else 1
"""Lines of the bridge in a traceback, for each function of it that the user called."""

THINGS = '''
import threading

ran = []


class Known(Exception):
    def __init__(self, left, right):
        super().__init__(left, right)
        self.left, self.right = left, right

    class Nested(LookupError):
        pass


class Loud(type):
    """A metaclass that tells whatever is done with its classes."""

    def __getattribute__(cls, name):
        ran.append(name)
        return super().__getattribute__(name)

    def __call__(cls, *args):
        ran.append("call")
        return super().__call__(*args)

    def __instancecheck__(cls, obj):
        ran.append("instancecheck")
        return True

    def __subclasscheck__(cls, sub):
        ran.append("subclasscheck")
        return True

    def __eq__(cls, other):
        ran.append("eq")
        return cls is other

    def __hash__(cls):
        ran.append("hash")
        return 5


class WithMeta(ValueError, metaclass=Loud):
    pass


class Everything(ValueError):
    """An exception that tells whatever is done with it."""

    def __new__(cls, *args):
        ran.append("new")
        return super().__new__(cls, *args)

    def __init__(self, *args):
        ran.append("init")
        super().__init__(*args)

    def __setattr__(self, name, value):
        ran.append("set")
        object.__setattr__(self, name, value)

    def __getattribute__(self, name):
        ran.append("get " + name)
        return object.__getattribute__(self, name)

    def __reduce_ex__(self, protocol):
        ran.append("reduce")
        return Everything, ()

    def __eq__(self, other):
        ran.append("eq")
        return self is other

    def __hash__(self):
        ran.append("hash")
        return 5

    def __bool__(self):
        ran.append("bool")
        return True

    def __len__(self):
        ran.append("len")
        return 0

    @property
    def args(self):
        ran.append("args")
        return ("from the property",)

    @property
    def detail(self):
        ran.append("detail")
        return 1

    @detail.setter
    def detail(self, value):
        ran.append("set detail")


class Slots(Exception):
    __slots__ = ("here", "nowhere")

    def __init__(self, here):
        super().__init__(here)
        self.here = here


class Reduced(Exception):
    def __reduce__(self):
        return open, ("/nowhere/at/all", "w")


class Picky(Exception):
    def __init__(self, *, needed):
        super().__init__("picky", needed)
        self.needed = needed


class OddText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class ExitText(Exception):
    def __str__(self):
        raise SystemExit(3)


class TextOfNumber(Exception):
    def __str__(self):
        return 5


class Str(str):
    def __getitem__(self, index):
        raise RuntimeError("sliced")


class TextOfSubclass(Exception):
    def __str__(self):
        return Str("a text of a subclass")


class Reads(Exception):
    """Its text is made of what cannot travel."""

    def __init__(self, thing):
        super().__init__("reads")
        self.thing = thing

    def __str__(self):
        return f"holds {self.describe()}"

    def describe(self):
        return self.thing.locked()


class ReadsNot(Exception):
    def __init__(self, thing):
        super().__init__("reads not")
        self.thing = thing

    def __str__(self):
        return "constant"


class Registered(type):
    pass


class ReadsWithMeta(Reads, metaclass=Registered):
    pass


class ReadsWithHook(Reads):
    def __init_subclass__(cls):
        ran.append("init_subclass")


class Mixed(KeyError, OSError):
    pass


class Late(OSError, ValueError):
    pass


def throw(name, *args):
    raise globals()[name](*args)


def throw_builtin(name, args):
    import builtins

    raise getattr(builtins, name)(*args)


def int_of(value):
    return int(value)


def caused():
    try:
        int_of("x")
    except ValueError as error:
        raise KeyError("outer", 5) from error


def in_a_row():
    try:
        int_of("x")
    except ValueError:
        {}["missing"]


def suppressed():
    try:
        int_of("x")
    except ValueError:
        raise KeyError("outer") from None


def noted():
    error = ValueError("with notes")
    error.__notes__ = ["the first", "the second\\nof two lines"]
    raise error


def chain(length):
    error = None
    for number in range(length):
        following = ValueError(number)
        following.__cause__ = error
        following.__context__ = error
        error = following
    raise error


def circle(kind):
    first, second = ValueError("first"), ValueError("second")
    setattr(first, kind, second)
    setattr(second, kind, first)
    raise first


def deep(levels=10_000):
    return deep(levels - 1) if levels else None


def generate(count):
    yield from range(count)
    raise Known("after", count)


class Dropping:
    def __del__(self):
        raise ValueError("in a finalizer")


def drop():
    Dropping()
    return "dropped"


class Failing:
    @property
    def value(self):
        raise Known("in", "a property")

    @value.setter
    def value(self, value):
        raise Known("set", value)

    def method(self):
        raise Known("in", "a method")

    def __getitem__(self, key):
        raise Known("item", key)

    def __add__(self, other):
        raise Known("add", other)

    def __radd__(self, other):
        raise Known("radd", other)

    def __len__(self):
        raise Known("len", 0)

    def __call__(self, *args):
        raise Known("call", args)

    def __iter__(self):
        raise Known("iter", 0)

    def __str__(self):
        raise Known("str", 0)

    def __reduce__(self):
        raise Known("reduce", 0)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        raise Known("exit", 0)

    def __delattr__(self, name):
        raise Known("del", name)

    def __format__(self, spec):
        raise Known("format", spec)


def holding():
    error = ValueError("holds", threading.Lock(), [threading.Lock()])
    error.lock, error.number, error.many = threading.Lock(), 5, {"a": [threading.Lock()]}
    raise error


def outer(kind):
    def inner():
        raise kind("of an error")

    raise ConnectionError(inner)


class Unopened:
    def __reduce__(self):
        return _unopened, ()


def _unopened():
    raise Known("while", "unpickled")


def run(source, name="<string>", **names):
    exec(compile(source, name, "exec"), names)
'''


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    """The module of the tests, imported here; the worker finds it beside."""
    folder = tmp_path_factory.mktemp("things")
    (folder / "error_things.py").write_text(THINGS)
    (folder / "error_stranger.py").write_text(STRANGER)
    sys.path.insert(0, str(folder))
    import error_things

    yield error_things
    sys.path.remove(str(folder))
    sys.modules.pop("error_things", None)


STRANGER = '''
"""A module that the kernel never imports."""


class Stranger(KeyError):
    pass


def throw():
    raise Stranger("from", "afar")


def chain():
    try:
        throw()
    except Stranger as error:
        raise ValueError("known") from error
'''


def fail(bridge, name, *args):
    """The error of a call of the module."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - each test looks at the type
        bridge.call(f"error_things.{name}", *args)
    return caught.value


def across(error, hint=None):
    """An error as it arrives: encoded, as bytes, checked and rebuilt."""
    failure = plain.load(pack(encode_failure(error, hint=hint)))
    assert is_failure(failure)
    return rebuild(failure)


def raised(function, *args):
    """The error that a function raises, traceback and all."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - each test looks at the type
        function(*args)
    return caught.value


def frames(error):
    """Function and line of each frame of a traceback."""
    found = traceback.extract_tb(error.__traceback__)
    return [(frame.name, frame.lineno, frame.line) for frame in found]


def text(error):
    """All that Python shows of an error."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def only(error):
    """What Python shows of it below the traceback."""
    return "".join(traceback.format_exception_only(type(error), error))


# --- Types ------------------------------------------------------------------------------------

BUILTIN = sorted(
    {
        t.__name__
        for t in vars(builtins).values()
        if isinstance(t, type) and issubclass(t, BaseException)
    }
)
ARGUMENTS = {
    "UnicodeDecodeError": ("utf-8", b"a\xff", 1, 2, "invalid start byte"),
    "UnicodeEncodeError": ("ascii", "a\xe9", 1, 2, "not in range"),
    "UnicodeTranslateError": ("a\xe9", 1, 2, "no such"),
    "OSError": (2, "No such file", "here", None, "there"),
    "SyntaxError": ("invalid syntax", ("file.py", 3, 5, "x = = 1\n", 3, 6)),
    "IndentationError": ("unexpected indent", ("file.py", 3, 2, "  x\n", 3, 3)),
    "TabError": ("inconsistent use of tabs", ("file.py", 3, 2, "  x\n", 3, 3)),
    "_IncompleteInputError": ("incomplete input", ("file.py", 3, 2, "  x\n", 3, 3)),
    "ExceptionGroup": ("some", [ValueError(1), KeyError("k")]),
    "BaseExceptionGroup": ("some", [ValueError(1), KeyboardInterrupt()]),
}


def make(name):
    return getattr(builtins, name)(*ARGUMENTS.get(name, ("text", 5)))


@pytest.mark.parametrize("name", BUILTIN)
def test_every_builtin_exception_arrives(name):
    error = make(name)
    back = across(error)
    if not isinstance(error, Exception):
        assert type(back) is RemoteError
        assert back.type_name == name
        assert back.message.startswith(str(error))
        return
    assert type(back) is type(error)
    assert str(back) == str(error)
    if name != "ExceptionGroup":
        assert back.args == error.args
        assert only(back) == only(error)


def test_every_builtin_exception_is_caught_as_itself(bridge):
    skipped = {"KeyboardInterrupt"} if "memory" in repr(bridge) else set()  # there it is the user's
    for name in {n for n in BUILTIN if "Group" not in n} - skipped:
        cls = getattr(builtins, name)
        expected = cls if issubclass(cls, Exception) else RemoteError
        with pytest.raises(expected) as caught:
            bridge.call("error_things.throw_builtin", name, ARGUMENTS.get(name, ("text", 5)))
        assert type(caught.value) in (expected, type(make(name)))
    assert bridge.call("math.sqrt", 4) == 2


def odd_errors():
    """Errors of the standard library with constructors, texts and fields of their own."""
    import configparser
    import csv
    import decimal
    import email.errors
    import http.client
    import io
    import json
    import pickle
    import queue
    import re
    import shutil
    import socket
    import sqlite3
    import ssl
    import statistics
    import struct
    import subprocess
    import urllib.error
    import xml.etree.ElementTree as tree
    import zipfile
    import zlib
    import zoneinfo

    with_name = ImportError("no module", name="numpyy", path="/somewhere")
    changed = SyntaxError("changed")
    changed.filename, changed.lineno, changed.text, changed.offset = "f.py", 7, "x = = 1", 5
    moved = OSError(2, "text")
    moved.filename = "later"
    return [
        raised(open, "/nowhere/at/all"),
        raised(compile, "x = (1\ny", "gen.py", "exec"),
        raised(b"\xff".decode),
        raised("\ud800".encode),
        raised(json.loads, "{broken"),
        raised(re.compile, "(" * 3),
        raised(tree.fromstring, "<a><b></a>"),
        decimal.InvalidOperation("text"),
        raised(zlib.decompress, b"x"),
        raised(struct.unpack, "i", b"x"),
        raised(int, "9" * 5000),
        raised(configparser.ConfigParser().read_string, "no section = 1"),
        raised(zoneinfo.ZoneInfo, "No/Such"),
        raised(pickle.loads, b"x"),
        raised(statistics.mean, []),
        raised(getattr, 5, "nope"),
        raised(eval, "nope"),
        raised(next, iter(())),
        subprocess.CalledProcessError(3, ["a", "b"], "out", "err"),
        subprocess.TimeoutExpired(["a"], 5.0, b"out"),
        urllib.error.HTTPError("http://host", 404, "Not Found", {"a": "b"}, None),
        urllib.error.URLError("refused"),
        http.client.IncompleteRead(b"partial", 5),
        http.client.BadStatusLine("x"),
        socket.gaierror(-2, "Name or service not known"),
        TimeoutError("timed out"),
        ssl.SSLError(1, "[SSL] wrong version"),
        sqlite3.OperationalError("no such table"),
        asyncio.IncompleteReadError(b"ab", 5),
        asyncio.TimeoutError(),
        queue.Empty(),
        io.UnsupportedOperation("read"),
        shutil.SameFileError("same"),
        zipfile.BadZipFile("bad"),
        csv.Error("csv"),
        email.errors.MessageParseError("bad"),
        BlockingIOError(11, "would block", 5),
        OSError(2, "text", "a", None, "b"),
        OSError("only text"),
        OSError(),
        with_name,
        changed,
        moved,
        KeyError("key"),
        KeyError(),
        StopIteration([1, 2]),
        AssertionError("\ud800"),
        ValueError(10**200, -1.5, math.inf, {"a": (1, b"x")}),
    ]


@pytest.mark.parametrize("error", odd_errors(), ids=lambda e: f"{type(e).__name__} {e!s:.20}")
def test_errors_of_the_standard_library_arrive_as_they_were(error):
    back = across(error)
    assert type(back) is type(error)
    assert repr(back.args) == repr(error.args)
    assert str(back) == str(error)
    assert only(back) == only(error)
    kept = {k: v for k, v in vars(error).items() if type(v) in (int, str, bytes, float)}
    assert kept.items() <= vars(back).items()


FIELDS = {
    FileNotFoundError: ("errno", "strerror", "filename", "filename2"),
    SyntaxError: ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
    UnicodeDecodeError: ("encoding", "object", "start", "end", "reason"),
    ImportError: ("name", "path", "msg"),
    NameError: ("name",),
    StopIteration: ("value",),
}


@pytest.mark.parametrize("error", odd_errors(), ids=lambda e: f"{type(e).__name__} {e!s:.20}")
def test_fields_of_builtin_errors_arrive(error):
    back = across(error)
    for field in FIELDS.get(type(error), ()):
        assert getattr(back, field) == getattr(error, field), field


def test_an_attribute_error_keeps_its_name_and_not_its_object():
    back = across(raised(getattr, {}, "nope"))
    assert back.name == "nope"
    assert back.obj is None  # "did you mean" would be looked for in a stand-in


def test_an_import_error_imports_nothing_when_it_is_shown():
    error = raised(exec, "from this import no_such_thing")
    sys.modules.pop("this", None)
    shown = text(across(error))
    assert "cannot import name 'no_such_thing'" in shown
    assert "this" not in sys.modules


def test_errors_of_the_libraries_of_the_user_are_caught_as_such(local):
    exceptions = pytest.importorskip("sklearn.exceptions")
    import pandas

    model = local.new("sklearn.linear_model.LinearRegression")
    with pytest.raises(exceptions.NotFittedError, match="not fitted yet") as caught:
        model.predict([[1.0]])
    assert type(caught.value) is exceptions.NotFittedError
    with pytest.raises(pandas.errors.ParserError):
        local.call("pandas.read_csv", local.call("io.StringIO", "a,b\n1,2\n4,5,6,7\n"))


def test_a_class_of_the_users_module_is_that_class(bridge, things):
    error = fail(bridge, "throw", "Known", 1, "two")
    assert type(error) is things.Known
    assert (error.args, error.left, error.right) == ((1, "two"), 1, "two")


def test_a_nested_class_is_found(bridge, things):
    assert type(across(things.Known.Nested("x"))) is things.Known.Nested


def test_a_class_of_the_main_module_is_that_class(monkeypatch):
    class Mine(Exception):
        pass

    Mine.__module__, Mine.__qualname__ = "__main__", "Mine"
    assert type(across(Mine("x"))) is RemoteError
    monkeypatch.setattr(sys.modules["__main__"], "Mine", Mine, raising=False)
    assert type(across(Mine("x"))) is Mine


def test_a_local_class_and_a_made_one_are_remote_errors():
    class Local(Exception):
        pass

    made = type("Made", (ValueError,), {})
    for cls in (Local, made):
        back = across(cls("text", 5))
        assert type(back) is RemoteError
        assert back.type_name.endswith(cls.__qualname__)
        assert back.message == "('text', 5)"


def test_a_type_that_the_kernel_has_not_imported_is_a_remote_error(local):
    with pytest.raises(RemoteError) as caught:
        local.call("error_stranger.throw")
    assert caught.value.type_name == "error_stranger.Stranger"
    assert caught.value.message == "('from', 'afar')"
    assert "error_stranger" not in sys.modules


def test_nothing_is_imported_for_a_cause_either(local):
    with pytest.raises(ValueError, match="known") as caught:
        local.call("error_stranger.chain")
    assert type(caught.value.__cause__) is RemoteError
    assert caught.value.__cause__.type_name == "error_stranger.Stranger"
    assert "error_stranger" not in sys.modules


class Lazy(types.ModuleType):
    """A module that loads what it is asked for."""

    asked: list[str] = []  # noqa: RUF012 - the tests read it

    def __getattribute__(self, name):
        Lazy.asked.append(name)
        return super().__getattribute__(name)

    def __getattr__(self, name):
        Lazy.asked.append(name)
        return KeyError


class NoModule:
    """Something else in the place of a module."""

    def __getattribute__(self, name):
        Lazy.asked.append(name)
        return object.__getattribute__(self, name)

    @property
    def __dict__(self):
        return {"Error": KeyError}


@pytest.mark.parametrize(
    "module", [Lazy("error_lazy"), NoModule(), None], ids=["a class", "an object", "None"]
)
def test_a_lazy_module_is_not_asked(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "error_lazy", module)
    Lazy.asked.clear()
    assert find("error_lazy", "Error") is None
    assert Lazy.asked == []


def test_a_class_in_a_lazy_module_is_found_where_it_is(monkeypatch):
    module = Lazy("error_lazy")
    vars(module)["Error"] = KeyError
    monkeypatch.setitem(sys.modules, "error_lazy", module)
    Lazy.asked.clear()
    assert find("error_lazy", "Error") is KeyError
    assert Lazy.asked == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "open"),
        ("builtins", "int"),
        ("builtins", "KeyboardInterrupt"),
        ("builtins", "BaseException"),
        ("os", "path"),
        ("os", "path.join"),
        ("os", "environ.get"),
        ("sys", "modules"),
        ("no.such", "Error"),
        ("builtins", ""),
        ("", "ValueError"),
        ("builtins", "ValueError.__class__"),
    ],
)
def test_what_is_no_exception_is_not_found(module, name):
    assert find(module, name) is None


# --- No code of a class runs ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Everything", "WithMeta"])
def test_no_code_of_the_class_runs_when_it_is_made(things, name):
    cls = vars(things)[name]
    failure = encode_failure(cls("a", 5))
    failure[3].update(detail=5, other=6)  # `detail` is a property with a setter
    del things.ran[:]
    error = rebuild(failure)
    assert things.ran == []
    assert type(error) is cls
    assert BaseException.args.__get__(error) == ("a", 5)
    fields = BaseException.__dict__["__dict__"].__get__(error)
    assert fields["other"] == 6


@pytest.mark.parametrize("name", ["Everything", "WithMeta"])
def test_no_code_of_the_class_runs_on_its_way_to_the_user(local, things, name):
    del things.ran[:]
    try:
        local.call("error_things.throw", name, "a")
    except ValueError as error:
        caught = error
    checks = ["subclasscheck"] * len(things.ran)  # Python asks, whoever raises it
    assert things.ran == (checks if name == "WithMeta" else [])
    assert type(caught) is vars(things)[name]


def test_arguments_are_what_they_are_not_what_a_property_says(things):
    assert BaseException.args.__get__(across(things.Everything("true"))) == ("true",)


def test_slots_are_filled_and_unset_ones_left(things):
    back = across(things.Slots("value"))
    assert type(back) is things.Slots
    assert back.here == "value"
    assert not hasattr(back, "nowhere")


def test_a_pickle_of_the_error_is_never_made(things):
    back = across(things.Reduced("x"))
    assert type(back) is things.Reduced
    assert back.args == ("x",)


def test_a_constructor_that_wants_more_is_not_asked(things):
    back = across(things.Picky(needed=5))
    assert type(back) is things.Picky
    assert (back.args, back.needed) == (("picky", 5), 5)


def test_arguments_that_were_changed_arrive_as_they_are():
    for error in (UnicodeDecodeError("utf-8", b"x", 0, 1, "r"), OSError(2, "text"), KeyError()):
        error.args = ("changed", 5)
        assert across(error).args == ("changed", 5)


def test_bases_of_several_layouts_are_made(things):
    for error in (things.Mixed("k"), things.Late(2, "text")):
        back = across(error)
        assert type(back) is type(error)
        assert (back.args, str(back)) == (error.args, str(error))


# --- Values that do not travel ----------------------------------------------------------------


def test_what_cannot_travel_is_a_text(bridge):
    error = fail(bridge, "holding")
    assert type(error) is ValueError
    first, lock, locks = error.args
    assert first == "holds"
    assert "lock" in lock
    assert "lock" in locks[0]
    assert error.number == 5
    assert "lock" in error.lock
    assert "lock" in error.many["a"][0]
    assert bridge.refs() == []


def test_an_only_argument_that_stays_behind_is_as_it_would_be_shown():
    inner = ValueError("refused")
    back = across(ConnectionError(inner))
    assert type(back) is ConnectionError
    assert str(back) == str(ConnectionError(inner)) == "refused"


def test_a_kind_of_text_or_number_is_a_text_or_a_number():
    class Text(str):
        __slots__ = ()

    back = across(ValueError(Text("text"), signal.SIGINT, Text("x" * 5_000)))
    assert back.args[:2] == ("text", 2)
    assert {type(arg) for arg in back.args} == {str, int}
    assert len(back.args[2]) < 500


@pytest.mark.parametrize("size", [2 << 20, 40 << 20])
def test_huge_arguments_are_left_behind(size):
    error = ValueError("before", b"x" * size, "after", list(range(100)))
    error.big, error.small = "x" * size, 5
    failure = encode_failure(error)
    assert len(pack(failure)) < 2 << 20
    back = rebuild(failure)
    assert type(back) is ValueError
    assert (back.args[0], back.args[2:]) == ("before", ("after", list(range(100))))
    assert "too large" in back.args[1] or "x" in back.args[1]
    assert back.small == 5
    assert "too large" in back.big


def test_a_huge_text_is_cut_and_says_so():
    error = across(ValueError("x" * 3_000_000))
    assert type(error) is ValueError
    assert "2,900,000 characters left out" in str(error)


def test_an_error_of_a_builtin_with_huge_arguments_keeps_its_type():
    back = across(UnicodeDecodeError("utf-8", b"x" * (2 << 20), 5, 6, "invalid"))
    assert type(back) is UnicodeDecodeError
    assert str(back)
    assert back.reason == "invalid"


def test_a_field_that_is_an_argument_too_is_sent_once():
    error = UnicodeDecodeError("utf-8", b"x" * 400_000, 5, 6, "invalid")
    assert len(pack(encode_failure(error))) < 500_000
    assert across(error).object == error.object


def test_many_attributes_stay_within_the_limit():
    error = ValueError("many")
    vars(error).update({f"name{n}": "x" * 100 for n in range(100_000)})
    assert len(pack(encode_failure(error))) < 4 << 20
    assert type(across(error)) is ValueError


@pytest.mark.parametrize("name", ["OddText", "ExitText", "TextOfNumber"])
def test_a_text_that_cannot_be_had_is_survived(bridge, things, name):
    error = fail(bridge, "throw", name, "arg")
    assert type(error) is vars(things)[name]
    assert error.args == ("arg",)
    assert bridge.call("math.sqrt", 4) == 2


def test_a_text_of_a_subclass_is_plain_text(things):
    failure = encode_failure(things.TextOfSubclass("x"))
    assert type(failure[4]) is str
    assert failure[4] == "a text of a subclass"


def test_names_that_are_no_plain_strings_arrive():
    class Name(str):
        __slots__ = ()

    made = type("Odd", (ValueError,), {"__module__": Name("m")})
    made.__qualname__ = Name("Odd")
    assert type(across(made("x"))) is RemoteError


# --- The text of a class that reads what stayed behind ----------------------------------------


def test_a_class_whose_text_needs_what_stayed_behind_says_what_it_said(things):
    error = things.Reads(threading.Lock())
    back = across(error)
    assert isinstance(back, things.Reads)
    assert type(back).__name__ == "Reads"
    assert type(back).__module__ == "error_things"
    assert str(back) == str(error) == "holds False"
    assert only(back) == only(error)


def test_a_class_whose_text_needs_nothing_is_itself(things):
    assert type(across(things.ReadsNot(threading.Lock()))) is things.ReadsNot
    assert type(across(things.Reads("a text"))) is things.Reads


@pytest.mark.parametrize("name", ["ReadsWithMeta", "ReadsWithHook"])
def test_where_making_a_class_runs_code_a_note_has_the_text(things, name):
    cls = vars(things)[name]
    failure = encode_failure(cls(threading.Lock()))
    del things.ran[:]
    back = rebuild(failure)
    assert things.ran == []
    assert type(back) is cls
    assert "holds False" in back.__notes__[0]


def test_numpys_memory_error_can_be_shown(local):
    pytest.importorskip("numpy")
    with pytest.raises(MemoryError, match="Unable to allocate") as caught:
        local.call("numpy.ones", (10**9, 10**9))
    assert type(caught.value).__name__ == "_ArrayMemoryError"
    assert only(caught.value).startswith("numpy._core._exceptions._ArrayMemoryError: Unable") or (
        only(caught.value).startswith("numpy.core._exceptions._ArrayMemoryError: Unable")
    )


# --- Notes, chains, groups --------------------------------------------------------------------


def test_notes_are_kept(bridge):
    error = fail(bridge, "noted")
    assert error.__notes__ == ["the first", "the second\nof two lines"]


def test_odd_notes_do_no_harm():
    for notes in ("text", 5, [5, "kept", None], ["x"] * 100_000, {"a": 1}):
        error = ValueError("x")
        vars(error)["__notes__"] = notes
        back = across(error)
        assert all(type(note) is str for note in getattr(back, "__notes__", ()))
        assert len(getattr(back, "__notes__", ())) <= limits.MAX_NOTES


def test_a_cause_is_an_exception_of_its_type(bridge):
    error = fail(bridge, "caused")
    assert (type(error), error.args) == (KeyError, ("outer", 5))
    assert type(error.__cause__) is ValueError
    assert error.__cause__.args == ("invalid literal for int() with base 10: 'x'",)
    assert error.__context__ is error.__cause__
    assert error.__suppress_context__
    assert "direct cause" in text(error)
    assert ("int_of [in the worker]", "return int(value)") in [
        (name, line) for name, _, line in frames(error.__cause__)
    ]


def test_a_context_is_an_exception_of_its_type(bridge):
    error = fail(bridge, "in_a_row")
    assert (type(error), error.args) == (KeyError, ("missing",))
    assert error.__cause__ is None
    assert type(error.__context__) is ValueError
    assert not error.__suppress_context__
    assert "During handling" in text(error)


def test_a_suppressed_context_stays_suppressed(bridge):
    error = fail(bridge, "suppressed")
    assert type(error.__context__) is ValueError
    assert error.__suppress_context__
    assert "ValueError" not in text(error)


def test_what_is_handled_here_is_the_end_of_the_chain(local):
    here = ZeroDivisionError("here")
    try:
        raise here
    except ZeroDivisionError:
        simple, row, caused = (fail(local, *x) for x in (["int_of", "x"], ["in_a_row"], ["caused"]))
    assert simple.__context__ is here
    assert type(row.__context__) is ValueError
    assert row.__context__.__context__ is here
    assert type(caused.__cause__) is ValueError
    assert caused.__cause__.__context__ is here


def test_nothing_is_left_of_an_error_that_was_thrown():
    error = ValueError("x")
    error.__context__ = KeyError("y")
    with pytest.raises(ValueError, match="x"):
        throw(error)
    assert type(error.__context__) is KeyError
    assert error.__context__.__context__ is None


def test_a_long_chain_arrives_cut(bridge):
    error = fail(bridge, "chain", 1_000)
    links = []
    link = error
    while link is not None:
        links.append(link)
        link = link.__cause__
    assert [e.args for e in links[: limits.MAX_ERRORS]] == [
        (number,) for number in range(999, 999 - limits.MAX_ERRORS, -1)
    ]
    assert type(links[-1]) is RemoteError
    assert len(links) == limits.MAX_ERRORS + 1
    assert "left out" in str(links[-1])
    assert "999" in text(error)


@pytest.mark.parametrize("kind", ["__cause__", "__context__"])
def test_a_chain_that_goes_in_circles_arrives(bridge, kind):
    error = fail(bridge, "circle", kind)
    assert error.args == ("first",)
    assert getattr(error, kind).args == ("second",)
    assert "second" in text(error)
    link = error
    for _ in range(10):  # IPython follows contexts without looking for circles
        link = link.__context__ if link is not None else None
    assert link is None


def test_chains_that_meet_are_not_doubled():
    error = ValueError(0)
    for number in range(1, 60):
        following = ValueError(number)
        following.__cause__ = following.__context__ = error
        error = following
    failure = encode_failure(error)
    assert len(failure[-1]) == 59
    assert len(pack(failure)) < 10_000


@GROUPS
def test_a_group_has_its_members():
    inner = ExceptionGroup("inner", [KeyError("k"), ValueError("shared")])
    shared = inner.exceptions[1]
    outer = ExceptionGroup("outer", [inner, shared, OSError()])
    back = across(outer)
    assert type(back) is ExceptionGroup
    assert back.message == "outer"
    assert type(back.exceptions[0]) is ExceptionGroup
    assert back.exceptions[0].exceptions[0].args == ("k",)
    assert back.exceptions[0].exceptions[1] is back.exceptions[1]
    matching, rest = back.split(ValueError)
    assert len(matching.exceptions) == 2
    assert type(rest) is ExceptionGroup


@GROUPS
def test_a_group_is_caught_by_its_members(bridge):
    source = "raise ExceptionGroup('many', [ValueError(1), KeyError('k')])"
    with pytest.raises(ExceptionGroup) as caught:
        bridge.call("error_things.run", source)
    assert [type(e) for e in caught.value.exceptions] == [ValueError, KeyError]
    assert "many (2 sub-exceptions)" in text(caught.value)


@GROUPS
def test_a_member_of_an_unknown_type_is_a_remote_error():
    class Local(Exception):
        pass

    back = across(ExceptionGroup("x", [Local("a"), ValueError("b")]))
    assert [type(e) for e in back.exceptions] == [RemoteError, ValueError]


@GROUPS
def test_a_group_of_exits_and_one_of_an_unknown_type_list_their_members():
    class Mine(ExceptionGroup):
        pass

    for group in (
        BaseExceptionGroup("x", [SystemExit(3), ValueError("b")]),
        Mine("x", [OSError()]),
    ):
        back = across(group)
        assert type(back) is RemoteError
        assert back.type_name.endswith(type(group).__qualname__)
    assert "1. OSError" in back.message


@GROUPS
def test_a_group_of_many_is_cut():
    back = across(ExceptionGroup("x", [ValueError(n) for n in range(1_000)]))
    assert len(back.exceptions) == 1_000
    assert back.exceptions[98].args == (98,)
    assert all(type(e) is RemoteError for e in back.exceptions[limits.MAX_ERRORS :])


@GROUPS
def test_a_member_may_be_raised_while_its_group_was_handled():
    member = ValueError("m")
    group = ExceptionGroup("g", [member])
    member.__context__ = group
    back = across(group)
    assert back.exceptions[0].__context__ is back


# --- Errors of the bridge ---------------------------------------------------------------------


def test_an_error_of_ours_keeps_its_fields_and_has_no_remote_traceback(bridge):
    ref = bridge.new("list")
    bridge.release(ref)
    with pytest.raises(RefNotFoundError) as caught:
        len(ref)
    assert caught.value.reason == "released"
    assert bridge.traceback() == ""


def test_an_error_of_ours_from_the_worker_has_no_remote_traceback_either(bridge):
    fail(bridge, "int_of", "x")
    with bridge.session("full", max_refs=1), pytest.raises(SessionFullError) as caught:
        bridge.call("eval", "[object(), object()]")
    assert caught.value.max_refs == 1
    assert not any("in the worker" in name for name, _, _ in frames(caught.value))
    assert "int_of" in bridge.traceback()  # that is still the last


def test_an_error_of_ours_keeps_what_caused_it(bridge, things):
    ref = bridge.new("error_things.Failing")
    with pytest.raises(bridge_ext.EncodeError) as caught:
        bridge.fetch(ref)
    assert type(caught.value.__cause__ or caught.value.__context__) is things.Known


@pytest.mark.parametrize("args", [["x"], [1, 2, 3, 4, 5, 6, 7], [[], []]])
def test_an_error_of_ours_with_other_arguments_is_a_remote_error(args):
    failure = encode_failure(RefNotFoundError("a", "released"))
    failure[2] = args
    back = rebuild(failure)
    assert isinstance(back, BridgeError)
    assert str(back)


# --- Where errors come from -------------------------------------------------------------------

PLACES = {
    "call": lambda b, r: b.call("error_things.throw", "Known", 1, 2),
    "call by module": lambda b, r: b.module("error_things").throw("Known", 1, 2),
    "new": lambda b, r: b.new("error_things.throw", "Known", 1, 2),
    "method": lambda b, r: r.method(),
    "spelled-out method": lambda b, r: b.method(r, "method"),
    "attribute": lambda b, r: r.value,
    "spelled-out attribute": lambda b, r: b.get(r, "value"),
    "setting": lambda b, r: setattr(r, "value", 5),
    "spelled-out setting": lambda b, r: b.set(r, "value", 5),
    "deleting": lambda b, r: delattr(r, "value"),
    "item": lambda b, r: r[3],
    "operator": lambda b, r: r + 5,
    "reflected operator": lambda b, r: 5 + r,
    "len": lambda b, r: len(r),
    "a call of the object": lambda b, r: r(5),
    "iterating": lambda b, r: iter(r),
    "str": lambda b, r: str(r),
    "format": lambda b, r: f"{r:>5}",
    "leaving a context": lambda b, r: leave(r),
    "helper": lambda b, r: b.helper("helping", "Known", 1, 2),
    "stream": lambda b, r: b.stream("error_things.throw", "Known", 1, 2),
    "a stream's items": lambda b, r: list(b.stream("error_things.generate", 3)),
    "a generator's items": lambda b, r: list(b.call("error_things.generate", 3)),
    "options": lambda b, r: b.options(fetch=True).call("error_things.throw", "Known", 1, 2),
    "a future": lambda b, r: b.submit("error_things.throw", "Known", 1, 2).result(),
    "a coroutine": lambda b, r: asyncio.run(awaited(b)),
    "a batch": lambda b, r: batched(b).result(),
    "a whole with fetch": lambda b, r: b.options(fetch=False).method(r, "method"),
}


async def awaited(bridge):
    return await bridge.acall("error_things.throw", "Known", 1, 2)


def batched(bridge):
    with bridge.batch() as batch:
        return batch.call("error_things.throw", "Known", 1, 2)


def leave(ref):
    with ref:
        pass


@pytest.fixture
def failing(bridge):
    bridge.register_helper(helping)
    return bridge.new("error_things.Failing")


def helping(name, *args):
    import error_things

    raise getattr(error_things, name)(*args)


@pytest.mark.parametrize("place", PLACES)
def test_an_error_is_the_users_wherever_it_comes_from(bridge, things, failing, place):
    with pytest.raises(things.Known) as caught:
        PLACES[place](bridge, failing)
    error = caught.value
    assert type(error) is things.Known
    assert error.__context__ is error.__cause__ is None  # nothing of how it came here
    assert "error_things" in bridge.traceback()
    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert names[0] == __file__
    assert sum("bridge_ext" in name for name in names) <= OURS
    assert frames(error)[-1][0].endswith(" [in the worker]")


def test_items_before_an_error_in_a_stream_arrive(bridge, things):
    got = []
    with pytest.raises(things.Known):
        got.extend(bridge.stream("error_things.generate", 3))
    assert got == [0, 1, 2]


def test_an_error_in_an_argument_that_is_opened_there(local, things):
    with pytest.raises(things.Known, match="unpickled"):
        local.put(things.Unopened())


def test_an_error_in_a_finalizer_is_no_error_of_the_call(local):
    assert local.call("error_things.drop") == "dropped"


def test_a_recursion_error_arrives_with_its_frames(bridge):
    error = fail(bridge, "deep")
    assert type(error) is RecursionError
    assert len(frames(error)) > 100
    assert "repeated" in text(error)
    assert bridge.call("math.sqrt", 4) == 2


def test_an_asynchronous_stream_raises_it_too(bridge, things):
    async def collect():
        return [item async for item in bridge.stream("error_things.generate", 2)]

    with pytest.raises(things.Known) as caught:
        asyncio.run(collect())
    names = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert sum("bridge_ext" in name for name in names) <= OURS
