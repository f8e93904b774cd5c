"""The kernel's books of one worker incarnation's refs: identity, receipts, and what to give back.

A handle that is collected is appended to a queue, and nothing else happens then: no Python code
runs, in which an interrupt could be raised and lost. Whoever sends next takes the queue: under the
table's lock a state whose object has come back meanwhile keeps its handle, and the others give
their receipts back.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from .errors import RefNotFoundError, SessionLostError
from .status import Status
from .wire.payload import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from .handles import Ref
    from .incarnation import Incarnation
    from .remote import Remote
    from .session import Lease, Session
    from .streams import StreamState
    from .wire.payload import Part

_STARTS = 16
"""Methods of one ref whose payloads are kept: those that a loop calls."""
_PER_MESSAGE = 500_000
"""Refs given back in one message, so that a head stays far below its limit."""


class Living(weakref.ref["Ref"]):
    """A weak reference to a handle.

    Attributes:
        state: what the handle stands for.
    """

    __slots__ = ("state",)
    state: RefState


class RefState:
    """What a handle stands for. Handles of one ref share it.

    Attributes:
        handle: the handle that a receipt of the ref brings; `twins`, those of refs that have become
            this one.
    """

    __slots__ = (
        "_starts",
        "client",
        "gone",
        "handle",
        "id",
        "incarnation",
        "lease",
        "length",
        "nbytes",
        "receipts",
        "session",
        "shape",
        "stream",
        "twins",
        "type_name",
    )

    def __init__(
        self,
        client: Remote,
        incarnation: Incarnation,
        session: Session,
        lease: Lease | None,
        ref_id: int,
        type_name: str,
        length: int | None,
        shape: tuple[int, ...] | None,
        nbytes: int,
    ) -> None:
        self.client, self.incarnation = client, incarnation
        self.session, self.lease = session, lease
        self.id, self.type_name = ref_id, type_name
        self.length, self.shape, self.nbytes = length, shape, nbytes
        self.receipts = 1
        self.gone = ""
        self.stream: StreamState | None = None
        self.handle: Living | None = None
        self.twins: list[Living] = []
        self._starts: dict[str, tuple[Session, int, Part]] | None = None

    def handles(self) -> list[Ref]:
        """The handles that live."""
        known = [self.handle, *self.twins] if self.handle is not None else []
        return [handle for living in known if (handle := living()) is not None]

    def text(self) -> str:
        """The ref as text: no made id, no address, none of the object's own code."""
        if self.shape is not None:
            size = " " + "×".join(map(str, self.shape)) if self.shape else ""
        else:
            size = f" of {self.length}" if self.length is not None else ""
        where = "" if self.session.made_id else f" in {self.session.id!r}"
        ended = self.ended()
        return f"<ref {self.type_name}{size}{where}{f' ({ended})' if ended else ''}>"

    def ended(self) -> str:
        """How it went, or ""."""
        if self.gone:
            return self.gone
        if self.session.live:
            return ""
        return "lost" if self.session.status is Status.LOST else self.session.reason or "released"

    def check(self) -> None:
        """Whether it can be used.

        Raises:
            RefNotFoundError: it has ended.
            SessionLostError: its worker has died.
        """
        if not self.gone and self.session.live:
            return
        if self.session.status is Status.LOST:
            raise SessionLostError(self.session.id, self.session.reason)
        reason = self.gone or self.session.reason or "session released"
        raise RefNotFoundError(self.text(), reason)

    def wire(self) -> list[Any]:
        """The ref as it is named in a payload, for use there."""
        if self.stream is not None:
            self.stream.give_back(self)
        return [self.id, self.session.id, self.session.generation]

    def start_of_method(self, name: str) -> Part:
        """The start of a payload that calls a method of it, packed once; "" is a call of itself."""
        known = self._starts.get(name) if self._starts is not None else None
        if known is None or known[0] is not self.session or known[1] != self.id:
            made = start("method", {"function": name, "instance": self.wire()})
            if self.stream is not None:
                return made  # each of them says how far it was read
            if self._starts is None or len(self._starts) >= _STARTS:
                self._starts = {}
            known = self._starts[name] = self.session, self.id, made
        return known[2]

    def name(self) -> list[Any]:
        """The same, to go on with a stream here."""
        return [self.id, self.session.id, self.session.generation]


class RefTable:
    """The states of one incarnation, by ref id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, RefState] = {}
        self.dropped: deque[weakref.ref[Ref]] = deque()
        """Those of handles that were collected; filled by the interpreter itself."""

    def receive(
        self, ref_id: int, new_state: Callable[[], RefState], new_handle: Callable[[RefState], Ref]
    ) -> Ref:
        """Count a receipt of a ref; its handle, made if none lives.

        The two functions run under the lock, so that no flush comes between a receipt and the
        handle that holds it; they keep books and run no user code.
        """
        with self._lock:
            state = self._states.get(ref_id)
            if state is None:
                state = self._states[ref_id] = new_state()
            else:
                state.receipts += 1
                state.gone = ""  # the worker has it, whatever was said meanwhile
            handle = next(iter(state.handles()), None)
            if handle is None:
                handle = new_handle(state)
                state.handle = Living(handle, self.dropped.append)
                state.handle.state = state
            return handle

    def merge(self, state: RefState, home: RefState) -> None:
        """The ref of `state` has become that of `home`: its handles stand for the same now."""
        with self._lock:
            if self._states.get(state.id) is state:
                del self._states[state.id]
            for living in [state.handle, *state.twins] if state.handle is not None else []:
                living.state = home
                home.twins.append(living)
                handle = living()
                if handle is not None:
                    object.__setattr__(handle, "_bridge_state", home)
            home.receipts += state.receipts
            state.handle, state.twins, state.receipts = None, [], 0
            # a call that is being made may have it still
            state.id, state.session, state.lease = home.id, home.session, home.lease

    def get(self, ref_id: int) -> RefState | None:
        """The state of a ref, if a handle of it was made and not yet given back."""
        return self._states.get(ref_id)

    def give_back(self, ended: Callable[[RefState], None] | None) -> list[int]:
        """The receipts of the handles that were dropped, as `id, count, id, count, …`.

        `ended` is told of each ref concerned; it only takes notes.
        """
        out: list[int] = []
        with self._lock:
            for _ in range(min(len(self.dropped), _PER_MESSAGE)):
                handle = self.dropped.popleft()
                assert isinstance(handle, Living)
                state = handle.state
                if not _last(state, handle):
                    continue
                state.handle = None  # which refers to the state: it must not wait for a collection
                if self._states.get(state.id) is state:
                    del self._states[state.id]
                if not state.gone and state.session.live:
                    out += (state.id, state.receipts)
                    if state.stream is not None:
                        state.stream.give_back(state)  # it may be kept, or held there
                    if ended is not None:
                        ended(state)
                state.receipts = 0
        return out

    def mark(self, ref_ids: list[int], reason: str) -> list[RefState]:
        """Say how refs have ended; the states concerned."""
        with self._lock:
            found = [s for i in ref_ids if (s := self._states.get(i)) is not None]
            for state in found:
                state.gone = state.gone or reason
            return found

    def count(self) -> int:
        """How many refs can still be used through a handle."""
        with self._lock:
            return sum(bool(s.handles()) and not s.ended() for s in self._states.values())


def _last(state: RefState, dropped: Living) -> bool:
    """Whether with this handle the last of a ref is gone."""
    if state.handle is not dropped:  # a twin; or the object came back, and with it a handle
        state.twins = [twin for twin in state.twins if twin is not dropped]
        return False
    heir = next((twin for twin in state.twins if twin() is not None), None)
    if heir is not None:
        state.handle = heir
        state.twins = [twin for twin in state.twins if twin is not heir]
    return heir is None
