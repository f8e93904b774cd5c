"""What can go wrong, as one tree.

    BridgeError
    ├── BridgeUsageError (ValueError)      you asked for something that has no meaning
    ├── BridgeClosedError                  you closed this bridge, or forked away from it
    ├── SessionNotFoundError (LookupError) no session of that id was ever made
    ├── SessionMismatchError               a ref was used outside its named session
    ├── SessionFullError                   the result would exceed the session's max_refs
    ├── SessionLostError                   the worker that held the session has died
    ├── RefNotFoundError (LookupError)     the ref is gone, and the reason says how
    ├── InvalidRefError                    what was given is no ref of this bridge
    ├── WorkerStartError                   no worker can be started
    ├── WorkerDiedError                    the worker died during the call
    ├── WorkerBusyError                    the worker cannot take the call now
    ├── CallTimeoutError (TimeoutError)    the call did not end within its timeout
    ├── EncodeError (TypeError)            a value cannot travel
    ├── ProtocolError                      the peer broke the protocol
    └── RemoteError                        a remote exception that has no type here

Every error carries its facts as fields; the sentence is made from them in `__str__` and says
what happened, with the values, and what to do next. The positional arguments are plain data,
so that an error of ours crosses the wire as its name and its arguments.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import ClassVar


def _names(values: Iterable[str], limit: int = 5) -> str:
    """A short, readable list of quoted names."""
    items = [repr(v) for v in values]
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


class BridgeError(Exception):
    """The base of every error that is the bridge's own."""


class BridgeUsageError(BridgeError, ValueError):
    """The request itself has no meaning: a bad option, id, word or owner."""


class BridgeClosedError(BridgeError):
    """The bridge was closed, or belongs to the process this one was forked from."""

    def __init__(self, why: str = "it was closed") -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"This bridge cannot be used: {self.why}. Make a new one with bridge_ext.Bridge()."


class SessionNotFoundError(BridgeError, LookupError):
    """No session of this id was ever made (or it ended too long ago to be remembered)."""

    def __init__(self, session_id: str, near: Sequence[str] = ()) -> None:
        super().__init__(session_id, near)
        self.session_id = session_id
        self.near = tuple(near)

    def __str__(self) -> str:
        hint = f" Did you mean {_names(self.near)}?" if self.near else ""
        return (
            f"There is no session {self.session_id!r}.{hint} "
            f"bridge.sessions() lists those that exist; bridge.session({self.session_id!r}) "
            "makes it."
        )


class SessionMismatchError(BridgeError):
    """A ref of one session was used in a call of another; nothing has run.

    Attributes:
        ref: the ref, as text.
        expected: the session in which the call runs.
        actual: the session that owns the ref.
    """

    def __init__(self, ref: str, expected: str, actual: str) -> None:
        super().__init__(ref, expected, actual)
        self.ref, self.expected, self.actual = ref, expected, actual

    def __str__(self) -> str:
        return (
            f"{self.ref} belongs to session {self.actual!r}, but this call runs in "
            f"{self.expected!r}. Run it where the ref is, with bridge.session({self.actual!r}) "
            f"or %%session {self.actual}, or re-home the ref without a copy: "
            f"bridge.move(ref, {self.expected!r})."
        )


class SessionFullError(BridgeError):
    """The result was refused whole, because its refs would exceed the session's limit."""

    def __init__(self, session_id: str, held: int, wanted: int, max_refs: int) -> None:
        super().__init__(session_id, held, wanted, max_refs)
        self.session_id, self.held, self.wanted, self.max_refs = session_id, held, wanted, max_refs

    def __str__(self) -> str:
        return (
            f"Session {self.session_id!r} holds {self.held:,} refs of at most "
            f"{self.max_refs:,}, and this result needs {self.wanted:,} more. It was refused "
            "whole; nothing else is harmed. Release refs (del, bridge.release), raise the limit "
            f"with bridge.session({self.session_id!r}, max_refs=...), or use overflow='evict'."
        )


class SessionLostError(BridgeError):
    """The worker that held this session has died, and its objects with it."""

    def __init__(self, session_id: str, why: str = "its worker has died") -> None:
        super().__init__(session_id, why)
        self.session_id, self.why = session_id, why

    def __str__(self) -> str:
        return (
            f"Session {self.session_id!r} is lost: {self.why}. Its objects are gone; make them "
            "again, the next call starts a fresh worker."
        )


class RefNotFoundError(BridgeError, LookupError):
    """The ref has ended.

    Attributes:
        ref: the ref, as text.
        reason: "released", "expired", "evicted", "session released" or "cell ended".
    """

    _HOW: ClassVar[dict[str, str]] = {
        "released": "it was released",
        "expired": "its session was idle for longer than its ttl_seconds",
        "evicted": "its session was full and dropped what was used least recently",
        "session released": "its session was released",
        "cell ended": "it belonged to a cell (or thread) that has ended",
    }

    def __init__(self, ref: str, reason: str = "released") -> None:
        super().__init__(ref, reason)
        self.ref, self.reason = ref, reason

    def __str__(self) -> str:
        how = self._HOW.get(self.reason, self.reason)
        return (
            f"{self.ref} is gone ({self.reason}): {how}. Make the object again; "
            "bridge.keep(ref, name) in a named session holds one for longer."
        )


class InvalidRefError(BridgeError):
    """What was given is not a ref that this bridge can use."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what, self.why = what, why

    def __str__(self) -> str:
        return f"{self.what} is not a usable ref: {self.why}."


class WorkerStartError(BridgeError):
    """No worker can be started; nothing has run.

    Attributes:
        why: what the system says.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return (
            f"No worker can be started: {self.why}. bridge.doctor() shows the limits and paths "
            "that it needs; the next call tries again."
        )


class WorkerDiedError(BridgeError):
    """The worker died while this call was in flight.

    Attributes:
        how: the signal or exit code, in words.
        call: what was running, as text.
        sessions: ids of the sessions that were lost.
        refs: how many handles were lost with them.
    """

    def __init__(self, how: str, call: str, sessions: Sequence[str] = (), refs: int = 0) -> None:
        super().__init__(how, call, tuple(sessions), refs)
        self.how, self.call, self.sessions, self.refs = how, call, tuple(sessions), refs

    def __str__(self) -> str:
        return (
            f"The worker {self.how} during {self.call}. {lost(self.sessions, self.refs)} "
            "The next call starts a fresh worker."
        )


class WorkerBusyError(BridgeError):
    """The worker still runs a call that timed out and did not stop.

    Attributes:
        call: which.
    """

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call

    def __str__(self) -> str:
        return (
            f"The worker still runs {self.call}, which timed out and has not stopped. Wait for it, "
            "or end the worker with bridge.restart(); its refs are lost then."
        )


class CallTimeoutError(BridgeError, TimeoutError):
    """The call did not end within `timeout` seconds.

    Attributes:
        timeout: the limit in seconds.
        stopped: whether the call in the worker has stopped; else it still runs.
        ended: whether its worker was ended for it (`options(kill=True)`).
        sessions, refs: what was lost then.
    """

    def __init__(
        self,
        call: str,
        timeout: float,
        stopped: bool = True,
        ended: bool = False,
        sessions: Sequence[str] = (),
        refs: int = 0,
    ) -> None:
        super().__init__(call, timeout, stopped, ended, tuple(sessions), refs)
        self.call, self.timeout, self.stopped, self.ended = call, timeout, stopped, ended
        self.sessions, self.refs = tuple(sessions), refs

    def __str__(self) -> str:
        if self.ended:
            what = (
                "and did not stop, so its worker was ended. "
                f"{lost(self.sessions, self.refs)} The next call starts a fresh worker"
            )
        elif self.stopped:
            what = "and was stopped; the refs are as they were"
        else:
            what = (
                "and has not stopped: it runs code that does not look for it. Until it ends, calls "
                "raise WorkerBusyError; bridge.restart() ends its worker now, and "
                "options(kill=True) does so by itself"
            )
        return (
            f"{self.call} did not end within timeout={self.timeout:g} seconds {what}. "
            "options(timeout=...) or -t sets the limit."
        )


class EncodeError(BridgeError, TypeError):
    """A value cannot travel.

    Attributes:
        where: the place of the value, such as "args[0]['model']" or "the result".
        what: the value's type.
        why: the reason.
    """

    def __init__(self, where: str, what: str, why: str) -> None:
        super().__init__(where, what, why)
        self.where, self.what, self.why = where, what, why

    def __str__(self) -> str:
        return f"{self.where} ({self.what}) cannot travel: {self.why}."


class ProtocolError(BridgeError):
    """The peer sent what the protocol does not allow; the channel is closed."""


class RemoteError(BridgeError):
    """A remote exception whose type does not exist here, or is no Exception.

    Attributes:
        type_name: module and name of the remote type.
        message: its text.
    """

    def __init__(self, type_name: str, message: str = "") -> None:
        super().__init__(type_name, message)
        self.type_name, self.message = type_name, message

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


def lost(sessions: Sequence[str], refs: int, what: str = "Lost") -> str:
    """One sentence that says what went down with a worker, or would."""
    if not sessions:
        return f"{what}: no session."
    plural = "s" if len(sessions) != 1 else ""
    named = [s for s in sessions if not s.startswith("auto_")]  # whose ids say nothing to anybody
    names = f" ({_names(named)})" if named else ""
    return (
        f"{what}: {refs:,} ref{'s' if refs != 1 else ''} in {len(sessions)} session{plural}{names}."
    )


OWN: dict[str, type[BridgeError]] = {
    cls.__name__: cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, BridgeError)
}
"""Name to class, for errors that cross the wire."""
