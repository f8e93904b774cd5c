"""A worker's stdout and stderr, written where the call was made."""

from __future__ import annotations

import codecs
import os
import select
import sys
from struct import Struct

from ..log import warn
from ..wire.heads import DISPLAY_MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any

    from .base import Request

_CHUNK = 65536
_ID = Struct("<Q")
_MOST = 1 << 21
"""Bytes shown at the end of one call: what both pipes hold at most, so that a thread of the
worker that never stops printing cannot hold the reply back."""

_REMEMBERED = 256
"""Calls whose context is kept, so that what their threads print later finds its cell."""


class Output:
    """Two pipes. `show` is called by one thread at a time: whoever reads the data channel.

    Output belongs to the call that runs. While one call waits at a time, that is simply the last
    that was sent. Where calls queue or nest, the worker writes a *mark* into both pipes as each one
    begins or goes on: a token that no output can contain by chance, and the call's id.

    It also writes one where its code displays something, with a number that rises. The display
    itself comes on the data channel, so what is read behind such a mark is held back until then.

    Attributes:
        context: of the call whose output comes, as long as no mark says otherwise.
        token: what a mark begins with; no text in UTF-8 has its first byte.
        holds: whether anything waits for a display.
    """

    def __init__(self, out: int, err: int) -> None:
        self.descriptors = (out, err)
        self.token = b"\xff" + os.urandom(15)
        self.holds = False
        self._displayed = 0
        self.context: Context | None = None
        self._contexts: dict[int, Context | None] = {}
        self._marked = False
        self._pipes = {out: _Pipe(out, sys_stdout), err: _Pipe(err, sys_stderr)}
        self._poll = select.poll()
        for fd in self.descriptors:
            self._poll.register(fd, select.POLLIN)
        self.poll = self._poll.poll

    def sent(self, call_id: int, context: Context | None, alone: bool) -> None:
        """A call is sent; with `alone` no other is in flight, and all that comes is its output."""
        contexts = self._contexts
        contexts[call_id] = context
        if len(contexts) > _REMEMBERED:
            del contexts[next(iter(contexts))]
        if alone:
            if self.holds:
                self._let_go()
            self.context = context
            if self._marked:
                self._marked = False
                for pipe in self._pipes.values():
                    pipe.context = None

    def tell(self, request: Request, text: str) -> None:
        """Write a line of ours to stderr, where a call was made."""
        context = request.origin.context
        write = self._pipes[self.descriptors[1]].write_text
        if context is None:
            write(text)
        else:
            context.copy().run(write, text)

    def context_of(self, call_id: int) -> Context | None:
        """Where what a call shows belongs: to its own context, or that of the last call."""
        return self._contexts.get(call_id) or self.context

    def show(self, last: bool = False) -> bool:
        """Write what is there where it belongs; whether there was anything.

        With `last` no display comes any more that something could wait for.
        """
        ready = self._poll.poll(0)
        shown = 0
        while ready and shown < _MOST:
            for fd, _ in ready:
                shown += self._one(self._pipes[fd])
            ready = self._poll.poll(0)
        if last and self.holds:
            self._let_go()
        return shown > 0

    # ------------------------------------------------------------ displays
    def show_until(self, display: int) -> None:
        """Write what was written before a display; its marks are in the pipes already."""
        self._pass(display - 1)
        for pipe in self._pipes.values():
            while pipe.display != display and self._has_more(pipe):
                self._one(pipe)

    def show_after(self, display: int) -> None:
        """Write what was held back for a display that has been shown."""
        self._pass(display)

    def _let_go(self) -> None:
        self._pass(max(pipe.display for pipe in self._pipes.values()))

    def _pass(self, display: int) -> None:
        self._displayed = max(self._displayed, display)
        for pipe in self._pipes.values():
            if 0 < pipe.display <= self._displayed:
                data, pipe.held, pipe.display = pipe.held, b"", 0
                self._show_marked(pipe, data)
        self.holds = any(pipe.display for pipe in self._pipes.values())

    def _has_more(self, pipe: _Pipe) -> bool:
        return any(fd == pipe.fd for fd, _ in self._poll.poll(0))

    # ------------------------------------------------------------ pipes
    def _one(self, pipe: _Pipe) -> int:
        try:
            data = os.read(pipe.fd, _CHUNK)
        except (BlockingIOError, OSError):
            data = b""
        if not data:
            self._poll.unregister(pipe.fd)
            return 0
        if pipe.display:
            pipe.held += data
            if len(pipe.held) > _MOST:
                self._let_go()
        else:
            self._show_marked(pipe, pipe.held + data if pipe.held else data)
        return len(data)

    def _show_marked(self, pipe: _Pipe, data: bytes) -> None:
        """Write data that may hold marks, each part in its call's context."""
        size = len(self.token) + _ID.size
        while (at := data.find(self.token)) >= 0 and len(data) >= at + size:
            pipe.write(data[:at], pipe.context or self.context)
            number = _ID.unpack_from(data, at + len(self.token))[0]
            data = data[at + size :]
            if not number & DISPLAY_MARK:
                pipe.context = self._contexts.get(number, pipe.context)
                self._marked = True
            elif number ^ DISPLAY_MARK > self._displayed:
                pipe.held, pipe.display, self.holds = data, number ^ DISPLAY_MARK, True
                return
        keep = len(data) - at if at >= 0 else _overlap(data, self.token)
        pipe.held = data[len(data) - keep :] if keep else b""
        pipe.write(data[: len(data) - keep] if keep else data, pipe.context or self.context)


class _Pipe:
    """One of the two: its decoder, and whose output is being read from it."""

    __slots__ = ("_decoder", "_stream", "context", "display", "fd", "held")

    def __init__(self, fd: int, stream: Callable[[], Any]) -> None:
        self.fd, self._stream = fd, stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.context: Context | None = None
        self.held = b""
        """The beginning of a mark whose end has not come yet; or all behind the next display."""
        self.display = 0
        """The number of the display that is waited for."""

    def write(self, data: bytes, context: Context | None) -> None:
        text = self._decoder.decode(data)
        if not text:
            return
        if context is None:
            self.write_text(text)
        else:
            # A copy, because a context can be entered only once at a time.
            context.copy().run(self.write_text, text)

    def write_text(self, text: str) -> None:
        """Write text where the stream goes now."""
        try:
            stream = self._stream()
            try:
                stream.write(text)
            except UnicodeEncodeError as error:
                stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
            stream.flush()
        except Exception:
            warn("bridge_ext.output", "the worker's output could not be written")


def _overlap(data: bytes, token: bytes) -> int:
    """How many bytes at the end of data may be the beginning of a token."""
    for size in range(min(len(data), len(token) - 1), 0, -1):
        if data.endswith(token[:size]):
            return size
    return 0


def sys_stdout() -> Any:
    """Where stdout goes now, which `%%capture` and others change."""
    return sys.stdout


def sys_stderr() -> Any:
    """Where stderr goes now."""
    return sys.stderr
