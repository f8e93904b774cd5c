"""What SECURITY.md says, as far as no other test shows it.

tests/test_walls.py has the worker that lies, test_markup.py what markup loses, and
test_worker_life.py that a worker ends with its kernel.
"""

from __future__ import annotations

import contextlib
import gc
import html
import os
import pickle
import pydoc
import re
import subprocess
import sys
import traceback
from pathlib import Path

import msgpack
import psutil
import pytest
from conftest import eventually
from test_walls import DEADLINE, RECORD, Bomb, Fake, notice, reply

import bridge_ext
from bridge_ext import BridgeUsageError, ProtocolError
from bridge_ext.kernel.wire import limits, mimes
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.framing import Kind, small
from bridge_ext.kernel.wire.marks import Ext
from bridge_ext.kernel.worker import kinds
from bridge_ext.widgets.tables import refs_table, report, sessions_table, status_table

ROOT = Path(__file__).parent.parent
EVIL = "\x1b]0;x\x07<script>alert(1)</script>\r\u202e\u061c\x9b31m"
"""What a terminal, a page and a reader would obey."""
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202e]")


def inert(text):
    """Whether a terminal and a page take a text for text."""
    return not OBEYED.search(text)


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def fooled(fake, monkeypatch):
    """A bridge whose worker sends what the test says."""
    monkeypatch.setattr("bridge_ext.kernel.backends.local._BURIAL", 0.05)
    with bridge_ext.Bridge(fake) as bridge:
        yield bridge


def ref(payload, *, length=None, shape=None, nbytes=8):
    """A ref as a worker sends it."""
    where = payload["session_id"], payload.get("generation", 0)
    return msgpack.ExtType(Ext.REF, pack([1, *where, 1, length, shape, nbytes, False]))


def held(fake, bridge, record=RECORD, **facts):
    """A handle on what the worker says that it is."""
    fake.answer = lambda call_id, payload: reply(call_id, [0, ref(payload, **facts)], [record])
    made = bridge.options(session=bridge.create_session("named")).call("math.sqrt", 4)
    fake.answer = fake.good
    return made


# ---------------------------------------------------------------- who can reach what
def links(pid):
    """What the descriptors of a process lead to."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(fd))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")
def test_nothing_has_a_name_and_nothing_listens(local):
    before = links(os.getpid())
    local.fetch(local.put(bytearray(1_000_000)))
    worker = psutil.Process(local.status().pid)
    ours = links(os.getpid()) - before
    nameless = re.compile(r"(socket|pipe|anon_inode):|/memfd:bridge|/dev/null$|/proc/\d+/fd$")
    assert [link for link in links(worker.pid) | ours if not nameless.match(link)] == []
    table = Path(f"/proc/{worker.pid}/net/unix").read_text().splitlines()[1:]
    inodes = {link[8:-1] for link in links(worker.pid) | ours if link.startswith("socket:")}
    rows = [row.split() for row in table if row.split()[6] in inodes]
    assert rows
    assert all(len(row) == 7 for row in rows), "a socket with a path has one column more"
    assert worker.net_connections(kind="inet") == []


def test_a_command_line_says_nothing_of_the_environment():
    with bridge_ext.Bridge(env={"TOKEN": "secret-value"}) as made:
        assert made.call("os.getenv", "TOKEN") == "secret-value"
        line = " ".join(psutil.Process(made.status().pid).cmdline())
    assert "secret-value" not in line
    assert "TOKEN" not in line


def test_a_worker_is_told_nothing_of_jupyter(monkeypatch):
    monkeypatch.setenv("JPY_API_TOKEN", "secret-value")
    with bridge_ext.Bridge() as made:
        assert made.call("os.getenv", "JPY_API_TOKEN") is None


def ask(call_id, payload, args):
    """The frame of a worker that wants a callback run."""
    where = [1, payload["session_id"], payload["generation"]]
    body = pack({"instance": where, "args": args, "kwargs": {}})
    return small(Kind.ASK, pack([1, call_id, False, None]), body)


def test_a_worker_can_have_nothing_run_that_was_not_passed_to_it(fake, fooled):
    ran = []
    fooled.callback(lambda: ran.append(1))
    fake.answer = lambda i, payload: ask(i, payload, []) + reply(i, [0, 2.0])
    assert fooled.call("math.sqrt", 4) == 2.0
    assert ran == []


def test_a_pickle_in_what_a_callback_is_given_stays_closed(fake, fooled, tmp_path):
    bomb = msgpack.ExtType(Ext.PICKLE, pack([pickle.dumps(Bomb(tmp_path / "opened")), 0, []]))
    fake.answer = lambda i, payload: ask(i, payload, [bomb]) + reply(i, [0, 2.0])
    with contextlib.suppress(ProtocolError, bridge_ext.WorkerDiedError):
        fooled.call("math.sqrt", 4)
    assert not (tmp_path / "opened").exists()


SHOWS = {
    "repr": repr,
    "dir": dir,
    "display": lambda r: r._repr_mimebundle_(),
    "hash": hash,
    "info": lambda r: r._bridge_state.client.describe(r._bridge_state),
}


@pytest.mark.parametrize("look", SHOWS.values(), ids=SHOWS)
def test_looking_at_a_ref_opens_no_pickle(fake, fooled, tmp_path, look):
    bomb = msgpack.ExtType(Ext.PICKLE, pack([pickle.dumps(Bomb(tmp_path / "opened")), 0, []]))
    made = held(fake, fooled)
    fake.answer = fake.control = lambda i, payload: reply(i, [0, bomb])
    with contextlib.suppress(bridge_ext.BridgeError):
        look(made)
    assert not (tmp_path / "opened").exists()


PLAIN = """
import sys
import bridge_ext

with bridge_ext.Bridge() as bridge:
    bridge.call("math.sqrt", 4)
    before = set(sys.modules)
    bridge.call("builtins.eval", sys.argv[1])
    print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    ("value", "modules"),
    [
        ("[1, 2.0, 'x', b'x', {1: (2, {3})}, range(3)]", set()),
        ("__import__('decimal').Decimal(1)", {"decimal", "numbers", "_decimal"}),
        ("__import__('uuid').UUID(int=1)", {"uuid", "_uuid", "platform"}),
    ],
)
def test_a_plain_result_imports_the_modules_of_its_values_alone(value, modules):
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, value],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    new = {n for n in done.stdout.split() if not n.startswith(("bridge_ext", "encodings"))}
    assert new <= modules


# ---------------------------------------------------------------- what is not believed
SIZES = {
    "a text for a length": {"length": EVIL},
    "a negative length": {"length": -1},
    "a length beyond all bounds": {"length": 2**64},
    "a text for a shape": {"shape": EVIL},
    "a text in a shape": {"shape": [EVIL]},
    "a shape of many dimensions": {"shape": [1] * 1000},
    "a text for a size": {"nbytes": EVIL},
}


@pytest.mark.parametrize("facts", SIZES.values(), ids=SIZES)
def test_a_ref_of_impossible_size_is_no_ref(fake, fooled, facts):
    with pytest.raises(ProtocolError) as caught:
        held(fake, fooled, **facts)
    assert inert(str(caught.value))
    fake.answer = fake.good
    assert fooled.call("math.sqrt", 4) == 2.0


def looked(look):
    """What a table shows, as text and as HTML; or the text of the error in its place, and ""."""
    try:
        table = look()
    except ProtocolError as error:
        return str(error), ""
    return repr(table), table._repr_html_()


ROW = [1, "named", 1, "Thing", "m", None, None, 8, False, 0.0, 0.0, "cell", None, 8]
TEXTS = {1, 3, 4, 11, 12}
"""The fields of a ref's row that are texts, or may be."""


@pytest.mark.parametrize("field", range(len(ROW)))
@pytest.mark.parametrize("evil", [EVIL, -1, [EVIL], 2.5])
def test_a_row_of_a_ref_is_checked_before_it_is_shown(fake, fooled, field, evil):
    made = held(fake, fooled)
    row = [*ROW[:field], evil, *ROW[field + 1 :]]
    fake.control = lambda i, payload: (
        reply(i, [0, [row]]) if payload.get("control") == "refs" else fake.good_control(i, payload)
    )
    text, page = looked(lambda: refs_table(fooled.refs(), {}, times=True))
    assert inert(text)
    assert "<script" not in page
    assert bool(page) or field not in TEXTS or evil is not EVIL
    assert inert(repr(made))


@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize("evil", [EVIL, -1, [EVIL]])
def test_the_status_of_a_worker_is_checked_before_it_is_shown(fake, fooled, field, evil):
    fooled.call("math.sqrt", 4)
    row = [None, 0.0, 1, 0, 0, None]
    row[field] = evil
    fake.control = lambda i, payload: reply(i, [0, row])
    text, page = looked(lambda: status_table(fooled.status()))
    assert inert(text)
    assert "<script" not in page


@pytest.mark.parametrize("field", range(6))
def test_a_row_of_a_session_is_checked_before_it_is_shown(fake, fooled, field):
    held(fake, fooled)
    row = ["named", 1, 1, 8, 0.0, 0]
    row[field] = EVIL
    fake.control = lambda i, payload: reply(i, [0, [row]])
    text, page = looked(lambda: sessions_table(fooled.sessions(), times=True))
    assert inert(text)
    assert bool(page) == (field == 0)


@pytest.mark.parametrize("answer", [[EVIL, 1], [1, EVIL], [-1, 1], EVIL, [], None])
def test_what_a_release_has_freed_is_checked(fake, fooled, answer):
    made = held(fake, fooled)
    fake.answer = lambda i, payload: reply(i, [0, answer])
    with pytest.raises(ProtocolError):
        fooled.release(made)
    fake.answer = fake.good


def test_the_reason_of_an_end_is_inert_wherever_it_is_shown(fake, fooled):
    made = held(fake, fooled)
    generation = fooled._remote.sessions.find("named").generation
    fake.send_control(notice(pack(["ended"]), pack(["named", generation, EVIL, 1, 8])))
    eventually(lambda: made._bridge_state.ended())
    with pytest.raises(bridge_ext.RefNotFoundError) as caught:
        made.append(1)
    assert inert(repr(made))
    assert inert(str(caught.value))


def test_the_reason_of_a_refused_call_is_inert(fake, fooled):
    made = held(fake, fooled)
    fake.answer = lambda i, payload: reply(i, [3, EVIL])
    with pytest.raises(bridge_ext.BridgeError) as caught:
        made.append(1)
    fake.answer = fake.good
    assert inert(str(caught.value))
    assert inert(repr(made))
    assert inert(repr(sessions_table(fooled.sessions())))


@pytest.mark.parametrize(
    "details", [["named", 1, 5, 1, 1], ["named", 1, EVIL, EVIL, 1], ["named", "1", "", 1, 1], [1]]
)
def test_news_that_are_none_end_the_worker(fake, fooled, details):
    made = held(fake, fooled)
    fake.send_control(notice(pack(["ended"]), pack(details)))
    eventually(lambda: made._bridge_state.ended())
    with pytest.raises(bridge_ext.SessionLostError, match="broke the protocol") as caught:
        made.append(1)
    assert inert(str(caught.value))
    assert fooled.call("math.sqrt", 4) == 2.0


# ---------------------------------------------------------------- what is shown
MEMBERS = [
    [EVIL, "method", "(x)", EVIL],
    ["fine", EVIL, EVIL, EVIL],
    ["a b", "attribute", None, None],
    ["method", "method", f"(a='{EVIL}')", EVIL],
]


def test_names_that_are_none_are_no_members_and_texts_of_others_are_inert(fake, fooled):
    made = held(fake, fooled, [1, EVIL, EVIL, "object", [], EVIL, MEMBERS])
    assert dir(made) == ["fine", "method"]
    shown = pydoc.plain(pydoc.render_doc(type(made)))
    assert inert(shown.replace("\\x", ""))
    assert inert(repr(made))
    assert inert(type(made).__doc__)


def test_tables_are_inert_whatever_is_in_them(local):
    with local.session("a", tags={EVIL: EVIL}):
        made = local.new("list")
        local.keep(made, EVIL)
    tables = [
        sessions_table(local.sessions(), times=True),
        refs_table(local.refs(), {}, times=True),
        report(local._remote and snapshot_of(local)),
    ]
    for table in tables:
        assert inert(repr(table).replace("\n", ""))
        assert "<script" not in table._repr_html_()
    assert html.escape("<script>") in tables[0]._repr_html_()


def snapshot_of(bridge):
    from bridge_ext.kernel.watching import Watch

    return Watch(bridge._remote, bridge._holders, dict).look()


@pytest.mark.parametrize(
    "make",
    [
        lambda bridge: bridge.session(EVIL),
        lambda bridge: bridge.register_helper(len, name=EVIL),
        lambda bridge: bridge.module(EVIL),
        lambda bridge: bridge.call(EVIL),
        lambda bridge: bridge.release(EVIL),
        lambda bridge: bridge.options(session=EVIL),
    ],
    ids=["session", "helper", "module", "path", "id", "option"],
)
def test_a_name_that_would_be_obeyed_is_refused_by_a_text_that_is_not(local, make):
    with pytest.raises((BridgeUsageError, bridge_ext.BridgeError)) as caught:
        make(local)
    assert inert(str(caught.value))


HOSTILE = """
EVIL = {evil!r}
Made = type(EVIL, (), {{"__module__": EVIL, "__doc__": EVIL, "fine": 1, EVIL: 2}})
Made.__repr__ = lambda self: EVIL
Made.__dir__ = lambda self: [EVIL, "fine"]

class Keyed(dict):
    __doc__ = EVIL

class Failure(Exception):
    pass

Failure.__name__ = Failure.__qualname__ = EVIL

def fail():
    raise Failure("text")
"""


@pytest.fixture
def hostile(local, tmp_path, monkeypatch):
    """A real worker, with a module whose every name would be obeyed."""
    (tmp_path / "hostile_names.py").write_text(HOSTILE.format(evil=EVIL), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return local


def test_names_of_a_real_worker_are_inert_everywhere(hostile):
    made = hostile.new("hostile_names.Made")
    shown = [
        repr(made),
        repr(refs_table(hostile.refs(), {})),
        repr(hostile.info(made)),
        repr(report(snapshot_of(hostile))),
        *dir(made),
        pydoc.plain(pydoc.render_doc(type(made))).replace("\n", ""),
        str(hostile.doctor()).replace("\n", ""),
    ]
    assert all(map(inert, shown)), shown
    assert "fine" in dir(made)


def test_the_type_of_an_error_is_inert_in_its_traceback(hostile):
    with pytest.raises(Exception, match="text") as caught:
        hostile.call("hostile_names.fail")
    shown = "".join(traceback.format_exception(caught.value))
    assert inert(shown.replace("\n", ""))


def test_keys_that_completion_offers_are_shown_as_literals(hostile):
    """IPython writes the key as `repr` does."""
    keys = hostile.new("hostile_names.Keyed", {EVIL: 1})._ipython_key_completions_()
    assert keys in ([], [EVIL])
    assert inert(repr(keys))


# ---------------------------------------------------------------- limits
def test_a_flood_of_types_has_an_end(fake, fooled, monkeypatch):
    monkeypatch.setattr("bridge_ext.kernel.incarnation.MAX_STUBS", 1_000)
    sent = []

    def answer(call_id, payload):
        number = len(sent) + 1
        sent.append(number)
        members = [[f"m{n}", "method", "()", ""] for n in range(300)]
        return reply(call_id, [0, 2.0], [[number, "T", "m", "object", [], "", members]])

    fake.answer = answer
    for _ in range(3):
        assert fooled.call("math.sqrt", 4) == 2.0
    with pytest.raises((ProtocolError, bridge_ext.WorkerDiedError), match="exceed the limit"):
        fooled.call("math.sqrt", 4)
    fake.answer = fake.good
    assert fooled.call("math.sqrt", 4) == 2.0


@pytest.mark.parametrize("number", [0, -1, 2 * limits.MAX_TYPES + 1, "1", 2**70])
def test_a_type_of_an_impossible_number_breaks_the_protocol(fake, fooled, number):
    fake.answer = lambda i, payload: reply(i, [0, 2.0], [[number, *RECORD[1:]]])
    with pytest.raises((ProtocolError, bridge_ext.WorkerDiedError)):
        fooled.call("math.sqrt", 4)


def test_one_record_has_no_more_members_and_text_than_an_honest_one(fake, fooled):
    many = [[f"m{n}", "method", "(", "x" * 10_000] for n in range(limits.MAX_MEMBERS + 10)]
    many[3][0] = "y" * 100_000
    made = held(fake, fooled, [1, "Thing", "m", "object", [], "x" * 10_000, many])
    assert len(dir(made)) == limits.MAX_MEMBERS - 1
    assert len(type(made).m7.__doc__) < 2 * limits.MAX_DOC
    assert len(type(made).__doc__) < 2 * limits.MAX_DOC


MANY = """
import bridge_ext

with bridge_ext.Bridge(max_refs=100_000) as bridge:
    first = bridge.call("builtins.eval", "type('First', (), {'__len__': lambda self: 5})()")
    make = bridge.call("builtins.eval", "lambda n: [type('T', (), {})() for _ in range(n)]")
    for _ in range(50):
        made = make(500)
    del made
    again = bridge.call("builtins.type", first)()
    assert (repr(again), len(again)) == ("<ref First>", 5)
    assert len(bridge._remote.incarnation._types) <= 10_000, "numbers are given again"
"""


def test_an_honest_worker_may_have_any_number_of_types():
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_numbers_of_types_that_are_gone_are_given_again(monkeypatch):
    monkeypatch.setattr(kinds, "MAX_TYPES", 50)
    table = kinds.TypeTable()
    for _ in range(50):
        made = [type("T", (), {}) for _ in range(20)]
        numbers = {table.info(t).id for t in made}
        assert len(numbers) == 20
        assert max(numbers) <= 50
        assert {table.info(t).id for t in made} == numbers
        del made
        gc.collect()
    made = [type("T", (), {}) for _ in range(100)]
    numbers = [table.info(t).id for t in made]
    assert sorted(numbers) == [*range(1, 101)], "what has no room has numbers of its own"
    assert [table.info(t).id for t in made if t is made[0]] == numbers[:1]


FLOOD = """
import resource, sys
import bridge_ext

class Nowhere:
    written = 0
    def write(self, text):
        self.written += len(text)
    def flush(self):
        pass

with bridge_ext.Bridge() as bridge:
    bridge.call("builtins.print", "x")
    out, sys.stdout = sys.stdout, Nowhere()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bridge.call("builtins.exec", "import os\\nfor _ in range(1600): os.write(1, b'x' * 65536)")
    bridge.call("builtins.exec", "for n in range(5_000): display(n)")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    written, sys.stdout = sys.stdout.written, out
assert written > 100_000_000, written
print(grown)
"""


def test_a_flood_of_output_takes_no_memory_of_the_kernels():
    done = subprocess.run(
        [sys.executable, "-c", FLOOD],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE * 6,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 30_000, "kilobytes"


def test_the_limits_that_the_document_names_are_those_of_the_code():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", text, re.MULTILINE))
    assert rows["a frame's head, its body"] == "64 MB, 1 GB"
    assert (limits.MAX_HEAD, limits.MAX_BODY) == (64 << 20, 1 << 30)
    assert rows["types that a kernel knows, their members"] == "20,000, 2 million"
    assert (2 * limits.MAX_TYPES, limits.MAX_STUBS) == (20_000, 2_000_000)
    assert rows["one type's members, a docstring, a signature"].startswith("4,000; 400 and 4,000")
    assert (limits.MAX_MEMBERS, limits.MAX_DOC) == (4_000, 400)
    assert rows["one MIME type of a display"] == "4 MB"
    assert limits.MAX_DISPLAY == 4 << 20
    assert rows["an error: exceptions, frames of each"] == "100, 1,000"
    assert (limits.MAX_ERRORS, limits.MAX_FRAMES) == (100, 1_000)
    assert rows["an answer to completion"] == "1,000 keys, 4,000 names"
    assert limits.MAX_KEYS == 1_000
    assert mimes.content("text/x-anything", "x") is None
