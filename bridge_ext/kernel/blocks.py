"""`await ref`, `with ref` and `async with ref`: awaited, entered and left in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import EncodeError
from .operations import by_rule, operation
from .surface import surface

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from .handles import Ref
    from .options import Options
    from .refs import RefState

    Kind = type[BaseException] | None
    Error = BaseException | None

_AIO = "bridge_ext.kernel.worker.aio"
"""The module that runs awaitables in the worker."""


@surface
async def _asked(ref: Ref, name: str, *args: Any, options: Options | None = None) -> Any:
    from .awaiting import arequest

    state = ref._bridge_state
    call = operation(state, _AIO, name, [ref, *args], None, options)
    return await arequest(state.client, call)


def awaited(self: Ref) -> Generator[Any, None, Any]:
    """`__await__`: what it gives, plain data by value and any other object as a ref."""
    return _asked(self, "run").__await__()


@surface
def enter(self: Ref) -> Any:
    """`__enter__`: what it gives. Nothing is fetched, or what was entered could not be left."""
    state = self._bridge_state
    return state.client.method(state, "__enter__", (), {}, by_rule())


@surface
def leave(self: Ref, kind: Kind, error: Error, traceback: TracebackType | None) -> bool:
    """`__exit__`; whether it silences the error.

    A traceback cannot travel. An error that cannot is told as its nearest builtin kind. A ref that
    has ended cannot be left, which does not hide an error that is on its way.
    """
    state = self._bridge_state
    if _too_late(state, error):
        return False
    try:
        return bool(state.client.method(state, "__exit__", (kind, error, None), {}, by_rule()))
    except EncodeError as failure:
        told = _stand_in(error, failure)
        return bool(state.client.method(state, "__exit__", (*told, None), {}, by_rule()))


@surface
async def aenter(self: Ref) -> Any:
    """`__aenter__`, in the same way as `enter`."""
    return await _asked(self, "enter", options=by_rule())


@surface
async def aleave(self: Ref, kind: Kind, error: Error, traceback: TracebackType | None) -> bool:
    """`__aexit__`, in the same way as `leave`."""
    if _too_late(self._bridge_state, error):
        return False
    try:
        return bool(await _asked(self, "leave", kind, error, options=by_rule()))
    except EncodeError as failure:
        told = _stand_in(error, failure)
        return bool(await _asked(self, "leave", *told, options=by_rule()))


def _too_late(state: RefState, error: Error) -> bool:
    return error is not None and bool(state.ended() or state.client.closed)


def _stand_in(error: Error, failure: EncodeError) -> tuple[Kind, Error]:
    """The nearest builtin kind of an error that did not travel, and one of that kind.

    Raises:
        EncodeError: the failure, where something else did not travel: the block was left.
    """
    if error is None or not failure.where.startswith("args"):
        raise failure
    try:
        text = str(error)
    except Exception:
        text = type(error).__name__
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins" and issubclass(kind, BaseException):
            try:
                return kind, kind(text)
            except TypeError:
                continue  # one that is not made from a text, such as UnicodeDecodeError
    return BaseException, BaseException(text)
