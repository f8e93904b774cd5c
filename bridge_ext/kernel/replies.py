"""The shape of a reply's body, checked before anything is made of it."""

from __future__ import annotations

from typing import Any

from .errors import ProtocolError
from .wire.failure import is_failure
from .wire.naming import clean


def checked(body: Any) -> list[Any]:
    """`[0, value]`, `[1, failure]`, `[2]`, `[3, reason]` or `[4]`.

    Raises:
        ProtocolError: it is something else.
    """
    if type(body) is list and body and type(body[0]) is int:
        status, count = body[0], len(body)
        if (status == 0 and count == 2) or (status in (2, 4) and count == 1):
            return body
        if status == 3 and count == 2 and type(body[1]) is str:
            return [3, clean(body[1])]
        if status == 1 and count == 2 and is_failure(body[1]):
            return body
    raise ProtocolError(f"a reply's body is [status, ...], and {body!r:.200} came")
