"""What asks somebody at a prompt, in a process where nobody is: it raises and says what to do."""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_ASK = "ask in the notebook and pass the answer as an argument"
_DEBUG = (
    "call the function in the notebook itself to debug it, with bridge.fetch(ref) for what is in "
    "the worker; an error's remote traceback is shown with the error"
)


def install() -> None:
    """Replace what can be replaced without importing anything."""
    builtins.input = _input
    sys.breakpointhook = _breakpoint


def _input(prompt: object = "") -> NoReturn:
    raise _error(f"input({prompt!r})", _ASK)


def _breakpoint(*args: Any, **kwargs: Any) -> None:
    if os.environ.get("PYTHONBREAKPOINT") == "0":
        return  # as everywhere
    raise _error("breakpoint()", _DEBUG)


def _error(called: str, instead: str) -> EOFError:
    return EOFError(f"{called} was called in the worker, where nobody can answer; {instead}")


# ---------------------------------------------------------------- when these are imported
def getpass(module: Any) -> None:
    """Take the prompts out of the module `getpass`."""

    def getpass(prompt: str = "Password: ", *args: Any, **kwargs: Any) -> NoReturn:
        raise _error(f"getpass({prompt!r})", _ASK)

    for name in ("getpass", "unix_getpass", "win_getpass", "fallback_getpass"):
        if hasattr(module, name):
            setattr(module, name, getpass)


def pdb(module: Any) -> None:
    """Let the debuggers of the module `pdb`, and those made of them, not wait for anybody.

    One that was given streams of its own, such as a remote debugger, is left alone.
    """

    def post_mortem(*args: Any, **kwargs: Any) -> NoReturn:
        raise _error("pdb.post_mortem()", _DEBUG)

    module.post_mortem = module.pm = post_mortem
    _refuse(module.Pdb, "set_trace", "pdb.set_trace()")
    _refuse(module.Pdb, "interaction", "pdb")


def _refuse(cls: Any, name: str, called: str) -> None:
    original = getattr(cls, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.use_rawinput or self.stdin is sys.stdin:
            raise _error(called, _DEBUG)
        return original(self, *args, **kwargs)

    method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
    setattr(cls, name, method)
