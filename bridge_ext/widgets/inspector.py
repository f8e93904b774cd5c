"""The inspector: a widget where a front end can show one, and tables in HTML and text elsewhere.

All that it shows is one trait, `state`, made by `View`; each thing that its user does is one custom
message. Messages may come in any thread, and are handed on at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from . import assets
from .tables import report
from .view import View

if TYPE_CHECKING:
    from ..kernel.snapshot import Snapshot

Heard = Callable[["Inspector", Any], None]


class Inspector(anywidget.AnyWidget):
    """Shows what a bridge holds, live, with buttons to release it.

    It is what `bridge.inspect()` returns, and a widget as any other: it may be displayed again, in
    several places, or put in a box. `close()` ends it.
    """

    _esm = assets.module()
    _css = assets.style()
    state = traitlets.Dict().tag(sync=True)

    def __init__(
        self, view: View, state: dict[str, Any], heard: Heard, look: Callable[[], Snapshot]
    ) -> None:
        self.view = view
        self._heard, self._look = heard, look
        super().__init__(state=state)
        _route_freely(self.comm)
        self.on_msg(self._receive)

    def _receive(self, widget: object, message: Any, buffers: object) -> None:
        self._heard(self, message)

    def show(self, state: dict[str, Any]) -> bool:
        """Draw this; whether anything but the clock is different, so that a message was sent."""
        if {**state, "now": 0} == {**self.state, "now": 0}:
            return False
        self.state = state
        return True

    def close(self) -> None:
        """End it; where it is displayed, it is gone."""
        self._heard(self, None)
        super().close()

    def __repr__(self) -> str:
        return repr(report(self._look()))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for where it cannot show, the same as tables."""
        tables = report(self._look())
        made: Any = super()._repr_mimebundle_(**kwargs)
        data, metadata = made if type(made) is tuple else (made or {}, {})
        texts = {"text/plain": repr(tables), "text/html": tables._repr_html_()}
        return {**data, **texts}, metadata


def _route_freely(comm: Any) -> None:
    """Have messages handled in the subshell that the front end names.

    ipykernel 7.4 takes them to where the cell runs under which this comm spoke last: they would
    wait for the end of that cell, or find a subshell that is no more.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, named: named
