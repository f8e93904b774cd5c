"""The heads of frames: plain msgpack lists, checked as they are taken apart."""

from __future__ import annotations

from functools import partial

from ..errors import ProtocolError
from .own import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DISPLAY_MARK = 1 << 63
"""Set in the number of a mark in a worker's output that stands where something is displayed."""

_unpack = partial(msgpack.unpackb, unicode_errors="surrogatepass")


def request_head(data: bytes) -> list[Any]:
    """The head of a request: `[call id, deadline, releases, declarations, cell]`.

    In place of the cell stands the number of a prepared call, whose arguments the body is.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        head = _unpack(data)
    except Exception as error:  # whatever msgpack makes of bytes that are no value
        raise ProtocolError(f"these bytes are no head of a request ({error})") from error
    if type(head) is not list or len(head) != 5 or type(head[0]) is not int:
        raise ProtocolError(
            "a request's head is [call id, deadline, releases, declarations, cell], "
            f"and {head!r:.200} came"
        )
    return head


def notice_head(data: bytes) -> tuple[str, int, int]:
    """The head of a notice on the data channel: what it is, the call it belongs to, its number.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        head = _unpack(data)
    except Exception as error:
        raise ProtocolError(f"these bytes are no head of a notice ({error})") from error
    if type(head) is not list or list(map(type, head)) != [str, int, int]:
        raise ProtocolError(f"a notice's head is [what, call id, number], and {head!r:.200} came")
    return head[0], head[1], head[2]


def reply_head(data: bytes) -> tuple[int, list[Any] | None]:
    """The head of a reply: the call id, and the type records that came with it.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        head = _unpack(data)
    except Exception as error:
        raise ProtocolError(f"these bytes are no head of a reply ({error})") from error
    if type(head) is not list or len(head) != 2 or type(head[0]) is not int:
        raise ProtocolError(f"a reply's head is [call id, types], and {head!r:.200} came")
    return head[0], head[1]


def ask_head(data: bytes) -> list[Any]:
    """The head of an ask: `[ask id, call id, whether a thread asks, types]`.

    Raises:
        ProtocolError: it is something else.
    """
    return _head(data, [int, int, bool, None], "[ask id, call id, threaded, types]")


def answer_head(data: bytes) -> list[Any]:
    """The head of an answer, or of a request within an ask: `[ask id, the request's head]`.

    Raises:
        ProtocolError: it is something else.
    """
    return _head(data, [int, None], "[ask id, head]")


def _head(data: bytes, types: list[type | None], shape: str) -> list[Any]:
    try:
        head = _unpack(data)
    except Exception as error:
        raise ProtocolError(f"these bytes are no head ({error})") from error
    if (
        type(head) is list
        and len(head) == len(types)
        and all(t is None or type(x) is t for x, t in zip(head, types, strict=True))
    ):
        return head
    raise ProtocolError(f"a head is {shape}, and {head!r:.200} came")
