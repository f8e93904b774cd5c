"""What completion and help ask a worker: one short control request, and no error comes of it.

The worker's control thread answers from what lies in dictionaries, and runs no user code (see
`worker.looking`). Where there is no worker, or no answer in time, callers show what they know.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .wire.limits import MAX_KEYS, MAX_MEMBERS

if TYPE_CHECKING:
    from inspect import Signature

    from .refs import RefState
    from .remote import Remote

_WITHIN = 0.1
"""Seconds for an answer: more than that is felt while typing."""
_SOURCE_WITHIN = 1.0
"""Seconds for the source that `??` asks for: it is read from a file."""
_SILENCE = 1.0
"""Seconds for which a worker that did not answer is not asked again: C code holds its GIL."""
_KINDS = frozenset(("class", "function", "instance", "module", "property"))
_KEYS = frozenset((str, bytes, int, float, bool, type(None)))


class Place:
    """Where to look: an object, and names to follow from there.

    Args:
        client: the bridge's side that asks.
        root: a ref, or the name of a module.
        path: names to follow; the worker follows them without running a property.
    """

    __slots__ = ("client", "path", "root")

    def __init__(self, client: Remote, root: RefState | str, path: tuple[str, ...] = ()) -> None:
        self.client, self.root, self.path = client, root, path

    def ask(self, verb: str, *details: Any, within: float = _WITHIN) -> Any:
        """What the worker answers; None if there is none, or no answer in time."""
        incarnation = self.client.incarnation
        if incarnation is None or time.monotonic() < incarnation.silent_until:
            return None
        root: Any = self.root
        if type(root) is not str:
            if root.ended() or root.incarnation is not incarnation:
                return None
            root = root.wire()
        end = time.monotonic() + within
        try:
            answer = self.client.ask(verb, root, list(self.path), *details, within=within)
        except Exception:
            return None  # completion and help show less; they never fail
        if answer is None and time.monotonic() >= end:
            incarnation.silent_until = time.monotonic() + _SILENCE
        return answer


# ---------------------------------------------------------------- names and keys
def names(place: Place) -> list[tuple[str, str]]:
    """Names and their kinds ("class", "function", "instance", "module" or "property").

    Of a ref itself only those that its type does not have; of anything else all.
    """
    return checked_names(place.ask("names"))


def checked_names(answer: Any) -> list[tuple[str, str]]:
    """Public names out of what a worker sent."""
    found = []
    for row in answer[:MAX_MEMBERS] if type(answer) is list else ():
        if type(row) is list and [type(x) for x in row] == [str, str]:
            name, kind = row
            if name.isidentifier() and not name.startswith("_"):
                found.append((name, kind if kind in _KINDS else "instance"))
    return found


def keys(place: Place) -> list[Any]:
    """What the object can be indexed with, as plain keys; none for a type that is not known."""
    answer = place.ask("keys")
    found = answer[:MAX_KEYS] if type(answer) is list else []
    keys = [tuple(key) if type(key) is list else key for key in found]
    return [key for key in keys if _plain(key)]


def _plain(key: Any) -> bool:
    parts = key if type(key) is tuple else (key,)
    return all(type(part) in _KEYS for part in parts)


# ---------------------------------------------------------------- help
class Help:
    """What a worker says of an object.

    Attributes:
        kind: "class", "function", "instance", "module" or "property".
        type: the full name of its type.
        name: its own full name, where it has one.
        signature: how it is called, if that is known.
        doc, file, source: texts; "" where there is none.
    """

    __slots__ = ("doc", "file", "kind", "name", "signature", "source", "type")
    kind: str
    type: str
    name: str
    doc: str
    file: str
    source: str

    def __init__(self, answer: list[Any]) -> None:
        self.kind, self.type, self.name, text, bound, self.doc, self.file, self.source = answer
        from . import signatures  # with `ast` and `inspect`, which no call needs

        found = signatures.parse(text) if text else None
        self.signature = signatures.without_first(found) if found and bound else found


_HELP = [str, str, str, str, bool, str, str, str]


def help_on(place: Place, *, source: bool = False) -> Help | None:
    """What the worker says of the object, with its source if that is wanted."""
    answer = place.ask("help", source, within=_SOURCE_WITHIN if source else _WITHIN)
    if type(answer) is not list or [type(x) for x in answer] != _HELP:
        return None
    return Help(answer)


def signature_of(place: Place) -> Signature:
    """How the object is called.

    Raises:
        AttributeError: that is not known.
    """
    found = help_on(place)
    if found is None or found.signature is None:
        raise AttributeError("__signature__")
    return found.signature


def module_names(client: Remote, prefix: str) -> list[tuple[str, str]] | None:
    """Modules at the top of the worker's path, or what is in the module or class `prefix`.

    None if the worker does not say.
    """
    answer = Place(client, prefix).ask("names")
    return None if answer is None else checked_names(answer)
