"""Calls as awaitables."""

from __future__ import annotations

import asyncio
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .backends.interrupts import TICK
from .journeys import Journey, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call import Call
    from .client import Client


async def arequest(client: Client, call: Call) -> Any:
    """Make a call and await its value, as `Client.request`.

    Cancelling the awaiting task stops the call in the worker.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def arrived(value: Any, error: BaseException | None) -> None:
        _on_loop(loop, lambda: _settle(future, value, error))

    def run(fn: Callable[[], None]) -> None:
        if not _on_loop(loop, lambda: context.copy().run(fn)):
            in_thread(lambda: context.copy().run(fn))

    journey = Journey(client, call, arrived, run)
    pulse = _Pulse.of(loop)
    pulse.beat(1)
    try:
        journey.start()
        return await future
    except asyncio.CancelledError:
        journey.cancel()
        raise
    finally:
        pulse.beat(-1)


async def pause() -> None:
    """Let others run for a moment."""
    await asyncio.sleep(TICK / 10)


def _on_loop(loop: asyncio.AbstractEventLoop, fn: Callable[[], None]) -> bool:
    """Run a function on a loop; False if it was closed, and whoever waited there is gone."""
    try:
        loop.call_soon_threadsafe(fn)
    except RuntimeError:
        return False
    return True


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if isinstance(error, StopIteration):  # which a future refuses
        error = RuntimeError(f"the call raised {error!r}")
    try:
        if isinstance(error, KeyboardInterrupt):
            future.cancel("the call was interrupted")
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)
    except asyncio.InvalidStateError:
        pass  # it was cancelled, perhaps by a handler of SIGINT just now


class _Pulse:
    """Wakes an event loop now and then while a call is awaited on it.

    A handler of SIGINT that asks the loop to do something does not wake it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._calls = 0
        self._ticks = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Pulse:
        """The pulse of a loop."""
        pulse = _pulses.get(loop)
        if pulse is None:
            pulse = _pulses[loop] = cls(loop)
        return pulse

    def beat(self, calls: int) -> None:
        """More or fewer calls are awaited."""
        self._calls += calls
        if self._calls and not self._ticks:
            self._ticks = True
            self._tick()

    def _tick(self) -> None:
        loop = self._loop()
        if not self._calls or loop is None:
            self._ticks = False
        else:
            loop.call_later(TICK, self._tick)


_pulses: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pulse] = weakref.WeakKeyDictionary()
