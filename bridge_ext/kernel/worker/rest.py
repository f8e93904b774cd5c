"""What a worker imports in the first pause after a call, so that no call waits for it.

What needs one of these before imports it itself. Afterwards all of it is there: a worker without
memory can still say so, and one whose package is upgraded meanwhile stays the version it was.
"""

from __future__ import annotations

import importlib
import select

from ..wire import stacks
from . import serving

REST = (
    *("wire.pickling", "wire.opening", "wire.strings", "wire.culprits", "wire.searching"),
    *("worker.pickles", "worker.hints", "worker.looking", "worker.documents", "worker.sources"),
    *("worker.keys", "worker.previews", "worker.sizing", "worker.libraries", "worker.parts"),
    "worker.buffers",
)
"""Modules of ours, below the kernel side's package."""
ALONE = ("worker.display", "worker.publishing")
"""Those that are imported only where something is shown."""
_STANDARD = ("copy", "difflib", "linecache", "pickle", "tokenize")


_PAUSE = 5
"""Milliseconds without a request that are a pause: calls in a loop come a hundred times faster."""
_PATIENCE = 1_000
"""Calls after which no pause is waited for."""


class Rest:
    """Whether all of it is imported yet.

    Attributes:
        missing: whether to look for a pause after a call.
    """

    def __init__(self) -> None:
        self.missing = True
        self._calls = 0

    def look(self, fd: int) -> None:
        """After a call: import the rest, if no request comes for a moment."""
        self._calls += 1
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if self._calls > _PATIENCE or not poll.poll(_PAUSE):
            self.missing = False
            complete()


def complete() -> None:
    """Import the rest; what cannot be imported now is tried again by what needs it."""
    root = __name__.partition(".")[0] + ".kernel."
    for name in (*_STANDARD, *(root + name for name in REST)):
        try:
            importlib.import_module(name)
        except Exception:  # there may be no memory for it
            return
    stacks.reader()
    serving.hints()
