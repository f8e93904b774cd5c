"""Stubs: the members of a remote type as attributes of its handles' class.

Completion and help find them there, with signature and docstring, and need nothing from the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import signatures
from .completion import Place, keys, signature_of
from .handles import Ref
from .surface import hide_frames
from .wire.limits import MAX_DOC, MAX_MEMBERS
from .wire.naming import clean, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Signature


_NAME = 1_000
"""Characters of a name; longer ones are left out."""
_SIGNATURE = 4_000
"""Characters of a signature that is shown as text."""


def _elsewhere(self: Ref) -> object:
    raise AttributeError  # and then Python asks `Ref.__getattr__`, which reads it remotely


def _keys(self: Ref) -> list[Any]:
    return keys(Place(self._bridge_state.client, self._bridge_state))


def _signature(self: Ref) -> Signature:
    return signature_of(Place(self._bridge_state.client, self._bridge_state))


class Member(property):
    """A member that is no method. Who looks at the class sees it there and reads nothing."""

    def __init__(self, name: str, kind: str, doc: str | None) -> None:
        super().__init__(_elsewhere)
        self.__doc__ = clean_text((doc or "")[:MAX_DOC])
        self.name, self.kind = name, kind


def stubs(members: list[list[Any]], of: str, specials: list[str]) -> dict[str, Any]:
    """What stands in a handle's class for completers: the members of a type, and how to ask.

    Args:
        members: from the type's record.
        of: the kind of its instances, from there too.
        specials: its special methods, likewise.
    """
    members = [m for m in members[:MAX_MEMBERS] if m[0].isidentifier() and len(m[0]) <= _NAME]
    space: dict[str, Any] = {"_bridge_members": tuple(member[0] for member in members)}
    if "__getitem__" in specials:
        space["_ipython_key_completions_"] = _keys
    if of != "object" or "__call__" in specials:
        space["__signature__"] = property(_signature)
    for name, kind, signature, doc in members:
        if not name.startswith("_"):
            if kind in ("method", "static"):
                space[name] = _method(name, kind, signature, doc)
            else:
                space[name] = Member(name, kind, doc)
    return space


def _method(name: str, kind: str, signature: str | None, doc: str | None) -> Callable[..., Any]:
    def method(self: Ref, /, *args: Any, **kwargs: Any) -> Any:
        state = self._bridge_state
        try:
            return state.client.method(state, name, args, kwargs)
        except (Exception, KeyboardInterrupt) as error:
            __tracebackhide__ = hide_frames(error)
            raise

    shown = _seen_from_class(kind, signature)
    method.__name__ = clean(name)
    method.__qualname__ = f"Ref.{clean(name)}"
    doc = (doc or "")[:MAX_DOC]
    method.__doc__ = clean_text(doc)
    if shown is not None:
        method.__signature__ = shown  # type: ignore[attr-defined]
    elif signature is not None:
        method.__doc__ = clean_text(f"{name}{signature[:_SIGNATURE]}\n\n{doc}")
    return method


def _seen_from_class(kind: str, text: str | None) -> Signature | None:
    """A method's signature as the class has it: with the handle as its first argument."""
    if text is None:
        return None
    signature = signatures.parse(text)
    if signature is None:
        return None
    return signatures.with_first(signature) if kind == "static" else signature
