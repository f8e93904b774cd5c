"""Serves requests in one thread of a worker: one payload in, one reply out.

A reply's body is one of

    [0, value]     the result
    [1, failure]   an exception, see `failure`
    [2]            the call was cancelled
    [3, reason]    the session (or this generation of it) has ended; nothing has run
    [4]            no prepared call is kept under that number; nothing has run
"""

from __future__ import annotations

import time

from ..errors import ProtocolError
from ..wire.codec import pack, pack_list
from ..wire.failure import encode_failure
from ..wire.framing import Kind
from ..wire.heads import request_head
from ..wire.loading import malformed
from ..wire.payload import FIELDS, check
from .handlers import ANYWHERE, HANDLERS, Handlers
from .holding import SessionEnded
from .inbox import Inbox
from .outbox import Outbox
from .running import Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..wire.framing import Buffer, Frame
    from .dispatcher import Dispatcher
    from .handlers import Answer, Payload


class Serving(Handlers):
    """One thread that serves. Calls nest: a callback's answer is waited for by serving others.

    Attributes:
        running: the calls it runs.
    """

    def __init__(self, shared: Dispatcher) -> None:
        self.shared = shared
        self.running = Running()
        self.inbox = Inbox(shared.store, shared.host.ask)
        self.outbox = Outbox(shared.store, self.running, shared.inline_limit)
        self._buffers: list[Buffer] = []

    def handle(self, frame: Frame) -> tuple[int, bytes, list[Buffer]] | None:
        """Serve one frame; `(call id, body, buffers)` of the reply, if it has one."""
        if frame.kind != Kind.REQUEST and frame.kind != Kind.NOTICE:
            raise ProtocolError(
                f"a frame of kind {frame.kind} came, expected a request or a notice"
            )
        call_id, _, releases, declarations, cell = request_head(frame.head)
        shared = self.shared
        if releases is not None:
            with malformed("releases"):
                shared.taken(declarations or ())  # of streams that may go with it
                shared.take_back(releases)
        if frame.kind == Kind.NOTICE:
            if declarations is not None:
                with malformed("declarations"):
                    shared.declare(declarations)
            return None
        running, busy = self.running, shared.busy
        inbox, buffers = self.inbox, self._buffers
        nested = bool(running.calls)
        if nested:
            self.inbox = Inbox(shared.store, shared.host.ask)
        self._buffers = frame.buffers
        try:
            cancelled = running.enter(call_id)
            if not cancelled:
                shared.host.begin_output(call_id)
            if declarations is not None:  # which are not sent again, so they hold all the same
                with malformed("declarations"):
                    shared.declare(declarations)
            if cancelled:
                return call_id, _CANCELLED, []
            if type(cell) is int:
                return (call_id, *self._serve_prepared(cell, frame.body))
            return (call_id, *self._serve(frame.body, cell))
        except SessionEnded as ended:
            return call_id, pack([3, ended.reason]), []
        except BaseException as error:
            running.window = False
            return call_id, self._failed(error), []
        finally:
            running.window = False
            self.inbox.close()
            running.leave()
            self.inbox, self._buffers = inbox, buffers
            shared.busy = busy
            if nested:
                shared.host.mark_output(running.calls[-1])

    def _failed(self, error: BaseException) -> bytes:
        """The body for what a call raised."""
        if isinstance(error, KeyboardInterrupt):
            if self.running.stopped:
                return _CANCELLED
            if self.shared.host.in_process:
                raise error
        return pack([1, encode_failure(error, self.shared.hidden, _hint(error))])

    def _serve(self, body: bytes | bytearray, cell: str) -> Answer:
        running, begun = self.running, time.monotonic()
        running.open()
        payload = self.inbox.open(body)
        call_type = check(payload)
        running.window = False
        if call_type in ANYWHERE:
            return HANDLERS[call_type](self, payload, None, cell)
        shared = self.shared
        shared.calls += 1
        shared.busy = (payload, begun)
        return self._run(payload, call_type, cell)

    def _serve_prepared(self, number: int, body: bytes | bytearray) -> Answer:
        shared = self.shared
        prepared = shared.prepared.get(number)
        if prepared is None:
            return _UNKNOWN, []
        payload = prepared.with_args(body)
        shared.calls += 1
        shared.busy = (payload, time.monotonic())
        return self._run(payload, prepared.call_type, prepared.cell)

    def _run(self, payload: Payload, call_type: str, cell: str) -> Answer:
        inbox, running, store = self.inbox, self.running, self.shared.store
        handler = HANDLERS.get(call_type)
        if handler is None:
            raise ProtocolError(f"{call_type!r} is asked by a worker, not of one")
        session = store.enter(payload["session_id"], payload.get("generation") or 0)
        try:
            running.open()
            if inbox.named_refs:
                inbox.check_walls(session, payload.get("in_force"), self.shared.isolate)
            if inbox.pickles:
                target = payload.get("instance") or payload.get("stream_ref")
                if target is not None:
                    self._target(target, session)  # before anything of a pickle is opened
                try:
                    inbox.unpickle(payload, self._buffers)
                except Exception:
                    self.shared.importer.tell()  # it may want what an edited module has by now
                    raise
            return handler(self, payload, session, cell)
        finally:
            running.window = False
            store.leave(session)

    # ------------------------------------------------------------ batches
    def run_batch(self, starts: list[Payload], items: list[Any], cell: str) -> Answer:
        """Run calls in order; the reply has the outcome of each, `[status, …]` as above.

        Args:
            starts: payloads without arguments.
            items: `[number of its start, args, kwargs]` of each call, or, where the arguments are
                not all scalars, `[number of its start, packed map of them]`.
            cell: where they were made.
        """
        bodies: list[bytes] = []
        buffers: list[Buffer] = []
        outer, self.inbox = self.inbox, Inbox(self.shared.store, self.shared.host.ask)
        types = [_checked(start) for start in starts]
        try:
            for item in items:
                self.outbox.first_buffer = len(buffers)
                with malformed("batch"):
                    number = item[0]
                    call_type, payload = types[number], self._item(starts[number], *item)
                body, more = self._outcome(payload, call_type, cell)
                bodies.append(body)
                buffers += more
                if body is _CANCELLED:
                    break
        finally:
            self.running.window = False
            self.inbox, self.outbox.first_buffer = outer, 0
        bodies += [_CANCELLED] * (len(items) - len(bodies))
        return pack_list([_DONE, pack_list(bodies)]), buffers

    def _item(self, start: Payload, number: int, args: Any = None, kwargs: Any = None) -> Payload:
        if type(args) is list and type(kwargs) is dict:
            return {**start, "args": args, "kwargs": kwargs}
        if type(args) is bytes:
            return {**start, **self.inbox.open(args)}
        if kwargs is not None:
            return {**start, "args": args, "kwargs": kwargs}
        return {**start, "args": args} if args is not None else dict(start)

    def _outcome(self, payload: Payload, call_type: str, cell: str) -> Answer:
        self.shared.calls += 1
        try:
            return self._run(payload, call_type or check(payload), cell)
        except SessionEnded as ended:
            return pack([3, ended.reason]), []
        except BaseException as error:
            self.running.window = False
            return self._failed(error), []
        finally:
            self.inbox.close()


class _Late:
    hint_for: Any = None


def hints() -> None:
    """Import what knows what to do about errors, and keep it: code may forbid imports."""
    from .hints import hint_for

    _Late.hint_for = staticmethod(hint_for)


def _hint(error: BaseException) -> str | None:
    if _Late.hint_for is None:
        try:
            hints()
        except Exception:
            return None
    hint: str | None = _Late.hint_for(error)
    return hint


def _checked(start: Payload) -> str:
    """The call type of a payload without arguments that is good with any; "" if it must be seen."""
    try:
        if "kwargs" in FIELDS[start["call_type"]]:
            return check({**start, "args": [], "kwargs": {}})
    except (ProtocolError, LookupError, TypeError):
        pass
    return ""


_CANCELLED = pack([2])
_UNKNOWN = pack([4])
_DONE = pack(0)
