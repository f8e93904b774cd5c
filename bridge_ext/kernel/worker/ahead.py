"""Streams: items are taken from an iterator in batches, and none is lost or taken out of place.

What was sent stays here until the kernel says that it was taken. So a stream that is interrupted,
or used here as an argument, goes on with the item that its user has not had yet.

An iterator is read ahead only where nothing can tell: its entry alone refers to it (else whoever
holds it too would find it at another place, and the groups of `groupby` would be gone), and it does
not give the same object again and again, filled anew.
"""

from __future__ import annotations

import time
import types
from collections import deque
from functools import partial
from itertools import chain, islice
from operator import length_hint
from sys import getrefcount

from ..errors import BridgeUsageError
from .aio import next_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .holding import Entry

_SLICE = 0.002
"""Seconds for which items are gathered for one reply: slow items come one by one."""
_MOST = 1024
"""Items in one reply."""
_CONTAINERS: tuple[Any, ...] = ([], (), {}, {}.values(), {}.items(), set(), "", "é", b"", range(0))
_READ_AHEAD: tuple[type, ...] = (
    *(types.GeneratorType, types.AsyncGeneratorType, map, zip, filter, reversed),
    *(type(iter(container)) for container in _CONTAINERS),
)
"""With `itertools`, what is read ahead unasked: a file or a cursor must not lose its place."""
_FIXED = frozenset((type(None), bool, int, float, complex, str, bytes))
"""What cannot be filled anew."""


class Ahead:
    """An iterator, and the items taken from it that the kernel has not acknowledged.

    Attributes:
        items: those, the oldest first.
        position: how many items, and ends, came before them.
        end: what comes after them: False (nothing is known yet), True (no more), or an error.
        fits: how many items a reply is tried with.
    """

    __slots__ = ("_iterator", "_pace", "_source", "_together", "end", "fits", "items", "position")

    def __init__(self, source: Any, iterator: Any, together: bool) -> None:
        self._source, self._iterator, self._together = source, iterator, together
        self.items: deque[Any] = deque()
        self.position = 0
        self.end: bool | BaseException = False
        self.fits = _MOST
        self._pace = 1

    def acknowledge(self, position: int) -> Any:
        """The kernel's user has had what comes before that position; the last item of it."""
        last, items = None, self.items
        while items and self.position < position:
            last = self.take()
        if self.position < position and self.end is not False:
            self.end = False
            self.position += 1
        return last

    def take(self) -> Any:
        """The oldest item that was not taken."""
        self.position += 1
        return self.items.popleft()

    def gather(self, most: int, last: Any, stopped: Callable[[], bool]) -> None:
        """Take items, up to `most` and for a time slice; what was not taken is sent again.

        The first reply has one item, and the following ones more, as long as they come fast.

        Args:
            most: at least 1.
            last: the item before them.
            stopped: whether a KeyboardInterrupt is that of a cancel.

        Raises:
            BaseException: the iterator's, if it comes before any item.
        """
        if self.items or self.end is not False:
            return
        due = time.monotonic() + _SLICE
        try:
            self._fill(min(most, self._pace), last, due)
        except BaseException as error:
            if not self.items or (isinstance(error, KeyboardInterrupt) and stopped()):
                raise
            self.end = error
        self._pace = min(_MOST, self._pace * 4) if time.monotonic() < due else 1

    def _fill(self, most: int, last: Any, due: float) -> None:
        items, step = self.items, 1
        while True:
            had = len(items)
            wanted = min(step, most - had)
            # `extend` takes and keeps an item at once: no interrupt comes between the two.
            items.extend(islice(self._iterator, wanted))
            if len(items) < had + wanted:
                self.end = True
                return
            if items[-1] is last and type(last) not in _FIXED:
                self._together = False
            if len(items) == most or not self._together or self.shared or time.monotonic() > due:
                return
            last, step = items[-1], min(8, step * 2)

    @property
    def shared(self) -> bool:
        """Whether anything else than the entry and this refers to the iterator."""
        return self._holders() > _ALONE

    def _holders(self) -> int:
        return getrefcount(self._source)


class Replay:
    """A stream as the worker's code sees it: first what the kernel was sent and has not taken."""

    def __init__(self, ahead: Ahead, original: Any) -> None:
        self.bridge_ahead, self.bridge_original = ahead, original

    def __iter__(self) -> Replay:
        return self

    def __next__(self) -> Any:
        ahead = self.bridge_ahead
        if ahead.items:
            return ahead.take()
        end = ahead.end
        if end is False:
            return next(self.bridge_original)
        ahead.acknowledge(ahead.position + 1)
        raise StopIteration if end is True else end

    def __length_hint__(self) -> int:
        return len(self.bridge_ahead.items) + length_hint(self.bridge_original)

    def __reduce__(self) -> Any:
        return chain, (list(self.bridge_ahead.items), self.bridge_original)

    def __copy__(self) -> Any:
        from copy import copy

        return chain(list(self.bridge_ahead.items), copy(self.bridge_original))

    def __deepcopy__(self, memo: Any) -> Any:
        from copy import deepcopy

        return chain(*deepcopy((list(self.bridge_ahead.items), self.bridge_original), memo))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.bridge_original, name)
        if name == "close":
            return partial(self._close, value)
        return partial(self._send, value) if name == "send" else value

    def _close(self, close: Callable[[], Any]) -> Any:
        ahead = self.bridge_ahead
        ahead.acknowledge(ahead.position + len(ahead.items) + 1)
        return close()

    def _send(self, send: Callable[[Any], Any], value: Any) -> Any:
        if not self.bridge_ahead.items and self.bridge_ahead.end is False:
            return send(value)
        if value is None:
            return next(self)
        raise BridgeUsageError(
            "this generator was read ahead, so that what is sent to it now would come too late: "
            "begin with send(None), or with bridge.call('next', generator), which read one item"
        )


class AsyncReplay(Replay):
    """The same of an asynchronous iterator."""

    def __aiter__(self) -> AsyncReplay:
        return self

    async def __anext__(self) -> Any:
        ahead = self.bridge_ahead
        if ahead.items:
            return ahead.take()
        if ahead.end is False:
            return await self.bridge_original.__anext__()
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None


REPLAYS = (Replay, AsyncReplay)
"""What stands for a stream in the worker, and is known to the kernel as that stream."""


def ahead_of(entry: Entry, asked: bool = False) -> Ahead:
    """The stream of an entry, made when it is first needed.

    Args:
        entry: holds an iterator.
        asked: whether reading ahead was asked for, by `bridge.stream`.
    """
    if entry.ahead is None:
        obj = entry.obj
        together = asked or isinstance(obj, _READ_AHEAD) or type(obj).__module__ == "itertools"
        entry.ahead = Ahead(obj, obj if _is_iterator(obj) else _Awaited(obj), together)
    return entry.ahead


def seen(entry: Entry) -> Any:
    """The object of an entry as code in the worker is given it."""
    ahead = entry.ahead
    if ahead is None:
        return entry.obj
    if ahead.items or isinstance(ahead.end, BaseException):
        return (Replay if _is_iterator(entry.obj) else AsyncReplay)(ahead, entry.obj)
    ahead.end = False  # it may begin again there, as a cursor does
    return entry.obj


def _is_iterator(obj: Any) -> bool:
    return hasattr(type(obj), "__next__")


class _Awaited:
    """An asynchronous iterator, driven by the worker's event loop."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __iter__(self) -> _Awaited:
        return self

    def __next__(self) -> Any:
        try:
            return next_item(self._iterator)
        except StopAsyncIteration:
            raise StopIteration from None


def _holders_of_one() -> int:
    """What `_holders` says of an iterator that an entry and its Ahead refer to."""
    entry = types.SimpleNamespace(obj=iter(()))
    return Ahead(entry.obj, entry.obj, False)._holders()


_ALONE = _holders_of_one()
