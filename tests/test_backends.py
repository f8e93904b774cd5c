"""One contract for every backend, at its connection: a raw payload goes in, a reply comes out."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import sys
import threading
from collections import namedtuple
from contextvars import ContextVar, copy_context

import msgpack
import numpy
import psutil
import pytest
from conftest import DEADLINE, eventually

import bridge_ext
from bridge_ext import BridgeUsageError, ProtocolError, WorkerDiedError
from bridge_ext.kernel.backends import base, local
from bridge_ext.kernel.backends.base import NEVER, Deadline, Died, Late, Request, TimedOut
from bridge_ext.kernel.backends.control import Asked
from bridge_ext.kernel.backends.local import LocalBackend
from bridge_ext.kernel.backends.memory import MemoryBackend
from bridge_ext.kernel.wire import limits
from bridge_ext.kernel.wire.arrays import open_array
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.framing import Kind, small
from bridge_ext.kernel.wire.limits import INLINE_LIMIT
from bridge_ext.kernel.wire.loading import Loading
from bridge_ext.kernel.wire.marks import Ext
from bridge_ext.kernel.wire.payload import base as common
from bridge_ext.kernel.wire.payload import call_part, join, part, start

BACKENDS = {"memory": MemoryBackend, "local": LocalBackend}

Sent = namedtuple("Sent", "id session generation type length shape nbytes estimated")
Pickled = namedtuple("Pickled", "data first refs")
as_sent = Loading(
    {
        Ext.REF: lambda data: Sent(*msgpack.unpackb(data)),
        Ext.MODULE: lambda data: ("module", data.decode()),
        Ext.ARRAY: bytes,
        Ext.PICKLE: lambda data: Pickled(*msgpack.unpackb(data)),
    }
)
"""Loads replies as they are: refs and pickles as records, and nothing is opened."""


class Origin:
    """Where the raw calls are made."""

    label = "cell [1]"
    context = None

    def output(self):
        return copy_context()


class Books:
    """What a kernel keeps for one connection, by hand: raw requests, declarations, releases."""

    def __init__(self, connection):
        self.connection = connection
        self.types, self.news, self.asked_for = [], [], []
        self.releases = self.declarations = None
        connection.listen(self.types.append)
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="bridge-test-watch", daemon=True)
        self._watcher.start()

    def _watch(self):
        while not self._stop.is_set() and self.connection.death is None:
            self.news += self.connection.watch(0.02)

    def close(self, grace=5.0):
        self._stop.set()
        self._watcher.join(DEADLINE)
        if self.connection.death is None:
            self.connection.close(grace)
        try:
            eventually(lambda: not self.connection.in_flight, "the end of every call")
        finally:
            self.connection.free()

    # ------------------------------------------------------------ what travels in a head
    def outgoing(self, session, helper):
        self.asked_for.append((session, helper))
        taken = self.releases, self.declarations
        self.releases = self.declarations = None
        return taken

    def declare(self, session, generation=1, auto=False, most=100, ttl=3600.0, overflow="error"):
        spec = ["session", session, generation, auto, most, ttl, overflow]
        self.declarations = [*(self.declarations or ()), spec]
        return session

    def give_back(self, *receipts, sessions=()):
        self.releases = [list(receipts), [list(s) for s in sessions]]

    # ------------------------------------------------------------ requests
    def send(self, body, buffers=(), deadline=NEVER, finish=None, session=None, helper=None):
        request = Request(body, buffers, Origin(), session, helper, Late.LEAVE)
        return self.connection.call(request, self.outgoing, deadline, finish or opened)

    def ask(self, call_type, fields, args=None, kwargs=None, *, buffers=(), deadline=NEVER):
        """A request made of parts, as the client makes it; `[status, …]` of its reply."""
        session = {"session_id": fields.get("session_id", "s"), "generation": 1}
        parts = [
            start(call_type, fields),
            part({k: v for k, v in session.items() if k not in fields}),
        ]
        if args is not None:
            parts.append(call_part(args, kwargs))
        return self.send(join(parts), buffers, deadline)

    def call(self, path, *args, session="s", generation=1, deadline=NEVER, fetch=None, **more):
        """Call a function by path."""
        module, _, name = path.rpartition(".")
        fields = {"python_module": module, "function": name, "session_id": session, **more}
        fields["generation"] = generation
        if fetch is not None:
            fields["fetch"] = fetch
        return self.ask("function", fields, list(args), {}, deadline=deadline)

    def run(self, code, deadline=NEVER, fetch=None, **names):
        """Evaluate an expression in the worker."""
        return self.call("builtins.eval", code, names, deadline=deadline, fetch=fetch)

    def new(self, path, *args, session="s"):
        """Make an object; its ref as it is named in payloads."""
        module, _, name = path.rpartition(".")
        fields = {"python_module": module, "function": name, "session_id": session}
        status, sent = self.ask("class", fields, list(args), {})
        assert status == 0, sent
        return named(sent)

    def method(self, ref, name, *args, session=None):
        fields = {"instance": ref, "function": name, "session_id": session or ref[1]}
        return self.ask("method", fields, list(args), {})

    def control(self, verb, *args):
        return opened(
            self.connection.control(pack({"control": verb, "args": list(args)}), Deadline(DEADLINE))
        )

    def held(self):
        """How many refs the worker holds."""
        return self.control("status")[1][3]

    def hears(self, event, what):
        """The details of an announcement, once it has come."""

        def look():
            return next((d for e, d in self.news if e == event and what in d), None)

        return eventually(look, f"{event} of {what}")


def opened(reply):
    return as_sent.load(reply.body)


def named(sent):
    """A ref as payloads name it."""
    return [sent.id, sent.session, sent.generation]


def argument(ref):
    """A ref as an argument."""
    return msgpack.ExtType(Ext.REF_ARG, pack(ref))


def config(**changes):
    return {
        "inline_limit": INLINE_LIMIT,
        "isolate_cells": False,
        "memory_limit": None,
        "path": list(sys.path),
        "cwd": os.getcwd(),
        "numpy": True,
        **changes,
    }


def open_books(backend, **changes):
    return Books(BACKENDS[backend]().open(1, config(**changes)))


class Gate:
    """Holds a call in the worker until the test lets it go: a named pipe that is read there."""

    READ = "__import__('pathlib').Path(gate).read_bytes()"

    def __init__(self, directory, name="gate"):
        self.path = str(directory / name)
        os.mkfifo(self.path)
        self._fd = None

    def reached(self):
        """Return once the call waits at the gate."""

        def enter():
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return False  # nobody reads yet
            return True

        eventually(enter, "the call")
        return self

    def open(self):
        os.close(self._fd)
        self._fd = None

    def close(self):
        if self._fd is not None:
            self.open()


class InThread:
    """A function that runs beside the test."""

    def __init__(self, fn, *args, **kwargs):
        self.value = self.error = None
        self._thread = threading.Thread(
            target=self._run, args=(fn, args, kwargs), name="bridge-test-caller", daemon=True
        )
        self._thread.start()

    def _run(self, fn, args, kwargs):
        try:
            self.value = fn(*args, **kwargs)
        except BaseException as error:
            self.error = error

    def ended(self, deadline=DEADLINE):
        self._thread.join(deadline)
        return not self._thread.is_alive()

    def result(self):
        assert self.ended(), "the call has not ended"
        if self.error is not None:
            raise self.error
        return self.value


@pytest.fixture(params=sorted(BACKENDS))
def books(request):
    """A connection of each backend, with session "s" declared by the first request."""
    made = open_books(request.param)
    made.declare("s")
    yield made
    made.close()


@pytest.fixture
def worker():
    """The same at a worker process only."""
    made = open_books("local")
    made.declare("s")
    yield made
    made.close()


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path)
    yield made
    made.close()


# ---------------------------------------------------------------- calls
def test_a_payload_is_answered(books):
    assert books.call("math.sqrt", 4.0) == [0, 2.0]
    assert books.call("builtins.max", 3, 9, 5) == [0, 9]


def test_every_part_of_a_payload_arrives(books):
    fields = {"module_path": "builtins", "function": "dict", "library": None, "idempotent": False}
    assert books.ask("dynamic", fields, [[["a", 1]]], {"b": 2}) == [0, {"a": 1, "b": 2}]


def test_plain_values_come_back_and_other_objects_stay(books):
    status, sent = books.call("fractions.Fraction", 1, 2)
    assert (status, str(sent)) == (0, "1/2")
    status, sent = books.call("collections.Counter", "aab")
    assert (status, sent.session, sent.generation) == (0, "s", 1)
    assert books.method(named(sent), "most_common", 1) == [0, [("a", 2)]]
    assert books.held() == 1


def test_finish_sees_the_reply_and_gives_the_result(books):
    body = join([start("function", {"python_module": "math", "function": "sqrt"}),
                 part({"session_id": "s", "generation": 1}), call_part([9.0], {})])  # fmt: skip
    replies = []
    assert books.send(body, finish=lambda reply: replies.append(reply) or "finished") == "finished"
    assert opened(replies[0]) == [0, 3.0]
    assert replies[0].buffers == []


def test_a_finish_that_raises_does_not_harm_the_next_call(books):
    body = join([start("module_attr", {"python_module": "math", "attr": "pi"}),
                 part({"session_id": "s", "generation": 1})])  # fmt: skip

    def finish(reply):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        books.send(body, finish=finish)
    assert books.connection.in_flight == 0
    assert books.call("math.sqrt", 4.0) == [0, 2.0]


def test_what_travels_in_the_head_is_asked_for_once_a_request(books):
    session, body = object(), pack({**common("release_ref", "none"), "args": []})
    books.send(body, session=session, helper="h")
    books.send(body)
    assert books.asked_for == [(session, "h"), (None, None)]


def test_the_label_of_the_call_says_where_a_ref_was_made(books):
    ref = books.new("builtins.list")
    (row,) = books.control("refs", "s")[1]
    assert row[0] == ref[0]
    assert row[11] == Origin.label


def test_an_exception_is_a_failure_record(books):
    status, (module, name, args, attributes, text, frames, kind, *_) = books.call("math.sqrt", -1.0)
    assert (status, module, name, kind) == (1, "builtins", "ValueError", "exception")
    assert args == [text]
    assert attributes == {}
    assert frames
    assert books.call("math.sqrt", 4.0) == [0, 2.0]


def test_an_error_of_ours_is_its_name_and_arguments(books):
    ref = books.new("builtins.list")
    books.ask("release_ref", {}, [ref[0]])
    status, failure = books.method(ref, "append", 1)
    assert status == 1
    assert failure[1] == "RefNotFoundError"
    assert failure[2][1] == "released"
    assert failure[6] == "own"


def test_an_exit_of_the_called_code_ends_nothing(books):
    status, failure = books.call("sys.exit", 3)
    assert (status, failure[1], failure[6]) == (1, "SystemExit", "other")
    assert books.call("math.sqrt", 4.0) == [0, 2.0]


def test_a_stream_sends_items_until_they_are_taken(books):
    fields = {"python_module": "builtins", "function": "range"}
    _, sent = books.ask("stream", fields, [4], {})
    following = {"stream_ref": named(sent)}

    def ask(most, position):
        return books.ask("stream_next", following, [most, position])

    assert ask(9, 0) == [0, [0, [0], False, False]], "the first comes alone"
    assert ask(9, 0) == [0, [0, [0], False, False]], "nothing was taken, so it is sent again"
    assert ask(2, 1) == [0, [1, [1, 2], False, False]]
    assert ask(9, 2) == [0, [2, [2], False, False]]
    assert ask(9, 3) == [0, [3, [3], True, False]]
    assert ask(9, 4) == [0, [4, [], True, False]], "the end has not been taken"
    assert ask(9, 5) == [0, [5, [], True, False]], "so the iterator is asked again"


def test_output_appears_where_the_call_was_made(books, monkeypatch):
    where, shown = ContextVar("where", default="elsewhere"), []

    class Screen:
        def write(self, text):
            shown.append((where.get(), text))

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stdout", Screen())
    where.set("this cell")
    books.call("builtins.print", "hello")
    assert {place for place, _ in shown} == {"this cell"}
    assert "".join(text for _, text in shown) == "hello\n"


# ---------------------------------------------------------------- large data
def test_a_large_body_travels_both_ways(books):
    data = os.urandom(1 << 20) * 10
    assert books.call("builtins.len", data) == [0, len(data)]
    status, back = books.call("builtins.bytes", data, fetch=True)
    assert (status, back == data) == (0, True)


def test_buffers_travel_beside_the_body_both_ways(books):
    array = numpy.arange(1_500_000)
    buffers = []
    data = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    fields = {"python_module": "numpy", "function": "negative", "session_id": "s"}
    packed = msgpack.ExtType(Ext.PICKLE, pack([data, 0, []]))
    replies = []
    body = join([start("function", {**fields, "generation": 1, "fetch": True}),
                 call_part([packed], {})])  # fmt: skip
    books.send(body, [b.raw() for b in buffers], finish=replies.append)
    assert len(body) < 10_000
    assert len(replies[0].body) < 10_000
    status, data = opened(replies[0])
    back = open_array(data, replies[0].buffers)
    assert (status, back.dtype) == (0, array.dtype)
    assert (back == -array).all()
    back[0] = 7  # received memory is the receiver's own
    assert array[0] == 0


# ---------------------------------------------------------------- declarations
def test_a_session_is_known_from_its_declaration_on(books):
    assert books.call("math.sqrt", 4.0, session="new") == [3, "session released"]
    books.declare("new")
    assert books.call("math.sqrt", 4.0, session="new") == [0, 2.0]
    assert books.call("math.sqrt", 4.0, session="new") == [0, 2.0]


@pytest.mark.parametrize("generation", [0, 1, 3])
def test_another_generation_is_another_session(books, generation):
    books.declare("x", 2)
    assert books.call("math.sqrt", 4.0, session="x", generation=2) == [0, 2.0]
    answer = books.call("math.sqrt", 4.0, session="x", generation=generation)
    assert answer == [3, "session released"]


@pytest.mark.parametrize("ended", ["never", "released", "cell"])
def test_nothing_runs_in_a_session_that_has_ended(books, ended):
    log = books.new("builtins.list")
    if ended != "never":
        books.declare("t")
        books.call("math.sqrt", 4.0, session="t")
        reason = {"released": "session released", "cell": "cell ended"}[ended]
        books.ask("release_session", {"session_id": "t"}, [reason])
    fields = {"python_module": "builtins", "function": "list.append", "session_id": "t"}
    answer = books.ask("function", fields, [argument(log), 1], {})
    assert answer == [3, "cell ended" if ended == "cell" else "session released"]
    assert books.method(log, "__len__") == [0, 0]


def test_a_newer_generation_ends_the_older(books):
    books.declare("x", 1)
    old = books.new("builtins.list", session="x")
    books.declare("x", 2)
    assert books.call("math.sqrt", 4.0, session="x", generation=2) == [0, 2.0]
    assert books.call("math.sqrt", 4.0, session="x") == [3, "session released"]
    assert books.held() == 0
    books.declare("x", 1)  # a declaration that comes late does not bring it back
    assert books.call("math.sqrt", 4.0, session="x") == [3, "session released"]
    fields = {"instance": old, "function": "append", "session_id": "x", "generation": 2}
    assert books.ask("method", fields, [1], {})[1][1] == "RefNotFoundError"


def test_a_second_declaration_changes_the_limits(books):
    books.declare("x", most=1)
    books.new("builtins.list", session="x")
    fields = {"python_module": "builtins", "function": "list", "session_id": "x"}
    assert books.ask("class", fields, [], {})[1][1] == "SessionFullError"
    books.declare("x", most=2)
    assert books.ask("class", fields, [], {})[0] == 0


def test_a_helper_is_declared_with_its_use(books):
    fields = {"helper": "double"}
    status, failure = books.ask("helper", fields, [4], {})
    assert (status, failure[1]) == (1, "BridgeUsageError")
    books.declarations = [["helper", "double", pickle.dumps(abs)]]
    assert books.ask("helper", fields, [-4], {}) == [0, 4]
    assert books.ask("helper", fields, [-5], {}) == [0, 5]
    books.declarations = [["helper", "double", pickle.dumps(str)]]
    assert books.ask("helper", fields, [-5], {}) == [0, "-5"]


def test_the_directory_and_path_follow(books, tmp_path, monkeypatch):
    monkeypatch.chdir(os.getcwd())
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = [*sys.path, str(tmp_path / "more")]
    books.declarations = [*books.declarations, ["environment", str(tmp_path), path]]
    assert books.call("os.getcwd") == [0, str(tmp_path)]
    assert books.run("__import__('sys').path[-1]") == [0, path[-1]]
    books.declarations = [["environment", str(tmp_path / "gone"), None]]
    assert books.call("os.getcwd") == [0, str(tmp_path)]


def test_an_unknown_declaration_is_refused_and_the_next_call_works(books):
    books.call("math.sqrt", 4.0)
    books.declarations = [["wish", 1]]
    status, failure = books.call("math.sqrt", 4.0)
    assert (status, failure[1]) == (1, "ProtocolError")
    assert "'wish'" in failure[4]
    assert books.call("math.sqrt", 4.0) == [0, 2.0]


# ---------------------------------------------------------------- types
def test_a_type_comes_before_the_first_reply_that_needs_it_and_once(books):
    known = []

    def finish(reply):
        known.append([record[0] for records in books.types for record in records])
        return opened(reply)

    books.declarations = [*books.declarations]
    fields = {"python_module": "collections", "function": "Counter", "session_id": "s"}
    body = join([start("class", {**fields, "generation": 1}), call_part([], {})])
    sents = [books.send(body, finish=finish)[1] for _ in range(2)]
    assert sents[0].type == sents[1].type
    assert known == [[sents[0].type], [sents[0].type]]


def test_plain_results_send_no_types(books):
    books.call("math.sqrt", 4.0)
    assert books.types == []


# ---------------------------------------------------------------- releases
def test_receipts_in_the_head_free_what_they_were_for(books):
    ref = books.new("collections.Counter")
    again = books.method(ref, "__iadd__", argument(ref))[1]
    assert again.id == ref[0]
    books.give_back(ref[0], 1)
    books.call("math.sqrt", 4.0)
    assert books.held() == 1
    books.give_back(ref[0], 1)
    books.call("math.sqrt", 4.0)
    assert books.held() == 0


def test_a_release_in_the_head_comes_before_the_call(books):
    books.declare("t")
    books.new("builtins.list", session="t")
    books.give_back(sessions=[("t", 1, "cell ended")])
    assert books.call("math.sqrt", 4.0, session="t") == [3, "cell ended"]
    assert books.held() == 0
    assert books.hears("ended", "t")[:4] == ["t", 1, "cell ended", 1]


def test_a_late_release_of_an_older_generation_does_nothing(books):
    books.declare("x", 1)
    books.new("builtins.list", session="x")
    books.declare("x", 2)
    books.call("math.sqrt", 4.0, session="x", generation=2)
    books.give_back(sessions=[("x", 1, "cell ended")])
    assert books.call("math.sqrt", 4.0, session="x", generation=2) == [0, 2.0]


def test_receipts_of_refs_that_are_gone_do_nothing(books):
    ref = books.new("builtins.list")
    books.give_back(12345, 1, ref[0], 1, ref[0], 1)
    assert books.call("math.sqrt", 4.0) == [0, 2.0]
    assert books.held() == 0


def test_telling_brings_releases_and_declarations_without_a_request(books):
    ref = books.new("builtins.list")
    books.give_back(ref[0], 1)
    books.declare("t")
    books.connection.tell(books.outgoing, patient=True)
    assert books.call("math.sqrt", 4.0, session="t") == [0, 2.0]
    assert books.held() == 0


def test_telling_when_there_is_nothing_to_tell(books):
    books.call("math.sqrt", 4.0)
    for patient in (True, False):
        books.connection.tell(books.outgoing, patient=patient)
    assert books.call("math.sqrt", 4.0) == [0, 2.0]


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_telling_impatiently_never_waits_and_loses_nothing(backend):
    books = open_books(backend)
    connection = books.connection
    door = connection._turn if backend == "memory" else connection._data.send_lock
    try:
        books.declare("s")
        told, done = [], threading.Event()
        with contextlib.ExitStack() as held:
            held.enter_context(door)
            held.callback(done.wait, DEADLINE)

            def tell():
                connection.tell(lambda *_: told.append(1), patient=False)
                done.set()

            impatient = InThread(tell)
        impatient.result()
        assert told == []
        assert books.call("math.sqrt", 4.0) == [0, 2.0]
    finally:
        books.close()


# ---------------------------------------------------------------- limits and expiry
def test_what_does_not_fit_is_refused_whole(books):
    books.declare("x", most=2)
    books.new("builtins.list", session="x")
    fields = {"python_module": "builtins", "function": "eval", "session_id": "x"}
    status, failure = books.ask("function", fields, ["[object(), object()]"], {})
    assert (status, failure[1], failure[2]) == (1, "SessionFullError", ["x", 1, 2, 2])
    assert books.held() == 1


def test_evictions_are_announced(books, capsys):
    books.declare("x", most=1, overflow="evict")
    first = books.new("builtins.list", session="x")
    books.new("builtins.list", session="x")
    assert books.hears("evicted", "x") == ["x", [first[0]]]
    assert books.method(first, "append", 1)[1][2][1] == "evicted"


def test_expiry_is_announced_without_any_call(books):
    books.declare("x", ttl=0.02)
    assert books.call("math.sqrt", 4.0, session="x") == [0, 2.0]
    assert books.hears("ended", "x") == ["x", 1, "expired", 0, 0]
    assert books.call("math.sqrt", 4.0, session="x") == [3, "expired"]


# ---------------------------------------------------------------- control
def test_control_says_what_is_held(books):
    ref = books.new("builtins.list", [1, 2, 3])
    assert books.control("ping") == [0, True]
    status, (busy, since, calls, held, nbytes, start) = books.control("status")
    assert (status, busy, since, calls, held) == (0, None, 0.0, 1, 1)
    assert 0 < nbytes < start
    status, [(session, generation, refs, nbytes, idle, flying)] = books.control("sessions")
    assert (session, generation, refs, flying) == ("s", 1, 1, 0)
    assert nbytes > 0
    assert idle >= 0
    status, [row] = books.control("refs", "s")
    assert (row[0], row[1], row[3], row[5]) == (ref[0], "s", "list", 3)
    assert books.control("refs", None) == [0, [row[:9] + ANY_AGE + row[11:]]]
    assert books.control("refs", "nobody") == [0, []]


class _Any:
    def __eq__(self, other):
        return True

    __hash__ = None


ANY_AGE = [_Any(), _Any()]


def test_control_describes_a_ref(books):
    ref = books.new("builtins.list", [1, 2, 3])
    body = pack({**common("describe", "s"), "args": [ref], "generation": 1})
    status, row = opened(books.connection.control(body, Deadline(DEADLINE)))
    assert (status, row[0], row[3]) == (0, ref[0], "list")
    gone = pack({**common("describe", "s"), "args": [[999, "s", 1]], "generation": 1})
    assert opened(books.connection.control(gone, Deadline(DEADLINE))) == [0, None]


def test_control_changes_limits_but_not_below_what_is_held(books):
    books.new("builtins.list")
    books.new("builtins.list")
    assert books.control("limit", "s", 1, False, 1, 60.0, "error") == [0, 2]
    assert books.control("limit", "s", 1, False, 2, 60.0, "error") == [0, 0]
    fields = {"python_module": "builtins", "function": "list"}
    assert books.ask("class", fields, [], {})[1][1] == "SessionFullError"
    answer = books.control("limit", "s", 2, False, 2, 60.0, "error")
    assert answer == [3, "session released"]


@pytest.mark.parametrize("call_type", ["function", "put", "kept"])
def test_control_runs_no_calls(books, call_type):
    body = pack({**common(call_type, "s"), "function": "print", "args": [], "kwargs": {},
                 "python_module": "builtins"})  # fmt: skip
    status, failure = opened(books.connection.control(body, Deadline(DEADLINE)))
    assert (status, failure[1]) == (1, "ProtocolError")
    assert books.control("ping") == [0, True]


def test_an_unknown_control_request_is_refused(books):
    status, failure = books.control("dance")
    assert (status, failure[1]) == (1, "ProtocolError")
    assert "'dance'" in failure[4]


def test_control_answers_while_a_call_runs(books, gate):
    ref = books.new("builtins.list")
    call = InThread(books.run, gate.READ, gate=gate.path)
    gate.reached()
    assert books.connection.in_flight == 1
    status, (busy, since, calls, held, *_) = books.control("status")
    assert (status, busy, calls, held) == (0, "builtins.eval", 2, 1)
    assert since >= 0
    status, [row] = books.control("sessions")
    assert row[0] == "s"
    assert row[4:] == [0.0, 1]
    assert books.control("refs", "s")[1][0][0] == ref[0]
    body = pack({**common("describe", "s"), "args": [ref]})
    assert opened(books.connection.control(body, Deadline(DEADLINE)))[1][0] == ref[0]
    assert not call.ended(0)
    gate.open()
    assert call.result() == [0, b""]
    assert books.connection.in_flight == 0


def test_a_session_is_released_over_control_while_a_call_runs_in_it(books, gate):
    books.new("builtins.list")
    call = InThread(books.run, f"[{gate.READ}, object()]", gate=gate.path)
    gate.reached()
    body = pack({**common("release_session", "s"), "generation": 1, "args": ["session released"]})
    released = [opened(books.connection.control(body, Deadline(DEADLINE))) for _ in range(2)]
    assert released[0][1][0] == 1
    assert released[1] == released[0], "asked again, it says the same numbers"
    gate.open()
    status, failure = call.result()
    assert (status, failure[1], failure[2][1]) == (1, "RefNotFoundError", "session released")
    assert books.held() == 0


# ---------------------------------------------------------------- callers
def test_callers_at_once_get_their_own_replies(books):
    callers, rounds = 8, 40
    books.call("math.sqrt", 4.0)
    together = threading.Barrier(callers)

    def caller(number):
        together.wait(DEADLINE)
        out = []
        for turn in range(rounds):
            text = f"{number}:{turn} " * (2_000 if turn % 10 == 3 else 1)
            out.append(books.call("builtins.str", text) == [0, text])
        return out

    running = [InThread(caller, n) for n in range(callers)]
    assert all(all(r.result()) for r in running)
    assert books.connection.in_flight == 0
    assert books.control("status")[1][2] == callers * rounds + 1


# ---------------------------------------------------------------- the end
def test_after_closing_everything_says_how_it_ended(books):
    books.new("builtins.list")
    books.connection.close(5.0)
    assert books.connection.death is not None
    for request in (lambda: books.call("math.sqrt", 4.0), lambda: books.control("ping")):
        with pytest.raises(Died) as caught:
            request()
        assert caught.value.death.how == books.connection.death.how
    books.connection.tell(books.outgoing, patient=True)
    books.connection.close(5.0)
    books.connection.kill()


def test_closing_lets_go_of_what_was_held():
    books = open_books("memory")
    let_go = []

    class Thing:
        def __del__(self):
            let_go.append(1)

    try:
        books.declare("s")
        books.declarations.append(["helper", "thing", pickle.dumps(len)])
        books.ask("helper", {"helper": "thing"}, [[]], {})
        books.connection._dispatcher.helpers["thing"] = Thing
        assert books.ask("helper", {"helper": "thing"}, [], {})[0] == 0
        assert let_go == []
    finally:
        books.close()
    assert let_go == [1]


# ---------------------------------------------------------------- a worker process: death
DEATHS = {
    "sigkill": ("os.kill(os.getpid(), 9)", "was ended by SIGKILL (signal 9)"),
    "sigsegv": ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV (signal 11)"),
    "exit": ("os._exit(7)", "exited with code 7"),
    "clean exit": ("os._exit(0)", "exited with code 0"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_death_says_how(worker, death):
    code, how = DEATHS[death]
    with pytest.raises(Died) as caught:
        worker.run(code, os=msgpack.ExtType(Ext.MODULE, b"os"))
    assert caught.value.death.how == how
    assert worker.connection.death.how == how
    assert worker.connection.in_flight == 0


DATA_SOCKET = (
    "min(int(fd) for fd in __import__('os').listdir('/dev/fd')"
    " if __import__('os').path.exists('/dev/fd/' + fd)"
    " and __import__('stat').S_ISSOCK(__import__('os').stat('/dev/fd/' + fd).st_mode))"
)


@pytest.mark.parametrize("size", [3, 100, 100_000])
def test_death_in_the_middle_of_a_reply_says_how(worker, size):
    begun = small(Kind.REPLY, pack([1, None]), bytes(200_000))[:size]
    code = f"__import__('os').write({DATA_SOCKET}, begun) and os._exit(7)"
    with pytest.raises(Died, match="exited with code 7"):
        worker.run(code, begun=begun, os=msgpack.ExtType(Ext.MODULE, b"os"))


def test_a_request_beyond_the_limits_is_refused_and_harms_nothing(worker, monkeypatch):
    ref = worker.new("builtins.list")
    monkeypatch.setattr(limits, "MAX_BUFFERS", 2)
    worker.give_back(ref[0], 1)
    body = join(
        [start("put", {}), part({"session_id": "s", "generation": 1}), call_part([1], None)]
    )
    with pytest.raises(ProtocolError, match="3 buffers exceed the limit of 2"):
        worker.send(body, [b"1", b"2", b"3"])
    assert worker.connection.in_flight == 0
    assert worker.call("math.sqrt", 4.0) == [0, 2.0]


def test_arguments_beyond_the_limits_end_no_worker_and_lose_no_release(local, monkeypatch):
    dropped, other = local.new("list"), local.new("dict")
    monkeypatch.setattr(limits, "MAX_BUFFERS", 2)
    del dropped
    with pytest.raises(bridge_ext.BridgeError):
        local.put([numpy.zeros(100), numpy.ones(100), numpy.arange(100)])
    assert local.call("len", other) == 0
    assert [info.type_name for info in local.refs()] == ["dict"]


def test_death_reaches_every_caller(worker, gate):
    running = [InThread(worker.run, gate.READ, gate=gate.path)]
    gate.reached()
    running += [InThread(worker.call, "math.sqrt", 4.0) for _ in range(4)]
    eventually(lambda: worker.connection.in_flight == 5, "the queue")
    os.kill(worker.connection.pid, signal.SIGTERM)
    for caller in running:
        with pytest.raises(Died, match=r"SIGTERM \(signal 15\)"):
            caller.result()
    assert worker.connection.in_flight == 0


def test_death_reaches_who_waits_for_control(worker):
    assert worker.control("ping") == [0, True]
    process = psutil.Process(worker.connection.pid)
    process.suspend()
    asking = InThread(worker.control, "ping")
    eventually(lambda: worker.connection._control._asked, "the question")
    process.kill()
    with pytest.raises(Died, match="SIGKILL"):
        asking.result()


def test_killing_ends_the_call_and_the_whole_group(worker, gate):
    code = "sub.Popen(['sleep', '600']).pid"
    _, child = worker.run(code, sub=msgpack.ExtType(Ext.MODULE, b"subprocess"))
    call = InThread(worker.run, gate.READ, gate=gate.path)
    gate.reached()
    worker.connection.kill()
    assert not psutil.pid_exists(worker.connection.pid), "it was reaped"
    with pytest.raises(Died, match="SIGKILL"):
        call.result()
    eventually(lambda: not alive(child), "the end of the worker's child")


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_closing_is_polite_and_reaps(worker, tmp_path):
    file = tmp_path / "said goodbye"
    code = "atexit.register(open, path, 'w')"
    worker.run(code, atexit=msgpack.ExtType(Ext.MODULE, b"atexit"), path=str(file))
    worker.connection.close(DEADLINE)
    assert worker.connection.death.how == "exited with code 0"
    assert file.exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.connection.pid, os.WNOHANG)


def test_closing_does_not_wait_for_a_call(worker, gate):
    call = InThread(worker.run, gate.READ, gate=gate.path)
    gate.reached()
    worker.connection.close(600.0)
    with pytest.raises(Died, match="SIGKILL"):
        call.result()
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.connection.pid, os.WNOHANG)


def test_a_worker_that_does_not_end_politely_is_killed(worker):
    code = "threading.Thread(target=threading.Event().wait).start()"
    worker.run(code, threading=msgpack.ExtType(Ext.MODULE, b"threading"))
    worker.connection.close(0.05)
    assert worker.connection.death.how == "was ended by SIGKILL (signal 9)"


# ---------------------------------------------------------------- a worker process: deadlines
def test_a_deadline_ends_the_wait_and_the_late_reply_is_dropped(worker, gate):
    worker.call("math.sqrt", 4.0)
    with pytest.raises(TimedOut):
        worker.run(gate.READ, gate=gate.path, deadline=Deadline(0.05))
    assert worker.connection.in_flight == 1, "it still runs"
    gate.reached().open()
    eventually(lambda: worker.connection.in_flight == 0, "its reply, which nobody waits for")
    assert worker.call("math.sqrt", 9.0) == [0, 3.0]
    assert worker.call("math.sqrt", 16.0) == [0, 4.0]


def test_a_deadline_of_control(worker):
    worker.control("ping")
    process = psutil.Process(worker.connection.pid)
    process.suspend()
    try:
        eventually(lambda: process.status() == psutil.STATUS_STOPPED, "the stop")
        body = pack({"control": "ping", "args": []})
        with pytest.raises(TimedOut):
            worker.connection.control(body, Deadline(0.05))
    finally:
        process.resume()
    assert worker.control("status")[0] == 0, "the late answer is not taken for this one"


def test_control_requests_that_arrive_together_are_all_answered(worker):
    line = worker.connection._control
    worker.control("ping")
    asked, frames = [Asked() for _ in range(3)], []
    with line._channel.send_lock:
        for one in asked:
            line._last += 1
            line._asked[line._last] = one
            head = pack([line._last, None, None, None, ""])
            frames.append(small(Kind.REQUEST, head, pack({"control": "ping", "args": []})))
        line._channel.socket.sendall(b"".join(frames))
    eventually(lambda: all(one.reply is not None for one in asked), "three answers", 2.0)


def test_a_caller_that_gives_up_leaves_the_reading_to_another(worker, gate):
    worker.call("math.sqrt", 4.0)
    first = InThread(worker.run, gate.READ, gate=gate.path, deadline=Deadline(0.3))
    gate.reached()
    second = InThread(worker.call, "math.sqrt", 9.0)
    eventually(lambda: worker.connection.in_flight == 2, "the second caller")
    with pytest.raises(TimedOut):
        first.result()
    gate.open()
    assert second.result() == [0, 3.0]


def test_a_caller_that_gives_up_while_another_reads(worker, gate):
    worker.call("math.sqrt", 4.0)
    first = InThread(worker.run, gate.READ, gate=gate.path)
    gate.reached()
    with pytest.raises(TimedOut):
        worker.call("math.sqrt", 9.0, deadline=Deadline(0.05))
    gate.open()
    assert first.result() == [0, b""]
    assert worker.call("math.sqrt", 16.0) == [0, 4.0]


def test_a_large_late_reply_does_not_block_a_large_request(worker, gate):
    size = 4 << 20  # more than both sockets hold
    code = f"{gate.READ} or bytes({size})"
    with pytest.raises(TimedOut):
        worker.run(code, gate=gate.path, deadline=Deadline(0.05))
    gate.reached().open()
    following = InThread(worker.call, "builtins.len", bytes(size))
    if not following.ended(5.0):
        worker.connection.kill()
        following.ended()
        pytest.fail("the worker sends a reply, the kernel a request, and neither reads")
    assert following.result() == [0, size]


# ---------------------------------------------------------------- the table of base.py
def table():
    """The table in the docstring, as {behaviour: {backend: whether}}."""
    lines = [line for line in base.__doc__.splitlines() if line.startswith("    ")]
    heading, *rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    found = {}
    for behaviours, *cells in rows:
        for behaviour in behaviours.split(", "):
            found[behaviour] = {
                backend: {"yes": True, "no": False}[cell]
                for backend, cell in zip(heading[1:], cells, strict=True)
            }
    return found


TABLE = table()


def test_the_table_has_a_column_for_every_backend():
    assert all(row.keys() == BACKENDS.keys() for row in TABLE.values())
    assert len(TABLE) >= 10


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_backend_lacks_what_the_table_says(backend):
    lacks = {behaviour for behaviour, row in TABLE.items() if not row[backend]}
    assert BACKENDS[backend].lacks == lacks
    assert BACKENDS[backend].name == backend


def ask_timeout(bridge):
    assert bridge.options(timeout=60).call("math.sqrt", 4) == 2.0


def ask_interrupt(bridge):
    bridge.interrupt()


def ask_restart(bridge):
    before = bridge.status().pid
    assert bridge.restart().pid != before


def ask_memory_limit(bridge):
    limit = 1 << 30
    with bridge_ext.Bridge(bridge._backend, memory_limit=limit) as limited:
        path = "resource.getrlimit"
        assert limited.call(path, limited.attr("resource.RLIMIT_DATA")) == (limit, limit)


def ask_death(bridge):
    with pytest.raises(WorkerDiedError):
        bridge.call("os._exit", 1)
    assert bridge.call("math.sqrt", 4) == 2.0


ASK = {
    "timeout": ask_timeout,
    "interrupt": ask_interrupt,
    "restart": ask_restart,
    "memory_limit": ask_memory_limit,
    "death": ask_death,
}


def test_what_some_backend_lacks_can_be_asked_for():
    assert {b for b, row in TABLE.items() if not all(row.values())} == ASK.keys()


@pytest.mark.parametrize("behaviour", sorted(ASK))
def test_asking_for_what_a_backend_lacks_is_a_usage_error(bridge, behaviour):
    backend = bridge._backend.name
    if TABLE[behaviour][backend]:
        ASK[behaviour](bridge)
    elif behaviour != "death":  # nobody can ask for that one
        with pytest.raises(BridgeUsageError, match=f"{backend} backend has no {behaviour}"):
            ASK[behaviour](bridge)
    assert bridge.call("math.sqrt", 4) == 2.0


def test_a_backend_may_be_given_as_an_object():
    with bridge_ext.Bridge(local.LocalBackend({"COLOUR": "blue"})) as bridge:
        assert bridge.call("os.getenv", "COLOUR") == "blue"
