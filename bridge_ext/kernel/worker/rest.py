"""What a worker imports when its first call has been answered, so that this is not waited for.

What needs one of these before imports it itself. Afterwards all of it is there: a worker without
memory can still say so, and one whose package is upgraded meanwhile stays the version it was.
"""

from __future__ import annotations

import importlib

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


def complete() -> None:
    """Import the rest; what cannot be imported now is tried again by what needs it."""
    root = __name__.partition(".")[0] + ".kernel."
    for name in (*_STANDARD, *(root + name for name in REST)):
        try:
            importlib.import_module(name)
        except Exception:  # there may be no memory for it
            return
