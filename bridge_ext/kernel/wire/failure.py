"""Exceptions as data: what the other side needs to raise the user's exception again.

A failure is the record of the exception that was raised, and behind it the records of those it
refers to. A record is

    [module, qualname, args, attributes, text, frames, kind, notes, absent, links]

`kind` is "own" for the bridge's errors (name and arguments suffice), "exception" for the rest, and
"other" for what is no Exception (SystemExit, KeyboardInterrupt). For `frames` see `stacks`. What
cannot travel by value is a text in its place, and `absent` names those places: "args", or an
attribute. `links` is `[cause, context, suppress_context, members]`, by the numbers of the records:
0 is the one that was raised, None is none, and -1 is one that was left out. As they are numbers,
chains may meet and go in circles. Nothing in a failure is a ref, so that an error never holds an
object.
"""

from __future__ import annotations

import builtins
from types import MemberDescriptorType

from ..errors import OWN
from .codec import Lowering, pack
from .limits import MAX_ERRORS, MAX_FRAMES, MAX_NOTES, MAX_STACKS, MAX_TEXT
from .naming import full_name, members_of, module_of, mro_of, name_of
from .stacks import frames_of, is_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Record = list[Any]

_VALUES = 1 << 20
"""Bytes of all the arguments and attributes in a failure; beyond it they are texts."""
_TEXTS = 1 << 20
"""Characters of all the texts and notes in a failure."""
_REPR = 200
"""Characters of the text that stands for an argument."""
_LONG = 1_000
"""Length from which a field that is an argument too is sent once."""
_FEW = 10
"""Frames of an exception for which there is no room any more."""
_GROUP: Any = vars(builtins).get("BaseExceptionGroup")
_UNSENT = {
    id(AttributeError): ("obj",),  # a live object; "did you mean" would be asked of its stand-in
    id(ImportError): ("name_from",),  # a traceback would import the module to look for near names
    id(_GROUP): ("message", "exceptions"),  # made of its arguments
}
"""Fields of builtin exceptions that do not travel, by the `id` of the type."""

_ARGS = BaseException.__dict__["args"].__get__
_FIELDS = BaseException.__dict__["__dict__"].__get__
_CAUSE = BaseException.__dict__["__cause__"].__get__
_CONTEXT = BaseException.__dict__["__context__"].__get__
_SUPPRESS = BaseException.__dict__["__suppress_context__"].__get__
_TRACEBACK = BaseException.__dict__["__traceback__"].__get__


# ---------------------------------------------------------------- from an exception
def encode_failure(
    error: BaseException, hidden: frozenset[str] = frozenset(), hint: str | None = None
) -> list[Any]:
    """An exception as plain data, with its chain and its members; never raises.

    Args:
        error: what was raised.
        hidden: file names of the bridge's own modules; their frames are marked.
        hint: a note to add to those of the exception.
    """
    try:
        return _Encoding(hidden).failure(error, hint)
    except BaseException as broken:  # no memory is left, say: its type is still worth having
        text = f"(it cannot be described: {name_of(type(broken))})"
        of = type(error)
        links: list[Any] = [None, None, False, []]
        return [module_of(of), name_of(of), [], {}, text, [], _kind(of), [], [], links, []]


def _kind(of: type) -> str:
    if OWN.get(name_of(of)) is of:
        return "own"
    return "exception" if issubclass(of, Exception) else "other"


class _Encoding:
    """One failure on its way out, and what is left of its limits."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden
        self._errors: list[BaseException] = []
        self._numbers: dict[int, int] = {}
        self._bytes, self._characters, self._frames = _VALUES, _TEXTS, MAX_STACKS
        self._whole = True  # whether all of the value that is being lowered travels

    def failure(self, error: BaseException, hint: str | None) -> list[Any]:
        self._number(error)
        records: list[Record] = []
        while len(records) < len(self._errors):  # a record may name more of them
            records.append(self._record(self._errors[len(records)]))
        first, *linked = records
        if hint is not None:
            first[7].append(hint)
        return [*first, linked]

    def _record(self, error: BaseException) -> Record:
        of, fields = type(error), dict(_FIELDS(error))
        kind, text = _kind(of), self._text(error)
        args, absent = self._args(error, text)
        attributes = self._attributes(fields | _slots(error), absent)
        frames = [] if kind == "own" else self._stack(error)
        notes = self._notes(fields.get("__notes__"))
        return [
            *(module_of(of), name_of(of), args, attributes, text, frames, kind, notes, absent),
            self._links(error),
        ]

    # ------------------------------------------------------------ values
    def _lowered(self, value: Any) -> Any:
        """The value with every leaf as text; sets `_whole`."""
        low = Lowering(self._leaf, self._leaf, self._bytes)
        self._whole = True
        try:
            lowered = low.lower(value)
            pack(lowered)
        except Exception:  # most often TooLarge
            self._whole = False
            return f"<{name_of(type(value))}, too large to travel>"
        self._bytes = low.budget - 1
        return lowered

    def _leaf(self, obj: Any) -> Any:
        self._whole = False
        of = type(obj)
        if _is_text(obj):
            return str.__str__(obj)  # exactly str: the class of a text or a number stays behind
        if issubclass(of, int):
            return int.__index__(obj)
        if issubclass(of, type):
            return f"<class {full_name(obj)!r}>"
        return f"<{name_of(of)} object, not sent>"

    def _args(self, error: BaseException, text: str) -> tuple[list[Any], list[str]]:
        """The arguments, and whether they are among what is absent."""
        given = _ARGS(error)
        if _GROUP is not None and issubclass(type(error), _GROUP):
            given = given[:1]  # the members are records of their own
        args, whole = [], True
        for arg in given:
            args.append(self._lowered(arg))
            whole = whole and self._whole
            if not self._whole and type(args[-1]) is str and not _is_text(arg):
                args[-1] = text if len(given) == 1 and _says_args(error) else _repr(arg, args[-1])
        return args, [] if whole else ["args"]

    def _attributes(self, fields: dict[Any, Any], absent: list[str]) -> dict[str, Any]:
        out = {}
        for key, value in fields.items():
            if type(key) is str and not key.startswith("__") and self._bytes > len(key):
                self._bytes -= len(key)
                out[key] = self._lowered(value)
                if not self._whole:
                    absent.append(key)
        return out

    # ------------------------------------------------------------ texts
    def _text(self, error: BaseException) -> str:
        try:
            return self._cut(str.__str__(str(error)))  # exactly str, whatever its __str__ gives
        except BaseException as broken:
            return f"(its text cannot be had: {name_of(type(broken))})"

    def _notes(self, notes: Any) -> list[str]:
        if type(notes) not in (list, tuple):
            return []
        return [self._cut(str.__str__(n)) for n in notes[:MAX_NOTES] if isinstance(n, str)]

    def _cut(self, text: str) -> str:
        limit = max(0, min(MAX_TEXT, self._characters))
        self._characters -= len(text)
        if len(text) <= limit:
            return text
        return f"{text[:limit]}… ({len(text) - limit:,} characters left out)"

    # ------------------------------------------------------------ frames and links
    def _stack(self, error: BaseException) -> list[Any]:
        limit = min(MAX_FRAMES, max(_FEW, self._frames))
        frames = frames_of(_TRACEBACK(error), self._hidden, limit)
        self._frames -= len(frames)
        return frames

    def _links(self, error: BaseException) -> list[Any]:
        cause, context = self._number(_CAUSE(error)), self._number(_CONTEXT(error))
        return [cause, context, bool(_SUPPRESS(error)), [self._number(e) for e in _members(error)]]

    def _number(self, error: BaseException | None) -> int | None:
        if error is None:
            return None
        known = self._numbers.get(id(error))
        if known is None:
            if len(self._errors) == MAX_ERRORS:
                return -1
            known = self._numbers[id(error)] = len(self._errors)
            self._errors.append(error)
        return known


def _members(error: BaseException) -> Iterator[BaseException]:
    """The members of an exception group, also of the backport that Python 3.10 has."""
    found: Any = ()
    if _GROUP is not None and issubclass(type(error), _GROUP):
        found = _GROUP.__dict__["exceptions"].__get__(error)
    elif any(module_of(c).partition(".")[0] == "exceptiongroup" for c in mro_of(type(error))):
        found = _FIELDS(error).get("_exceptions", ())
    return (e for e in found if isinstance(e, BaseException))


def _slots(error: BaseException) -> dict[str, Any]:
    """Fields that have a place of their own: of builtin types, and `__slots__`."""
    found: dict[str, Any] = {}
    given = _ARGS(error)
    for cls in mro_of(type(error)):
        for name, member in list(members_of(cls).items()):
            if type(member) is not MemberDescriptorType or name in _UNSENT.get(id(cls), ()):
                continue
            try:
                value = member.__get__(error)
            except (AttributeError, TypeError):
                continue  # a slot that nobody has set, or of another class
            sent = type(value) in (bytes, str) and len(value) > _LONG
            if value is not None and not (sent and any(value is arg for arg in given)):
                found.setdefault(name, value)
    return found


def _is_text(obj: Any) -> bool:
    """Whether it is some kind of text, and of a length to be sent in place of itself."""
    return issubclass(type(obj), str) and str.__len__(obj) <= _LONG


def _says_args(error: BaseException) -> bool:
    """Whether its text is that of its only argument."""
    speaker = next(c for c in mro_of(type(error)) if "__str__" in members_of(c))
    return any(speaker is c for c in (BaseException, OSError, ImportError))


def _repr(arg: Any, instead: str) -> str:
    try:
        return str.__str__(repr(arg))[:_REPR]
    except BaseException:
        return instead


# ---------------------------------------------------------------- the shape of one
def is_failure(x: Any) -> bool:
    """Whether this is a well-formed failure."""
    if type(x) is not list or len(x) != len(_TYPES) + 1 or type(x[-1]) is not list:
        return False
    *first, linked = x
    count = 1 + len(linked)
    return count <= MAX_ERRORS and all(_is_record(record, count) for record in (first, *linked))


_TYPES = [str, str, list, dict, str, list, str, list, list, list]


def _is_record(x: Any, count: int) -> bool:
    if type(x) is not list or [type(part) for part in x] != _TYPES:
        return False
    _, _, _, attributes, _, frames, _, notes, absent, links = x
    return (
        len(frames) <= MAX_FRAMES
        and all(is_frame(frame) for frame in frames)
        and all(type(text) is str for text in (*attributes, *notes, *absent))
        and _are_links(links, count)
    )


def _are_links(x: list[Any], count: int) -> bool:
    if len(x) != 4 or type(x[2]) is not bool or type(x[3]) is not list:
        return False
    numbers = [n for n in (x[0], x[1], *x[3]) if n is not None]
    return None not in x[3] and all(type(n) is int and -1 <= n < count for n in numbers)
