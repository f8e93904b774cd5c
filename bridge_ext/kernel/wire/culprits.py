"""What in an object cannot be pickled, and the path that leads there."""

from __future__ import annotations

import types
from collections import deque

from .pickling import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_LONGEST = 300
"""Characters of a path; a deeper one says nothing more to a reader."""


def locate(
    x: Any,
    where: str,
    persistent: Callable[[Any], Any],
    reduce: Callable[[Any], Any] | None = None,
) -> tuple[str, Any]:
    """The path and the object at which pickling `x` fails.

    The pickler asks for the persistent id of every object that it comes to, so the last one that
    it asked for is the culprit.

    Args:
        x: what cannot be pickled.
        where: its own path.
        persistent: as for `pickling.dump`.
        reduce: likewise.

    Returns:
        `where` and `x` themselves if the culprit is made only while pickling.
    """
    met: dict[int, Any] = {}
    last = x

    def note(obj: Any) -> Any:
        nonlocal last
        last = met[id(obj)] = obj
        stands_for_it = persistent(obj)
        if stands_for_it is not None:
            del met[id(obj)]  # what it holds does not travel
        return stands_for_it

    try:
        dump(x, note, None, reduce)
    except Exception:
        path = _path(x, last, met)
        if path is not None and len(path) < _LONGEST:
            return where + path, last
    return where, x


def _path(x: Any, culprit: Any, met: dict[int, Any]) -> str | None:
    """The shortest path from `x` to the culprit over objects that the pickler has met."""
    seen = {id(x)}
    queue = deque([("", x)])
    while queue:
        path, obj = queue.popleft()
        if obj is culprit:
            return path
        for step, part in _parts(obj):
            if id(part) in met and id(part) not in seen:
                seen.add(id(part))
                queue.append((path + step, part))
    return None


def _parts(x: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object, each with the step that leads to it."""
    if isinstance(x, dict):
        for key, value in dict.items(x):
            yield f"[{_short(key)}]", value
            yield f" key {_short(key)}", key
    elif isinstance(x, (list, tuple, deque)):
        yield from ((f"[{i}]", part) for i, part in enumerate(x))
    elif isinstance(x, (set, frozenset)):
        yield from (("{...}", part) for part in x)
    elif isinstance(x, types.FunctionType):
        yield from _parts_of_function(x)
    if isinstance(x, type):
        yield from ((f".{name}", member) for name, member in vars(x).items())
        yield from ((".__bases__", base) for base in x.__bases__)
    else:
        yield from _parts_of_instance(x)


def _parts_of_function(fn: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield f".__closure__[{name!r}]", cell.cell_contents
        except ValueError:  # it is empty
            continue
    known = fn.__globals__
    yield from ((f".__globals__[{k!r}]", known[k]) for k in _names(fn.__code__) if k in known)
    yield from ((f".__defaults__[{i}]", v) for i, v in enumerate(fn.__defaults__ or ()))
    yield from ((f".__kwdefaults__[{k!r}]", v) for k, v in (fn.__kwdefaults__ or {}).items())
    yield ".__annotations__", fn.__annotations__


def _names(code: types.CodeType) -> set[str]:
    """The global names that a function uses, and those of the functions within it."""
    inner = [c for c in code.co_consts if type(c) is types.CodeType]
    return set(code.co_names).union(*map(_names, inner))


def _parts_of_instance(x: Any) -> Iterator[tuple[str, Any]]:
    try:
        attributes = object.__getattribute__(x, "__dict__")
    except AttributeError:
        attributes = {}
    yield from ((f".{name}", part) for name, part in dict(attributes).items())
    for cls in type(x).__mro__:
        for name, slot in vars(cls).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    yield f".{name}", slot.__get__(x, cls)
                except AttributeError:  # it is empty
                    continue
    yield ".__class__", type(x)


def _short(key: Any) -> str:
    try:
        return repr(key)[:60]
    except Exception:
        return f"<{type(key).__name__}>"
