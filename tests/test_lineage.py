"""What is said of an object runs none of its code: not its class's, and not its metaclass's."""

from __future__ import annotations

import datetime
import fractions
import sys
import types
import uuid

import pytest

from bridge_ext.kernel.worker import looking
from bridge_ext.kernel.worker.introspect import facts, kind_of, own_dict, type_record
from bridge_ext.kernel.worker.keys import columns_of, keys_of
from bridge_ext.kernel.worker.looking import LOOKS, Seen
from bridge_ext.kernel.worker.previews import preview
from bridge_ext.kernel.worker.sizing import measure

ran = []


def run(*args, **kwargs):
    """Code of the user's. What it raises may be survived, so it is noted as well."""
    ran.append(sys._getframe(1).f_code.co_name)
    raise AssertionError("the user's code was run")


HOOKS = (
    *("__getattr__", "__getattribute__", "__len__", "__iter__", "__getitem__", "__sizeof__"),
    *("__repr__", "__str__", "__format__", "__eq__", "__hash__", "__bool__", "__contains__"),
    *("__index__", "__int__", "__dir__", "__reduce_ex__", "keys", "items", "values", "copy"),
)
PROPERTIES = ("__class__", "shape", "dtype", "nbytes", "columns", "index", "name", "size", "ndim")


class Meta(type):
    """Asks to be told of everything that somebody asks its classes."""

    __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = run
    __getattribute__ = __repr__ = __bool__ = __len__ = __iter__ = __call__ = run


def hostile(base=object, **more):
    """An instance of a class that derives from a base and hides all there is."""
    space = {
        **dict.fromkeys(HOOKS, run),
        **dict.fromkeys(PROPERTIES, property(run)),
        "__module__": "users",
        **more,
    }
    cls = type.__new__(Meta, "Hostile", (base,), space)
    return base.__new__(cls)


def with_dict_property():
    return hostile(__dict__=property(run), __slots__=())


def descriptor():
    """What stands in a class may be of a hostile class as well."""
    return type("Holder", (), {"__dict__": hostile(), "member": hostile(), "__slots__": ()})()


def claiming(module, name):
    """An instance of a class that says that it is a library's."""
    made = hostile(__module__=module)
    type.__setattr__(type(made), "__qualname__", name)
    return made


class Zone(datetime.tzinfo):
    __repr__ = __str__ = utcoffset = run


def of_ints_that_are_none(cls, *names):
    made = cls.__new__(cls)
    for name in names:
        object.__setattr__(made, name, hostile())
    return made


class Plain:
    def __init__(self, value):
        self.value = value


class Named(types.ModuleType):
    __getattr__ = run


def module_with_a_hostile_path():
    module = types.ModuleType("hostile_module")
    module.__path__ = module.__all__ = hostile()
    return module


def frame_of_hostile(kind):
    pandas = pytest.importorskip("pandas")
    made = {
        "frame": lambda: pandas.DataFrame({"a": [hostile_value()]}, dtype=object),
        "series": lambda: pandas.Series([hostile_value()], dtype=object),
        "index": lambda: pandas.Index([hostile_value()], dtype=object),
    }[kind]()
    assert ran == []
    return made


def hostile_value():
    """Whose type pandas may ask what it likes while it makes a frame of it."""
    return type("Value", (), {"__repr__": run, "__sizeof__": run, "__str__": run})()


def subclass(module, name, make):
    """An instance of a class of the user's that derives from one of a library."""
    base = getattr(pytest.importorskip(module), name)
    space = {"nbytes": property(run), "shape": property(run), "__len__": run, "memory_usage": run}
    more = {"dtype": property(run), "buffers": run, "__iter__": run, "__getitem__": run}
    return make(base, type(base)("Mine", (base,), {**space, **more}))


def index_of_mine(base, mine):
    made = base([1, 2, 3])
    other = object.__new__(mine)
    other.__dict__.update(made.__dict__)
    return other


def extension_array():
    arrow = pytest.importorskip("pyarrow")

    class Mine(arrow.ExtensionArray):
        nbytes = property(run)
        buffers = __len__ = run

    class Type(arrow.ExtensionType):
        def __init__(self):
            super().__init__(arrow.int64(), "tests.mine")

        def __arrow_ext_serialize__(self):
            return b""

        def __arrow_ext_class__(self):
            return Mine

    return arrow.ExtensionArray.from_storage(Type(), arrow.array([1, 2, 3]))


OBJECTS = {
    "object": hostile,
    "list": lambda: hostile(list),
    "dict": lambda: hostile(dict),
    "tuple": lambda: hostile(tuple),
    "str": lambda: hostile(str),
    "bytes": lambda: hostile(bytes),
    "int": lambda: hostile(int),
    "set": lambda: hostile(set),
    "bytearray": lambda: hostile(bytearray),
    "exception": lambda: hostile(ValueError),
    "dict property": with_dict_property,
    "class attributes": descriptor,
    "class": lambda: type(hostile()),
    "module": module_with_a_hostile_path,
    "module class": lambda: Named("named"),
    "says numpy": lambda: claiming("numpy", "ndarray"),
    "says pandas": lambda: claiming("pandas.core.frame", "DataFrame"),
    "says pyarrow": lambda: claiming("pyarrow.lib", "Table"),
    "says torch": lambda: claiming("torch", "Tensor"),
    "says polars": lambda: claiming("polars.dataframe.frame", "DataFrame"),
    "says sqlite": lambda: claiming("sqlite3", "Row"),
    "in a list": lambda: [hostile(), hostile(list), (hostile(int),)],
    "in a dict": lambda: {1: hostile(), (1, 2): hostile(dict)},
    "in an instance": lambda: Plain(hostile()),
    "bound": lambda: list.append.__get__(hostile(list)),
    "time": lambda: datetime.time(12, tzinfo=Zone()),
    "datetime": lambda: datetime.datetime(2024, 1, 2, tzinfo=Zone()),
    "fraction": lambda: of_ints_that_are_none(fractions.Fraction, "_numerator", "_denominator"),
    "uuid": lambda: of_ints_that_are_none(uuid.UUID, "int"),
    "frame": lambda: frame_of_hostile("frame"),
    "series": lambda: frame_of_hostile("series"),
    "index": lambda: frame_of_hostile("index"),
    "own index": lambda: subclass("pandas", "Index", index_of_mine),
    "own array": lambda: subclass("numpy", "ndarray", lambda base, mine: base.__new__(mine, (3,))),
    "own arrow": extension_array,
}


@pytest.fixture(autouse=True)
def nothing_of_the_users_runs():
    ran.clear()
    yield
    assert ran == []


@pytest.fixture(params=OBJECTS)
def make(request):
    """Makes the object; not the object, which pytest would show."""

    def make():
        made = OBJECTS[request.param]()
        ran.clear()  # a library may ask what it is given when it makes an object of it
        return made

    return make


def test_facts(make):
    assert type(facts(make())[2]) is int


def test_the_record_of_its_type(make):
    t = type(make())
    assert type(type_record(t, 1)[1]) is str
    assert kind_of(t) in ("class", "function", "object")


def test_its_weight(make):
    assert measure(make(), (None, None, 7, True), 60.0).nbytes > 0


def test_its_preview(make):
    assert type(preview(make())) is str


def test_its_keys_names_and_help(make, monkeypatch):
    seen = Seen(make())
    monkeypatch.setattr(looking, "find", lambda *place: seen)
    assert type(keys_of(seen.obj)) is list
    assert type(columns_of(seen.obj)) is list
    assert own_dict(seen.obj) is not None
    LOOKS["names"](None, [1, "s", 1], [])
    LOOKS["help"](None, [1, "s", 1], [], True)


def test_a_time_of_a_zone_shows_without_it():
    assert preview(datetime.time(12, 30, tzinfo=Zone())) == "datetime.time(12, 30)"


def test_plain_values_show_as_they_are():
    plain = (fractions.Fraction(1, 3), uuid.UUID(int=7), len, [].append, str.join)
    texts = ["Fraction(1, 3)", "UUID('00000000-0000-0000-0000-000000000007')", "builtins.len"]
    assert [preview(x) for x in plain] == [*texts, "list.append", ""]
