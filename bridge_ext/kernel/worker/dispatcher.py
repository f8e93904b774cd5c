"""What the threads of one worker share: sessions, types, helpers, and what runs."""

from __future__ import annotations

import os
import sys
import time

from ..errors import ProtocolError, RemoteError
from ..wire.codec import Numpy
from ..wire.limits import INLINE_LIMIT
from ..wire.loading import malformed
from ..wire.payload import check
from .environment import set_environment
from .handlers import ANYWHERE, HANDLERS
from .holding import Spec
from .hooks import Later
from .importing import Importer
from .inbox import Inbox, Pickled
from .introspect import facts
from .kinds import TypeTable
from .prepared import PreparedCalls
from .rest import ALONE, REST
from .serving import Serving
from .store import Store
from .views import ref_count
from .watching import resident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..wire.framing import Frame
    from .asking import Callback
    from .handlers import Payload


_REMINDERS = (0.02, 0.1, 0.5)
"""Seconds from one signal of a cancel to the next; what does not hear the last is in C code."""


class Host:
    """What a dispatcher asks of the process it runs in."""

    in_process = True
    """Whether user code runs in the kernel's own process: then its KeyboardInterrupt is real."""

    def announce(self, event: str, details: list[Any]) -> None:
        """Tell the kernel, one way: ("evicted" | "ended", details)."""

    def mark_output(self, call_id: int) -> None:
        """What is written from now on is the output of that call."""

    def begin_output(self, call_id: int) -> None:
        """The same, if anything else has been written since the last call."""

    def publish(self, message: list[Any]) -> None:
        """Show something (see `publishing`) in the cell of the call that this thread belongs to."""

    def wake_clock(self) -> None:
        """The next timer rings earlier than before."""

    def freed(self, refs: int, nbytes: int) -> None:
        """So much was let go; its memory may be given back to the system."""

    def wake_main(self) -> None:
        """Have the main thread look at its cancelled calls."""

    def ask(self, callback: Callback, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a callback in the kernel."""
        raise NotImplementedError


class Dispatcher:
    """One worker's calls and sessions.

    Attributes:
        main: serves the data channel.
        store, importer, helpers, prepared, types, publisher: what every thread that serves uses.
        busy: the payload that the main thread runs, and since when.
        calls: how many calls were served.
    """

    def __init__(self, config: dict[str, Any], host: Host) -> None:
        self.host = host
        self.types = TypeTable()
        self.store = Store(self.types.info, facts, host.announce, host.wake_clock)
        self.store.last_id = int(config.get("refs_before", 0))
        self.isolate = bool(config.get("isolate_cells"))
        self.inline_limit = int(config.get("inline_limit", INLINE_LIMIT))
        self.importer = Importer()
        self.helpers: dict[str, Any] = {}
        self.prepared = PreparedCalls()
        self.publisher = Later(host.publish)
        self.hidden = frozenset(_own_files())
        self.calls = 0
        self.busy: tuple[Payload, float] | None = None
        Numpy.scalars = bool(config.get("numpy", True))
        self.main = self.serving()
        self._controls = self.serving()
        self._start = resident()
        self._reminders: list[float] = []
        self._remind_at = 0.0

    def serving(self) -> Serving:
        """What another thread serves with."""
        return Serving(self)

    # ------------------------------------------------------------ what comes in heads
    def take_back(self, releases: list[Any]) -> None:
        """Receipts and sessions that nobody in the kernel can reach any more."""
        receipts, sessions = releases
        doomed: list[Any] = [self.store.give_back(receipts)] if receipts else []
        for session_id, generation, reason in sessions:
            released = self.store.release_session(session_id, generation, reason)
            doomed.append(released.doomed)
            self.host.announce(
                "ended", [session_id, generation, reason, released.refs, released.nbytes]
            )
        doomed.clear()
        self.let_go()

    def let_go(self) -> None:
        """Tell the process what was let go since."""
        refs, nbytes = self.store.books.take_freed()
        if refs:
            self.host.freed(refs, nbytes)

    def declare(self, declarations: list[list[Any]]) -> None:
        """What the kernel makes known before a request."""
        for kind, *details in declarations:
            if kind == "session":
                self.store.declare(Spec(*details))
            elif kind == "helper":
                name, data = details
                self.helpers[name] = Pickled(data, 0, [])
            elif kind == "prepare":
                self.prepared.keep(*details)
            elif kind == "mark":
                self.host.mark_output(*details)
            elif kind == "environment":
                set_environment(*details)
            elif kind == "display":
                self.publisher.follow(*details)
            elif kind == "taken":
                self.taken([[kind, *details]])
            elif kind == "patient":
                pass  # the request may be left for later; see `asking`
            else:
                raise ProtocolError(f"unknown declaration {kind!r}")

    def taken(self, declarations: Iterable[list[Any]]) -> None:
        """What the kernel's users have had of streams that go on elsewhere: items before those."""
        for kind, *details in declarations:
            if kind == "taken":
                ref_id, position = details
                entry = self.store.find(ref_id)
                if entry is not None and entry.ahead is not None:
                    entry.ahead.acknowledge(position)

    # ------------------------------------------------------------ control
    def anywhere(self, payload: Payload) -> bytes:
        """The reply's body for a payload that either channel may bring."""
        call_type = check(payload)
        if call_type not in ANYWHERE:
            raise ProtocolError(f"{call_type!r} is no request of the control channel")
        body, _ = HANDLERS[call_type](self._controls, payload, None, "")
        return body

    def cancel(self, call_id: int) -> str:
        """Stop a call of the main thread: "running", "waiting" or "ended", see `Running`."""
        found = self.main.running.cancel(call_id)
        if found == "running":
            self._reminders = [*_REMINDERS]
            self._remind_at = time.monotonic() + _REMINDERS[0]
            self.host.wake_main()
        return found

    def remind(self, now: float) -> float | None:
        """Wake the main thread again for a cancelled call that it has not noticed.

        A signal that comes just before the thread goes to sleep in a system call does not wake it.

        Args:
            now: on the monotonic clock.

        Returns:
            Seconds until the next time, if there is to be one.
        """
        if not self._reminders or not self.main.running.unheard:
            return None
        if now >= self._remind_at:
            self.host.wake_main()
            self._reminders.pop(0)
            if not self._reminders:
                return None
            self._remind_at = now + self._reminders[0]
        return self._remind_at - now

    @property
    def begun(self) -> float | None:
        """Since when what is used may be in use still, on the monotonic clock; None: it is not."""
        busy = self.busy
        if busy is None:
            return None
        return busy[1] if len(self.main.running.calls) == 1 else 0.0

    def status(self) -> list[Any]:
        """What it does and holds.

        Returns:
            `[what runs, for how many seconds, calls served, refs held, their bytes, resident
            bytes at the start]`.
        """
        busy = self.busy
        return [
            _text(busy[0]) if busy else None,
            time.monotonic() - busy[1] if busy else 0.0,
            self.calls,
            self.store.view(ref_count),
            self.store.books.total.nbytes,
            self._start,
        ]

    # ------------------------------------------------------------ callbacks
    def question(
        self, callback: Callback, args: Any, kwargs: dict[str, Any], serving: Serving
    ) -> bytes:
        """The packed payload that asks the kernel to run a callback.

        Raises:
            RefNotFoundError: its session has ended.
        """
        _, session_id, generation = callback.where
        session = self.store.enter_for_callback(repr(callback), session_id, generation)
        payload = {
            "call_type": "callback",
            "session_id": session_id,
            "generation": generation,
            "instance": callback.where,
        }
        try:
            return serving.outbox.arguments(payload, args, kwargs, session)
        finally:
            self.store.leave(session)

    def answer(self, callback: Callback, frame: Frame) -> Any:
        """What a callback returned.

        Raises:
            Exception: what it raised. If it goes on to the kernel uncaught, the kernel knows by
                its number which of its own exceptions that is.
        """
        inbox = Inbox(self.store, self.host.ask)
        answer = inbox.open(frame.body)
        with malformed("answer"):
            status, number, in_force = (answer[k] for k in ("status", "error", "in_force"))
        _, session_id, generation = callback.where
        session = self.store.enter_for_callback(repr(callback), session_id, generation)
        try:
            inbox.check_walls(session, in_force, self.isolate)
            inbox.unpickle(answer, frame.buffers)
        except Exception:
            if status == 0:
                raise
            answer["args"] = [None]  # a type that this process cannot have
        finally:
            self.store.leave(session)
        (value,) = answer["args"]
        if status == 0:
            return value
        error = value if isinstance(value, BaseException) else RemoteError(*answer["failure"])
        object.__setattr__(error, "_bridge_number", number)
        raise error


def _text(payload: Payload) -> str:
    """What a payload runs: "math.sqrt", or its call type."""
    module = payload.get("python_module") or payload.get("module_path")
    name = payload.get("function") or payload.get("attr") or payload.get("helper")
    return ".".join(filter(None, (module, name))) or str(payload["call_type"])


def _own_files() -> list[str]:
    """Files of ours, loaded or not, whose frames a traceback leaves out."""
    root = __name__.partition(".")[0] + ".kernel."
    loaded = [m.__file__ or "" for n, m in list(sys.modules.items()) if n.startswith(root)]
    folder = os.path.dirname(os.path.dirname(__file__))
    return [*loaded, *(f"{os.path.join(folder, *name.split('.'))}.py" for name in (*REST, *ALONE))]
