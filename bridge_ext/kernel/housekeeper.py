"""The bridge's one daemon thread: news of the worker, queued releases, owners, burials."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from . import hearing
from .errors import ProtocolError
from .log import report
from .wire.framing import pool
from .wire.loading import malformed
from .wire.pool import IDLE

if TYPE_CHECKING:
    from .backends.base import Connection
    from .incarnation import Incarnation
    from .supervisor import Supervisor

TICK = 0.25
"""Seconds between looks at what cannot wake a thread: finalizers, and owners that have ended."""
_LOOKS = 1_000
"""Looks, 0.02 s apart, for the end of a worker that is being ended, and of the calls it had."""


class Housekeeper:
    """Runs beside a client, and never holds it: a bridge that nobody refers to is closed here."""

    def __init__(self, client: Supervisor) -> None:
        self._client = weakref.ref(client)
        self._thread: threading.Thread | None = None
        self._stop = False
        self._nudge = threading.Event()
        self._retired: list[Connection] = []
        self.failure: BaseException | None = None
        """What ended the thread, if it did not end by itself."""

    def start(self) -> None:
        """Run; if it runs already, look for a new worker at once."""
        self._nudge.set()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="bridge-housekeeper", daemon=True
            )
            self._thread.start()

    def stop(self, deadline: float = 2.0) -> None:
        """End the thread; what it had to free is freed."""
        self._stop = True
        self._nudge.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline)

    def retire(self, incarnation: Incarnation) -> None:
        """Free a dead connection once nobody waits on it any more."""
        self._retired.append(incarnation.connection)

    def _run(self) -> None:
        connection: Connection | None = None
        try:
            while not self._stop:
                self._nudge.clear()
                client = self._client()
                if client is None:
                    break
                incarnation = client.incarnation
                connection = incarnation.connection if incarnation is not None else None
                del client, incarnation
                if connection is None:
                    self._nudge.wait(TICK)
                    news = []
                else:
                    news = connection.watch(TICK)
                client = self._client()
                if client is not None:
                    self._tidy(client, connection, news)
                del client
        except BaseException as error:
            self.failure = error
            report("the bridge's housekeeper ended")
        finally:
            self._leave(connection)

    def _leave(self, connection: Connection | None) -> None:
        """Nobody needs the worker any more."""
        if connection is not None:
            if connection.death is None:
                connection.close(0.0)
            if connection not in self._retired:
                self._retired.append(connection)
        self._free(wait=True)
        pool.trim(0.0)  # nobody may be there to do it later

    def _tidy(
        self, client: Supervisor, connection: Connection | None, news: list[tuple[str, list[Any]]]
    ) -> None:
        incarnation = client.incarnation
        if incarnation is not None and incarnation.connection is connection:
            try:
                for event, details in news:
                    with malformed("news"):
                        _hear(client, incarnation, event, details)
            except ProtocolError as error:
                client.end_worker(incarnation, f"broke the protocol ({error}) and was ended")
            if connection is not None and connection.death is not None:
                client.bury(incarnation)
        for session in client.sessions.ownerless():
            client.release_session(session)
        client.sessions.expire_unused()
        client.flush(patient=False)
        pool.trim(IDLE)
        self._free(wait=False)

    def _free(self, *, wait: bool) -> None:
        pause = threading.Event()
        for _ in range(_LOOKS if wait else 1):
            self._retired = [c for c in self._retired if not c.free()]
            if not self._retired or not wait:
                return
            pause.wait(0.02)


def _hear(client: Supervisor, incarnation: Incarnation, event: str, details: list[Any]) -> None:
    """Keep the books of what the worker did by itself."""
    if event == "evicted":
        session_id, ref_ids = hearing.evicted(details)
        incarnation.evicted(session_id, ref_ids, "evicted")
    elif event == "ended":
        session_id, generation, reason, refs, nbytes = hearing.ended(details)
        session = client.sessions.by_generation(session_id, generation)
        if session is not None:
            client.sessions.ended(session, reason, refs, nbytes)
    client.sessions.publish()
