"""Handles on iterators: iterating one takes the items in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .handles import Ref
from .surface import surface

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class StreamRef(Ref):
    """A handle on an iterator in a worker; iterating it takes the items there one by one."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self

    @surface
    def __next__(self) -> Any:
        state = self._bridge_state
        return state.client.stream_next(state)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    @surface
    async def __anext__(self) -> Any:
        import asyncio

        end = object()
        item = await asyncio.to_thread(next, self, end)
        if item is end:
            raise StopAsyncIteration
        return item
