"""What is logged, under `bridge_ext`: silent, unless the user sets up logging.

Who has not imported `logging` has not set it up; and importing it takes longer than most of ours.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger


def logger(name: str = "bridge_ext") -> Logger | None:
    """The logger of that name, `bridge_ext` or one below it; None where nobody can hear it."""
    if "logging" not in sys.modules:
        return None
    import logging  # so that it is whole, should another thread be importing it

    top = logging.getLogger("bridge_ext")
    if not any(isinstance(handler, logging.NullHandler) for handler in top.handlers):
        top.addHandler(logging.NullHandler())
    return logging.getLogger(name)


def report(text: str, *args: object) -> None:
    """Log the exception that is being handled, as an error."""
    log = logger()
    if log is not None:
        log.exception(text, *args)


def warn(name: str, text: str) -> None:
    """Log the exception that is being handled, as a warning of that logger."""
    log = logger(name)
    if log is not None:
        log.warning(text, exc_info=True)
