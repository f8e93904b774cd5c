"""The client: one request, from the caller's arguments to the value.

A request flows one way: connect, resolve the session, check the walls, encode, exchange, decode.
Every call path goes through `request`.
"""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any

from . import context
from .backends.base import NEVER, Deadline, Died, Interrupted, Request, TimedOut
from .errors import (
    BridgeClosedError,
    BridgeError,
    BridgeUsageError,
    CallTimeoutError,
    EncodeError,
    RefNotFoundError,
    WorkerDiedError,
    lost,
)
from .failures import rebuild
from .fetching import fetched
from .incarnation import Incarnation
from .model import Options, Released
from .outbound import SCALARS, Outbound
from .owners import check_owner
from .resolution import check_target, resolve
from .session import Session
from .supervisor import Supervisor
from .wire.codec import pack
from .wire.limits import MAX_BODY
from .wire.payload import base, call_part, check_id, join, part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .backends.base import Reply
    from .call import Call
    from .context import Scope
    from .refs import RefState
    from .session import Lease, Limits

_CONTROL = 0.2
"""Seconds for an answer of the control channel: it cannot come while C code holds the GIL."""
_ACKNOWLEDGED = 1.0
"""Seconds until a release that was not acknowledged is asked for again."""


class Client(Supervisor):
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
        scope = context.here()
        key = self.key
        if call.options is None and context.stack.get() is None:
            options = _NO_OPTIONS
        else:
            options = context.ambient(key, call.options)
        forced = context.in_force(key, scope)
        once_more = options.idempotent is True
        asked_again = False
        while True:
            incarnation = self.connect()
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
                raise rebuild(body[1])
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
        body, buffers = self._encode(call, session, in_force, fetch, incarnation)
        call.send(body, buffers, scope, session)
        timeout = call.patience if call.patience is not None else options.timeout
        deadline = Deadline(timeout) if timeout is not None else NEVER
        exchange = incarnation.connection.call
        try:
            if fetch is True or call.type == "fetch":
                return fetched(exchange(call, incarnation.outgoing, deadline, _as_it_came))
            return exchange(call, incarnation.outgoing, deadline, incarnation.open)
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
        parts = [call.start, session.part]
        buffers: Sequence[Any] = ()
        args = call.args
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
        if len(body) > MAX_BODY:
            why = f"together they are {len(body):,} bytes, and a message holds {MAX_BODY:,}"
            raise EncodeError("The arguments", "all of them", why)
        return body, buffers

    def _dead(self, incarnation: Incarnation, died: Died, call: Call) -> BridgeError:
        if self.closed:
            return BridgeClosedError(self.closed)
        loss = self.bury(incarnation, died.death.how)
        return WorkerDiedError(loss.how, call.text, loss.sessions, loss.refs)

    # ------------------------------------------------------------ without a session
    def ask(self, verb: str, *args: Any) -> Any:
        """Ask the worker over its control channel; None if there is no worker, or no answer."""
        return self._ask(pack({"control": verb, "args": list(args)}))

    def describe(self, state: RefState) -> Any:
        """What the worker knows of a ref; None if it has it no more."""
        payload = {**base("describe", state.session.id), "args": [state.wire()]}
        return self._ask(pack({**payload, "generation": state.session.generation}))

    def _ask(self, body: bytes) -> Any:
        incarnation = self.incarnation
        if incarnation is None:
            return None
        try:
            reply = incarnation.connection.control(body, Deadline(_CONTROL))
        except (TimedOut, Died):
            return None
        except Interrupted as interrupt:
            raise interrupt.error from None
        status, *rest = incarnation.open(reply)
        if status == 1:
            raise rebuild(rest[0])
        return rest[0] if status == 0 else None

    def settle(self) -> None:
        """Have the worker do the releases that are queued or under way, unless a call runs."""
        incarnation = self.incarnation
        if incarnation is None or incarnation.connection.in_flight:
            self.flush()
            return
        body = pack({**base("release_ref", "none"), "args": []})
        request = Request(body, (), context.here(), None, None)
        try:
            incarnation.connection.call(
                request, incarnation.outgoing, Deadline(_CONTROL), _as_it_came
            )
        except (TimedOut, Died):
            return
        except Interrupted as interrupt:
            raise interrupt.error from None

    def current_session(self) -> str:
        """The id of the session in force."""
        scope = context.here()
        option = context.ambient(self.key, None).session
        session, lease = self._resolve(option, None, context.in_force(self.key, scope), scope)
        del lease
        return session.id

    def name_session(
        self, session_id: str | None, limits: Limits, tags: Mapping[str, str] | None, owner: object
    ) -> Session:
        """The named session of that id, made or changed; None makes an id.

        Raises:
            BridgeUsageError: a bad id or owner, or max_refs below what the session holds.
        """
        if owner is not None:
            check_owner(owner)
        made_id = session_id is None
        session_id = f"session_{uuid.uuid4()}" if session_id is None else check_id(session_id)
        existed = self.sessions.exists(session_id)
        session = self.sessions.named(session_id, limits, tags, context.here().label)
        session.made_id = session.made_id or made_id
        if existed:
            self.change_limits(session, limits)
        if owner is not None:
            self.register_owner(session_id, owner)
        return session

    def change_limits(self, session: Session, limits: Limits) -> None:
        """Change the limits of a session that lives; those that are None stay.

        Raises:
            BridgeUsageError: max_refs is below what it holds.
        """
        if limits.as_tuple() == (None, None, None):
            return
        after = limits.over(session.limits)
        incarnation = self.incarnation
        if incarnation is not None and session.incarnation == incarnation.number:
            self.settle()
            max_refs, ttl, overflow = after.as_tuple()
            spec = [session.id, session.generation, session.auto, max_refs, ttl, overflow]
            held = self.ask("limit", *spec)
            if held is not None:
                raise BridgeUsageError(
                    f"max_refs={max_refs} is below the {held:,} refs that session "
                    f"{session.id!r} holds; release some first"
                )
        session.limits = after

    def release_session(self, session: Session, reason: str = "session released") -> Released:
        """End a session; what it freed, as the worker has acknowledged it."""
        if not self.sessions.releasing(session, reason):
            return Released(0, 0)
        payload = {**base("release_session", session.id), "generation": session.generation}
        refs, nbytes = self._release({**payload, "args": [reason]}, session)
        self.sessions.ended(session, reason, refs, nbytes)
        self.sessions.publish()
        return Released(refs, nbytes)

    def release_ref(self, state: RefState) -> Released:
        """End a ref, whoever holds handles of it."""
        if state.ended():
            return Released(0, 0)
        payload = {**base("release_ref", state.session.id), "args": [state.id]}
        payload["generation"] = state.session.generation
        refs, nbytes = self._release(payload, state.session)
        state.incarnation.evicted(state.session.id, [state.id], "released")
        self.sessions.publish()
        return Released(refs, nbytes)

    def _release(self, payload: dict[str, Any], session: Session) -> tuple[int, int]:
        """Bring a release to the worker, again if it is not acknowledged."""
        incarnation = self.incarnation
        if incarnation is None or session.incarnation != incarnation.number:
            return 0, 0
        body = pack(payload)
        connection = incarnation.connection
        idle = connection.in_flight == 0
        while True:
            try:
                if idle:  # then destructors run in the worker's main thread
                    request = Request(body, (), context.here(), None, None)
                    reply = connection.call(
                        request, incarnation.outgoing, Deadline(_ACKNOWLEDGED), _as_it_came
                    )
                else:
                    reply = connection.control(body, Deadline(_ACKNOWLEDGED))
            except TimedOut:
                idle = False
                continue
            except Died:
                return 0, 0
            except Interrupted as interrupt:
                raise interrupt.error from None
            status, *rest = incarnation.open(reply)
            if status == 1:
                raise rebuild(rest[0])
            return (rest[0][0], rest[0][1]) if status == 0 else (0, 0)


def _as_it_came(reply: Reply) -> Reply:
    return reply


_NO_OPTIONS = Options()
_FETCH = {True: part({"fetch": True}), False: part({"fetch": False})}
