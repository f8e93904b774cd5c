"""Which calls run in a thread of the worker, and which of them are cancelled.

A cancel is a note by call id and a signal that wakes the main thread. The handler compares the
note with the call on top of the stack and raises KeyboardInterrupt only in a *window*: while
arguments are decoded, the user's code runs or its result is encoded, and never while books are
kept or a frame is on its way. What is not on top is stopped when it is.
"""

from __future__ import annotations

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_signal = sys.modules.get("_signal", signal)  # as `signal.signal` calls it, without its 3 us
_getsignal, _set_handler = _signal.getsignal, _signal.signal
_REMEMBERED = 100_000
"""Cancelled ids kept for calls that have not come yet: more than can be outstanding by mistake."""


class Running:
    """The stack of calls of one thread, the innermost last.

    Everything is called by that thread, but `cancel`, which may be called by any.

    Attributes:
        calls: ids of the calls.
        last: the highest id that has come; ids rise on the wire.
        postponed: those that have come and were left for later.
        window: whether a cancel may raise now. It is closed by an assignment, in which no signal
            is handled, where a call could be interrupted once more.
    """

    __slots__ = ("_cancelled", "_handler", "_stopped", "calls", "last", "postponed", "window")

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.last = 0
        self._cancelled: set[int] = set()
        self._stopped: set[int] = set()
        self.postponed: set[int] = set()
        self.window = False
        self._handler = self.handle_signal

    # ------------------------------------------------------------ the thread itself
    def enter(self, call_id: int) -> bool:
        """A call has come; whether it was cancelled before it came."""
        if call_id > self.last:
            self.last = call_id
        self.calls.append(call_id)
        self.postponed.discard(call_id)
        if self._cancelled and call_id in self._cancelled:
            self._stopped.add(call_id)
            return True
        return False

    def leave(self) -> None:
        """The innermost call has ended."""
        self.window = False
        call_id = self.calls.pop()
        if self._cancelled or self._stopped:
            self._cancelled.discard(call_id)
            self._stopped.discard(call_id)

    def open(self) -> None:
        """The window begins: from here on a cancel of the call on top raises.

        Raises:
            KeyboardInterrupt: it has been cancelled meanwhile.
        """
        self.window = True
        if self._cancelled:
            self._strike()

    @property
    def unheard(self) -> bool:
        """Whether the call on top is cancelled and has not been stopped."""
        return bool(self._cancelled) and bool(self.calls) and self.calls[-1] in self._cancelled

    @property
    def stopped(self) -> bool:
        """Whether the call on top was stopped by a cancel."""
        return bool(self._stopped) and self.calls[-1] in self._stopped

    def _strike(self) -> None:
        """Stop the call on top, if it is cancelled and may be stopped here."""
        if not self.window or not self.calls:
            return
        call_id = self.calls[-1]
        if call_id in self._cancelled:
            self._cancelled.discard(call_id)
            self._stopped.add(call_id)
            raise KeyboardInterrupt

    # ------------------------------------------------------------ the signal
    def handle_signal(self, signum: int, frame: Any) -> None:
        """The handler of SIGINT. A stray one, of no cancel, does nothing."""
        self._strike()

    def take_signal(self) -> None:
        """Put the handler back, which the user's code may have replaced; in the main thread.

        An event loop that waits for this has one around it, which stays.
        """
        found = _getsignal(signal.SIGINT)
        if found is not self._handler and getattr(found, "inner", None) is not self._handler:
            _set_handler(signal.SIGINT, self._handler)

    # ------------------------------------------------------------ any thread
    def cancel(self, call_id: int) -> str:
        """Note that a call is cancelled.

        Returns:
            "running" (the thread is to be woken), "waiting" (it has not come yet and will not
            start) or "ended".
        """
        self._cancelled.add(call_id)
        if call_id in self.calls:
            return "running"
        if call_id > self.last or call_id in self.postponed:
            if len(self._cancelled) > _REMEMBERED:
                self._cancelled.discard(min(set(self._cancelled)))
            return "waiting"
        self._cancelled.discard(call_id)
        return "ended"
