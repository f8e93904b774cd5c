"""Keeps the inspectors of one bridge up to date, and does what their users ask.

One daemon thread looks while any of them is shown: at once when a user acts or a cell ends, and
else several times a second, but only where there may be news. It alone touches the views, so that
messages may come in any thread; what may take time runs in threads of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from .actions import Actions
from .kernel import context
from .kernel.errors import BridgeError
from .kernel.log import report
from .kernel.watching import Watch
from .widgets.view import ALL, View

if TYPE_CHECKING:
    from .bridge import Bridge
    from .kernel.snapshot import Snapshot
    from .widgets.inspector import Inspector

TICK = 0.15
"""Seconds between looks for news, while something is shown."""
_STEADY = 1.0
"""Seconds after which the worker is asked though there is no sign of news: its memory changes."""
_UNSEEN = 60.0
"""Seconds that an inspector is kept up to date though no front end has said that it shows it: a
kernel that computes does not hear it."""
_MOST = 32
"""Inspectors that are kept; beyond that, the oldest that is not shown is closed."""
_PATIENCE = 2.0
"""Seconds to wait for the thread when the bridge is closed."""


class Inspection:
    """The inspectors of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = weakref.ref(bridge)
        client = weakref.proxy(bridge._remote)  # or a widget would keep the worker alive
        self._watch = Watch(client, bridge._holders, bridge._marks)
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._open: list[_Shown] = []
        self._inbox: deque[tuple[Inspector, Any]] = deque()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._snapshot: Snapshot = self._look()
        self._actions = Actions(client, self._post)
        self._over = ""

    # ------------------------------------------------------------ from any thread
    def inspector(self) -> Inspector:
        """A new inspector; one that the same cell has made before is closed."""
        from .widgets.inspector import Inspector

        view, scope = View(), context.here()
        snapshot = self.look()
        for before in [s for s in self._open if s.replaced_by(scope)]:
            view.take_over(before.inspector.view)
            before.inspector.close()
        state = view.state(snapshot, self._previews(view, snapshot))
        made = Inspector(view, state, self._post, self.look)
        with self._lock:
            self._open = [*self._open, _Shown(made, scope)]
            hidden = [s for s in self._open[:-1] if not s.inspector.view.seen]
            surplus = hidden[: max(0, len(self._open) - _MOST)]
            self._open = [s for s in self._open if s not in surplus]
        for shown in surplus:
            shown.inspector.close()
        self._start()
        return made

    def look(self) -> Snapshot:
        """What there is now, as far as the worker answers."""
        bridge = self._bridge()
        if bridge is not None and not bridge._client.closed:
            bridge._client.settle()
            self._snapshot = self._look()
        return self._snapshot

    def nudge(self) -> None:
        """Look at once: a cell has ended, so that names may be others."""
        if self._open:
            self._news.set()

    def close(self, why: str) -> None:
        """Say in each inspector that it is over, and end the thread."""
        self._over = why
        self._news.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def _post(self, inspector: Inspector, message: Any) -> None:
        if self._finished():
            return  # nobody reads it; and in a forked child, nobody may
        self._inbox.append((inspector, message))
        self._news.set()

    def _look(self) -> Snapshot:
        with self._turn:
            return self._watch.look()

    def _previews(self, view: View, snapshot: Snapshot) -> Any:
        with self._turn:
            return self._watch.previews(view.in_sight(snapshot))

    # ------------------------------------------------------------ the thread
    def _start(self) -> None:
        self._news.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                name = "bridge-inspection"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            pulse: Any = None
            looked = 0.0
            while not self._finished():
                nudged = self._news.wait(TICK if self._shown() else _STEADY)
                self._news.clear()
                self._hear()
                if not self._shown():
                    continue
                now, before = self._watch.pulse(), self._snapshot
                quiet = time.monotonic() - looked < _STEADY and not self._watch.unfinished
                if nudged or now != pulse or not quiet or self._busy():
                    self._snapshot = self._look()
                    looked = time.monotonic()
                    # once more after news: what was let go here goes there a little later
                    pulse = now if before.version == self._snapshot.version else None
                self._show()
            self._end()
        except ReferenceError:  # the bridge, which nobody refers to any more
            self._over = self._over or "the bridge was closed"
            self._end()
        except Exception as error:
            report("the inspectors are not kept up to date any more")
            self._over = f"it failed ({type(error).__name__}: {error})"
            self._end()

    def _finished(self) -> bool:
        bridge = self._bridge()
        if bridge is None or bridge._client.closed:
            self._over = self._over or "the bridge was closed"
        return bool(self._over)

    def _busy(self) -> bool:
        state = self._snapshot.worker
        return state is not None and (state.busy is not None or not state.answers)

    def _shown(self) -> list[_Shown]:
        return [s for s in self._open if s.shown]

    def _hear(self) -> None:
        """Do what users have done since."""
        while self._inbox:
            inspector, message = self._inbox.popleft()
            if message is None:
                with self._lock:
                    self._open = [s for s in self._open if s.inspector is not inspector]
                continue
            if type(message) is tuple:
                inspector.view.done(*message)
                continue
            snapshot = self._snapshot
            try:
                self._actions.start(inspector, inspector.view.handle(message, snapshot), snapshot)
            except Exception as error:
                told = isinstance(error, BridgeError)
                inspector.view.done(ALL, str(error) if told else f"{type(error).__name__}: {error}")
            self._show_one(inspector)

    def _show(self) -> None:
        for shown in self._shown():
            self._show_one(shown.inspector)

    def _show_one(self, inspector: Inspector) -> None:
        snapshot = self._snapshot
        previews = self._previews(inspector.view, snapshot)
        try:
            inspector.show(inspector.view.state(snapshot, previews))
        except Exception:  # an observer of the user's, or a socket that was closed
            report("an inspector could not be shown")

    def _end(self) -> None:
        """Say that it is over."""
        for shown in self._open:
            view = shown.inspector.view
            view.over = f"This inspector is over: {self._over}."
            with contextlib.suppress(Exception):  # the kernel's sockets may be closed by now
                shown.inspector.show(view.state(self._snapshot, {}))
        self._open = []


class _Shown:
    """One inspector, and where it was made."""

    def __init__(self, inspector: Inspector, scope: context.Scope) -> None:
        self.inspector = inspector
        self._cell, self._number = scope.cell_id, scope.number
        self._unseen_until = time.monotonic() + _UNSEEN

    @property
    def shown(self) -> bool:
        """Whether somebody may be looking at it."""
        return self.inspector.view.seen or time.monotonic() < self._unseen_until

    def replaced_by(self, scope: context.Scope) -> bool:
        """Whether the same cell runs again, so that its output is gone."""
        return self._cell is not None and (
            self._cell == scope.cell_id and self._number != scope.number
        )
