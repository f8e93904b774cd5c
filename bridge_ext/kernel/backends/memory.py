"""The `memory` backend: the worker's dispatcher in this very process.

For tests, and for platforms without processes. Calls run in the calling thread, one at a time,
nested calls within. There is no process that could die, be killed or be limited.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

from ..wire.codec import pack
from ..wire.framing import Frame, Kind
from ..wire.loading import plain
from .base import Backend, Connection, Deadline, Death, Died, Reply, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from .base import TakeOutgoing

    T = TypeVar("T")


class MemoryBackend(Backend):
    """Runs calls in this process."""

    name = "memory"
    lacks = frozenset(("death", "restart", "timeout", "interrupt", "memory_limit"))

    def open(self, incarnation: int, config: dict[str, Any]) -> Connection:
        return MemoryConnection(incarnation, config)


class MemoryConnection(Connection):
    """A dispatcher in this process."""

    transport = "memory"

    def __init__(self, incarnation: int, config: dict[str, Any]) -> None:
        from ..worker.control import Control
        from ..worker.dispatcher import Dispatcher, Host

        outer = self

        class InProcess(Host):
            def announce(self, event: str, details: list[Any]) -> None:
                outer._events.append((event, details))
                outer._wake.set()

            def wake_clock(self) -> None:
                outer._wake.set()

        self.incarnation = incarnation
        self.pid = os.getpid()
        self._events: deque[tuple[str, list[Any]]] = deque()
        self._wake = threading.Event()
        self._turn = threading.RLock()
        self._calls = 0
        self.death = None
        self._dispatcher = Dispatcher(config, InProcess())
        self._answers = Control(self._dispatcher)

    def listen(self, take_types: Callable[[list[Any]], None]) -> None:
        self._take_types = take_types

    def call(
        self,
        request: Request,
        outgoing: TakeOutgoing,
        deadline: Deadline,
        finish: Callable[[Reply], T],
    ) -> T:
        if self.death is not None:
            raise Died(self.death)
        self._calls += 1
        try:
            with self._turn:
                head = pack(
                    [1, None, *outgoing(request.session, request.helper), request.origin.label]
                )
                buffers = [bytearray(b) for b in request.buffers]
                frame = Frame(Kind.REQUEST, head, request.body, list(buffers))
                answer = self._dispatcher.handle(frame)
        finally:
            self._calls -= 1
        assert answer is not None
        reply_head, body, out = answer
        types = plain.load(reply_head)[1]
        if types:
            self._take_types(types)
        return finish(Reply(body, [bytearray(b) for b in out]))

    def control(self, body: bytes, deadline: Deadline) -> Reply:
        if self.death is not None:
            raise Died(self.death)
        head = pack([1, None, None, None, ""])
        _, answer = self._answers.answer(Frame(Kind.REQUEST, head, body, []))
        return Reply(answer, [])

    def tell(self, outgoing: TakeOutgoing, *, patient: bool) -> None:
        if not self._turn.acquire(blocking=patient):
            return
        try:
            releases, declarations = outgoing(None, None)
            if self.death is None and (releases or declarations):
                head = pack([0, None, releases, declarations, ""])
                self._dispatcher.handle(Frame(Kind.NOTICE, head, b"", []))
        finally:
            self._turn.release()

    def watch(self, timeout: float) -> list[tuple[str, list[Any]]]:
        due = self._dispatcher.store.next_timer()
        if due is not None:
            timeout = max(0.0, min(timeout, due - time.monotonic()))
        self._wake.wait(timeout)
        self._wake.clear()
        self._dispatcher.store.expire()
        return [self._events.popleft() for _ in range(len(self._events))]

    def free(self) -> None:
        pass  # it has no descriptors

    def abandon(self) -> None:
        pass  # the child has a copy of everything, and of no worker

    @property
    def in_flight(self) -> int:
        return self._calls

    def kill(self) -> None:
        self.close(0.0)

    def close(self, grace: float) -> None:
        self.death = Death("was closed")
        from ..worker.views import session_rows

        store = self._dispatcher.store
        for session_id, generation, *_ in store.view(session_rows):
            store.release_session(session_id, generation, "session released")
        self._wake.set()
