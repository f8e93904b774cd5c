"""The two channels of a worker, as what it sends over them: frames that bring new type records."""

from __future__ import annotations

import sys

from ..wire.codec import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..wire.channel import Channel
    from ..wire.framing import Buffer
    from .kinds import TypeTable


class Lines:
    """Sends frames from any thread. The head of each ends with the types that it has to bring."""

    def __init__(self, data: Channel, control: Channel, types: TypeTable) -> None:
        self.data, self.control, self._types = data, control, types

    def send_data(
        self, kind: int, head: list[Any], body: bytes, buffers: Sequence[Buffer] = ()
    ) -> None:
        """Send a frame on the data channel."""
        types = self._types
        with self.data.send_lock:
            head.append(types.take_data() if types.data else None)
            self.data.send(kind, pack(head), body, buffers)

    def send_control(
        self, kind: int, head: list[Any], body: bytes, buffers: Sequence[Buffer] = ()
    ) -> None:
        """Send a frame on the control channel."""
        types = self._types
        with self.control.send_lock:
            head.append(types.take_control() if types.control else None)
            self.control.send(kind, pack(head), body, buffers)


def flush() -> None:
    """Write out what is buffered, so that it stands before what is sent now."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        _flush_each()


def _flush_each() -> None:
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:
            pass  # the user replaced or closed it; the frame must go out all the same
