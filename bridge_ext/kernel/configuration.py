"""What a bridge is made with: its backend, and what each of its workers is told at the start."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .backends.base import Backend
from .errors import BridgeUsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class WorkerConfig:
    """What a worker is told at its start.

    Args:
        cwd: its directory; None is this process's, followed as it changes.
        inline_limit: bytes up to which a result comes back by value.
        isolate_cells: whether auto-sessions are walls too.
        memory_limit: bytes it may allocate.

    Raises:
        BridgeUsageError: a limit is no whole number of 1 or more.
    """

    def __init__(
        self, *, cwd: str | None, inline_limit: int, isolate_cells: bool, memory_limit: int | None
    ) -> None:
        for name, number in (("memory_limit", memory_limit), ("inline_limit", inline_limit)):
            if number is not None and (type(number) is not int or number < 1):
                raise BridgeUsageError(
                    f"{name}={number!r}: give bytes, a whole number of 1 or more"
                )
        self._cwd = cwd
        self._fixed = {
            "inline_limit": inline_limit,
            "isolate_cells": isolate_cells,
            "memory_limit": memory_limit,
        }

    @property
    def follow_cwd(self) -> bool:
        """Whether the worker changes its directory when this process does."""
        return self._cwd is None

    def __call__(self) -> dict[str, Any]:
        """The configuration of a worker that starts now."""
        return {
            **self._fixed,
            "path": list(sys.path),
            "cwd": self._cwd or _cwd(),
            "numpy": _has_numpy(),
        }


def make_backend(backend: str | Backend, env: Mapping[str, str] | None) -> Backend:
    """The backend of that name.

    Raises:
        BridgeUsageError: there is none.
    """
    if isinstance(backend, Backend):
        return backend
    if backend == "local":
        from .backends.local import LocalBackend

        return LocalBackend(env)
    if backend == "memory":
        from .backends.memory import MemoryBackend

        return MemoryBackend()
    raise BridgeUsageError(f"backend={backend!r}: give 'local' or 'memory'")


def ends_with_cell(auto_session: str) -> bool:
    """What the option `auto_session` says.

    Raises:
        BridgeUsageError: it is neither "reachable" nor "cell".
    """
    if auto_session not in ("reachable", "cell"):
        raise BridgeUsageError(f"auto_session={auto_session!r}: give 'reachable' or 'cell'")
    return auto_session == "cell"


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None  # it was removed; the worker stays where it is started


def _has_numpy() -> bool:
    if "numpy" in sys.modules:
        return True
    from importlib.machinery import PathFinder

    return PathFinder.find_spec("numpy") is not None
