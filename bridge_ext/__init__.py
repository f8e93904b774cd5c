"""Call Python functions in a worker process, and hold what they return as refs in sessions.

In a notebook, `%load_ext bridge_ext` gives the name `bridge` and the magics `%bridge`, `%session`
and `%%session`. In a script, `bridge_ext.Bridge()` is the same. Importing this package imports
nothing else until a name of it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .bridge import Bridge
    from .kernel.errors import (
        BridgeClosedError,
        BridgeError,
        BridgeUsageError,
        CallTimeoutError,
        EncodeError,
        InvalidRefError,
        ProtocolError,
        RefNotFoundError,
        RemoteError,
        SessionFullError,
        SessionLostError,
        SessionMismatchError,
        SessionNotFoundError,
        WorkerBusyError,
        WorkerDiedError,
        WorkerStartError,
    )
    from .kernel.handles import Module, Ref
    from .kernel.model import (
        CallEnded,
        CallStarted,
        HelperInfo,
        RefAdded,
        RefInfo,
        RefReleased,
        Released,
        SessionCreated,
        SessionInfo,
        SessionLost,
        SessionReleased,
        WorkerInfo,
    )
    from .kernel.status import Status
    from .kernel.streams import StreamRef

__version__ = "0.1.0"

__all__ = [
    "Bridge",
    "BridgeClosedError",
    "BridgeError",
    "BridgeUsageError",
    "CallEnded",
    "CallStarted",
    "CallTimeoutError",
    "EncodeError",
    "HelperInfo",
    "InvalidRefError",
    "Module",
    "ProtocolError",
    "Ref",
    "RefAdded",
    "RefInfo",
    "RefNotFoundError",
    "RefReleased",
    "Released",
    "RemoteError",
    "SessionCreated",
    "SessionFullError",
    "SessionInfo",
    "SessionLost",
    "SessionLostError",
    "SessionMismatchError",
    "SessionNotFoundError",
    "SessionReleased",
    "Status",
    "StreamRef",
    "WorkerBusyError",
    "WorkerDiedError",
    "WorkerInfo",
    "WorkerStartError",
    "load_ipython_extension",
    "unload_ipython_extension",
]

_ELSEWHERE = {
    "Bridge": "bridge",
    **dict.fromkeys(("Module", "Ref"), "kernel.handles"),
    "Status": "kernel.status",
    "StreamRef": "kernel.streams",
    **dict.fromkeys(
        (
            "CallEnded",
            "CallStarted",
            "HelperInfo",
            "RefAdded",
            "RefInfo",
            "RefReleased",
            "Released",
            "SessionCreated",
            "SessionInfo",
            "SessionLost",
            "SessionReleased",
            "WorkerInfo",
        ),
        "kernel.model",
    ),
}
"""Where the names are; the others, which are errors, in `kernel.errors`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = _ELSEWHERE.get(name, "kernel.errors")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext bridge_ext`: the magics, and `bridge` in the user's namespace."""
    from .extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext bridge_ext`: everything is released, and all that was added is gone."""
    from .extension import unload

    unload(shell)
