"""The control channel: what is asked of a worker while a call may be running."""

from __future__ import annotations

from ..errors import ProtocolError
from ..wire.codec import pack
from ..wire.failure import encode_failure
from ..wire.heads import request_head
from ..wire.loading import malformed, plain
from .holding import SessionEnded, Spec
from .views import ref_rows, session_rows
from .watching import look, measure_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..wire.framing import Frame
    from .dispatcher import Dispatcher


class Control:
    """Answers requests of the control channel, one at a time.

    A request is a payload that either channel may bring (see `Dispatcher.anywhere`), or a map of
    `control`, one of the verbs below, and `args`.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def answer(self, frame: Frame) -> tuple[bytes, bytes]:
        """Serve one frame; `(head, body)` of the reply."""
        call_id = request_head(frame.head)[0]
        try:
            payload = plain.load(frame.body)
            verb = payload.get("control") if type(payload) is dict else None
            if verb is None:
                body = self._dispatcher.anywhere(payload)
            else:
                with malformed("control request"):
                    body = pack([0, self._verb(verb, payload.get("args", []))])
        except SessionEnded as ended:
            body = pack([3, ended.reason])
        except Exception as error:
            body = pack([1, encode_failure(error, self._dispatcher.hidden)])
        return pack([call_id, None]), body

    def _verb(self, verb: str, args: list[Any]) -> Any:
        store = self._dispatcher.store
        if verb == "ping":
            return True
        if verb == "status":
            return self._dispatcher.status()
        if verb == "look":
            number, most = args
            return [self._dispatcher.status(), *look(store, number, most, self._dispatcher.begun)]
        if verb == "previews":
            from .previews import previews

            return previews(store, args[0])
        if verb == "sessions":
            measure_session(store, None, self._dispatcher.begun)
            return store.view(session_rows)
        if verb == "refs":
            measure_session(store, args[0], self._dispatcher.begun)
            return store.view(lambda sessions, refs: ref_rows(sessions, refs, args[0]))
        if verb == "survey":
            from ..wire.survey import survey  # rarely asked

            return survey(*args)
        if verb == "limit":
            return store.limit(Spec(*args))
        if verb == "cancel":
            return self._dispatcher.cancel(*args)
        from .looking import LOOKS

        if verb in LOOKS:
            return LOOKS[verb](store, *args)
        raise ProtocolError(f"unknown control request {verb!r}")
