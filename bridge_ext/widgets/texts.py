"""Texts of the user's and of the worker's, as they may stand in a page. Pure."""

from __future__ import annotations

import re

MAX_TEXT = 200
"""Characters of one text: more than a wide window shows in a line."""
_UNFIT = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def fit(text: str, most: int = MAX_TEXT) -> str:
    """A text without control characters and halves of one, which no message can hold, cut."""
    text = _UNFIT.sub("", text)
    return text if len(text) <= most else text[: most - 1] + "…"
