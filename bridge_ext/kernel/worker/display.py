"""What an object shows of itself: a MIME bundle of text/plain and text/html.

This runs the object's own repr code, so it happens only when a kernel asks for a display.
"""

from __future__ import annotations

import contextlib
import re
import sys

from ..wire.limits import MAX_DISPLAY
from ..wire.naming import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_REPRS = (("text/html", "_repr_html_"),)


def mime_bundle(obj: Any, options: dict[str, Any]) -> dict[str, str]:
    """MIME type to text; a representation that fails or is too large is left out.

    Args:
        obj: what is shown.
        options: display options by library, as the kernel has them.
    """
    with _pandas_options(options.get("pandas")):
        return _bundle(obj)


def _pandas_options(options: dict[str, Any] | None) -> Any:
    pandas = sys.modules.get("pandas")
    if pandas is None or not options:
        return contextlib.nullcontext()
    try:
        return pandas.option_context(*[x for pair in options.items() for x in pair])
    except Exception:
        return contextlib.nullcontext()  # another version, with other options


def _bundle(obj: Any) -> dict[str, str]:
    bundle = {}
    for mime, method in _REPRS:
        text = _call(obj, method)
        if text is not None and len(text) <= MAX_DISPLAY:
            bundle[mime] = text
    plain = _plain(obj)
    if plain is not None:
        bundle["text/plain"] = plain
    return bundle


def _call(obj: Any, method: str) -> str | None:
    if isinstance(obj, type):
        return None
    try:
        text = getattr(obj, method)()
    except Exception:
        return None
    return text if type(text) is str else None


def _plain(obj: Any) -> str | None:
    """The repr without addresses, or None where it says no more than the type."""
    own: Any = type(obj).__repr__
    if own is object.__repr__:
        return None
    try:
        text = repr(obj)
    except Exception as error:
        return f"<{name_of(type(obj))}: its repr raised {name_of(type(error))}>"
    return _ADDRESS.sub("", text) if len(text) <= MAX_DISPLAY else None
