"""Prepared calls: what is called again and again travels once, and then only its number.

The first time a call is made in a session it travels whole. With the second, the worker is told to
keep its payload, read and checked, under a number; from the third on a request brings that number
and the arguments. What a worker keeps is bounded, so that a number may come that it does not know
any more: then nothing has run, and the call is sent whole.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from .wire.limits import MAX_PREPARED
from .wire.payload import call_part, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .session import Session
    from .wire.payload import Part

TYPES = frozenset(("dynamic", "function", "class", "method"))
"""The call types whose calls are prepared."""
_PER_SESSION = 256
"""Calls of one session that are remembered to have been made; then it begins anew."""


class Known:
    """One call, as it was made before.

    Attributes:
        books: of the worker that it was made in.
        met: whether it was made once.
        in_force, label: id of the named session in force there, and the cell.
        number: once it has one; `told` once the worker has been told.
    """

    __slots__ = ("books", "in_force", "label", "met", "number", "payload", "told")

    def __init__(self, books: PreparedCalls, in_force: str | None, label: str) -> None:
        self.books, self.in_force, self.label = books, in_force, label
        self.number = 0
        self.payload = b""
        self.met = self.told = False


class PreparedCalls:
    """Which calls one worker knows by number. Every method may be called from any thread.

    Attributes:
        untold: what the next message has to tell it.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._told: deque[Known] = deque()
        self.untold: deque[Known] = deque()

    def known(self, session: Session, start: Part, in_force: str | None, label: str) -> Known:
        """What is known of a call; if the worker is not told yet, send it whole and `meet` it.

        Args:
            session: that it runs in.
            start: of its payload.
            in_force: id of the named session in force.
            label: the cell.
        """
        known = session.prepared.get(start)
        if (
            known is None
            or known.books is not self
            or known.label != label
            or known.in_force != in_force
        ):
            if len(session.prepared) >= _PER_SESSION:
                session.prepared.clear()
            known = session.prepared[start] = Known(self, in_force, label)
        return known

    def meet(self, known: Known, parts: Sequence[Part]) -> None:
        """A call is made, and not for the first time: the next message tells the worker.

        Args:
            known: the call.
            parts: those of its payload, without arguments.
        """
        if not known.met:
            known.met = True
        elif not known.number:
            known.number = next(self._numbers)
            known.payload = join([*parts, call_part([], {})])
            self.untold.append(known)

    def take(self) -> list[list[Any]]:
        """What to tell the worker; called where the order of messages is fixed."""
        declared: list[list[Any]] = []
        while self.untold:
            known = self.untold.popleft()
            declared.append(["prepare", known.number, known.payload, known.label])
            known.payload, known.told = b"", True
            self._told.append(known)
            if len(self._told) > MAX_PREPARED:
                gone = self._told.popleft()
                gone.number, gone.told = 0, False
        return declared
