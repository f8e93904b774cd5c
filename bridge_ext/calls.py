"""The functions that make calls: on a bridge, on one with options, and within sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .kernel import context
from .kernel.callbacks import Callback
from .kernel.callpaths import call_by_path
from .kernel.errors import BridgeClosedError, BridgeUsageError, InvalidRefError
from .kernel.handles import Ref
from .kernel.surface import surfaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from .batch import BatchBlock
    from .kernel.options import Options
    from .kernel.refs import RefState
    from .kernel.remote import Remote
    from .kernel.session import Session
    from .kernel.streams import StreamRef


@surfaces
class Calls:
    """The functions that make calls; on a bridge, and on a bridge with options."""

    _client: Remote
    _bound: Options | None = None

    @property
    def _remote(self) -> Remote:
        """The client, as long as it is not closed.

        Raises:
            BridgeClosedError: it is.
        """
        if self._client.closed:
            raise BridgeClosedError(self._client.closed)
        return self._client

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(
            f"{self!r} stays in its process: a worker cannot call it; give refs as arguments"
        )

    def call(self, path: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function in the worker.

        Args:
            path: `"math.sqrt"`; `"pkg.mod:Class.method"`, where the colon ends the module; or the
                name of a builtin.
            *args: by value, refs as themselves (see `put`, `options`).
            **kwargs: likewise.

        Returns:
            Plain data by value, any other object as a ref.

        Raises:
            BridgeUsageError: `path` is no path.
            EncodeError: an argument cannot travel; it is named by its path.
            SessionMismatchError, RefNotFoundError, SessionLostError: a ref among the arguments
                cannot be used in this call.
            WorkerDiedError: the worker died.
            Exception: what the function raised, as the same type where this process knows it.

        Example:
            >>> import bridge_ext
            >>> with bridge_ext.Bridge("memory") as bridge:
            ...     bridge.call("math.sqrt", 4)
            2.0
        """
        return self._client.by_path("dynamic", path, args, kwargs, self._bound)

    def new(self, path: str, /, *args: Any, **kwargs: Any) -> Ref:
        """Make an instance in the worker; always a ref, of plain data too."""
        ref: Ref = self._remote.by_path("class", path, args, kwargs, self._bound)
        return ref

    def attr(self, path: str) -> Any:
        """Read a module attribute: `bridge.attr("math.pi")`."""
        return self._remote.attribute_by_path(path, self._bound)

    def stream(self, path: str, /, *args: Any, **kwargs: Any) -> StreamRef:
        """Call a function that gives an iterable; a ref that iterates it in the worker."""
        ref: StreamRef = self._remote.by_path("stream", path, args, kwargs, self._bound)
        return ref

    def helper(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Run a registered helper.

        Raises:
            BridgeUsageError: there is none of that name; near names are given.
        """
        from .kernel.helpers import check_registered  # with `pickle`, which few calls need

        check_registered(name, self._remote.helpers)
        return self._remote.helper(name, args, kwargs, self._bound)

    def method(self, ref: Ref, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """`ref.name(…)`, for names that a handle refuses too."""
        return self._remote.method(
            state_of(ref, self._remote), attribute_name(name), args, kwargs, self._bound
        )

    def get(self, ref: Ref, name: str) -> Any:
        """`ref.name`, for names that a handle refuses too."""
        return self._remote.get_attr(state_of(ref, self._remote), attribute_name(name), self._bound)

    def set(self, ref: Ref, name: str, value: Any) -> None:
        """`ref.name = value`, for names that a handle refuses too."""
        state = state_of(ref, self._remote)
        self._remote.set_attr(state, attribute_name(name), value, self._bound)

    def put(self, obj: Any) -> Ref:
        """Ship an object by value, once; a ref on the copy."""
        ref: Ref = self._remote.put(obj, self._bound)
        return ref

    def fetch(self, ref: Ref, *, copy: bool = True) -> Any:
        """A copy of the object, here.

        This unpickles what the worker sends: it is the only place where the bridge does.

        Args:
            ref: the object.
            copy: True: the copy is yours, and writable. False: the data of arrays, frames and
                other large buffers is not copied once more here, but read where the worker has
                put it, in memory that both share; what is made of it cannot be written to. It
                is as the object was when it was fetched, and stays so for as long as you hold it
                (a forked child: for as long as its parent does). What does not lie in one piece,
                such as `array[:, ::2]`, is a copy all the same.

        Raises:
            EncodeError: it cannot be pickled there, or not be rebuilt here.
        """
        if type(copy) is not bool:
            raise BridgeUsageError(f"fetch(copy={copy!r}): give True or False")
        return self._remote.fetch(state_of(ref, self._remote), self._bound, view=not copy)

    # ------------------------------------------------------------ calls that nobody waits for here
    def submit(self, path: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """`call` in the background: a Future of the value.

        `cancel()` stops the call in the worker. Callbacks of the call run in a thread made for
        them. Calls run in the order in which they were made.
        """
        from .kernel.futures import submit

        return submit(self._remote, call_by_path("dynamic", path, args, kwargs, self._bound))

    async def acall(self, path: str, /, *args: Any, **kwargs: Any) -> Any:
        """`call`, awaited: the event loop runs on meanwhile.

        Cancelling the task that awaits it stops the call in the worker. Callbacks of the call run
        on the event loop.
        """
        from .kernel.awaiting import arequest

        call = call_by_path("dynamic", path, args, kwargs, self._bound)
        return await arequest(self._remote, call)

    def batch(self) -> BatchBlock:
        """A block whose calls are sent in one message: `with bridge.batch() as b: b.call(…)`."""
        from .batch import BatchBlock

        return BatchBlock(self._remote, self._bound)

    def callback(self, fn: Callable[..., Any]) -> Callback:
        """A function to pass to the worker that runs *here* when it is called there.

        It belongs to the session of the call that carries it, and can be called as long as that
        lives, while a call of this bridge is in flight: it runs in the thread that waits for that
        call (for `submit`, in a thread made for it; for `acall`, on the event loop). Arguments come
        by value or as refs; its result goes by value. Its exceptions are raised there, and here
        again if nothing there catches them. It may call the bridge in turn.
        """
        return Callback(fn)

    def bind(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """The function, to be called in another thread as if it were called here.

        Calls of the bridge within it make their objects in this cell's session, or in the one that
        is in force here now.
        """
        return context.bind(fn)


def state_of(ref: Any, remote: Remote) -> RefState:
    """The state of a ref of a bridge.

    Raises:
        InvalidRefError: it is none.
    """
    if not isinstance(ref, Ref):
        shown = repr(ref)
        raise InvalidRefError(
            shown if len(shown) <= 80 else shown[:80] + "…",
            f"it is {type(ref).__name__}; a ref is what bridge.new, put and calls return",
        )
    state = ref._bridge_state
    if state.client is not remote:
        raise InvalidRefError(repr(ref), "it belongs to another bridge")
    return state


class BoundCalls(Calls):
    """The same bridge with runtime options; also a context manager.

    As a context manager it puts the options in force for what is called within, in this task or
    thread; it nests, and may be shared.
    """

    def __init__(self, remote: Remote, options: Options) -> None:
        self._client, self._bound = remote, options

    def __enter__(self) -> BoundCalls:
        context.enter(self._remote.key, self, None, self._bound)
        return self

    def __exit__(self, *error: object) -> None:
        context.leave(self)

    def __repr__(self) -> str:
        return f"<bridge with {self._bound}>"


class SessionBlock:
    """`with bridge.session("shared"):` — calls within make their objects there.

    Nests, restores on exit and on exceptions, and may be shared by threads and tasks.
    """

    def __init__(self, remote: Remote, session: Session) -> None:
        self._remote, self._session = remote, session

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session.id

    def __enter__(self) -> SessionBlock:
        if self._remote.closed:
            raise BridgeClosedError(self._remote.closed)
        self._session = self._remote.sessions.again(self._session, context.here().label)
        context.enter(self._remote.key, self, self._session, None)
        return self

    def __exit__(self, *error: object) -> None:
        context.leave(self)

    def __repr__(self) -> str:
        return f"<session {self.id!r}>"


def attribute_name(name: Any) -> str:
    """A name that may be asked for.

    Raises:
        BridgeUsageError: it is no string.
    """
    if type(name) is not str or not name:
        raise BridgeUsageError(f"{name!r} is no attribute name: give a string")
    return name
