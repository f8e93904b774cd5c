"""Streams: items are taken from an iterator in batches, and none is lost or taken out of place.

What was sent stays here until the kernel says that it was taken. So a stream that is interrupted,
or used here as an argument, goes on with the item that its user has not had yet.
"""

from __future__ import annotations

import time
import types
from collections import deque
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .holding import Entry

_SLICE = 0.002
"""Seconds for which items are gathered for one reply: slow items come one by one."""
_READ_AHEAD = (types.GeneratorType, types.AsyncGeneratorType, map, zip, filter)
"""With `itertools`, what is read ahead unasked: a file or a cursor must not lose its place."""


class Ahead:
    """An iterator, and the items taken from it that the kernel has not acknowledged.

    Attributes:
        items: those, the oldest first.
        position: how many items came before them.
        end: what comes after them: False (nothing is known yet), True (no more), or an error.
    """

    __slots__ = ("_iterator", "_together", "end", "items", "position")

    def __init__(self, iterator: Any, together: bool) -> None:
        self._iterator, self._together = iterator, together
        self.items: deque[Any] = deque()
        self.position = 0
        self.end: bool | Exception = False

    def acknowledge(self, position: int) -> None:
        """The kernel's user has taken the items before that position."""
        items = self.items
        if items and self.position + len(items) <= position:
            self.position += len(items)
            items.clear()
            if self.end is not True:
                self.end = False  # an error was given at its place, and what comes then is asked
        while items and self.position < position:
            self.take()

    def take(self) -> Any:
        """The oldest item that was not taken."""
        self.position += 1
        return self.items.popleft()

    def gather(self, most: int) -> None:
        """Take items, up to `most` and for a time slice; what was not taken is sent again.

        Raises:
            Exception: the iterator's, if it comes before any item.
        """
        items, iterator = self.items, self._iterator
        if items or self.end is True:
            return
        due, step = time.monotonic() + _SLICE, 1
        try:
            while len(items) < most:
                had = len(items)
                # `extend` takes and keeps an item at once: no interrupt comes between the two.
                items.extend(islice(iterator, min(step, most - had)))
                if len(items) < had + min(step, most - had):
                    self.end = True
                    return
                if not self._together:
                    return
                if time.monotonic() > due:
                    return
                step = min(8, step * 2)
        except Exception as error:
            if not items:
                raise
            self.end = error


class Replay:
    """A stream as the worker's code sees it: first what the kernel was sent and has not taken."""

    def __init__(self, ahead: Ahead, original: Any) -> None:
        self._ahead, self._original = ahead, original

    def __iter__(self) -> Replay:
        return self

    def __next__(self) -> Any:
        if self._ahead.items:
            return self._ahead.take()
        return next(self._original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def ahead_of(entry: Entry, asked: bool = False) -> Ahead:
    """The stream of an entry, made when it is first needed.

    Args:
        entry: holds an iterator.
        asked: whether reading ahead was asked for, by `bridge.stream`.
    """
    if entry.ahead is None:
        obj = entry.obj
        together = asked or isinstance(obj, _READ_AHEAD) or type(obj).__module__ == "itertools"
        entry.ahead = Ahead(_iterator(obj), together)
    return entry.ahead


def seen(entry: Entry) -> Any:
    """The object of an entry as code in the worker is given it."""
    if entry.ahead is not None and entry.ahead.items:
        return Replay(entry.ahead, entry.obj)
    return entry.obj


def _iterator(obj: Any) -> Any:
    if hasattr(type(obj), "__next__"):
        return obj
    return _Awaited(obj)


class _Awaited:
    """An asynchronous iterator, driven by the worker's event loop."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __next__(self) -> Any:
        from .aio import run

        try:
            return run(self._iterator.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
