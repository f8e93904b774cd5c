"""The words of `%bridge call`: split outside quotes and brackets, then literals and names.

Nothing is pasted as a string: a word is a Python literal, or a name or attribute chain that is
looked up, or it is an error.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from .kernel.errors import BridgeUsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_KEYWORD = re.compile(r"([^\W\d]\w*)=(?!=)")
_OPEN, _CLOSE = "([{", ")]}"


def split(text: str) -> list[str]:
    """Split a line into words, at blanks outside quotes and brackets; quotes are kept.

    Raises:
        BridgeUsageError: a quote or bracket is not closed.
    """
    words: list[str] = []
    word, quote, depth = "", "", 0
    escaped = False
    for char in text:
        if quote:
            word += char
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
            word += char
        elif char.isspace() and depth == 0:
            if word:
                words.append(word)
            word = ""
        else:
            depth += (char in _OPEN) - (char in _CLOSE)
            word += char
    if quote or depth > 0:
        missing = quote or "a closing bracket"
        raise BridgeUsageError(f"{text.strip()!r}: {missing} is missing at the end")
    return [*words, word] if word else words


def arguments(words: list[str], *namespaces: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments from words; names are looked up in order.

    Raises:
        BridgeUsageError: a word is neither a literal nor a known name.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        match = _KEYWORD.match(word)
        if match is not None:
            name = match[1]
            if name in kwargs:
                raise BridgeUsageError(f"{word!r}: {name} is given twice")
            kwargs[name] = value_of(word[match.end() :], *namespaces)
        elif kwargs:
            raise BridgeUsageError(f"{word!r} stands after key=value words; put it before them")
        else:
            args.append(value_of(word, *namespaces))
    return args, kwargs


def value_of(word: str, *namespaces: Mapping[str, Any]) -> Any:
    """The value of one word.

    Raises:
        BridgeUsageError: it is neither a literal nor a known name.
    """
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    if _NAME.fullmatch(word):
        first, *rest = word.split(".")
        for namespace in namespaces:
            if first in namespace:
                value = namespace[first]
                for name in rest:
                    value = getattr(value, name)
                return value
        raise BridgeUsageError(
            f"{word!r} is no literal, and no variable is named {first!r}; "
            f"for a string write '{word}' in quotes"
        )
    raise BridgeUsageError(
        f"{word!r} is neither a Python literal nor a name; for an expression use "
        "bridge.call(path, ...)"
    )
