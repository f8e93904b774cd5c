"""Modules that the user edits between calls: noticed in the worker, and loaded again there."""

from __future__ import annotations

import importlib
import math
import os
import py_compile
import sys
import time
import traceback
import types

import pytest
from kernels import Kernel

import bridge_ext
from bridge_ext import BridgeUsageError, Module
from bridge_ext.kernel.worker import editing, importing, reloading
from bridge_ext.kernel.worker.editing import Watch, notices
from bridge_ext.kernel.worker.reloading import is_users

SITE = "/opt/env/lib/python3.11/site-packages"
STANDARD = os.path.dirname(os.__file__)
OWN = os.path.dirname(bridge_ext.__file__)


class Project:
    """A folder of modules on `sys.path`."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return self.folder / name

    def write(self, name, text, *, within=None):
        """Write a file; `within` the second of an older state of it, and with its size."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if within is not None:
            assert len(text) == within.st_size
            os.utime(path, ns=(within.st_atime_ns, within.st_mtime_ns + 1))
        return path.stat()

    def at_second(self, name):
        """Set a file's time to the start of a second, so that another fits in it."""
        path = self.path(name)
        second = int(path.stat().st_mtime)
        os.utime(path, (second, second))
        return path.stat()

    def unseen(self, folder="."):
        """Restore a folder's time after what the block does, as if all were done in one tick."""
        return _Unseen(self.path(folder))

    def load(self, name):
        importlib.invalidate_caches()
        return importlib.import_module(name)


class _Unseen:
    def __init__(self, folder):
        self.folder, self.state = folder, folder.stat()

    def __enter__(self):
        pass

    def __exit__(self, *error):
        os.utime(self.folder, ns=(self.state.st_atime_ns, self.state.st_mtime_ns))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if (reloading.file_of(sys.modules[name]) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def watch(project):
    """What looks after the modules of this process, and has looked once."""
    made = Watch()
    made.look()
    return made


def edited(watch):
    return [name for name, _ in watch.look()]


# --- Which modules are the user's -------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "folder", "expected"),
    [
        ("/a/notebooks/mine.py", "/a/notebooks", True),
        ("/a/elsewhere/mine.py", "/a/notebooks", True),
        ("/a/notebooks/pkg/__init__.py", "/a/notebooks", True),
        ("/a/notebooks/fast.so", "/a/notebooks", False),
        ("/a/notebooks/mine.pyc", "/a/notebooks", False),
        (f"{SITE}/numpy/__init__.py", "/a/notebooks", False),
        ("/usr/lib/python3/dist-packages/six.py", "/a/notebooks", False),
        ("/a/notebooks/.venv/lib/python3.11/site-packages/x.py", "/a/notebooks", False),
        (f"{SITE}/mine/part.py", f"{SITE}/mine", True),
        (f"{SITE}/other/part.py", f"{SITE}/mine", False),
        (f"{SITE}/mine/site-packages/x.py", f"{SITE}/mine", False),
        (f"{STANDARD}/json/__init__.py", "/a/notebooks", False),
        (f"{STANDARD}/json/__init__.py", "/", False),
        (f"{STANDARD}/json/__init__.py", f"{STANDARD}/json", True),
        (f"{STANDARD}-mine/x.py", "/a/notebooks", True),
        (f"{OWN}/kernel/client.py", OWN, False),
        (f"{OWN}_mine/client.py", "/a/notebooks", True),
        ("/a/notebooks/mine.py", "", True),
    ],
)
def test_the_innermost_folder_decides_whose_a_module_is(file, folder, expected):
    assert is_users(file, folder) is expected


# --- Looking ----------------------------------------------------------------------------------


def test_what_was_not_edited_is_not_told(project, watch):
    project.write("mine.py", "x = 1")
    project.load("mine")
    assert watch.look() == []
    assert watch.look() == []


def test_an_edit_is_told_once_and_the_next_one_again(project, watch):
    project.write("mine.py", "x = 1")
    project.load("mine")
    watch.look()
    for text in ("x = 22", "x = 333"):
        project.write("mine.py", text)
        assert watch.look() == [("mine", None)]
        assert watch.look() == []


def test_an_edit_of_the_same_size_in_the_same_second_is_told(project, watch):
    project.write("mine.py", "x = 1")
    first = project.at_second("mine.py")
    project.load("mine")
    watch.look()
    project.write("mine.py", "x = 2", within=first)
    assert edited(watch) == ["mine"]


def test_an_edit_that_was_taken_back_is_no_edit(project, watch):
    before = project.write("mine.py", "x = 1")
    project.load("mine")
    watch.look()
    project.write("mine.py", "x = 22")
    assert edited(watch) == ["mine"]
    project.write("mine.py", "x = 1")
    os.utime(project.path("mine.py"), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert edited(watch) == []
    project.write("mine.py", "x = 22")
    assert edited(watch) == ["mine"]


def test_a_deleted_file_is_told_and_its_return_is_an_edit(project, watch):
    project.write("mine.py", "x = 1")
    project.load("mine")
    watch.look()
    project.path("mine.py").unlink()
    assert watch.look() == [("mine", str(project.path("mine.py")))]
    assert watch.look() == []
    project.write("mine.py", "x = 22")
    assert watch.look() == [("mine", None)]


def test_a_module_that_became_a_package_was_edited_and_the_other_way_round(project, watch):
    project.write("mine.py", "x = 1")
    project.write("pack/__init__.py", "x = 1")
    project.load("mine")
    project.load("pack")
    watch.look()
    project.path("mine.py").unlink()
    project.write("mine/__init__.py", "x = 2")
    project.path("pack/__init__.py").unlink()
    project.write("pack.py", "x = 2")
    assert sorted(watch.look()) == [("mine", None), ("pack", None)]


def test_modules_that_modules_import_are_looked_after(project, watch):
    project.write("pack/__init__.py", "from . import part")
    project.write("pack/part.py", "import far")
    project.write("far.py", "x = 1")
    project.load("pack")
    watch.look()
    for name in ("pack/__init__.py", "pack/part.py", "far.py"):
        project.write(name, "x = 2222222")
    assert sorted(edited(watch)) == ["far", "pack", "pack.part"]


def test_an_edit_before_the_first_look_at_a_module_is_told(project, watch):
    project.write("late.py", "x = 1")
    project.load("late")  # within a call, say, after which nobody looked
    project.write("late.py", "x = 22")
    assert edited(watch) == ["late"]
    assert edited(watch) == []


def test_an_import_after_the_edit_has_it(project, watch):
    project.write("late.py", "x = 1")
    project.load("late")
    del sys.modules["late"]
    project.write("late.py", "x = 22")
    project.load("late")
    assert edited(watch) == []


@pytest.mark.parametrize("why", ["not written", "goes by a hash", "cut short"])
def test_without_the_bytecodes_word_nothing_is_claimed(project, watch, monkeypatch, why):
    project.write("late.py", "x = 1")
    module = project.load("late")
    cached = module.__spec__.cached
    if why == "not written":
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
    elif why == "goes by a hash":
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(project.path("late.py")), invalidation_mode=mode)
    else:
        with open(cached, "r+b") as file:
            file.truncate(10)
    project.write("late.py", "x = 22")
    assert edited(watch) == []
    project.write("late.py", "x = 333")
    assert edited(watch) == ["late"], "and from then on it is looked after"


def test_an_old_file_beside_stale_bytecode_was_not_edited(project, watch):
    path = project.path("old.py")
    project.write("old.py", "x = 1")
    py_compile.compile(str(path))
    project.write("old.py", "x = 22")
    os.utime(path, (1e9, 1e9))
    sys.modules["old"] = module = types.ModuleType("old")
    module.__file__ = str(path)
    module.__spec__ = importlib.util.spec_from_file_location("old", path)
    assert edited(watch) == []


def test_a_module_imported_anew_is_what_it_is_now(project, watch):
    project.write("mine.py", "x = 1")
    project.load("mine")
    watch.look()
    project.write("mine.py", "x = 22")
    del sys.modules["mine"]
    assert edited(watch) == []
    project.load("mine")
    assert edited(watch) == []
    project.write("mine.py", "x = 333")
    assert edited(watch) == ["mine"]


def test_a_module_that_the_user_loaded_again_is_not_told(project, watch):
    project.write("mine.py", "x = 1")
    module = project.load("mine")
    watch.look()
    project.write("mine.py", "x = 22")
    importlib.reload(module)
    assert edited(watch) == []
    project.write("mine.py", "x = 333")
    assert edited(watch) == ["mine"]


def test_installed_modules_and_the_main_module_are_left_alone(project, watch, monkeypatch):
    monkeypatch.syspath_prepend(str(project.folder / "site-packages"))
    project.write("site-packages/installed.py", "x = 1")
    project.load("installed")
    main = project.write("main.py", "x = 1") and types.ModuleType("__main__")
    main.__file__ = str(project.path("main.py"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    fresh = Watch()
    fresh.look()
    project.write("site-packages/installed.py", "x = 22")
    project.write("main.py", "x = 22")
    assert edited(fresh) == []


def test_what_is_no_module_disturbs_nothing(project, watch, monkeypatch):
    class Odd:
        __slots__ = ()

        def __getattr__(self, name):
            raise AssertionError(f"{name} was asked for")

    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            raise AssertionError(f"{name} was asked for")

    odd = types.ModuleType("odd")
    odd.__file__ = 5
    relative = types.ModuleType("relative")
    relative.__file__ = "relative.py"
    null = types.ModuleType("null")
    null.__file__ = "/null\0byte.py"
    for name, what in {
        "t_none": None, "t_odd": Odd(), "t_lazy": Lazy("t_lazy"), "t_number": odd,
        "t_relative": relative, "t_null": null,
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, what)
    assert watch.look() == []


def test_a_look_takes_a_hundredth_of_the_time(watch, project, monkeypatch):
    start = time.monotonic()
    watch.look()
    assert watch.due >= start + 0.001

    project.write("mine.py", "x = 1")
    project.load("mine")
    now = [50.0]
    monkeypatch.setattr(editing.time, "monotonic", lambda: now[0])

    def slow(file, version=editing.version):
        now[0] += 0.02
        return version(file)

    monkeypatch.setattr(editing, "version", slow)
    watch.look()  # the first look at it, which is made once
    began = now[0]
    watch.look()
    took = now[0] - began
    assert took > 0.01
    assert watch.due == pytest.approx(now[0] + 100 * took)


# --- Telling ----------------------------------------------------------------------------------


def test_each_module_has_its_line_and_many_share_one():
    assert notices([]) == []
    assert notices([("mymod", None)]) == [
        "module 'mymod' was edited after the worker imported it; "
        "bridge.reload('mymod') loads it again."
    ]
    assert notices([("mymod", "/a/mymod.py")]) == [
        "module 'mymod' has lost its file /a/mymod.py; the worker still runs it."
    ]
    many = notices([(f"m{i}", None) for i in range(300)])
    assert len(many) == 4
    assert "297 more modules were edited (m3, m4, m5, m6, m7, m8, …)" in many[3]
    assert "1 more modules" not in " ".join(notices([(f"m{i}", None) for i in range(3)]))


def test_telling_goes_to_stderr_as_whole_lines(project, watch, capsys):
    project.write("mine.py", "x = 1")
    project.load("mine")
    watch.tell()
    project.write("mine.py", "x = 22")
    watch.tell()
    watch.tell()
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "bridge: module 'mine' was edited after the worker imported it; "
        "bridge.reload('mine') loads it again.\n"
    )


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_broken_stderr_harms_no_call(project, watch, monkeypatch, tmp_path, stream):
    project.write("mine.py", "x = 1")
    project.load("mine")
    watch.tell()
    project.write("mine.py", "x = 22")
    if stream == "closed":
        stream = open(tmp_path / "closed", "w")  # noqa: SIM115
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    watch.tell()


def test_finding_looks_when_a_look_is_due_and_not_before(project, capsys):
    project.write("mine.py", "def f(): return 1")
    importer = importing.Importer()
    importer.find(None, "mine", "f")
    project.write("mine.py", "def f(): return 22")
    importer._watch.due = math.inf
    importer.find(None, "mine", "f")
    assert capsys.readouterr().err == ""
    importer._watch.due = 0.0
    importer.find("mine", None, "f")
    assert "module 'mine' was edited" in capsys.readouterr().err


def test_a_call_that_loads_again_tells_nothing(project, capsys):
    project.write("mine.py", "x = 1")
    importer = importing.Importer()
    importer.find(None, "mine", "x")
    project.write("mine.py", "x = 22")
    for _ in range(2):
        importer._watch.due = 0.0
        importer.find(reloading.__name__, None, "reload")("colorsys")
    assert capsys.readouterr().err == ""


def test_a_module_that_became_a_package_is_looked_after_as_one(project, watch):
    project.write("mine.py", "x = 1")
    project.load("mine")
    watch.look()
    project.path("mine.py").unlink()
    project.write("mine/__init__.py", "x = 22")
    reloading.reload("mine")
    assert edited(watch) == []
    project.write("mine/__init__.py", "x = 333")
    assert edited(watch) == ["mine"]


# --- At a worker ------------------------------------------------------------------------------


class Told:
    """The worker's stderr, as it comes to the caller."""

    def __init__(self, bridge, capfd, eventually):
        self.bridge, self.capfd, self.eventually = bridge, capfd, eventually
        self.text = ""

    def read(self):
        self.text += self.capfd.readouterr().err
        return self.text

    def until(self, path, text):
        """Call until this is told; what was told by then."""

        def told():
            self.bridge.call(path)
            return text in self.read()

        self.eventually(told, text)
        told, self.text = self.text, ""
        return told


@pytest.fixture
def told(bridge, capfd, eventually):
    return Told(bridge, capfd, eventually)


def test_an_edit_between_calls_is_told_once_and_loaded_on_request(bridge, project, told):
    project.write("mine.py", "def f(): return 1")
    project.write("other.py", "def f(): return 1")
    assert [bridge.call("mine.f"), bridge.call("other.f")] == [1, 1]
    project.write("mine.py", "def f(): return 22")
    told.until("other.f", "module 'mine' was edited")
    assert bridge.call("mine.f") == 1
    project.write("other.py", "def f(): return 22")
    assert "'mine'" not in told.until("mine.f", "module 'other' was edited")
    handle = bridge.reload("mine")
    assert (bridge.call("mine.f"), handle.f(), bridge.call("other.f")) == (22, 22, 1)
    assert told.read() == ""


def test_loading_again_says_nothing_of_what_it_loads(bridge, project, told):
    project.write("mine.py", "def f(): return 1")
    bridge.call("mine.f")
    project.write("mine.py", "def f(): return 22")
    bridge.reload("mine")
    assert bridge.call("mine.f") == 22
    project.write("mine.py", "def f(): return 333")
    told.until("mine.f", "module 'mine' was edited")


def test_what_a_function_imports_while_it_runs_is_told_as_well(bridge, project, told):
    project.write("mine.py", "def f():\n    import inner\n    return inner.x")
    project.write("inner.py", "x = 1")
    assert bridge.call("mine.f") == 1
    project.write("inner.py", "x = 22")
    told.until("mine.f", "module 'inner' was edited")
    bridge.reload("inner")
    assert bridge.call("mine.f") == 22


def test_loading_again_beats_stale_bytecode(bridge, project, told):
    project.write("mine.py", "def f(): return 1")
    state = project.at_second("mine.py")
    assert bridge.call("mine.f") == 1
    for text in ("def f(): return 2", "def f(): return 3"):
        state = project.write("mine.py", text, within=state)
        told.until("mine.f", "module 'mine' was edited")
        bridge.reload("mine")
        assert bridge.call("mine.f") == int(text[-1])


def test_a_module_may_be_given_in_three_ways(bridge, project):
    project.write("mine.py", "x = 1")
    handle = bridge.module("mine")
    project.write("mine.py", "x = 1")
    here = project.load("mine")
    for given in ("mine", handle, here):
        loaded = bridge.reload(given)
        assert type(loaded) is Module
        assert loaded == handle


def test_a_module_that_is_not_imported_yet_is_imported(bridge, project):
    project.write("mine.py", "x = 1")
    assert bridge.reload("mine").x == 1
    with pytest.raises(ModuleNotFoundError, match="finds no module 'mnie'; did you mean 'mine'"):
        bridge.reload("mnie")


@pytest.mark.parametrize("given", ["", "a b", "mine:f", "mine.", 3, None, ["mine"], b"mine"])
def test_what_is_no_module_is_refused(bridge, given):
    with pytest.raises(BridgeUsageError, match="no module"):
        bridge.reload(given)


@pytest.mark.parametrize("name", ["bridge_ext", "bridge_ext.kernel.worker.main", "__main__"])
def test_ours_and_cells_are_not_loaded_again(bridge, name):
    with pytest.raises(BridgeUsageError, match=r"bridge's own|cell"):
        bridge.reload(name)


def test_a_module_of_the_standard_library_may_be_loaded_again(local):
    cached = local.attr("colorsys.__spec__").cached
    before = os.stat(cached).st_ino if os.path.exists(cached) else None
    assert local.reload("colorsys").rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
    assert before is None or os.stat(cached).st_ino == before, "its bytecode was left alone"
    assert local.reload("math").sqrt(4) == 2


def test_a_package_is_loaded_after_its_modules_deepest_first(bridge, project):
    project.write("order.py", "seen = []")
    note = "import order\norder.seen.append(__name__)\n"
    project.write("pack/__init__.py", note + "from . import a, deep\n")
    project.write("pack/a.py", note)
    project.write("pack/b.py", note)
    project.write("pack/deep/__init__.py", note + "from . import c\n")
    project.write("pack/deep/c.py", note)
    bridge.reload("pack")
    seen = bridge.attr("order.seen")
    assert sorted(seen) == ["pack", "pack.a", "pack.deep", "pack.deep.c"]
    bridge.reload("pack")
    again = bridge.attr("order.seen")[len(seen) :]
    assert again == ["pack.deep.c", "pack.a", "pack.deep", "pack"]
    bridge.reload("pack.deep")
    assert bridge.attr("order.seen")[-2:] == ["pack.deep.c", "pack.deep"]


def test_what_a_package_took_from_its_modules_is_new(bridge, project):
    project.write("pack/__init__.py", "from .part import f")
    project.write("pack/part.py", "def f(): return 1")
    project.write("user.py", "from pack import f\ndef g(): return f()")
    assert (bridge.call("pack.f"), bridge.call("user.g")) == (1, 1)
    project.write("pack/part.py", "def f(): return 22")
    bridge.reload("pack")
    assert (bridge.call("pack.f"), bridge.call("user.g")) == (22, 1)
    bridge.reload("user")
    assert bridge.call("user.g") == 22


def test_a_syntax_error_arrives_as_itself_and_the_old_code_runs_on(bridge, project, told):
    project.write("mine.py", "def f(): return 1")
    bridge.call("mine.f")
    project.write("mine.py", "x = 1\ndef f(: return 2")
    with pytest.raises(SyntaxError) as caught:
        bridge.reload("mine")
    assert (caught.value.filename, caught.value.lineno) == (str(project.path("mine.py")), 2)
    assert bridge.call("mine.f") == 1
    project.write("mine.py", "def f(): return 333")
    told.until("mine.f", "module 'mine' was edited")
    bridge.reload("mine")
    assert bridge.call("mine.f") == 333


def test_a_traceback_of_loading_begins_in_the_module(bridge, project):
    project.write("mine.py", "x = 1")
    bridge.attr("mine.x")
    project.write("mine.py", "def boom():\n    raise KeyError('x')\nboom()\n")
    with pytest.raises(KeyError) as caught:
        bridge.reload("mine")
    frames = traceback.extract_tb(caught.value.__traceback__)[-2:]
    names = [(frame.filename.rpartition("/")[2], frame.name) for frame in frames]
    assert names == [("mine.py", "<module> [in the worker]"), ("mine.py", "boom [in the worker]")]
    assert "importlib" not in "".join(traceback.format_exception(caught.value))


def test_an_import_error_in_the_module_is_its_own(bridge, project):
    project.write("mine.py", "x = 1")
    bridge.attr("mine.x")
    project.write("mine.py", "import t_missing")
    with pytest.raises(ModuleNotFoundError, match="t_missing") as caught:
        bridge.reload("mine")
    assert caught.value.name == "t_missing"


def test_a_module_whose_file_is_gone_runs_on(bridge, project, told):
    project.write("mine.py", "def f(): return 1")
    bridge.call("mine.f")
    project.path("mine.py").unlink()
    told.until("mine.f", f"module 'mine' has lost its file {project.path('mine.py')}")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="is gone"):
            bridge.reload("mine")
    assert bridge.call("mine.f") == 1
    assert bridge.attr("mine.__spec__").name == "mine"
    project.write("mine.py", "def f(): return 22")
    bridge.reload("mine")
    assert bridge.call("mine.f") == 22


def test_a_module_may_become_a_package_and_a_module_again(bridge, project, told):
    project.write("mine.py", "def f(): return 'module'")
    project.write("last.py", "x = 1")
    assert bridge.call("mine.f") == "module"
    assert bridge.attr("last.x") == 1, "what is in the folder is known by now"
    with project.unseen():
        project.path("mine.py").unlink()
        project.write("mine/__init__.py", "from .part import f")
        project.write("mine/part.py", "def f(): return 'package'")
    told.until("mine.f", "module 'mine' was edited")
    bridge.reload("mine")
    assert (bridge.call("mine.f"), bridge.call("mine.part.f")) == ("package", "package")

    project.path("mine/__init__.py").unlink()
    project.path("mine/part.py").unlink()
    project.write("mine.py", "def f(): return 'again'")
    bridge.reload("mine")
    assert bridge.call("mine.f") == "again"
    with pytest.raises(AttributeError, match="__path__"):
        bridge.attr("mine.__path__")
    with pytest.raises((AttributeError, ModuleNotFoundError), match="part"):
        bridge.call("mine:part.f")
    with pytest.raises(ModuleNotFoundError, match="part"):
        bridge.reload("mine.part")


def test_a_module_that_left_its_package_is_forgotten(bridge, project):
    project.write("pack/__init__.py", "")
    project.write("pack/part.py", "x = 1")
    project.write("pack/other.py", "x = 1")
    assert [bridge.attr("pack.part.x"), bridge.attr("pack.other.x")] == [1, 1]
    project.path("pack/part.py").unlink()
    bridge.reload("pack")
    with pytest.raises(AttributeError, match="part"):
        bridge.attr("pack.part.x")
    assert bridge.attr("pack.other.x") == 1


def test_objects_keep_their_old_class_and_nothing_is_lost(bridge, project):
    project.write("mine.py", "class Thing:\n    def get(self): return 'old'\n")
    old = bridge.new("mine.Thing")
    project.write("mine.py", "class Thing:\n    def get(self): return 'newer'\n")
    bridge.reload("mine")
    new, cls = bridge.new("mine.Thing"), bridge.attr("mine.Thing")
    assert (old.get(), new.get()) == ("old", "newer")
    assert [bridge.call("isinstance", x, cls) for x in (old, new)] == [False, True]


def test_a_module_that_came_later_is_found(bridge, project):
    project.write("pack/__init__.py", "")
    bridge.reload("pack")
    for path in ("pack.late.x", "late.x"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            bridge.attr(path)
    with project.unseen(), project.unseen("pack"):
        project.write("pack/late.py", "x = 1")
        project.write("late.py", "x = 1")
    assert [bridge.attr(path) for path in ("pack.late.x", "late.x")] == [1, 1]


def test_an_attribute_that_became_a_submodule_is_found(bridge, project):
    project.write("pack/__init__.py", "class part:\n    x = 1")
    assert bridge.attr("pack.part.x") == 1
    project.write("pack/__init__.py", "del part")
    bridge.reload("pack")
    project.write("pack/part.py", "x = 22")
    assert bridge.attr("pack.part.x") == 22


# --- In a notebook ----------------------------------------------------------------------------


def test_the_cell_that_calls_tells_of_the_edit(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext bridge_ext")
        kernel.run("%%writefile mymod.py\ndef f(): return 1\n")
        assert kernel.get("bridge.call('mymod.f')") == 1
        kernel.run("%%writefile mymod.py\ndef f(): return 22\n")
        cell = kernel.run("print(bridge.call('mymod.f'))")
        assert cell.stdout == "1\n"
        assert cell.stderr == (
            "bridge: module 'mymod' was edited after the worker imported it; "
            "bridge.reload('mymod') loads it again.\n"
        )
        cell = kernel.run("print(bridge.call('mymod.f'), bridge.reload('mymod').f())")
        assert (cell.stdout, cell.stderr) == ("1 22\n", "")
        (tmp_path / "mymod.py").write_text("def f(): return 333\n")
        kernel.run("bridge.restart()")
        cell = kernel.run("print(bridge.call('mymod.f'))")
        assert (cell.stdout, cell.stderr) == ("333\n", "")
    finally:
        kernel.close()
