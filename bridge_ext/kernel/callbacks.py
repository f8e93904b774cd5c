"""Callbacks: functions of this process that a worker's code can call.

One belongs to the session of the call that carried it, and is forgotten with it. It runs while a
call is in flight, where that call is waited for.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from .errors import BridgeUsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session

numbers = itertools.count(1)
"""For callbacks, and for the errors that they raise."""


class Callback:
    """A function that runs here when it is called in a worker; `bridge.callback(fn)` makes one.

    Attributes:
        fn: the function.
        id: its number in this process.
    """

    __slots__ = ("fn", "id", "name")

    def __init__(self, fn: Callable[..., Any]) -> None:
        if not callable(fn):
            raise BridgeUsageError(f"callback({fn!r}): give a function")
        self.fn = fn
        self.id = next(numbers)
        self.name = str(getattr(fn, "__name__", None) or type(fn).__name__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it, here."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<callback {self.name}>"

    def carried(self, session: Session) -> list[Any]:
        """How a call in that session names it: `[id, session id, generation, name]`."""
        session.callbacks[self.id] = self
        return [self.id, session.id, session.generation, self.name]
