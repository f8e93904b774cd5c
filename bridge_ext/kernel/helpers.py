"""Helpers: functions that are registered once and run in the worker by name."""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any

from .callbacks import Callback
from .errors import BridgeUsageError, EncodeError
from .handles import Module, Ref
from .outbound import function_of_module
from .paths import parse
from .wire.culprits import locate
from .wire.opening import open_helper
from .wire.pickling import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .remote import Remote

MAX_HELPER = 16 << 20
"""Bytes of a helper's pickle: it travels in the head of a message, and again to each worker."""


class Helper:
    """A registered function, pickled when it was registered.

    Args:
        fn: a function, or the path of one in a module of the worker's.
        name: what it is called by; by default its own name.

    Raises:
        BridgeUsageError: it is no function and no path, or its name is no name.
        EncodeError: it cannot be pickled, or its pickle is too large.
    """

    __slots__ = ("_module", "info", "pickle")

    def __init__(self, fn: Callable[..., Any] | str, name: str | None) -> None:
        source: Any = _Path(fn) if isinstance(fn, str) else fn
        if not callable(source):
            raise BridgeUsageError(f"{fn!r} is no function, so it cannot be a helper")
        name = name if name is not None else getattr(source, "__name__", None)
        if type(name) is not str or not all(part.isidentifier() for part in name.split(".")):
            raise BridgeUsageError(f"{name!r} is no name for a helper: give name=...")
        self._module = getattr(source, "__module__", None)
        self.pickle = _pickled(source, name)
        from inspect import getdoc  # slow to import, as the records are

        from .model import HelperInfo

        self.info = HelperInfo(name, _signature(source), getdoc(source) or "")

    def comes_from(self, module: str) -> bool:
        """Whether the function is one of a module, or of a module in that package."""
        return isinstance(self._module, str) and f"{self._module}.".startswith(f"{module}.")

    def send_again(self, remote: Remote) -> None:
        """Send it with its next use, even if this worker has one of that name."""
        incarnation = remote.incarnation
        if incarnation is not None:
            incarnation.helpers.discard(self.info.name)


def check_registered(name: object, helpers: Mapping[str, Helper]) -> None:
    """Whether there is a helper of that name.

    Raises:
        BridgeUsageError: there is none; near names are given.
    """
    if name in helpers:
        return
    import difflib

    near = difflib.get_close_matches(str(name), list(helpers), n=3)
    hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    raise BridgeUsageError(
        f"There is no helper {name!r}.{hint} bridge.register_helper(fn) adds one; "
        f"registered are {sorted(helpers)}."
    )


class _Path:
    """A function of the worker's, known by its path only.

    Raises:
        BridgeUsageError: this is no path, or that of a builtin.
    """

    def __init__(self, path: str) -> None:
        parsed = parse(path)
        if parsed.module == "builtins":
            raise BridgeUsageError(
                f"{path!r} is no function, and no path such as 'package.module:function'; a name "
                f"is given as name={path!r}"
            )
        self.__module__ = parsed.module
        self.__name__ = parsed.name.rpartition(".")[2]
        self.__doc__ = f"{path} of the worker."
        self._path = path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError  # it runs in the worker, where it is the function itself

    def __reduce__(self) -> tuple[Any, ...]:
        import pkgutil

        return pkgutil.resolve_name, (self._path,)


def _pickled(fn: Any, name: str) -> bytes:
    where = f"Helper {name!r}"
    try:
        data = dump(fn, _nothing_of_a_session, None, _by_name)
    except Exception as error:
        path, culprit = locate(fn, where, _nothing_of_a_session, _by_name)
        raise EncodeError(path, type(culprit).__name__, str(error)) from error
    if len(data) > MAX_HELPER:
        why = (
            f"its pickle has {len(data):,} bytes, and a helper may have {MAX_HELPER:,}; "
            "bridge.put the data, and give the ref as an argument"
        )
        raise EncodeError(where, type(fn).__name__, why)
    return pickle.dumps(_Sealed(name, data), protocol=5)


class _Sealed:
    """A pickle within a pickle, so that an error in opening it can name the helper."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data

    def __reduce__(self) -> tuple[Any, ...]:
        return open_helper, (self._name, self._data)


def _nothing_of_a_session(obj: Any) -> None:
    if isinstance(obj, (Ref, Callback)):
        raise TypeError(
            "a helper outlives sessions and workers: give it refs and callbacks as arguments"
        )


def _by_name(obj: Any) -> tuple[Any, ...] | None:
    """Modules behind handles are imported where the helper is opened."""
    if type(obj) is Module:
        return importlib.import_module, (obj._bridge_name,)
    return function_of_module(obj)


def _signature(fn: Any) -> str:
    if type(fn) is _Path:
        return "(...)"
    import inspect

    try:
        return str(inspect.signature(fn))
    except (TypeError, ValueError):
        return "(...)"
