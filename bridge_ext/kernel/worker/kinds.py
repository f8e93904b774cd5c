"""The types whose instances are held: their numbers, and what the kernel has not been told yet."""

from __future__ import annotations

from ..wire.limits import MAX_TYPES
from .introspect import type_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TypeInfo:
    """What is known of a type whose instances are held: its number, and whether it streams."""

    __slots__ = ("id", "stream", "type")

    def __init__(self, t: type, number: int, stream: bool) -> None:
        self.type, self.id, self.stream = t, number, stream


class TypeTable:
    """Numbers for types, and the records that the kernel has not been sent yet."""

    def __init__(self) -> None:
        self._known: dict[int, TypeInfo] = {}
        self._last = 0
        self.fresh: list[list[Any]] = []
        """Records that the kernel has not been sent; `take` them with the next reply."""

    def info(self, t: type) -> TypeInfo:
        """The number of a type; its record goes out with the next reply."""
        known = self._known.get(id(t))
        if known is not None:
            return known
        self._last += 1
        record = type_record(t, self._last)
        info = TypeInfo(t, self._last, "__next__" in record[4])
        if len(self._known) < MAX_TYPES:
            self._known[id(t)] = info
        self.fresh.append(record)
        return info

    def take(self) -> list[list[Any]]:
        """The records to send now."""
        fresh, self.fresh = self.fresh, []
        return fresh
