"""The client: one request, from the caller's arguments to the value.

A request flows one way: connect, resolve the session, check the walls, encode, exchange, decode.
Every call path goes through `request`, or, where no thread waits for it, through a `Journey`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import context
from .backends.base import NEVER, Busy, Deadline, Died, Interrupted, Late, TimedOut
from .errors import (
    BridgeClosedError,
    BridgeError,
    CallTimeoutError,
    EncodeError,
    ProtocolError,
    RefNotFoundError,
    WorkerBusyError,
    WorkerDiedError,
    lost,
)
from .fetching import fetched
from .incarnation import Incarnation
from .options import Options
from .outbound import SCALARS, Outbound
from .prepared import TYPES as PREPARED
from .raising import Raising
from .resolution import check_target, resolve
from .session import Session
from .supervisor import Supervisor
from .telling import Telling
from .wire import limits
from .wire.codec import pack
from .wire.payload import call_part, join, part
from .wire.rebuilding import throw

if TYPE_CHECKING:
    from .backends.base import Reply
    from .call import Call
    from .context import Scope
    from .refs import RefState
    from .session import Lease
    from .wire.payload import Part


class Client(Raising, Supervisor):
    """Requests to the worker."""

    # ------------------------------------------------------------ the one request
    def request(self, call: Call) -> Any:
        """Make a call and return its value.

        Raises:
            BridgeClosedError: the bridge was closed.
            SessionMismatchError, RefNotFoundError, SessionLostError, InvalidRefError,
            EncodeError, WorkerBusyError: before anything ran.
            WorkerDiedError, CallTimeoutError: it was in flight.
            KeyboardInterrupt: the user interrupted it.
            Exception: what the call raised, as the same type where it exists here.
        """
        options, forced, scope = self.surroundings(call)
        if self.sessions.heard:
            return self._heard(call, options, forced, scope)
        return self._request(call, options, forced, scope)

    def _heard(self, call: Call, options: Options, forced: Session | None, scope: Scope) -> Any:
        """A call that somebody is told of."""
        telling = self.telling(call, options, forced, scope)
        error: BaseException | None = None
        try:
            return self._request(call, options, forced, scope)
        except BaseException as raised:
            error = raised
            raise
        finally:
            telling.ended(error)
            del error

    def _request(self, call: Call, options: Options, forced: Session | None, scope: Scope) -> Any:
        while True:
            incarnation = self._incarnation
            if (
                incarnation is None
                or incarnation.loss is not None
                or self._closed
                or (incarnation.connection.death is not None)
            ):
                incarnation = self.connect()
            session, lease = self.where(call, options, forced, scope)
            self.encode(call, options, session, forced, scope, incarnation)
            try:
                body = self._exchange(call, options, incarnation)
            except Died as died:
                error = self.dead(incarnation, died, call)
                if not self.may_repeat(call, options):
                    raise error from None
                continue
            finally:
                del lease
            if body[0] == 0:
                return body[1]
            self.unsettled(body, call, session)

    def telling(
        self, call: Call, options: Options, forced: Session | None, scope: Scope
    ) -> Telling:
        """The events of a call; nothing is made for them."""
        lease = scope.leases.get(self.key)
        session = forced or (lease.session if lease is not None and lease.session.live else None)
        session = call.target.session if call.target is not None else session
        session_id = options.session or (session.id if session is not None else "")
        return Telling(self.sessions, call, scope.label, session_id)

    def surroundings(self, call: Call) -> tuple[Options, Session | None, Scope]:
        """What is in force where a call is made: options, named session, scope."""
        key = self.key
        scope = context.current.get() or context.here()
        if call.options is None and context.stack.get() is None:
            forced = scope.entered.get(key) or scope.sticky.sessions.get(key)
            return _NO_OPTIONS, forced, scope
        return context.ambient(key, call.options), context.in_force(key, scope), scope

    def where(
        self, call: Call, options: Options, forced: Session | None, scope: Scope
    ) -> tuple[Session, Lease | None]:
        """The session of a call, living, and what holds it meanwhile."""
        lease = scope.leases.get(self.key)
        if (
            forced is None
            and call.target is None
            and options is _NO_OPTIONS
            and (lease is not None and lease.session.live)
        ):
            return lease.session, lease  # what `_resolve` would say, which is most calls
        return self._resolve(options.session, call.target, forced, scope)

    def _resolve(
        self, option: str | None, target: RefState | None, forced: Session | None, scope: Scope
    ) -> tuple[Session, Lease | None]:
        lease: Lease | None = None

        def auto() -> Session:
            nonlocal lease
            lease = scope.leases.get(self.key)
            if lease is None or not lease.session.live:
                lease = self.sessions.auto(scope)
            return lease.session

        home = None
        if target is not None:
            target.check()
            home, lease = target.session, target.lease
        named = self.sessions.named(option, cell=scope.label) if option is not None else None
        session = resolve(named, home, forced, auto)
        if home is not None:
            if home is not session:
                check_target(target.text() if target else "", home, session, self.isolate)
        elif not session.live:
            session = self.sessions.again(session, scope.label)
        return session, lease

    def encode(
        self,
        call: Call,
        options: Options,
        session: Session,
        forced: Session | None,
        scope: Scope,
        incarnation: Incarnation,
    ) -> None:
        """Make the request of a call: its payload, its buffers and where it goes."""
        made_for = call.made_for
        if made_for is not None and made_for is not incarnation:
            loss = self.bury(made_for)
            raise WorkerDiedError(loss.how, call.text, loss.sessions, loss.refs)
        call.origin, call.session = scope, session if not call.also else [session, *call.also]
        call.fetched = options.fetch if call.fetch is None else call.fetch
        in_force = forced.id if forced is not None else None
        known = None
        if call.type in PREPARED and call.fetched is None and _is_flat(call):
            known = incarnation.prepared.known(session, call.start, in_force, scope.label)
            if known.told and not call.whole:
                call.prepared, call.body = known.number, pack(list(call.args or ()))
                call.buffers = ()
                return
        parts, buffers = head_parts(call, session, in_force), [*call.raw_buffers]
        if known is not None:
            incarnation.prepared.meet(known, parts)
        if call.args is not None:
            parts.append(self.argument_part(call, session, in_force, incarnation, buffers))
        call.prepared, call.body, call.buffers = None, join(parts), buffers
        if len(call.body) > limits.MAX_BODY or len(buffers) > limits.MAX_BUFFERS:
            why = (
                f"together they are {len(call.body):,} bytes and {len(buffers):,} buffers, and a "
                f"message holds {limits.MAX_BODY:,} and {limits.MAX_BUFFERS:,}"
            )
            raise EncodeError("The arguments", "all of them", why)

    def argument_part(
        self,
        call: Call,
        session: Session,
        in_force: str | None,
        incarnation: Incarnation,
        buffers: list[Any],
    ) -> Part:
        """The part of the payload that holds the arguments; those of large objects go beside it."""
        args = call.args or ()
        if not call.kwargs and SCALARS.issuperset(map(type, args)):
            return call_part(list(args), call.kwargs)
        outbound = Outbound(incarnation, session, in_force, self.isolate, buffers)
        made = outbound.part(args, call.kwargs)
        call.has_refs = call.has_refs or outbound.has_refs
        return made

    def _exchange(self, call: Call, options: Options, incarnation: Incarnation) -> list[Any]:
        """One exchange: `[status, …]` of its reply."""
        exchange, deadline = incarnation.connection.call, self.deadline(call, options)
        try:
            if call.fetched is True:
                reply = exchange(call, incarnation.outgoing, deadline, as_it_came)
                kill = options.kill is True and options.timeout is not None
                return fetched(reply, incarnation, view=call.view, kill=kill)
            return exchange(call, incarnation.outgoing, deadline, incarnation.open)
        except (ProtocolError, TimedOut, Busy, Interrupted) as stop:
            raise self.stopped(stop, call, options, incarnation) from None

    # ------------------------------------------------------------ what becomes of it
    def deadline(self, call: Call, options: Options) -> Deadline:
        """When a call is given up."""
        timeout = call.patience if call.patience is not None else options.timeout
        return Deadline(timeout) if timeout is not None else NEVER

    def stopped(
        self, stop: Exception, call: Call, options: Options, incarnation: Incarnation
    ) -> BaseException:
        """What to raise for a call that did not come to its end."""
        if isinstance(stop, ProtocolError):
            self.end_worker(incarnation, "broke the protocol and was ended")
            return stop
        if isinstance(stop, Busy):
            return WorkerBusyError(stop.text)
        if isinstance(stop, Interrupted):
            if stop.kill:
                self.end_for_interrupt(incarnation, call.text)
            return stop.error
        assert isinstance(stop, TimedOut)
        if call.late is not Late.STOP:
            return stop
        timeout = options.timeout or 0.0
        if stop.stopped or not options.kill:
            return CallTimeoutError(call.text, timeout, stop.stopped)
        loss = self.end_worker(incarnation, "was ended for a timeout")
        return CallTimeoutError(call.text, timeout, True, True, loss.sessions, loss.refs)

    def end_for_interrupt(self, incarnation: Incarnation, text: str) -> None:
        """End a worker whose call does not stop, and say what was lost."""
        loss = self.end_worker(incarnation, "was ended by a second interrupt")
        sys.stderr.write(
            f"bridge: the second interrupt ended the worker during {text}. "
            f"{lost(loss.sessions, loss.refs)} The next call starts a fresh worker.\n"
        )

    def dead(self, incarnation: Incarnation, died: Died, call: Call) -> BridgeError:
        """What to raise for a call whose worker has died."""
        if self.closed:
            return BridgeClosedError(self.closed)
        loss = self.bury(incarnation, died.death.how)
        how = died.death.how if died.broke else loss.how
        return WorkerDiedError(how, call.text, loss.sessions, loss.refs)

    def may_repeat(self, call: Call, options: Options) -> bool:
        """Whether a call may run once more after its worker has died; it may once."""
        if options.idempotent is not True or call.has_refs or call.repeated:
            return False
        call.repeated = True
        return True

    def unsettled(self, body: list[Any], call: Call, session: Session) -> None:
        """A reply that brings no value: raise what it says, or return to ask once more.

        Raises:
            Exception: what the call raised.
            KeyboardInterrupt: it was cancelled.
            RefNotFoundError: its target has ended.
            ProtocolError: that is no reply to this call.
        """
        status = body[0]
        if status == 1:
            throw(self.raised(body[1], call))
        if status == 2:
            raise KeyboardInterrupt
        if status == 4:
            if call.prepared is None:
                raise ProtocolError("the worker takes a whole call for a prepared one")
            call.whole = True
            return
        self.sessions.ended(session, body[1])
        if call.target is not None or call.asked_again:
            what = call.target.text() if call.target is not None else "The result"
            raise RefNotFoundError(what, body[1])
        call.asked_again = True

    def raised(self, failure: list[Any], call: Call) -> BaseException:
        """The exception of a failure: the very one, if a callback of the call has raised it."""
        number = failure[3].get("_bridge_number")
        original = call.errors.get(number) if type(number) is int else None
        return (
            original if original is not None else self.failed(failure, keep=call.type != "display")
        )


def _is_flat(call: Call) -> bool:
    """Whether its arguments are numbers and short texts, which are packed as they are."""
    if call.kwargs:
        return False
    args = call.args or ()
    kinds = {*map(type, args)}
    return kinds <= SCALARS or (
        kinds <= _FLAT and all(len(x) <= _SHORT for x in args if type(x) in _TEXTS)
    )


def head_parts(call: Call, session: Session, in_force: str | None) -> list[Any]:
    """The parts of a payload without its arguments."""
    parts = [call.start, session.part]
    if in_force is not None:
        parts.append(part({"in_force": in_force}))
    if call.fetched is not None:
        parts.append(_FETCH[call.fetched])
    return parts


def as_it_came(reply: Reply) -> Reply:
    """A reply, to be opened later."""
    return reply


_NO_OPTIONS = Options()
_TEXTS = (str, bytes)
_FLAT = SCALARS.union(_TEXTS)
_SHORT = 1000
"""Characters or bytes of a text that is short."""
_FETCH = {True: part({"fetch": True}), False: part({"fetch": False})}
