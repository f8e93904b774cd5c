"""KeyboardInterrupt only at a wait: SIGINT is held while bytes move and books are kept.

Python raises KeyboardInterrupt between any two bytecodes, so it could lose a frame half read.
Around each exchange the main thread's handler is replaced by one that takes a note, and the waits
look at the note. Handlers are set through `_signal`, which is what `signal.signal` calls: the
Python wrapper alone costs 3 us, twice a call.
"""

from __future__ import annotations

import signal
import sys
import threading
from _thread import get_ident
from contextlib import contextmanager

from .base import Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_signal = sys.modules.get("_signal", signal)  # CPython's; elsewhere the wrapper itself
getsignal, set_handler = _signal.getsignal, _signal.signal
_SIGINT = int(signal.SIGINT)  # its own type costs the C function more than the system call
TICK = 0.05
"""Seconds after which a wait looks for a note: an interrupt is answered in this time."""


class _Note:
    pending = False
    main = threading.main_thread().ident


def _take_note(signum: int, frame: Any) -> None:
    _Note.pending = True


def hold() -> Any:
    """Hold SIGINT back, in the main thread; give the result to `let_go`."""
    if get_ident() != _Note.main:
        return None
    before = getsignal(_SIGINT)
    if not callable(before):  # ignored, or not Python's: nothing would be raised anyway
        return None
    set_handler(_SIGINT, _take_note)
    return before


def let_go(before: Any) -> None:
    """Put the handler back.

    Raises:
        KeyboardInterrupt: it came meanwhile, and no wait has raised it.
    """
    if before is None:
        return
    set_handler(_SIGINT, before)
    if _Note.pending and before is not _take_note:
        _Note.pending = False
        before(signal.SIGINT, sys._getframe())


@contextmanager
def held() -> Iterator[None]:
    """Hold SIGINT back for a block that must not be left halfway, and that ends soon."""
    before = hold()
    try:
        yield
    finally:
        let_go(before)


@contextmanager
def allowed() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt in code of the user's that blocks an event loop.

    The loop's own handler only asks the loop for something, and it cannot do that meanwhile.
    """
    loops = get_ident() == _Note.main and _in_event_loop()
    before = getsignal(signal.SIGINT) if loops else None
    if not callable(before):
        yield
        return

    def raising(signum: int, frame: Any) -> None:
        before(signum, frame)
        raise KeyboardInterrupt

    set_handler(signal.SIGINT, raising)
    try:
        yield
    finally:
        if getsignal(signal.SIGINT) is raising:
            set_handler(signal.SIGINT, before)


def check(before: Any) -> None:
    """Called by every wait, once a tick.

    Raises:
        Interrupted: an interrupt came.
    """
    if not _Note.pending or before is None:
        return
    _Note.pending = False
    if before in (signal.default_int_handler, _take_note) or _in_event_loop():
        raise Interrupted(KeyboardInterrupt())
    try:
        before(signal.SIGINT, sys._getframe())
    except BaseException as error:
        raise Interrupted(error) from error


def _in_event_loop() -> bool:
    """Whether this wait blocks an event loop, whose handler could not raise into it."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _after_fork() -> None:
    _Note.main = threading.main_thread().ident
    _Note.pending = False


if hasattr(threading, "main_thread") and hasattr(signal, "SIGINT"):
    import os

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
