"""What handles and the bridge ask of a worker: each call path as one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .backends.base import Late
from .call import Call
from .callpaths import CallPaths
from .custody import Custodian
from .display import allowed, wanted
from .errors import BridgeUsageError
from .handles import ModuleFunction, Ref
from .incarnation import Incarnation
from .options import Options
from .paths import start_in_module
from .wire.payload import start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .backends.base import Connection
    from .refs import RefState

    Args = Sequence[Any]
    Kwargs = Mapping[str, Any]

_PATIENCE = 2.0
"""Seconds a display may take before the inert text is shown instead."""
_NONE: Mapping[str, Any] = {}


class Remote(Custodian, CallPaths[Any]):
    """A client with every call path, in the calling thread."""

    def incarnate(self, connection: Connection) -> Incarnation:
        """The books of a fresh worker."""
        return Incarnation(self, connection)

    # ------------------------------------------------------------ module handles
    def call_function(
        self, module: str, name: str, args: Args, kwargs: Kwargs, options: Options | None = None
    ) -> Any:
        """Call a function through a module handle."""
        begin = start_in_module("function", module, name)
        return self.request(
            Call("function", f"{module}.{name}", begin, args, kwargs, None, options)
        )

    def module_member(self, module: str, name: str) -> Any:
        """A name of a module handle: something to call, a value, a ref or a module."""
        begin = start_in_module("module_attr", module, name, "attr")
        value = self.request(Call("module_attr", f"{module}.{name}", begin))
        if getattr(type(value), "_bridge_callable", False):
            return ModuleFunction(self, module, name)
        return value

    # ------------------------------------------------------------ refs
    def operate(
        self, state: RefState, module: str, name: str, args: Args, fetch: bool | None
    ) -> Any:
        """Run a function of the standard library on a ref."""
        begin = start(
            "function",
            {
                "library": module,
                "python_module": module,
                "function": name,
                "instance": state.wire(),
            },
        )
        return self.request(Call("function", name, begin, args, _NONE, state, fetch=fetch))

    def stream_call(self, state: RefState, most: int, position: int) -> Call:
        """The call for items of a stream, from a position on: `[position, items, end]`."""
        state.check()
        fields = {"stream_ref": state.name(), "args": [most, position]}
        return Call("stream_next", "next", start("stream_next", fields), target=state)

    def keep(self, state: RefState, name: str) -> None:
        """Name a ref in its session."""
        begin = start("keep", {"args": [state.wire(), name]})
        self.request(Call("keep", "keep", begin, target=state))

    def kept(self, options: Options | None) -> dict[str, Ref]:
        """Name to ref, of the session that resolves."""
        named: dict[str, Ref] = self.request(
            Call("kept", "kept", start("kept", {"args": []}), options=options)
        )
        return named

    def move(self, handle: Ref, session_id: str) -> Ref:
        """Re-home a ref."""
        state = handle._bridge_state
        state.check()
        if state.client is not self:
            raise BridgeUsageError(f"{handle!r} belongs to another bridge")
        begin = start("move", {"args": [state.wire()]})
        moved = self.request(Call("move", "move", begin, options=Options(session=session_id)))
        home = moved._bridge_state
        if home is not state:
            state.incarnation.refs.merge(state, home)
        result: Ref = moved
        return result

    def display(self, state: RefState, include: Any = None, exclude: Any = None) -> Any:
        """What a ref shows, or its inert text where asking would wait or fail.

        As `_repr_mimebundle_` has it: the data, or a tuple of data and metadata if there is any.
        """
        plain = {"text/plain": state.text()}
        incarnation = self.incarnation
        if state.ended() or incarnation is None or state.incarnation is not incarnation:
            return plain
        if incarnation.connection.in_flight:
            return plain
        begin = start("display", {"args": [state.wire(), wanted(include, exclude)]})
        call = Call("display", "display", begin, None, None, state, None, False)
        call.patience, call.late = _PATIENCE, Late.DROP
        try:
            data, metadata = allowed(*self.request(call))
        except Exception:
            return plain
        data = {**plain, **data}
        return (data, metadata) if metadata else data
