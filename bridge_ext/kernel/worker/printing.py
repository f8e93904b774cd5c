"""stdout and stderr of a worker: what a thread prints goes to the cell that started the thread.

Output belongs to the call that runs, as long as no mark in the pipe says otherwise. A thread that
was started in another call puts such marks around what it prints. What C code writes by itself goes
to the call that runs.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from struct import Struct

from .lines import flush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .running import Running

_ID = Struct("<Q")
LIVE = 0.05
"""Seconds after which text without a newline is written out, so that rows of dots are seen."""


class Printing:
    """Says whose the output of a thread is, and writes the marks.

    Args:
        token: what a mark begins with.
        running: the calls of the main thread.
        wake: has the control thread look whether text is `pending`.
    """

    def __init__(self, token: bytes, running: Running, wake: Callable[[], None]) -> None:
        self._token, self._running, self._wake = token, running, wake
        self.pending = 0.0
        """Since when text without a newline waits, on the monotonic clock; or 0."""
        self._main = threading.get_ident()
        self.lock = threading.RLock()
        self.strayed = False
        """Whether a mark of a thread stands behind the last one of a call."""
        self._tag_threads()

    def install(self) -> None:
        """Take the place of `sys.stdout` and `sys.stderr`."""
        for name in ("stdout", "stderr"):
            stream = Stream(getattr(sys, name).detach(), self)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def _tag_threads(self) -> None:
        start, owner = threading.Thread.start, self.owner

        def tagged(thread: Any) -> None:
            thread._bridge_call = owner()
            start(thread)

        threading.Thread.start = tagged  # type: ignore[method-assign,assignment]

    def owner(self) -> int:
        """The call that this thread belongs to."""
        if threading.get_ident() == self._main:
            return self.current
        owner: int = getattr(threading.current_thread(), "_bridge_call", 0)
        return owner or self.current

    @property
    def current(self) -> int:
        """The call whose output it is where no mark stands: the one that runs, or ran last."""
        calls = self._running.calls
        return calls[-1] if calls else self._running.last

    def stray(self) -> int:
        """The call of this thread, if it is not the current one; else 0."""
        if threading.get_ident() == self._main:
            return 0
        owner = self.owner()
        return owner if owner != self.current else 0

    def wait(self) -> None:
        """Text without a newline was written."""
        if not self.pending:
            self.pending = time.monotonic()
            self._wake()

    def show_pending(self) -> None:
        """Write out the text that has waited long enough; the control thread does this."""
        if self.pending and time.monotonic() - self.pending >= LIVE:
            with self.lock:
                self.pending = 0.0
                flush()

    def forked(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self.lock = threading.RLock()

    def mark(self, call_id: int) -> bytes:
        """What says whose output follows."""
        return self._token + _ID.pack(call_id)


class Stream(io.TextIOWrapper):
    """A text stream over one pipe."""

    def __init__(self, buffer: Any, printing: Printing) -> None:
        super().__init__(buffer, "utf-8", "backslashreplace", line_buffering=True)
        self._printing = printing

    def write(self, text: str) -> int:
        """Write text, between marks if it is another call's."""
        printing = self._printing
        with printing.lock:
            owner = printing.stray()
            if owner:
                return self._write_marked(text, owner)
            count = super().write(text)
            if "\n" not in text:
                printing.wait()
            return count

    def _write_marked(self, text: str, owner: int) -> int:
        printing = self._printing
        self.flush()
        self.buffer.write(printing.mark(owner))
        count = super().write(text)
        self.flush()
        self.buffer.write(printing.mark(printing.current))
        self.buffer.flush()
        printing.strayed = True
        return count
