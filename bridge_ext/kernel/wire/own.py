"""Dependencies of ours, from where they are installed.

A notebook's directory stands first on `sys.path`, so a `msgpack.py` beside it would be taken for
ours.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


LATE = frozenset(
    (
        *(
            "_compat_pickle",
            "_decimal",
            "_opcode",
            "_pickle",
            "_pydecimal",
            "_uuid",
            "array",
            "copy",
        ),
        *("decimal", "difflib", "fractions", "linecache", "numbers", "opcode", "pickle"),
        *("platform", "selectors", "socket", "token", "tokenize", "uuid"),
    )
)
"""Modules of the standard library that a worker has or imports when it first needs them, or its
user does: also where a file beside the notebook has the name."""


class _Place:
    path: list[str] | None = None


class _Finder:
    """Finds what is in `LATE` where dependencies are looked for, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """The spec of a module in `LATE`; None for any other."""
        if name not in LATE:
            return None
        return importlib.machinery.PathFinder.find_spec(name, search_path())


def settle(path: list[str]) -> None:
    """Look for dependencies in this path from now on; a worker does so before it takes another."""
    _Place.path = list(path)
    sys.meta_path.insert(0, _Finder)


def search_path() -> list[str]:
    """Where dependencies are looked for: the import path without the working directory."""
    if _Place.path is not None:
        return _Place.path
    try:
        here = os.getcwd()
    except OSError:
        return [p for p in sys.path if p]
    return [p for p in sys.path if p and os.path.abspath(p) != here]


def dependency(name: str) -> Any:
    """A dependency's module, imported when it is first asked for."""
    module = sys.modules.get(name)
    if module is not None:
        return module
    spec = importlib.machinery.PathFinder.find_spec(name, search_path())
    if spec is None or spec.loader is None:
        return importlib.import_module(name)  # found by another finder, or missing
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


msgpack: Any = dependency("msgpack")
