"""What the worker's code shows in the notebook: `display` and its relatives.

They do what IPython's functions of the same names do, without IPython: what is shown goes to the
cell of the call that runs, as a message of

    ["display", data, metadata, display id or None, whether it updates that display]
    ["clear", whether to wait for what is shown next]
"""

from __future__ import annotations

import os
import sys
import threading

from .display import bare, carried, mime_bundle, real_method, showing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Message = list[Any]


class Publisher:
    """Makes messages of what is shown, and sends them.

    Args:
        send: brings a message to the kernel; from any thread.
        options: the kernel's display options (see `showing`).
    """

    def __init__(self, send: Callable[[Message], None], options: dict[str, dict[str, Any]]) -> None:
        self._to_kernel = send
        self._local = threading.local()
        self.options = options

    # ------------------------------------------------------------ a ref
    def of_ref(self, obj: Any, include: Any = None, exclude: Any = None) -> list[Any]:
        """`[data, metadata]` that a ref on the object shows.

        An object that displays itself is let do so: what it shows last is what the ref shows, and
        anything before goes to the cell.
        """
        with showing(self.options):
            method = real_method(obj, "_ipython_display_")
            messages = self._captured(method) if method is not None else None
            if messages is None:
                return [*mime_bundle(obj, include, exclude)]
            shown: list[Any] = [{}, {}]
            if messages and messages[-1][0] == "display" and messages[-1][3] is None:
                shown = messages.pop()[1:3]
            for message in messages:
                self._to_kernel(message)
            return shown

    def _captured(self, method: Callable[[], Any]) -> list[Message] | None:
        """What a method shows while it runs in this thread; None if it does not want to."""
        before = getattr(self._local, "captured", None)
        captured: list[Message] = []
        self._local.captured = captured
        try:
            method()
        except NotImplementedError:
            return None
        finally:
            self._local.captured = before
        return captured

    def _send(self, message: Message) -> None:
        captured = getattr(self._local, "captured", None)
        if captured is None:
            self._to_kernel(message)
        else:
            captured.append(message)

    # ------------------------------------------------------------ IPython's functions
    def display(
        self,
        *objs: Any,
        include: Any = None,
        exclude: Any = None,
        metadata: dict[str, Any] | None = None,
        transient: dict[str, Any] | None = None,
        display_id: str | bool | None = None,
        raw: bool = False,
        clear: bool = False,
        **more: Any,
    ) -> DisplayHandle | None:
        """Show objects in the cell that made the call: see `IPython.display.display`."""
        known = _id_of(display_id, transient)
        if more.get("update") and known is None:
            raise TypeError("display_id required for update_display")
        if not objs and known is not None:
            objs, raw = ({},), True  # a place that is filled later
        if clear:
            self.clear_output(wait=True)
        about: dict[str, Any] = {
            "transient": {"display_id": known},
            "update": bool(more.get("update")),
        }
        for obj in objs:
            if raw:
                self.publish_display_data(obj, metadata, **about)
                continue
            bundle = self._formatted(obj, include, exclude)
            if bundle is not None:
                self.publish_display_data(bundle[0], _merged(bundle[1], metadata), **about)
        return DisplayHandle(self, known) if display_id and known is not None else None

    def _formatted(self, obj: Any, include: Any, exclude: Any) -> tuple[Any, Any] | None:
        """The bundle of an object, with some text; None if there is nothing left to show."""
        with showing(self.options):
            method = real_method(obj, "_ipython_display_")
            if method is not None:
                try:
                    method()
                    return None
                except NotImplementedError:
                    pass
            data, metadata = mime_bundle(obj, include, exclude)
        if not ((include and "text/plain" not in include) or (exclude and "text/plain" in exclude)):
            data.setdefault("text/plain", bare(obj))
        return (data, metadata) if data else None

    def publish_display_data(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **more: Any,
    ) -> None:
        """Show a MIME bundle: see `IPython.display.publish_display_data`."""
        taken, about = carried(data, metadata)
        if data and not taken:
            taken = {"text/plain": f"<{', '.join(map(str, data))}: not shown from a worker>"}
        self._send(["display", taken, about, _id_of(None, transient), bool(update)])

    def clear_output(self, wait: bool = False) -> None:
        """Clear what the cell shows: see `IPython.display.clear_output`."""
        self._send(["clear", bool(wait)])

    # ------------------------------------------------------------ figures
    def show_figures(self, close: bool = True) -> None:
        """Show the figures of pyplot and, as the inline backend does, close them."""
        figures = sys.modules["matplotlib._pylab_helpers"].Gcf
        try:
            for manager in figures.get_all_fig_managers():
                self.display(manager.canvas.figure)
        finally:
            if close:
                figures.destroy_all()


class DisplayHandle:
    """Updates what was shown: see `IPython.display.DisplayHandle`."""

    def __init__(self, publisher: Publisher, display_id: str) -> None:
        self._publisher = publisher
        self.display_id = display_id

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"

    def display(self, obj: Any, **kwargs: Any) -> None:
        """Show it once more, and let what was shown follow."""
        self._publisher.display(obj, display_id=self.display_id, **kwargs)

    def update(self, obj: Any, **kwargs: Any) -> None:
        """Put another object in the place of what was shown."""
        self._publisher.display(obj, display_id=self.display_id, update=True, **kwargs)


def print_plain(message: Message) -> None:
    """Write what a message shows to stdout, as text."""
    if message[0] == "display":
        text = message[1].get("text/plain")
        if text is not None:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def _id_of(display_id: str | bool | None, transient: dict[str, Any] | None) -> str | None:
    if display_id is True:
        return os.urandom(16).hex()
    found = display_id or (transient or {}).get("display_id")
    return str(found) if found else None


def _merged(into: dict[str, Any], more: dict[str, Any] | None) -> dict[str, Any]:
    """The metadata of an object, and over it what the call gave."""
    for key, value in (more or {}).items():
        inner = into.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        into[key] = dict(inner or {}, **value) if both else value
    return into
