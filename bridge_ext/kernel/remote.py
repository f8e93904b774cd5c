"""What handles and the bridge ask of a worker: each call path as one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .call import Call
from .custody import Custodian
from .display import allowed, display_options
from .errors import BridgeUsageError
from .handles import ModuleFunction, Ref
from .incarnation import Incarnation
from .model import Options
from .paths import parse, start_by_path, start_in_module
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


class Remote(Custodian):
    """A client with every call path."""

    def incarnate(self, connection: Connection) -> Incarnation:
        """The books of a fresh worker."""
        return Incarnation(self, connection)

    # ------------------------------------------------------------ by path
    def by_path(
        self,
        call_type: str,
        path: str,
        args: Args,
        kwargs: Kwargs,
        options: Options | None,
    ) -> Any:
        """Call a function ("dynamic"), make an instance ("class") or a stream ("stream")."""
        try:
            begin = start_by_path(call_type, path)
        except TypeError:
            parse(path)  # not hashable, so it says that this is no path
            raise
        return self.request(Call(call_type, path, begin, args, kwargs, None, options))

    def attribute_by_path(self, path: str, options: Options | None) -> Any:
        """Read a module's attribute."""
        begin = start_by_path("module_attr", path, "attr")
        return self.request(Call("module_attr", path, begin, options=options))

    def helper(self, name: str, args: Args, kwargs: Kwargs, options: Options | None) -> Any:
        """Run a registered helper."""
        begin = start("helper", {"helper": name})
        call = Call("helper", f"helper {name}", begin, args, kwargs, options=options, helper=name)
        return self.request(call)

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
    def method(
        self,
        state: RefState,
        name: str,
        args: Args,
        kwargs: Kwargs,
        options: Options | None = None,
    ) -> Any:
        """Call a method of a ref; an empty name calls the object itself."""
        begin = start("method", {"function": name, "instance": state.wire()})
        return self.request(Call("method", name, begin, args, kwargs, state, options))

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

    def get_attr(self, state: RefState, name: str, options: Options | None = None) -> Any:
        """Read an attribute of a ref."""
        begin = start("get_attr", {"instance": state.wire(), "attr": name})
        return self.request(Call("get_attr", name, begin, target=state, options=options))

    def set_attr(
        self, state: RefState, name: str, value: Any, options: Options | None = None
    ) -> None:
        """Set an attribute of a ref."""
        begin = start("set_attr", {"instance": state.wire(), "attr": name})
        self.request(Call("set_attr", name, begin, [value], target=state, options=options))

    def stream_next(self, state: RefState) -> Any:
        """The next item of a stream.

        Raises:
            StopIteration: there is none.
        """
        begin = start("stream_next", {"stream_ref": state.wire()})
        return self.request(Call("stream_next", "next", begin, target=state))

    def put(self, obj: Any, options: Options | None) -> Any:
        """Ship an object by value; a ref on it."""
        return self.request(Call("put", "put", start("put", {}), [obj], options=options))

    def fetch(self, state: RefState, options: Options | None) -> Any:
        """A copy of a ref's object."""
        begin = start("fetch", {"args": [state.wire()]})
        return self.request(Call("fetch", "fetch", begin, target=state, options=options))

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

    def display(self, state: RefState) -> dict[str, str]:
        """What a ref shows, or its inert text where asking would wait or fail."""
        plain = {"text/plain": state.text()}
        incarnation = self.incarnation
        if state.ended() or incarnation is None or state.incarnation is not incarnation:
            return plain
        if incarnation.connection.in_flight:
            return plain
        begin = start("display", {"args": [state.wire(), display_options()]})
        call = Call("display", "display", begin, target=state, patience=_PATIENCE)
        try:
            shown = self.request(call)
        except Exception:
            return plain
        return {**plain, **allowed(shown)}
