"""The class of a handle: it has the special methods of the type that it stands for.

For each remote type a class is made once, named `Ref` (or `StreamRef`), with that type's members as
functions, so that help and completion need nothing from the worker. What becomes of each special
method of the language:

    of the type, there, in one trip
        < <= == != > >=                             as `operator.lt(x, y)`, so that NotImplemented
        + - * @ / // % divmod ** << >> & ^ |        and reflected forms behave as they do there
        += -= … (the object itself, if it is changed in place)
        neg pos abs invert  round trunc floor ceil
        bool  int float complex  index (integers)  bytes  fspath
        len length_hint  contains  getitem setitem delitem  iter next reversed
        call  enter exit  await aenter aexit  aiter anext  replace
    of every object, there, in one trip
        getattr setattr delattr (public names)  str format  copy deepcopy (a ref again)
    as Python falls back, here, on those above
        bool on len; != on ==; += on +; float, complex on index; floor, ceil on float
        iter on getitem, reversed on getitem and len (a trip for each item)
        contains on iter or getitem would be a trip for each item: it is asked there, in one
    of the handle, here, without a trip
        repr hash dir sizeof  class doc module  reduce (see `tokens`)
        get set delete: a handle is no descriptor, so a class that holds one reads it as it is
        `match` takes it for no sequence, mapping or class; hints and `isinstance` see a Ref
    refused here, with what to do instead
        names with a leading underscore, `__match_args__`, `__dict__` and the like among them
        index of what is no integer, bytes without `__bytes__`, buffer, array and its kin: data
        array_function: a function of numpy; instancecheck subclasscheck mro_entries: a class
        init of a handle

A type that sets one of them to None refuses what Python would fall back on, and so do its handles.
A reflected form goes with each binary operator, though `[1] + [2]` needs none: the interpreter
knows both lists, and here it knows one. The handle of a class can be subscripted (`list[int]`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .blocks import aenter, aleave, awaited, enter, leave
from .handles import Ref, run, value
from .members import stubs
from .streams import StreamRef
from .surface import hide_frames, surface
from .wire.limits import MAX_DOC
from .wire.naming import clean, clean_text
from .wire.specials import BINARY, COMPARISONS, ITEMS, NUMBERS, REFUSED, SPECIALS, UNARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _ask(module: str, name: str, fetch: bool | None = None) -> Callable[..., Any]:
    """Runs a function there; its result is anything."""

    def special(self: Ref, *args: Any) -> Any:
        try:
            return run(self, module, name, self, *args, fetch=fetch)
        except (Exception, KeyboardInterrupt) as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return special


def _ask_value(module: str, name: str) -> Callable[..., Any]:
    """Runs a function there whose result Python wants as plain data."""

    def special(self: Ref, *args: Any) -> Any:
        return value(self, module, name, self, *args)

    return surface(special)


def _reflected(operator: str) -> Callable[..., Any]:
    module, name = _function_of(operator)

    def special(self: Ref, other: Any, *modulus: Any) -> Any:
        target = other if isinstance(other, Ref) else self
        return run(target, module, name, other, self, *modulus)

    return surface(special)


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
        except (Exception, KeyboardInterrupt) as error:
            __tracebackhide__ = hide_frames(error)
            raise

    return special


_MATH = ("trunc", "floor", "ceil")
_MAKERS: dict[str, Callable[..., Any]] = {
    **{f"__{n}__": _ask(*_function_of(n)) for n in BINARY},
    **{f"__r{n}__": _reflected(n) for n in BINARY},
    **{f"__i{n}__": _ask("operator", "i" + n, False) for n in BINARY if n != "divmod"},
    **{f"__{n}__": _ask("operator", n) for n in [*COMPARISONS, *UNARY, *ITEMS]},
    **{f"__{n}__": _ask("math", n) for n in _MATH},
    **{f"__{n}__": _ask_value("builtins", n) for n in NUMBERS if n not in (*_MATH, "index")},
    **{f"__{n}__": _ask_value("builtins", n) for n in ("bool", "bytes", "len")},
    **{f"__{n}__": _ask_value("operator", n) for n in ("index", "contains", "length_hint")},
    "__round__": _ask("builtins", "round"),
    "__iter__": _ask("builtins", "iter", False),
    "__reversed__": _ask("builtins", "reversed", False),
    "__fspath__": _ask_value("os", "fspath"),
    "__call__": _named(""),
    "__replace__": _named("__replace__"),
    "__enter__": enter,
    "__exit__": leave,
    "__await__": awaited,
    "__aenter__": aenter,
    "__aexit__": aleave,
}
for _special in _MAKERS.values():
    _special.__annotations__ = {}  # completers would take `Any` for the class of the result
_STREAMS_OWN = {"__iter__", "__length_hint__"}
"""What a stream does itself; a hint would be a trip that `list` makes for each."""


def special_methods(specials: Iterable[str], kind: str) -> dict[str, Any]:
    """The special methods of a handle.

    Args:
        specials: those of its type, and behind `REFUSED` those that it sets to None.
        kind: "class", "function" or "object".
    """
    has = {name for name in specials if name in _MAKERS}
    refused = {name[len(REFUSED) :] for name in specials if name.startswith(REFUSED)} & SPECIALS
    if has & {"__iter__", "__getitem__"}:
        has.add("__contains__")
    has |= {f"__r{n}__" for n in BINARY if f"__{n}__" in has}
    if kind == "class" and "__getitem__" not in has:
        has.add("__getitem__")
        refused |= {"__iter__"} - has  # Python would take whatever can be subscripted
    if "__next__" in specials:
        has -= _STREAMS_OWN
    return {**{name: _MAKERS[name] for name in has}, **dict.fromkeys(refused)}


def make_class(record: list[Any]) -> type[Ref]:
    """The handle class for a type record of a worker (see `introspect.type_record`)."""
    _, name, module, kind, specials, doc, members = record
    space: dict[str, Any] = {
        "__slots__": (),
        "__module__": "bridge_ext",
        "__doc__": clean_text(
            f"A ref on {clean(module)}.{clean(name)}.\n\n{(doc or '')[:MAX_DOC]}"
        ),
        "_bridge_type": clean(name.rpartition(".")[2]),
        "_bridge_module": clean(module),
        "_bridge_callable": kind != "object",
        "__hash__": Ref.__hash__,
    }
    space.update(stubs(members, kind, specials))
    space.update(special_methods(specials, kind))
    if "__await__" in space:  # or asyncio would take it for a coroutine, and step it from here
        space = {name: made for name, made in space.items() if name not in ("send", "throw")}
    base = StreamRef if {"__next__", "__anext__"} & {*specials} else Ref
    return type(base.__name__, (base,), space)
