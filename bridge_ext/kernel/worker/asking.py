"""Callbacks: functions of the kernel that run when the worker's code calls them.

The main thread asks over the data channel and, until the answer comes, serves whatever comes
before it, strictly nested. Another thread asks over the data channel too, and gets its answer over
the control channel, with the requests that are made within the callback: so it does not matter
what the main thread is busy with.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections import deque
from queue import SimpleQueue

from ..errors import BridgeUsageError
from ..wire.codec import pack
from ..wire.framing import Frame, Kind
from ..wire.heads import answer_head, request_head
from .lines import flush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .dispatcher import Dispatcher
    from .lines import Lines
    from .running import Running
    from .serving import Serving

_DEEPEST = 16
"""Calls in each other up to which the main thread begins any that comes while it waits for a
callback: more would come to the end of the stack. Beyond, futures wait that no callback has made;
what a thread waits for may be what the callback waits for."""


class Callback:
    """A function of the kernel; calling it runs it there, while a call of that kernel is in flight.

    It lives as long as the session of the call that brought it. Arguments go by value or as refs
    in that session, and its result comes by value, as any argument does.
    """

    __slots__ = ("_asker", "_name", "_where")

    def __init__(self, asker: Callable[..., Any], where: list[Any], name: str) -> None:
        self._asker, self._where, self._name = asker, where, name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it in the kernel.

        Raises:
            BridgeUsageError: no call of the kernel is in flight.
            RefNotFoundError: the session that it belongs to has ended.
            Exception: what it raised, as the same type.
        """
        return self._asker(self, args, kwargs)

    @property
    def where(self) -> list[Any]:
        """`[callback id, session id, generation]`."""
        return self._where

    @property
    def __name__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<callback {self._name} in the notebook>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be pickled: it runs in the notebook's process only")


class Asks:
    """The questions that wait for the kernel's answer, by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._answers: dict[int, Frame | None] = {}
        self._queues: dict[int, SimpleQueue[Frame]] = {}

    def begin(self, queue: SimpleQueue[Frame] | None = None) -> int:
        """A number for a question; with a queue, its frames go there."""
        with self._lock:
            self._last += 1
            if queue is None:
                self._answers[self._last] = None
            else:
                self._queues[self._last] = queue
            return self._last

    def end(self, ask_id: int) -> None:
        """Nobody waits for it any more; what comes late is dropped."""
        with self._lock:
            self._answers.pop(ask_id, None)
            self._queues.pop(ask_id, None)

    def take(self, ask_id: int) -> Frame | None:
        """The answer to a question of the main thread, if it has come."""
        return self._answers[ask_id]

    def heard(self, frame: Frame) -> None:
        """An answer has come, or a request within a question of a thread."""
        ask_id = answer_head(frame.head)[0]
        with self._lock:
            queue = self._queues.get(ask_id)
            if queue is not None:
                queue.put(frame)
            elif ask_id in self._answers and frame.kind == Kind.ANSWER:
                self._answers[ask_id] = frame


class Asker:
    """Asks the kernel, from the main thread or another.

    Args:
        dispatcher: encodes questions and opens answers.
        lines: the channels.
        take: serves a frame of the data channel.
    """

    def __init__(
        self, dispatcher: Dispatcher, lines: Lines, take: Callable[[Frame, Serving], None]
    ) -> None:
        self._dispatcher, self._lines, self._take = dispatcher, lines, take
        self._asks = Asks()
        self.heard = self._asks.heard
        self._postponed: deque[Frame] = deque()
        self._main = threading.get_ident()
        self._poll = select.poll()
        self._poll.register(lines.data.socket.fileno(), select.POLLIN)

    def ask(self, callback: Callback, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a callback in the kernel, within the call that runs."""
        calls = self._dispatcher.main.running.calls
        if not calls:
            raise no_call(callback)
        if threading.get_ident() == self._main:
            frame = self._ask_in_main(callback, args, kwargs, calls[-1])
        else:
            frame = self._ask_in_thread(callback, args, kwargs, calls[-1])
        return self._dispatcher.answer(callback, frame)

    def _ask_in_main(
        self, callback: Callback, args: Any, kwargs: dict[str, Any], call_id: int
    ) -> Frame:
        serving = self._dispatcher.main
        try:
            body = self._dispatcher.question(callback, args, kwargs, serving)
            serving.running.window = False
            ask_id = self._asks.begin()
            try:
                self._send(ask_id, call_id, False, body)
                return self._serve_until(ask_id, serving)
            finally:
                serving.running.window = False
                self._asks.end(ask_id)
        finally:
            serving.running.window = True  # back in the user's code

    def _serve_until(self, ask_id: int, serving: Serving) -> Frame:
        """Serve what comes before the answer, each within the other."""
        running, data = serving.running, self._lines.data
        while True:
            answer = self._asks.take(ask_id)
            if answer is not None:
                return answer
            frame = self.postponed() or data.buffered()
            if frame is None:
                running.open()
                self._poll.poll()  # a cancel raises here, where no byte moves
                running.window = False
                frame = data.read()
            if frame is None or frame.kind == Kind.GOODBYE:
                os.killpg(0, signal.SIGKILL)  # the kernel is gone, or done
            elif frame.kind == Kind.ANSWER:
                self._asks.heard(frame)
            elif not self._postpone(frame, running):
                self._take(frame, serving)
                running.take_signal()

    def _postpone(self, frame: Frame, running: Running) -> bool:
        """Leave a request that no thread waits for until later, if much is nested already."""
        if frame.kind != Kind.REQUEST or len(running.calls) < _DEEPEST:
            return False
        call_id, deadline, releases, declarations, cell = request_head(frame.head)
        declared = declarations or []
        if ["patient"] not in declared:
            return False
        notice = pack([0, None, releases, [x for x in declared if x[0] != "mark"], ""])
        self._dispatcher.main.handle(Frame(Kind.NOTICE, notice, b"", []))  # others rely on it
        marks = [x for x in declared if x[0] == "mark"]
        head = pack([call_id, deadline, None, marks, cell])
        running.postponed.add(call_id)
        self._postponed.append(Frame(frame.kind, head, frame.body, frame.buffers))
        return True

    def postponed(self) -> Frame | None:
        """The oldest request that was left for later and may be served now."""
        if self._postponed and len(self._dispatcher.main.running.calls) < _DEEPEST:
            return self._postponed.popleft()
        return None

    def _ask_in_thread(
        self, callback: Callback, args: Any, kwargs: dict[str, Any], call_id: int
    ) -> Frame:
        """Ask, and serve the requests that are made within the callback."""
        serving = self._dispatcher.serving()
        body = self._dispatcher.question(callback, args, kwargs, serving)
        queue: SimpleQueue[Frame] = SimpleQueue()
        ask_id = self._asks.begin(queue)
        try:
            self._send(ask_id, call_id, True, body)
            while (frame := queue.get()).kind != Kind.ANSWER:
                self._take_nested(frame, serving)
            return frame
        finally:
            self._asks.end(ask_id)

    def _take_nested(self, frame: Frame, serving: Serving) -> None:
        head = answer_head(frame.head)[1]
        answer = serving.handle(Frame(Kind.REQUEST, pack(head), frame.body, frame.buffers))
        if answer is not None:
            flush()
            call_id, body, buffers = answer
            self._lines.send_control(Kind.REPLY, [call_id], body, buffers)

    def _send(self, ask_id: int, call_id: int, threaded: bool, body: bytes) -> None:
        flush()
        self._lines.send_data(Kind.ASK, [ask_id, call_id, threaded], body)


def no_call(callback: Callback) -> BridgeUsageError:
    """The error of a callback that is called while nobody in the kernel waits."""
    return BridgeUsageError(
        f"{callback!r} was called while no call of the notebook was running, so nobody there "
        "could run it. Call it during a call, such as a method that waits for the thread."
    )
