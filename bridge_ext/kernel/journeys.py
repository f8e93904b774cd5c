"""Requests that no thread waits for: futures and awaitables.

A journey is sent where it is made; whoever reads the channel lands its reply. What the user has to
say in it (callbacks, unpickling) never runs in that thread.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from .backends.base import Busy, Died, Interrupted, Reply, TimedOut
from .errors import ProtocolError
from .fetching import fetched
from .log import report
from .surface import hide_frames
from .telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call import Call
    from .client import Client
    from .incarnation import Incarnation


class Journey:
    """One call under way.

    Args:
        client: makes the request.
        call: what is asked for.
        arrived: called once, from any thread, with the value and the error.
        run: has a function called, in the scope of the call and where it may block.
    """

    def __init__(
        self,
        client: Client,
        call: Call,
        arrived: Callable[[Any, BaseException | None], None],
        run: Callable[[Callable[[], None]], None],
    ) -> None:
        self._client, self._call, self._arrived, self.asked = client, call, arrived, run
        self._surroundings = client.surroundings(call)
        self._telling: Telling | None = None
        self._told = False
        self._cancel: Callable[[], None] | None = None
        self._cancelled = False

    def start(self) -> None:
        """Resolve, encode and send.

        Raises:
            BridgeError: before anything was sent.
        """
        if self._client.sessions.heard and not self._told:
            self._told = True
            self._telling = self._client.telling(self._call, *self._surroundings)
        try:
            self._depart()
        except BaseException as error:
            self._tell(error)
            raise

    def _depart(self) -> None:
        client, call = self._client, self._call
        options, forced, scope = self._surroundings
        self._incarnation = incarnation = client.connect()
        self._session, self._lease = client.where(call, options, forced, scope)
        client.encode(call, options, self._session, forced, scope, incarnation)
        deadline = client.deadline(call, options)
        try:
            self._cancel = incarnation.connection.begin(call, incarnation.outgoing, deadline, self)
        except Died as died:
            raise client.dead(incarnation, died, call) from None
        except (Busy, Interrupted, TimedOut) as stop:
            raise client.stopped(stop, call, options, incarnation) from None
        if self._cancelled:
            self._cancel()

    def cancel(self) -> None:
        """Have the worker stop the call; nothing arrives any more."""
        self._cancelled = True
        self._tell(CancelledError())
        if self._cancel is not None:
            self._cancel()

    # ------------------------------------------------------------ by whoever reads
    def landed(self, outcome: Reply | Exception) -> None:
        """The reply has come, or the reason why none will."""
        if self._call.fetched is True or isinstance(outcome, Exception):
            _settling.run(lambda: self._settle(outcome))  # it unpickles, or ends a worker
        else:
            self._settle(outcome)

    def _settle(self, outcome: Reply | Exception) -> None:
        try:
            value = self._value(outcome)
        except BaseException as error:
            hide_frames(error)
            self._arrive(None, error)
        else:
            if value is not _AGAIN:
                self._arrive(value, None)

    def _value(self, outcome: Reply | Exception) -> Any:
        client, call, incarnation = self._client, self._call, self._incarnation
        options = self._surroundings[0]
        try:
            if isinstance(outcome, Died):
                raise outcome
            if isinstance(outcome, Exception):
                raise client.stopped(outcome, call, options, incarnation)
            body = self._opened(outcome, incarnation)
        except Died as died:
            error = client.dead(incarnation, died, call)
            if not client.may_repeat(call, options):
                raise error from None
        else:
            if body[0] == 0:
                return body[1]
            client.unsettled(body, call, self._session)
        in_thread(self._start_again)
        return _AGAIN

    def _opened(self, reply: Reply, incarnation: Incarnation) -> list[Any]:
        try:
            if self._call.fetched is True:
                return fetched(reply, incarnation, view=self._call.view)
            body: list[Any] = incarnation.open(reply)
        except ProtocolError as broken:
            raise self._client.stopped(
                broken, self._call, self._surroundings[0], incarnation
            ) from None
        return body

    def _start_again(self) -> None:
        try:
            self.start()
        except BaseException as error:
            self._arrive(None, error)

    def _arrive(self, value: Any, error: BaseException | None) -> None:
        self._lease = None
        self._arrived(value, error)
        if self._telling is not None:
            _settling.run(partial(self._tell, error))

    def _tell(self, error: BaseException | None) -> None:
        """Tell of the end, once."""
        telling, self._telling = self._telling, None
        if telling is not None:
            telling.ended(error)


class _Queue:
    """Runs functions one after the other, in a thread that lives as long as there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._runs = False

    def run(self, fn: Callable[[], None]) -> None:
        """Have a function called soon."""
        with self._lock:
            self._waiting.append(fn)
            if self._runs:
                return
            self._runs = True
        in_thread(self._run)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._runs = False
                    return
                fn = self._waiting.popleft()
            try:
                fn()
            except BaseException:
                report("a call could not be settled")


_settling = _Queue()
_AGAIN = object()


def in_thread(fn: Callable[[], None]) -> None:
    """Run the user's code in a daemon thread made for it."""
    threading.Thread(target=fn, name="bridge-callback", daemon=True).start()
