"""What a process says of itself when it is asked: versions, paths, encodings. Plain data.

Both sides answer with the same function, so that their answers can be compared. Nothing is
imported for it and none of the user's code runs: what is loaded says its version in its
dictionary, and what is not is found by the names of folders on the path.
"""

from __future__ import annotations

import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_MOST = 1_000
"""Entries of a list that is told of: more than a path or an environment has."""
_LENGTH = 4_096
"""Characters of one text: the longest path of Linux."""
_INSTALLED = re.compile(r"([A-Za-z0-9._-]+?)-(\d[^-]*)(?:-.+)?\.(?:dist|egg)-info")
_FLAGS = ("utf8_mode", "optimize", "dont_write_bytecode", "dev_mode", "no_site")
_EDITABLE = "__editable__"
_OURS = __name__.partition(".")[0]
"""What the modules begin with by which setuptools finds what was installed in place."""


def survey(packages: Iterable[str]) -> dict[str, Any]:
    """This process, as far as it matters to compare it with another.

    Args:
        packages: import names whose versions are told.
    """
    installed = _installed()
    names = list(packages)
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": _text(sys.executable or ""),
        "pid": os.getpid(),
        "cwd": _cwd(),
        "path": [_text(p) for p in sys.path if type(p) is str][:_MOST],
        "loaded": {n: v for n in names if (v := _loaded(n)) is not None},
        "found": {n: v for n in names if (v := installed.get(_normal(n))) is not None},
        "environment": {_text(k): _text(v) for k, v in list(os.environ.items())[:_MOST]},
        "flags": {n: int(getattr(sys.flags, n)) for n in _FLAGS},
        "encodings": _encodings(),
        "hash": str(hash("bridge_ext")),
        "editable": sorted(n for n in map(_finder, list(sys.meta_path)) if n),
    }


def _text(x: str) -> str:
    """The same without halves of a character, which no message may hold."""
    return x.encode("utf-8", "replace").decode("utf-8")[:_LENGTH]


def _cwd() -> str | None:
    try:
        return _text(os.getcwd())
    except OSError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _loaded(name: str) -> str | None:
    """The version that a module which is loaded says; "" if it says none."""
    module = sys.modules.get(name)
    if not isinstance(module, type(sys)):
        return None
    version = object.__getattribute__(module, "__dict__").get("__version__")
    return _text(version) if type(version) is str else ""


def _installed() -> dict[str, str]:
    """The versions that are installed, each where the path comes to it first."""
    found: dict[str, str] = {}
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except (OSError, TypeError, ValueError):
            continue
        for match in filter(None, map(_INSTALLED.fullmatch, names)):
            found.setdefault(_normal(match[1]), match[2])
    return found


def _encodings() -> dict[str, str]:
    stdout = getattr(sys.stdout, "encoding", None)
    return {
        "file names": sys.getfilesystemencoding(),
        "files": "utf-8" if sys.flags.utf8_mode else _of_files(),
        "stdout": _text(stdout) if type(stdout) is str else "",
    }


def _of_files() -> str:
    """What `open` uses where no encoding is given."""
    try:
        import _locale

        return str(_locale.nl_langinfo(_locale.CODESET))
    except (ImportError, AttributeError):
        return ""


def _finder(finder: Any) -> str:
    """What an editable install is called that has a finder of its own, or "".

    Not this package: a worker has it from where its kernel has it.
    """
    module = type.__getattribute__(finder, "__module__") if isinstance(finder, type) else ""
    if type(module) is not str or not module.startswith(_EDITABLE):
        return ""
    name = module.removeprefix(_EDITABLE).strip("_").removesuffix("_finder")
    return "" if name.startswith(_OURS) else _text(name)
