"""Prepared calls in a worker: payloads that were read and checked once, by number."""

from __future__ import annotations

from ..errors import ProtocolError
from ..wire.limits import MAX_PREPARED
from ..wire.loading import plain, scalars
from ..wire.payload import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .handlers import Payload


class Prepared:
    """One payload, without its arguments.

    Attributes:
        cell: where it is called.
    """

    __slots__ = ("call_type", "cell", "payload")

    def __init__(self, body: bytes, cell: str) -> None:
        self.payload: Payload = plain.load(body)
        self.call_type = check(self.payload)
        self.cell = cell

    def with_args(self, body: bytes | bytearray) -> Payload:
        """The payload of a call, with its packed arguments.

        Raises:
            ProtocolError: these are no arguments.
        """
        return {**self.payload, "args": scalars(body)}


class PreparedCalls:
    """Those that the kernel has told of last."""

    def __init__(self) -> None:
        self._calls: dict[int, Prepared] = {}
        self.get = self._calls.get

    def keep(self, number: int, body: bytes, cell: str) -> None:
        """Keep one under a number, and forget the oldest if these are too many."""
        if type(number) is not int or type(cell) is not str:
            raise ProtocolError(f"a call is prepared as [number, payload, cell], not {number!r}…")
        self._calls[number] = Prepared(body, cell)
        if len(self._calls) > MAX_PREPARED:
            del self._calls[next(iter(self._calls))]
