"""Opening what the user asked to fetch: here, and only here, a pickle of a worker is opened."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .errors import EncodeError
from .replies import checked
from .wire.loading import Loading, plain
from .wire.marks import Ext
from .wire.opening import Unpickler
from .wire.segments import copied, viewed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .backends.base import Reply


def fetched(
    reply: Reply, hooks: Mapping[int, Callable[[bytes], Any]], *, view: bool = False
) -> list[Any]:
    """The body of a reply whose value was fetched; hooks open the refs that it may hold too.

    Args:
        reply: as it came.
        hooks: see `Loading`.
        view: whether its large buffers are read where they are, and cannot be written to.

    Raises:
        EncodeError: this process cannot rebuild the object.
    """

    def unpickle(data: bytes) -> Any:
        stream, first, _ = plain.load(data)
        try:
            buffers = (viewed if view else copied)(reply.buffers[first:])
            return Unpickler(io.BytesIO(stream), buffers=iter(buffers)).load()
        except Exception as error:  # the object's own code runs here
            why = f"it cannot be rebuilt here ({type(error).__name__}: {error}); keep it as a ref"
            raise EncodeError("The result", "a copy", why) from error

    return checked(Loading({**hooks, Ext.PICKLE: unpickle}).load(reply.body))
