"""Neither side trusts the other: what a worker refuses by itself, and what a kernel does.

Requests here are made by hand and bypass every check of the kernel; replies come from a fake
worker, a peer at the other end of the sockets.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import sys
import threading

import msgpack
import pytest
from conftest import DEADLINE, eventually
from hypothesis import given
from hypothesis import strategies as st
from test_arrays import LIES, record
from test_backends import (
    DATA_SOCKET,
    Books,
    Gate,
    InThread,
    argument,
    config,
    named,
    open_books,
    opened,
)

import bridge_ext
from bridge_ext import (
    CallTimeoutError,
    EncodeError,
    ProtocolError,
    RemoteError,
    WorkerDiedError,
)
from bridge_ext.kernel.backends.base import Backend, Deadline, Death, Died
from bridge_ext.kernel.backends.local import LocalConnection
from bridge_ext.kernel.wire import limits
from bridge_ext.kernel.wire.channel import Channel
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.framing import HEADER, MAGIC, Kind, Placed, build, small
from bridge_ext.kernel.wire.heads import DISPLAY_MARK
from bridge_ext.kernel.wire.loading import plain
from bridge_ext.kernel.wire.marks import MARKS, Ext
from bridge_ext.kernel.wire.payload import FIELDS, CallType
from bridge_ext.kernel.wire.payload import base as common
from bridge_ext.kernel.wire.segments import create

PROBE = '''
log = []
class Thing:
    """Notes whatever is done with it."""
    def __call__(self, *args, **kwargs): log.append("call"); return 1
    def touch(self, *args, **kwargs): log.append("touch"); return 1
    def __iter__(self): return self
    def __next__(self): log.append("next"); return 1
    def __reduce__(self): log.append("fetch"); return int, (1,)
    def _repr_html_(self): log.append("display"); return "<b>1</b>"
    @property
    def value(self): log.append("get"); return 1
    @value.setter
    def value(self, new): log.append("set")
class Made:
    def __init__(self, *args, **kwargs): log.append("made")
def note(*args, **kwargs): log.append("note"); return 1
def items(*args, **kwargs): log.append("items"); return [1]
'''
LATE = "import wall_probe\nwall_probe.log.append('imported')\n"


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Makes `wall_probe`, which notes what is done, importable for workers that start now."""
    directory = tmp_path_factory.mktemp("probe")
    (directory / "wall_probe.py").write_text(PROBE)
    (directory / "wall_probe_late.py").write_text(LATE)
    sys.path.insert(0, str(directory))
    yield
    sys.path.remove(str(directory))
    sys.modules.pop("wall_probe", None)
    sys.modules.pop("wall_probe_late", None)


SESSIONS = {"a": False, "b": False, "auto": True, "auto2": True}
"""Session ids, and whether they are auto-sessions."""


class Walls:
    """A connection with refs in sessions: "a" and "b" are named, "auto" and "auto2" are not."""

    def __init__(self, books):
        self.books = books
        self.close = books.close

    def fresh(self):
        """Sessions of their own for one test."""
        for session, auto in SESSIONS.items():
            self.books.ask("release_session", {"session_id": session}, ["session released"])
            self.generation = getattr(self, "generation", 0) + 1
            self.books.declare(session, self.generation, auto)
            setattr(self, session, self.generation)
        self.books.call("builtins.len", [], session="a", generation=self.a)
        self.call("dynamic", "a", module_path="wall_probe", function="log.clear")
        return self

    def call(self, call_type, session, args=(), *, in_force=None, **fields):
        """A request of any type; `[status, …]` of its reply."""
        payload = {**common(call_type, session), "generation": getattr(self, session), **fields}
        if "args" in FIELDS[call_type]:
            payload.setdefault("args", list(args))
        if "kwargs" in FIELDS[call_type]:
            payload.setdefault("kwargs", {})
        if in_force is not None:
            payload["in_force"] = in_force
        return self.books.send(pack(payload))

    def thing(self, session):
        """A ref on an object that notes what is done with it."""
        fields = {"python_module": "wall_probe", "function": "Thing"}
        status, sent = self.call("class", session, **fields)
        assert status == 0, sent
        return named(sent)

    @property
    def log(self):
        """What has run in the worker."""
        fields = {"python_module": "wall_probe", "attr": "log"}
        return self.call("module_attr", "a", **fields)[1]

    def refuses(self, answer, expected, actual):
        """That answer is a mismatch of these sessions, and nothing has run."""
        assert answer[0] == 1, f"it was not refused: {answer}"
        assert (answer[1][1], answer[1][6]) == ("SessionMismatchError", "own"), answer[1][4]
        assert answer[1][2][1:] == [expected, actual]
        assert self.log == []


@pytest.fixture(params=["memory", "local"], scope="module")
def shared(request, probe):
    walls = Walls(open_books(request.param))
    yield walls
    walls.close()


@pytest.fixture
def walls(shared):
    return shared.fresh()


@pytest.fixture(params=["memory", "local"], scope="module")
def shared_isolated(request, probe):
    walls = Walls(open_books(request.param, isolate_cells=True))
    yield walls
    walls.close()


@pytest.fixture
def isolated(shared_isolated):
    return shared_isolated.fresh()


# ---------------------------------------------------------------- call types with a target
TARGETS = {
    CallType.FUNCTION: lambda ref: {
        "instance": ref, "python_module": "wall_probe", "function": "note"},
    CallType.DYNAMIC: lambda ref: {
        "instance": ref, "module_path": "wall_probe", "function": "note"},
    CallType.METHOD: lambda ref: {"instance": ref, "function": "touch"},
    CallType.GET_ATTR: lambda ref: {"instance": ref, "attr": "value"},
    CallType.SET_ATTR: lambda ref: {"instance": ref, "attr": "value", "args": [1]},
    CallType.STREAM_NEXT: lambda ref: {"stream_ref": ref, "args": [1, 0]},
    CallType.FETCH: lambda ref: {"args": [ref]},
    CallType.KEEP: lambda ref: {"args": [ref, "name"]},
    CallType.DISPLAY: lambda ref: {"args": [ref, {}]},
    CallType.RELEASE_REF: lambda ref: {"args": [ref[0]]},
}  # fmt: skip
"""Call types that are made on a ref, and the fields of such a call."""

ARGUMENTS = {
    CallType.FUNCTION: {"python_module": "wall_probe", "function": "note"},
    CallType.DYNAMIC: {"module_path": "wall_probe", "function": "note"},
    CallType.CLASS: {"python_module": "wall_probe", "function": "Made"},
    CallType.METHOD: {"function": "touch"},
    CallType.SET_ATTR: {"attr": "value"},
    CallType.HELPER: {"helper": "note"},
    CallType.STREAM: {"python_module": "wall_probe", "function": "items"},
    CallType.PUT: {},
}
"""Call types with arguments, and their other fields."""

WITHOUT = {
    CallType.MODULE_ATTR,
    CallType.KEPT,
    CallType.RELEASE_SESSION,
    CallType.MOVE,  # it is the way through the wall
    CallType.DESCRIBE,  # the books only, which any session may read
    CallType.BATCH,  # each of its calls has walls of its own
    CallType.CALLBACK,  # it goes the other way
}
"""Call types that no wall concerns."""

NOTES = {"keep", "put", "release_ref"}
"""Call types that run no user code at all."""


def test_every_call_type_is_tried():
    assert set(CallType) == TARGETS.keys() | ARGUMENTS.keys() | WITHOUT
    assert not WITHOUT & (TARGETS.keys() | ARGUMENTS.keys())
    with_instance = {t for t in CallType if FIELDS[t.value] & {"instance", "stream_ref"}}
    assert with_instance <= TARGETS.keys() | {CallType.CALLBACK}


@pytest.fixture(params=sorted(TARGETS))
def target(request):
    """A call type, and the fields of such a call on a ref."""
    return request.param.value, TARGETS[request.param]


@pytest.mark.parametrize("in_force", [None, "a", "b"])
def test_a_named_target_is_refused_in_another_session(walls, target, in_force):
    call_type, fields = target
    ref = walls.thing("a")
    answer = walls.call(call_type, "b", in_force=in_force, **fields(ref))
    walls.refuses(answer, "b", "a")


def test_a_named_target_is_refused_in_an_auto_session(walls, target):
    call_type, fields = target
    answer = walls.call(call_type, "auto", **fields(walls.thing("a")))
    walls.refuses(answer, "auto", "a")


def test_a_named_target_is_called_in_its_own_session(walls, target):
    call_type, fields = target
    answer = walls.call(call_type, "a", **fields(walls.thing("a")))
    assert answer[0] == 0, answer
    assert len(walls.log) == (call_type not in NOTES)


def test_an_auto_target_is_borrowed(walls, target):
    call_type, fields = target
    ref = walls.thing("auto")
    answer = walls.call(call_type, "b", **fields(ref))
    if call_type == "release_ref":  # it names the session that holds the ref
        walls.refuses(answer, "b", "auto")
    else:
        assert answer[0] == 0, answer
        assert len(walls.log) == (call_type not in NOTES)


def test_an_auto_target_of_an_isolated_cell_is_refused(isolated, target):
    call_type, fields = target
    answer = isolated.call(call_type, "auto2", **fields(isolated.thing("auto")))
    isolated.refuses(answer, "auto2", "auto")


def test_an_isolated_target_is_called_in_its_own_cell(isolated, target):
    call_type, fields = target
    answer = isolated.call(call_type, "auto", **fields(isolated.thing("auto")))
    assert answer[0] == 0, answer


def test_a_move_goes_through_the_wall(walls):
    ref = walls.thing("a")
    status, sent = walls.call("move", "b", args=[ref])
    assert (status, sent.session) == (0, "b")
    assert walls.call("method", "b", instance=named(sent), function="touch")[0] == 0


# ---------------------------------------------------------------- refs as arguments
PLACES = {
    "itself": lambda ref: [argument(ref)],
    "second": lambda ref: [1, argument(ref)],
    "in a list": lambda ref: [[1, [argument(ref)]]],
    "in a dict": lambda ref: [{"key": argument(ref)}],
    "in a tuple": lambda ref: [[MARKS[0].ext, 1, argument(ref)]],
    "in a pickle": lambda ref: [pickled([1, Remote(ref)])],
}


class Remote:
    """Stands for a ref within a pickle."""

    def __init__(self, ref):
        self.ref = ref


class Note:
    """An object that notes, in the worker, that it was unpickled."""

    def __reduce__(self):
        return eval, ("__import__('wall_probe').log.append('unpickled')",)


def pickled(obj, *, declared=True):
    """An argument as a pickle, with the refs in it; not `declared` hides them from the worker."""
    import io

    refs, file = [], io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, x):
            if type(x) is not Remote:
                return None
            refs.append(x.ref)
            return tuple(x.ref)

    Pickler(file, protocol=5).dump(obj)
    return msgpack.ExtType(Ext.PICKLE, pack([file.getvalue(), 0, refs if declared else []]))


@pytest.fixture(params=sorted(ARGUMENTS))
def call_with(request):
    """Make a call of each type with arguments: `call_with(walls, session, args)`."""
    call_type = request.param.value

    def call(walls, session, args, **more):
        fields = dict(ARGUMENTS[request.param])
        if "instance" in FIELDS[call_type]:
            fields["instance"] = walls.thing(session)
        if call_type == "helper":
            note = pickle.dumps(_by_path("wall_probe", "note"))
            declared = walls.books.declarations or []
            walls.books.declarations = [*declared, ["helper", "note", note]]
        if call_type in ("set_attr", "put") and len(args) > 1:
            args = [args]  # they take one
        return walls.call(call_type, session, args, **fields, **more)

    call.type = call_type
    return call


def _by_path(module, name):
    return getattr(__import__(module), name)


@pytest.mark.parametrize("place", PLACES)
def test_a_named_argument_is_refused_in_another_session(walls, call_with, place):
    args = PLACES[place](walls.thing("a"))
    walls.refuses(call_with(walls, "b", args), "b", "a")
    walls.refuses(call_with(walls, "auto", args), "auto", "a")


def test_a_keyword_argument_is_behind_the_wall(walls):
    kwargs = {"key": argument(walls.thing("a"))}
    fields = {"python_module": "wall_probe", "function": "note"}
    walls.refuses(walls.call("function", "b", kwargs=kwargs, **fields), "b", "a")


def test_a_named_argument_is_used_where_its_session_is_in_force(walls, call_with):
    args = PLACES["in a list"](walls.thing("a"))
    answer = call_with(walls, "b", args, in_force="a")
    assert answer[0] == 0, answer
    assert len(walls.log) == (call_with.type not in NOTES)


def test_another_session_in_force_opens_no_wall(walls, call_with):
    args = PLACES["in a list"](walls.thing("a"))
    walls.refuses(call_with(walls, "b", args, in_force="b"), "b", "a")
    walls.refuses(call_with(walls, "b", args, in_force="nobody"), "b", "a")


def test_a_named_argument_is_used_in_its_own_session(walls, call_with):
    answer = call_with(walls, "a", PLACES["itself"](walls.thing("a")))
    assert answer[0] == 0, answer


@pytest.mark.parametrize("session", ["a", "auto2"])
def test_an_auto_argument_is_borrowed(walls, call_with, session):
    answer = call_with(walls, session, PLACES["itself"](walls.thing("auto")))
    assert answer[0] == 0, answer


def test_an_argument_of_an_isolated_cell_is_refused_elsewhere(isolated, call_with):
    args = PLACES["itself"](isolated.thing("auto"))
    isolated.refuses(call_with(isolated, "auto2", args), "auto2", "auto")
    isolated.refuses(call_with(isolated, "a", args), "a", "auto")
    assert call_with(isolated, "auto", args)[0] == 0


# ---------------------------------------------------------------- nothing runs before a refusal
def note(walls, *args, session="b", **fields):
    made = {"python_module": "wall_probe", "function": "note", **fields}
    return walls.call("function", session, args, **made)


def test_a_pickle_beside_a_refused_argument_stays_closed(walls):
    walls.refuses(note(walls, pickled(Note()), argument(walls.thing("a"))), "b", "a")


def test_a_pickled_argument_of_a_refused_target_stays_closed(walls):
    ref = walls.thing("a")
    for call_type in ("method", "set_attr"):
        fields = TARGETS[CallType(call_type)](ref)
        answer = walls.call(call_type, "b", **{**fields, "args": [pickled(Note())]})
        walls.refuses(answer, "b", "a")
    walls.refuses(note(walls, pickled(Note()), instance=ref), "b", "a")


def test_a_pickle_beside_a_ref_that_is_gone_stays_closed(walls):
    ref = walls.thing("b")
    walls.call("release_ref", "b", [ref[0]])
    for answer in (
        note(walls, pickled(Note()), argument(ref)),
        walls.call("method", "b", [pickled(Note())], instance=ref, function="touch"),
    ):
        assert (answer[0], answer[1][1]) == (1, "RefNotFoundError")
        assert answer[1][2][1] == "released"
        assert walls.log == []


def test_a_pickle_that_hides_its_refs_is_behind_the_wall(walls):
    answer = note(walls, pickled(Remote(walls.thing("a")), declared=False))
    walls.refuses(answer, "b", "a")


def late(walls):
    """A module argument whose import is noted."""
    walls.call("dynamic", "a", ["wall_probe_late", None], module_path="sys", function="modules.pop")
    return msgpack.ExtType(Ext.MODULE, b"wall_probe_late")


def test_a_module_argument_is_imported_by_a_call_that_runs(walls):
    assert note(walls, late(walls))[0] == 0
    assert walls.log == ["imported", "note"]


@pytest.mark.parametrize(
    "wrap",
    [lambda x: x, lambda x: [x], lambda x: {"k": [x]}, lambda x: [MARKS[0].ext, 1, x],
     lambda x: [MARKS[1].ext, x], lambda x: [MARKS[3].ext, x, 1]],
    ids=["itself", "list", "dict", "tuple", "set", "key"],
)  # fmt: skip
def test_a_module_argument_becomes_the_module_however_deep(walls, wrap):
    math = msgpack.ExtType(Ext.MODULE, b"math")
    fields = {"python_module": "builtins", "function": "repr"}
    status, text = walls.call("function", "b", [wrap(math)], **fields)
    assert (status, text.count("<module 'math'")) == (0, 1), text


def test_a_module_argument_is_not_imported_for_a_refused_call(walls):
    module = late(walls)
    walls.refuses(note(walls, module, argument(walls.thing("a"))), "b", "a")
    walls.refuses(note(walls, module, instance=walls.thing("a")), "b", "a")


def test_a_module_argument_is_not_imported_for_a_session_that_has_ended(walls):
    module = late(walls)
    assert note(walls, module, generation=10**9) == [3, "session released"]
    assert walls.log == []


def test_a_module_argument_that_is_not_there_says_so(walls):
    status, failure = note(walls, msgpack.ExtType(Ext.MODULE, b"wall_no_such_module"))
    assert (status, failure[1]) == (1, "ModuleNotFoundError")
    assert walls.log == []


# ---------------------------------------------------------------- malformed payloads
EMPTY = record("|u1", [0], False, False, None)
"""An array without items; it may stand for an argument, and not within one."""


def is_protocol_error(answer):
    assert answer[0] == 1, answer
    assert answer[1][1] == "ProtocolError", answer[1][1] + ": " + answer[1][4]
    assert answer[1][4]


def works(walls):
    assert walls.call("module_attr", "a", python_module="math", attr="pi")[0] == 0


GOOD = {**common("function", "a"), "generation": None, "python_module": "wall_probe",
        "function": "note", "args": [], "kwargs": {}}  # fmt: skip


def without(*names):
    return {k: v for k, v in GOOD.items() if k not in names}


MALFORMED = {
    "no bytes": b"",
    "no msgpack": b"\xc1",
    "an array that ends early": b"\xdc\xff\xff",
    "a value and more": pack({}) + b"\0",
    "a number": pack(5),
    "a list": pack([]),
    "an empty map": pack({}),
    "other keys": pack({1: 2}),
    "no call type": pack(without("call_type")),
    "a call type that is none": pack({**GOOD, "call_type": "teleport"}),
    "a call type that is no text": pack({**GOOD, "call_type": 5}),
    "a call type that cannot be looked up": pack({**GOOD, "call_type": []}),
    "a call type of the worker": pack({**GOOD, "call_type": "callback"}),
    "no session": pack(without("session_id")),
    "an empty session": pack({**GOOD, "session_id": ""}),
    "a session that is no text": pack({**GOOD, "session_id": 5}),
    "no version": pack(without("protocol_version")),
    "a later version": pack({**GOOD, "protocol_version": 9, "min_supported_version": 9}),
    "a version that is no number": pack({**GOOD, "protocol_version": "1"}),
    "no function": pack(without("function")),
    "a function that is no text": pack({**GOOD, "function": b"note"}),
    "no arguments": pack(without("args")),
    "arguments that are no list": pack({**GOOD, "args": {}}),
    "keywords that are no map": pack({**GOOD, "kwargs": []}),
    "an unknown field": pack({**GOOD, "colour": "blue"}),
    "a generation that is no number": pack({**GOOD, "generation": "1"}),
    "a session in force that is no text": pack({**GOOD, "in_force": 1}),
    "fetch that is no truth value": pack({**GOOD, "fetch": 1}),
    "an unknown extension": pack({**GOOD, "args": [msgpack.ExtType(99, b"x")]}),
    "a ref as a reply has it": pack({**GOOD, "args": [msgpack.ExtType(Ext.REF, pack([1]))]}),
    "a ref that is no ref": pack({**GOOD, "args": [msgpack.ExtType(Ext.REF_ARG, b"\xc1")]}),
    "a pickle that is no record": pack({**GOOD, "args": [msgpack.ExtType(Ext.PICKLE, pack(5))]}),
    "an unknown mark": pack({**GOOD, "args": [[msgpack.ExtType(Ext.MARK, b"\xff")]]}),
    "a mark without its code": pack({**GOOD, "args": [[msgpack.ExtType(Ext.MARK, b"")]]}),
    "a range of one": pack({**GOOD, "args": [[MARKS[4].ext, 1]]}),
    "a set of lists": pack({**GOOD, "args": [[MARKS[1].ext, []]]}),
    "a short UUID": pack({**GOOD, "args": [msgpack.ExtType(Ext.UUID, b"1")]}),
    "a decimal of letters": pack({**GOOD, "args": [msgpack.ExtType(Ext.DECIMAL, b"x")]}),
    "a numpy object": pack(
        {**GOOD, "args": [msgpack.ExtType(Ext.NUMPY, msgpack.packb(["|O8", b"12345678"]))]}
    ),
    "a million levels": b"\x91" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_payload_is_a_protocol_error_and_the_next_call_works(walls, kind):
    is_protocol_error(walls.books.send(MALFORMED[kind]))
    works(walls)
    assert walls.log == []


@pytest.mark.parametrize("lie", [*LIES, None])
def test_an_argument_that_is_no_array_is_a_protocol_error(walls, lie):
    array = msgpack.ExtType(Ext.ARRAY, LIES[lie] if lie is not None else EMPTY)
    is_protocol_error(note(walls, array if lie is not None else [array]))
    works(walls)
    assert walls.log == []


def test_a_payload_may_be_cut_anywhere(walls):
    body = pack({**GOOD, "generation": walls.a, "args": [1, "two", [3.0]]})
    for end in range(len(body)):
        is_protocol_error(walls.books.send(body[:end]))
    assert walls.log == []
    assert walls.books.send(body) == [0, 1]


@pytest.fixture(scope="module")
def in_memory(probe):
    books = open_books("memory")
    yield books
    books.close()


@given(st.binary(max_size=300))
def test_garbage_is_never_a_payload(in_memory, garbage):
    is_protocol_error(in_memory.send(garbage))


ARITY = {
    CallType.SET_ATTR: ([], [1, 2]),
    CallType.PUT: ([], [1, 2]),
    CallType.FETCH: ([], [1, 2]),
    CallType.KEEP: ([], [1], [1, "x", 3]),
    CallType.MOVE: ([], [1, 2]),
    CallType.DESCRIBE: ([], [1, 2]),
    CallType.DISPLAY: ([], [1], [1, {}, 3]),
    CallType.RELEASE_SESSION: ([], ["x", 2]),
}


@pytest.mark.parametrize("call_type", sorted(ARITY))
def test_a_wrong_number_of_arguments_is_a_protocol_error(walls, call_type):
    ref = walls.thing("b")
    fields = {"instance": ref, "attr": "value"} if call_type is CallType.SET_ATTR else {}
    for args in ARITY[call_type]:
        real = [ref, *args[1:]] if args and call_type != CallType.RELEASE_SESSION else args
        is_protocol_error(walls.call(call_type.value, "b", real, **fields))
    works(walls)
    assert walls.log == []


NO_REFS = [None, 5, "x", [], [1], [1, "b"], [1, "b", 1, 1], {}, [[], "b", 1], ["1", "b", 1],
           [10**9, [], 1], [10**9, "b", []]]  # fmt: skip


@pytest.mark.parametrize("bad", NO_REFS, ids=repr)
def test_a_target_that_is_no_ref_is_refused_by_name(walls, bad):
    for call_type in ("method", "get_attr", "stream_next", "fetch", "keep", "display", "move"):
        fields = TARGETS[CallType(call_type)](bad) if call_type != "move" else {"args": [bad]}
        if fields.get("instance", 1) is None:
            continue  # an absent instance
        status, failure = walls.call(call_type, "b", **fields)
        assert status == 1
        assert failure[6] == "own", f"{call_type}: {failure[4]}"
        assert failure[1] in ("InvalidRefError", "ProtocolError", "RefNotFoundError")
    works(walls)


@pytest.mark.parametrize("bad", NO_REFS, ids=repr)
def test_an_argument_that_is_no_ref_is_refused_by_name(walls, bad):
    status, failure = note(walls, msgpack.ExtType(Ext.REF_ARG, pack(bad)))
    assert (status, failure[6]) == (1, "own"), failure[4]
    assert failure[1] in ("InvalidRefError", "ProtocolError", "RefNotFoundError")
    assert walls.log == []
    works(walls)


@pytest.mark.parametrize(
    "bad",
    [5, [5], [["session"]], [["session", "x"]], [[]], {"a": 1}, [["display"]], [["display", 5]],
     [["display", {"changed": {}}]], [["display", {"changed": 5, "defaults": {}}]]],
)  # fmt: skip
def test_malformed_declarations_are_a_protocol_error(walls, bad):
    walls.books.declarations = bad
    is_protocol_error(note(walls, session="a"))
    works(walls)
    assert walls.log == []


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", pack(5), pack([]), pack({}), pack({"control": 5}), pack({"control": []}),
     pack({"control": "refs", "args": 5}), pack({"control": "refs", "args": []}),
     pack({"control": "limit", "args": [1]}),
     pack({"control": "ping", "args": [msgpack.ExtType(Ext.PICKLE, pack([b"", 0, []]))]})],
    ids=repr,
)  # fmt: skip
def test_a_malformed_control_request_is_a_protocol_error(walls, body):
    is_protocol_error(opened(walls.books.connection.control(body, Deadline(DEADLINE))))
    assert walls.books.control("ping") == [0, True]


# ---------------------------------------------------------------- malformed frames
@pytest.fixture
def victim():
    """A worker of its own, which has served a call."""
    books = open_books("local")
    books.declare("s")
    books.call("math.sqrt", 4.0)
    yield books
    books.close()


def lying(head=b"", body=b"", *, more_head=0, more_body=0, buffers=0, kind=Kind.REQUEST):
    sizes = len(head) + more_head, len(body) + more_body
    return HEADER.pack(MAGIC, limits.PROTOCOL_VERSION, kind, *sizes, buffers) + head + body


HEAD = pack([10**6, None, None, None, ""])
FRAMES = {
    "bad magic": (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "begins with"),
    "another version": (
        HEADER.pack(MAGIC, 99, Kind.REQUEST, 0, 0, 0), "protocol version 99"),
    "an unknown kind": (lying(kind=77), "unknown kind 77"),
    "a head beyond the limit": (lying(more_head=limits.MAX_HEAD + 1), f"{limits.MAX_HEAD:,}"),
    "a body beyond the limit": (lying(more_body=limits.MAX_BODY + 1), f"{limits.MAX_BODY:,}"),
    "too many buffers": (lying(buffers=limits.MAX_BUFFERS + 1), f"{limits.MAX_BUFFERS:,}"),
    "a buffer beyond the limit": (
        lying(buffers=1) + struct.pack("<Q", limits.MAX_BUFFER + 1), f"{limits.MAX_BUFFER:,}"),
    "a body that goes on": (lying(HEAD, b"\xc0", more_body=5), "begins with"),
    "a body that is shorter": (lying(HEAD, b"\xc0") + b"more" * 5, "begins with"),
    "no head": (small(Kind.REQUEST, b"", b"\xc0"), "no head"),
    "a head that is no list": (small(Kind.REQUEST, pack(5), b"\xc0"), "a request's head is"),
    "a short head": (small(Kind.REQUEST, pack([1, 2]), b"\xc0"), "a request's head is"),
    "an id that is no number": (
        small(Kind.REQUEST, pack(["1", None, None, None, ""]), b"\xc0"), "a request's head is"),
}  # fmt: skip
"""Bytes that no kernel sends, and what the worker says of them."""
DATA_FRAMES = {
    **FRAMES,
    "releases that are no list": (
        small(Kind.REQUEST, pack([10**6, None, 5, None, ""]), b"\xc0"), "releases"),
    "receipts without their counts": (
        small(Kind.REQUEST, pack([10**6, None, [[1], []], None, ""]), b"\xc0"), "releases"),
    "a session release that is short": (
        small(Kind.REQUEST, pack([10**6, None, [[], [["s"]]], None, ""]), b"\xc0"), "releases"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATA_FRAMES)
def test_a_malformed_frame_ends_the_worker_which_says_why(victim, kind, capsys):
    data, says = DATA_FRAMES[kind]
    victim.connection._data.socket.sendall(data)
    with pytest.raises(Died, match="SIGKILL"):
        victim.call("math.sqrt", 4.0)
    shown = capsys.readouterr().err
    assert "bridge worker: the data channel broke: " in shown
    assert says in shown


@pytest.mark.parametrize("kind", [Kind.REPLY, Kind.HELLO])
def test_a_frame_that_is_no_request_runs_nothing(victim, kind):
    log = victim.new("builtins.list")
    payload = {**common("method", "s"), "generation": 1, "instance": log, "function": "append",
               "args": [1], "kwargs": {}}  # fmt: skip
    victim.connection._data.socket.sendall(small(kind, HEAD, pack(payload)))
    with contextlib.suppress(Died):  # that is one way to refuse it
        assert victim.method(log, "__len__") == [0, 0]


def test_a_frame_that_stops_ends_the_worker_which_says_why(victim, capsys):
    connection = victim.connection
    connection._data.socket.sendall(lying(HEAD, b"abc", more_body=100_000))
    connection._data.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(Died):
        victim.call("math.sqrt", 4.0)
    shown = capsys.readouterr().err
    assert "the data channel broke: the peer left in the middle of a frame" in shown


@pytest.mark.parametrize("kind", FRAMES)
def test_a_malformed_control_frame_ends_the_worker_which_says_why(victim, kind, capsys, tmp_path):
    data, says = FRAMES[kind]
    with contextlib.closing(Gate(tmp_path)) as gate:
        call = InThread(victim.run, gate.READ, gate=gate.path)
        gate.reached()
        control = victim.connection._control._channel.socket
        control.sendall(data)
        if kind.startswith("a body that"):  # it shows with what follows
            with contextlib.suppress(OSError):  # or it has shown already
                control.sendall(small(Kind.REQUEST, HEAD, pack({"control": "ping"})))
        with pytest.raises(Died, match="SIGKILL"):
            call.result()
    shown = capsys.readouterr().err
    assert "bridge worker: the control channel broke: " in shown
    assert says in shown


@pytest.mark.parametrize("channel", ["_data", "_control"])
def test_after_a_malformed_frame_the_next_call_has_a_fresh_worker(local, channel, tmp_path):
    before = local.call("os.getpid")
    ref = local.new("list")
    connection = local._remote.incarnation.connection
    with contextlib.closing(Gate(tmp_path)) as gate:
        call = InThread(local.call, "eval", Gate.READ, {"gate": gate.path})
        gate.reached()
        line = connection._control._channel if channel == "_control" else connection._data
        line.socket.sendall(b"garbage" * 10)
        if channel == "_data":
            gate.open()
            assert call.result() == b"", "it was served before the garbage was read"
        else:
            with pytest.raises(WorkerDiedError, match="SIGKILL"):
                call.result()
    eventually(lambda: connection.death, "the end of the worker")
    assert local.call("os.getpid") != before
    assert local.status().incarnation == 2
    with pytest.raises(bridge_ext.SessionLostError):
        ref.append(1)


def test_a_worker_that_breaks_the_protocol_is_ended(local):
    code = f"__import__('os').write({DATA_SOCKET}, b'garbage' * 10)"
    with pytest.raises(WorkerDiedError, match=r"broke the protocol.*begins with b'ga'"):
        local.call("eval", code)
    assert local.call("math.sqrt", 4) == 2.0


# ---------------------------------------------------------------- a fake worker
class FakeProcess:
    """Stands for a worker process; the test is at the other end of its sockets."""

    pidfd = None
    pid = os.getpid()

    def __init__(self, segments=False):
        self.data, self.their_data = socket.socketpair()
        self.control, self.their_control = socket.socketpair()
        self.segments = create() if segments else []
        (self.out, self._out), (self.err, self._err) = os.pipe(), os.pipe()
        for fd in (self.out, self.err):
            os.set_blocking(fd, False)
        self.death = None
        self._ended = threading.Event()
        self._closed = False

    def wait(self, deadline, at_most):
        return self._ended.wait(deadline.left(at_most))

    def kill(self):
        self.end("was ended by SIGKILL (signal 9)")

    def end(self, how):
        if not self._ended.is_set():
            self._how = how
            self._ended.set()
            for sock in (self.their_data, self.their_control):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def bury(self):
        self._ended.wait(DEADLINE)
        self.death = self.death or Death(self._how)
        return self.death

    def close(self):
        if not self._closed:
            self._closed = True
            for sock in (self.data, self.control, self.their_data, self.their_control):
                sock.close()
            for fd in (self.out, self.err, self._out, self._err, *self.segments):
                os.close(fd)


class Fake(Backend):
    """A backend whose workers answer what the test says.

    Attributes:
        answer: given a request's call id and payload, gives the bytes to send back.
        control: the same for the control channel.
    """

    name = "fake"

    def __init__(self):
        self.answer, self.control = self.good, self.good_control
        self.segments = False
        self.processes = []
        self.opened = threading.Event()

    @staticmethod
    def good(call_id, payload):
        return reply(call_id, [0, 2.0])

    @staticmethod
    def good_control(call_id, payload):
        rows = [] if payload.get("control") in ("sessions", "refs") else [None, 0.0, 1, 0, 0, None]
        return reply(call_id, [0, rows])

    def open(self, incarnation, config):
        process = FakeProcess(self.segments)
        self.processes.append(process)
        for sock, name in ((process.their_data, "answer"), (process.their_control, "control")):
            threading.Thread(
                target=self._serve, args=(process, sock, name), name="bridge-fake", daemon=True
            ).start()
        return LocalConnection(incarnation, config, process)

    def _serve(self, process, sock, name):
        channel = Channel(sock)
        with contextlib.suppress(OSError, ProtocolError):
            while (frame := channel.read()) is not None:
                if frame.kind == Kind.GOODBYE:
                    break
                if frame.kind == Kind.REQUEST:
                    call_id = plain.load(frame.head)[0]
                    payload = msgpack.unpackb(frame.body, strict_map_key=False)
                    sock.sendall(getattr(self, name)(call_id, payload))
        if name == "answer":
            process.end("exited with code 0")

    def send_control(self, data):
        """Send bytes on the control channel without being asked."""
        self.processes[-1].their_control.sendall(data)


def reply(call_id, body, types=None, buffers=()):
    """The bytes of a reply."""
    body = body if type(body) is bytes else pack(body)
    return b"".join(bytes(p) for p in build(Kind.REPLY, pack([call_id, types]), body, buffers))


def notice(head, body):
    return small(Kind.NOTICE, head, body)


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def fooled(fake, monkeypatch):
    """A bridge whose worker is the fake one."""
    monkeypatch.setattr("bridge_ext.kernel.backends.local._BURIAL", 0.05)
    with bridge_ext.Bridge(fake) as bridge:
        yield bridge


def recovers(fake, bridge):
    """The bridge works on: with the same worker, or with a fresh one."""
    fake.answer, fake.control = fake.good, fake.good_control
    assert bridge.call("math.sqrt", 4) == 2.0
    assert bridge._remote._housekeeper.failure is None
    assert any(t.name == "bridge-housekeeper" for t in threading.enumerate())


def test_the_fake_worker_is_believed(fake, fooled):
    recovers(fake, fooled)
    assert fooled.status().incarnation == 1


BROKEN = {
    "garbage": lambda i: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a body beyond the limit": lambda i: lying(kind=Kind.REPLY, more_body=limits.MAX_BODY + 1),
    "too many buffers": lambda i: lying(kind=Kind.REPLY, buffers=limits.MAX_BUFFERS + 1),
    "an empty head": lambda i: small(Kind.REPLY, b"", pack([0, 1])),
    "a head that is no list": lambda i: small(Kind.REPLY, pack({"id": i}), pack([0, 1])),
    "a head that is a number": lambda i: small(Kind.REPLY, pack(i), pack([0, 1])),
    "a long head": lambda i: small(Kind.REPLY, pack([i, None, None]), pack([0, 1])),
    "an id that is no number": lambda i: small(Kind.REPLY, pack([str(i), None]), pack([0, 1])),
    "types that are no list": lambda i: reply(i, [0, 1], 5),
    "a type that is no record": lambda i: reply(i, [0, 1], [5]),
    "a type record that is short": lambda i: reply(i, [0, 1], [[1, "T", "m"]]),
    "a type whose members are none": lambda i: reply(
        i, [0, 1], [[1, "T", "m", "object", [], "", [5]]]),
}  # fmt: skip
"""Replies that break the protocol of frames and heads."""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_reply_that_breaks_the_protocol_ends_the_worker(fake, fooled, kind):
    fake.answer = lambda call_id, payload: BROKEN[kind](call_id)
    with pytest.raises((WorkerDiedError, ProtocolError)) as caught:
        fooled.call("math.sqrt", 4)
    assert "protocol" in str(caught.value) or isinstance(caught.value, ProtocolError)
    assert "math.sqrt" in str(caught.value) or isinstance(caught.value, ProtocolError)
    recovers(fake, fooled)


def test_a_reply_that_stops_ends_the_worker(fake, fooled):
    def answer(call_id, payload):
        fake.processes[-1].their_data.sendall(reply(call_id, [0, "x" * 100])[:-10])
        fake.processes[-1].end("exited with code 0")
        return b""

    fake.answer = answer
    with pytest.raises(WorkerDiedError, match="exited with code 0"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


FALSE_PLACES = {
    "a segment that is not there": [Placed(99, 4096, 100)],
    "in the page of the words": [Placed(0, 0, 100)],
    "beyond the end of a segment": [Placed(0, 4096, 1 << 30)],
    "far beyond": [Placed(0, 2**64 - 1, 1 << 38)],
    "one good and one bad": [b"x", Placed(0, 4096, 0), Placed(0, 5000, 1)],
}
"""Buffers that lie nowhere; there, where the worker has segments, and where it has none."""


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("kind", FALSE_PLACES)
def test_a_buffer_that_lies_nowhere_ends_the_worker(fake, fooled, kind, segments):
    fake.segments = segments
    fake.answer = lambda call_id, payload: reply(call_id, [0, 2.0], None, FALSE_PLACES[kind])
    with pytest.raises((WorkerDiedError, ProtocolError), match="protocol"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("copy", [True, False])
def test_a_buffer_that_is_never_written_is_not_waited_for(fake, fooled, monkeypatch, end, copy):
    monkeypatch.setattr("bridge_ext.kernel.wire.shared._STALLED", 60.0 if end else 0.05)
    fake.segments = True
    fake.answer = lambda call_id, payload: reply(
        call_id, [0, sent(payload["session_id"], payload["generation"])], [RECORD]
    )
    ref = fooled.call("math.sqrt", 4)

    def answer(call_id, payload):
        process = fake.processes[-1]
        os.ftruncate(process.segments[2], 2 << 20)
        if end:
            threading.Timer(0.05, process.end, ["exited with code 5"]).start()
        data = pickle.dumps(pickle.PickleBuffer(bytes(1 << 20)), 5, buffer_callback=[].append)
        body = [0, msgpack.ExtType(Ext.PICKLE, pack([data, 0, []]))]
        return reply(call_id, body, None, [Placed(0, 4096, 1 << 20)])

    fake.answer = answer
    error = (WorkerDiedError, "exited with code 5") if end else (EncodeError, "does not go on")
    with pytest.raises(error[0], match=error[1]):
        fooled.fetch(ref, copy=copy)
    if not end:
        with pytest.raises(CallTimeoutError) as caught:
            fooled.options(timeout=10, kill=True).fetch(ref, copy=copy)
        assert caught.value.ended
    recovers(fake, fooled)


@pytest.mark.parametrize("lie", LIES)
def test_an_array_that_lies_ends_the_worker(fake, fooled, lie):
    array = msgpack.ExtType(Ext.ARRAY, LIES[lie])
    fake.answer = lambda call_id, payload: reply(call_id, [0, array], None, [bytes(40)])
    with pytest.raises(ProtocolError), fooled.options(fetch=True):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)
    assert fooled.status().incarnation == 2


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x]])
def test_an_array_that_was_not_asked_for_is_not_made(fake, fooled, wrap):
    array = msgpack.ExtType(Ext.ARRAY, EMPTY)
    fake.answer = lambda call_id, payload: reply(call_id, [0, wrap(array)])
    with pytest.raises(ProtocolError, match="extension type 13 is not allowed"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


def test_a_worker_that_hangs_up_has_died(fake, fooled):
    def answer(call_id, payload):
        fake.processes[-1].end("exited with code 3")
        return b""

    fake.answer = answer
    with pytest.raises(WorkerDiedError, match=r"exited with code 3 during math\.sqrt"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


@pytest.mark.parametrize("kind", ["types that are no list", "a type that is no record"])
def test_a_bad_head_reaches_every_caller(fake, fooled, kind):
    held, seen = [], threading.Semaphore(0)

    def answer(call_id, payload):
        held.append(call_id)
        seen.release()
        if len(held) < 2:
            return b""
        return BROKEN[kind](held[1])  # the second call's reply; the first caller reads it

    fake.answer = answer
    first = InThread(fooled.call, "math.sqrt", 4)
    assert seen.acquire(timeout=DEADLINE)
    second = InThread(fooled.call, "math.sqrt", 9)
    assert seen.acquire(timeout=DEADLINE)
    ended = first.ended(2.0), second.ended(2.0)
    for process in fake.processes:
        process.kill()
    assert ended == (True, True), "a caller waits for a reply that was read and thrown away"
    for caller in (first, second):
        with pytest.raises((WorkerDiedError, ProtocolError)):
            caller.result()


BODIES = {
    "nothing": b"",
    "no msgpack": b"\xc1",
    "a number": pack(5),
    "an empty list": pack([]),
    "a status without a value": pack([0]),
    "a status that is none": pack([9, "x"]),
    "a status that is no number": pack(["0", 1]),
    "an ending without a reason": pack([3]),
    "a failure that is none": pack([1, 5]),
    "a failure that is short": pack([1, ["builtins", "ValueError"]]),
    "a failure of other types": pack([1, [1, 2, 3, 4, 5, 6, 7]]),
    "no failure": pack([1]),
    "an unknown extension": pack([0, msgpack.ExtType(99, b"x")]),
    "a ref that is no record": pack([0, msgpack.ExtType(Ext.REF, b"\xc1")]),
    "a ref that is short": pack([0, msgpack.ExtType(Ext.REF, pack([1, "s"]))]),
    "a ref as a request has it": pack([0, msgpack.ExtType(Ext.REF_ARG, pack([1, "s", 1]))]),
    "a ref of an unknown type": pack(
        [0, msgpack.ExtType(Ext.REF, pack([1, "s", 1, 77, None, None, 1, False]))]),
    "a ref with an id that is none": pack(
        [0, msgpack.ExtType(Ext.REF, pack([[], "s", 1, 77, None, None, 1, False]))]),
}  # fmt: skip
"""Bodies that are none, in frames that are whole."""


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_none_is_a_protocol_error(fake, fooled, kind):
    fake.answer = lambda call_id, payload: reply(call_id, BODIES[kind])
    with pytest.raises(ProtocolError) as caught:
        fooled.call("math.sqrt", 4)
    assert str(caught.value)
    recovers(fake, fooled)


RECORD = [1, "Thing", "m", "object", [], "", []]


def sent(session_id, generation, ref_id=1, type_id=1):
    fields = [ref_id, session_id, generation, type_id, None, None, 8, False]
    return msgpack.ExtType(Ext.REF, pack(fields))


@pytest.mark.parametrize("place", ["another session", "another generation", "no text"])
def test_a_ref_of_an_unknown_session_is_a_protocol_error(fake, fooled, place):
    def answer(call_id, payload):
        session = {"another session": "nobody", "no text": 5}.get(place, payload["session_id"])
        return reply(call_id, [0, sent(session, payload["generation"] + 7)], [RECORD])

    fake.answer = answer
    with pytest.raises(ProtocolError, match="unknown session"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


def test_an_honest_ref_is_taken(fake, fooled):
    fake.answer = lambda call_id, payload: reply(
        call_id, [0, sent(payload["session_id"], payload["generation"])], [RECORD]
    )
    assert repr(fooled.call("math.sqrt", 4)) == "<ref Thing>"


def test_names_of_a_worker_are_stripped_of_control_characters(fake, fooled):
    record = [1, "\x1b[31mRed\u202e", "m\x07", "object", [], "", []]
    fake.answer = lambda call_id, payload: reply(
        call_id, [0, sent(payload["session_id"], payload["generation"])], [record]
    )
    assert repr(fooled.call("math.sqrt", 4)) == "<ref [31mRed>"


@pytest.mark.parametrize(
    "member", ["_bridge_state", "__repr__", "__del__", "__class__", "__hash__", "__reduce_ex__"]
)
def test_a_type_record_cannot_replace_what_a_handle_is(fake, fooled, member):
    record = [1, "Thing", "m", "object", [member], "", [[member, "method", None, None]]]
    fake.answer = lambda call_id, payload: reply(
        call_id, [0, sent(payload["session_id"], payload["generation"])], [record]
    )
    with contextlib.suppress(ProtocolError, WorkerDiedError):  # one way to refuse it
        ref = fooled.call("math.sqrt", 4)
        asked = []
        fake.answer = lambda call_id, payload: asked.append(payload) or fake.good(call_id, payload)
        assert repr(ref) == "<ref Thing>"
        assert isinstance(ref, bridge_ext.Ref)
        assert isinstance(hash(ref), int)
        assert pickle.loads(pickle.dumps(ref)) is ref
        del ref
        assert asked == []
    recovers(fake, fooled)


def test_replies_that_nobody_asked_for_are_dropped(fake, fooled):
    fake.answer = lambda call_id, payload: b"".join(
        reply(i, [0, value])
        for i, value in [(call_id + 5, 1.0), (-1, 3.0), (call_id, 2.0), (call_id, 5.0)]
    )
    assert [fooled.call("math.sqrt", 4) for _ in range(3)] == [2.0] * 3
    assert fooled._remote.incarnation.connection.in_flight == 0


def test_a_request_of_a_worker_is_not_served(fake, fooled, tmp_path):
    file = tmp_path / "served"
    body = pack({**common("function", "s"), "python_module": "builtins", "function": "open",
                 "args": [str(file), "w"], "kwargs": {}})  # fmt: skip
    fake.answer = lambda call_id, payload: (
        small(Kind.REQUEST, HEAD, body) + reply(call_id, [0, 2.0])
    )
    assert fooled.call("math.sqrt", 4) == 2.0
    assert not file.exists()


# ---------------------------------------------------------------- nothing is executed
class Bomb:
    """Makes a file when its pickle is opened."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.fixture
def bomb(tmp_path):
    """A pickle, as a reply would hold it; and whether it has been opened."""
    file = tmp_path / "opened"
    data = pickle.dumps(Bomb(file))
    packed = msgpack.ExtType(Ext.PICKLE, pack([data, 0, []]))
    return packed, file.exists


UNLINKED = [None, None, False, []]
FAILURE = ["builtins", "ValueError", [], {}, "text", [], "exception", [], [], UNLINKED, []]
WITH_PICKLE = {
    "the value": lambda x: [0, x],
    "deep in the value": lambda x: [0, {"a": [1, [x]]}],
    "a failure's arguments": lambda x: [1, [*FAILURE[:2], [x], *FAILURE[3:]]],
    "a failure's attributes": lambda x: [1, [*FAILURE[:3], {"a": x}, *FAILURE[4:]]],
    "the status": lambda x: [x, 1],
    "a reason": lambda x: [3, x],
    "the whole": lambda x: x,
}


@pytest.mark.parametrize("place", WITH_PICKLE)
def test_a_pickle_that_was_not_asked_for_stays_closed(fake, fooled, bomb, place):
    packed, was_opened = bomb
    fake.answer = lambda call_id, payload: reply(call_id, WITH_PICKLE[place](packed))
    with pytest.raises(ProtocolError, match="extension type 10 is not allowed"):
        fooled.call("math.sqrt", 4)
    assert not was_opened()
    recovers(fake, fooled)


def test_a_pickle_in_a_type_record_stays_closed(fake, fooled, bomb):
    packed, was_opened = bomb
    record = [1, "T", "m", "object", [], packed, []]
    fake.answer = lambda call_id, payload: reply(call_id, [0, 1], [record])
    with contextlib.suppress(WorkerDiedError, ProtocolError):
        fooled.call("math.sqrt", 4)
    assert not was_opened()
    recovers(fake, fooled)


def test_a_pickle_in_a_display_stays_closed(fake, fooled, bomb):
    packed, was_opened = bomb
    fake.answer = lambda call_id, payload: reply(
        call_id, [0, sent(payload["session_id"], payload["generation"])], [RECORD]
    )
    ref = fooled.call("math.sqrt", 4)
    fake.answer = lambda call_id, payload: reply(call_id, [0, {"text/html": packed}])
    assert ref._repr_mimebundle_() == {"text/plain": "<ref Thing>"}
    assert not was_opened()


def test_a_pickle_in_an_answer_of_control_stays_closed(fake, fooled, bomb):
    packed, was_opened = bomb
    recovers(fake, fooled)
    fake.control = lambda call_id, payload: reply(call_id, [0, [packed]])
    with contextlib.suppress(ProtocolError):
        fooled.sessions()
    assert not was_opened()
    recovers(fake, fooled)


def test_a_pickle_that_was_asked_for_is_opened(fake, fooled, bomb):
    packed, was_opened = bomb
    fake.answer = lambda call_id, payload: reply(call_id, [0, packed])
    fooled.options(fetch=True).call("math.sqrt", 4).close()
    assert was_opened()


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit", "GeneratorExit"])
@pytest.mark.parametrize("kind", ["exception", "other"])
def test_a_failure_cannot_name_what_is_no_exception(fake, fooled, name, kind):
    failure = ["builtins", name, *FAILURE[2:6], kind, *FAILURE[7:]]
    fake.answer = lambda call_id, payload: reply(call_id, [1, failure])
    with pytest.raises(RemoteError, match=name):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


class Loud(ValueError):
    """An exception whose making would be noticed."""

    made: list[str] = []  # noqa: RUF012 - the tests read it

    def __new__(cls, *args):
        cls.made.append("new")
        return super().__new__(cls, *args)

    def __init__(self, *args):
        self.made.append("init")
        super().__init__(*args)

    def __setattr__(self, name, value):
        self.made.append("set")


def test_a_failure_runs_none_of_the_code_of_its_type(fake, fooled):
    failure = [__name__, "Loud", ["a"], {"detail": 5}, "a", *FAILURE[5:]]
    fake.answer = lambda call_id, payload: reply(call_id, [1, failure])
    with pytest.raises(Loud) as caught:
        fooled.call("math.sqrt", 4)
    assert caught.value.args == ("a",)
    assert caught.value.detail == 5
    assert Loud.made == []


@pytest.mark.parametrize("name", ["open", "eval", "sys.exit", "__import__", "Loud.made.append"])
def test_a_failure_cannot_name_a_function(fake, fooled, name):
    module = __name__ if name.startswith("Loud") else "builtins"
    failure = [module, name, ["1"], *FAILURE[3:]]
    fake.answer = lambda call_id, payload: reply(call_id, [1, failure])
    with pytest.raises(RemoteError):
        fooled.call("math.sqrt", 4)
    assert Loud.made == []


def test_a_failure_imports_nothing(fake, fooled):
    sys.modules.pop("this", None)
    fake.answer = lambda call_id, payload: reply(call_id, [1, ["this", "Zen", *FAILURE[2:]]])
    with pytest.raises(RemoteError, match=r"this\.Zen"):
        fooled.call("math.sqrt", 4)
    assert "this" not in sys.modules


# ---------------------------------------------------------------- displays
def display(call_id, *body, number=1):
    return notice(pack(["display", call_id, number]), pack(list(body)))


def test_a_worker_shows_no_script_whatever_it_sends(fake, fooled):
    seen = []
    fooled._client.show = seen.append
    data = {
        "text/html": "<p>x</p><script>alert(1)</script>",
        "application/javascript": "alert(1)",
        "image/png": "'><script>alert(1)</script>",
    }
    fake.answer = lambda i, p: display(i, "display", data, {}, None, False) + reply(i, [0, 2.0])
    assert fooled.call("math.sqrt", 4) == 2.0
    assert [shown.data for shown in seen] == [{"text/html": "<p>x</p>"}]


def test_a_notice_that_is_not_known_is_passed_over(fake, fooled):
    unknown = notice(pack(["weather", 1, 1]), b"\xc1")
    fake.answer = lambda call_id, payload: unknown + reply(call_id, [0, 2.0])
    assert fooled.call("math.sqrt", 4) == 2.0
    assert fooled.status().incarnation == 1


NO_DISPLAYS = {
    "no head": lambda i: notice(b"", pack(["clear", True])),
    "a head that is no list": lambda i: notice(pack(5), pack(["clear", True])),
    "a head of other types": lambda i: notice(pack(["display", "x", 1]), pack(["clear", True])),
    "a short head": lambda i: notice(pack(["display"]), pack(["clear", True])),
    "no body": lambda i: notice(pack(["display", i, 1]), b""),
    "a body that is no list": lambda i: display(i)[:-1] + pack(5),
    "a short body": lambda i: display(i, "display", {}),
    "data of another type": lambda i: display(i, "display", [], {}, None, False),
    "an id of another type": lambda i: display(i, "display", {}, {}, 5, False),
    "a wait of another type": lambda i: display(i, "clear", 1),
    "an unknown kind": lambda i: display(i, "play", True),
    "a pickle": lambda i: display(
        i, "display", {"text/html": msgpack.ExtType(Ext.PICKLE, pack([b"x", 0, []]))}, {}, None,
        False),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_DISPLAYS)
def test_a_display_that_breaks_the_protocol_ends_the_worker(fake, fooled, kind):
    fake.answer = lambda i, payload: NO_DISPLAYS[kind](i) + reply(i, [0, 2.0])
    with pytest.raises(WorkerDiedError, match="broke the protocol"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


@pytest.mark.parametrize("late", ["a display", "garbage", "a bad display", "an end"])
def test_what_comes_while_no_call_waits_is_read(fake, fooled, late):
    seen = []
    fooled._client.show = seen.append
    recovers(fake, fooled)
    process, connection = fake.processes[0], fooled._client.incarnation.connection
    if late == "an end":
        process.their_data.shutdown(socket.SHUT_RDWR)
    else:
        good = display(1, "display", {"text/plain": "late"}, {}, None, False)
        bad = display(1, "display")
        process.their_data.sendall(
            {"a display": good, "garbage": b"garbage" * 10, "a bad display": bad}[late]
        )
    if late == "a display":
        eventually(lambda: seen, "the display")
        assert connection.death is None
    else:
        eventually(lambda: connection.death, "the worker's end")
        with contextlib.suppress(WorkerDiedError):  # it may be noticed by this call
            fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


@pytest.mark.parametrize("end", ["reply", "death"])
def test_what_waits_for_a_display_that_never_comes_is_shown_in_the_end(fake, fooled, capsys, end):
    recovers(fake, fooled)
    process, output = fake.processes[0], fooled._client.incarnation.connection._output
    mark = output.token + struct.pack("<Q", DISPLAY_MARK | 1)

    def answer(call_id, payload):
        os.write(process._out, b"before " + mark + b"behind")
        if end == "death":
            process.end("exited with code 3")
            return b""
        return reply(call_id, [0, 2.0])

    fake.answer = answer
    with contextlib.suppress(WorkerDiedError):
        fooled.call("math.sqrt", 4)
    assert capsys.readouterr().out == "before behind"
    recovers(fake, fooled)


def test_half_a_display_that_comes_late_is_read_with_its_rest(fake, fooled):
    seen = []
    fooled._client.show = seen.append
    recovers(fake, fooled)
    connection = fooled._client.incarnation.connection
    whole = display(1, "display", {"text/plain": "x" * 5000}, {}, None, False)
    fake.processes[0].their_data.sendall(whole[:100])
    eventually(lambda: not _unread(connection, data=True), "the first half to be read")
    assert seen == []
    assert connection.death is None
    fake.processes[0].their_data.sendall(whole[100:])
    eventually(lambda: seen, "the display")
    assert seen[0].data == {"text/plain": "x" * 5000}
    recovers(fake, fooled)


# ---------------------------------------------------------------- control, and news
CONTROL = {
    "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a head that is no list": small(Kind.REPLY, pack(5), pack([0, 1])),
    "an empty head": small(Kind.REPLY, b"", pack([0, 1])),
    "a body beyond the limit": lying(kind=Kind.REPLY, more_body=limits.MAX_BODY + 1),
    "news without a head": notice(b"", pack([])),
    "news with a head that is no list": notice(pack(5), pack([])),
    "news with an empty head": notice(pack([]), pack([])),
    "news without a body": notice(pack(["evicted"]), b""),
    "news with too few details": notice(pack(["evicted"]), pack(["s"])),
    "news with details that are no list": notice(pack(["ended"]), pack(5)),
    "news of other types": notice(pack(["evicted"]), pack([[], 5])),
    "news of an ending of other types": notice(pack(["ended"]), pack([[], [], 1, 2, 3])),
    "news with a pickle": notice(
        pack(["ended"]), pack([msgpack.ExtType(Ext.PICKLE, pack([b"x", 0, []]))])),
    "a request": small(Kind.REQUEST, HEAD, pack({"control": "ping"})),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTROL)
def test_bad_news_do_not_end_the_housekeeper(fake, fooled, kind):
    recovers(fake, fooled)
    keeper = fooled._remote._housekeeper
    before = fooled._remote.incarnation.connection
    fake.send_control(CONTROL[kind])
    session = fooled.session("heard")
    with contextlib.suppress(OSError):
        fake.send_control(notice(pack(["ended"]), pack(["x", 1, "expired", 0, 0])))
    eventually(lambda: before.death, "the worker to be ended for it")
    assert keeper.failure is None
    del session
    recovers(fake, fooled)


def _unread(connection, data=False):
    import select

    channel = connection._data if data else connection._control._channel
    poll = select.poll()
    poll.register(channel.socket, select.POLLIN)
    return bool(poll.poll(0))


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", pack(5), pack([]), pack([0]), pack([9, 1]), pack([1, 5])],
    ids=repr,
)  # fmt: skip
def test_a_bad_answer_of_control_is_a_protocol_error_at_most(fake, fooled, body):
    recovers(fake, fooled)
    fake.control = lambda call_id, payload: reply(call_id, body)
    for ask in (fooled.sessions, fooled.refs, fooled.status):
        with contextlib.suppress(ProtocolError):
            ask()
    recovers(fake, fooled)


def test_news_and_an_answer_that_arrive_together_are_both_heard(fake, fooled):
    recovers(fake, fooled)
    fooled.session("heard")
    session = fooled._remote.sessions.find("heard")
    fooled._remote.sessions.declared(session, 1)
    news = notice(pack(["ended"]), pack(["heard", session.generation, "expired", 0, 0]))
    fake.control = lambda call_id, payload: news + reply(call_id, [0, [None, 0.0, 7, 0, 0, None]])
    assert fooled.status().calls == 7
    eventually(lambda: session.reason == "expired", "the news")


def test_a_connection_alone_says_that_the_protocol_was_broken(fake, monkeypatch):
    monkeypatch.setattr("bridge_ext.kernel.backends.local._BURIAL", 0.05)
    fake.answer = lambda call_id, payload: b"garbage" * 10
    books = Books(fake.open(1, config()))
    try:
        with pytest.raises(Died, match="broke the protocol"):
            books.call("math.sqrt", 4.0)
        assert books.connection.death is not None
    finally:
        books.close()
