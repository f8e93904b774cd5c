"""What a call is made with beside its arguments."""

from __future__ import annotations

from .errors import BridgeUsageError


class Options:
    """Runtime options; None is "not given". They are not changed once made.

    Attributes:
        session: the session to run in, by id.
        timeout: seconds until the call is given up.
        kill: whether a timeout may end the worker.
        idempotent: whether the call may run twice, should the worker die.
        fetch: True brings results by value, False leaves them as refs.

    Raises:
        BridgeUsageError: a value that is none of these.
    """

    __slots__ = ("fetch", "idempotent", "kill", "session", "timeout")

    def __init__(
        self,
        session: str | None = None,
        timeout: float | None = None,
        kill: bool | None = None,
        idempotent: bool | None = None,
        fetch: bool | None = None,
    ) -> None:
        if timeout is not None and (
            type(timeout) is bool or not isinstance(timeout, (int, float)) or not timeout > 0
        ):
            raise BridgeUsageError(f"timeout={timeout!r}: give seconds, more than 0")
        for name, value in (("kill", kill), ("idempotent", idempotent), ("fetch", fetch)):
            if value is not None and type(value) is not bool:
                raise BridgeUsageError(f"{name}={value!r}: give True, False or None")
        self.session, self.timeout = session, timeout
        self.kill, self.idempotent, self.fetch = kill, idempotent, fetch

    def over(self, outer: Options, *, hide_session: bool) -> Options:
        """These options, and the outer ones where these leave a gap."""
        session = None if hide_session else outer.session
        return Options(
            session if self.session is None else self.session,
            outer.timeout if self.timeout is None else self.timeout,
            outer.kill if self.kill is None else self.kill,
            outer.idempotent if self.idempotent is None else self.idempotent,
            outer.fetch if self.fetch is None else self.fetch,
        )
