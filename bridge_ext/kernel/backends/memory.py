"""The `memory` backend: the worker's dispatcher in this very process.

For tests, and for platforms without processes. Calls run in the calling thread, one at a time;
while one waits for a callback, others run within it. There is no process that could die, be killed
or be limited.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextvars import copy_context
from queue import SimpleQueue

from ..wire.codec import pack
from ..wire.framing import Frame, Kind
from .base import Backend, Connection, Deadline, Death, Died, Reply, Request, Stopped, unseen
from .control import Ask, within
from .flights import ignore
from .turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeVar

    from ..wire.framing import Buffer
    from ..worker.serving import Serving
    from .base import Answer, TakeOutgoing, Waiting

    T = TypeVar("T")


def as_it_is(reply: Reply) -> Reply:
    """A reply, for whoever opens it."""
    return reply


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

            def publish(self, message: list[Any]) -> None:
                outer._show(pack(message))

            def wake_clock(self) -> None:
                outer._wake.set()

            def ask(self, callback: Any, args: Any, kwargs: dict[str, Any]) -> Any:
                return outer._ask(callback, args, kwargs)

        self.incarnation = incarnation
        self.pid = os.getpid()
        self._events: deque[tuple[str, list[Any]]] = deque()
        self._wake = threading.Event()
        self._turn = Turn()
        self._order = threading.RLock()
        self._flying: set[object] = set()
        self._sent = 0
        self.death = None
        self._answer: Answer | None = None
        self._requests: list[tuple[Request, Waiting | None, Context]] = []
        self._dispatcher = Dispatcher(config, InProcess())
        self._answers = Control(self._dispatcher)

    def listen(
        self,
        take_types: Callable[[list[Any]], None],
        answer: Answer | None = None,
        drop: Callable[[Reply], None] = ignore,
        cost: Callable[[], str] = str,
        show: Callable[[bytes | bytearray], None] = unseen,
    ) -> None:
        self._take_types, self._show = take_types, show
        self._answer = answer

    def call(
        self,
        request: Request,
        outgoing: TakeOutgoing,
        deadline: Deadline,
        finish: Callable[[Reply], T],
    ) -> T:
        return self._call(request, outgoing, finish, None)

    def _call(
        self,
        request: Request,
        outgoing: TakeOutgoing,
        finish: Callable[[Reply], T],
        waiting: Waiting | None,
    ) -> T:
        if self.death is not None:
            raise Died(self.death)
        flight = object()
        self._flying.add(flight)
        self._sent += 1
        try:
            ask = within.get()
            if ask is not None and ask.connection is self:  # the call it is within has the turn
                request.errors = self._requests[-1][0].errors
                return finish(self._serve(request, outgoing, self._dispatcher.serving()))
            with self._turn:
                self._requests.append((request, waiting, copy_context()))
                try:
                    reply = self._serve(request, outgoing, self._dispatcher.main)
                finally:
                    self._requests.pop()
            return finish(reply)
        finally:
            self._flying.discard(flight)

    def _serve(self, request: Request, outgoing: TakeOutgoing, serving: Serving) -> Reply:
        head = pack([1, None, *self._outgoing(outgoing, request), request.what])
        buffers = [bytearray(b) for b in request.buffers]
        answer = serving.handle(Frame(Kind.REQUEST, head, request.body, list(buffers)))
        assert answer is not None
        _, body, out = answer
        self._take_fresh()
        return Reply(body, [bytearray(b) for b in out])

    def _outgoing(self, outgoing: TakeOutgoing, request: Request | None) -> tuple[Any, Any]:
        """What travels with a message; what it makes known is known before another overtakes it."""
        session, helper = (None, None) if request is None else (request.session, request.helper)
        with self._order:
            releases, declarations = outgoing(session, helper)
            if declarations and self.death is None:
                try:
                    self._dispatcher.declare(declarations)
                except Exception:
                    return releases, declarations  # whoever serves the message says what is wrong
        return releases, None

    def _take_fresh(self) -> None:
        with self._order:  # whoever takes the types of another's reply is done before that is read
            types = self._dispatcher.types.take_data()
            if types:
                self._take_types(types)

    def begin(
        self, request: Request, outgoing: TakeOutgoing, deadline: Deadline, waiting: Waiting
    ) -> Callable[[], None]:
        """Run it in a thread of its own; it cannot be cancelled."""

        def run() -> None:
            try:
                outcome: Reply | Exception = self._call(request, outgoing, as_it_is, waiting)
            except Exception as error:
                outcome = error
            waiting.landed(outcome)

        target = copy_context().run  # it may be within a callback
        threading.Thread(target=target, args=(run,), name="bridge-call", daemon=True).start()
        return lambda: None

    def interrupt(self) -> Stopped:
        return Stopped.NOTHING

    def _ask(self, callback: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a callback, in the thread that calls it."""
        from ..worker.asking import no_call

        if not self._requests or self._answer is None:
            raise no_call(callback)
        dispatcher = self._dispatcher
        body = dispatcher.question(callback, args, kwargs, dispatcher.serving())
        self._take_fresh()
        frame = Frame(Kind.ASK, pack([0, 1, False, None]), body, [])
        ask = None if self._turn.mine else Ask(self, 0)
        with self._turn.lent():
            answer, buffers = self._answered(*self._requests[-1], frame, ask)
        heard = Frame(Kind.ANSWER, pack([0, None]), answer, [bytearray(b) for b in buffers])
        return dispatcher.answer(callback, heard)

    def _answered(
        self,
        request: Request,
        waiting: Waiting | None,
        context: Context,
        frame: Frame,
        ask: Ask | None,
    ) -> tuple[bytes, list[Buffer]]:
        """Run a callback where its call says, or, if a thread waits for that, here."""
        made: SimpleQueue[Any] = SimpleQueue()

        def run() -> None:
            assert self._answer is not None
            token = within.set(ask)
            try:
                made.put(self._answer(request, frame))
            except BaseException as error:
                made.put(error)
            finally:
                within.reset(token)

        if waiting is not None and ask is None:
            waiting.asked(run)
        else:
            context.copy().run(run) if ask is not None else run()
        answer = made.get()
        if isinstance(answer, BaseException):
            raise answer
        found: tuple[bytes, list[Buffer]] = answer
        return found

    def control(self, body: bytes, deadline: Deadline) -> Reply:
        if self.death is not None:
            raise Died(self.death)
        head = pack([1, None, None, None, ""])
        _, answer = self._answers.answer(Frame(Kind.REQUEST, head, body, []))
        return Reply(answer, [])

    def tell(self, outgoing: TakeOutgoing, *, patient: bool) -> None:
        ask = within.get()
        if ask is not None and ask.connection is self:  # the call it is within has the turn
            self._tell(outgoing, self._dispatcher.serving())
        elif self._turn.acquire(blocking=patient):
            try:
                self._tell(outgoing, self._dispatcher.main)
            finally:
                self._turn.release()

    def _tell(self, outgoing: TakeOutgoing, serving: Serving) -> None:
        releases, _ = self._outgoing(outgoing, None)
        if self.death is None and releases:
            head = pack([0, None, releases, None, ""])
            serving.handle(Frame(Kind.NOTICE, head, b"", []))

    def watch(self, timeout: float) -> list[tuple[str, list[Any]]]:
        due = self._dispatcher.store.next_timer()
        if due is not None:
            timeout = max(0.0, min(timeout, due - time.monotonic()))
        self._wake.wait(timeout)
        self._wake.clear()
        self._dispatcher.store.expire()
        return [self._events.popleft() for _ in range(len(self._events))]

    def free(self) -> bool:
        return True  # it has no descriptors

    def abandon(self) -> None:
        pass  # the child has a copy of everything, and of no worker

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def running(self) -> str | None:
        return self._requests[-1][0].text if self._requests else None

    def kill(self) -> None:
        self.close(0.0)

    def close(self, grace: float) -> None:
        self.death = Death("was closed")
        from ..worker.views import session_rows

        store = self._dispatcher.store
        for session_id, generation, *_ in store.view(session_rows):
            store.release_session(session_id, generation, "session released")
        self._wake.set()
