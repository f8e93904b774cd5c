"""Onlookers: code that reads an object only to describe it, such as completers and debuggers.

They read more than the user asked for (jedi fetches every name that `dir` lists, takes items, tests
truth), so a handle tells them what it knows by itself and sends nothing to the worker for them.
"""

from __future__ import annotations

import sys

_ONLOOKERS: tuple[str, ...] = (
    "jedi.",
    "IPython.core.completer",
    "IPython.core.guarded_eval",
    "IPython.core.interactiveshell",
    "IPython.core.magics.namespace",
    "IPython.core.oinspect",
    "rlcompleter",
    "_pydevd_bundle.",
)
"""How the names of their modules begin."""
_OURS = __name__.partition(".")[0] + "."
_EVALUATING = ("IPython.core.completer", "rlcompleter")
"""Those that `eval` an expression to complete what follows it."""


def onlooker() -> bool:
    """Whether an onlooker does what is being done: the nearest caller that is not of ours."""
    frame = sys._getframe(1)
    name: object = _OURS
    while type(name) is str and name.startswith(_OURS):
        if frame.f_back is None:
            return False
        frame = frame.f_back
        name = frame.f_globals.get("__name__")
    known, code = _ONLOOKERS, frame.f_code
    if code.co_filename == "<string>" and code.co_name == "<module>" and frame.f_back is not None:
        known = _EVALUATING  # the frame of `eval` has the user's names
        name = frame.f_back.f_globals.get("__name__")
    return type(name) is str and name.startswith(known)
