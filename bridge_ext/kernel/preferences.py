"""The display options of this process, which hold for what a worker shows as well."""

from __future__ import annotations

import sys
from typing import Any

_CONFIG = "pandas._config.config"
_PLAIN = frozenset((type(None), bool, int, float, str))
_GUESSED = ("display.max_columns",)
"""Options whose default pandas takes from what kind of process it is in."""


class Preferences:
    """Notices that the display options of this process have changed.

    pandas keeps them in one nested dictionary, so that looking costs less than a microsecond, and
    nothing to speak of where pandas is not loaded. A pandas that keeps them elsewhere has none.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: Any = None

    def changed(self) -> bool:
        """Whether they are others than `take` has given last."""
        config = sys.modules.get(_CONFIG)
        return config is not None and _current(config) != self._seen

    def take(self) -> dict[str, Any]:
        """What the worker is told.

        Returns:
            `changed`, the options that the user has set, as far as their values are plain, and
            `defaults`, what pandas has chosen for a process like this one.
        """
        config = sys.modules.get(_CONFIG)
        self._seen = _copy(_current(config))
        registered = dict(getattr(config, "_registered_options", {}))
        now = _flat("display", self._seen or {})
        known = {name: value for name, value in now.items() if name in registered}
        changed = {
            name: value
            for name, value in known.items()
            if type(value) in _PLAIN and not _same(value, registered[name].defval)
        }
        defaults = {name: registered[name].defval for name in _GUESSED if name in known}
        return {"changed": changed, "defaults": defaults}


def _current(config: Any) -> Any:
    options = getattr(config, "_global_config", None)  # absent while pandas is being imported
    return options.get("display") if type(options) is dict else None


def _copy(options: Any) -> Any:
    if type(options) is not dict:
        return options
    return {name: _copy(value) for name, value in list(options.items())}


def _flat(prefix: str, options: dict[str, Any]) -> dict[str, Any]:
    """Full names to values, of options in groups."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        full = f"{prefix}.{name}"
        found.update(_flat(full, value) if type(value) is dict else {full: value})
    return found


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default
