"""One session as the kernel knows it: its record, its limits, and what holds an auto-session."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

from .errors import BridgeUsageError
from .owners import Owners
from .status import TRANSITIONS, Status
from .wire.payload import part

if TYPE_CHECKING:
    from collections import deque

    from .callbacks import Callback
    from .prepared import Known
    from .wire.payload import Part


OVERFLOWS = ("error", "evict")
LIVE = (Status.INITIALIZING, Status.ACTIVE)


class Limits:
    """The limits of a session; None in a request for one means "leave it as it is"."""

    __slots__ = ("max_refs", "overflow", "ttl_seconds")

    def __init__(
        self,
        max_refs: int | None = None,
        ttl_seconds: float | None = None,
        overflow: str | None = None,
    ) -> None:
        if max_refs is not None and (type(max_refs) is not int or max_refs < 1):
            raise BridgeUsageError(f"max_refs={max_refs!r}: give a whole number of 1 or more")
        if ttl_seconds is not None and (
            not isinstance(ttl_seconds, (int, float)) or not 0 < ttl_seconds < 1e9
        ):
            raise BridgeUsageError(f"ttl_seconds={ttl_seconds!r}: give seconds, more than 0")
        if overflow is not None and overflow not in OVERFLOWS:
            raise BridgeUsageError(f"overflow={overflow!r}: give one of {', '.join(OVERFLOWS)}")
        self.max_refs, self.ttl_seconds, self.overflow = max_refs, ttl_seconds, overflow

    def over(self, other: Limits) -> Limits:
        """These limits, and the other's where these leave a gap."""
        return Limits(
            other.max_refs if self.max_refs is None else self.max_refs,
            other.ttl_seconds if self.ttl_seconds is None else self.ttl_seconds,
            other.overflow if self.overflow is None else self.overflow,
        )

    def as_tuple(self) -> tuple[int | None, float | None, str | None]:
        """`(max_refs, ttl_seconds, overflow)`."""
        return self.max_refs, self.ttl_seconds, self.overflow


class Session:
    """The kernel's record of one generation of one session id."""

    __slots__ = (
        "__weakref__",
        "auto",
        "callbacks",
        "cell",
        "created_at",
        "created_mono",
        "dismissed",
        "generation",
        "id",
        "incarnation",
        "lease",
        "limits",
        "live",
        "made_id",
        "owners",
        "part",
        "prepared",
        "reason",
        "status",
        "tags",
    )

    def __init__(self, id: str, generation: int, auto: bool, limits: Limits, cell: str) -> None:
        self.id, self.generation, self.auto = id, generation, auto
        self.limits, self.cell = limits, cell
        self.status = Status.INITIALIZING
        self.live = True
        self.tags: dict[str, str] = {}
        self.owners = Owners("" if auto else "kernel")
        self.created_at = time.time()
        self.created_mono = time.monotonic()
        self.incarnation = 0
        self.reason = ""
        self.part = part({"session_id": id, "generation": generation})
        self.prepared: dict[Part, Known] = {}
        self.made_id = auto
        self.dismissed = False
        self.callbacks: dict[int, Callback] = {}
        self.lease: weakref.ref[Lease] | None = None

    @property
    def leased(self) -> bool:
        """Whether it is an auto-session that its scope, a handle or a call still holds."""
        return self.lease is not None and self.lease() is not None

    def become(self, status: Status) -> None:
        """Move to another status.

        Raises:
            RuntimeError: the table has no such move.
        """
        if status not in TRANSITIONS[self.status]:
            raise RuntimeError(
                f"session {self.id!r} cannot go from {self.status.value} to {status.value}"
            )
        self.status = status
        self.live = status in LIVE

    def spec(self) -> list[Any]:
        """What a worker is told of it."""
        max_refs, ttl, overflow = self.limits.as_tuple()
        return [self.id, self.generation, self.auto, max_refs, ttl, overflow]


class Lease:
    """What holds an auto-session: its scope, its handles, its calls in flight.

    When the last of them lets go, the finalizer queues the session; it does nothing else.
    """

    __slots__ = ("__weakref__", "_ended", "session")

    def __init__(self, session: Session, ended: deque[Session]) -> None:
        self.session = session
        self._ended: deque[Session] | None = ended

    def disarm(self) -> None:
        """Forget the session without ending it."""
        self._ended = None

    def __del__(self) -> None:
        if self._ended is not None:
            self._ended.append(self.session)
