"""What an exchange needs of the connection around it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..wire.framing import Buffer, Frame
    from .base import Death, Died, Request

    class Host(Protocol):
        """The connection around an exchange."""

        death: Death | None
        take_types: Callable[[list[Any]], None]

        def broken(self, error: Exception | None) -> Died:
            """The channel ended: say how the worker did."""

        def wake_background(self) -> None:
            """Have the bridge's thread read, or send, what nobody else does."""

        def answer(self, request: Request, frame: Frame) -> tuple[bytes, list[Buffer]]:
            """Run a callback within a call."""

        def refuse(self, frame: Frame) -> tuple[bytes, list[Buffer]]:
            """The answer to a callback that nobody waits for."""

        def cancel(self, call_id: int, never: Callable[[], None]) -> None:
            """Have the worker stop a call; `never` is called if it will not start it."""

        def send_control(self, kind: int, head: bytes, body: bytes, buffers: list[Buffer]) -> None:
            """Send a frame on the control channel."""
