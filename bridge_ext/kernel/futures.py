"""Calls as futures."""

from __future__ import annotations

import concurrent.futures
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .journeys import Journey, in_thread
from .log import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call import Call
    from .client import Client


class CallFuture(concurrent.futures.Future[Any]):
    """A call as a future. `cancel` stops it in the worker.

    What `add_done_callback` is given runs in a thread made for it, or, if the call has ended, in
    the calling thread.

    A batch makes them by the ten thousand. The condition that each one has in the standard library
    costs more than the call itself, so here it is made when somebody first waits: as long as there
    is none, nobody waits and nobody has to be told.
    """

    _journey: Journey | None = None
    _made: Any = None
    _result: Any = None
    _exception: Any = None
    _waiters: Any = ()
    _done_callbacks: Any = ()

    def __init__(self) -> None:
        self._state = _PENDING  # the rest is there, once it is needed

    @property
    def _condition(self) -> Any:  # type: ignore[override]
        if self._made is None:
            if self._state == _FINISHED:
                if self._waiters == ():
                    self._waiters, self._done_callbacks = [], []  # some add to it all the same
                return _ended
            with _making:
                if self._made is None:
                    self._waiters, self._done_callbacks = [], []
                    self._made = threading.Condition()
        return self._made

    def cancel(self) -> bool:
        """Stop the call; True if it had not ended."""
        if not super().cancel():
            return False
        journey, self._journey = self._journey, None  # which holds the arguments
        if journey is not None:
            journey.cancel()
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled, which takes a condition."""
        return self._made is not None and super().cancelled()

    def running(self) -> bool:
        """Whether it has neither ended nor been cancelled."""
        return not self.done()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn` with this future when it is done."""
        if self.done() or getattr(fn, "__module__", "") in _HARMLESS:
            super().add_done_callback(fn)
        else:
            super().add_done_callback(lambda future: in_thread(lambda: _call(fn, future)))

    def settle(self, value: Any, error: BaseException | None) -> None:
        """The call has ended."""
        self._journey = None
        if error is None and self._made is None:
            with _making:
                if self._made is None and self._state == _PENDING:
                    self._result, self._state = value, _FINISHED
                    return
        try:
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(value)
        except concurrent.futures.InvalidStateError:
            pass  # it was cancelled meanwhile


_PENDING, _FINISHED = "PENDING", "FINISHED"  # as in concurrent.futures._base
_making = threading.Lock()
_ended = threading.RLock()
"""The condition of all that ended before anybody waited: nobody will."""
_HARMLESS = ("asyncio.futures", "concurrent.futures._base")
"""Whose callbacks only pass the result on, so that they may run in the thread that reads."""


def _call(fn: Callable[[Any], object], future: Any) -> None:
    try:
        fn(future)
    except Exception:
        report("a callback of %r raised", future)


def submit(client: Client, call: Call) -> CallFuture:
    """Send a call; a future of its value.

    Raises:
        BridgeError: before it was sent.
    """
    future = CallFuture()
    context = copy_context()

    def run(fn: Callable[[], None]) -> None:
        in_thread(lambda: context.copy().run(fn))

    journey = future._journey = Journey(client, call, future.settle, run)
    journey.start()
    return future
