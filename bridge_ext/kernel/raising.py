"""Failures of a worker, as the exceptions to raise here; the last is kept, to be shown whole."""

from __future__ import annotations

import sys
from typing import Any

from .wire.limits import MAX_ERRORS
from .wire.rebuilding import rebuild

_LONGEST = 1 << 20
"""Characters of a traceback that is shown whole; of a longer one the middle is left out."""


class Raising:
    """The part of a client that raises what a worker answers."""

    _last: list[Any] | None = None

    def failed(self, failure: list[Any], *, keep: bool = True) -> BaseException:
        """The exception of a failure; `keep` it for `last_traceback` if it has one."""
        if keep and any(record[5] for record in (failure, *failure[-1])):
            self._last = failure
        return rebuild(failure)

    def last_traceback(self) -> str:
        """The traceback of the last failure with every frame and every exception, or ""."""
        if self._last is None:
            return ""
        import traceback

        error = rebuild(self._last, everything=True)
        made = traceback.TracebackException(
            type(error), error, error.__traceback__, compact=True, **_WIDE
        )
        text = "".join(made.format())
        if len(text) <= _LONGEST:
            return text
        half, left_out = _LONGEST // 2, len(text) - _LONGEST
        return f"{text[:half]}\n… ({left_out:,} characters left out)\n{text[-half:]}"


_WIDE: dict[str, Any] = {"max_group_width": MAX_ERRORS, "max_group_depth": MAX_ERRORS}
"""All members of groups, where Python has groups."""
if sys.version_info < (3, 11):
    _WIDE = {}
