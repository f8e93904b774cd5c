"""Where a session is in its life."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(str, enum.Enum):
    """Where a session is in its life; `TRANSITIONS` has the moves."""

    INITIALIZING = "initializing"
    """Named, and not yet known to a worker."""
    ACTIVE = "active"
    RELEASING = "releasing"
    """Being released; the worker has not acknowledged it yet."""
    RELEASED = "released"
    LOST = "lost"
    """Its worker has died."""


TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.INITIALIZING: frozenset((Status.ACTIVE, Status.RELEASING, Status.RELEASED)),
        Status.ACTIVE: frozenset((Status.RELEASING, Status.RELEASED, Status.LOST)),
        Status.RELEASING: frozenset((Status.RELEASED, Status.LOST)),
        Status.RELEASED: frozenset(),
        Status.LOST: frozenset(),
    }
)
"""Status to the statuses that may follow. A session goes from active to released at once where
the worker ends it by itself (expiry)."""
