"""Calls over one data channel: whoever waits for a reply reads, and hands the others theirs.

There is one reader at a time and no thread between a synchronous call and its reply. A caller that
finds a reader sleeps until the reader hands it its reply, or the reading itself. Output of the
worker is shown by the reader, in the context of the call it belongs to: calls run in order, so
that is the oldest one that waits.
"""

from __future__ import annotations

import select
import threading
from _thread import allocate_lock
from socket import MSG_DONTWAIT

from ..errors import ProtocolError
from ..wire.codec import pack
from ..wire.framing import Kind
from ..wire.heads import reply_head
from . import interrupts
from .base import NEVER, Died, Reply, Request, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..wire.channel import Channel
    from ..wire.framing import Buffer
    from .base import Deadline, TakeOutgoing
    from .output import Output


class Waiter:
    """A call that waits: `wake` exists once it sleeps while another reads."""

    __slots__ = ("reply", "wake")

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.wake: Any = None

    def sleeps(self) -> None:
        """Make `wake`, to be waited for."""
        self.wake = allocate_lock()
        self.wake.acquire()


class Exchange:
    """Requests and replies of one worker.

    Args:
        channel: its socket raises BlockingIOError from `recv` after a short while.
        output: the worker's stdout and stderr.
        broken: says how the worker ended, once the channel has.
    """

    def __init__(
        self, channel: Channel, output: Output, broken: Callable[[Exception | None], Died]
    ) -> None:
        self._channel, self._output, self._broken = channel, output, broken
        self._lock = threading.Lock()
        self._pending: dict[int, Waiter] = {}
        self._reader: Waiter | None = None
        self._last_id = 0
        self._poll = select.poll()
        self._data = channel.socket.fileno()
        for fd in (self._data, *output.descriptors):
            self._poll.register(fd, select.POLLIN)
        self.take_types: Callable[[list[Any]], None] = list.clear
        self.closed = False
        """Set under the channel's send lock, before its descriptors are given back."""

    @property
    def in_flight(self) -> int:
        """How many calls wait."""
        return len(self._pending)

    def call(
        self, request: Request, outgoing: TakeOutgoing, deadline: Deadline, held: Any
    ) -> Reply:
        """Send a request and wait for its reply.

        Raises:
            Died, TimedOut, Interrupted: see `Connection.call`.
        """
        origin = request.origin
        context = origin.context
        if context is None:
            context = origin.context = origin.output()
        waiter = Waiter()
        channel = self._channel
        with channel.send_lock:
            if self.closed:
                raise self._broken(None)
            call_id = self._last_id = self._last_id + 1
            releases, declarations = outgoing(request.session, request.helper)
            if self._pending:
                self._output.expect_mark(call_id, context)
                declarations = [*(declarations or ()), ["mark", call_id]]
            else:
                self._output.alone(context)
            self._pending[call_id] = waiter
            head = pack([call_id, deadline.seconds, releases, declarations, origin.label])
            try:
                rest = channel.begin(Kind.REQUEST, head, request.body, request.buffers)
                if rest:
                    self._push(rest, waiter, held)
            except OSError:
                pass  # the worker is gone: reading says so, and how
            except BaseException:
                self._leave(call_id, waiter)
                raise
        with self._lock:
            if self._reader is None:
                self._reader = waiter
            elif self._reader is not waiter:
                waiter.sleeps()
        try:
            if self._reader is not waiter and waiter.reply is None:
                self._sleep(waiter, deadline, held)
            while waiter.reply is None:
                self._read(call_id, waiter, deadline, held)
            return waiter.reply
        finally:
            self._leave(call_id, waiter)

    def _push(self, rest: list[Buffer], waiter: Waiter, held: Any) -> None:
        """Send what the socket did not take at once, reading meanwhile.

        Two senders that both block would wait for each other: the worker may be sending a reply
        that nobody waits for any more.
        """
        sock = self._channel.socket
        poll = select.poll()
        for piece in rest:
            view = memoryview(piece).cast("B")
            while view:
                try:
                    view = view[sock.send(view, MSG_DONTWAIT) :]
                    continue
                except BlockingIOError:
                    pass
                reading = self._take_reading(waiter)
                poll.register(sock, select.POLLOUT | (select.POLLIN if reading else 0))
                ready = poll.poll(interrupts.TICK * 1000)
                interrupts.check(held)
                if reading and ready and ready[0][1] & select.POLLIN:
                    self._read(0, waiter, NEVER, held)

    def _take_reading(self, waiter: Waiter) -> bool:
        """Become the reader, if there is none."""
        with self._lock:
            if self._reader is None:
                self._reader = waiter
            return self._reader is waiter

    def _sleep(self, waiter: Waiter, deadline: Deadline, held: Any) -> None:
        """Wait until the reader hands over the reply, or the reading."""
        while not waiter.wake.acquire(timeout=deadline.left(interrupts.TICK)):
            interrupts.check(held)
            if deadline.passed:
                raise TimedOut

    def _leave(self, call_id: int, waiter: Waiter) -> None:
        """The call waits no more; the reading goes to another, if it is this one's."""
        with self._lock:
            self._pending.pop(call_id, None)
            if self._reader is not waiter:
                return
            self._reader = None
            if self._pending:
                self._hand_over()

    def _hand_over(self) -> None:
        for other in self._pending.values():
            if other.wake is not None and other.reply is None:
                self._reader = other
                other.wake.release()
                return

    def _read(self, call_id: int, waiter: Waiter, deadline: Deadline, held: Any) -> None:
        """Read one frame, and give it to whom it belongs."""
        try:
            frame = self._channel.read()
        except BlockingIOError:
            self._idle(deadline, held)
            return
        except (OSError, ProtocolError) as error:
            raise self._broken(error) from error
        if frame is None:
            raise self._broken(None)
        if frame.kind != Kind.REPLY:
            return
        try:
            found, types = reply_head(frame.head)
            if types:
                self.take_types(types)
        except ProtocolError as error:
            raise self._broken(error) from error
        owner = waiter if found == call_id else self._pending.get(found)
        if self._output.poll(0):
            self._output.show()
        if owner is waiter:
            waiter.reply = Reply(frame.body, frame.buffers)
        elif owner is not None:
            with self._lock:
                owner.reply = Reply(frame.body, frame.buffers)
                if owner.wake is not None:
                    owner.wake.release()

    def _idle(self, deadline: Deadline, held: Any) -> None:
        """Wait for the data channel, showing output as it comes."""
        while True:
            ready = self._poll.poll(deadline.left(interrupts.TICK) * 1000)
            interrupts.check(held)
            if any(fd == self._data for fd, _ in ready):
                return
            if ready:
                self._output.show()
            for fd, event in ready:
                if not event & select.POLLIN:  # the worker closed this pipe
                    self._poll.unregister(fd)
            if deadline.passed:
                raise TimedOut

    def show_late_output(self) -> None:
        """Show output written while no call waits, by a thread of the worker."""
        with self._lock:
            if self._reader is not None:
                return
            self._reader = idle = Waiter()
        try:
            self._output.show()
        finally:
            self._leave(0, idle)
