"""The seam between the kernel side and its workers.

A backend opens *connections*; a connection is one incarnation of one worker, and stays dead once
it has died. What a backend cannot do stands in its `lacks`, and asking for it is a
BridgeUsageError:

    behaviour                                memory    local
    calls, sessions, refs, limits, expiry    yes       yes
    output in the calling cell               yes       yes
    callbacks, futures, batches, streams     yes       yes
    death, restart, timeout, interrupt       no        yes
    memory_limit                             no        yes
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Context
    from typing import Any, TypeVar

    T = TypeVar("T")

    from ..wire.framing import Buffer, Frame


class Deadline:
    """One point in time for a whole operation.

    Args:
        seconds: from now; None is never.
    """

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.at = None if seconds is None else time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.at is not None and time.monotonic() >= self.at

    def left(self, at_most: float) -> float:
        """Seconds left, but no more than `at_most`."""
        if self.at is None:
            return at_most
        return max(0.0, min(at_most, self.at - time.monotonic()))


NEVER = Deadline(None)
REFUSAL = {"status": 1, "error": 0, "in_force": None, "args": [None]}
"""An answer that raises an error which is none of the user's."""


class Reply:
    """A reply as it came: the body is still packed."""

    __slots__ = ("body", "buffers")

    def __init__(self, body: bytes | bytearray, buffers: list[Buffer]) -> None:
        self.body, self.buffers = body, buffers


class Origin(Protocol):
    """Where a request is made.

    Attributes:
        label: as text.
        context: where its output is written; made by `output` at need.
    """

    label: str
    context: Context | None

    def output(self) -> Context:
        """A context that does not hold the origin itself."""


class Late(Enum):
    """What becomes of a request whose deadline passes."""

    STOP = 1
    """It is cancelled, and its end is waited for."""
    DROP = 2
    """It is cancelled, and nobody waits."""
    LEAVE = 3
    """It goes on, and nobody waits."""


class Request:
    """One request on its way.

    Args:
        body: the packed payload.
        buffers: its out-of-band buffers.
        origin: where the call is made.
        session, helper: what `outgoing` is asked to make known to the worker.
        late: what becomes of it when its deadline passes.

    Attributes:
        prepared: the number of a prepared call, whose body is only its arguments.
    """

    __slots__ = ("_errors", "body", "buffers", "helper", "late", "origin", "prepared", "session")

    def __init__(
        self,
        body: bytes,
        buffers: Sequence[Buffer],
        origin: Origin,
        session: Any,
        helper: Any,
        late: Late = Late.STOP,
    ) -> None:
        self.body, self.buffers = body, buffers
        self.origin = origin
        self.session, self.helper = session, helper
        self.late = late
        self.prepared: int | None = None
        self._errors: dict[int, BaseException] | None = None

    @property
    def errors(self) -> dict[int, BaseException]:
        """What callbacks of it have raised, by number; shared by the calls within a call."""
        self._errors = {} if self._errors is None else self._errors
        return self._errors

    @errors.setter
    def errors(self, errors: dict[int, BaseException]) -> None:
        self._errors = errors

    @property
    def what(self) -> int | str:
        """What its head says of its body: which prepared call it is of, else where it was made."""
        return self.origin.label if self.prepared is None else self.prepared

    @property
    def text(self) -> str:
        """What it is, for messages."""
        return "the request"


class Death:
    """How a worker ended."""

    __slots__ = ("how",)

    def __init__(self, how: str) -> None:
        self.how = how


class Interrupted(Exception):
    """The user's interrupt reached a wait; `error` is what to raise for it.

    The call has stopped, or, with `kill`, the user wants its worker ended.
    """

    def __init__(self, error: BaseException, *, kill: bool = False) -> None:
        super().__init__(error)
        self.error, self.kill = error, kill


class TimedOut(Exception):
    """The deadline of a wait passed; `stopped` says whether the call has stopped too."""

    def __init__(self, *, stopped: bool = True) -> None:
        super().__init__(stopped)
        self.stopped = stopped


class Busy(Exception):
    """A call that timed out still runs; `text` says which."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Died(Exception):
    """The worker died, or was dead; `broke` says that it was ended for what it sent."""

    def __init__(self, death: Death, *, broke: bool = False) -> None:
        super().__init__(death.how)
        self.death, self.broke = death, broke


class Stopped(Enum):
    """What `Connection.interrupt` has done."""

    NOTHING = "nothing ran"
    ASKED = "the call was told to stop"
    KILL = "the call has not stopped, and the worker is to be ended"


class Waiting(Protocol):
    """What waits for a reply without a thread. Both are called by whoever reads."""

    def landed(self, outcome: Reply | Exception) -> None:
        """The reply, or what `Connection.call` would have raised."""

    def asked(self, run: Callable[[], None]) -> None:
        """The worker asks for a callback: have `run` called, where it may block."""


def unseen(body: bytes | bytearray) -> None:
    """Nobody looks at what the worker shows."""


Outgoing = tuple["list[Any] | None", "list[Any] | None"]
"""Releases and declarations that travel in a request's head."""

if TYPE_CHECKING:
    TakeOutgoing = Callable[[Any, Any], Outgoing]
    Answer = Callable[[Request, "Frame"], "tuple[bytes, list[Buffer]]"]


class Connection(ABC):
    """One incarnation of one worker.

    Attributes:
        death: how it ended, once it has.
    """

    death: Death | None
    incarnation: int
    pid: int
    transport: Any  # a text that may change, see `model.WorkerInfo`

    @abstractmethod
    def listen(
        self,
        take_types: Callable[[list[Any]], None],
        answer: Answer | None = None,
        drop: Callable[[Reply], None] = lambda reply: None,
        cost: Callable[[], str] = str,
        show: Callable[[bytes | bytearray], None] = unseen,
    ) -> None:
        """Say who takes what the worker sends.

        Args:
            take_types: the type records of a message, before anybody sees a later one.
            answer: runs the callback that the worker asks for; the answer's body and buffers.
            drop: a reply that nobody waits for any more; it may hold refs.
            cost: says what would be lost with the worker.
            show: what the worker's code shows (see `worker/publishing`), in the context of the
                call it belongs to and behind what was written before; may raise ProtocolError.
        """

    @abstractmethod
    def call(
        self,
        request: Request,
        outgoing: TakeOutgoing,
        deadline: Deadline,
        finish: Callable[[Reply], T],
    ) -> T:
        """Send a request on the data channel, wait for its reply, and give it to `finish`.

        `outgoing(session, helper)` is called when the request's place on the wire is fixed. No
        KeyboardInterrupt is raised while bytes move or while `finish` keeps the books. Callbacks
        that the worker asks for run here, in the calling thread.

        Raises:
            Died: the worker died before the reply.
            TimedOut: the deadline passed; the reply, if it comes, is dropped.
            Interrupted: KeyboardInterrupt reached the wait.
            Busy: a call that timed out still runs.
        """

    @abstractmethod
    def begin(
        self, request: Request, outgoing: TakeOutgoing, deadline: Deadline, waiting: Waiting
    ) -> Callable[[], None]:
        """Send a request that no thread waits for; returns what cancels it.

        Raises:
            Died, Busy, Interrupted: it was not sent.
        """

    @abstractmethod
    def interrupt(self) -> Stopped:
        """Stop the call that runs."""

    @abstractmethod
    def control(self, body: bytes, deadline: Deadline) -> Reply:
        """The same on the control channel, which answers while a call runs."""

    @abstractmethod
    def tell(self, outgoing: TakeOutgoing, *, patient: bool) -> None:
        """Send releases and declarations without a request, if there are any.

        Unless `patient`, do nothing where sending would wait.
        """

    @abstractmethod
    def watch(self, timeout: float) -> list[tuple[str, list[Any]]]:
        """Wait for what the worker announces, and for its death; the bridge's thread does this."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """How many calls wait for their reply."""

    @property
    @abstractmethod
    def sent(self) -> int:
        """How many calls were sent, ever."""

    @property
    @abstractmethod
    def running(self) -> str | None:
        """The call that runs, as text; None if none does."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker and its process group now; returns when it is reaped."""

    @abstractmethod
    def close(self, grace: float) -> None:
        """End the worker politely, forcefully after `grace` seconds; returns when it is reaped."""

    @abstractmethod
    def free(self) -> bool:
        """Give the descriptors back once the worker is dead and no call needs them; whether so."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: close the copies of the descriptors.

        It takes no lock, because whoever held one at the fork is not here to release it.
        """


class Backend(ABC):
    """Opens connections."""

    name: str
    lacks: frozenset[str] = frozenset()

    @abstractmethod
    def open(self, incarnation: int, config: dict[str, Any]) -> Connection:
        """A connection to a fresh worker."""
