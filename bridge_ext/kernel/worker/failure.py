"""Exceptions as data: what a kernel needs to raise the user's exception again.

    [module, qualname, args, attributes, text, traceback, kind]

`kind` is "own" for the bridge's errors (name and arguments suffice), "exception" for the rest,
and "other" for what is no Exception (SystemExit, KeyboardInterrupt). Nothing in it is a ref, so
that an error never holds an object.
"""

from __future__ import annotations

import traceback

from ..errors import BridgeError
from ..wire.codec import Lowering, TooLarge, pack
from ..wire.limits import MAX_TEXT
from .introspect import module_of, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NUMBER = "_bridge_number"
"""Attribute of an exception that a callback has raised: by it the kernel knows its own again."""
_BUDGET = 1 << 20
"""Bytes of an exception's arguments and of its attributes; beyond it they travel as text."""


def encode_failure(error: BaseException, hidden: frozenset[str] = frozenset()) -> list[Any]:
    """An exception as plain data; frames of files in `hidden` are left out of its traceback."""
    if isinstance(error, BridgeError) and name_of(type(error)) in _OWN:
        args, number = _plain(list(error.args)), _number(error)
        return ["", name_of(type(error)), args, number, str(error), "", "own"]
    kind = "exception" if isinstance(error, Exception) else "other"
    return [
        module_of(type(error)),
        name_of(type(error)),
        _plain(_arguments(error)),
        {**_plain(_attributes(error)), **_number(error)},
        _text(error),
        _traceback(error, hidden),
        kind,
    ]


def _own_names() -> frozenset[str]:
    from ..errors import OWN

    return frozenset(OWN)


_OWN = _own_names()


def _attributes(error: BaseException) -> dict[str, Any]:
    found = getattr(error, "__dict__", {})
    out = {k: v for k, v in dict(found).items() if type(k) is str and not k.startswith("__")}
    if isinstance(error, (AttributeError, NameError, ImportError)) and type(error.name) is str:
        out["name"] = error.name
    return out


def _number(error: BaseException) -> dict[str, Any]:
    number = error.__dict__.get(NUMBER)
    return {} if number is None else {NUMBER: number}


def _arguments(error: BaseException) -> list[Any]:
    """What to make it of again; an OSError keeps its file names elsewhere."""
    if isinstance(error, OSError) and error.filename is not None and len(error.args) == 2:
        return [*error.args, error.filename, None, error.filename2]
    return list(error.args)


def _plain(value: Any) -> Any:
    """The value with every leaf as text, ready to be packed; as text itself where it is huge."""
    low = Lowering(_leaf, _leaf, _BUDGET)
    try:
        lowered = low.lower(value)
        pack(lowered)
    except TooLarge:
        return [f"({type(value).__name__} too large to travel)"] if type(value) is list else {}
    return lowered


def _leaf(obj: Any) -> str:
    return f"<{name_of(type(obj))} object>"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except Exception as broken:
        return f"(its text cannot be had: {type(broken).__name__})"


def _traceback(error: BaseException, hidden: frozenset[str]) -> str:
    """The formatted remote traceback, cause and context included."""
    try:
        made = traceback.TracebackException.from_exception(error, compact=True)
        seen: set[int] = set()
        todo = [made]
        while todo:
            one = todo.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            kept = [f for f in one.stack if f.filename not in hidden]
            one.stack = traceback.StackSummary.from_list(kept)
            todo += [x for x in (one.__cause__, one.__context__) if x is not None]
        return "".join(made.format())[-MAX_TEXT:]
    except Exception as broken:
        return f"(no traceback: {type(broken).__name__}: {broken})\n"
