"""Running the callbacks that a worker asks for."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from . import context
from .callbacks import numbers
from .errors import BridgeUsageError, EncodeError, RefNotFoundError
from .outbound import Outbound
from .wire.loading import malformed
from .wire.payload import join, part

if TYPE_CHECKING:
    from .backends.base import Request
    from .callbacks import Callback
    from .incarnation import Incarnation
    from .session import Session
    from .wire.framing import Buffer, Frame


def answer(incarnation: Incarnation, request: Request, frame: Frame) -> tuple[bytes, list[Buffer]]:
    """Run the callback that a worker asks for; the body of the answer, and its buffers.

    It runs in the scope of the call, whatever the thread.

    Raises:
        KeyboardInterrupt: the user interrupted it; there is no answer.
    """
    scope = context.current.set(cast("context.Scope", request.origin))
    try:
        return _answered(incarnation, request, frame)
    finally:
        context.current.reset(scope)


def _answered(
    incarnation: Incarnation, request: Request, frame: Frame
) -> tuple[bytes, list[Buffer]]:
    callback, session, payload = _find(incarnation, frame)
    in_force = context.in_force(incarnation.client.key, context.here())
    outbound = Outbound(
        incarnation,
        session,
        in_force.id if in_force is not None else None,
        incarnation.client.isolate,
    )
    number = 0
    try:
        if callback is None:
            raise RefNotFoundError("The callback", session.reason or "session released")
        result = callback.fn(*payload["args"], **payload["kwargs"])
        if isinstance(result, CoroutineType):
            result.close()
            raise BridgeUsageError(
                f"{callback!r} is a coroutine function, and a callback's result is wanted at once: "
                "give a plain function"
            )
        status, value = 0, outbound.part([result], None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        number = _note(request, error)
        status, value = 1, _encoded(outbound, error)
        failure = [type(error).__qualname__, _text(error)]
    else:
        failure = ["", ""]
    fields = {"status": status, "error": number, "failure": failure}
    fields["in_force"] = in_force.id if in_force is not None else None
    return join([part(fields), value]), outbound.buffers


def _find(
    incarnation: Incarnation, frame: Frame
) -> tuple[Callback | None, Session, dict[str, Any]]:
    payload = incarnation.loading.load(frame.body)
    with malformed("ask"):
        number, session_id, generation = payload["instance"]
        session = incarnation.client.sessions.by_generation(session_id, generation)
        if session is None or type(payload["args"]) is not list:
            raise LookupError(f"no session {session_id!r}")
        if type(payload["kwargs"]) is not dict:
            raise TypeError("kwargs")
        return session.callbacks.get(number) if session.live else None, session, payload


def _note(request: Request, error: BaseException) -> int:
    """Remember what a callback raised, so that it comes out of the call as itself."""
    number = next(numbers)
    request.errors[number] = error
    return number


def _encoded(outbound: Outbound, error: BaseException) -> Any:
    try:
        return outbound.part([error], None)
    except EncodeError:
        return part({"args": [None]})


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its text cannot be had: {type(broken).__name__})"
