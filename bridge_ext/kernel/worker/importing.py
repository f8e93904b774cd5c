"""Paths to objects: which module, which attributes, and a clear error where a path ends."""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from time import monotonic

from . import reloading
from .editing import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Found = tuple[str, Any, list[str]]

_RELOADING = reloading.__name__
"""Calls in it load again what was edited, so nothing needs to be said of that."""


class Importer:
    """Finds objects by module and attribute path, remembering which modules a path begins with.

    Only the module of a path is remembered; attributes are read anew each time, so that a
    monkeypatched or reloaded module is noticed. Of modules that were edited since, it tells.
    """

    def __init__(self) -> None:
        self._modules: dict[tuple[str | None, str | None, str], Found] = {}
        self._watch = Watch()

    def find(self, exact: str | None, path: str | None, name: str) -> Any:
        """The object `name` (dots allowed) of module `exact`, or of a path that begins with one.

        Raises:
            ModuleNotFoundError: no such module; near names are given.
            AttributeError: the module is there, the attribute is not.
            Exception: whatever importing the module raises.
        """
        key = (exact, path, name)
        if monotonic() >= self._watch.due and exact != _RELOADING:
            self._watch.tell()
        known = self._modules.get(key)
        if known is not None and sys.modules.get(known[0]) is known[1]:
            obj = known[1]
            try:
                for part in known[2]:
                    obj = getattr(obj, part)
                return obj
            except AttributeError:
                pass  # what was an attribute may be a submodule by now
        known = self._split(exact, path, name)
        if exact != _RELOADING:
            self._watch.tell()  # what that has imported is taken up as it is now
        obj = _walk(known)
        self._modules[key] = known
        return obj

    def tell(self) -> None:
        """Say which modules were edited since."""
        self._watch.tell()

    def _split(self, exact: str | None, path: str | None, name: str) -> Found:
        attributes = name.split(".") if name else []
        if exact is not None:
            return exact, import_module(exact), attributes
        assert path is not None
        first, *rest = path.split(".")
        module, full = import_module(first), first
        rest += attributes
        while len(rest) > 1 or (rest and not attributes):
            part = rest[0]
            found = getattr(module, part, None)
            if found is None:
                found = _submodule(f"{full}.{part}")
            if not isinstance(found, types.ModuleType):
                break
            full = found.__name__
            if sys.modules.get(full) is not found:
                break
            module = found
            rest.pop(0)
        if rest and not hasattr(module, rest[0]):
            found = _submodule(f"{full}.{rest[0]}")
            if found is not None:
                return found.__name__, found, rest[1:]
        return full, module, rest


def _walk(found: Found) -> Any:
    obj = found[1]
    for part in found[2]:
        try:
            obj = getattr(obj, part)
        except AttributeError as error:
            raise _no_attribute(obj, part, error) from None
    return obj


def import_module(name: str) -> Any:
    """Import a module by its full name.

    Raises:
        ModuleNotFoundError: ours, naming near modules, where the module itself is missing;
            any ImportError from inside a module surfaces as itself.
    """
    if name == "builtins":
        return builtins
    try:
        return _import(name)
    except ModuleNotFoundError as error:
        if not _is_missing(name, error):
            raise
        missing = error.name or name
    raise ModuleNotFoundError(
        f"The worker finds no module {missing!r}{_near(missing, _module_names(missing))} "
        f"Is it installed for {sys.executable}, or beside the notebook?",
        name=missing,
    )


def _submodule(name: str) -> Any | None:
    """The submodule of that name, or None if there is none."""
    try:
        return _import(name)
    except ModuleNotFoundError as error:
        if _is_missing(name, error):
            return None
        raise


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _is_missing(name, error):
            raise
    importlib.invalidate_caches()  # its file may be newer than the last look at its folder
    return importlib.import_module(name)


def _is_missing(name: str, error: ModuleNotFoundError) -> bool:
    """Whether it is this module that is missing, not one that it imports."""
    return error.name is not None and (name == error.name or name.startswith(error.name + "."))


def _module_names(missing: str) -> list[str]:
    parent, _, _ = missing.rpartition(".")
    if parent:
        module = sys.modules.get(parent)
        return [f"{parent}.{name}" for name in dir(module)] if module is not None else []
    from ..wire.searching import top_modules

    return top_modules()


def _near(name: str, names: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, dict.fromkeys(names), n=3)
    return f"; did you mean {', '.join(map(repr, near))}?" if near else "."


def _no_attribute(obj: Any, name: str, error: AttributeError) -> AttributeError:
    """Our error for a missing attribute, unless the object's own code raised it."""
    if not isinstance(obj, types.ModuleType):
        return error
    names = [n for n in vars(obj) if not n.startswith("_")]
    return AttributeError(
        f"Module {obj.__name__!r} has no attribute {name!r}{_near(name, names)}",
        name=name,
        obj=None,
    )


def uncallable(path: str, obj: Any) -> TypeError:
    """The error for calling what is no function."""
    return TypeError(
        f"{path!r} is {type(obj).__name__}, which cannot be called; bridge.attr({path!r}) reads it"
    )
