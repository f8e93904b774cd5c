"""What of the kernel's environment a worker follows: its directory and its import path."""

from __future__ import annotations

import contextlib
import os
import sys


def set_environment(cwd: str | None, path: list[str] | None) -> None:
    """Install a directory and a path; None leaves what is."""
    if path is not None:
        sys.path[:] = path
    if cwd is not None:
        with contextlib.suppress(OSError):  # it is gone; the worker stays where it is
            os.chdir(cwd)
