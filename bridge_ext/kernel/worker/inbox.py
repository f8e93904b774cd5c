"""A worker's arguments on their way in."""

from __future__ import annotations

from ..errors import (
    InvalidRefError,
    ProtocolError,
    RefNotFoundError,
    SessionMismatchError,
)
from ..wire.arrays import open_array
from ..wire.codec import pack
from ..wire.loading import Loading, plain
from ..wire.marks import Ext
from ..wire.naming import name_of
from ..wire.own import dependency
from ..wire.shared import copied
from .ahead import seen
from .asking import Callback
from .importing import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..wire.framing import Buffer
    from .holding import Entry, Session
    from .store import Store


def text_of(entry: Entry) -> str:
    """A ref as text, without running any of its object's code."""
    spec = entry.session.spec
    where = "" if spec.auto else f" in {spec.id!r}"
    return f"<ref {name_of(type(entry.obj))}{where}>"


class Pickled:
    """An argument that is a pickle; it is opened only after the walls were checked."""

    __slots__ = ("data", "first", "refs")

    def __init__(self, data: bytes, first: int, refs: list[list[Any]]) -> None:
        self.data, self.first, self.refs = data, first, refs


class ArrayArgument:
    """An argument that is an array; it is made only after the walls were checked."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class ModuleArgument:
    """An argument that is a module; it is imported only after the walls were checked."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Inbox:
    """Opens payloads. One per thread that does so, and per level of nesting.

    Args:
        store: has the refs.
        asker: what a callback calls, see `asking.Callback`.
    """

    def __init__(self, store: Store, asker: Callable[..., Any]) -> None:
        self._store, self._asker = store, asker
        self._loading = Loading(
            {
                Ext.REF_ARG: self._ref_arg,
                Ext.PICKLE: self._pickle,
                Ext.ARRAY: self._array,
                Ext.MODULE: self._module,
                Ext.CALLBACK: self._callback,
            }
        )
        self.entries: list[Entry] = []
        self._missing: list[list[Any]] = []
        self.named_refs = False
        self.pickles = self._closed = 0
        """Whether the payload just opened has refs among its arguments, and how many pickles."""
        self._wall: Any = None

    def open(self, body: bytes | bytearray) -> Any:
        """The payload; its refs have become objects, its pickles are still closed."""
        return self._loading.load(body)

    def close(self) -> None:
        """Let go of what the last payload named."""
        if self.named_refs or self.pickles:
            self.entries, self._missing = [], []
            self.named_refs, self.pickles = False, 0

    def entry(self, ref: Any) -> Entry:
        """The entry of a ref given as `[id, session id, generation]`.

        Raises:
            RefNotFoundError: it has ended; the reason says how.
            InvalidRefError: that is no ref.
        """
        ref_id, session_id, generation = checked_ref(ref)
        entry = self._store.find(ref_id)
        if entry is None:
            reason = self._store.why_gone(ref_id, session_id, generation)
            raise RefNotFoundError(f"The ref {ref_id} of session {session_id!r}", reason)
        return entry

    def check_walls(self, session: Session, in_force: str | None, isolate: bool) -> None:
        """Whether every ref among the arguments may be used in this call.

        Raises:
            SessionMismatchError: one belongs to another named session, not in force.
            RefNotFoundError: one has ended.
        """
        self._wall = (session, in_force, isolate)
        for ref in self._missing:
            self.entry(ref)
        for entry in self.entries:
            self._check_wall(entry)

    def _check_wall(self, entry: Entry) -> None:
        session, in_force, isolate = self._wall
        home = entry.session
        if home is session or (home.spec.auto and not isolate) or home.spec.id == in_force:
            return
        raise SessionMismatchError(text_of(entry), session.spec.id, home.spec.id)

    def unpickle(self, payload: dict[str, Any], buffers: list[Buffer]) -> None:
        """Open the pickles among args and kwargs, in place.

        Raises:
            ProtocolError: one stands within another argument, where none may be.
        """
        self._closed = self.pickles
        args, kwargs = payload.get("args"), payload.get("kwargs")
        if args is not None:
            payload["args"] = [self._opened(x, buffers) for x in args]
        if kwargs:
            payload["kwargs"] = {k: self._opened(x, buffers) for k, x in kwargs.items()}
        if self._closed:
            raise ProtocolError("a pickle stands within another argument")

    def _opened(self, x: Any, buffers: list[Buffer]) -> Any:
        if type(x) is Pickled:
            self._closed -= 1
            return open_pickle(x, buffers, self._persistent)
        if type(x) is ArrayArgument:
            self._closed -= 1
            return open_array(x.data, buffers)
        return self._with_modules(x) if self._closed else x

    def _with_modules(self, x: Any) -> Any:
        """Plain data with its module arguments imported, however deep they stand."""
        kind = type(x)
        if kind is ModuleArgument:
            self._closed -= 1
            return import_module(x.name)
        if kind is dict:
            return {self._with_modules(k): self._with_modules(v) for k, v in x.items()}
        if kind in (list, tuple, set, frozenset):
            return kind(self._with_modules(v) for v in x)
        return x

    def _persistent(self, ref: Any) -> Any:
        if type(ref) is str:
            return import_module(ref)
        if len(ref) == 4:
            return self._named_callback(list(ref))
        entry = self.entry(list(ref) if type(ref) is tuple else ref)
        self._check_wall(entry)
        return seen(entry)

    def _callback(self, data: bytes) -> Callback:
        return self._named_callback(plain.load(data))

    def _named_callback(self, fields: list[Any]) -> Callback:
        *where, name = fields
        if [type(x) for x in fields] != [int, str, int, str]:
            raise ProtocolError(f"a callback is [id, session, generation, name], not {fields!r}")
        return Callback(self._asker, where, name)

    def _ref_arg(self, data: bytes) -> Any:
        ref = checked_ref(plain.load(data))
        self.named_refs = True
        entry = self._store.find(ref[0])
        if entry is None:
            self._missing.append(ref)
            return None
        self.entries.append(entry)
        return seen(entry)

    def _pickle(self, data: bytes) -> Pickled:
        self.pickles += 1
        self.named_refs = True
        pickled = Pickled(*plain.load(data))
        for ref in pickled.refs:
            self._ref_arg(pack(ref))
        return pickled

    def _array(self, data: bytes) -> ArrayArgument:
        self.pickles += 1
        return ArrayArgument(data)

    def _module(self, data: bytes) -> ModuleArgument:
        self.pickles += 1
        return ModuleArgument(data.decode())


def checked_ref(ref: Any) -> list[Any]:
    """A ref as it is named on the wire: `[id, session id, generation]`.

    Raises:
        InvalidRefError: it is something else.
    """
    if type(ref) is list and [type(x) for x in ref] == [int, str, int]:
        return ref
    raise InvalidRefError(f"{ref!r:.200}", "a ref is [id, session, generation]")


def open_pickle(x: Pickled, buffers: list[Buffer], persistent: Any) -> Any:
    """The object of a pickle with its out-of-band buffers."""
    import io

    from .pickles import Unpickler

    dependency("cloudpickle")
    return Unpickler(io.BytesIO(x.data), copied(buffers, x.first), persistent).load()
