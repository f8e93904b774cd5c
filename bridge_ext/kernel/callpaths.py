"""Each call path as one request, whoever carries it: a thread, a future, an awaitable, a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .call import Call
from .paths import parse, start_by_path
from .wire.payload import start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .options import Options
    from .refs import RefState

    Args = Sequence[Any]
    Kwargs = Mapping[str, Any]


T = TypeVar("T")


class CallPaths(ABC, Generic[T]):
    """Makes the calls; `request` carries them."""

    @abstractmethod
    def request(self, call: Call) -> T:
        """Carry a call: its value, or what stands for it."""

    # ------------------------------------------------------------ by path
    def by_path(
        self,
        call_type: str,
        path: str,
        args: Args,
        kwargs: Kwargs,
        options: Options | None,
    ) -> T:
        """Call a function ("dynamic"), make an instance ("class") or a stream ("stream")."""
        return self.request(call_by_path(call_type, path, args, kwargs, options))

    def attribute_by_path(self, path: str, options: Options | None) -> T:
        """Read a module's attribute."""
        begin = start_by_path("module_attr", path, "attr")
        return self.request(Call("module_attr", path, begin, options=options))

    def helper(self, name: str, args: Args, kwargs: Kwargs, options: Options | None) -> T:
        """Run a registered helper."""
        begin = start("helper", {"helper": name})
        call = Call("helper", f"helper {name}", begin, args, kwargs, options=options, helper=name)
        return self.request(call)

    # ------------------------------------------------------------ refs
    def method(
        self,
        state: RefState,
        name: str,
        args: Args,
        kwargs: Kwargs,
        options: Options | None = None,
    ) -> T:
        """Call a method of a ref; an empty name calls the object itself."""
        begin = state.start_of_method(name)
        return self.request(Call("method", name, begin, args, kwargs, state, options))

    def get_attr(self, state: RefState, name: str, options: Options | None = None) -> T:
        """Read an attribute of a ref."""
        begin = start("get_attr", {"instance": state.wire(), "attr": name})
        return self.request(Call("get_attr", name, begin, target=state, options=options))

    def set_attr(self, state: RefState, name: str, value: Any, options: Options | None = None) -> T:
        """Set an attribute of a ref."""
        begin = start("set_attr", {"instance": state.wire(), "attr": name})
        return self.request(Call("set_attr", name, begin, [value], target=state, options=options))

    def put(self, obj: Any, options: Options | None) -> T:
        """Ship an object by value; a ref on it."""
        return self.request(Call("put", "put", start("put", {}), [obj], options=options))

    def fetch(self, state: RefState, options: Options | None, *, view: bool = False) -> T:
        """A copy of a ref's object, whose large buffers may be views of shared memory."""
        begin = start("fetch", {"args": [state.wire()]})
        call = Call("fetch", "fetch", begin, None, None, state, options, True)
        call.view = view
        return self.request(call)


def call_by_path(
    call_type: str, path: str, args: Args, kwargs: Kwargs, options: Options | None
) -> Call:
    """The call of what a path names.

    Raises:
        BridgeUsageError: it is no path.
    """
    try:
        begin = start_by_path(call_type, path)
    except TypeError:
        parse(path)  # not hashable, so it says that this is no path
        raise
    return Call(call_type, path, begin, args, kwargs or _NO_KWARGS, None, options)


_NO_KWARGS: Kwargs = {}
"""Of most calls; the dictionary that a call with `**kwargs` makes goes at once."""
