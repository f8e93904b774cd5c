"""What a display carries: which MIME types, what of their metadata, and how much.

A display is `data`, MIME type to content, and `metadata`, MIME type to a few settings. Both sides
hold to the same list: a worker sends nothing else, and a kernel takes nothing else.
"""

from __future__ import annotations

from .limits import MAX_DEPTH, MAX_DISPLAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT = frozenset(("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml"))
PICTURES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
"""Bytes, or text in base64."""
_DATA = frozenset(("application/json", "application/geo+json"))
_CHARTS = frozenset(("plotly", "vega", "vegalite"))
"""Data that a frontend draws by itself: JSON, and no code. Of charts the version is in the name."""

_SETTINGS = frozenset(
    ("width", "height", "unconfined", "needs_background", "isolated", "expanded", "root")
)
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def content(mime: Any, value: Any) -> Any:
    """What a display carries of a value: text, bytes or JSON; None if it carries nothing.

    A subclass of str or bytes becomes exactly that.
    """
    if type(mime) is not str:
        return None
    if mime in TEXT or (mime in PICTURES and isinstance(value, str)):
        return str.__str__(value) if isinstance(value, str) else None
    if mime in PICTURES:
        return bytes(value) if isinstance(value, (bytes, bytearray)) else None
    if (mime in _DATA or _is_chart(mime)) and isinstance(value, (dict, list)):
        try:
            return _json(value, MAX_DEPTH)
        except ValueError:
            return None
    return None


def _is_chart(mime: str) -> bool:
    """Whether it is `application/vnd.<chart>.v<number>+json`."""
    name, _, version = mime.removeprefix("application/vnd.").partition(".v")
    number = version.removesuffix("+json")
    exact = mime == f"application/vnd.{name}.v{number}+json"
    return exact and name in _CHARTS and number.isdecimal()


def size(value: Any) -> int:
    """Bytes of a content as `content` gives it; of JSON, about as many as it is written with."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if type(value) is bytes:
        return len(value)
    if type(value) is dict:
        return 2 + sum(size(k) + size(v) + 2 for k, v in value.items())
    if type(value) is list:
        return 2 + sum(size(item) + 1 for item in value)
    return len(repr(value))


def fits(value: Any) -> bool:
    """Whether a display has room for a content."""
    return size(value) <= MAX_DISPLAY


def settings(metadata: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What a display carries of its metadata: settings of the whole, and of each type it has."""
    if not isinstance(metadata, dict):
        return {}
    found: dict[str, Any] = {}
    for key, value in metadata.items():
        if type(key) is not str:
            continue
        if key in _SETTINGS and _is_setting(value):
            found[key] = value
        elif key in data and isinstance(value, dict):
            inner = {k: v for k, v in value.items() if k in _SETTINGS and _is_setting(v)}
            if inner:
                found[key] = inner
    return found


def _is_setting(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= 100 and value.isprintable() and not set("<>&'\"").intersection(value)
    return type(value) in (bool, int, float)


def _json(value: Any, depth: int) -> Any:
    """Exact JSON types; what is not a number in JSON becomes null, as in a browser.

    Raises:
        ValueError: something in it is no JSON, or it is nested too deep.
    """
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise ValueError("an integer that msgpack has no form for")
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if number - number == 0 else None
    if depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (list, tuple)):
        return [_json(item, depth - 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): _json(item, depth - 1) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} is no JSON")
