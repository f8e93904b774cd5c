"""Modules as they lie on disk, and loading them again.

The same name, another content: `importlib.reload` runs a module's file anew in the module that is
there, so that whoever has imported it has the new one. What was made of the old one stays as it is.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import types

from ..errors import BridgeUsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Version = tuple[int, int]

_OWN = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))
_SITES = ("site-packages", "dist-packages")
reloaded: dict[str, tuple[Any, Version | None]] = {}
"""Name to the spec that `reload` gave a module, and what its file was just before that."""


# ---------------------------------------------------------------- modules and their files
def is_users(file: str, folder: str) -> bool:
    """Whether a module's file is one that the user edits: not installed, and not ours.

    Args:
        file: its absolute path.
        folder: the working directory; within it, even installed packages are the user's.
    """
    if not file.endswith(".py") or _under(file, _OWN):
        return False
    installed = [f for f in (_STANDARD, _site(file)) if f and _under(file, f)]
    innermost = max(map(len, installed), default=0)
    return not innermost or (_under(file, folder) and len(folder) > innermost)


def _under(file: str, folder: str) -> bool:
    return file.startswith(folder + os.sep)


def _site(file: str) -> str:
    """The innermost folder of installed packages that holds a file, or nothing."""
    parts = file.split(os.sep)
    ends = [i for i, part in enumerate(parts) if part in _SITES]
    return os.sep.join(parts[: ends[-1] + 1]) if ends else ""


def here() -> str:
    """The working directory, or nothing if it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def version(file: str) -> Version | None:
    """What tells one state of a file from the next; None if there is no such file."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def members(module: Any) -> dict[str, Any]:
    """The namespace of what stands in `sys.modules`, without running a lazy module's code."""
    try:
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def file_of(module: Any) -> str | None:
    """The absolute path of a module's source."""
    file = members(module).get("__file__")
    return file if type(file) is str and file.endswith(".py") and os.path.isabs(file) else None


# ---------------------------------------------------------------- loading again
def reload(name: str) -> None:
    """Load a module again, after those of its submodules that are imported, deepest first.

    Raises:
        BridgeUsageError: it is no module to be loaded again.
        ModuleNotFoundError: there is none of that name, or its file is gone.
        Exception: what the module raises.
    """
    importlib.invalidate_caches()
    if name == "__main__":
        raise BridgeUsageError("What is defined in cells is in no module: run the cell again")
    if name.partition(".")[0] == __name__.partition(".")[0]:
        raise BridgeUsageError(f"{name!r} is the bridge's own: %reload_ext loads the bridge again")
    if name not in sys.modules:
        from .importing import import_module

        import_module(name)
        return
    for each in _order(name, sys.modules):
        _load_again(each, each == name)


def _order(name: str, modules: Mapping[str, Any]) -> list[str]:
    """The modules to load again, a package after what is in it."""
    inner = [n for n, m in list(modules.items()) if n.startswith(name + ".") and file_of(m)]
    return [*sorted(inner, key=lambda n: -n.count(".")), name]


def _load_again(name: str, asked_for: bool) -> None:
    module = sys.modules[name]
    spec, file = members(module).get("__spec__"), file_of(module)
    if file is not None and is_users(file, here()):
        with contextlib.suppress(AttributeError, TypeError, OSError):
            # Bytecode goes by whole seconds: it would stand for an edit within the same one.
            os.unlink(spec.cached)  # type: ignore[union-attr]
    failed = _run_again(module, file)
    if module.__spec__ is None:  # it was not found
        module.__spec__ = spec
        if asked_for:
            raise _gone(name, file)
        _forget(name, module)
    elif failed is not None:
        raise failed.with_traceback(_users_frames(failed))
    elif module.__spec__.submodule_search_locations is None:
        members(module).pop("__path__", None)  # it was a package before


def _run_again(module: types.ModuleType, file: str | None) -> Exception | None:
    """Run a module's file in it; what that raised. It counts as loaded either way."""
    before = version(file) if file is not None else None
    try:
        importlib.reload(module)
    except Exception as error:
        return error
    finally:
        now = file_of(module)
        if now is not None and now != file:
            before = version(now)
        reloaded[module.__name__] = (module.__spec__, before)
    return None


def _forget(name: str, module: Any) -> None:
    """Let go of a submodule that is in its package no more."""
    sys.modules.pop(name, None)
    package, _, leaf = name.rpartition(".")
    names = members(sys.modules.get(package))
    if names.get(leaf) is module:
        del names[leaf]


def _gone(name: str, file: str | None) -> ModuleNotFoundError:
    where = f": {file} is gone" if file else ""
    return ModuleNotFoundError(
        f"The worker finds no module {name!r} any more{where}. What it has imported still runs; "
        "bridge.restart() starts a fresh worker.",
        name=name,
    )


def _users_frames(error: BaseException) -> types.TracebackType | None:
    """The traceback without the frames of the import system at its start."""
    found = error.__traceback__
    while found is not None and _is_imports(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found


def _is_imports(file: str) -> bool:
    return file.startswith("<frozen importlib") or file in (__file__, importlib.__file__)
