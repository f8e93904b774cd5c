"""Every length, depth and count on the wire, each with its reason.

A larger value than its limit is refused with both numbers; it is never truncated.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
MIN_SUPPORTED_VERSION = 1

MAX_HEAD = 64 << 20
"""Bytes of a frame's head: it carries releases, and a million of them fit."""

MAX_BODY = 1 << 30
"""Bytes of a frame's body: plain data by value. More than that is what refs are for."""

MAX_BUFFERS = 1 << 16
"""Out-of-band buffers of one frame: one per column of a very wide frame."""

MAX_BUFFER = 1 << 38
"""Bytes of one out-of-band buffer: 256 GiB, more than a machine's memory that we know."""

MAX_DEPTH = 256
"""Nesting of a value by value. msgpack itself stops at 511, Python's stack at about 1,000."""

INLINE_LIMIT = 8 << 20
"""Default for the largest encoding of a result that comes back by value: 8 MiB."""

MAX_TEXT = 100_000
"""Characters of a traceback or of one output chunk: more than anybody reads in a cell."""

MAX_FRAMES = 1_000
"""Frames of one exception's stack: Python's own recursion limit is about that."""

MAX_STACKS = 4_000
"""Frames of all the exceptions that travel as one failure."""

MAX_ERRORS = 100
"""Exceptions that travel as one failure: its chain and the members of its groups."""

MAX_NOTES = 100
"""Notes of one exception."""

MAX_DOC = 400
"""Characters of one member's docstring in a type record: its first paragraph."""

MAX_MEMBERS = 4_000
"""Members in one type record; pyspark and torch stay under 1,500."""

MAX_STUBS = 2_000_000
"""Members of all the types that a kernel knows of one worker: 200 each, and a few GB at worst."""

MAX_HELP = 100_000
"""Characters of a docstring or a source that `?` shows; scipy's longest docstrings are 20,000."""

MAX_PREPARED = 256
"""Calls that a worker keeps under a number; a cell that makes more different ones is rare."""

MAX_KEYS = 1_000
"""Keys of an object that completion offers: twice what IPython shows."""

MAX_TYPES = 10_000
"""Type records a worker remembers to have sent; later types are sent with every ref. Their numbers
are at most twice as many."""

MAX_DISPLAY = 4 << 20
"""Bytes of one MIME type of a display; what is larger is left out, text/plain stays."""

ENDED_REMEMBERED = 1_000
"""Ended sessions, and gone refs of one session, that are remembered to say how they went."""
