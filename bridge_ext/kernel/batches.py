"""Batches: many calls in one message, each with a future of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .call import Call
from .callpaths import CallPaths
from .client import head_parts
from .errors import ProtocolError
from .futures import CallFuture
from .outbound import SCALARS
from .surface import hide_frames
from .wire.codec import pack, pack_list
from .wire.payload import join, start
from .wire.rebuilding import throw

if TYPE_CHECKING:
    from .handles import Ref
    from .incarnation import Incarnation
    from .options import Options
    from .remote import Remote
    from .session import Lease, Session

_MOST = 20_000
"""Calls in one message; of more, the first are sent while the later ones are being made."""


class Batch(CallPaths[CallFuture]):
    """Gathers calls, and sends them together.

    Args:
        client: makes the request.
        options: bound to the batch; those of the message are the timeout and what goes with it.
    """

    def __init__(self, client: Remote, options: Options | None = None) -> None:
        self._client, self._options = client, options
        self._incarnation: Incarnation | None = None
        self._clear()

    def _clear(self) -> None:
        self._calls: list[Call] = []
        self._futures: list[CallFuture] = []
        self._targets: list[Ref | None] = []
        self._items: list[bytes] = []
        self._starts: dict[tuple[Any, ...], int] = {}
        self._packed: list[bytes] = []
        self._sessions: dict[int, tuple[Session, Lease | None]] = {}
        self._helpers: list[str] = []
        self._buffers: list[Any] = []
        self._fetches = False

    def request(self, call: Call) -> CallFuture:
        """Add a call; its arguments are encoded now.

        Raises:
            BridgeError: its arguments cannot travel, or it has no session.
        """
        client = self._client
        options, forced, scope = client.surroundings(call)
        incarnation = client.connect()
        if incarnation is not self._incarnation or len(self._calls) == _MOST:
            self.send()
            self._incarnation = incarnation
        session, lease = client.where(call, options, forced, scope)
        call.origin = scope
        call.fetched = options.fetch if call.fetch is None else call.fetch
        in_force = forced.id if forced is not None else None
        self._items.append(self._item(call, session, in_force, incarnation))
        self._sessions[session.generation] = session, lease
        if call.helper is not None:
            self._helpers.append(call.helper)
        self._fetches = self._fetches or call.fetched is True
        future = CallFuture()
        self._calls.append(call)
        self._futures.append(future)
        if call.target is not None and call.target.handle is not None:
            self._targets.append(call.target.handle())  # a batch holds what its calls are on
        return future

    def _item(
        self, call: Call, session: Session, in_force: str | None, incarnation: Incarnation
    ) -> bytes:
        key = (call.start, session.generation, in_force, call.fetched)
        number = self._starts.get(key)
        if number is None:
            number = self._starts[key] = len(self._packed)
            self._packed.append(join(head_parts(call, session, in_force)))
        args = call.args
        if args is None:
            return pack([number])
        if not call.kwargs and SCALARS.issuperset(map(type, args)):
            return pack([number, list(args), call.kwargs])
        made = self._client.argument_part(call, session, in_force, incarnation, self._buffers)
        return pack([number, join([made])])

    def send(self) -> None:
        """Send what was gathered, and settle the futures.

        Raises:
            BridgeError, KeyboardInterrupt: of the message as a whole; every future has it too.
        """
        self._leave_out_cancelled()
        calls, futures, targets = self._calls, self._futures, self._targets
        if not calls:
            return
        call = self._message()
        self._clear()
        try:
            outcomes = self._client.request(call)
            if type(outcomes) is not list or len(outcomes) != len(calls):
                raise ProtocolError(f"{len(calls)} calls were sent, and {outcomes!r:.200} came")
        except BaseException as error:
            for future in futures:
                future.settle(None, error)
            raise
        finally:
            del targets  # held as long as the calls on them are in flight
        for one, future, outcome in zip(calls, futures, outcomes, strict=True):
            one.errors = call.errors
            self._settle(one, future, outcome)

    def _leave_out_cancelled(self) -> None:
        wanted = [n for n, future in enumerate(self._futures) if not future.cancelled()]
        if len(wanted) < len(self._futures):
            self._calls = [self._calls[n] for n in wanted]
            self._items = [self._items[n] for n in wanted]
            self._futures = [self._futures[n] for n in wanted]

    def _message(self) -> Call:
        count, fields = start("batch", {})
        items = pack_list([pack_list(self._packed), pack_list(self._items)])
        plural = "s" if len(self._calls) != 1 else ""
        call = Call(
            "batch",
            f"a batch of {len(self._calls):,} call{plural}",
            (count + 1, fields + pack("args") + items),
            options=self._options,
            fetch=True if self._fetches else None,
        )
        call.has_refs = True
        if any(one.has_refs for one in self._calls):
            call.made_for = self._incarnation  # in another worker the refs are of other objects
        call.raw_buffers = self._buffers
        call.helper = self._helpers or None
        call.also = [session for session, _ in self._sessions.values()]
        return call

    def _settle(self, call: Call, future: CallFuture, outcome: Any) -> None:
        if outcome[0] == 0:
            future.settle(outcome[1], None)
            return
        try:
            if outcome[0] == 1:
                throw(self._client.raised(outcome[1], call))
            if outcome[0] == 2:
                raise KeyboardInterrupt
            future.settle(self._client.request(call), None)  # its session had ended: once more
        except BaseException as error:
            hide_frames(error)
            future.settle(None, error)

    def give_up(self) -> None:
        """Send nothing: the block was left by an error."""
        for future in self._futures:
            future.cancel()
        self._clear()
