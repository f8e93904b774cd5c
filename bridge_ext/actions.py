"""Does what the user of an inspector asks, in threads of its own: it may have to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .kernel.errors import BridgeError
from .widgets.view import ALL, WORKER, Interrupt, Release, Restart

if TYPE_CHECKING:
    from .kernel.remote import Remote
    from .kernel.snapshot import Snapshot
    from .widgets.view import Action

Done = Callable[[Any, "tuple[str, str]"], None]


class Actions:
    """Actions on one bridge.

    Args:
        client: the bridge's.
        done: told of the end of each, with `(target, error or "")`.
    """

    def __init__(self, client: Remote, done: Done) -> None:
        self._client, self._done = client, done

    def start(self, who: Any, actions: Iterable[Action], snapshot: Snapshot) -> None:
        """Do these one after the other; refs of one session together."""
        steps = list(self._steps(actions, snapshot))
        if steps:
            threading.Thread(
                target=self._run, args=(who, steps), name="bridge-inspection-action", daemon=True
            ).start()

    def _run(self, who: Any, steps: list[tuple[list[str], Callable[[], object]]]) -> None:
        for targets, step in steps:
            error = ""
            try:
                step()
            except BridgeError as failure:
                error = str(failure)
            except BaseException as failure:
                error = f"{type(failure).__name__}: {failure}"
            for target in targets:
                self._done(who, (target, error))

    def _steps(
        self, actions: Iterable[Action], snapshot: Snapshot
    ) -> Iterable[tuple[list[str], Callable[[], object]]]:
        """`(targets, what to do)`."""
        client = self._client
        refs: dict[str, list[int]] = {}
        for action in actions:
            if isinstance(action, Interrupt):
                yield [WORKER], client.interrupt
            elif isinstance(action, Restart):
                yield [WORKER], client.restart
            elif isinstance(action, Release) and action.target == ALL:
                yield [ALL], self._release_all
            elif action.target.startswith("s:"):
                yield [action.target], self._release_session(action.target[2:])
            else:
                ref = snapshot.refs[int(action.target[2:])]
                refs.setdefault(ref.session_id, []).append(ref.id)
        for session_id, ref_ids in refs.items():
            yield [f"r:{i}" for i in ref_ids], self._release_refs(session_id, ref_ids)

    def _release_all(self) -> None:
        for session in self._client.sessions.all():
            self._client.release_session(session)

    def _release_session(self, session_id: str) -> Callable[[], object]:
        return lambda: self._client.release_session(self._client.sessions.find(session_id))

    def _release_refs(self, session_id: str, ref_ids: list[int]) -> Callable[[], object]:
        def release() -> None:
            incarnation = self._client.incarnation
            if incarnation is not None:
                session = self._client.sessions.find(session_id)
                self._client.release_refs(session, ref_ids, incarnation)

        return release
