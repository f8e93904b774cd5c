"""What is completed and explained: a handle that a name leads to, and names after it.

The names before the handle are followed here, without running a property; those after it are
followed in the worker, by a control request that runs none either.
"""

from __future__ import annotations

import inspect
from types import MethodType
from typing import TYPE_CHECKING, Any

from .kernel import completion, members
from .kernel.completion import Place
from .kernel.handles import Module, ModuleFunction, Ref
from .kernel.wire.naming import clean, clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from inspect import Signature

    from .kernel.completion import Help

_UNKNOWN = (
    "Nothing is known of it yet: the worker has not imported the module, or does not answer now. "
    "Its help is here after the first call."
)


class Subject:
    """A handle, and names to follow from it.

    Attributes:
        place: where that is.
        handle: the ref, or None for a module's.
    """

    def __init__(self, place: Place, handle: Ref | None = None) -> None:
        self.place, self.handle = place, handle
        self._asked = False
        self._found: Help | None = None

    def _help(self) -> Help | None:
        """What the worker says, asked once."""
        if not self._asked:
            self._asked, self._found = True, completion.help_on(self.place)
        return self._found

    @property
    def stub(self) -> Any:
        """What stands for it in the handle's class, if it is a member of the type."""
        if self.handle is None or len(self.place.path) != 1:
            return None
        return inspect.getattr_static(type(self.handle), self.place.path[0], None)

    def exists(self) -> bool:
        """Whether there is such a thing, as far as is known."""
        if self.handle is not None:
            known = not self.place.path or self.stub is not None
            return known or self._help() is not None
        if self._help() is not None or not self.place.path:
            return True
        return completion.help_on(Place(self.place.client, self.place.root)) is None

    def signature(self) -> Signature | None:
        """How it is called: as the record of the type says, or else the worker."""
        if callable(self.stub) and hasattr(self.stub, "__signature__"):
            return inspect.signature(getattr(self.handle, self.place.path[0]))
        found = self._help()
        return found.signature if found is not None else None

    def card(self, *, source: bool = False) -> Card:
        """What is shown of it."""
        found = self._help()
        if source and found is not None:
            found = completion.help_on(self.place, source=True) or found
        if self.handle is None:
            return _of_module(self.place, found)
        if not self.place.path:
            return _of_ref(self.handle, found)
        return _of_member(self, self.handle, found)

    def getdoc(self) -> str:
        """The docstring; IPython asks for it by this name."""
        return self.card().doc


class Card:
    """What `?` shows: texts, and a signature where it can be called."""

    def __init__(self, what: str, found: Help | None, doc: str = "") -> None:
        self.type = clean(what)
        self.signature: Signature | None = found.signature if found is not None else None
        self.doc = clean_text((found.doc if found is not None else "") or doc)
        self.file = clean(found.file, 4096) if found is not None else ""
        self.source = clean_text(found.source) if found is not None else ""
        self.text = ""
        self.length: int | None = None


def _of_ref(ref: Ref, found: Help | None) -> Card:
    cls, state = type(ref), ref._bridge_state
    what = _type_name(cls)
    if found is not None and found.name:
        what = f"the {found.kind} {found.name}"
    card = Card(f"Ref on {what}", found, (cls.__doc__ or "").partition("\n\n")[2])
    card.text, card.length = state.text(), state.length
    return card


def _of_member(subject: Subject, ref: Ref, found: Help | None) -> Card:
    stub, path = subject.stub, subject.place.path
    owner = ".".join([_type_name(type(ref)), *path[:-1]])
    card = Card(f"{_kind(stub, found)} of {owner}", found, getattr(stub, "__doc__", None) or "")
    if card.signature is None and callable(stub):
        card.signature = inspect.signature(getattr(ref, path[0]))
    return card


def _kind(stub: Any, found: Help | None) -> str:
    """What a member is, by the record of the type and by the worker."""
    if callable(stub) or (found is not None and found.kind == "function"):
        return "method"
    if found is not None and found.kind == "instance":
        return f"{found.type}, an attribute"
    if found is not None:
        return found.kind
    return (
        "property" if isinstance(stub, members.Member) and stub.kind == "property" else "attribute"
    )


def _of_module(place: Place, found: Help | None) -> Card:
    name = ".".join([str(place.root), *place.path])
    if found is None:
        return Card(f"{name} in the worker", None, _UNKNOWN)
    kind = found.type if found.kind == "instance" else found.kind
    return Card(f"{kind} {found.name or name} in the worker", found)


def _type_name(cls: Any) -> str:
    module = "" if cls._bridge_module == "builtins" else f"{cls._bridge_module}."
    return f"{module}{cls._bridge_type}"


# ---------------------------------------------------------------- finding
def subject_of(x: Any, rest: Iterable[str] = ()) -> Subject | None:
    """The subject that an object is, if it is a handle or a method of one."""
    kind = type(x)
    if issubclass(kind, Ref):
        state = x._bridge_state
        return Subject(Place(state.client, state, tuple(rest)), x)
    if kind is Module:
        return Subject(Place(x._bridge_client, x._bridge_name, tuple(rest)))
    if kind is ModuleFunction:
        place = x._bridge_place()
        return Subject(Place(place.client, place.root, (*place.path, *rest)))
    if kind is MethodType and x.__func__.__module__ == members.__name__:
        return subject_of(x.__self__, (x.__func__.__name__, *rest))
    return None


def find_subject(parts: list[str], *spaces: Mapping[str, Any]) -> Subject | None:
    """The subject that a dotted name leads to, if there is a handle on its way."""
    first, *rest = parts
    x = next((space[first] for space in spaces if first in space), None)
    while True:
        subject = subject_of(x, rest)
        if subject is not None or not rest:
            return subject
        x = inspect.getattr_static(x, rest.pop(0), None)
