"""Who keeps a session alive. Owners are never held by this, only looked at."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from .errors import BridgeUsageError


class Owners:
    """The owners of one session: a default until the first is given, then those given.

    A thread is gone when it has ended, any other object when it is collected. No callback runs
    when that happens: `gone` looks, because a finalizer must not do I/O.
    """

    __slots__ = ("_given", "_lock", "default", "given")

    def __init__(self, default: str) -> None:
        self.default = default
        self.given = False
        self._lock = threading.Lock()
        self._given: dict[int, tuple[weakref.ref[Any], str]] = {}

    def add(self, owner: object) -> None:
        """Register an owner; registering it again changes nothing.

        Raises:
            BridgeUsageError: it cannot be weakly referenced.
        """
        ref = check_owner(owner)
        with self._lock:
            self._given[id(owner)] = (ref, _describe(owner))
            self.given = True

    def remove(self, owner: object) -> bool:
        """Take an owner away; whether none is left.

        Raises:
            BridgeUsageError: it is no owner.
        """
        with self._lock:
            known = self._given.get(id(owner))
            if known is None or known[0]() is not owner:
                raise BridgeUsageError(f"{_describe(owner)} is no owner of this session")
            del self._given[id(owner)]
            return not self._given

    def gone(self) -> bool:
        """Whether owners were given and none of them is left."""
        with self._lock:
            for key, (ref, _) in list(self._given.items()):
                owner = ref()
                if owner is None or _ended(owner):
                    del self._given[key]
            return self.given and not self._given

    def names(self) -> tuple[str, ...]:
        """The owners as text."""
        with self._lock:
            if self.given:
                return tuple(name for _, name in self._given.values())
        return (self.default,)


def check_owner(owner: object) -> weakref.ref[Any]:
    """A weak reference to an owner.

    Raises:
        BridgeUsageError: there can be none.
    """
    try:
        return weakref.ref(owner)
    except TypeError:
        raise BridgeUsageError(
            f"{type(owner).__name__} cannot own a session, because it cannot be weakly "
            "referenced; give an object of a class, a function or a thread"
        ) from None


def _ended(owner: object) -> bool:
    return isinstance(owner, threading.Thread) and owner.ident is not None and not owner.is_alive()


def _describe(owner: object) -> str:
    if isinstance(owner, threading.Thread):
        return f"thread {owner.name}"
    return f"{type(owner).__name__} object"
