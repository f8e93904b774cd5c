"""What differs between the kernel and its worker, as sentences with a next step each. Pure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .surveys import Survey

_CARRIED = {
    "numpy": "an array that is fetched or passed may not open on the other side",
    "pandas": "a frame that is fetched or passed may not open on the other side",
    "pyarrow": "a table that is fetched or passed may not open on the other side",
    "cloudpickle": "functions and classes that are passed may not open in the worker",
    "msgpack": "values may not cross",
    "bridge_ext": "the two may not understand each other",
}
"""Packages that must be the same in both, and what comes of it if they are not."""
_ITS_OWN = {"MPLBACKEND", "PWD", "OLDPWD", "SHLVL", "_", "LINES", "COLUMNS", "TERM", "LC_CTYPE"}
"""Variables that differ, or may, and that is right so; Python sets LC_CTYPE by itself, and what
comes of it are encodings."""
_ITS_OWN_PREFIX = ("JPY_",)
_NAMED = 8
"""Names that a sentence lists."""
_SAME = "Restart the kernel, which starts both anew"


def differences(
    here: Survey, there: Survey, *, follows: bool, added: Collection[str] = ()
) -> Iterator[str]:
    """Sentences on what differs and may matter.

    Args:
        here: the kernel.
        there: the worker.
        follows: whether the worker takes the kernel's directory with the next call.
        added: names of the variables that the worker was given on purpose.
    """
    yield from _python(here, there)
    yield from _packages(here, there)
    yield from _paths(here, there, follows)
    yield from _environment(here, there, added)
    yield from _encodings(here, there)
    yield from _flags(here, there)


def _python(here: Survey, there: Survey) -> Iterator[str]:
    if here.python != there.python:
        yield (
            f"Python {here.python} here and {there.python} in the worker: what is pickled on one "
            f"side may not open on the other. {_SAME}."
        )


def _packages(here: Survey, there: Survey) -> Iterator[str]:
    for name, why in _CARRIED.items():
        ours, theirs = here.version(name), there.version(name)
        if ours and theirs and ours != theirs:
            yield f"{name} {ours} here and {theirs} in the worker: {why}. {_SAME}."
        elif bool(ours) != bool(theirs) and (name in here.loaded or name in there.loaded):
            where = "here and not in the worker" if ours else "in the worker and not here"
            yield f"{name} {ours or theirs} is found {where}: {why}. Compare the paths below."
    for name in sorted({*here.editable} ^ {*there.editable}):
        where = "here" if name in here.editable else "in the worker"
        yield (
            f"{name!r} was installed in place, and only the Python {where} knows where: it cannot "
            "be imported on the other side. Add its folder to sys.path, which the worker follows."
        )


def _paths(here: Survey, there: Survey, follows: bool) -> Iterator[str]:
    if here.cwd is None:
        yield (
            "The working directory of the kernel is gone: relative paths lead nowhere. "
            "os.chdir(…) to one that exists."
        )
    elif there.cwd is None:
        yield "The working directory of the worker is gone. `bridge.restart()` takes the kernel's."
    elif here.cwd != there.cwd:
        then = (
            "The next call takes the kernel's, unless code there has changed it on purpose"
            if follows
            else "It was given with `Bridge(cwd=…)`"
        )
        yield f"The working directory is {here.cwd} here and {there.cwd} in the worker. {then}."
    only_here = _missing(here, there)
    only_there = _missing(there, here)
    if only_here or only_there:
        parts = [
            f"{_some(only)} only {where}"
            for only, where in ((only_here, "here"), (only_there, "in the worker"))
            if only
        ]
        yield (
            f"sys.path has {' and '.join(parts)}: a module may be found on one side alone. A "
            "change made here follows with the next call, one made there is lost with it."
        )


def _missing(one: Survey, other: Survey) -> list[str]:
    known = {_absolute(p, other.cwd) for p in other.path}
    return [p or "''" for p in one.path if _absolute(p, one.cwd) not in known]


def _absolute(path: str, cwd: str | None) -> str:
    return os.path.normpath(os.path.join(cwd or "", path)) if path or cwd else path


def _environment(here: Survey, there: Survey, added: Collection[str]) -> Iterator[str]:
    names = {*here.checksums, *there.checksums} - _ITS_OWN - {*added}
    differ = sorted(
        n
        for n in names
        if not n.startswith(_ITS_OWN_PREFIX) and here.checksums.get(n) != there.checksums.get(n)
    )
    if differ:
        yield (
            f"{_some(differ)} in the environment {_is(differ)} not the same in the worker, which "
            "has what there was at its start. `bridge.restart()` takes what there is now."
        )


def _encodings(here: Survey, there: Survey) -> Iterator[str]:
    for what, ours in here.encodings.items():
        theirs = there.encodings.get(what, "")
        if what != "stdout" and _codec(ours) != _codec(theirs):
            yield (
                f"The encoding of {what} is {ours or 'none'} here and {theirs or 'none'} in the "
                "worker: give `encoding=` where you open a file, or start the kernel with a UTF-8 "
                "locale such as LC_ALL=C.UTF-8."
            )


def _codec(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _flags(here: Survey, there: Survey) -> Iterator[str]:
    seed = here.variables.get("PYTHONHASHSEED", "random")
    if seed != "random" and here.hash != there.hash:
        yield (
            f"PYTHONHASHSEED={seed} holds here and not in the worker, which reads no variable of "
            "Python's: sets of text are in another order there. Sort them where it matters."
        )
    if here.flags.get("optimize") != there.flags.get("optimize"):
        yield (
            f"Python runs with -O {here.flags.get('optimize')} here and with "
            f"{there.flags.get('optimize')} in the worker: an `assert` may count on one side only."
        )


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
