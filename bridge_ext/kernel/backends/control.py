"""The kernel's end of a control channel: questions that are answered while a call runs.

The bridge's own thread reads it. A request made within a callback that a thread of the worker asked
for comes this way too, so that it does not matter what the worker's main thread is busy with.
"""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import NamedTuple

from ..wire.codec import pack
from ..wire.framing import Kind
from ..wire.heads import reply_head
from ..wire.loading import malformed, plain
from . import interrupts
from .base import Deadline, Death, Died, Reply, TimedOut
from .flights import release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from ..wire.channel import Channel
    from ..wire.framing import Buffer, Frame
    from .base import Connection, TakeOutgoing
    from .flights import Flight

    class Host(Protocol):
        """The connection around it."""

        death: Death | None
        take_types: Callable[[list[Any]], None]


class Ask(NamedTuple):
    """The callback that this context runs, if a thread of the worker asked for it."""

    connection: Connection
    id: int


within: ContextVar[Ask | None] = ContextVar("bridge_ext_ask", default=None)


class Asked:
    """A question that was asked; `heard` is called with its answer, by the bridge's thread."""

    __slots__ = ("heard", "reply", "wake")

    def __init__(self, heard: Callable[[Reply], None] | None = None) -> None:
        from _thread import allocate_lock

        self.reply: Reply | None = None
        self.heard = heard
        self.wake: LockType = allocate_lock()
        self.wake.acquire()


class ControlLine:
    """Questions and news over one control channel."""

    def __init__(self, channel: Channel, host: Host) -> None:
        self._channel, self._host = channel, host
        self._asked: dict[int, Asked] = {}
        self._last = 0
        self.news: deque[tuple[str, list[Any]]] = deque()

    # ------------------------------------------------------------ asking
    def ask(self, body: bytes, deadline: Deadline) -> Reply:
        """Ask, and wait for the answer.

        Raises:
            Died, TimedOut, Interrupted: as `Connection.control`.
        """
        asked, number = Asked(), 0
        held = interrupts.hold()
        try:
            number = self._send(Kind.REQUEST, None, body, (), asked)
            while asked.reply is None:
                self._wait(asked, deadline, held)
            return asked.reply
        finally:
            self._asked.pop(number, None)
            interrupts.let_go(held)

    def cancel(self, call_id: int, never: Callable[[], None]) -> None:
        """Have the worker stop a call; `never` is called if it says that it will not start it."""

        def heard(reply: Reply) -> None:
            if plain.load(reply.body) == [0, "waiting"]:
                never()

        body = pack({"control": "cancel", "args": [call_id]})
        held = interrupts.hold()
        try:
            self._send(Kind.REQUEST, None, body, (), Asked(heard))
        except Died:
            pass  # it has stopped
        finally:
            interrupts.let_go(held)

    def request_within(
        self, ask: Ask, flight: Flight, outgoing: TakeOutgoing, answer: Callable[[Flight], None]
    ) -> Reply:
        """A request made within a callback, for the thread that asked for it.

        Args:
            ask: the callback.
            flight: the request; its thread holds the handler of SIGINT.
            outgoing: see `Connection.call`.
            answer: runs a callback that is asked within the same call.

        Raises:
            Died, TimedOut, Interrupted: as `Connection.call`.
        """
        request, deadline = flight.request, flight.deadline
        releases, declarations = outgoing(request.session, request.helper)
        session = request.session  # what the data channel has told of it may not be read yet
        named = session if type(session) is list else [session] if session is not None else []
        declarations = [*(["session", *one.spec()] for one in named), *(declarations or ())]
        origin = request.origin
        if origin.context is None:
            origin.context = origin.output()

        def head(number: int) -> bytes:
            inner = [number, deadline.seconds, releases, declarations, request.what]
            return pack([ask.id, inner])

        asked, number = Asked(), 0
        flight.wake = asked.wake
        try:
            number = self._send(Kind.NESTED, head, request.body, request.buffers, asked)
            while asked.reply is None:
                if flight.asks:
                    answer(flight)
                else:
                    self._wait(asked, deadline, flight.held)
            return asked.reply
        finally:
            self._asked.pop(number, None)

    def _send(
        self,
        kind: int,
        head: Callable[[int], bytes] | None,
        body: bytes,
        buffers: Sequence[Buffer],
        asked: Asked,
    ) -> int:
        with self._channel.send_lock:
            if self._host.death is not None:
                raise Died(self._host.death)
            self._last = number = self._last + 1
            self._asked[number] = asked
            try:
                packed = head(number) if head else pack([number, None, None, None, ""])
                self._channel.send(kind, packed, body, buffers)
            except OSError:
                pass  # the worker is gone: the watch will say so
        return number

    def _wait(self, asked: Asked, deadline: Deadline, held: Any) -> None:
        """Wait until something has happened: the answer, a callback, or the worker's death."""
        if not asked.wake.acquire(timeout=deadline.left(interrupts.TICK)):
            interrupts.check(held)
            if deadline.passed:
                raise TimedOut(stopped=False)
        if self._host.death is not None and asked.reply is None:
            raise Died(self._host.death)

    def send(self, kind: int, head: bytes, body: bytes, buffers: Sequence[Buffer]) -> None:
        """Send a frame that has no answer."""
        held = interrupts.hold()
        try:
            with self._channel.send_lock:
                self._channel.send(kind, head, body, buffers)
        except OSError:
            pass  # the worker is gone: the watch will say so
        finally:
            interrupts.let_go(held)

    # ------------------------------------------------------------ hearing
    def read(self) -> bool:
        """Read what has come; False at the end of the stream.

        Raises:
            ProtocolError: the worker broke the protocol.
        """
        try:
            frame = self._channel.read()
        except OSError:
            frame = None
        if frame is None:
            return False
        while frame is not None:
            self._heard(frame)
            frame = self._channel.buffered()
        return True

    def _heard(self, frame: Frame) -> None:
        """A frame: news, or an answer for whoever asked."""
        if frame.kind == Kind.NOTICE:
            with malformed("news"):
                (event,) = plain.load(frame.head)
                self.news.append((event, plain.load(frame.body)))
            return
        number, types = reply_head(frame.head)
        if types:
            self._host.take_types(types)
        asked = self._asked.get(number)
        if asked is None:
            return
        asked.reply = Reply(frame.body, frame.buffers)
        if asked.heard is not None:
            del self._asked[number]
            asked.heard(asked.reply)
        else:
            release(asked.wake)

    def take_news(self) -> list[tuple[str, list[Any]]]:
        """What the worker has announced."""
        return [self.news.popleft() for _ in range(len(self.news))]

    def shutdown(self) -> None:
        """End the channel."""
        self._channel.shutdown()

    def wake_all(self) -> None:
        """The worker is dead: whoever waits is told."""
        for asked in list(self._asked.values()):
            if asked.wake.locked():
                release(asked.wake)
