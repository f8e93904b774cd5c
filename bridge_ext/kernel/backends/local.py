"""The `local` backend: a supervised process over socket pairs.

Calls go through the data channel (`exchange`). The bridge's own thread reads the control channel
and watches for the worker's death (`watch`).
"""

from __future__ import annotations

import contextlib
import select
import struct
from collections import deque

from ..errors import ProtocolError
from ..wire.channel import Channel
from ..wire.codec import pack
from ..wire.framing import Kind
from ..wire.heads import reply_head
from ..wire.loading import malformed, plain
from . import interrupts
from .base import (
    NEVER,
    Backend,
    Connection,
    Deadline,
    Death,
    Died,
    Reply,
    Request,
    TimedOut,
)
from .exchange import Exchange, Waiter
from .output import Output
from .process import WorkerProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from ..wire.framing import Frame
    from .base import TakeOutgoing

    T = TypeVar("T")

_FIRST_LOOK = 0.005
"""Seconds a reader blocks in `recv` alone before it also looks for output, interrupts and its
deadline: most calls end sooner and pay nothing for these."""
_BURIAL = 2.0
"""Seconds from the end of a stream until the process must have ended too; else it is killed."""


class LocalBackend(Backend):
    """Starts worker processes on this machine.

    Args:
        env: variables to add to the workers' environment.
    """

    name = "local"

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = env

    def open(self, incarnation: int, config: dict[str, Any]) -> Connection:
        return LocalConnection(incarnation, config, WorkerProcess(self._env))


class LocalConnection(Connection):
    """One worker process."""

    transport = "socket"

    def __init__(self, incarnation: int, config: dict[str, Any], process: WorkerProcess) -> None:
        self.incarnation = incarnation
        self.pid = process.pid
        self._process = process
        self._data = Channel(process.data)
        self._control = Channel(process.control)
        self._output = Output(process.out, process.err)
        self._exchange = Exchange(self._data, self._output, self._broken)
        self._asked: dict[int, Waiter] = {}
        self._last_asked = 0
        self._events: deque[tuple[str, list[Any]]] = deque()
        self.death = None
        _set_timeout(process.data, _FIRST_LOOK)
        self._watched = select.poll()
        for watched in (process.control.fileno(), process.pidfd):
            if watched is not None:
                self._watched.register(watched, select.POLLIN)
        with self._data.send_lock:
            config = {**config, "output_token": self._output.token}
            self._data.send(Kind.HELLO, pack([0, None]), pack(config))

    # ------------------------------------------------------------ calls
    def call(
        self,
        request: Request,
        outgoing: TakeOutgoing,
        deadline: Deadline,
        finish: Callable[[Reply], T],
    ) -> T:
        held = interrupts.hold()
        try:
            return finish(self._exchange.call(request, outgoing, deadline, held))
        finally:
            if held is not None:
                interrupts.let_go(held)

    @property
    def in_flight(self) -> int:
        return self._exchange.in_flight

    def listen(self, take_types: Callable[[list[Any]], None]) -> None:
        self._exchange.take_types = take_types

    def _broken(self, error: Exception | None) -> Died:
        """The channel ended: wait for the process's end, or bring it about."""
        if self.death is not None and self._exchange.closed:
            return Died(self.death)
        if isinstance(error, ProtocolError):
            self._end_for(error)
        if not self._process.wait(NEVER, _BURIAL):
            self._process.kill()
            self._process.wait(NEVER, _BURIAL)
        death = self._bury()
        with contextlib.suppress(OSError):
            self._output.show()
        if isinstance(error, ProtocolError):
            return Died(Death(_broke(error)), broke=True)
        return Died(death)

    def _end_for(self, error: ProtocolError) -> None:
        """End a worker that broke the protocol, and let that be how it died."""
        self._process.why = _broke(error)
        self._process.kill()

    # ------------------------------------------------------------ control
    def control(self, body: bytes, deadline: Deadline) -> Reply:
        held = interrupts.hold()
        try:
            return self._ask(body, deadline, held)
        finally:
            interrupts.let_go(held)

    def _ask(self, body: bytes, deadline: Deadline, held: Any) -> Reply:
        waiter = Waiter()
        waiter.sleeps()
        with self._control.send_lock:
            if self.death is not None:
                raise Died(self.death)
            self._last_asked = asked = self._last_asked + 1
            self._asked[asked] = waiter
            try:
                self._control.send(Kind.REQUEST, pack([asked, None, None, None, ""]), body)
            except OSError:
                pass  # the worker is gone: the watch will say so
        try:
            while not waiter.wake.acquire(timeout=deadline.left(interrupts.TICK)):
                interrupts.check(held)
                if self.death is not None:
                    raise Died(self.death)
                if deadline.passed:
                    raise TimedOut
        finally:
            self._asked.pop(asked, None)
        if waiter.reply is None:
            raise Died(self.death or Death("ended"))
        return waiter.reply

    def tell(self, outgoing: TakeOutgoing, *, patient: bool) -> None:
        lock = self._data.send_lock
        if not lock.acquire(blocking=patient):
            return
        held = interrupts.hold()
        try:
            if self.death is not None or not (patient or _has_room(self._process.data)):
                return
            releases, declarations = outgoing(None, None)
            if releases or declarations:
                head = pack([0, None, releases, declarations, ""])
                self._data.send(Kind.NOTICE, head, b"")
        except OSError:
            pass  # the worker is gone, and all it held
        finally:
            lock.release()
            interrupts.let_go(held)

    def watch(self, timeout: float) -> list[tuple[str, list[Any]]]:
        if self._process.pidfd is None:
            timeout = min(timeout, 0.2)
        ready = [fd for fd, _ in self._watched.poll(timeout * 1000)]
        if self._process.control.fileno() in ready:
            self._read_control()
        if self._process.wait(NEVER, 0):
            self._bury()
        elif not ready:
            self._exchange.show_late_output()
        return [self._events.popleft() for _ in range(len(self._events))]

    def _read_control(self) -> None:
        try:
            frame = self._control.read()
        except ProtocolError as error:
            self._end_for(error)
            return
        except OSError:
            frame = None
        if frame is None:
            self._control.shutdown()
            if not self._process.wait(NEVER, _BURIAL):
                self._process.kill()
            return
        try:
            while frame is not None:
                self._heard(frame)
                frame = self._control.buffered()
        except ProtocolError as error:
            self._end_for(error)

    def _heard(self, frame: Frame) -> None:
        """A frame of the control channel: news, or an answer for whoever asked."""
        if frame.kind == Kind.NOTICE:
            with malformed("news"):
                (event,) = plain.load(frame.head)
                self._events.append((event, plain.load(frame.body)))
            return
        waiter = self._asked.get(reply_head(frame.head)[0])
        if waiter is not None:
            waiter.reply = Reply(frame.body, frame.buffers)
            waiter.wake.release()

    # ------------------------------------------------------------ end
    def kill(self) -> None:
        self._process.kill()
        self._process.wait(NEVER, _BURIAL)
        self._bury()

    def close(self, grace: float) -> None:
        if self.death is None and self.in_flight == 0 and grace > 0:
            with self._data.send_lock:
                try:
                    self._data.send(Kind.GOODBYE, pack([0, None]), b"")
                except OSError:
                    pass
            self._process.wait(NEVER, grace)
        self.kill()

    def free(self) -> None:
        with self._data.send_lock:
            self._exchange.closed = True
        self._process.close()

    def abandon(self) -> None:
        self._process.abandon()

    def _bury(self) -> Death:
        death = self.death = self._process.bury()
        self._data.shutdown()
        self._control.shutdown()
        for waiter in list(self._asked.values()):
            if waiter.wake.locked():
                waiter.wake.release()
        return death


def _broke(error: ProtocolError) -> str:
    return f"broke the protocol ({error}) and was ended"


def _has_room(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def _set_timeout(sock: socket.socket, seconds: float) -> None:
    """Make `recv` raise BlockingIOError after a while: no extra system call, unlike settimeout."""
    import socket as s

    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    sock.setsockopt(s.SOL_SOCKET, s.SO_RCVTIMEO, value)
