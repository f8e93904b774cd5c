"""`%%session` at the top of a cell becomes a statement that enters the session.

A statement keeps line numbers, top-level `await`, display and the cell's error status, and holds
inside `%%time` and `%%capture`. Where the next line is itself a cell magic, which must stay the
first line, the `%%session` line is taken out and the session entered before the cell runs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

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


def rewrite(lines: list[str], *, entered: bool) -> list[str]:
    """The cell with its `%%session` line turned into a statement.

    Args:
        lines: the cell's lines, each with its newline.
        entered: whether the session of a line that a cell magic follows is entered otherwise.
    """
    head = find(lines)
    if head is None:
        return lines
    if not head.magic_follows:
        return [*lines[: head.line], statement(head.words), *lines[head.line + 1 :]]
    if entered:
        rest = lines[head.line + 1 :]
        while rest and not rest[0].strip():
            rest = rest[1:]
        return rest
    return [statement(head.words)]
