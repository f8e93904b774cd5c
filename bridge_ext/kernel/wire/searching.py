"""Which modules there are, and what names they define, found without importing any of them.

Both sides look: the worker on its path, and the kernel on its own where no worker answers. What is
in a module that was not imported is read off its source by its lines, which is quick, and right for
what stands there plainly.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.machinery import (
    BuiltinImporter,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    all_suffixes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_SOURCE = 1 << 20
"""Bytes of a source that is read; `typing` has 120,000."""
_DEFINED = re.compile(r"^(?:async[ ]+)?(def|class)[ ]+(\w+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^(\w+)[ ]*(?::[^=\n]+)?=(?!=)", re.MULTILINE)
_IMPORTED = re.compile(r"^from[ ]+[\w.]+[ ]+import[ ]+(\([^)]*\)|[^\n(]+)", re.MULTILINE)
_COMMENT = re.compile(r"#.*")


def top_modules() -> list[str]:
    """The modules that `import name` can find, but for those that start with an underscore."""
    found = {*sys.builtin_module_names, *sys.stdlib_module_names, *_modules_in(sys.path)}
    return sorted(name for name in found if not name.startswith("_"))


def names_of(module: str) -> list[list[str]]:
    """`[name, kind]` of the submodules of a module and of what its source defines."""
    spec = locate(module)
    if spec is None:
        return []
    kinds = dict.fromkeys(_modules_in(spec.submodule_search_locations or ()), "module")
    kinds.update(_defined_in(spec.origin or ""))
    return [[name, kind] for name, kind in sorted(kinds.items()) if not name.startswith("_")]


def submodules(path: Iterable[str]) -> list[str]:
    """The modules in a package's `__path__`."""
    return [name for name in _modules_in(path) if not name.startswith("_")]


def locate(module: str) -> ModuleSpec | None:
    """Where a module is. Its packages are not imported to find out."""
    spec: ModuleSpec | None = None
    path: list[str] | None = None
    full = ""
    for part in module.split("."):
        full = f"{full}.{part}" if full else part
        spec = _find(full, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _find(name: str, path: list[str] | None) -> ModuleSpec | None:
    # The finders of `sys.meta_path` are not asked: a finder of the user's could import or wait.
    if path is None:
        builtin = BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name)
        if builtin is not None:
            return builtin
    return PathFinder.find_spec(name, path)


def _modules_in(path: Iterable[str]) -> list[str]:
    suffixes = all_suffixes()
    found: dict[str, None] = {}
    for directory in path:
        try:
            entries = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        for entry in entries:
            name = _module_name(directory, entry, suffixes)
            if name is not None:
                found[name] = None
    return list(found)


def _module_name(directory: str, entry: str, suffixes: list[str]) -> str | None:
    """The module that an entry of a directory is."""
    if entry.isidentifier():
        files = (os.path.join(directory, entry, "__init__" + suffix) for suffix in suffixes)
        return entry if any(map(os.path.isfile, files)) else None
    for suffix in suffixes:
        name = entry[: -len(suffix)]
        if entry.endswith(suffix) and name.isidentifier() and name != "__init__":
            return name
    return None


def _defined_in(file: str) -> dict[str, str]:
    """Names and kinds in a source file."""
    if not file.endswith(".py"):
        return {}
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            text = stream.read(_MAX_SOURCE)
    except OSError:
        return {}
    kinds: dict[str, str] = {}
    for imported in _IMPORTED.findall(_COMMENT.sub("", text)):
        for each in imported.strip("()").replace("\\", " ").split(","):
            name = each.partition(" as ")[2].strip() or each.strip()
            if name.isidentifier():
                kinds[name] = "instance"
    for name in _ASSIGNED.findall(text):
        kinds[name] = "instance"
    for keyword, name in _DEFINED.findall(text):
        kinds[name] = "class" if keyword == "class" else "function"
    return kinds
