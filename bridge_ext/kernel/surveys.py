"""What a process has said of itself, checked field by field. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .wire.loading import malformed
from .wire.naming import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

_LENGTH = 4_096
_MOST = 2_000

PACKAGES = (
    "bridge_ext", "IPython", "ipykernel", "ipywidgets", "anywidget", "jupyter_client", "comm",
    "traitlets", "msgpack", "cloudpickle", "numpy", "pandas", "pyarrow",
)  # fmt: skip
"""Import names whose versions a report has, in its order."""
VARIABLES = (
    "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8",
    "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE",
    "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "MPLBACKEND", "TMPDIR",
)  # fmt: skip
"""Variables whose values a report may show: none of them is a secret. Of others it has names."""


@dataclass(frozen=True, slots=True)
class Survey:
    """One process; the fields are those of `wire/survey`.

    Attributes:
        checksums: of all variables, which tell whether two environments differ, and no more.
        variables: those whose values are shown.
    """

    python: str
    executable: str
    pid: int
    cwd: str | None
    path: tuple[str, ...]
    loaded: Mapping[str, str]
    found: Mapping[str, str]
    checksums: Mapping[str, int]
    variables: Mapping[str, str]
    flags: Mapping[str, int]
    encodings: Mapping[str, str]
    hash: str
    editable: tuple[str, ...]

    def version(self, package: str) -> str:
        """The version that is loaded, or would be; "" if there is none."""
        return self.loaded.get(package) or self.found.get(package, "")


def taken(answer: Any) -> Survey:
    """What was said.

    Raises:
        ProtocolError: it is nothing that a process says of itself.
    """
    with malformed("survey"):
        cwd, environment = answer["cwd"], _named(answer["environment"])
        return Survey(
            python=_text(answer["python"]),
            executable=_text(answer["executable"]),
            pid=_number(answer["pid"]),
            cwd=None if cwd is None else _text(cwd),
            path=_texts(answer["path"]),
            loaded=_named(answer["loaded"]),
            found=_named(answer["found"]),
            checksums={name: _checksum(value) for name, value in environment.items()},
            variables={n: environment[n] for n in VARIABLES if n in environment},
            flags={_text(k): _number(v) for k, v in _few(answer["flags"]).items()},
            encodings=_named(answer["encodings"]),
            hash=_text(answer["hash"]),
            editable=_texts(answer["editable"]),
        )


def _checksum(value: str) -> int:
    return zlib.crc32(value.encode())


def _few(x: Any) -> Any:
    if type(x) not in (dict, list) or len(x) > _MOST:
        raise ValueError("more than a process has to say")
    return x


def _text(x: Any) -> str:
    if type(x) is not str:
        raise TypeError(f"{x!r:.100} is no text")
    return clean(x, _LENGTH)


def _number(x: Any) -> int:
    if type(x) is not int:
        raise TypeError(f"{x!r:.100} is no number")
    return x


def _texts(x: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in _few(x))


def _named(x: Any) -> dict[str, str]:
    return {_text(k): _text(v) for k, v in _few(x).items()}
