"""Which names of a notebook hold a handle: the user's variables, `Out`, the last traceback.

Containers are searched one level deep. Nothing is called or compared by value.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from IPython.core.interactiveshell import InteractiveShell

    from .kernel.handles import Ref

_MOST = 10_000
"""Items of one container that are looked at."""
_FRAMES = 100
"""Frames of the last traceback that are looked at."""


class Holders:
    """Finds holders in one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def __call__(self, handles: list[Ref]) -> dict[int, tuple[str, ...]]:
        """Names by the `id` of a handle, for those that are found."""
        wanted = {id(h) for h in handles}
        found: dict[int, list[str]] = {}
        if wanted:
            namespace = self._shell.user_ns
            hidden = self._shell.user_ns_hidden
            for name, value in list(namespace.items()):
                if (
                    not name.startswith("_")
                    and name not in ("In", "Out")
                    and (name not in hidden or hidden[name] is not value)
                ):
                    _look(name, value, wanted, found)
            out = namespace.get("Out")
            if type(out) is dict:
                for number, value in list(out.items()):
                    _look(f"Out[{number}]", value, wanted, found)
            _look_in_traceback(wanted, found)
        return {key: tuple(dict.fromkeys(names)) for key, names in found.items()}


def _look(name: str, value: Any, wanted: set[int], found: dict[int, list[str]]) -> None:
    if id(value) in wanted:
        found.setdefault(id(value), []).append(name)
        return
    for key, item in _items(value):
        if id(item) in wanted:
            found.setdefault(id(item), []).append(f"{name}[{key!r}]" if key is not None else name)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    kind = type(value)
    if kind is dict:
        simple = ((k if type(k) in (str, int) else None, v) for k, v in value.copy().items())
        return islice(simple, _MOST)
    if kind in (list, tuple):
        return islice(enumerate(value), _MOST)
    if kind in (set, frozenset):
        return islice(((None, item) for item in value.copy()), _MOST)
    return ()


def _look_in_traceback(wanted: set[int], found: dict[int, list[str]]) -> None:
    traceback = getattr(sys, "last_traceback", None)
    for _ in range(_FRAMES):
        if traceback is None:
            return
        for value in list(traceback.tb_frame.f_locals.values()):
            if id(value) in wanted and id(value) not in found:
                found.setdefault(id(value), []).append("a traceback")
        traceback = traceback.tb_next
