"""Events of calls, for those who subscribed."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call
    from .sessions import SessionManager

_numbers = itertools.count(1)


class Telling:
    """One call, told of when it starts and when it ends."""

    __slots__ = ("_begun", "_call", "_cell", "_manager", "_number")

    def __init__(self, manager: SessionManager, call: Call, cell: str, session_id: str) -> None:
        self._manager, self._call, self._cell = manager, call, cell
        self._number = next(_numbers)
        self._begun = time.monotonic()
        started = manager.records.CallStarted
        manager.tell(started(self._number, call.text, cell, session_id, time.time()))
        manager.publish()

    def ended(self, error: BaseException | None) -> None:
        """The call has ended; an exception is told of by its type and text."""
        session = self._call.session
        home = session[0] if type(session) is list else session
        self._manager.tell(
            self._manager.records.CallEnded(
                self._number,
                self._call.text,
                self._cell,
                home.id if home is not None else "",
                time.monotonic() - self._begun,
                None if error is None else _text(error),
            )
        )
        self._manager.publish()


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
