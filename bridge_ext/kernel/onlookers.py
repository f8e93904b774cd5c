"""Onlookers: code that reads an object only to describe it, such as completers and debuggers.

They read more than the user asked for (jedi fetches every name that `dir` lists, takes items, tests
truth), so a handle tells them what it knows by itself and sends nothing to the worker for them.
"""

from __future__ import annotations

import sys

_ONLOOKERS = (
    "jedi.",
    "IPython.core.completer",
    "IPython.core.guarded_eval",
    "IPython.core.interactiveshell",
    "IPython.core.oinspect",
    "rlcompleter",
    "_pydevd_bundle.",
)
"""How the names of their modules begin."""


def onlooker(depth: int) -> bool:
    """Whether an onlooker does this.

    Args:
        depth: 1 for the caller of the function that asks, 2 for that one's caller, and so on.
    """
    name = sys._getframe(depth + 1).f_globals.get("__name__")
    return type(name) is str and name.startswith(_ONLOOKERS)
