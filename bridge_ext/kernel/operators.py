"""The class of a handle: it has exactly the special methods of the type that it stands for.

For each remote type a class is made once, named `Ref` (or `StreamRef`), with that type's members as
functions, so that help and completion need nothing from the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import EncodeError
from .handles import Ref, run
from .members import stubs
from .streams import StreamRef
from .surface import hide_frames, surface
from .wire.naming import clean, clean_text
from .wire.specials import BINARY

if TYPE_CHECKING:
    from collections.abc import Callable


def _unary(module: str, name: str, fetch: bool | None = None) -> Callable[..., Any]:
    def special(self: Ref, *args: Any) -> Any:
        try:
            return run(self, module, name, self, *args, fetch=fetch)
        except Exception as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return special


def _reflected(name: str) -> Callable[..., Any]:
    def special(self: Ref, other: Any) -> Any:
        try:
            return run(self, *_function_of(name), other, self)
        except Exception as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return special


def _function_of(operator: str) -> tuple[str, str]:
    """Where the function of a binary operator is."""
    if operator in ("divmod", "pow"):
        return "builtins", operator
    return "operator", {"and": "and_", "or": "or_"}.get(operator, operator)


def _named(name: str) -> Callable[..., Any]:
    def special(self: Ref, /, *args: Any, **kwargs: Any) -> Any:
        state = self._bridge_state
        try:
            return state.client.method(state, name, args, kwargs)
        except Exception as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return special


@surface
def _exit(self: Ref, kind: Any, error: Any, traceback: Any) -> Any:
    """Leave a remote context; a traceback cannot travel, and not every exception can."""
    state = self._bridge_state
    try:
        return bool(state.client.method(state, "__exit__", (kind, error, None), {}))
    except EncodeError:
        plain = next(c for c in kind.__mro__ if c.__module__ == "builtins")
        stand_in = (plain, plain(str(error)), None)
        return bool(state.client.method(state, "__exit__", stand_in, {}))


_MAKERS: dict[str, Callable[..., Any]] = {
    **{f"__{n}__": _unary(*_function_of(n)) for n in BINARY},
    **{f"__r{n}__": _reflected(n) for n in BINARY},
    **{f"__i{n}__": _unary("operator", "i" + n, False) for n in BINARY if n != "divmod"},
    **{f"__{n}__": _unary("operator", n) for n in ("lt", "le", "eq", "ne", "gt", "ge")},
    **{f"__{n}__": _unary("operator", n) for n in ("neg", "pos", "abs", "invert", "index")},
    **{f"__{n}__": _unary("operator", n) for n in ("contains", "getitem", "setitem", "delitem")},
    **{f"__{n}__": _unary("math", n) for n in ("trunc", "floor", "ceil")},
    **{
        f"__{n}__": _unary("builtins", n)
        for n in ("int", "float", "complex", "bool", "bytes", "len", "round")
    },
    "__length_hint__": _unary("operator", "length_hint"),
    "__iter__": _unary("builtins", "iter", False),
    "__reversed__": _unary("builtins", "reversed", False),
    "__call__": _named(""),
    "__enter__": _named("__enter__"),
    "__exit__": _exit,
}
for _special in _MAKERS.values():
    _special.__annotations__ = {}  # completers would take `Any` for the class of the result
_STREAMS_OWN = ("__iter__", "__length_hint__")
"""What a stream does itself; a hint would be a trip that `list` makes for each."""


def make_class(record: list[Any]) -> type[Ref]:
    """The handle class for a type record of a worker (see `introspect.type_record`)."""
    _, name, module, kind, specials, doc, members = record
    stream = "__next__" in specials
    space: dict[str, Any] = {
        "__slots__": (),
        "__module__": "bridge_ext",
        "__doc__": clean_text(f"A ref on {module}.{name}.\n\n{doc or ''}"),
        "_bridge_type": clean(name.rpartition(".")[2]),
        "_bridge_module": clean(module),
        "_bridge_callable": kind != "object",
        "__hash__": Ref.__hash__,
    }
    space.update(stubs(members, kind, specials))
    for special in specials:
        if special in _MAKERS and not (stream and special in _STREAMS_OWN):
            space[special] = _MAKERS[special]
    base = StreamRef if stream else Ref
    return type(base.__name__, (base,), space)
