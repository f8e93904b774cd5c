"""What an idle worker gives back: memory that was freed, blocks kept warm, pages of segments."""

from __future__ import annotations

from ..wire import segments
from ..wire.framing import pool
from ..wire.pool import IDLE as UNUSED
from .trimming import IDLE, Trimmer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..wire.channel import Channel

_SENDING = 0.25
"""Seconds until it is tried again, where somebody was sending."""


class Idling:
    """Looks for what is to be given back, in the thread that has the clock.

    That thread waits without an end while there is nothing, and is woken when there is.

    Args:
        data: the channel whose segments are meant.
        wake: makes that thread look; from any thread.
    """

    def __init__(self, data: Channel, wake: Callable[[], None]) -> None:
        self._data, self._wake = data, wake
        self._trimmer = Trimmer()
        self._calls, self._idle_since = 0, 0.0
        pool.begins = wake
        if data.outgoing is not None:
            data.outgoing.begins = wake

    def freed(self, refs: int, nbytes: int) -> None:
        """Note what was let go; it goes back to the system once nothing runs."""
        if self._trimmer.dropped(refs, nbytes):
            self._wake()

    def turn(self, now: float, calls: int, busy: bool) -> float | None:
        """Give back what is due; seconds until there may be more, None if there is nothing.

        Args:
            now: on the monotonic clock.
            calls: how many calls there were.
            busy: whether one runs.
        """
        waits = [wait for wait in (self._trim_pool(now), self._trim_segments(now)) if wait]
        if self._trimmer.enough:
            waits.append(self._trim(now, calls, busy))
        return min(waits, default=None)

    def _trim_pool(self, now: float) -> float | None:
        due = pool.due(UNUSED)
        if due is not None and due <= now:
            self._trimmer.dropped(0, pool.trim(UNUSED))
            due = pool.due(UNUSED)
        return None if due is None else max(due - now, _SENDING)

    def _trim_segments(self, now: float) -> float | None:
        outgoing = self._data.outgoing
        due = outgoing.due(UNUSED) if outgoing is not None else None
        if outgoing is not None and due is not None and due <= now:
            segments.trim(self._data, UNUSED)
            due = outgoing.due(UNUSED)
        return None if due is None else max(due - now, _SENDING)

    def _trim(self, now: float, calls: int, busy: bool) -> float:
        """Give freed memory back, if it is time; seconds until it may be."""
        if busy or calls != self._calls:
            self._calls, self._idle_since = calls, now
        due = self._trimmer.due(now, self._idle_since)
        if due is not None and due <= now and not busy:
            self._trimmer.run()
        return max(0.0, due - now) if due is not None and due > now else IDLE
