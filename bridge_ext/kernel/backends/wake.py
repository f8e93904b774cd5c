"""A descriptor that wakes a poll."""

from __future__ import annotations

import os
import threading


class Wake:
    """Set from any thread, cleared by the one that polls."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._lock = threading.Lock()
        self._closed = False
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """What to poll."""
        return self._read

    def set(self) -> None:
        """Wake the poll, unless it was closed: its number may be another's by now."""
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._write, b"w")
                except BlockingIOError:
                    pass  # it is full of wakes already

    def clear(self) -> None:
        """Take the wakes off."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the descriptors back, once."""
        with self._lock:
            self._abandon()

    def abandon(self) -> None:
        """The same in a forked child, where whoever held the lock is not."""
        self._abandon()

    def _abandon(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._read)
            os.close(self._write)
