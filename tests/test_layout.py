"""The house: its layers, what an import loads, the size of files, what ships and what must not."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKS = {"kernel": "bridge_ext/kernel", "widgets": "bridge_ext/widgets"}
MAX_LINES = 350

# What `import bridge_ext` may load beside the standard library: the rest comes at first use.
LOADED_BY_IMPORT = {"bridge_ext"}

# Each part of the package, found by its longest matching prefix, with the parts it may import.
# A part may always import itself; what one file alone may import is in EXCEPTIONS.
LAYERS = {
    "bridge_ext.kernel.errors": {"model"},
    "bridge_ext.kernel.log": set(),
    "bridge_ext.kernel.status": set(),
    "bridge_ext.kernel.model": {"errors", "status"},
    "bridge_ext.kernel.snapshot": {"model"},
    "bridge_ext.kernel.wire": {"errors", "model"},
    "bridge_ext.kernel.worker": {"errors", "wire"},
    "bridge_ext.kernel.backends": {"errors", "log", "model", "wire"},
    "bridge_ext.kernel": {"errors", "log", "model", "snapshot", "status", "wire", "backends"},
    "bridge_ext.widgets": {"errors", "model", "snapshot", "status"},
    "bridge_ext": {
        "errors",
        "log",
        "model",
        "snapshot",
        "status",
        "wire",
        "backends",
        "kernel",
        "widgets",
    },
}
# The in-process backend is a worker; it loads the worker's code when it starts one.
EXCEPTIONS = {("bridge_ext.kernel.backends.memory", "worker")}

# What may be imported from other projects, anywhere in a file; at the top of a file that is all.
# Inside functions, what the user has (numpy, pandas, ...) may be imported as well.
SCRIPT = {"cloudpickle", "msgpack"}
JUPYTER = {"IPython", "anywidget", "comm", "ipykernel", "ipywidgets", "jupyter_client", "traitlets"}

# Spelled in pieces, so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:" + "|".join(["root", "work"]) + r")/")
HOME_PATH = re.compile(r"(?<![\w.~-])/(?:" + "|".join(["home", "Users"]) + r")/\w+/")
REGISTRY = re.compile("py" + r"pi\.org|python" + "hosted", re.IGNORECASE)


# --- The imports of the package ---------------------------------------------------------------


class Import(NamedTuple):
    """One import statement's target: a module's dotted name, and where it stands."""

    target: str
    line: int
    lazy: bool  # inside a function


def module_name(path: Path, root: Path) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_under(root: Path) -> dict[str, Path]:
    """Every module of bridge_ext, by dotted name."""
    return {module_name(path, root): path for path in sorted((root / "bridge_ext").rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            return True
    return False


def statements(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import statement that can run, and whether it is inside a function."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, lazy
        return
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    children = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
    for child in children:
        yield from statements(child, lazy)


def absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    """The module that `from ... import` names, made absolute."""
    if not node.level:
        return node.module or ""
    drop = node.level - (path.name == "__init__.py")
    package = name.split(".")[: len(name.split(".")) - drop]
    return ".".join(package + ([node.module] if node.module else []))


def imports_of(name: str, path: Path, known: Mapping[str, Path]) -> list[Import]:
    found = []
    for node, lazy in statements(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = absolute(node, name, path)
            deeper = [f"{base}.{alias.name}" for alias in node.names]
            targets = [each if each in known else base for each in deeper]
        found += [Import(target, node.lineno, lazy) for target in targets]
    return found


def layer_of(name: str) -> str:
    return max((p for p in LAYERS if f"{name}.".startswith(f"{p}.")), key=len)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "bridge_ext"


def layer_faults(root: Path) -> list[str]:
    """Every import that goes up or across the layers, as file:line and what is wrong."""
    known = modules_under(root)
    faults = []
    for name, path in known.items():
        layer = layer_of(name)
        for imported in imports_of(name, path, known):
            where = f"{path.relative_to(root)}:{imported.line}: {imported.target}"
            if not is_ours(imported.target):
                faults += [f"{where} {why}" for why in foreign_faults(layer, imported)]
                continue
            target = layer_of(imported.target)
            short = target.rpartition(".")[2]
            if target == layer or short in LAYERS[layer]:
                continue
            if (name, short) not in EXCEPTIONS:
                faults.append(f"{where} is above or beside {layer}")
            elif not imported.lazy:
                faults.append(f"{where} may be imported only inside a function")
    return faults


def foreign_faults(layer: str, imported: Import) -> Iterator[str]:
    top = imported.target.partition(".")[0]
    script = layer.startswith("bridge_ext.kernel")
    if top in sys.stdlib_module_names or top in SCRIPT:
        return
    if top in JUPYTER:
        if script:
            yield "is Jupyter's: kernel/ works in a plain script"
    elif not imported.lazy:
        yield "is no dependency: import it inside a function, where the user has it"


def import_cycle(root: Path) -> list[str]:
    """A cycle of modules that import each other while they load, or nothing."""
    known = modules_under(root)
    graph = {
        name: {i.target for i in imports_of(name, path, known) if i.target in known and not i.lazy}
        - {name}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_follow_the_layers() -> None:
    assert layer_faults(ROOT) == []


def test_no_module_imports_itself_through_others() -> None:
    assert import_cycle(ROOT) == []


def write_package(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in {"bridge_ext/kernel/errors.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("kernel/errors.py", "from bridge_ext.kernel.wire import codec"),
        ("kernel/wire/codec.py", "from ..client import Client"),
        ("kernel/wire/codec.py", "import bridge_ext.kernel.worker.main"),
        ("kernel/worker/main.py", "from bridge_ext.kernel import sessions"),
        ("kernel/worker/main.py", "from bridge_ext.kernel.model import SessionInfo"),
        ("kernel/worker/main.py", "from .. import model"),
        ("kernel/backends/local.py", "def f():\n    from ..worker import main"),
        ("kernel/backends/memory.py", "from ..worker import main"),
        ("kernel/client.py", "def f():\n    from .worker import main"),
        ("kernel/client.py", "from bridge_ext import Bridge"),
        ("kernel/client.py", "def f():\n    import IPython.display"),
        ("kernel/client.py", "from traitlets import Int"),
        ("kernel/client.py", "import numpy as np"),
        ("widgets/inspector.py", "from ..kernel.client import Client"),
        ("widgets/inspector.py", "from ..magics import BridgeMagics"),
        ("magics.py", "from .kernel.worker import main"),
        ("magics.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import pandas"),
    ],
)
def test_an_import_against_the_layers_is_found(tmp_path: Path, file: str, source: str) -> None:
    root = write_package(
        tmp_path,
        {
            "bridge_ext/kernel/model.py": "",
            "bridge_ext/kernel/sessions.py": "",
            "bridge_ext/kernel/worker/main.py": "",
            f"bridge_ext/{file}": source,
        },
    )
    assert len(layer_faults(root)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("kernel/backends/memory.py", "def start():\n    from ..worker import main"),
        ("kernel/worker/main.py", "from ..wire import codec\nfrom ..errors import BridgeError"),
        ("kernel/worker/main.py", "def size():\n    import numpy"),
        ("kernel/client.py", "import msgpack\nfrom .backends import base\nfrom . import errors"),
        ("kernel/client.py", "if TYPE_CHECKING:\n    from bridge_ext import Bridge"),
        ("widgets/inspector.py", "import anywidget\nfrom ..kernel.model import SessionInfo"),
        ("magics.py", "from IPython.core.magic import Magics\nfrom .widgets import inspector"),
    ],
)
def test_an_import_along_the_layers_is_fine(tmp_path: Path, file: str, source: str) -> None:
    root = write_package(tmp_path, {f"bridge_ext/{file}": source})
    assert layer_faults(root) == []


def test_a_cycle_is_found_unless_a_function_breaks_it(tmp_path: Path) -> None:
    a, b = "bridge_ext/kernel/a.py", "bridge_ext/kernel/b.py"
    root = write_package(tmp_path, {a: "from . import b", b: "class B:\n    from .a import x"})
    cycle = import_cycle(root)
    assert {"bridge_ext.kernel.a", "bridge_ext.kernel.b"} == set(cycle)
    write_package(root, {b: "def f():\n    from .a import x"})
    assert import_cycle(root) == []


# --- What an import loads ---------------------------------------------------------------------


def run_python(code: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that sees neither `cwd` nor the caller's settings."""
    command = [sys.executable, "-I", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def modules_loaded_by(names: list[str], cwd: Path) -> set[str]:
    """The modules outside the standard library that importing these loads."""
    code = (
        "import importlib, sys; before = set(sys.modules)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = run_python(code, cwd, *names)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    return {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}


def test_importing_the_package_loads_only_what_is_stated(tmp_path: Path) -> None:
    loaded = modules_loaded_by(["bridge_ext"], tmp_path)
    assert loaded == LOADED_BY_IMPORT
    assert not {"IPython", "bridge_ext.kernel.worker"} & loaded


def test_the_worker_loads_nothing_of_the_kernel_side(tmp_path: Path) -> None:
    names = [name for name in modules_under(ROOT) if layer_of(name).endswith(".worker")]
    loaded = modules_loaded_by([name for name in names if "__main__" not in name], tmp_path)
    allowed = {"bridge_ext", "bridge_ext.kernel"}
    parts = {"errors", "model", "wire", "worker"}
    ours = {name for name in loaded if is_ours(name)} - allowed
    assert [name for name in ours if layer_of(name).rpartition(".")[2] not in parts] == []
    assert {name.partition(".")[0] for name in loaded} & JUPYTER == set()


# --- Files ------------------------------------------------------------------------------------


def test_every_python_file_outside_the_tests_is_short() -> None:
    folders = ("bridge_ext", "benchmarks", "notebooks")
    files = [*ROOT.glob("*.py"), *(f for folder in folders for f in (ROOT / folder).rglob("*.py"))]
    lines = {str(f.relative_to(ROOT)): f.read_bytes().count(b"\n") for f in files}
    assert {name: count for name, count in lines.items() if count >= MAX_LINES} == {}


def tracked_files() -> list[Path]:
    """What git tracks here; skips the test outside a checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in files if path.is_file() and not path.is_symlink()]


def places_in(text: str) -> list[str]:
    """Paths of somebody's machine and hosts of a registry."""
    patterns = (MACHINE_PATH, HOME_PATH, REGISTRY)
    return [hit[0] for pattern in patterns for hit in pattern.finditer(text)]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = {}
    for path in tracked_files():
        places = places_in(path.read_text(encoding="utf-8", errors="replace"))
        if places and path != ROOT / "LICENSE":
            found[str(path.relative_to(ROOT))] = places
    assert found == {}


@pytest.mark.parametrize(
    "pieces",
    ["/ root/x.py", "'/ work/repo'", "file:/// root/x", "/ home/ana/x", "https://py pi.org/simple"],
)
def test_a_machine_or_a_registry_is_found(pieces: str) -> None:
    assert len(places_in(pieces.replace(" ", ""))) == 1


@pytest.mark.parametrize("text", ["notebooks/work/x", "https://example.com/root/", "~/work/x"])
def test_other_paths_are_fine(text: str) -> None:
    assert places_in(text) == []


@pytest.mark.parametrize("name", LINKS)
def test_the_top_level_links_lead_into_the_package(name: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: a source distribution has no links")
    link = ROOT / name
    assert link.is_symlink()
    assert os.readlink(link) == LINKS[name]
    assert link.resolve() == ROOT / LINKS[name]


# --- What ships -------------------------------------------------------------------------------


def pip(*arguments: str, cwd: Path) -> None:
    options = ["--isolated", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *options, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of this tree is installed, by itself."""
    tmp = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools writes build/ and *.egg-info into the tree it builds from.
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    tree = shutil.copytree(ROOT, tmp / "tree", symlinks=True, ignore=unwanted)
    build = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp)]
    pip("wheel", *build, ".", cwd=tree)
    (wheel,) = tmp.glob("*.whl")
    pip("install", "--no-deps", "--no-index", "--target", str(tmp / "site"), str(wheel), cwd=tmp)
    return tmp / "site"


def test_the_wheel_holds_the_package_and_nothing_beside_it(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"bridge_ext"}


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        found = (path for path in (root / "bridge_ext").rglob("*") if path.is_file())
        names = {path.relative_to(root) for path in found if path.suffix != ".pyc"}
        return {str(name) for name in names if not any(p.startswith(".") for p in name.parts)}

    assert files(installed) == files(ROOT)
    assert "bridge_ext/py.typed" in files(installed)
    assert any(name.startswith("bridge_ext/kernel/") for name in files(installed))


@pytest.mark.parametrize("name", LINKS)
def test_the_links_cannot_be_imported_from_an_installed_wheel(
    installed: Path, tmp_path: Path, name: str
) -> None:
    path_first = f"import sys; sys.path.insert(0, {str(installed)!r}); "
    ours = run_python(path_first + "import bridge_ext as b; print(b.__file__)", tmp_path)
    assert Path(ours.stdout.strip()).is_relative_to(installed), ours.stderr
    theirs = run_python(path_first + f"import {name}", tmp_path)
    assert f"ModuleNotFoundError: No module named {name!r}" in theirs.stderr
