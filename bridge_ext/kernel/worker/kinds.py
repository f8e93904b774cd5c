"""The types whose instances are held: their numbers, and what the kernel has not been told yet."""

from __future__ import annotations

import threading
import weakref

from ..wire.limits import MAX_TYPES
from .introspect import type_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TypeInfo:
    """What is known of a type whose instances are held: its number, and whether it streams."""

    __slots__ = ("id", "stream")

    def __init__(self, number: int, stream: bool) -> None:
        self.id, self.stream = number, stream


class TypeTable:
    """Numbers for types, and the records that the kernel has not been sent yet.

    Attributes:
        data, control: the records that the next message of that channel has to bring: frames of
            the two may be read in any order, so each tells of every type.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[type], TypeInfo]] = {}
        self._last = self._passing = 0
        self._free: list[int] = []
        self._lock = threading.Lock()
        self.data: list[list[Any]] = []
        self.control: list[list[Any]] = []

    def info(self, t: type) -> TypeInfo:
        """The number of a type; its record goes out with the next reply."""
        known = self._known.get(id(t))
        if known is not None and known[0]() is t:
            return known[1]
        with self._lock:
            number = self._number(id(t))
        record = type_record(t, number)
        info = TypeInfo(number, "__next__" in record[4])
        with self._lock:
            if number <= MAX_TYPES:  # not held: a class may hold what it was made with
                self._known[id(t)] = weakref.ref(t), info
            self.data.append(record)
            self.control.append(record)
        return info

    def _number(self, key: int) -> int:
        """A number for a type that is not known; the lock is held.

        Those of types that are gone are given again: their refs are gone too. What there is no
        room for has a number above, which is given again after as many, as its record goes with
        each ref. So the kernel never has more than twice the limit.
        """
        before = self._known.pop(key, None)
        if before is not None and before[0]() is None:
            return before[1].id
        if not self._free and self._last >= MAX_TYPES:
            self._forget_dead()
        if self._free:
            return self._free.pop()
        if self._last < MAX_TYPES:
            self._last += 1
            return self._last
        self._passing = self._passing % MAX_TYPES + 1
        return MAX_TYPES + self._passing

    def _forget_dead(self) -> None:
        """Make room."""
        for key in [key for key, (ref, _) in self._known.items() if ref() is None]:
            self._free.append(self._known.pop(key)[1].id)

    def take_data(self) -> list[list[Any]] | None:
        """The records for a frame of the data channel; the caller holds its send lock."""
        with self._lock:
            fresh, self.data = self.data, []
        return fresh or None

    def take_control(self) -> list[list[Any]] | None:
        """The same for the control channel."""
        with self._lock:
            fresh, self.control = self.control, []
        return fresh or None
