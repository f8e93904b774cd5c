"""The `local` backend: a supervised process over socket pairs.

Calls go through the data channel (`exchange`). The bridge's own thread reads the control channel
and watches for the worker's death (`watch`).
"""

from __future__ import annotations

import contextlib
import select
from _thread import get_ident

from ..errors import ProtocolError
from ..wire.channel import Channel
from ..wire.codec import pack
from ..wire.framing import Kind
from ..wire.heads import ask_head
from ..wire.pool import IDLE
from ..wire.segments import attach, detach, transport, trim
from ..wire.spinning import Spin
from . import interrupts
from .base import (
    NEVER,
    REFUSAL,
    Backend,
    Connection,
    Deadline,
    Death,
    Died,
    Reply,
    Request,
    Stopped,
    unseen,
)
from .control import Ask, ControlLine, within
from .exchange import Exchange
from .flights import Flight, ignore
from .nested import Nested
from .output import Output
from .process import WorkerProcess
from .sockets import has_room, set_timeout
from .wake import Wake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from ..wire.framing import Buffer, Frame
    from .base import Answer, TakeOutgoing, Waiting

    T = TypeVar("T")

_FIRST_LOOK = 0.005
"""Seconds a reader blocks in `recv` alone before it also looks for output, interrupts and its
deadline: most calls end sooner and pay nothing for these."""
_NAP_MS = 1
"""Milliseconds that the bridge's thread lets replies gather while many calls are outstanding: else
it would take the interpreter from whoever makes them, at each reply."""
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
        with WorkerProcess(self._env) as process:
            return LocalConnection(incarnation, config, process)


class LocalConnection(Connection):
    """One worker process."""

    transport = property(lambda self: transport(self._data))

    def __init__(self, incarnation: int, config: dict[str, Any], process: WorkerProcess) -> None:
        self.incarnation = incarnation
        self._process, self.pid = process, process.pid
        self.death = None
        self.take_types: Callable[[list[Any]], None] = list.clear
        self._answer: Answer | None = None
        spin = Spin(process.data, (process.out, process.err))
        self._data = Channel(process.data, spin)
        attach(self._data, process.segments, ours=0, gone=lambda: self.death is not None)
        self._output = Output(process.out, process.err)
        self._control = ControlLine(Channel(process.control), self)
        self._wake = Wake()
        self._exchange = Exchange(self._data, spin, self._output, self)
        self._nested = Nested(self._control, self._exchange)
        set_timeout(process.data, _FIRST_LOOK)
        self._watched = self._poll_of(process.control.fileno(), process.pidfd, self._wake.fileno())
        self._watching = self._watcher = 0
        config = {**config, "output_token": self._output.token}
        with self._data.send_lock, contextlib.suppress(OSError):  # it has ended: calls say how
            self._data.send(Kind.HELLO, pack([0, None]), pack(config))

    def listen(
        self,
        take_types: Callable[[list[Any]], None],
        answer: Answer | None = None,
        drop: Callable[[Reply], None] = ignore,
        cost: Callable[[], str] = str,
        show: Callable[[bytes | bytearray], None] = unseen,
    ) -> None:
        self.take_types, self._answer = take_types, answer
        exchange = self._exchange
        exchange.board.drop, exchange.steering.cost = drop, cost
        exchange.displays.show = show

    # ------------------------------------------------------------ calls
    def call(
        self,
        request: Request,
        outgoing: TakeOutgoing,
        deadline: Deadline,
        finish: Callable[[Reply], T],
    ) -> T:
        ask = within.get()
        if ask is not None and ask.connection is self:
            return finish(self._nested.call(ask, request, outgoing, deadline))
        flight = Flight(request, deadline)
        flight.held = interrupts.hold()
        try:
            reply = self._exchange.call(flight, outgoing)
            if flight.course is not None:
                self._exchange.board.drop(reply)
                raise flight.course.verdict()
            return finish(reply)
        except Died as died:
            raise flight.ended(died) from None
        finally:
            if flight.held is not None:
                interrupts.let_go(flight.held)

    def begin(
        self, request: Request, outgoing: TakeOutgoing, deadline: Deadline, waiting: Waiting
    ) -> Callable[[], None]:
        ask = within.get()
        if ask is not None and ask.connection is self:
            return self._nested.begin(ask, request, outgoing, deadline, waiting)
        return self._exchange.begin(Flight(request, deadline, waiting), outgoing)

    def interrupt(self) -> Stopped:
        return self._exchange.steering.interrupt()

    @property
    def in_flight(self) -> int:
        return len(self._exchange.board.pending)

    @property
    def sent(self) -> int:
        return self._exchange.sent

    @property
    def running(self) -> str | None:
        flight = self._exchange.board.running()
        return flight.request.text if flight is not None else None

    # ------------------------------------------------------------ what an exchange needs
    def answer(self, request: Request, frame: Frame) -> tuple[bytes, list[Buffer]]:
        """Run a callback within a call."""
        if self._answer is None:
            return self.refuse(frame)
        _, _, threaded, _ = head = ask_head(frame.head)
        token = within.set(Ask(self, head[0]) if threaded else None)
        try:
            with interrupts.allowed():
                return self._answer(request, frame)
        finally:
            within.reset(token)

    def refuse(self, frame: Frame) -> tuple[bytes, list[Buffer]]:
        """The answer to a callback that nobody waits for any more."""
        why = "the call of the notebook that it was asked within has ended, and no other runs"
        return pack({**REFUSAL, "failure": ["BridgeUsageError", why]}), []

    def cancel(self, call_id: int, never: Callable[[], None]) -> None:
        """Tell the worker to stop a call, or not to start it."""
        self._control.cancel(call_id, never)

    def send_control(self, kind: int, head: bytes, body: bytes, buffers: list[Buffer]) -> None:
        """Send a frame on the control channel."""
        self._control.send(kind, head, body, buffers)

    def wake_background(self) -> None:
        """Have the bridge's thread read, or send, what nobody else does."""
        exchange = self._exchange
        if get_ident() == self._watcher:
            return  # it looks again before it waits
        if exchange.wanted & ~self._watching or exchange.half_read:
            self._wake.set()

    def broken(self, error: Exception | None) -> Died:
        """The channel ended: wait for the process's end, or bring it about."""
        if self.death is not None and self._exchange.board.closed:
            return Died(self.death)
        if isinstance(error, ProtocolError):
            self._end_for(error)
        if not self._process.wait(NEVER, _BURIAL):
            self._process.kill()
            self._process.wait(NEVER, _BURIAL)
        death = self._bury()
        with contextlib.suppress(OSError):
            self._output.show(last=True)
        if isinstance(error, ProtocolError):
            return Died(Death(_broke(error)), broke=True)
        return Died(death)

    def _end_for(self, error: ProtocolError) -> None:
        """End a worker that broke the protocol, and let that be how it died."""
        self._process.why = _broke(error)
        self._process.kill()

    # ------------------------------------------------------------ control
    def control(self, body: bytes, deadline: Deadline) -> Reply:
        return self._control.ask(body, deadline)

    def tell(self, outgoing: TakeOutgoing, *, patient: bool) -> None:
        lock = self._data.send_lock
        if not lock.acquire(blocking=patient):
            return
        held = interrupts.hold()
        try:
            if self.death is not None or not (patient or has_room(self._process.data)):
                return
            releases, declarations = outgoing(None, None)
            if releases or declarations:
                head = pack([0, None, releases, declarations, ""])
                self._exchange.sender.post(Kind.NOTICE, head)
        finally:
            lock.release()
            interrupts.let_go(held)

    # ------------------------------------------------------------ the bridge's own thread
    def watch(self, timeout: float) -> list[tuple[str, list[Any]]]:
        if self._process.pidfd is None:
            timeout = min(timeout, 0.2)
        self._watcher = get_ident()
        end = Deadline(timeout)
        ready = self._look(end.left(timeout))
        while ready and not end.passed and not self._control.news and self.death is None:
            ready = self._look(end.left(timeout))
        if self.death is None and self._process.wait(NEVER, 0):
            self._bury()
        elif not ready:
            self._exchange.show_late_output()
        trim(self._data, IDLE)
        return self._control.take_news()

    def _look(self, timeout: float) -> set[int]:
        """Wait for something to do for those who cannot do it themselves, and do it."""
        exchange, data = self._exchange, self._process.data.fileno()
        self._serve_passive(ready=False)
        if exchange.board.crowded:
            self._watched.poll(_NAP_MS)
        wanted = exchange.wanted
        if wanted:
            timeout = min(timeout, interrupts.TICK)
            self._watched.register(data, wanted)
            self._watching = wanted
        try:
            ready = {fd for fd, _ in self._watched.poll(timeout * 1000)}
        finally:
            if wanted:
                self._watching = 0
                self._watched.register(data, 0)
        if self._wake.fileno() in ready:
            self._wake.clear()
        if self._process.control.fileno() in ready:
            self._read_control()
        if data in ready:
            self._serve_passive(ready=True)
        exchange.tick_in_background()
        return ready

    def _serve_passive(self, ready: bool) -> None:
        exchange = self._exchange
        if exchange.sender.rest:
            exchange.sender.go_on()
        try:
            exchange.read_in_background(ready)
        except Died:
            pass  # it was buried, and those who wait were told

    def _read_control(self) -> None:
        try:
            if self._control.read():
                return
        except ProtocolError as error:
            self._end_for(error)
            return
        self._control.shutdown()
        if not self._process.wait(NEVER, _BURIAL):
            self._process.kill()

    # ------------------------------------------------------------ end
    def kill(self) -> None:
        self._process.kill()
        self._process.wait(NEVER, _BURIAL)
        self._bury()

    def close(self, grace: float) -> None:
        if self.death is None and grace > 0 and self._exchange.say_goodbye():
            self._process.wait(NEVER, grace)
        self.kill()

    def free(self) -> bool:
        if not self._exchange.close():
            return False
        self._process.close()
        self._wake.close()
        return True

    def abandon(self) -> None:
        detach(self._data)
        self._process.abandon()
        self._wake.abandon()

    def _bury(self) -> Death:
        death = self.death = self._process.bury()
        self._data.shutdown()
        self._control.shutdown()
        self._control.wake_all()
        self._exchange.fail(Died(death))
        return death

    def _poll_of(self, *fds: int | None) -> select.poll:
        poll = select.poll()
        for fd in fds:
            if fd is not None:
                poll.register(fd, select.POLLIN)
        return poll


def _broke(error: ProtocolError) -> str:
    return f"broke the protocol ({error}) and was ended"
