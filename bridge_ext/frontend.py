"""What the front end can show, as far as a kernel can tell."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOSTS = {
    "COLAB_RELEASE_TAG": "Colab",
    "DATABRICKS_RUNTIME_VERSION": "Databricks",
    "KAGGLE_KERNEL_RUN_TYPE": "Kaggle",
    "VSCODE_PID": "VS Code",
    "JPY_SESSION_NAME": "a Jupyter server",
}
"""Variables by which a host of notebooks is known; the first that is there counts."""


def shell() -> Any:
    """The IPython shell of this process, or None; IPython is not imported for it."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def facts() -> Iterator[tuple[str, str]]:
    """What is known, as names and texts."""
    found = shell()
    yield "shell", type(found).__name__ if found is not None else "none: a script"
    host = next((name for key, name in _HOSTS.items() if key in os.environ), "not known")
    yield "host", host
    yield "comm", _comm()
    yield "widgets", _widgets(found)
    yield "subshells", "yes" if subshells(found) else "no"


def subshells(found: Any) -> bool:
    """Whether widgets are heard while a cell runs."""
    return bool(getattr(getattr(found, "kernel", None), "_supports_kernel_subshells", False))


def findings() -> Iterator[str]:
    """Sentences on what cannot be shown, with a next step each."""
    found = shell()
    if found is None:
        return
    if getattr(found, "kernel", None) is None:
        yield (
            "This shell is no Jupyter kernel: `bridge.inspect()` shows tables. In JupyterLab or "
            "Notebook 7 it is a live widget."
        )
    elif not subshells(found):
        yield (
            "This kernel has no subshells: the inspector's buttons wait while a cell runs. "
            "`pip install -U ipykernel` to 7 or newer."
        )


def _comm() -> str:
    comm = sys.modules.get("comm")
    if comm is None:
        return "not loaded"
    return type(comm.get_comm_manager()).__module__


def _widgets(found: Any) -> str:
    if getattr(found, "kernel", None) is None:
        return "no: as tables"
    inspector = sys.modules.get("bridge_ext.widgets.inspector")
    return "an inspector was made" if inspector is not None else "none was made yet"
