"""Names of types, read without running any code of theirs; and text of the other side, made fit."""

from __future__ import annotations

import re

from .limits import MAX_HELP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MODULE = type.__dict__["__module__"].__get__
_QUALNAME = type.__dict__["__qualname__"].__get__
_MRO = type.__dict__["__mro__"].__get__
_DICT = type.__dict__["__dict__"].__get__


def clean(text: str, limit: int = 200) -> str:
    """Text of the other side without control characters and halves of one, cut to a length."""
    return _CONTROL.sub("", text)[:limit]


def clean_text(text: str) -> str:
    """The same of text that has lines, such as a docstring."""
    return "\n".join(_CONTROL.sub("", line) for line in text.expandtabs()[:MAX_HELP].split("\n"))


def name_of(t: type) -> str:
    """The type's qualified name."""
    return str.__str__(_QUALNAME(t))  # exactly str, which a name need not be


def module_of(t: type) -> str:
    """The module the type says it is from."""
    module = _MODULE(t)  # types written in C have it in their name, not in their dictionary
    return module if type(module) is str else "builtins"


def full_name(t: type) -> str:
    """The type's name as a traceback shows it."""
    module = module_of(t)
    return name_of(t) if module == "builtins" else f"{module}.{name_of(t)}"


def mro_of(t: type) -> tuple[type, ...]:
    """The type and its bases, in the order in which they are looked through."""
    mro: tuple[type, ...] = _MRO(t)
    return mro


def members_of(t: type) -> dict[str, Any]:
    """What the type itself defines, by name."""
    members: dict[str, Any] = _DICT(t)
    return members
