"""What is asked of the worker about sessions and refs, rather than in them.

Views and limits go over the control channel, which answers while a call runs. A release goes over
the data channel where that is idle, so that destructors run in the worker's main thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import context
from .backends.base import Busy, Deadline, Died, Interrupted, Late, Request, TimedOut
from .client import Client, as_it_came
from .errors import BridgeUsageError
from .hearing import released
from .owners import check_owner
from .wire.codec import pack
from .wire.payload import base, check_id
from .wire.rebuilding import throw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .incarnation import Incarnation
    from .model import Released
    from .refs import RefState
    from .session import Limits, Session

_CONTROL = 0.2
"""Seconds for an answer of the control channel: it cannot come while C code holds the GIL."""
_ACKNOWLEDGED = 1.0
"""Seconds until a release that was not acknowledged is asked for again."""


class Custodian(Client):
    """A client that looks after what the worker holds."""

    def ask(self, verb: str, *args: Any, within: float = _CONTROL) -> Any:
        """Ask the worker over its control channel; None if there is no worker, or no answer."""
        return self._ask(pack({"control": verb, "args": list(args)}), within)

    def describe(self, state: RefState) -> Any:
        """What the worker knows of a ref; None if it has it no more."""
        payload = {**base("describe", state.session.id), "args": [state.wire()]}
        return self._ask(pack({**payload, "generation": state.session.generation}))

    def _ask(self, body: bytes, within: float = _CONTROL) -> Any:
        incarnation = self.incarnation
        if incarnation is None:
            return None
        try:
            reply = incarnation.connection.control(body, Deadline(within))
        except (TimedOut, Died):
            return None
        except Interrupted as interrupt:
            raise interrupt.error from None
        status, *rest = incarnation.open(reply)
        if status == 1:
            throw(self.failed(rest[0]))
        return rest[0] if status == 0 else None

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
        session_id = _fresh_id() if session_id is None else check_id(session_id)
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
            if held is None:
                session.incarnation = 0  # not answered: it is declared anew with the next message
            elif held:
                raise BridgeUsageError(
                    f"max_refs={max_refs} is below the {held:,} refs that session "
                    f"{session.id!r} holds; release some first"
                )
        session.limits = after

    def release_session(self, session: Session, reason: str = "session released") -> Released:
        """End a session; what it freed, as the worker has acknowledged it."""
        if not self.sessions.releasing(session, reason):
            return freed(0, 0)
        payload = {**base("release_session", session.id), "generation": session.generation}
        refs, nbytes = self._release({**payload, "args": [reason]}, session)
        self.sessions.ended(session, reason, refs, nbytes)
        self.sessions.publish()
        return freed(refs, nbytes)

    def release_ref(self, state: RefState) -> Released:
        """End a ref, whoever holds handles of it."""
        if state.ended():
            return freed(0, 0)
        return self.release_refs(state.session, [state.id], state.incarnation)

    def release_refs(
        self, session: Session, ref_ids: list[int], incarnation: Incarnation
    ) -> Released:
        """End refs of one session at once, whoever holds handles of them."""
        payload = {**base("release_ref", session.id), "args": ref_ids}
        payload["generation"] = session.generation
        refs, nbytes = self._release(payload, session)
        incarnation.evicted(session.id, ref_ids, "released")
        self.sessions.publish()
        return freed(refs, nbytes)

    def settle(self) -> None:
        """Have the worker do the releases that are queued or under way, unless a call runs."""
        incarnation = self.incarnation
        if incarnation is None or incarnation.connection.in_flight:
            self.flush()
            return
        body = pack({**base("release_ref", "none"), "args": []})
        request = Request(body, (), context.here(), None, None, Late.LEAVE)
        try:
            incarnation.connection.call(
                request, incarnation.outgoing, Deadline(_CONTROL), as_it_came
            )
        except (TimedOut, Died, Busy):
            return
        except Interrupted as interrupt:
            raise interrupt.error from None

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
                    request = Request(body, (), context.here(), None, None, Late.LEAVE)
                    reply = connection.call(
                        request, incarnation.outgoing, Deadline(_ACKNOWLEDGED), as_it_came
                    )
                else:
                    reply = connection.control(body, Deadline(_ACKNOWLEDGED))
            except (TimedOut, Busy):
                idle = False
                continue
            except Died:
                return 0, 0
            except Interrupted as interrupt:
                raise interrupt.error from None
            status, *rest = incarnation.open(reply)
            if status == 1:
                throw(self.failed(rest[0]))
            return released(rest[0]) if status == 0 else (0, 0)


def freed(refs: int, nbytes: int) -> Released:
    """The record of what a release freed."""
    from .model import Released  # slow to import, and no call needs it

    return Released(refs, nbytes)


def _fresh_id() -> str:
    import uuid  # slow to import, and only a session without a name needs it

    return f"session_{uuid.uuid4()}"
