"""The worker's life as the kernel sees it: started at need, buried when dead, closed at the end."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from .backends import interrupts
from .backends.base import Stopped
from .display import Message, to_stdout
from .errors import BridgeClosedError, WorkerStartError
from .housekeeper import Housekeeper
from .incarnation import Incarnation, Loss
from .log import logger
from .session import Limits
from .sessions import SessionManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backends.base import Backend, Connection
    from .configuration import WorkerConfig
    from .helpers import Helper
    from .model import Released
    from .session import Session

_GRACE = 1.0
"""Seconds a worker has to end politely; the kernel's own exit has about two."""
_REFS = 2**32
"""Ref ids of one worker; JavaScript counts those of 2 million workers exactly."""
_open: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class Supervisor(ABC):
    """One worker at a time, and the books of what it holds.

    Args:
        backend: where workers live.
        config: what a worker is told at its start.
        defaults: limits of a session that is given none.
        strict: whether an auto-session ends with its scope, whatever still refers to it.
        isolate: whether auto-sessions are walls too.
    """

    def __init__(
        self,
        backend: Backend,
        config: WorkerConfig,
        defaults: Limits,
        *,
        strict: bool = False,
        isolate: bool = False,
    ) -> None:
        self.backend, self._config = backend, config
        self.strict, self.isolate = strict, isolate
        self.key = id(self)
        self.sessions = SessionManager(self.key, defaults)
        self.helpers: dict[str, Helper] = {}
        self.follow_cwd = config.follow_cwd
        self.show: Callable[[Message], None] = to_stdout
        """Where what the worker's code shows is shown."""
        self._lock = threading.Lock()
        self._incarnation: Incarnation | None = None
        self._started = 0
        self._closed = ""
        self._pid = os.getpid()
        self._housekeeper = Housekeeper(self)
        _open.add(self)

    @abstractmethod
    def incarnate(self, connection: Connection) -> Incarnation:
        """The books of a fresh worker."""

    @abstractmethod
    def release_session(self, session: Session) -> Released:
        """End a session; what it freed."""

    @property
    def closed(self) -> str:
        """Why this bridge cannot be used, or ""."""
        return self._closed

    @property
    def started(self) -> int:
        """How many workers were started."""
        return self._started

    @property
    def incarnation(self) -> Incarnation | None:
        """The living incarnation, if there is one; none is started."""
        incarnation = self._incarnation
        if incarnation is None or incarnation.loss is not None or self._closed:
            return None
        return incarnation

    def connect(self) -> Incarnation:
        """The living incarnation, started when there is none.

        Raises:
            BridgeClosedError: the bridge was closed.
            WorkerStartError: the system has no room for one, or no such Python.
        """
        if self._closed:
            raise BridgeClosedError(self._closed)
        incarnation = self._incarnation
        if incarnation is not None and incarnation.loss is None:
            if incarnation.connection.death is None:
                return incarnation
            self.bury(incarnation)
        with interrupts.held(), self._lock:  # or one could lose a process half started
            return self._start()

    def _start(self) -> Incarnation:
        if self._closed:
            raise BridgeClosedError(self._closed)
        incarnation = self._incarnation
        if incarnation is None or incarnation.loss is not None:
            self._started += 1
            before = (self._started - 1) * _REFS  # so that a ref id is never another worker's
            config = {**self._config(), "refs_before": before}
            try:
                connection = self.backend.open(self._started, config)
            except OSError as error:
                raise WorkerStartError(f"{type(error).__name__}: {error}") from error
            incarnation = self._incarnation = self.incarnate(connection)
            log = logger()
            if log is not None:
                log.debug("worker %d started, pid %s", self._started, connection.pid)
            self._housekeeper.start()
        return incarnation

    def bury(self, incarnation: Incarnation, why: str | None = None) -> Loss:
        """Keep the books of a worker that has died, or is about to: its sessions are lost."""
        with self._lock:
            if incarnation.loss is None:
                death = incarnation.connection.death
                how = why or (death.how if death is not None else "has died")
                refs = incarnation.refs.count()
                lost = self.sessions.lose(incarnation.number, f"its worker {how}")
                incarnation.loss = Loss(how, tuple(s.id for s in lost), refs)
                self._housekeeper.retire(incarnation)
                log = logger()
                if log is not None:
                    log.info("worker %d %s; lost %d refs", incarnation.number, how, refs)
            loss = incarnation.loss
        self.sessions.publish()
        return loss

    def end_worker(self, incarnation: Incarnation, why: str) -> Loss:
        """End a worker now; returns when it is reaped."""
        with interrupts.held():  # or one could leave a worker behind that is buried already
            loss = self.bury(incarnation, why)
            incarnation.connection.kill()
        return loss

    def restart(self, why: str = "was restarted") -> None:
        """End the worker, politely if it is idle, and start a fresh one; what it held is lost."""
        with interrupts.held():
            incarnation = self.incarnation
            if incarnation is not None:
                self.bury(incarnation, why)
                incarnation.connection.close(_GRACE)
            self.connect()

    def interrupt(self) -> Stopped:
        """Stop what runs in the worker; the worker itself, if that was asked for and did not."""
        incarnation = self.incarnation
        if incarnation is None:
            return Stopped.NOTHING
        stopped = incarnation.connection.interrupt()
        if stopped is Stopped.KILL:
            self.end_worker(incarnation, "was ended by a second interrupt")
        return stopped

    def register_owner(self, session_id: str, owner: object) -> None:
        """Let an owner hold a session; from now on somebody looks whether it is still there."""
        self.sessions.register_owner(session_id, owner)
        self._housekeeper.start()

    def flush(self, *, patient: bool = True) -> None:
        """Send the releases that finalizers have queued; unless patient, only if nobody sends."""
        incarnation = self.incarnation
        if incarnation is None:
            ended = self.sessions.leases_ended
            while ended:
                self.sessions.end_unleased(ended.popleft(), 0)
        elif incarnation.refs.dropped or self.sessions.leases_ended:
            incarnation.connection.tell(incarnation.outgoing, patient=patient)
        self.sessions.publish()

    def close(self, why: str = "it was closed") -> None:
        """Release everything and end the worker; returns when it is reaped."""
        with interrupts.held():
            self._close(why)

    def _close(self, why: str) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = why
            incarnation = self._incarnation
        if incarnation is not None and incarnation.loss is None:
            incarnation.connection.close(_GRACE)
            self._housekeeper.retire(incarnation)
        for session in self.sessions.all():
            self.sessions.ended(session, "session released")
        self._housekeeper.stop()
        self.sessions.publish()
        _open.discard(self)

    def forked(self) -> None:
        """In a forked child: this bridge belongs to the parent."""
        self._closed = f"it belongs to process {self._pid}, from which this one was forked"
        _open.discard(self)
        incarnation = self._incarnation
        if incarnation is not None and incarnation.loss is None:
            incarnation.connection.abandon()


@atexit.register
def _close_all() -> None:
    for supervisor in list(_open):
        supervisor.close("the interpreter is shutting down")


def _after_fork() -> None:
    for supervisor in list(_open):
        supervisor.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
