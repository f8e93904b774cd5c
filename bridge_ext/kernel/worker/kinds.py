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
        self._last = 0
        self._lock = threading.Lock()
        self.data: list[list[Any]] = []
        self.control: list[list[Any]] = []

    def info(self, t: type) -> TypeInfo:
        """The number of a type; its record goes out with the next reply."""
        known = self._known.get(id(t))
        if known is not None and known[0]() is t:
            return known[1]
        with self._lock:
            self._last += 1
            number = self._last
        record = type_record(t, number)
        info = TypeInfo(number, "__next__" in record[4])
        with self._lock:
            if len(self._known) >= MAX_TYPES:
                self._forget_dead()
            if len(self._known) < MAX_TYPES:  # not held: a class may hold what it was made with
                self._known[id(t)] = weakref.ref(t), info
            self.data.append(record)
            self.control.append(record)
        return info

    def _forget_dead(self) -> None:
        """Make room; the lock is held."""
        for key in [key for key, (ref, _) in self._known.items() if ref() is None]:
            del self._known[key]

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
