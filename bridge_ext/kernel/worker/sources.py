"""Where an object's definition stands, and its text, read from files and from nothing else."""

from __future__ import annotations

import linecache
import re
import sys
import types

from ..wire.naming import module_of, name_of
from .introspect import dict_of, own_dict
from .lineage import derives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_LINES = 2_000
"""Lines of one definition that are shown."""
_HEAD = re.compile(r"\s*(async\s+def|def|class)\b")
_CLOSING = (")", "]", "}")


def origin_of(obj: Any, own: dict[str, Any]) -> Any:
    """The function, class or module whose definition is the object's.

    Args:
        obj: the object.
        own: its own dictionary, empty for a class.
    """
    if type(obj) is property:
        obj = obj.fget
    wrapped = dict.get(own, "__wrapped__")
    while type(wrapped) is types.FunctionType:
        obj, wrapped = wrapped, wrapped.__dict__.get("__wrapped__")
    t = type(obj)
    shown = t is types.FunctionType or derives(t, type) or derives(t, types.ModuleType)
    return obj if shown else t


def file_of(origin: Any) -> str:
    """The file of a function, class or module, or ""."""
    if type(origin) is types.FunctionType:
        return origin.__code__.co_filename
    if derives(type(origin), type):
        return _class_file(origin)
    return _module_file(origin)


def _class_file(cls: type) -> str:
    """The file of a class's module, or of its methods if none of them is from there.

    A package may say of its classes that they are from its top (`pandas.DataFrame`).
    """
    told = _module_file(sys.modules.get(module_of(cls))) if module_of(cls) != "builtins" else ""
    files = [code.co_filename for code in _codes(cls) if code.co_filename.endswith(".py")]
    return told if told in files or not files else max(set(files), key=files.count)


def _module_file(module: Any) -> str:
    known = derives(type(module), types.ModuleType)
    file = dict.get(own_dict(module), "__file__") if known else None
    return file if type(file) is str else ""


def _codes(cls: type) -> list[types.CodeType]:
    """The code of the functions in a class that nothing wraps."""
    functions = [f for f in dict_of(cls).values() if type(f) is types.FunctionType]
    return [f.__code__ for f in functions if "__wrapped__" not in f.__dict__]


def source_of(origin: Any) -> str:
    """The text of a definition, or "" where its file is not to be had."""
    file = file_of(origin)
    if not file.endswith(".py"):
        return ""
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    if type(origin) is types.FunctionType:
        code = origin.__code__
        return "".join(definition(lines, code.co_firstlineno, _last_line(code)))
    if derives(type(origin), type):
        return "".join(definition(lines, *_class_lines(origin, file, lines)))
    return "".join(lines[:_MOST_LINES])


def _last_line(code: types.CodeType) -> int:
    """The last line that a function's code knows of, functions in it included."""
    if sys.version_info >= (3, 11):
        known = [last for _, last, _, _ in code.co_positions() if last is not None]
    else:
        known = [line for _, _, line in code.co_lines() if line is not None]
    inner = [_last_line(c) for c in code.co_consts if type(c) is types.CodeType]
    return max(*known, *inner, code.co_firstlineno)


def _class_lines(cls: type, file: str, lines: list[str]) -> tuple[int, int]:
    """The first line of a class, or 0, and the last that its methods know of."""
    codes = [code for code in _codes(cls) if code.co_filename == file]
    last = max(map(_last_line, codes), default=0)
    first = dict_of(cls).get("__firstlineno__")
    if sys.version_info >= (3, 13):
        return (first if type(first) is int else 0), last
    top = min((code.co_firstlineno for code in codes), default=sys.maxsize)
    head = re.compile(rf"\s*class\s+{re.escape(name_of(cls).rpartition('.')[2])}\b")
    found = [n for n, line in enumerate(lines[:top], 1) if head.match(line)]
    first = found[-1] if found else 0
    while first > 1 and lines[first - 2].lstrip().startswith("@"):
        first -= 1
    return first, last


def definition(lines: list[str], first: int, last: int) -> list[str]:
    """The lines of a definition: those indented deeper, and all until one that is known.

    Args:
        lines: of the file.
        first: number of its first line, decorators included; 0 if that is not known.
        last: a line that is known to be in it.
    """
    if not 0 < first <= len(lines):
        return []
    indent, end = _indent(lines[first - 1]), first
    decorated = lines[first - 1].lstrip().startswith("@")
    for number in range(first + 1, min(len(lines), first + _MOST_LINES) + 1):
        line = lines[number - 1]
        text = line.strip()
        inside = _indent(line) > indent or text.startswith(_CLOSING) or number <= last
        if text and not inside and not decorated:
            break
        decorated = decorated and _HEAD.match(line) is None
        end = number if text else end
    return lines[first - 1 : end]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
