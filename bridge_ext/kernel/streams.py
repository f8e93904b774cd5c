"""Handles on iterators: iterating one takes the items in the worker, many at a time where it can.

The worker sends what it has gathered in a short while, so slow items come one by one and fast ones
by the hundreds. It keeps what it has sent until this side says that it was taken.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from .errors import BridgeUsageError
from .handles import Ref
from .onlookers import onlooker
from .surface import surface
from .wire.loading import malformed
from .wire.rebuilding import throw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .call import Call
    from .refs import RefState

_MOST = 1024
"""Items asked for at a time; the worker sends fewer where they take it time."""


class StreamState:
    """What was received of one stream and not yet taken.

    Attributes:
        items: those, the oldest first.
    """

    __slots__ = ("_end", "_filler", "_filling", "_received", "_shared", "items")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self._received = 0
        self._end: Any = False
        self._shared = False
        self._filling = threading.Lock()
        self._filler = 0

    def give_back(self, state: RefState) -> None:
        """The stream is used in the worker: what was not taken here goes on there."""
        if self._received:
            self._received -= len(self.items) + (self._end is not False)
            self.items.clear()
            self._end = False
            state.incarnation.streamed(state.id, self._received)

    def next(self, state: RefState) -> Any:
        """The next item, asked for if none is here.

        Raises:
            StopIteration: there is none.
        """
        self._begin()
        try:
            while not self.items:
                self._check_end(StopIteration)
                call = state.client.stream_call(state, _MOST, self._received)
                self._take(state, call, state.client.request(call))
            return self._first(state)
        finally:
            self._finish()

    async def anext(self, state: RefState) -> Any:
        """The same, awaited.

        Raises:
            StopAsyncIteration: there is none.
        """
        from .awaiting import arequest, pause

        while not self._try_begin():
            await pause()
        try:
            while not self.items:
                self._check_end(StopAsyncIteration)
                call = state.client.stream_call(state, _MOST, self._received)
                self._take(state, call, await arequest(state.client, call))
            return self._first(state)
        finally:
            self._finish()

    def _check_end(self, stop: type[Exception]) -> None:
        """Raise what comes after the items; whoever asks again is told by the iterator itself."""
        end, self._end = self._end, False
        if end is True:
            raise stop
        if end is not False:
            throw(end)

    def _take(self, state: RefState, call: Call, reply: Any) -> None:
        with malformed("items of a stream"):
            position, items, end, self._shared = reply
            self._received = position + len(items) + (end is not False)
            self._end = end if type(end) is bool else state.client.raised(end, call)
            self.items.extend(items)

    def _first(self, state: RefState) -> Any:
        item = self.items.popleft()
        if self._shared:
            taken = self._received - len(self.items) - (self._end is not False)
            state.incarnation.streamed(state.id, taken)
        return item

    def _begin(self) -> None:
        if self._filler == threading.get_ident():
            raise BridgeUsageError("this stream is being iterated already, by this thread")
        self._filling.acquire()
        self._filler = threading.get_ident()

    def _try_begin(self) -> bool:
        if not self._filling.acquire(blocking=False):
            return False
        self._filler = threading.get_ident()
        return True

    def _finish(self) -> None:
        self._filler = 0
        self._filling.release()


class StreamRef(Ref):
    """A handle on an iterator in a worker; iterating it takes the items there.

    Generators, `itertools`, `map`, `zip`, `filter` and what `bridge.stream` makes are read ahead,
    from the first item asked for; anything else (a file, a cursor), and what something else in the
    worker holds too, keeps its place. An error comes at its place, after the items before it.
    `for`, `async for` and `next` go on where the last one stopped; the iterator is closed when its
    last handle goes.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        if onlooker():
            raise TypeError("a stream gives no item away to be shown")
        return self

    @surface
    def __next__(self) -> Any:
        state = self._bridge_state
        stream = state.stream
        assert stream is not None
        if state.gone or not state.session.live:
            state.check()
        try:
            return stream.items.popleft()
        except IndexError:
            pass  # an error raised here would be told as one of handling this one
        return stream.next(state)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    @surface
    async def __anext__(self) -> Any:
        state = self._bridge_state
        stream = state.stream
        assert stream is not None
        state.check()
        if stream.items:
            return stream.items.popleft()
        return await stream.anext(state)


StreamRef.__iter__.__annotations__.clear()  # completers would take it for the items' type
