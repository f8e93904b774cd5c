"""Files beside a notebook that are found in place of a module of the same name."""

from __future__ import annotations

import os
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST = 1_000
"""Files of one directory that are looked at."""


def shadows(directory: str, path: Sequence[str]) -> Iterator[str]:
    """Sentences on files of a directory that hide a module, each with a next step.

    Nothing is imported for it. What stands before the directory on the path is not hidden; but a
    kernel begins with the directory before all else, so that names of Python's own are told of.
    """
    places = [os.path.abspath(p) for p in path]
    if os.path.abspath(directory) not in places:
        return
    behind = path[places.index(os.path.abspath(directory)) + 1 :]
    for file, name in candidates(directory):
        if BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name):
            continue  # those come before any path
        if _found(name, [p for p in behind if os.path.abspath(p) != os.path.abspath(directory)]):
            whose = "of Python's own" if name in sys.stdlib_module_names else "that is installed"
            yield (
                f"{file!r} beside the notebook hides the module {name!r} {whose}: "
                f"{_used(name, os.path.join(directory, name))}. Give the file another name, and "
                "restart the kernel."
            )
        elif name in sys.stdlib_module_names:
            yield (
                f"{file!r} beside the notebook is called like a module of Python's own: a kernel "
                "that begins here may take it for that and not start. Give the file another name."
            )


def candidates(directory: str) -> list[tuple[str, str]]:
    """What can be imported from a directory: `(file, name)`."""
    found = []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda e: e.name)[:_MOST]:
            name, extension = os.path.splitext(entry.name)
            if extension == ".py" and name.isidentifier():
                found.append((entry.name, name))
            elif entry.name.isidentifier() and os.path.isfile(f"{entry.path}/__init__.py"):
                found.append((entry.name + "/", entry.name))
    return found


def _found(name: str, path: Sequence[str]) -> bool:
    """Whether a module of that name is on this path, in a file of its own."""
    spec = PathFinder.find_spec(name, list(path))
    return spec is not None and spec.origin is not None


def _used(name: str, place: str) -> str:
    """Which of the two this process has."""
    module = sys.modules.get(name)
    if not isinstance(module, type(sys)):
        return "whatever imports it first gets yours"
    file = object.__getattribute__(module, "__dict__").get("__file__")
    if type(file) is str and os.path.abspath(file).startswith(os.path.abspath(place)):
        return "yours is loaded here in its place"
    return "the right one was loaded here before, and the worker may get yours"
