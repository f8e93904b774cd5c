"""Exceptions of the other side, raised here as what they are.

The type is found by walking the namespaces of modules that are already imported: nothing is
imported, and no `getattr` of a lazy module runs. The instance is made by its nearest *builtin*
base, so none of the class's own code runs either; its attributes are filled in afterwards. What
cannot be made so is a RemoteError with the type's name.
"""

from __future__ import annotations

import builtins
import sys
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType

from ..errors import OWN, RemoteError
from .limits import MAX_ERRORS
from .naming import clean, members_of, module_of, mro_of, name_of
from .stacks import traceback_of, unseen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, NoReturn

    Record = list[Any]

_SPACE: Any = vars(ModuleType)["__dict__"].__get__
_FIELDS = BaseException.__dict__["__dict__"].__get__
_SET_ARGS = BaseException.__dict__["args"].__set__
_SET_CAUSE = BaseException.__dict__["__cause__"].__set__
_CONTEXT = BaseException.__dict__["__context__"].__get__
_SET_CONTEXT = BaseException.__dict__["__context__"].__set__
_SET_TRACEBACK = BaseException.__dict__["__traceback__"].__set__
_SET_SUPPRESS = BaseException.__dict__["__suppress_context__"].__set__
_BUILTIN = {
    id(t) for t in vars(builtins).values() if isinstance(t, type) and issubclass(t, BaseException)
}
_GROUP: Any = vars(builtins).get("ExceptionGroup")
_STAND_INS: dict[type, tuple[Any, ...]] = {
    UnicodeDecodeError: ("unknown", b"", 0, 0, ""),
    UnicodeEncodeError: ("unknown", "", 0, 0, ""),
    UnicodeTranslateError: ("", 0, 0, ""),
}
"""What those builtin types are made of whose arguments were too large to travel."""


def rebuild(
    failure: list[Any], place: str = "worker", *, everything: bool = False
) -> BaseException:
    """The exception of a failure (see `failure`), with its chain, its members and a traceback.

    Args:
        failure: a well-formed one.
        place: where the sender is, for the traceback.
        everything: whether the traceback has the bridge's own frames too.
    """
    return _Rebuilding(failure, place, everything).raised()


def throw(error: BaseException) -> NoReturn:
    """Raise an exception that has its own context, which a plain `raise` may replace.

    What is being handled here becomes the end of its chain, as if all had happened in one process.
    """
    context = _CONTEXT(error)
    try:
        raise error
    except BaseException:
        handled = _CONTEXT(error)
        if context is not None and handled is not context:
            _SET_CONTEXT(error, context)
            _SET_CONTEXT(_end(error), handled)
        raise
    finally:
        del error


def _end(error: BaseException) -> BaseException:
    """The last exception of a chain of contexts, which goes in no circle: see `_set_context`."""
    following = _CONTEXT(error)
    while following is not None:
        error, following = following, _CONTEXT(following)
    return error


class _Rebuilding:
    """One failure on its way in."""

    def __init__(self, failure: list[Any], place: str, everything: bool) -> None:
        *first, linked = failure
        self._records: list[Record] = [first, *linked]
        self._made: list[BaseException | None] = [None] * len(self._records)
        self._place, self._everything = place, everything
        self._open: set[int] = set()

    def raised(self) -> BaseException:
        made = [self._error(number) for number in range(len(self._records))]
        for error, record in zip(made, self._records, strict=True):
            cause, context, suppress, _ = record[-1]
            if cause is not None:
                _SET_CAUSE(error, self._error(cause))
            if context is not None:
                self._set_context(error, self._error(context))
            _SET_SUPPRESS(error, suppress)
        return made[0]

    def _set_context(self, error: BaseException, context: BaseException) -> None:
        """Set it unless the chain would lead back here, where IPython would follow it for ever."""
        link: BaseException | None = context
        while link is not None:
            if link is error:
                return
            link = _CONTEXT(link)
        _SET_CONTEXT(error, context)

    def _error(self, number: int) -> BaseException:
        """The exception of a number; members of a group are made before it."""
        if number < 0 or number in self._open:  # a group cannot hold itself
            return RemoteError("left out", f"a failure has {MAX_ERRORS} exceptions at most")
        made = self._made[number]
        if made is None:
            self._open.add(number)
            record = self._records[number]
            members = [self._error(member) for member in record[-1][-1]]
            self._open.discard(number)
            made = self._made[number] = _exception(record, members)
            _SET_TRACEBACK(made, self._traceback(record, number))
        return made

    def _traceback(self, record: Record, number: int) -> TracebackType | None:
        traceback = traceback_of(record[5], self._place, everything=self._everything)
        if traceback is None and number == 0 and record[6] != "own":
            return unseen(self._place)
        return traceback


def _exception(record: Record, members: list[BaseException]) -> BaseException:
    module, name, args, attributes, text, _, kind, notes, absent, _ = record
    error = None
    if kind == "own":
        error = _own(name, args)
    elif kind == "exception":
        cls = find(module, name)
        if cls is not None:
            error = _instance(cls, args, attributes, text, absent, members)
    if error is None:
        shown = clean(name if module == "builtins" else f"{module}.{name}")
        error = RemoteError(shown, "\n".join([text, *_listed(members)]))
    if notes:
        _FIELDS(error)["__notes__"] = [*_FIELDS(error).get("__notes__", ()), *notes]
    return error


def _listed(members: list[BaseException]) -> Iterator[str]:
    """The members of a group that has no type here, one line each."""
    for number, member in enumerate(members, 1):
        shown = member if type(member) is RemoteError else f"{type(member).__name__}: {member}"
        yield f"  {number}. {shown}"


def _own(name: str, args: list[Any]) -> BaseException | None:
    try:
        error = OWN[name](*args)
        str(error)
    except Exception:
        return None  # arguments that are not those of this error
    return error


# ---------------------------------------------------------------- the type
def find(module: str, name: str) -> type[Exception] | None:
    """The exception type of that name, if this process knows it; no code of anybody's runs."""
    found: Any = sys.modules.get(module)
    if not issubclass(type(found), ModuleType):
        return None  # some object that somebody has put there
    space = _SPACE(found)
    for part in name.split("."):
        found = space.get(part)
        if not issubclass(type(found), type):
            return None
        space = members_of(found)
    return found if issubclass(found, Exception) else None


# ---------------------------------------------------------------- the instance
def _instance(
    cls: type[Exception],
    args: list[Any],
    attributes: dict[str, Any],
    text: str,
    absent: list[str],
    members: list[BaseException],
) -> BaseException | None:
    reads = bool(absent) and _reads(cls, absent)
    made = _with_text(cls, text) if reads else None
    if _GROUP is not None and issubclass(cls, _GROUP):
        error = _made(made or cls, [*args, members])
    else:
        error = _made(made or cls, args)
        if error is not None:
            _SET_ARGS(error, tuple(args))
    if error is None:
        return None
    for name, value in attributes.items():
        _set(error, name, value)
    if reads and made is None:
        _FIELDS(error)["__notes__"] = [f"Where it was raised it reads: {text}"]
    return error


def _made(cls: type[Exception], args: list[Any]) -> BaseException | None:
    """An instance by the nearest builtin base that can make one."""
    for base in mro_of(cls):
        if id(base) not in _BUILTIN:
            continue
        try:
            error: BaseException = base.__new__(cls, *args)
        except Exception:
            continue  # memory of another layout, which is another base's to make
        if not any(made is cls for made in mro_of(type(error))):
            return None
        for given in (args, _STAND_INS.get(base, ())):
            try:
                base.__init__(error, *given)  # type: ignore[misc]
            except Exception:
                continue  # not the arguments that this type wants
            return error
        return None
    return None


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set a field where it has its place; a property of the class is left alone."""
    for cls in mro_of(type(error)):
        place = members_of(cls).get(name)
        if type(place) is MemberDescriptorType:
            try:
                place.__set__(error, value)
            except (AttributeError, TypeError):
                pass  # read-only, or of another type: the rest is worth having
            return
    _FIELDS(error)[name] = value


# ---------------------------------------------------------------- its text
def _reads(cls: type[Exception], absent: list[str]) -> bool:
    """Whether the text of its instances is made of what is absent, by code of the class.

    That code could fail on the texts that stand there, and with it all that shows the error.
    """
    members: dict[str, Any] = {}
    for base in reversed(mro_of(cls)):
        if id(base) not in _BUILTIN and base is not object:
            members.update(members_of(base))
    if "__str__" not in members:
        return False
    todo, seen = ["__str__"], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in members:
            code = _code(members[name])
            if code is None and name == "__str__":
                return True  # written in C: who knows what it reads
            todo += code.co_names if code is not None else ()
    return not seen.isdisjoint(absent)


def _code(member: Any) -> CodeType | None:
    function: Any = member.fget if type(member) is property else member
    if type(function) in (staticmethod, classmethod):
        function = function.__func__
    return function.__code__ if type(function) is FunctionType else None


def _with_text(cls: type[Exception], text: str) -> type[Exception] | None:
    """A subclass that looks like `cls` and says `text`, if making one runs none of its code."""
    if type(cls) is not type or any(
        "__init_subclass__" in members_of(base) for base in mro_of(cls) if base is not object
    ):
        return None
    space: dict[str, Any] = {
        "__slots__": (),
        "__module__": module_of(cls),
        "__qualname__": name_of(cls),
        "__doc__": members_of(cls).get("__doc__"),
        "__str__": lambda self: text,
    }
    try:
        return type.__new__(type, name_of(cls).rpartition(".")[2], (cls,), space)
    except TypeError:
        return None  # a type that cannot have any
