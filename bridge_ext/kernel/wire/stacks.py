"""Stacks of calls as data, and tracebacks made of them.

A frame travels as

    [filename, line number, function, its first line, source line, columns, hidden, place]

`columns` is `[last line, first column, last column]` of what ran, or None; `hidden` says that the
frame is the bridge's own or the import system's; `place` is "" for a frame of the sender, else
where the frame was before: an error may cross more than once.

The traceback made of it is a real one, so that Python, IPython, a debugger and a log show it as
they show any other. No code has run in its frames: each is that of a generator which never
started. They hold no variables, and looking for one says why.
"""

from __future__ import annotations

import builtins
import importlib
import os
import stat
import sys
from functools import lru_cache
from itertools import islice
from types import CodeType, FunctionType, TracebackType

from .limits import MAX_FRAMES
from .naming import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    Frame = list[Any]

_LINE = 500
"""Characters of a source line that travel; what is longer is data, not code."""
_HEAD = 200
"""Of a stack with more than MAX_FRAMES, how many of the outermost frames are kept."""
_LAST_LINE = 1 << 30
"""Line numbers are cut to this: code that a program has made may claim any."""
_IMPORT_SYSTEM = frozenset(
    (
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
        importlib.import_module.__code__.co_filename,
    )
)
_RECORD = "bridge: the frame's record"
"""The name of its record among a made frame's globals."""


# ---------------------------------------------------------------- from a traceback
def frames_of(
    traceback: TracebackType | None, hidden: frozenset[str], limit: int = MAX_FRAMES
) -> list[Frame]:
    """The frames of a traceback, outermost first; one says how many others are beyond `limit`.

    Args:
        traceback: where they are; None has none.
        hidden: file names of the bridge's own modules.
        limit: how many frames, at most.
    """
    entries = list(_entries(traceback))
    head, tail = _cut(len(entries), limit)
    for filename in {entry.tb_frame.f_code.co_filename for entry in entries}:
        _refresh(filename)
    if head + tail == len(entries):
        return [_frame(entry, hidden) for entry in entries]
    left_out = len(entries) - head - tail
    return [
        *(_frame(entry, hidden) for entry in entries[:head]),
        ["left out", 1, f"{left_out:,} frames", 1, "# too many to show", None, False, ""],
        *(_frame(entry, hidden) for entry in entries[len(entries) - tail :]),
    ]


def _cut(count: int, limit: int) -> tuple[int, int]:
    """How many frames to keep at the outer and at the inner end."""
    if count <= limit:
        return count, 0
    head = min(_HEAD, limit // 5)
    return head, limit - head - 1


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _frame(entry: TracebackType, hidden: frozenset[str]) -> Frame:
    made = record_of(entry.tb_frame)
    if made is not None:
        return made
    code, name = entry.tb_frame.f_code, entry.tb_frame.f_code.co_filename
    number = min(max(entry.tb_lineno or 0, 0), _LAST_LINE)
    where = [name, number, code.co_name, min(max(code.co_firstlineno, 0), number)]
    if name in hidden or name in _IMPORT_SYSTEM:
        return [*where, "", None, True, ""]
    line = _line(name, number, entry.tb_frame.f_globals)
    columns = _columns(code, entry.tb_lasti, number) if len(line) < _LINE else None
    return [*where, line, columns, False, ""]


def record_of(frame: FrameType) -> Frame | None:
    """The record that a frame was made of, if it was made here."""
    record: Frame | None = frame.f_globals.get(_RECORD)
    return record


def _columns(code: CodeType, lasti: int, number: int) -> list[int] | None:
    """What of the line ran, where Python knows it (from 3.11 on)."""
    if sys.version_info < (3, 11) or lasti < 0:
        return None
    found = next(islice(code.co_positions(), lasti // 2, None), None)
    if found is None or found[0] != number or None in found:
        return None
    columns = [part or 0 for part in found[1:]]
    return columns if all(0 <= c <= _LAST_LINE for c in columns) else None


class _Late:
    linecache: Any = None


def reader() -> Any:
    """The module linecache, imported at need and kept: code may forbid imports."""
    if _Late.linecache is None:
        import linecache

        _Late.linecache = linecache
    return _Late.linecache


def _refresh(filename: str) -> None:
    """Forget the lines of a file that has changed."""
    linecache = reader()
    try:
        linecache.checkcache(filename)
    except Exception:
        pass  # a name that is no file name: then there are no lines either


def _line(filename: str, number: int, names: dict[str, Any] | None = None) -> str:
    """A source line as this process has it, or "", cut to _LINE."""
    linecache = reader()
    try:
        line = linecache.getline(filename, number, names)
    except Exception:  # a loader of the user's, asked for its source
        return ""
    return line.rstrip()[:_LINE] if type(line) is str else ""


def is_frame(x: Any) -> bool:
    """Whether this is a well-formed frame."""
    if type(x) is not list or len(x) != 8:
        return False
    *most, columns, hidden, place = x
    numbers = [most[1], most[3]]
    if columns is not None:
        if type(columns) is not list or len(columns) != 3:
            return False
        numbers += columns
    return (
        [type(part) for part in (*most, hidden, place)] == [str, int, str, int, str, bool, str]
        and all(type(n) is int for n in numbers)
        and all(0 <= n <= _LAST_LINE for n in numbers)
    )


# ---------------------------------------------------------------- to a traceback
def traceback_of(
    frames: list[Frame], place: str, *, everything: bool = False
) -> TracebackType | None:
    """A traceback of these frames, each marked with where it was.

    Args:
        frames: as `frames_of` gives them.
        place: where the sender is, such as "worker".
        everything: whether hidden frames are in it.
    """
    traceback = None
    for filename in {frame[0] for frame in frames}:
        _refresh(filename)
    for frame in reversed(frames):
        if everything or not frame[6]:
            traceback = _entry(traceback, [*frame[:7], frame[7] or place])
    return traceback


def unseen(place: str) -> TracebackType:
    """A traceback for an error that has no frame to show, so that it says where it was raised."""
    why = "# no Python code of yours was running; bridge.traceback() has every frame"
    return _entry(None, ["call", 1, "call", 1, why, None, False, place])


def _entry(following: TracebackType | None, record: Frame) -> TracebackType:
    filename, number, function, first, line, columns, _, place = record
    shown = _source(clean(filename, _LINE), number, line, clean(place))
    marked = f"{clean(function)} [in the {clean(place)}]"
    code = _code(shown, number, marked, first, tuple(columns) if columns else None)
    names = {"__name__": f"bridge_ext: {place}", "__builtins__": _names(place), _RECORD: record}
    # The generator goes at once and leaves its frame to the traceback. It must not be kept for the
    # frame, by these names for example: Python's garbage collector sees no way from the frame to
    # them, and would take them away.
    return TracebackType(following, FunctionType(code, names)().gi_frame, 0, number)


class _Names(dict[str, "Any"]):
    """What a made frame has for builtins: whoever looks for a variable is told where it is."""

    def __init__(self, place: str) -> None:
        super().__init__(vars(builtins))
        self._place = place

    def __missing__(self, name: str) -> Any:
        raise NameError(
            f"{name!r} cannot be looked at here: this frame is in the {self._place}, and its "
            "variables stay there"
        )


_names = lru_cache(maxsize=10)(_Names)


# ---------------------------------------------------------------- the code of a frame
def _nothing() -> Iterator[None]:
    yield  # pragma: no cover - it never starts


@lru_cache(maxsize=1_000)
def _code(
    filename: str, number: int, function: str, first: int, columns: tuple[int, int, int] | None
) -> CodeType:
    """Code that does nothing, all of it at one place in a file."""
    named: dict[str, Any] = {
        "co_filename": filename,
        "co_name": function,
        "co_firstlineno": first,
    }
    if sys.version_info >= (3, 11):
        named["co_qualname"] = function
        named["co_linetable"] = _line_table(number, first, columns)
    return _nothing.__code__.replace(**named)


def _line_table(number: int, first: int, columns: tuple[int, int, int] | None) -> bytes:
    """One place for all of the code, in the form that CPython describes in `locations.md`."""
    if columns is None:
        kind, place = 13, b""
    else:
        last, left, right = columns
        kind, place = 14, _varint(max(0, last - number)) + _varint(left + 1) + _varint(right + 1)
    units, ahead, table = len(_nothing.__code__.co_code) // 2, number - first, b""
    while units > 0:
        some = min(units, 8)
        table += bytes([0x80 | kind << 3 | some - 1]) + _signed(ahead) + place
        units, ahead = units - some, 0
    return table


def _varint(value: int) -> bytes:
    """Six bits a byte, the lowest first; one more bit says that more follow."""
    out = []
    while value >= 0x40:
        out.append(0x40 | value & 0x3F)
        value >>= 6
    return bytes([*out, value])


def _signed(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else -value << 1 | 1)


# ---------------------------------------------------------------- source lines
_sources: dict[str, int] = {}
"""Names under which lines of the other side are known to linecache; at most _SOURCES."""
_SOURCES = 100
_LARGEST = 16 << 20
"""Bytes of a file that is read for a line of it; no source is as large."""
_LONGEST = 20_000
"""Lines of a file that the other side has and this one has not."""


def _source(filename: str, number: int, line: str, place: str) -> str:
    """The name under which a line can be read here: the file's own, if it reads the same here."""
    linecache = reader()
    if filename in linecache.cache or _is_readable(filename):
        here = _line(filename, number)
        if here == line or (here and not line):
            return filename
    elif not line and not os.path.exists(filename):
        return filename
    shown = f"<{place}: {filename}>"  # as names of no files are written, or pdb makes it a path
    if line and 0 < number <= _LONGEST:
        _remember(shown, number, line)
    return shown


def _is_readable(filename: str) -> bool:
    """Whether it is a file that may be read for a line: no pipe, and none of somebody's data."""
    try:
        status = os.stat(filename)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST


def _remember(shown: str, number: int, line: str) -> None:
    """Let linecache know a line of a file that is not here."""
    linecache = reader()
    known = linecache.cache.get(shown)
    lines = list(known[2]) if known is not None and len(known) == 4 else []
    lines += ["\n"] * (number - len(lines))
    lines[number - 1] = "".join(c if c.isprintable() or c == "\t" else " " for c in line) + "\n"
    _sources.pop(shown, None)
    _sources[shown] = number
    for oldest in list(_sources)[:-_SOURCES]:
        _sources.pop(oldest, None)
        linecache.cache.pop(oldest, None)
    linecache.cache[shown] = (len(lines), None, lines, shown)  # no time: it never goes stale
