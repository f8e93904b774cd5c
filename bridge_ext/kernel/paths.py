"""Dotted paths, as the user writes them and as a payload names them."""

from __future__ import annotations

from functools import lru_cache

from .errors import BridgeUsageError
from .wire.payload import Part, start


class Path:
    """A parsed path: the module's field, its name, and the name within it.

    Attributes:
        field: "python_module" (exactly that module) or "module_path" (begins with a module).
    """

    __slots__ = ("field", "module", "name")

    def __init__(self, field: str, module: str, name: str) -> None:
        self.field, self.module, self.name = field, module, name


def parse(path: str) -> Path:
    """A dotted path.

    `"math.sqrt"`: a path that begins with a module. `"pkg.mod:Class.method"`: a colon ends the
    module. `"len"`: a path without a dot is a builtin.

    Raises:
        BridgeUsageError: this is no such path.
    """
    if type(path) is not str:
        raise BridgeUsageError(f"{path!r} is no path: give a string such as 'math.sqrt'")
    module, colon, name = path.partition(":")
    if not colon:
        module, _, name = path.rpartition(".")
    names = [*module.split("."), *name.split(".")] if module else name.split(".")
    if (colon and not module) or not all(part.isidentifier() for part in names):
        raise BridgeUsageError(
            f"{path!r} is no path: write 'module.function', 'module:Class.method', or the name "
            "of a builtin"
        )
    if colon:
        return Path("python_module", module, name)
    if not module:
        return Path("python_module", "builtins", name)
    return Path("module_path", module, name)


@lru_cache(maxsize=4096, typed=True)
def start_by_path(call_type: str, path: str, role: str = "function") -> Part:
    """The start of a payload that names something by path.

    Args:
        call_type: the payload's call type.
        path: what the user wrote.
        role: the field for the name within the module, "function" or "attr".

    Raises:
        BridgeUsageError: this is no path.
    """
    parsed = parse(path)
    library = parsed.module.partition(".")[0]
    return start(call_type, {"library": library, parsed.field: parsed.module, role: parsed.name})


@lru_cache(maxsize=4096, typed=True)
def start_in_module(call_type: str, module: str, name: str, role: str = "function") -> Part:
    """The start of a payload that names something in exactly that module."""
    library = module.partition(".")[0]
    return start(call_type, {"library": library, "python_module": module, role: name})


@lru_cache(maxsize=4096, typed=True)
def module_name(name: str) -> str:
    """A module's full name.

    Raises:
        BridgeUsageError: this is no such name.
    """
    if type(name) is str and all(part.isidentifier() for part in name.split(".")):
        return name
    raise BridgeUsageError(f"{name!r} is no module name: give a string such as 'numpy.linalg'")
