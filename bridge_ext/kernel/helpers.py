"""Helpers: functions that are registered once and run in the worker by name."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from .errors import BridgeUsageError, EncodeError
from .model import HelperInfo
from .outbound import dump, locate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def check_registered(name: object, helpers: Mapping[str, Helper]) -> None:
    """Whether there is a helper of that name.

    Raises:
        BridgeUsageError: there is none; near names are given.
    """
    if name in helpers:
        return
    near = difflib.get_close_matches(str(name), list(helpers), n=3)
    hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    raise BridgeUsageError(
        f"There is no helper {name!r}.{hint} bridge.register_helper(fn) adds one; "
        f"registered are {sorted(helpers)}."
    )


class Helper:
    """A registered function, pickled when it was registered.

    Raises:
        BridgeUsageError: it is no function, or its name is no name.
        EncodeError: it cannot be pickled.
    """

    __slots__ = ("info", "pickle")

    def __init__(self, fn: Callable[..., Any], name: str | None) -> None:
        if not callable(fn):
            raise BridgeUsageError(f"{fn!r} is no function, so it cannot be a helper")
        name = name if name is not None else getattr(fn, "__name__", None)
        if type(name) is not str or not name.replace(".", "_").isidentifier():
            raise BridgeUsageError(f"{name!r} is no name for a helper: give name=...")
        try:
            self.pickle = dump(fn, lambda obj: None, None)
        except Exception as error:
            where, culprit = locate(fn, f"helper {name!r}")
            raise EncodeError(where, type(culprit).__name__, str(error)) from error
        try:
            signature = str(inspect.signature(fn))
        except (TypeError, ValueError):
            signature = "(...)"
        self.info = HelperInfo(name, signature, inspect.getdoc(fn) or "")
