"""A worker's results on their way out."""

from __future__ import annotations

import sys
import types

from ..errors import EncodeError
from ..wire.arrays import is_array, pack_array
from ..wire.codec import Lowering, TooLarge, pack
from ..wire.limits import MAX_BODY
from ..wire.marks import Ext
from ..wire.naming import module_of, name_of
from ..wire.own import msgpack
from .ahead import REPLAYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle
    from typing import Any

    from ..wire.framing import Buffer
    from .holding import Draft, Session
    from .running import Running
    from .store import Store


class Outbox:
    """Encodes results. One per thread that does so.

    Args:
        store: takes the objects of results.
        running: whose window ends where a result is encoded and the books begin.
        inline_limit: bytes up to which an encoding travels by value.
    """

    def __init__(self, store: Store, running: Running, inline_limit: int) -> None:
        self._store, self._running = store, running
        self._inline_limit = inline_limit
        self._short = min(_SHORT, inline_limit // 4)  # no character has more bytes
        self.first_buffer = 0
        """Number of the first buffer of the next copy: more than 0 within a batch."""

    def reply(
        self, value: Any, fetch: bool | None, session: Session, cell: str
    ) -> tuple[bytes, list[Buffer]]:
        """The body of a reply, and its buffers; the refs it sends are admitted.

        Raises:
            SessionFullError: the refs do not fit; nothing is held.
            RefNotFoundError: the session has ended, and the result holds objects.
            EncodeError: `fetch` is True and the object cannot be pickled.
        """
        if fetch is True:
            return self.copy(value)
        kind = type(value)
        if fetch is None and (kind in _SCALARS or (kind is str and len(value) <= self._short)):
            return pack([0, value]), []
        draft = self._store.draft(session)
        body = None if fetch is False else self._by_value(value, draft)
        if body is None:
            draft = self._store.draft(session)
            body = pack([0, self._leaf(value, draft)])
        self._running.window = False
        self._store.admit(session, draft, cell)
        return body, []

    def items(
        self,
        position: int,
        items: list[Any],
        rest: list[Any],
        fetch: bool | None,
        session: Session,
        cell: str,
    ) -> tuple[bytes, list[Buffer]]:
        """A reply with items of a stream: `[position, items, end, shared]`.

        `position` is how many items and ends came before them; `end` is what comes after them:
        False (nothing is known), True (no more) or a failure; `shared` says that code in the worker
        may take items as well, so that it has to be told at once what was taken.

        Raises:
            TooLarge: together they are more than travels by value; give fewer.
            SessionFullError: their refs do not fit; nothing is held.
        """
        if fetch is True:
            return self.copy([position, items, *rest])
        if fetch is None and _SCALARS.issuperset(map(type, items)):
            return pack([0, [position, items, *rest]]), []
        draft = self._store.draft(session)
        lowered: Any
        if fetch is False:
            lowered = [self._leaf(item, draft) for item in items]
        elif len(items) == 1:
            lowered = [self._one(items[0], draft)]
        else:
            lowered = self._lowered(items, draft)
        body = pack([0, [position, lowered, *rest]])
        self._running.window = False
        self._store.admit(session, draft, cell)
        return body, []

    def arguments(
        self, payload: dict[str, Any], args: Any, kwargs: dict[str, Any], session: Session
    ) -> bytes:
        """A packed payload with the arguments of a callback: by value, or as refs."""
        draft = self._store.draft(session)
        payload["args"] = [self._one(x, draft) for x in args]
        payload["kwargs"] = {k: self._one(x, draft) for k, x in kwargs.items()}
        body = pack(payload)
        self._running.window = False
        self._store.admit(session, draft, "")
        return body

    def _one(self, x: Any, draft: Draft) -> Any:
        """One of several values: by value, or as a ref where it is too large for that."""
        before = draft.copy()
        try:
            return self._lowered(x, draft)
        except (TooLarge, RecursionError):
            draft.restore(before)
            return self._leaf(x, draft)

    def _lowered(self, x: Any, draft: Draft) -> Any:
        """What to pack for a value, its leaves as refs.

        Raises:
            TooLarge: it is too large to travel by value.
        """

        def leaf(obj: Any) -> Any:
            return self._leaf(obj, draft)

        return Lowering(leaf, leaf, self._inline_limit).lower(x)

    def refs(self, named: dict[str, Any], session: Session) -> tuple[bytes, list[Buffer]]:
        """A reply that maps names to refs, whatever the objects are."""
        draft = self._store.draft(session)
        body = pack([0, {name: self._leaf(obj, draft) for name, obj in named.items()}])
        self._running.window = False
        self._store.admit(session, draft, "")
        return body, []

    def _by_value(self, value: Any, draft: Draft) -> bytes | None:
        """The body with leaves as refs, or None if it is too large to travel by value."""
        try:
            body = pack([0, self._lowered(value, draft)])
        except (TooLarge, RecursionError):
            return None
        return body if len(body) <= self._inline_limit else None

    def _leaf(self, obj: Any, draft: Draft) -> Any:
        ahead = None
        if type(obj) in REPLAYS:
            obj, ahead = obj.bridge_original, obj.bridge_ahead
        if type(obj) is types.ModuleType and sys.modules.get(obj.__name__) is obj:
            return msgpack.ExtType(Ext.MODULE, obj.__name__.encode())
        entry = draft.add(obj)
        entry.ahead = entry.ahead or ahead
        spec = draft.session.spec
        length, shape, nbytes, estimated = entry.facts
        return msgpack.ExtType(
            Ext.REF,
            pack(
                [
                    entry.ids[0],
                    spec.id,
                    spec.generation,
                    entry.type.id,
                    length,
                    None if shape is None else list(shape),
                    nbytes,
                    estimated,
                ]
            ),
        )

    def copy(self, value: Any) -> tuple[bytes, list[Buffer]]:
        """The body of a reply that brings the value itself, pickled where it must be."""
        made = self._array(value) if is_array(value) else None
        if made is not None:
            return pack([0, made[0]]), made[1]
        try:
            return pack([0, Lowering(_refuse, _refuse, MAX_BODY).lower(value)]), []
        except (_NotPlain, TooLarge, RecursionError):
            pass
        from ..wire.pickling import dump

        buffers: list[pickle.PickleBuffer] = []
        try:
            data = dump(value, _nothing, buffers)
        except Exception as error:
            from ..wire.culprits import locate

            where, culprit = locate(value, "The result", _nothing)
            why = f"it cannot be pickled ({type(error).__name__}: {error}); keep it as a ref"
            raise EncodeError(where, _full_name(type(culprit)), why) from error
        packed = msgpack.ExtType(Ext.PICKLE, pack([data, self.first_buffer, []]))
        return pack([0, packed]), [b.raw() for b in buffers]

    def _array(self, value: Any) -> tuple[Any, list[Buffer]] | None:
        try:
            return pack_array(value, self.first_buffer)
        except MemoryError as error:
            why = f"there is no room to put it in one piece ({error}); keep it as a ref"
            raise EncodeError("The result", _full_name(type(value)), why) from error


def _nothing(obj: Any) -> None:
    """A result is pickled whole."""


class _NotPlain(Exception):
    """A value that does not travel without a pickle."""


def _refuse(obj: Any) -> Any:
    raise _NotPlain


def _full_name(t: type) -> str:
    return f"{module_of(t)}.{name_of(t)}"


_SHORT = 1000
"""Characters of a text that goes back as it is, without a look at what it costs."""
_SCALARS = frozenset((type(None), bool, int, float))
