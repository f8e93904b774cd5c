"""`with bridge.batch() as b:` — many calls in one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .calls import attribute_name, state_of
from .kernel.batches import Batch
from .kernel.helpers import check_registered

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .kernel.handles import Ref
    from .kernel.options import Options
    from .kernel.remote import Remote


class BatchBlock:
    """Calls that are sent together when the block ends; each gives a Future, done by then.

    They run in order, each in the session that resolves where it is made, and with its arguments as
    they are there. An error of one is in its Future and does not keep the others from running.

    Example:
        >>> import bridge_ext
        >>> with bridge_ext.Bridge("memory") as bridge:
        ...     with bridge.batch() as b:
        ...         roots = [b.call("math.sqrt", n) for n in (1, 4, -1)]
        ...     [roots[0].result(), roots[1].result(), roots[2].exception()]
        [1.0, 2.0, ValueError('math domain error')]
    """

    def __init__(self, remote: Remote, options: Options | None) -> None:
        self._remote, self._bound = remote, options
        self._batch = Batch(remote, options)

    def __enter__(self) -> BatchBlock:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Send the calls and wait for them; none are sent if the block raised.

        Raises:
            WorkerDiedError, CallTimeoutError, KeyboardInterrupt: of the message as a whole.
        """
        if kind is None:
            self._batch.send()
        else:
            self._batch.give_up()

    def call(self, path: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `bridge.call`."""
        return self._batch.by_path("dynamic", path, args, kwargs, self._bound)

    def new(self, path: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `bridge.new`."""
        return self._batch.by_path("class", path, args, kwargs, self._bound)

    def attr(self, path: str) -> Future[Any]:
        """As `bridge.attr`."""
        return self._batch.attribute_by_path(path, self._bound)

    def stream(self, path: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `bridge.stream`."""
        return self._batch.by_path("stream", path, args, kwargs, self._bound)

    def helper(self, name: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `bridge.helper`."""
        check_registered(name, self._remote.helpers)
        return self._batch.helper(name, args, kwargs, self._bound)

    def method(self, ref: Ref, name: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `bridge.method`."""
        state = state_of(ref, self._remote)
        name = attribute_name(name)
        return self._batch.method(state, name, args, kwargs, self._bound)

    def get(self, ref: Ref, name: str) -> Future[Any]:
        """As `bridge.get`."""
        state = state_of(ref, self._remote)
        return self._batch.get_attr(state, attribute_name(name), self._bound)

    def set(self, ref: Ref, name: str, value: Any) -> Future[Any]:
        """As `bridge.set`."""
        state = state_of(ref, self._remote)
        return self._batch.set_attr(state, attribute_name(name), value, self._bound)

    def put(self, obj: Any) -> Future[Any]:
        """As `bridge.put`."""
        return self._batch.put(obj, self._bound)

    def fetch(self, ref: Ref) -> Future[Any]:
        """As `bridge.fetch`."""
        return self._batch.fetch(state_of(ref, self._remote), self._bound)
