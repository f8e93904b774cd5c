"""Calls over one data channel: whoever waits for a reply reads, and hands the others theirs.

There is one reader at a time and no thread between a synchronous call and its reply. A caller that
finds a reader sleeps until the reader hands it its reply, or the reading itself. Where only those
wait who have no thread (futures, and calls that were given up), the bridge's own thread reads.

While a caller runs a callback it does not read, so that others can.
"""

from __future__ import annotations

import select
from time import monotonic

from ..errors import ProtocolError
from ..wire.codec import pack
from ..wire.framing import Kind
from ..wire.heads import ask_head, reply_head
from ..wire.segments import detach
from . import interrupts
from .answers import NO_REQUEST, Answers
from .base import NEVER, Busy, Died, Interrupted, Late, Reply, TimedOut
from .board import Board
from .displays import Displays
from .flights import Flight, Orphan
from .sending import Sender
from .steering import Steering
from .stopping import Happening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..wire.channel import Channel
    from ..wire.framing import Frame
    from ..wire.spinning import Spin
    from .base import TakeOutgoing
    from .hosting import Host
    from .output import Output


class Exchange:
    """Requests and replies of one worker.

    Args:
        channel: its socket raises BlockingIOError from `recv` after a short while.
        spin: looks at its socket, and beside it at the output.
        output: the worker's stdout and stderr.
        host: the connection around it.
    """

    def __init__(self, channel: Channel, spin: Spin, output: Output, host: Host) -> None:
        self._channel, self._spin, self._output, self._host = channel, spin, output, host
        self.board = Board(host.wake_background)
        self.steering = Steering(self.board, output, host.cancel, self._deliver)
        self.sender = Sender(channel, self)
        self.answers = Answers(self.board, self.steering, self.sender, host)
        self._background = Flight(NO_REQUEST, NEVER)
        self.displays = Displays(output)
        self.sent = 0
        self._poll = select.poll()
        self._data = channel.socket.fileno()
        for fd in (self._data, *output.descriptors):
            self._poll.register(fd, select.POLLIN)
        self._next_tick = 0.0

    def say_goodbye(self) -> bool:
        """Ask the worker to end; False if a call is in flight, which it would run to its end."""
        if self.board.pending:
            return False
        with self._channel.send_lock:
            idle = not self.board.pending
            if idle:
                self.sender.post(Kind.GOODBYE, pack([0, None]))
        return idle

    def close(self) -> bool:
        """Let go of the channel, if the worker is dead and no call is at it; whether that is so."""
        with self._channel.send_lock:
            if self._host.death is None or not self.board.close():
                return False
            detach(self._channel)
        return True

    # ------------------------------------------------------------ calls that a thread waits for
    def call(self, flight: Flight, outgoing: TakeOutgoing) -> Reply:
        """Send a request and wait for its reply, running callbacks meanwhile.

        Raises:
            Died, TimedOut, Interrupted, Busy: see `Connection.call`.
        """
        board = self.board
        if board.stuck is not None:
            raise Busy(board.stuck.request.text)
        self.answers.nest(flight)
        try:
            self._depart(flight, outgoing)
            while True:
                while flight.reply is None and not flight.asks:
                    if board.reader is flight:
                        self.read(flight)
                    else:
                        self._sleep(flight)
                if flight.reply is not None:
                    return flight.reply
                self.answers.answer(flight)
        finally:
            self.answers.route_again(board.leave(flight, self._host.death is not None))

    def _depart(self, flight: Flight, outgoing: TakeOutgoing) -> None:
        """Send the request; its place on the wire is given under the send lock."""
        board, request = self.board, flight.request
        origin, pending = request.origin, board.pending
        context = origin.context
        if context is None:
            context = origin.context = origin.output()
        sender, lock = self.sender, self._channel.send_lock
        if not lock.acquire(False):
            sender.acquire(flight)
        try:
            if board.closed:
                raise self._host.broken(None)
            flight.id = call_id = self.sent = self.sent + 1
            releases, declarations = outgoing(request.session, request.helper)
            self._output.sent(call_id, context, not pending)
            if pending:
                patient = flight.waiting is not None and not self.answers.within
                marks = [["mark", call_id], ["patient"]] if patient else [["mark", call_id]]
                declarations = [*(declarations or ()), *marks]
            board.enter(flight)
            head = [call_id, flight.deadline.seconds, releases, declarations, request.what]
            sender.send(Kind.REQUEST, pack(head), request.body, request.buffers, flight)
            flight.awaited = pack([call_id, None])  # while the worker is at it
        except ProtocolError:
            board.withdraw(flight)  # it exceeds a limit, and nothing was sent
            raise
        finally:
            lock.release()

    def _sleep(self, flight: Flight) -> None:
        """Wait while another reads, for the reply, for a callback to run, or for the reading."""
        if self.board.take_reading(flight) or flight.reply is not None or flight.asks:
            return
        if not flight.wake.acquire(timeout=flight.deadline.left(interrupts.TICK)):
            self.steering.tick(flight)

    # ------------------------------------------------------------ calls that no thread waits for
    def begin(self, flight: Flight, outgoing: TakeOutgoing) -> Callable[[], None]:
        """Send a request; whoever reads lands its reply. Returns what cancels it.

        Raises:
            Died, Interrupted, Busy: it was not sent.
        """
        if self.board.stuck is not None:
            raise Busy(self.board.stuck.request.text)
        flight.held = interrupts.hold()
        try:
            self._depart(flight, outgoing)
        except BaseException:
            self.board.remove(flight)
            raise
        finally:
            held, flight.held = flight.held, None
            self.board.stop_reading(flight)  # which it began, if the socket was full
            interrupts.let_go(held)
        return lambda: self._call_off(flight)

    def _call_off(self, flight: Flight) -> None:
        """Nobody wants the reply any more."""
        if self.board.orphan(flight) is not None:
            self.steering.happens(flight, Happening.INTERRUPT)

    def _deliver(self, flight: Flight, reply: Reply) -> None:
        if not self.board.deliver(flight, reply):
            self._land(flight, reply)

    def _land(self, flight: Flight, outcome: Reply | Exception) -> None:
        """Give a call that no thread waits for what has come of it."""
        waiting = self.board.remove(flight)
        if waiting is None:
            return
        if flight.course is not None and not isinstance(outcome, Exception):
            self.board.drop(outcome)
            outcome = flight.course.verdict()
        waiting.landed(outcome)

    def fail(self, death: Died) -> None:
        """The worker has died: nobody without a thread waits for it any more."""
        self.sender.abandon()
        for flight in self.board.passive():
            self._land(flight, flight.ended(death))

    # ------------------------------------------------------------ the bridge's own thread
    def read_in_background(self, ready: bool) -> None:
        """Read for those who have no thread, unless somebody else reads.

        Args:
            ready: whether the socket has something; else only what was received already is read.

        Raises:
            Died: the channel has ended.
        """
        if self.board.needs_background and self.board.take_background(self._background):
            try:
                self._read_all(ready)
            finally:
                self.board.stop_reading(self._background)

    def _read_all(self, ready: bool) -> None:
        if ready:
            self.read(self._background)
        while (frame := self._channel.buffered()) is not None:
            self._take(frame, self._background)

    @property
    def wanted(self) -> int:
        """What the bridge's own thread has to know of the socket, as events of a poll."""
        reads, sends = self.board.needs_background, bool(self.sender.rest)
        return select.POLLIN * reads | select.POLLOUT * sends

    @property
    def half_read(self) -> bool:
        """Whether something was received that nobody has taken; a poll does not tell of it."""
        return self._channel.midway

    def tick_in_background(self) -> None:
        """Look at the deadlines of those who have no thread, and at what was told to stop.

        Once a tick: there may be a hundred thousand of them, and a reply every few microseconds.
        """
        now = monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + interrupts.TICK / 2
        for flight in self.board.passive():
            orphaned = isinstance(flight.waiting, Orphan)
            if flight.held is not None and not orphaned:
                continue  # it is being sent by a thread that looks itself, for its own interrupt
            if orphaned and flight.course is None and flight.request.late is Late.STOP:
                # Its wait ended by an error of this process, such as a RecursionError: nobody
                # will answer what the call asks, so it must not go on waiting.
                self.steering.happens(flight, Happening.INTERRUPT)
            if flight.course is not None or not orphaned:
                try:
                    self.steering.tick(flight)
                except (TimedOut, Interrupted) as error:
                    waiting = self.board.orphan(flight)
                    if waiting is not None:
                        waiting.landed(error)

    def show_late_output(self) -> None:
        """Show what a thread of the worker writes and displays while no call waits."""
        if self.board.take_background(self._background):
            try:
                self._output.show()
                while any(fd == self._data for fd, _ in self._poll.poll(0)):
                    self._read_all(ready=True)
            except Died:
                pass  # it was buried
            finally:
                self.board.stop_reading(self._background)

    def wake_background(self) -> None:
        """Have the bridge's thread send what is left of a frame."""
        self._host.wake_background()

    # ------------------------------------------------------------ reading
    def read(self, flight: Flight) -> None:
        """Read one frame, or a part of it, and give it to whom it belongs."""
        try:
            frame = self._channel.read(_PART)
        except BlockingIOError:
            if flight is not self._background:
                self._idle(flight)
            return
        except (OSError, ProtocolError) as error:
            raise self._host.broken(error) from error
        if frame is None:
            raise self._host.broken(None)
        self._take(frame, flight)

    def _take(self, frame: Frame, flight: Flight) -> None:
        quiet, self._spin.alone = self._spin.alone, False  # which says nothing of the next frame
        try:
            if frame.kind == Kind.REPLY:
                self._replied(frame, flight, quiet)
            elif frame.kind == Kind.ASK:
                types = ask_head(frame.head)[3]
                if types:
                    self._host.take_types(types)
                if self._output.poll(0):
                    self._output.show()
                self.answers.route(frame)
            elif frame.kind == Kind.NOTICE:
                self.displays.take(frame)
                if flight is not self._background:  # whose calls are looked at elsewhere
                    self.steering.tick(flight)  # displays may come without a pause
        except ProtocolError as error:
            raise self._host.broken(error) from error

    def _replied(self, frame: Frame, flight: Flight, quiet: bool) -> None:
        if frame.head == flight.awaited:
            owner: Flight | None = flight
        else:
            found, types = reply_head(frame.head)
            if types:
                self._host.take_types(types)
            owner = flight if found == flight.id else self.board.pending.get(found)
        output = self._output
        if output.holds or not (quiet or not output.poll(0)):
            output.show(last=len(self.board.pending) < 2)
        if owner is flight:
            flight.reply = Reply(frame.body, frame.buffers)
        elif owner is not None:
            self._deliver(owner, Reply(frame.body, frame.buffers))

    def _idle(self, flight: Flight) -> None:
        """Wait for the data channel, showing output as it comes."""
        while flight.reply is None and not flight.asks:
            ready = self._poll.poll(flight.deadline.left(interrupts.TICK) * 1000)
            self.steering.tick(flight)
            if any(fd == self._data for fd, _ in ready):
                return
            if ready:
                self._output.show()
            for fd, event in ready:
                if not event & select.POLLIN:  # the worker closed this pipe
                    self._poll.unregister(fd)


_PART = 16 << 20
"""Bytes of a large frame after which a reader looks for interrupts and deadlines: a few ms."""
