"""A worker's stdout and stderr, written where the call was made."""

from __future__ import annotations

import codecs
import logging
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context

_CHUNK = 65536
_MOST = 1 << 21
"""Bytes shown at the end of one call: what both pipes hold at most, so that a thread of the
worker that never stops printing cannot hold the reply back."""

_log = logging.getLogger("bridge_ext.output")


class Output:
    """Two pipes. `show` is called by one thread at a time: whoever reads the data channel."""

    def __init__(self, out: int, err: int) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {out: make(errors="replace"), err: make(errors="replace")}
        self._err = err
        self.descriptors = (out, err)
        self._poll = select.poll()
        for fd in self.descriptors:
            self._poll.register(fd, select.POLLIN)
        self.poll = self._poll.poll

    def show(self, context: Context | None) -> bool:
        """Write what is there to this process's stdout and stderr, as they are in `context`."""
        ready = self._poll.poll(0)
        shown = 0
        while ready and shown < _MOST:
            for fd, _ in ready:
                shown += self._one(fd, context)
            ready = self._poll.poll(0)
        return shown > 0

    def _one(self, fd: int, context: Context | None) -> int:
        try:
            data = os.read(fd, _CHUNK)
        except (BlockingIOError, OSError):
            data = b""
        if not data:
            self._poll.unregister(fd)
            return 0
        text = self._decoders[fd].decode(data)
        if context is None:
            self._write(fd, text)
        else:
            # A copy, because a context can be entered only once at a time.
            context.copy().run(self._write, fd, text)
        return len(data)

    def _write(self, fd: int, text: str) -> None:
        stream = sys.stderr if fd == self._err else sys.stdout
        try:
            stream.write(text)
            stream.flush()
        except Exception:
            _log.warning("the worker's output could not be written", exc_info=True)
