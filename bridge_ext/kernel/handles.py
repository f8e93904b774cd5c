"""Handles: objects that stand for objects in a worker.

A handle has no public names of its own; what the bridge does with it are functions of the bridge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .completion import Place, names, signature_of
from .onlookers import onlooker
from .operations import by_rule, operation
from .surface import surface
from .tokens import reduced
from .wire.naming import clean

if TYPE_CHECKING:
    from inspect import Signature

    from .refs import RefState


class Ref:
    """A handle on one object in one session of a worker.

    Every name without a leading underscore is the remote object's. `repr`, `hash`, `dir` and
    completion run none of its code; operators, indexing, iteration, calls and `with` do, there.
    A ref is freed with its last handle, unless it is kept.
    """

    __slots__ = ("__weakref__", "_bridge_state")
    _bridge_state: RefState

    def __new__(cls, *args: Any, **kwargs: Any) -> Ref:
        """Refuse: handles come from calls."""
        raise TypeError("a ref is made by a call of a bridge, such as bridge.new('list')")

    def __repr__(self) -> str:
        return self._bridge_state.text()

    def __dir__(self) -> list[str]:
        place = Place(self._bridge_state.client, self._bridge_state)
        members: tuple[str, ...] = getattr(type(self), "_bridge_members", ())
        return [*dict.fromkeys((*members, *(name for name, _ in names(place))))]

    def __hash__(self) -> int:
        return object.__hash__(self)

    @surface
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(
                f"{name!r} is not read through a ref, because names with a leading underscore are "
                f"its own; bridge.get(ref, {name!r}) reads it remotely",
                name=name,
            )
        if onlooker():
            raise AttributeError(
                f"{name!r} is in the worker, and is not read to be shown", name=name
            )
        state = self._bridge_state
        return state.client.get_attr(state, name)

    @surface
    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise AttributeError(
                f"{name!r} is not set through a ref; bridge.set(ref, {name!r}, value) does it",
                name=name,
            )
        state = self._bridge_state
        state.client.set_attr(state, name, value)

    @surface
    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is not deleted through a ref", name=name)
        run(self, "builtins", "delattr", self, name)

    @surface
    def __str__(self) -> str:
        return repr(self) if onlooker() else _text(self, "str")

    @surface
    def __format__(self, spec: str) -> str:
        return repr(self) if onlooker() else _text(self, "format", spec)

    @surface
    def __copy__(self) -> Ref:
        copied: Ref = run(self, "copy", "copy", self, fetch=False)
        return copied

    @surface
    def __deepcopy__(self, memo: object) -> Ref:
        copied: Ref = run(self, "copy", "deepcopy", self, fetch=False)
        return copied

    @surface
    def __reduce_ex__(self, protocol: object) -> Any:
        return reduced(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        state = self._bridge_state
        return state.client.display(state, include, exclude)

    # Nothing may pull the data over item by item without being asked to. The first two leave the
    # operators of numpy and pandas to the handle, which runs them there.
    __array_ufunc__ = None
    __pandas_priority__ = 10_000  # a DataFrame's is 4,000

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = f"{fn.__module__}.{fn.__name__}"
        raise TypeError(
            f"{name} runs here, and {self!r} is in the worker. bridge.call({name!r}, ...) runs it "
            "there; bridge.fetch(ref) brings a copy here"
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise _must_fetch(self, "an array")

    def __dataframe__(self, *args: Any, **kwargs: Any) -> Any:
        raise _must_fetch(self, "a data frame")

    def __arrow_array__(self, *args: Any, **kwargs: Any) -> Any:
        raise _must_fetch(self, "an Arrow array")

    def __arrow_c_stream__(self, *args: Any, **kwargs: Any) -> Any:
        raise _must_fetch(self, "an Arrow stream")

    def __buffer__(self, flags: int) -> memoryview:
        raise _must_fetch(self, "a buffer")

    def __bytes__(self) -> bytes:
        raise _must_fetch(self, "bytes")

    def __index__(self) -> int:
        raise _must_fetch(self, "an index")

    # A class in the worker is none here.
    def __instancecheck__(self, instance: object) -> bool:
        raise _no_class(self, "isinstance")

    def __subclasscheck__(self, subclass: object) -> bool:
        raise _no_class(self, "issubclass")

    def __mro_entries__(self, bases: object) -> Any:
        raise TypeError(
            f"{self!r} is in the worker, and a class here cannot inherit from it; define the class "
            "in a module that the worker imports"
        )


class Module:
    """A handle on a module in the worker: no ref, no session.

    Calling a name calls that function there; reading a name that is no function reads it.
    """

    __slots__ = ("_bridge_client", "_bridge_name")

    def __init__(self, client: Any, name: str) -> None:
        object.__setattr__(self, "_bridge_client", client)
        object.__setattr__(self, "_bridge_name", name)

    def __repr__(self) -> str:
        return f"<module {clean(self._bridge_name)!r} in the worker>"

    @surface
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(
                f"{name!r} is not read through a module handle; "
                f"bridge.attr('{self._bridge_name}.{name}') reads it",
                name=name,
            )
        if onlooker():
            raise AttributeError(
                f"{name!r} is in the worker, and is not read to be shown", name=name
            )
        return self._bridge_client.module_member(self._bridge_name, name)

    @surface
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"modules are not changed through a handle; call 'builtins.setattr' on "
            f"{self._bridge_name!r} in the worker instead",
            name=name,
        )

    def __dir__(self) -> list[str]:
        return [name for name, _ in names(Place(self._bridge_client, self._bridge_name))]

    def __eq__(self, other: object) -> bool:
        return type(other) is Module and (other._bridge_client, other._bridge_name) == (
            self._bridge_client,
            self._bridge_name,
        )

    def __hash__(self) -> int:
        return hash((id(self._bridge_client), self._bridge_name))


class ModuleFunction:
    """A function of a module handle; calling it is one trip."""

    __slots__ = ("_bridge_client", "_bridge_module", "_bridge_name")

    def __init__(self, client: Any, module: str, name: str) -> None:
        self._bridge_client, self._bridge_module, self._bridge_name = client, module, name

    def __repr__(self) -> str:
        return f"<function {clean(self._bridge_module)}.{clean(self._bridge_name)} in the worker>"

    @surface
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it, in the worker."""
        return self._bridge_client.call_function(
            self._bridge_module, self._bridge_name, args, kwargs
        )

    @surface
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or onlooker():
            raise AttributeError(name)
        return self._bridge_client.module_member(self._bridge_module, f"{self._bridge_name}.{name}")

    def _bridge_place(self) -> Place:
        return Place(self._bridge_client, self._bridge_module, tuple(self._bridge_name.split(".")))

    def __dir__(self) -> list[str]:
        return [name for name, _ in names(self._bridge_place())]

    @property
    def __signature__(self) -> Signature:
        return signature_of(self._bridge_place())


def _text(ref: Ref, function: str, *spec: str) -> str:
    if ref._bridge_state.ended() and not any(spec):
        return repr(ref)  # printing what is gone says how it went
    text = value(ref, "builtins", function, ref, *spec)
    return text if type(text) is str else repr(ref)


def _must_fetch(ref: Ref, what: str) -> TypeError:
    return TypeError(
        f"{ref!r} is in the worker and is not turned into {what} silently. "
        "bridge.fetch(ref) brings a copy here; or call the function there, with bridge.call"
    )


def _no_class(ref: Ref, check: str) -> TypeError:
    return TypeError(
        f"{ref!r} is in the worker, and {check} does not see what is there; "
        f"bridge.call({check!r}, x, ref) asks it there"
    )


def run(target: Ref, module: str, name: str, *args: Any, fetch: bool | None = None) -> Any:
    """Run a function of the standard library on `target`, in the worker."""
    if onlooker():
        return told(target, name)
    state = target._bridge_state
    return state.client.operate(state, module, name, args, fetch)


def value(target: Ref, module: str, name: str, *args: Any) -> Any:
    """The same, where Python wants plain data: a truth, a length, a text. The options do not count.

    What is no plain data is a ref, which Python then refuses.
    """
    if onlooker():
        return told(target, name)
    state = target._bridge_state
    return state.client.request(operation(state, module, name, args, options=by_rule()))


def told(target: Ref, name: str) -> Any:
    """What an onlooker gets instead of a special method's result: that of a plain object.

    Raises:
        TypeError: plain objects have no such method.
    """
    if name in ("str", "format"):
        return target._bridge_state.text()
    if name == "bool":
        return True
    if name in ("lt", "le", "eq", "ne", "gt", "ge"):
        return NotImplemented
    raise TypeError(f"{target!r} is in the worker, and is not asked for {name!r} to be shown")


def new_handle(cls: type[Ref], state: RefState) -> Ref:
    """A handle of a class for a state."""
    handle = object.__new__(cls)
    object.__setattr__(handle, "_bridge_state", state)
    return handle
