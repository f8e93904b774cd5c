"""What a user calls, and what a traceback shows of it.

Of an error that was raised in the worker a user sees their own frames and those in the worker; none
of ours, or, with Python 3.10 outside of IPython, one line.
"""

from __future__ import annotations

import sys
from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import BridgeError
from .wire.rebuilding import throw
from .wire.stacks import record_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")
_COROUTINE = 0x80
"""The flag of a code object that `async def` made."""
_PACKAGE = __name__.partition(".")[0] + "."
_TRACEBACK = vars(BaseException)["__traceback__"]
"""What has it, whatever a class of the user's does when an attribute is set."""


def surface(function: F) -> F:
    """A function that users call: the bridge's frames do not show in their tracebacks.

    It costs 0.1 us a call; what is called most often does the same in place.
    """
    is_coroutine = function.__code__.co_flags & _COROUTINE
    pattern = (_asynchronous if is_coroutine else _synchronous)(function, hide_frames)
    named: dict[str, Any] = {"co_name": function.__name__}
    if sys.version_info >= (3, 11):
        named["co_qualname"] = function.__qualname__
    code = pattern.__code__.replace(**named)
    made: Any = FunctionType(code, function.__globals__, closure=pattern.__closure__)
    return cast("F", update_wrapper(made, function))


def surfaces(cls: type[T]) -> type[T]:
    """A class whose public functions are called by users."""
    for name, member in list(vars(cls).items()):
        if type(member) is FunctionType and not name.startswith("_"):
            setattr(cls, name, surface(member))
    return cls


def _synchronous(function: Any, hide_frames: Any) -> FunctionType:
    def at_the_surface(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return at_the_surface  # type: ignore[return-value]


def _asynchronous(function: Any, hide_frames: Any) -> FunctionType:
    async def at_the_surface(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return at_the_surface  # type: ignore[return-value]


def _raised_here(of: type, caught: TracebackType) -> bool:
    """Whether the bridge raised it by itself: its own errors, and the interrupt of a wait."""
    if issubclass(of, BridgeError):
        return True
    if not issubclass(of, KeyboardInterrupt):
        return False
    frame: TracebackType | None = caught
    while frame is not None:
        if not _is_ours(frame.tb_frame):
            return False
        frame = frame.tb_next
    return True


def hide_frames(error: BaseException) -> bool:
    """Take the bridge's frames out of the traceback of an error that is about to be raised again.

    Call it in an `except` clause that keeps the error or ends with a bare `raise`. What remains
    are the frames in the worker, or in a callback that has raised it, and none for an error of the
    bridge itself. In any other error, one of the user's own code or a fault of ours, every frame
    may matter.

    Returns:
        True: what IPython wants to find as `__tracebackhide__` in the frame, if that still shows.
    """
    caught = _TRACEBACK.__get__(error)
    below = _thrown(caught)
    if caught is not None and (below is not None or _raised_here(type(error), caught)):
        caught.tb_next = below  # Python 3.10 raises with the traceback it has caught
        _TRACEBACK.__set__(error, below)  # and later ones with the one they find
    return True


def _thrown(traceback: TracebackType | None) -> TracebackType | None:
    """What follows the bridge's frames in the traceback of an error that came from elsewhere.

    None if it did not: then the bridge's frames may be what matters.
    """
    entry, arrived, start = traceback, False, None
    while entry is not None:
        frame = entry.tb_frame
        if record_of(frame) is not None:
            return start or entry
        if _is_ours(frame):
            arrived, start = arrived or frame.f_code is throw.__code__, None
        elif arrived:
            return entry
        else:
            start = start or entry
        entry = entry.tb_next
    return None


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(_PACKAGE)
