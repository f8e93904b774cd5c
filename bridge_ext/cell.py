"""`%%session` at the top of a cell becomes a statement that enters the session.

A statement keeps line numbers, top-level `await`, display and the cell's error status, and holds
inside `%%time` and `%%capture`. Where the next line is itself a cell magic, that one is turned into
its call as well, so that both stand in one cell.

A `;` at the end of a `%bridge` line silences it, as it does any expression.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_SILENT = re.compile(r"%bridge\b.*;\s*$")
_HEAD = re.compile(r"\s*%%session(?:[ \t]+(?P<rest>.*?))?\s*$")


class Head(NamedTuple):
    """A `%%session` line: where it stands, its words, and whether a cell magic follows."""

    line: int
    words: str
    magic_follows: bool


def find(lines: list[str]) -> Head | None:
    """The `%%session` line at the top of a cell, after blank lines and comments."""
    for index, line in enumerate(lines):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _HEAD.match(line)
        if match is None or stripped.endswith("?"):
            return None
        return Head(index, match["rest"] or "", _magic_next(lines[index + 1 :]))
    return None


def _magic_next(lines: list[str]) -> bool:
    for line in lines:
        if line.strip():
            return line.lstrip().startswith("%%") and not line.rstrip().endswith("?")
    return False


def statement(words: str) -> str:
    """The statement that a `%%session` line becomes."""
    return f"get_ipython().run_line_magic('session', {'--cell ' + words!r})\n"


def rewrite(lines: list[str], cell_magic: Callable[[list[str]], list[str]]) -> list[str]:
    """The cell with its `%%session` line turned into a statement.

    Args:
        lines: the cell's lines, each with its newline.
        cell_magic: IPython's own transformer of a cell that begins with a cell magic.
    """
    head = find(lines)
    if head is None:
        return lines
    before, rest = lines[: head.line], lines[head.line + 1 :]
    if head.magic_follows:
        while not rest[0].strip():
            rest = rest[1:]
        rest = cell_magic(rest)
    return [*before, statement(head.words), *rest]


def silence(lines: list[str]) -> list[str]:
    """The cell, showing nothing, if its last line is a `%bridge` line that ends in `;`.

    IPython looks for the `;` in the transformed source, where it stands in the magic's string.
    """
    last = next((line for line in reversed(lines) if line.strip()), "")
    if not _SILENT.match(last):
        return lines
    end = [] if lines[-1].endswith("\n") else ["\n"]
    return [*lines, *end, "None\n"]
