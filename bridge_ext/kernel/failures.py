"""Remote exceptions, raised here as what they are.

The type is found by walking the namespaces of modules that are already imported: nothing is
imported, and no `getattr` of a lazy module runs. The instance is made by its nearest *builtin*
base, so none of the class's own code runs either; its attributes are filled in afterwards. What
cannot be made so is a RemoteError with the type's name.
"""

from __future__ import annotations

import builtins
import sys
from typing import Any

from .errors import OWN, RemoteError
from .handles import clean


def rebuild(failure: list[Any]) -> BaseException:
    """The exception of a failure record (see `worker/failure.py`)."""
    module, name, args, attributes, text, traceback, kind = failure
    if kind == "own":
        return _own(name, args, text)
    error = _instance(module, name, args, attributes, text) if kind == "exception" else None
    if error is None:
        error = RemoteError(clean(f"{module}.{name}" if module != "builtins" else name), text)
    if traceback:
        _attach(error, traceback)
    return error


def _own(name: str, args: list[Any], text: str) -> BaseException:
    cls = OWN.get(name)
    if cls is None:
        return RemoteError(clean(name), text)
    try:
        return cls(*args)
    except TypeError:
        return RemoteError(clean(name), text)


def _find(module: str, name: str) -> type[Exception] | None:
    """The exception type, if this process knows it."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        try:
            found = vars(found).get(part)
        except TypeError:
            return None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return None


def _instance(
    module: str, name: str, args: list[Any], attributes: dict[str, Any], text: str
) -> BaseException | None:
    cls = _find(module, name)
    if cls is None:
        return None
    base = next(
        c for c in cls.__mro__ if c.__module__ == "builtins" and vars(builtins).get(c.__name__) is c
    )
    try:
        error: BaseException = base.__new__(cls, *args)
        base.__init__(error, *args)
    except Exception:
        return None  # a builtin base that wants other arguments
    if not issubclass(cls, BaseException) or not isinstance(error, cls):
        return None
    for key, value in attributes.items():
        try:
            object.__setattr__(error, key, value)
        except (AttributeError, TypeError):
            continue  # a read-only slot: the rest is worth having
    return error


def _attach(error: BaseException, traceback: str) -> None:
    """Show the remote traceback with the error."""
    note = "Remote traceback:\n" + _printable(traceback.rstrip())
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # Python 3.10 has no notes: they are kept where later ones look, and shown as the cause
        object.__setattr__(error, "__notes__", [note])
        error.__cause__ = RemoteError("remote traceback", note)


def _printable(text: str) -> str:
    return "".join(c for c in text if c in "\n\t" or (c.isprintable()))
