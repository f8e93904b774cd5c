"""The client: one request, from the caller's arguments to the value.

A request flows one way: connect, resolve the session, check the walls, encode, exchange, decode.
Every call path goes through `request`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import context
from .backends.base import NEVER, Deadline, Died, Interrupted, TimedOut
from .errors import (
    BridgeClosedError,
    BridgeError,
    CallTimeoutError,
    EncodeError,
    ProtocolError,
    RefNotFoundError,
    WorkerDiedError,
    lost,
)
from .fetching import fetched
from .incarnation import Incarnation
from .model import Options
from .outbound import SCALARS, Outbound
from .raising import Raising
from .resolution import check_target, resolve
from .session import Session
from .supervisor import Supervisor
from .wire import limits
from .wire.payload import call_part, join, part
from .wire.rebuilding import throw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .backends.base import Reply
    from .call import Call
    from .context import Scope
    from .refs import RefState
    from .session import Lease


class Client(Raising, Supervisor):
    """Requests to the worker."""

    # ------------------------------------------------------------ the one request
    def request(self, call: Call) -> Any:
        """Make a call and return its value.

        Raises:
            BridgeClosedError: the bridge was closed.
            SessionMismatchError, RefNotFoundError, SessionLostError, InvalidRefError,
            EncodeError: before anything ran.
            WorkerDiedError, CallTimeoutError: it was in flight.
            KeyboardInterrupt: the user interrupted it.
            StopIteration: the stream has ended.
            Exception: what the call raised, as the same type where it exists here.
        """
        key = self.key
        scope = context.current.get() or context.here()
        if call.options is None and context.stack.get() is None:
            options = _NO_OPTIONS
            forced = scope.entered.get(key) or scope.sticky.sessions.get(key)
        else:
            options = context.ambient(key, call.options)
            forced = context.in_force(key, scope)
        once_more = options.idempotent is True
        asked_again = False
        while True:
            incarnation = self._incarnation
            if (
                incarnation is None
                or incarnation.loss is not None
                or self._closed
                or (incarnation.connection.death is not None)
            ):
                incarnation = self.connect()
            lease = scope.leases.get(key)
            if (
                forced is None
                and call.target is None
                and options is _NO_OPTIONS
                and (lease is not None and lease.session.live)
            ):
                session = lease.session  # what `_resolve` would say, which is most calls
            else:
                session, lease = self._resolve(options.session, call.target, forced, scope)
            try:
                body = self._exchange(call, options, session, forced, scope, incarnation)
            except Died as died:
                error = self._dead(incarnation, died, call)
                if not once_more or call.has_refs:
                    raise error from None
                once_more = False
                continue
            finally:
                del lease
            status = body[0]
            if status == 0:
                return body[1]
            if status == 1:
                throw(self.failed(body[1], keep=call.type != "display"))
            if status == 2:
                raise StopIteration
            self.sessions.ended(session, body[1])
            if call.target is not None or asked_again:
                what = call.target.text() if call.target is not None else "The result"
                raise RefNotFoundError(what, body[1])
            asked_again = True

    def _resolve(
        self, option: str | None, target: RefState | None, forced: Session | None, scope: Scope
    ) -> tuple[Session, Lease | None]:
        """The session of this request, living, and what holds it meanwhile."""
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

    def _exchange(
        self,
        call: Call,
        options: Options,
        session: Session,
        forced: Session | None,
        scope: Scope,
        incarnation: Incarnation,
    ) -> list[Any]:
        """One exchange: `[status, …]` of its reply."""
        fetch = call.fetch if call.fetch is not None else options.fetch
        in_force = forced.id if forced is not None else None
        call.body, call.buffers = self._encode(call, session, in_force, fetch, incarnation)
        call.origin, call.session = scope, session
        timeout = call.patience if call.patience is not None else options.timeout
        deadline = Deadline(timeout) if timeout is not None else NEVER
        exchange = incarnation.connection.call
        try:
            if fetch is True or call.type == "fetch":
                return fetched(exchange(call, incarnation.outgoing, deadline, as_it_came))
            return exchange(call, incarnation.outgoing, deadline, incarnation.open)
        except ProtocolError:
            self.end_worker(incarnation, "broke the protocol and was ended")
            raise
        except TimedOut:
            if call.patience is not None:
                raise
            loss = self.end_worker(incarnation, "was ended for a timeout")
            raise CallTimeoutError(
                call.text, timeout or 0.0, True, loss.sessions, loss.refs
            ) from None
        except Interrupted as interrupt:
            loss = self.end_worker(incarnation, "was ended by an interrupt")
            sys.stderr.write(
                f"bridge: the interrupt ended the worker during {call.text}. "
                f"{lost(loss.sessions, loss.refs)} The next call starts a fresh worker.\n"
            )
            raise interrupt.error from None

    def _encode(
        self,
        call: Call,
        session: Session,
        in_force: str | None,
        fetch: bool | None,
        incarnation: Incarnation,
    ) -> tuple[bytes, Sequence[Any]]:
        """The packed payload and its buffers."""
        buffers: Sequence[Any] = ()
        args = call.args
        parts = [call.start, session.part]
        if args is None:
            pass
        elif not call.kwargs and SCALARS.issuperset(map(type, args)):
            parts.append(call_part(list(args), call.kwargs))
        else:
            outbound = Outbound(incarnation, session, in_force, self.isolate)
            parts.append(outbound.part(args, call.kwargs))
            buffers = outbound.buffers
            call.has_refs = call.has_refs or outbound.has_refs
        if in_force is not None:
            parts.append(part({"in_force": in_force}))
        if fetch is not None:
            parts.append(_FETCH[fetch])
        body = join(parts)
        if len(body) > limits.MAX_BODY or len(buffers) > limits.MAX_BUFFERS:
            why = (
                f"together they are {len(body):,} bytes and {len(buffers):,} buffers, and a "
                f"message holds {limits.MAX_BODY:,} and {limits.MAX_BUFFERS:,}"
            )
            raise EncodeError("The arguments", "all of them", why)
        return body, buffers

    def _dead(self, incarnation: Incarnation, died: Died, call: Call) -> BridgeError:
        if self.closed:
            return BridgeClosedError(self.closed)
        loss = self.bury(incarnation, died.death.how)
        how = died.death.how if died.broke else loss.how
        return WorkerDiedError(how, call.text, loss.sessions, loss.refs)


def as_it_came(reply: Reply) -> Reply:
    """A reply, to be opened later."""
    return reply


_NO_OPTIONS = Options()
_FETCH = {True: part({"fetch": True}), False: part({"fetch": False})}
