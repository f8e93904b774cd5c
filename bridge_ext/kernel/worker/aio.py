"""The worker's one event loop: made at first need, kept between calls, driven by each of them.

Tasks that are pending and async generators that are open when a call returns stay so, and go on
while a later call drives the loop.
"""

from __future__ import annotations

import atexit
import importlib
import signal
import sys
import threading

from ..errors import BridgeUsageError
from ..wire import own

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable
    from types import FrameType
    from typing import Any, TypeVar

    T = TypeVar("T")

_GRACE = 1.0
"""Seconds that cancelled tasks have to end when the loop is closed, and hold up an exit."""
_MACHINERY = frozenset(("asyncio", "selectors", "heapq", "weakref", "_weakrefset"))
"""Modules that run between the steps of tasks, where an exception would lose a step."""


class _Loop:
    """An event loop, and what wakes it when a signal comes just before it begins to wait."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = _asyncio().new_event_loop()
        from socket import socketpair

        self._read, self._write = socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)
        self.wake = self._write.fileno()
        self.loop.add_reader(self._read, self._drain)

    def _drain(self) -> None:
        try:
            self._read.recv(4096)
        except BlockingIOError:
            pass  # another round has taken it

    def close(self) -> None:
        self.loop.remove_reader(self._read)
        self.loop.close()
        self._read.close()
        self._write.close()


class _Place:
    """Where the loop of this process is, and the turns of threads at it (a worker has one)."""

    loop: _Loop | None = None
    turn = threading.Lock()


def run(awaitable: Awaitable[T]) -> T:
    """Await something on the worker's event loop; what it gives.

    An interrupt is raised in the user's code if that runs; while the loop waits, it cancels the
    task. Either way the task is run to its end before the interrupt goes on, and the loop can be
    used again.

    Raises:
        BridgeUsageError: an event loop runs in this thread already.
        BaseException: what the awaitable raised.
    """
    aio = _asyncio()
    if aio._get_running_loop() is not None:
        raise BridgeUsageError(
            "An event loop runs in the worker's main thread already, and this call was made from "
            "within it; await the object there, in the function that the loop runs"
        )
    with _Place.turn:
        if _Place.loop is None:
            _Place.loop = _Loop()
            atexit.register(close)
        loop = _Place.loop.loop
        with _Interrupts(_Place.loop) as interrupts:
            task = interrupts.watch(loop.create_task(_awaited(awaitable)))
            try:
                value: T = _drive(loop, task)
            except BaseException as error:
                _finish(loop, task)
                interrupts.check()
                _hide_machinery(error)
                raise error
        interrupts.check()
        return value


def next_item(iterator: AsyncIterator[T]) -> T:
    """The next item of an asynchronous iterator, asked for on the loop.

    A generator that was first asked there is ended by it (asked before, by `run(it.__anext__())`,
    it is not known to the loop).

    Raises:
        StopAsyncIteration: there is none.
    """
    return run(_next(iterator))


async def _next(iterator: AsyncIterator[T]) -> T:
    return await iterator.__anext__()


def enter(manager: Any) -> Any:
    """Enter an asynchronous context manager; what it gives."""
    return run(type(manager).__aenter__(manager))


def leave(manager: Any, kind: Any, error: Any) -> bool:
    """Leave it; whether it silences the error."""
    return bool(run(type(manager).__aexit__(manager, kind, error, None)))


def close() -> None:
    """Cancel what is pending, end open async generators and close the loop.

    For the end of a worker, when nothing is awaited any more; a later `run` makes another loop.
    """
    place, _Place.loop = _Place.loop, None
    if place is None:
        return
    atexit.unregister(close)
    aio, loop = _asyncio(), place.loop
    pending = aio.all_tasks(loop)
    for task in pending:
        task.cancel()
    try:
        if pending:
            loop.run_until_complete(aio.wait(pending, timeout=_GRACE))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        place.close()


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _drive(loop: asyncio.AbstractEventLoop, task: asyncio.Task[T]) -> T:
    """Run the loop until the task is done."""
    value: T = loop.run_until_complete(task)
    return value


def _finish(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Run a task to its end whose loop was left by an exception."""
    if not task.done():
        task.cancel()
        _drive(loop, loop.create_task(_done(task)))
    if not task.cancelled():
        task.exception()  # what left the loop is told, and asyncio need not tell of this one


async def _done(task: asyncio.Task[Any]) -> None:
    await _asyncio().wait([task])


class _Interrupts:
    """While the loop runs, an interrupt that falls between two steps cancels the task instead.

    Raised there, it could lose a step that was taken off the loop's queue and not yet run, and
    whoever waits for that would wait for ever. In the user's code it is raised where it falls.

    Attributes:
        inner: the handler of SIGINT that was there, and decides whether there is an interrupt.
    """

    def __init__(self, place: _Loop) -> None:
        self._place = place
        self._task: asyncio.Task[Any] | None = None
        self.inner: Any = None
        self._previous_wake = -1
        self._noted: BaseException | None = None

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self.inner = previous
                wake = self._place.wake
                self._previous_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
                signal.signal(signal.SIGINT, self)
        return self

    def __exit__(self, *error: object) -> None:
        if self.inner is not None:
            signal.signal(signal.SIGINT, self.inner)
            signal.set_wakeup_fd(self._previous_wake)

    def watch(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """The task that an interrupt cancels, from now on."""
        self._task = task
        if self._noted is not None:
            task.cancel()
        return task

    def check(self) -> None:
        """Raise the interrupt that was noted, now that the task has ended."""
        if self._noted is not None:
            raise self._noted from None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        try:
            self.inner(signum, frame)
        except BaseException as error:
            if _in_user_code(frame):
                raise
            self._noted = error.with_traceback(None)
            if self._task is not None:
                self._place.loop.call_soon_threadsafe(self._task.cancel)


def _in_user_code(frame: FrameType | None) -> bool:
    """Whether anything but the loop's machinery stands between a frame and `run`."""
    while frame is not None and frame.f_code is not run.__code__:
        if not _is_machinery(frame):
            return True
        frame = frame.f_back
    return frame is None


def _is_machinery(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return module == __name__ or module.partition(".")[0] in _MACHINERY


def _hide_machinery(error: BaseException) -> None:
    """Take the loop's frames off a traceback, where they stand before the user's."""
    traceback = error.__traceback__
    while traceback is not None and _is_machinery(traceback.tb_frame):
        traceback = traceback.tb_next
    if traceback is not None:
        error.__traceback__ = traceback


def _asyncio() -> Any:
    """The module, from the standard library: a `queue.py` beside the notebook is not its own."""
    if "asyncio" in sys.modules:
        return sys.modules["asyncio"]
    path = sys.path[:]
    sys.path[:] = own.search_path()
    try:
        return importlib.import_module("asyncio")
    finally:
        sys.path[:] = path
