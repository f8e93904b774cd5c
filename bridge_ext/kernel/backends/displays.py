"""What a worker's code displays: shown in its cell, at its place between the text."""

from __future__ import annotations

from ..wire.heads import notice_head
from .base import unseen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..wire.framing import Frame
    from .output import Output


class Displays:
    """Takes the notices of a data channel. Whoever reads that calls it.

    Attributes:
        show: shows the body of a notice; see `Connection.listen`.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self.show: Callable[[bytes | bytearray], None] = unseen

    def take(self, frame: Frame) -> None:
        """Show what a notice brings, if it is a display.

        Raises:
            ProtocolError: it is malformed.
        """
        what, call_id, number = notice_head(frame.head)
        if what != "display":
            return
        output = self._output
        output.show_until(number)
        context = output.context_of(call_id)
        if context is None:
            self.show(frame.body)
        else:
            context.copy().run(self.show, frame.body)
        output.show_after(number)
