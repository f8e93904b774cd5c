"""Whose turn it is to run calls in this process, as in a worker, where one runs at a time."""

from __future__ import annotations

import contextlib
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Turn:
    """Whose turn it is to run calls: one thread's, as often within each other as it likes."""

    def __init__(self) -> None:
        self._free = threading.Condition(threading.Lock())
        self._owner = self._depth = 0
        self._lenders: list[int] = []

    @property
    def mine(self) -> bool:
        """Whether it is this thread's."""
        return self._owner == threading.get_ident()

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; False if it is another's, and that is not waited for."""
        if not self.mine:
            with self._free:
                while self._owner:
                    if not blocking:
                        return False
                    self._free.wait()
                self._owner = threading.get_ident()
        self._depth += 1
        return True

    def release(self) -> None:
        """Give it back."""
        self._depth -= 1
        if not self._depth:
            with self._free:
                self._owner = 0
                self._free.notify_all()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Let others run calls meanwhile, if it is this thread's; all of them end before."""
        if not self.mine:
            yield
            return
        depth, me = self._depth, threading.get_ident()
        self._lenders.append(me)
        self._depth = 1
        self.release()
        interrupt: KeyboardInterrupt | None = None
        try:
            yield
        finally:
            while not self.mine:
                try:
                    self._resume(me)
                except KeyboardInterrupt as error:  # the books of who runs what come first
                    interrupt = error
            self._depth = depth
            if interrupt is not None:
                raise interrupt

    def _resume(self, me: int) -> None:
        with self._free:
            while self._owner or self._lenders[-1] != me:
                self._free.wait()
            self._lenders.pop()
            self._owner = me
