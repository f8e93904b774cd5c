"""One request, before it is resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .backends.base import Late, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .incarnation import Incarnation
    from .options import Options
    from .refs import RefState
    from .session import Session
    from .wire.payload import Part


class Call(Request):
    """What one request asks for.

    Args:
        type: the payload's call type.
        name: what is called, for error messages.
        start: the payload's own fields.
        args, kwargs: to be encoded; None where the call type has none.
        target: the ref that the call is on.
        options: runtime options bound to the call.
        fetch: what becomes of the result, whatever the options say.
        helper: the helper that must be known to the worker.
        patience: seconds after which the caller gives up, and nothing is harmed.
        late: what becomes of it then.

    Attributes:
        also, raw_buffers: sessions that it names beside its own, and buffers that its start
            refers to; a batch has them.
        made_for: the only worker that can take it, if it was encoded before it was sent.
        fetched: what becomes of the result, options considered.
        view: whether what is fetched may be read where the worker has put it.
        whole: whether it is not to be sent as a prepared call.
        repeated, asked_again: whether it was sent again, after a death or a session's end.
    """

    __slots__ = (
        "also",
        "args",
        "asked_again",
        "fetch",
        "fetched",
        "has_refs",
        "kwargs",
        "made_for",
        "name",
        "options",
        "patience",
        "raw_buffers",
        "repeated",
        "start",
        "target",
        "type",
        "view",
        "whole",
    )

    def __init__(
        self,
        type: str,
        name: str,
        start: Part,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        target: RefState | None = None,
        options: Options | None = None,
        fetch: bool | None = None,
        helper: str | None = None,
        patience: float | None = None,
        late: Late = Late.STOP,
    ) -> None:
        self.type = type
        self.name = name
        self.start = start
        self.args = args
        self.kwargs = kwargs
        self.target = target
        self.options = options
        self.fetch = fetch
        self.helper = helper
        self.patience = patience
        self.late = late
        self.has_refs = target is not None
        self.fetched = fetch
        self.view = False
        self.session = None
        self.also: Sequence[Session] = ()
        self.raw_buffers: Sequence[Any] = ()
        self.made_for: Incarnation | None = None
        self.repeated = self.asked_again = False
        self._errors = None
        self.prepared = None
        self.whole = False

    @property
    def text(self) -> str:
        """The call for an error message."""
        if self.target is None:
            return self.name
        if self.type == "method" and not self.name:
            return f"a call of {self.target.text()}"
        if self.type in ("method", "get_attr", "set_attr"):
            return f"{self.target.type_name}.{self.name}"
        return f"{self.name}({self.target.text()})"
