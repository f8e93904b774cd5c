"""How this process shows things: what a worker is told for a display, and what may come back."""

from __future__ import annotations

import sys
from typing import Any

MIME_TYPES = frozenset(("text/plain", "text/html"))
"""What a display may bring here: text only, and no script."""

_PANDAS = (
    "colheader_justify",
    "expand_frame_repr",
    "large_repr",
    "max_columns",
    "max_colwidth",
    "max_rows",
    "min_rows",
    "multi_sparse",
    "notebook_repr_html",
    "precision",
    "show_dimensions",
    "width",
)


def display_options() -> dict[str, Any]:
    """The display options that were set in this process, by library; plain values only."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return {}
    try:
        found = {f"display.{name}": pandas.get_option(f"display.{name}") for name in _PANDAS}
    except (AttributeError, KeyError, ValueError):
        return {}  # half imported, or a version that has other options
    plain = (type(None), bool, int, float, str)
    return {"pandas": {name: value for name, value in found.items() if type(value) in plain}}


def allowed(bundle: Any) -> dict[str, str]:
    """The part of a worker's MIME bundle that is shown."""
    if type(bundle) is not dict:
        return {}
    return {k: v for k, v in bundle.items() if k in MIME_TYPES and type(v) is str}
