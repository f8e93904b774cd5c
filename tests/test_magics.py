"""The extension in a shell of this process: loading, the magics, configuration, holders."""

from __future__ import annotations

import atexit
import contextlib
import gc
import re
import sys
import threading
from collections import OrderedDict

import IPython
import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from traitlets.config import Config

import bridge_ext
from bridge_ext import (
    BridgeClosedError,
    BridgeUsageError,
    CallTimeoutError,
    Ref,
    RefNotFoundError,
    SessionFullError,
    SessionLostError,
    SessionMismatchError,
    SessionNotFoundError,
    Status,
)


class Notebook:
    """A fresh shell, and cells to run in it."""

    def __init__(self, directory, **settings):
        config = Config({"HistoryManager": {"enabled": False}, "Bridge": settings})
        config.InteractiveShell.xmode = "Minimal"
        config.InteractiveShell.colors = "nocolor"
        self.shell = InteractiveShell.instance(config=config, ipython_dir=str(directory))
        with contextlib.redirect_stdout(None):  # IPython loads these magics when first asked
            self.shell.run_line_magic("unload_ext", "nothing_of_that_name")

    def execute(self, code):
        """Run a cell, however it ends."""
        return self.shell.run_cell(code, store_history=True)

    def run(self, code):
        """Run a cell that must succeed; the value of its last expression."""
        done = self.execute(code)
        assert done.success, (code, done.error_before_exec, done.error_in_exec)
        return done.result

    def fail(self, code, kind=Exception):
        """Run a cell that must fail; its error."""
        done = self.execute(code)
        assert done.success is False, code
        error = done.error_in_exec or done.error_before_exec
        assert isinstance(error, kind), repr(error)
        return error

    def __getitem__(self, name):
        return self.shell.user_ns[name]

    def __contains__(self, name):
        return name in self.shell.user_ns

    @property
    def bridge(self):
        return self["bridge"]

    def close(self):
        bridge_ext.unload_ipython_extension(self.shell)
        self.shell.reset(new_session=False)
        self.shell.restore_sys_module_state()
        self.shell.atexit_operations()
        atexit.unregister(self.shell.atexit_operations)
        InteractiveShell.clear_instance()


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Starts a notebook; its keywords are `c.Bridge.*`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for hook in ("excepthook", "displayhook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    made = []

    def start(**settings):
        made.append(Notebook(tmp_path, **settings))
        return made[-1]

    yield start
    for notebook in made:
        notebook.close()
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)


@pytest.fixture
def bare(start):
    """Without the extension."""
    return start(backend="memory")


@pytest.fixture
def notebook(start):
    """With the extension, calling in this process."""
    made = start(backend="memory")
    made.run("%load_ext bridge_ext")
    return made


@pytest.fixture
def real(start):
    """With the extension, and a worker process of its own."""
    made = start()
    made.run("%load_ext bridge_ext")
    return made


def state_of(shell):
    """Everything that loading an extension may add to."""
    manager = shell.magics_manager
    transformer = shell.input_transformer_manager
    return {
        "hooks": {event: list(hooks) for event, hooks in shell.events.callbacks.items()},
        "cleanup": list(shell.input_transformers_cleanup),
        "post": list(shell.input_transformers_post),
        "lines": list(transformer.line_transforms),
        "tokens": list(transformer.token_transformers),
        "ast": list(shell.ast_transformers),
        "line magics": dict(manager.magics["line"]),
        "cell magics": dict(manager.magics["cell"]),
        "registry": dict(manager.registry),
        "configurables": list(shell.configurables),
        "names": {n for n in shell.user_ns if not n.startswith("_")},  # the others are history
        "hidden": {n for n in shell.user_ns_hidden if not n.startswith("_")},
        "matchers": list(shell.Completer.custom_matchers),
        "formatters": {
            kind: (dict(f.type_printers), dict(f.deferred_printers))
            for kind, f in shell.display_formatter.formatters.items()
        },
        "threads": {t for t in threading.enumerate() if t.name.startswith("bridge-")},
        "exception handlers": shell.custom_exceptions,
        "excepthook": sys.excepthook,
        "path": list(sys.path),
        "finders": list(sys.meta_path),
    }


def hooks_of_ours(shell):
    """How many hooks, transformers and configurables are ours."""
    hooks = [h for hooks in shell.events.callbacks.values() for h in hooks]
    found = [*hooks, *shell.input_transformers_cleanup, *map(type, shell.configurables)]
    return sum(getattr(f, "__module__", "").partition(".")[0] == "bridge_ext" for f in found)


def alive(pid):
    return psutil.pid_exists(pid)


# ---------------------------------------------------------------- load and unload
def test_unload_takes_away_exactly_what_load_has_added(bare):
    before = state_of(bare.shell)
    bridge_ext.load_ipython_extension(bare.shell)
    assert state_of(bare.shell) != before
    bridge_ext.unload_ipython_extension(bare.shell)
    assert state_of(bare.shell) == before


def test_unload_after_use_takes_away_the_same(start):
    notebook = start()
    before = state_of(notebook.shell)
    notebook.run("%load_ext bridge_ext")
    pid = notebook.run("%bridge call os.getpid;\nbridge.status().pid")
    notebook.run("%session shared")
    notebook.run("%%session other\nkept = bridge.new('list');")
    notebook.run("del kept")
    notebook.run("%unload_ext bridge_ext")
    assert not alive(pid), "unloading returns when the worker has ended"
    assert state_of(notebook.shell) == before


def test_loading_adds_the_magics_and_the_name(notebook):
    assert isinstance(notebook.bridge, bridge_ext.Bridge)
    assert {"bridge", "session"} <= set(notebook.shell.magics_manager.magics["line"])
    assert "session" in notebook.shell.magics_manager.magics["cell"]


@pytest.mark.parametrize(
    "again",
    ["%load_ext bridge_ext", "import bridge_ext as b; b.load_ipython_extension(get_ipython())"],
)
def test_loading_twice_changes_nothing(notebook, again):
    before = state_of(notebook.shell)
    bridge = notebook.bridge
    notebook.run(again)
    assert notebook.bridge is bridge
    after = state_of(notebook.shell)
    assert after["hooks"] == before["hooks"]
    assert after["cleanup"] == before["cleanup"]
    assert after["configurables"] == before["configurables"]


def test_unloading_what_is_not_loaded_changes_nothing(bare):
    before = state_of(bare.shell)
    bridge_ext.unload_ipython_extension(bare.shell)
    assert state_of(bare.shell) == before


def test_unloading_closes_the_bridge_and_its_refs(real):
    real.run("bridge_before = bridge; x = bridge.new('list')")
    real.run("%unload_ext bridge_ext")
    assert "bridge" not in real
    real.fail("bridge_before.call('math.sqrt', 4)", BridgeClosedError)
    real.fail("x.append(1)", BridgeClosedError)
    assert repr(real["x"]).startswith("<ref list")


def test_reload_leaves_one_of_everything(real):
    pid = real.run("bridge.call('os.getpid')")
    ours = hooks_of_ours(real.shell)
    state = state_of(real.shell)
    old = real.bridge
    real.run("%reload_ext bridge_ext")
    assert not alive(pid), "one worker"
    assert hooks_of_ours(real.shell) == ours
    after = state_of(real.shell)
    for part in ("hooks", "cleanup", "line magics", "cell magics", "registry", "configurables"):
        assert len(after[part]) == len(state[part]), part
    assert len(after["hooks"]["pre_run_cell"]) == len(state["hooks"]["pre_run_cell"])
    assert len(after["hooks"]["post_run_cell"]) == len(state["hooks"]["post_run_cell"])
    assert real.bridge is not old
    real.run("pid = bridge.call('os.getpid')")
    mine = [p for p in psutil.Process().children() if p.pid == real["pid"]]
    assert len(mine) == 1
    assert len([t for t in threading.enumerate() if t.name.startswith("bridge-")]) == len(
        state["threads"]
    )
    with pytest.raises(BridgeClosedError):
        old.call("math.sqrt", 4)


def test_the_cell_that_reloads_goes_on_with_the_new_bridge(notebook):
    value = notebook.run(
        "x = bridge.new('list')\n%reload_ext bridge_ext\nid = bridge.current_session()\n"
        "bridge.call('math.sqrt', 4)"
    )
    assert value == 2.0
    assert notebook["id"].startswith("auto_")
    notebook.run("after = bridge.current_session()")
    assert notebook["after"] != notebook["id"]


def test_the_cell_that_unloads_ends_well(notebook):
    notebook.run("x = bridge.new('list')\n%unload_ext bridge_ext\ny = 1")
    assert notebook["y"] == 1
    notebook.run("z = 2")


def test_magics_that_had_our_names_are_back_after_unloading(start):
    bare = start()

    @magics_class
    class Bridge(Magics):
        @line_magic
        def bridge(self, line):
            return "theirs"

        @line_cell_magic
        def session(self, line, cell=None):
            return "theirs"

    bare.shell.register_magics(Bridge)
    before = state_of(bare.shell)
    bare.run("%load_ext bridge_ext")
    assert bare.run("%bridge call math.sqrt 4") == 2.0
    bridge_ext.unload_ipython_extension(bare.shell)
    after = state_of(bare.shell)
    for part in ("line magics", "cell magics", "registry", "configurables"):
        assert after[part] == before[part], part
    assert bare.run("%bridge") == "theirs"


def test_a_load_that_fails_adds_nothing(start):
    notebook = start(max_refs=-1)
    before = state_of(notebook.shell)
    notebook.fail("%load_ext bridge_ext", BridgeUsageError)
    assert state_of(notebook.shell) == before


def test_the_worker_starts_with_the_first_call_and_not_with_the_extension(real):
    assert real.run("bridge.status()").pid is None
    real.run("x = 1")
    assert real.run("bridge.status()").pid is None
    assert real.run("bridge.sessions()") == []
    pid = real.run("bridge.call('os.getpid')")
    assert real.run("bridge.status()").pid == pid


# ---------------------------------------------------------------- the name
def test_a_name_that_is_taken_is_left_alone_and_said_so(bare, capsys):
    bare.run("bridge = 'mine'")
    capsys.readouterr()
    bare.run("%load_ext bridge_ext")
    assert "'bridge'" in capsys.readouterr().out
    assert bare["bridge"] == "mine"
    assert bare.run("%bridge call math.sqrt 4") == 2.0
    assert isinstance(bare.run("b = %bridge\nb"), bridge_ext.Bridge)
    bare.run("%unload_ext bridge_ext")
    assert bare["bridge"] == "mine"


def test_nothing_is_said_where_the_name_is_free(bare, capsys):
    capsys.readouterr()
    bare.run("%load_ext bridge_ext")
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_a_name_that_the_user_has_taken_since_survives_unloading(notebook):
    notebook.run("bridge = 'mine'")
    notebook.run("%unload_ext bridge_ext")
    assert notebook["bridge"] == "mine"


def test_reload_leaves_a_taken_name_alone(notebook):
    notebook.run("bridge = 'mine'")
    notebook.run("%reload_ext bridge_ext")
    assert notebook["bridge"] == "mine"
    assert notebook.run("%bridge call math.sqrt 9") == 3.0


# ---------------------------------------------------------------- %bridge call, new, attr
def test_a_call_gives_the_value_and_can_be_assigned(notebook):
    assert notebook.run("%bridge call math.sqrt 4") == 2.0
    assert notebook.run("x = %bridge call math.sqrt 9") is None
    assert notebook["x"] == 3.0


def test_new_gives_a_ref_and_attr_a_value(notebook):
    assert isinstance(notebook.run("%bridge new list [1,2]"), Ref)
    assert repr(notebook.run("%bridge new list [1,2]")) == "<ref list of 2>"
    assert notebook.run("%bridge attr math.pi") == pytest.approx(3.14159, abs=1e-5)


def test_words_are_literals_names_attributes_and_keywords(notebook):
    notebook.run("text = 'c,a,b'\nclass Settings: order = True\nsettings = Settings()")
    assert notebook.run("%bridge call builtins:str.split text ','") == ["c", "a", "b"]
    value = notebook.run("%bridge call sorted ['c', 'a b', 'b'] reverse=settings.order")
    assert value == ["c", "b", "a b"]
    assert notebook.run("%bridge call dict a=1 b=text") == {"a": 1, "b": "c,a,b"}


def test_a_ref_may_be_a_word(notebook):
    notebook.run("x = %bridge new list [3,1,2]")
    assert notebook.run("%bridge call sorted x") == [1, 2, 3]


def test_a_semicolon_silences(notebook, capsys):
    notebook.run("%bridge call math.sqrt 4")
    assert "2.0" in capsys.readouterr().out
    notebook.run("%bridge call math.sqrt 16;")
    assert "4.0" not in capsys.readouterr().out
    notebook.run("%bridge call math.sqrt 16 ;")
    assert "4.0" not in capsys.readouterr().out


def test_what_a_semicolon_silences_is_not_held_by_out(notebook):
    notebook.run("%bridge new list [1,2];")
    gc.collect()
    assert notebook.run("bridge.refs()") == []


def test_a_semicolon_does_not_hinder_assignment(notebook):
    notebook.run("x = %bridge call math.sqrt 16;")
    assert notebook["x"] == 4.0


def test_a_semicolon_in_quotes_is_text(notebook):
    assert notebook.run("%bridge call len 'a;'") == 2
    assert notebook.run("%bridge call builtins:str.split 'a;b' ';'") == ["a", "b"]


def test_a_magic_in_a_function_sees_its_locals(notebook):
    notebook.run(
        "n = 'the global one'\ndef root(n):\n    y = %bridge call math.sqrt n\n    return y\n"
    )
    assert notebook.run("[root(4), root(9)]") == [2.0, 3.0]


def test_a_magic_in_a_function_falls_back_to_the_users_names(notebook):
    notebook.run("m = 16\ndef root():\n    y = %bridge call math.sqrt m\n    return y\n")
    assert notebook.run("root()") == 4.0


def test_a_magic_in_a_loop_takes_each_value(notebook):
    notebook.run(
        "roots = []\nfor n in (1, 4, 9):\n    y = %bridge call math.sqrt n\n    roots.append(y)"
    )
    assert notebook["roots"] == [1.0, 2.0, 3.0]


def test_nothing_is_pasted_as_a_string(notebook):
    notebook.run("x = '4'")
    assert notebook.run("%bridge call len '{x}'") == 3
    assert notebook.run("%bridge call len '$x'") == 2
    assert notebook.run("%bridge call len '{x!r}{{}}'") == len("{x!r}{{}}")
    for word in ("{x}", "$x", "$(x)", "{x}.y"):
        error = notebook.fail(f"%bridge call math.sqrt {word}", BridgeUsageError)
        assert word in str(error)


def test_a_value_with_blanks_quotes_or_options_in_it_stays_one_argument(notebook):
    notebook.run("""text = "a b' -s other [" """)
    assert notebook.run("%bridge call len text") == len("a b' -s other [")


def test_option_s_runs_in_a_session_and_makes_it(notebook):
    notebook.run("x = %bridge call -s shared collections.OrderedDict")
    assert notebook.bridge.info(notebook["x"]).session_id == "shared"
    notebook.run("y = %bridge new -s shared list")
    assert notebook.bridge.info(notebook["y"]).session_id == "shared"
    assert notebook.bridge.session_info("shared").refs == 2


def test_option_f_brings_the_result(notebook):
    assert type(notebook.run("%bridge call -f collections.OrderedDict")) is OrderedDict
    assert isinstance(notebook.run("%bridge call collections.OrderedDict"), Ref)


def test_option_t_gives_up(real):
    error = real.fail("%bridge call -t 0.2 time.sleep 60", CallTimeoutError)
    assert "0.2" in str(error)
    assert real.run("%bridge call -t 10 math.sqrt 4") == 2.0


def test_a_magic_obeys_the_session_in_force(notebook):
    notebook.run("%%session shared\nx = %bridge new list")
    assert notebook.bridge.info(notebook["x"]).session_id == "shared"
    notebook.run("with bridge.session('block'):\n    y = %bridge new list")
    assert notebook.bridge.info(notebook["y"]).session_id == "block"


# ---------------------------------------------------------------- help and mistakes
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%bridge -h", "call"),
        ("%bridge --help", "release"),
        ("%bridge call -h", "%bridge call [-s ID] [-t SECONDS] [-f] PATH"),
        ("%bridge call -s shared --help", "%bridge call"),
        ("%bridge new -h", "%bridge new"),
        ("%bridge attr -h", "%bridge attr"),
        ("%bridge release -h", "%bridge release"),
        ("%bridge doctor -h", "%bridge doctor"),
        ("%session -h", "%session --clear"),
    ],
)
def test_help_is_shown_and_is_no_mistake(notebook, capsys, line, said):
    notebook.run(line)
    assert said in capsys.readouterr().out
    assert notebook.bridge.sessions() == []


@pytest.mark.parametrize("name", ["%bridge", "%session", "%%session"])
def test_a_question_mark_explains_the_magic(notebook, name, capsys):
    capsys.readouterr()
    notebook.run(name + "?")
    shown = capsys.readouterr().out
    assert name.lstrip("%") in shown
    assert "PATH" in shown or "--max-refs" in shown


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("%bridge cal math.sqrt 4", ["'cal'", "call", "%bridge?"]),
        ("%bridge sesions", ["'sesions'", "sessions"]),
        ("%bridge nothing_like_it", ["'nothing_like_it'", "release", "status"]),
        ("%bridge call", ["PATH", "%bridge call -h"]),
        ("%bridge call -s shared", ["PATH"]),
        ("%bridge new", ["PATH", "%bridge new -h"]),
        ("%bridge call --nope math.sqrt 4", ["--nope", "%bridge call -h"]),
        ("%bridge call -t soon math.sqrt 4", ["soon"]),
        ("%bridge call -t -1 math.sqrt 4", ["-1"]),
        ("%bridge call -s bad/id math.sqrt 4", ["bad/id"]),
        ("%bridge call math.sqrt taxi", ["taxi"]),
        ("%bridge call math.sqrt 'open", ["'open"]),
        ("%bridge call math.sqrt [1", ["[1"]),
        ("%bridge call math.sqrt 1+1", ["1+1"]),
        ("%bridge call a..b 4", ["a..b"]),
        ("%bridge attr math.pi 4", ["4"]),
        ("%bridge sessions 4", ["4"]),
        ("%bridge status now", ["now"]),
        ("%bridge restart now", ["now"]),
        ("%bridge doctor now", ["now"]),
        ("%bridge refs a b", ["a", "b"]),
        ("%bridge release", ["--all"]),
        ("%bridge release x --all", ["--all"]),
        ("%bridge release --everything", ["--everything"]),
        ("%session bad/id", ["bad/id"]),
        ("%session a b", ["b"]),
        ("%session --clear shared", ["shared"]),
        ("%session shared --release", ["--release"]),
        ("%session --nope", ["--nope"]),
        ("%%session\nx = 1", ["ID"]),
        ("%%session bad/id\nx = 1", ["bad/id"]),
        ("%%session a --nope\nx = 1", ["--nope"]),
        ("%%session a --max-refs many\nx = 1", ["many"]),
        ("%%session a --max-refs 0\nx = 1", ["0"]),
        ("%%session a --ttl -1\nx = 1", ["-1"]),
        ("%%session a --overflow drop\nx = 1", ["drop"]),
        ("%%session a --tag novalue\nx = 1", ["novalue"]),
        ("%%session --clear\nx = 1", ["ID"]),
        ("%%session a 'open\nx = 1", ["'open"]),
        ("%%session bad/id\n%%time\nx = 1", ["bad/id"]),
        ("%%session a --nope\n%%time\nx = 1", ["--nope"]),
        pytest.param(
            "%%time\n%%session bad/id\nx = 1",
            ["bad/id"],
            marks=pytest.mark.skipif(
                IPython.version_info < (9,), reason="%%time of IPython 8 only shows errors"
            ),
        ),
    ],
)
def test_a_mistake_fails_the_cell_and_names_what_is_wrong(notebook, line, named):
    error = notebook.fail(line, BridgeUsageError)
    for words in named:
        assert words in str(error)
    assert "x" not in notebook, "the body of the cell has not run"
    assert notebook.run("%bridge call math.sqrt 4") == 2.0, "the next cell works"


def test_an_error_of_the_function_is_the_users_own(notebook):
    notebook.fail("%bridge call math.sqrt -1", ValueError)
    notebook.fail("%bridge call no_such_module.f", ModuleNotFoundError)
    notebook.fail("%bridge call math.no_such_function", AttributeError)
    notebook.fail("%bridge call math.pi", TypeError)


def test_an_unknown_session_is_named_with_those_that_are_near(notebook):
    notebook.run("%%session shared\nx = 1")
    error = notebook.fail("%bridge refs shred", SessionNotFoundError)
    assert "'shred'" in str(error)
    assert "'shared'" in str(error)


def test_a_ref_outside_its_session_is_a_mismatch_that_gives_the_way_out(notebook):
    notebook.run("%%session shared\nx = bridge.new('list')")
    error = notebook.fail("%bridge call -s other len x", SessionMismatchError)
    assert "bridge.move" in str(error)


def test_the_doctor_gives_his_report_as_text(notebook):
    report = notebook.run("x = %bridge doctor\nx")
    assert report == notebook["x"]
    assert "InteractiveShell" in report, "what the front end is"
    assert any("no Jupyter kernel" in finding for finding in report.findings)


# ---------------------------------------------------------------- tables
def test_sessions_are_shown_as_a_table_with_the_one_in_force(notebook):
    notebook.run("%%session shared --tag team=blue\nx = bridge.new('list')")
    table = notebook.run("%session other\n%bridge sessions")
    shared, other = repr(table).splitlines()[1:3]
    assert shared.split()[:2] == ["shared", "named"]
    assert "team=blue" in shared
    assert "←" in other
    assert "←" not in shared
    assert "<table" in table._repr_html_()


def test_looking_makes_nothing(notebook):
    for line in ("%bridge sessions", "%bridge refs", "%bridge status", "%session", "%bridge"):
        notebook.run(line)
    assert notebook.bridge.sessions() == []


def test_refs_are_shown_for_one_session_or_all(notebook):
    notebook.run("%%session shared\nx = bridge.new('list', [1, 2])")
    notebook.run("y = bridge.new('dict')")
    every = repr(notebook.run("%bridge refs"))
    assert "ref list of 2 in 'shared'" in every
    assert "ref dict" in every
    assert re.search(r"\bx\b", every)
    assert "auto_" not in every
    one = repr(notebook.run("%bridge refs shared"))
    assert "ref list" in one
    assert "ref dict" not in one


def test_status_shows_the_worker(real):
    assert "no worker" in repr(real.run("%bridge status"))
    pid = real.run("bridge.call('os.getpid')")
    assert str(pid) in repr(real.run("%bridge status"))


def test_restart_gives_a_fresh_worker_and_the_old_refs_are_lost(real):
    pid = real.run("x = bridge.new('list')\nbridge.call('os.getpid')")
    real.run("%bridge restart")
    assert real.run("bridge.call('os.getpid')") != pid
    assert not alive(pid)
    real.fail("len(x)", SessionLostError)


def test_what_the_memory_backend_cannot_do_it_says(notebook):
    notebook.run("bridge.call('math.sqrt', 4)")
    notebook.fail("%bridge interrupt", BridgeUsageError)
    notebook.fail("%bridge restart", BridgeUsageError)
    notebook.fail("%bridge call -t 5 math.sqrt 4", BridgeUsageError)


# ---------------------------------------------------------------- %bridge release
def test_release_takes_a_variable(notebook):
    notebook.run("x = bridge.new('list', [1, 2])")
    table = notebook.run("%bridge release x")
    assert repr(table).splitlines()[1].split()[:2] == ["x", "1"]
    error = notebook.fail("len(x)", RefNotFoundError)
    assert error.reason == "released"


def test_release_takes_a_session(notebook):
    notebook.run("%%session shared\nx, y = bridge.new('list'), bridge.new('dict')")
    table = notebook.run("%bridge release shared")
    assert repr(table).splitlines()[1].split()[:2] == ["shared", "2"]
    assert notebook.fail("len(x)", RefNotFoundError).reason == "session released"
    assert notebook.bridge.session_info("shared").status is Status.RELEASED


def test_release_takes_several_names(notebook):
    notebook.run("%%session shared\nx = bridge.new('list')")
    notebook.run("y = bridge.new('list')")
    assert len(notebook.run("%bridge release shared y")) == 2
    assert notebook.bridge.refs() == []


def test_release_of_a_name_that_is_both_names_both_and_frees_nothing(notebook):
    notebook.run("%%session shared\nshared = bridge.new('list')")
    error = notebook.fail("%bridge release shared", BridgeUsageError)
    assert "both" in str(error)
    assert "bridge.release(shared)" in str(error)
    assert "bridge.release('shared')" in str(error)
    assert notebook.bridge.session_info("shared").refs == 1


def test_release_of_a_name_that_is_neither_names_it_and_frees_nothing(notebook):
    notebook.run("x = bridge.new('list')\nn = 4")
    assert "'nothing'" in str(notebook.fail("%bridge release nothing", BridgeUsageError))
    error = notebook.fail("%bridge release n", BridgeUsageError)
    assert "int" in str(error)
    notebook.fail("%bridge release x nothing", BridgeUsageError)
    assert len(notebook.bridge.refs()) == 1, "one wrong name releases none"


def test_release_in_a_function_takes_the_local_variable(notebook):
    notebook.run("x = bridge.new('list')")
    notebook.run("def free():\n    x = bridge.new('dict')\n    %bridge release x\nfree()")
    assert [r.type_name for r in notebook.bridge.refs()] == ["list"]


def test_a_local_that_is_none_hides_the_global_ref(notebook):
    notebook.run("x = bridge.new('list')\ndef free():\n    x = None\n    %bridge release x\n")
    notebook.fail("free()", BridgeUsageError)
    assert len(notebook.bridge.refs()) == 1


def test_release_all(notebook):
    notebook.run("%%session shared\nx = bridge.new('list')")
    notebook.run("y = bridge.new('list')")
    notebook.run("%bridge release --all")
    assert notebook.bridge.refs() == []
    assert [s for s in notebook.bridge.sessions() if s.status is Status.ACTIVE] == []
    notebook.fail("len(x)", RefNotFoundError)
    notebook.fail("len(y)", RefNotFoundError)
    assert notebook.run("%bridge call math.sqrt 4") == 2.0


# ---------------------------------------------------------------- %session
def test_a_sticky_session_holds_at_once_and_for_the_following_cells(notebook):
    notebook.run("%session shared\nhere = bridge.current_session()")
    notebook.run("there = bridge.current_session()")
    assert (notebook["here"], notebook["there"]) == ("shared", "shared")
    notebook.run("%session --clear\nafter = bridge.current_session()")
    assert notebook["after"].startswith("auto_")
    notebook.run("later = bridge.current_session()")
    assert notebook["later"].startswith("auto_")


def test_session_shows_what_is_in_force(notebook):
    assert "no named session" in repr(notebook.run("%session"))
    notebook.run("%session shared")
    assert notebook.run("%session") == "shared"
    assert notebook.run("with bridge.session('inner'):\n    x = %session\nx") == "inner"
    assert notebook.run("%%session cell\nx = %session\nx") == "cell"


def test_clearing_what_is_not_set_is_fine(notebook):
    notebook.run("%session --clear")


def test_clearing_releases_nothing(notebook):
    notebook.run("%session shared\nx = bridge.new('list')")
    notebook.run("%session --clear")
    assert notebook.bridge.session_info("shared").refs == 1


def test_a_sticky_session_can_be_changed(notebook):
    notebook.run("%session a")
    notebook.run("%session b")
    assert notebook.run("bridge.current_session()") == "b"


def test_a_cells_session_hides_the_sticky_one_for_that_cell(notebook):
    notebook.run("%session sticky")
    assert notebook.run("%%session cell\nbridge.current_session()") == "cell"
    assert notebook.run("bridge.current_session()") == "sticky"


def test_use_is_the_twin_of_the_magic(notebook):
    notebook.run("bridge.use('shared')")
    assert notebook.run("%session") == "shared"
    notebook.run("bridge.use(None)")
    assert notebook.run("bridge.current_session()").startswith("auto_")


def test_a_sticky_session_takes_limits(notebook):
    notebook.run("%session shared --max-refs 5 --ttl 60 --overflow evict --tag team=blue")
    info = notebook.bridge.session_info("shared")
    assert (info.max_refs, info.ttl_seconds, info.overflow) == (5, 60.0, "evict")
    assert dict(info.tags) == {"team": "blue"}


def test_a_mistake_in_the_session_line_leaves_the_sticky_one(notebook):
    notebook.run("%session shared")
    notebook.fail("%session other --nope", BridgeUsageError)
    notebook.fail("%session bad/id", BridgeUsageError)
    assert notebook.run("%session") == "shared"


def test_a_sticky_session_that_was_released_is_made_again(notebook):
    notebook.run("%session shared --max-refs 5\nx = bridge.new('list')")
    notebook.run("%bridge release shared")
    notebook.run("y = bridge.new('list')")
    assert notebook.bridge.info(notebook["y"]).session_id == "shared"
    assert notebook.bridge.session_info("shared").max_refs == 5
    notebook.fail("len(x)", RefNotFoundError)


# ---------------------------------------------------------------- %%session
def test_a_cell_runs_in_its_session_and_the_next_does_not(notebook):
    assert notebook.run("%%session shared\nbridge.current_session()") == "shared"
    assert notebook.run("bridge.current_session()").startswith("auto_")


def test_limits_and_tags_of_a_cells_session(notebook):
    notebook.run(
        "%%session shared --ttl 60 --max-refs 2 --overflow evict --tag team=blue --tag n=1\n"
        "refs = [bridge.new('list') for _ in range(3)]"
    )
    info = notebook.bridge.session_info("shared")
    assert (info.ttl_seconds, info.max_refs, info.overflow, info.refs) == (60.0, 2, "evict", 2)
    assert dict(info.tags) == {"team": "blue", "n": "1"}
    assert notebook.fail("len(refs[0])", RefNotFoundError).reason == "evicted"


def test_limits_that_are_not_given_are_left_as_they_are(notebook):
    notebook.run("%%session shared --max-refs 7\nx = 1")
    notebook.run("%%session shared --ttl 60\nx = 1")
    info = notebook.bridge.session_info("shared")
    assert (info.max_refs, info.ttl_seconds) == (7, 60.0)


def test_a_full_session_refuses_and_the_cell_fails(notebook):
    notebook.fail(
        "%%session shared --max-refs 2\nrefs = []\n"
        "for _ in range(3): refs.append(bridge.new('list'))",
        SessionFullError,
    )
    assert notebook.bridge.session_info("shared").refs == 2


@pytest.mark.parametrize("follows", ["", "%%time\n"], ids=["plain", "over %%time"])
def test_lowering_max_refs_below_what_is_held_fails_the_cell(notebook, follows):
    notebook.run("%%session shared\nrefs = [bridge.new('list') for _ in range(3)]")
    error = notebook.fail(f"%%session shared --max-refs 2\n{follows}ran = True", BridgeUsageError)
    assert "3" in str(error)
    assert "ran" not in notebook


@pytest.mark.parametrize("follows", ["", "%%time\n"], ids=["plain", "over %%time"])
def test_release_ends_the_session_with_the_cell(notebook, follows):
    notebook.run(f"%%session shared --release\n{follows}x = bridge.new('list')\nassert len(x) == 0")
    assert notebook.bridge.session_info("shared").status is Status.RELEASED
    assert notebook.fail("len(x)", RefNotFoundError).reason == "session released"


def test_release_ends_the_session_of_a_cell_that_fails(notebook):
    notebook.fail("%%session shared --release\nx = bridge.new('list')\n1/0", ZeroDivisionError)
    assert notebook.bridge.session_info("shared").status is Status.RELEASED


def test_a_sessions_refs_live_on_with_their_handles(notebook):
    notebook.run("%%session shared\nx = bridge.new('list')\nbridge.new('dict');")
    gc.collect()
    assert [r.type_name for r in notebook.bridge.refs("shared")] == ["list"]
    notebook.run("del x")
    assert notebook.bridge.refs("shared") == []
    assert notebook.bridge.session_info("shared").status is Status.ACTIVE


def test_a_failing_cell_leaves_no_session_in_force(notebook):
    notebook.fail("%%session shared\n1/0", ZeroDivisionError)
    assert notebook.run("bridge.current_session()").startswith("auto_")


def test_a_syntax_error_in_the_body_is_the_cells_own(notebook):
    error = notebook.fail("%%session shared\nx = = 1", SyntaxError)
    assert error.lineno == 2
    assert notebook.run("bridge.current_session()").startswith("auto_")


@pytest.mark.parametrize("magic", ["%%time", "%%capture out"])
def test_a_cell_magic_above_or_below_keeps_the_session(notebook, magic):
    notebook.run(f"{magic}\n%%session shared\nx = bridge.new('list')")
    assert notebook.bridge.info(notebook["x"]).session_id == "shared"
    notebook.run(f"%%session below\n{magic}\ny = bridge.new('list')")
    assert notebook.bridge.info(notebook["y"]).session_id == "below"
    assert notebook.run("bridge.current_session()").startswith("auto_")


def test_the_magic_called_as_a_function_runs_its_body_in_the_session(notebook):
    notebook.run(
        "get_ipython().run_cell_magic('session', 'shared', 'x = bridge.current_session()')\n"
        "y = bridge.current_session()"
    )
    assert notebook["x"] == "shared"
    assert notebook["y"].startswith("auto_")
    error = notebook.fail("get_ipython().run_cell_magic('session', 'shared', '1/0')")
    assert isinstance(error, ZeroDivisionError)


# ---------------------------------------------------------------- strict cells, walls
def test_cell_mode_ends_everything_with_the_cell(start):
    notebook = start(backend="memory", auto_session="cell")
    notebook.run("%load_ext bridge_ext")
    notebook.run("x = bridge.new('list')\nassert len(x) == 0")
    error = notebook.fail("len(x)", RefNotFoundError)
    assert error.reason == "cell ended"
    assert notebook.bridge.refs() == []


def test_isolated_cells_are_walls(start):
    notebook = start(backend="memory", isolate_cells=True)
    notebook.run("%load_ext bridge_ext")
    notebook.run("x = bridge.new('list')\nassert len(x) == 0")
    notebook.fail("bridge.call('len', x)", SessionMismatchError)


# ---------------------------------------------------------------- configuration
SETTINGS = {
    "backend",
    "env",
    "memory_limit",
    "inline_limit",
    "auto_session",
    "isolate_cells",
    "max_refs",
    "ttl_seconds",
}


def test_config_lists_every_setting_with_help(notebook, capsys):
    capsys.readouterr()
    notebook.run("%config Bridge")
    shown = capsys.readouterr().out
    for name in SETTINGS:
        entry = re.search(rf"^Bridge\.{name}=.*\n((?:    .*\n)+)", shown, re.M)
        assert entry, name
        assert re.search("[a-z]{3}.* [a-z]{3}", entry[1]), f"{name} has help"
    capsys.readouterr()
    notebook.run("%config")
    assert "Bridge" in capsys.readouterr().out


def test_configuration_counts_when_the_extension_is_loaded(start):
    notebook = start(backend="memory", max_refs=7, ttl_seconds=60.0, overflow="evict")
    notebook.run("%load_ext bridge_ext")
    notebook.run("%%session shared\nx = 1")
    info = notebook.bridge.session_info("shared")
    assert (info.max_refs, info.ttl_seconds, info.overflow) == (7, 60.0, "evict")


def test_environment_and_inline_limit_reach_the_worker(start):
    notebook = start(env={"OF_A_TEST": "here"}, inline_limit=1000)
    notebook.run("%load_ext bridge_ext")
    assert notebook.run("bridge.call('os.environ.get', 'OF_A_TEST')") == "here"
    assert notebook.run("bridge.call('builtins:str.ljust', '', 10)") == " " * 10
    assert isinstance(notebook.run("bridge.call('builtins:str.ljust', '', 10_000)"), Ref)


def test_a_setting_that_is_changed_counts_from_the_next_reload(notebook):
    notebook.run("%config Bridge.max_refs = 9")
    notebook.run("%reload_ext bridge_ext")
    notebook.run("%%session shared\nx = 1")
    assert notebook.bridge.session_info("shared").max_refs == 9


@pytest.mark.parametrize(
    "settings",
    [
        {"max_refs": 0},
        {"ttl_seconds": -1.0},
        {"inline_limit": 0},
        {"overflow": "drop"},
        {"auto_session": "never"},
        {"backend": "dask"},
        {"max_refs": "many"},
    ],
    ids=str,
)
def test_a_setting_without_meaning_fails_the_cell_that_loads(start, settings):
    notebook = start(**settings)
    error = notebook.fail("%load_ext bridge_ext")
    assert next(iter(settings)) in str(error)
    assert "bridge" not in notebook


# ---------------------------------------------------------------- who holds a ref
def held_by(notebook):
    """Type name to the names that hold that type's one ref."""
    return {r.type_name: r.held_by for r in notebook.bridge.refs()}


def test_a_variable_and_out_hold_a_ref(notebook):
    notebook.run("x = bridge.new('list')")
    assert held_by(notebook) == {"list": ("x",)}
    notebook.run("1\nx")
    assert set(held_by(notebook)["list"]) == {"x", "Out[3]"}
    notebook.run("y = x\ndel x")
    assert set(held_by(notebook)["list"]) == {"y", "Out[3]"}


def test_the_items_of_a_container_are_found(notebook):
    notebook.run("rows = [1, bridge.new('list')]")
    notebook.run("models = {'best': bridge.new('dict')}")
    notebook.run("bag = {bridge.new('set')}")
    notebook.run("pair = (bridge.new('bytearray'), 1)")
    held = held_by(notebook)
    assert all(len(names) == 1 for names in held.values())
    assert "rows" in held["list"][0]
    assert "models" in held["dict"][0]
    assert "bag" in held["set"][0]
    assert "pair" in held["bytearray"][0]


def test_a_container_in_out_is_found(notebook):
    notebook.run("[bridge.new('list')]")
    (name,) = held_by(notebook)["list"]
    assert "Out[2]" in name


def test_a_traceback_holds_the_locals_of_its_frames(notebook):
    notebook.fail("def f():\n    x = bridge.new('list')\n    1/0\nf()", ZeroDivisionError)
    (name,) = held_by(notebook)["list"]
    assert "traceback" in name


def test_what_no_name_holds_is_held_by_python_code(notebook):
    notebook.run("class Box: pass\nbox = Box()\nbox.item = bridge.new('list')")
    assert held_by(notebook) == {"list": ("Python code",)}
    notebook.run("deep = [[bridge.new('dict')]]")
    assert held_by(notebook)["dict"] == ("Python code",)


def test_a_kept_ref_without_a_handle_is_held_by_nothing_here(notebook):
    notebook.run("%%session shared\nx = bridge.new('list')\nbridge.keep(x, 'model')\ndel x")
    assert held_by(notebook) == {"list": ()}
    (info,) = notebook.bridge.refs()
    assert info.kept_as == "model"
    notebook.run("back = bridge.kept('shared')['model']")
    assert held_by(notebook) == {"list": ("back",)}


def test_looking_for_holders_runs_nothing_of_the_users(notebook):
    notebook.run(
        "ran = []\n"
        "class Nosy:\n"
        "    def __eq__(self, other): ran.append('eq'); return True\n"
        "    __hash__ = None\n"
        "    def __iter__(self): ran.append('iter'); return iter(())\n"
        "    def __len__(self): ran.append('len'); return 1\n"
        "    def __getattr__(self, name): ran.append(name); raise AttributeError(name)\n"
        "nosy, nosies = Nosy(), [Nosy()]\n"
        "class Dict(dict):\n"
        "    def items(self): ran.append('items'); return ()\n"
        "    def values(self): ran.append('values'); return ()\n"
        "its = Dict(a=1)\n"
        "x = bridge.new('list')"
    )
    notebook.run("ran.clear()")
    assert held_by(notebook) == {"list": ("x",)}
    assert notebook["ran"] == []


def test_a_user_who_changes_a_container_meanwhile_breaks_nothing(notebook):
    notebook.run("rows = {}\nx = bridge.new('list')")
    rows, stop = notebook["rows"], threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            rows[number] = number
            rows.pop(number - 50, None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert held_by(notebook) == {"list": ("x",)}
    finally:
        stop.set()
        thread.join()


# ---------------------------------------------------------------- cells as scopes
def test_every_cell_has_an_auto_session_of_its_own_with_its_number(notebook):
    first = notebook.run("bridge.current_session()")
    second = notebook.run("bridge.current_session()")
    numbers = [re.fullmatch(r"auto_\d+_(\d+)_\d+\S*", id)[1] for id in (first, second)]
    assert numbers == ["2", "3"]


def test_a_cell_that_makes_no_call_makes_nothing(notebook):
    events = []
    stop = notebook.bridge.subscribe(events.append)
    notebook.run("x = 1")
    notebook.run("bridge.sessions()")
    notebook.fail("1/0")
    notebook.run("")
    notebook.run("# only a comment")
    stop()
    assert events == []
    assert notebook.bridge.sessions() == []


def test_what_did_not_escape_is_freed_when_the_cell_ends(notebook, eventually):
    notebook.run("x = bridge.new('list')\nbridge.new('dict');")
    gc.collect()
    assert [r.type_name for r in notebook.bridge.refs()] == ["list"]
    notebook.run("bridge.new('dict').get(1)")
    assert [s.refs for s in notebook.bridge.sessions() if s.status is Status.ACTIVE] == [1]
    eventually(lambda: len(notebook.bridge.sessions()) == 1)
    notebook.run("del x")
    assert notebook.bridge.refs() == []
    eventually(lambda: notebook.bridge.sessions() == [])
