"""What one inspector shows and what its user has done: sorted, filtered, folded, selected, asked.

Pure: it takes messages of the front end and snapshots, and gives actions and states. `state` has
the shape that `inspector.js` draws; a message is one thing that the user did.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..kernel.errors import BridgeUsageError
from ..kernel.model import SessionInfo
from ..kernel.snapshot import HeldRef
from .listing import COLUMNS, Listing, Order, held_sessions, key_of, listing
from .panel import worker_panel
from .questions import empty, question, question_of_all, question_of_restart, unlisted
from .rows import row_of
from .texts import fit
from .units import size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..kernel.snapshot import Snapshot
    from .listing import Line

FIRST = 40
"""Lines of the first paint, and the most that a view shows without scrolling."""
MAX_WINDOW = 500
"""Lines of one window: more than any screen has."""
_FAR = 10**9
"""The line that no window begins after."""
MAX_VIEWS = 4
"""Windows that are kept: those of pages that were closed without a word fall out."""
MAX_FILTER = 200
"""Characters of a filter."""
MAX_FAILURE = 1_000
"""Characters of what went wrong."""
ALL, WORKER = "all", "worker"
"""Targets of actions beside the keys of lines."""


@dataclass(frozen=True, slots=True)
class Release:
    """Release these: keys of lines, or `ALL`."""

    target: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop what the worker runs."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a fresh worker."""


Action = Release | Interrupt | Restart


class View:
    """One inspector. Not thread-safe: one thread drives it.

    Attributes:
        over: why it is over, once it is.
    """

    def __init__(self) -> None:
        self.order = Order()
        self.filter = ""
        self.over: str | None = None
        self._folded: set[str] = set()
        self._folded_found: set[str] = set()  # while a filter is given: what it finds is shown
        self._selected: dict[str, None] = {}
        self._anchor: str | None = None
        self._windows: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._asks: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._doing: dict[str, str] = {}
        self._heard = 0  # a state that tells that a message has come is another one
        self._listed: tuple[Any, Listing] | None = None

    @property
    def seen(self) -> bool:
        """Whether it is shown anywhere."""
        return bool(self._windows)

    @property
    def folded(self) -> set[str]:
        """Ids of the sessions whose refs are hidden."""
        return self._folded_found if self.filter else self._folded

    # ------------------------------------------------------------ what the user does
    def handle(self, message: Any, snapshot: Snapshot) -> list[Action]:
        """Take one message; what is to be done for it.

        Raises:
            BridgeUsageError: it is no message of the front end's.
        """
        self._heard += 1
        if self.over:
            return []
        try:
            return _DOES[message["do"]](self, message, snapshot) or []
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise BridgeUsageError(f"{message!r:.200} cannot be done ({error!r})") from None

    def _window(self, message: Any, snapshot: Snapshot) -> None:
        name, first, number = message["view"], int(message["first"]), int(message["count"])
        name = fit(name, 64)
        self._windows[name] = (min(_FAR, max(0, first)), min(MAX_WINDOW, max(0, number)))
        self._windows.move_to_end(name)
        while len(self._windows) > MAX_VIEWS:
            self._windows.popitem(last=False)

    def _leave(self, message: Any, snapshot: Snapshot) -> None:
        self._windows.pop(fit(message["view"], 64), None)

    def _sort(self, message: Any, snapshot: Snapshot) -> None:
        if message["by"] not in COLUMNS:
            raise ValueError(f"columns are {', '.join(COLUMNS)}")
        self.order = self.order.clicked(message["by"])

    def _set_filter(self, message: Any, snapshot: Snapshot) -> None:
        self.filter = fit(message["text"], MAX_FILTER)
        self._folded_found = set()

    def _fold(self, message: Any, snapshot: Snapshot) -> None:
        every = [key_of(s) for s in snapshot.sessions.values()]
        ids = {key[2:] for key in message["keys"] or every if key[:2] == "s:"}
        if message["folded"]:
            self.folded.update(ids)
        else:
            self.folded.difference_update(ids)

    def _select(self, message: Any, snapshot: Snapshot) -> None:
        key, how = message.get("key"), message["how"]
        keys = [key_of(line) for line in self.lines(snapshot).lines]
        if how == "none":
            self._selected = {}
        elif how == "all":
            self._selected = dict.fromkeys(keys)
        elif key not in keys:
            return
        elif how == "to" and self._anchor in keys:
            start, end = sorted((keys.index(self._anchor), keys.index(key)))
            self._selected = dict.fromkeys(keys[start : end + 1])
            return
        elif how == "toggle" and key in self._selected:
            del self._selected[key]
        elif how == "toggle":
            self._selected[key] = None
        else:
            self._selected = {key: None}
        self._anchor = key

    def _release(self, message: Any, snapshot: Snapshot) -> list[Action]:
        return self._release_all_of([message["key"]], snapshot)

    def _release_selected(self, message: Any, snapshot: Snapshot) -> list[Action]:
        return self._release_all_of(list(self._selected), snapshot)

    def _release_all_of(self, keys: list[str], snapshot: Snapshot) -> list[Action]:
        """Release lines at once, but ask first where names still hold what would go."""
        sessions = {key_of(s): s for s in snapshot.sessions.values()}
        chosen = set(keys)
        out: list[Action] = []
        for key in keys:
            session = sessions.get(key)
            if session is None and not (key[:2] == "r:" and int(key[2:]) in snapshot.refs):
                continue
            if session is None and f"s:{snapshot.refs[int(key[2:])].session_id}" in chosen:
                continue  # it goes with its session
            if key in self._doing:
                continue
            asked = question(session, snapshot) if session is not None else ""
            if asked and key not in self._asks:
                self._asks[key] = asked
            else:
                out.append(self._begin(Release(key), key, "releasing …"))
        return out

    def _release_all(self, message: Any, snapshot: Snapshot) -> list[Action]:
        if snapshot.sessions:
            self._asks[ALL] = question_of_all(snapshot)
        return []

    def _interrupt(self, message: Any, snapshot: Snapshot) -> list[Action]:
        return [self._begin(Interrupt(), WORKER, "interrupting …")]

    def _restart(self, message: Any, snapshot: Snapshot) -> list[Action]:
        if not snapshot.refs:
            return [self._begin(Restart(), WORKER, "restarting …")]
        self._asks[WORKER] = question_of_restart(snapshot)
        return []

    def _answer(self, message: Any, snapshot: Snapshot) -> list[Action]:
        target = message["to"]
        if self._asks.pop(target, None) is None or not message["yes"]:
            return []
        if target == WORKER:
            return [self._begin(Restart(), WORKER, "restarting …")]
        return [self._begin(Release(target), target, "releasing …")]

    def _dismiss(self, message: Any, snapshot: Snapshot) -> None:
        self._failed.pop(message["of"], None)

    def _begin(self, action: Action, target: str, doing: str) -> Action:
        self._doing[target] = doing
        self._failed.pop(target, None)
        self._asks.pop(target, None)
        return action

    def done(self, target: str, error: str = "") -> None:
        """An action has ended, however."""
        self._doing.pop(target, None)
        if error:
            self._failed[target] = fit(error, MAX_FAILURE)

    def take_over(self, other: View) -> None:
        """Go on as another one that is shown no more."""
        self.order, self.filter = other.order, other.filter
        self._folded, self._folded_found = set(other._folded), set(other._folded_found)

    # ------------------------------------------------------------ what is shown
    def lines(self, snapshot: Snapshot) -> Listing:
        """The lines; they are sorted anew only if something has changed."""
        key = (snapshot.version, self.order, self.filter, frozenset(self.folded))
        if self._listed is None or self._listed[0] != key:
            self._listed = (key, listing(snapshot, self.order, self.filter, self.folded))
        return self._listed[1]

    def in_sight(self, snapshot: Snapshot) -> list[int]:
        """The refs whose lines are shown."""
        lines = self.lines(snapshot).lines
        spans = [(0, FIRST), *self._windows.values()]
        shown = [line for first, n in spans for line in lines[first : first + n]]
        return list(dict.fromkeys(line.id for line in shown if isinstance(line, HeldRef)))

    def state(self, snapshot: Snapshot, previews: Mapping[int, str]) -> dict[str, Any]:
        """All that the front end draws, as plain data."""
        found = self.lines(snapshot)
        self._forget_what_is_gone(snapshot)
        windows = {"": (0, FIRST), **self._windows}
        return {
            "now": snapshot.at,
            "heard": self._heard,
            "over": self.over,
            "worker": worker_panel(snapshot, *self._about(WORKER)),
            "sessions": len(held_sessions(snapshot)),
            "refs": len(snapshot.refs),
            "found": found.found,
            "size": size(snapshot.worker.held if snapshot.worker is not None else 0),
            "note": unlisted(snapshot),
            "sort": [self.order.column, "descending" if self.order.descending else "ascending"],
            "filter": self.filter,
            "selected": len(self._selected),
            "doing": self._doing.get(ALL, ""),
            "asks": self._asks.get(ALL, ""),
            "failed": self._failed.get(ALL, ""),
            "empty": "" if found.lines else empty(snapshot, self.filter),
            "total": len(found.lines),
            "windows": {
                name: {
                    "first": first,
                    "rows": [
                        {**self._row(line, snapshot, previews), "parent": found.head_of(place)}
                        for place, line in enumerate(found.lines[first : first + number], first)
                    ],
                }
                for name, (first, number) in windows.items()
            },
        }

    def _row(self, line: Line, snapshot: Snapshot, previews: Mapping[int, str]) -> dict[str, Any]:
        key = key_of(line)
        folded = False
        if isinstance(line, SessionInfo):  # the listing may be older than how idle it is
            line, folded = snapshot.sessions[line.id], line.id in self.folded
        doing, asks, failed = self._about(key)
        row: dict[str, Any] = row_of(line, snapshot, folded, previews)
        return {
            **row,
            "selected": key in self._selected,
            "doing": doing,
            "asks": asks,
            "failed": failed,
        }

    def _about(self, target: str) -> tuple[str, str, str]:
        """`(doing, asks, failed)` of a target."""
        return tuple(d.get(target, "") for d in (self._doing, self._asks, self._failed))  # type: ignore[return-value]

    def _forget_what_is_gone(self, snapshot: Snapshot) -> None:
        sessions = snapshot.sessions.keys()

        def there(key: str) -> bool:
            if key[:2] == "s:":
                return key[2:] in sessions
            return key in (ALL, WORKER) or int(key[2:]) in snapshot.refs

        self._selected = {key: None for key in self._selected if there(key)}
        self._asks = {key: text for key, text in self._asks.items() if there(key)}
        self._failed = {key: text for key, text in self._failed.items() if there(key)}
        self._folded &= sessions


_DOES: dict[str, Callable[[View, Any, Snapshot], list[Action] | None]] = {
    "window": View._window,
    "leave": View._leave,
    "sort": View._sort,
    "filter": View._set_filter,
    "fold": View._fold,
    "select": View._select,
    "release": View._release,
    "release_selected": View._release_selected,
    "release_all": View._release_all,
    "interrupt": View._interrupt,
    "restart": View._restart,
    "answer": View._answer,
    "dismiss": View._dismiss,
}
