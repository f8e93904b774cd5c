"""Refs in pickles: a token that stands for the ref in this process, while the ref lives.

A token is inert. It holds neither the object nor a handle, so a pickle keeps nothing alive, and
taking it apart asks nothing of the worker.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from .errors import InvalidRefError, RefNotFoundError
from .surface import surface

if TYPE_CHECKING:
    from types import FrameType

    from .handles import Ref
    from .incarnation import Incarnation

_MARK = os.urandom(16).hex()
"""Of this process, together with its pid: a forked child has the same."""
_SENDERS = re.compile(
    r"(multiprocessing|multiprocess|billiard|(.*\.)?loky\.backend)\.reduction|joblib\.pool"
)
"""Modules that pickle what a pool or a child process is given. Refused there, a ref is an error of
the task; refused by the child, which takes its tasks apart one by one, it would end the child, and
a `multiprocessing.Pool` waits for ever for what its child had."""
_HINT = "a pickle has its name only; pickle what bridge.fetch(ref) gives, a copy of the object"


class _Numbers:
    """Numbers for workers whose refs were pickled; they hold none of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = itertools.count(1)
        self._numbers: weakref.WeakKeyDictionary[Incarnation, int] = weakref.WeakKeyDictionary()
        self._known: weakref.WeakValueDictionary[int, Incarnation] = weakref.WeakValueDictionary()

    def of(self, incarnation: Incarnation) -> int:
        """Its number, which no other will have."""
        with self._lock:
            number = self._numbers.get(incarnation)
            if number is None:
                number = self._numbers[incarnation] = next(self._next)
                self._known[number] = incarnation
            return number

    def find(self, number: int) -> Incarnation | None:
        """The one of that number, while anything still refers to it."""
        return self._known.get(number)


_numbers = _Numbers()


def reduced(ref: Ref) -> tuple[Any, tuple[Any, ...]]:
    """What `__reduce_ex__` gives: how a pickle finds the ref again.

    Raises:
        InvalidRefError: the pickle is made for another process, by a pool or the like.
    """
    state = ref._bridge_state
    if _for_another_process():
        raise InvalidRefError(state.text(), f"it cannot go to another process; {_HINT}")
    number = _numbers.of(state.incarnation)
    return handle_of, (_MARK, os.getpid(), number, state.id, state.text())


def _for_another_process() -> bool:
    """Whether the code that pickles is that of a pool or of a child process's start."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if _SENDERS.fullmatch(frame.f_globals.get("__name__") or ""):
            return True
        frame = frame.f_back
    return False


@surface
def handle_of(mark: str, pid: int, number: int, ref_id: int, text: str) -> Ref:
    """The handle that was pickled.

    Raises:
        InvalidRefError: it was pickled in another process, or its bridge is closed.
        RefNotFoundError: the ref has ended, or no handle of it is left.
        SessionLostError: its worker has died.
    """
    if (mark, pid) != (_MARK, os.getpid()):
        raise InvalidRefError(
            text, f"it was pickled in process {pid}, the only one that can use it; {_HINT}"
        )
    incarnation = _numbers.find(number)
    if incarnation is not None and incarnation.client.closed:
        raise InvalidRefError(text, f"the bridge it was pickled with is closed; {_HINT}")
    handle = _handle(incarnation, ref_id) if incarnation is not None else None
    if handle is None:
        raise RefNotFoundError(f"{text} ({_HINT})")
    try:
        handle._bridge_state.check()
    except RefNotFoundError as gone:
        raise RefNotFoundError(f"{text} ({_HINT})", gone.reason) from None
    return handle


def _handle(incarnation: Incarnation, ref_id: int) -> Ref | None:
    state = incarnation.refs.get(ref_id)
    return state.handle() if state is not None and state.handle is not None else None
