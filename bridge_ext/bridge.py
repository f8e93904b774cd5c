"""The bridge: its sessions, its worker and its life. In a notebook it is the name `bridge`."""

from __future__ import annotations

import os
import threading
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .calls import BoundCalls
from .kernel import context
from .kernel.backends.base import Stopped
from .kernel.call import Call
from .kernel.configuration import WorkerConfig, ends_with_cell, make_backend
from .kernel.errors import BridgeUsageError
from .kernel.handles import Module
from .kernel.options import Options
from .kernel.paths import module_name, start_in_module
from .kernel.remote import Remote
from .kernel.session import Limits
from .kernel.surface import surfaces
from .kernel.wire.limits import INLINE_LIMIT
from .publisher import show
from .sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .doctor import Diagnosis
    from .inspecting import Inspection
    from .kernel.backends.base import Backend
    from .kernel.handles import Ref
    from .kernel.inspection import Holders
    from .kernel.model import Event, HelperInfo, WorkerInfo
    from .widgets.inspector import Inspector

_inspecting = threading.Lock()
"""One thread makes what keeps the inspectors of a bridge."""
_RELOADING = "bridge_ext.kernel.worker.reloading"
"""The module that loads modules again, in the worker."""


@surfaces
class Bridge(Sessions):
    """Calls Python functions in a worker process and holds what they return.

    Args:
        backend: "local" (a supervised process, the default), "memory" (this process), or a
            Backend.
        cwd: the worker's directory; by default this process's, followed as it changes.
        env: variables to add to the worker's environment.
        memory_limit: bytes the worker may allocate; beyond that a call raises MemoryError.
        inline_limit: bytes up to which the encoding of plain data comes back by value.
        auto_session: "reachable" (what can be reached keeps working) or "cell" (everything a
            cell made ends with the cell).
        isolate_cells: whether a cell's refs may be used in that cell only.
        max_refs: default limit of refs for each session.
        ttl_seconds: default for how long a session may be idle, with nobody holding its refs.
        overflow: "error" refuses a result that does not fit, "evict" drops what was used least
            recently.

    A context manager; `close()` returns when the worker has ended and is reaped, and after it
    everything raises BridgeClosedError. The worker starts with the first call.
    """

    def __init__(
        self,
        backend: str | Backend = "local",
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        memory_limit: int | None = None,
        inline_limit: int = INLINE_LIMIT,
        auto_session: str = "reachable",
        isolate_cells: bool = False,
        max_refs: int = 10_000,
        ttl_seconds: float = 3600,
        overflow: str = "error",
    ) -> None:
        self._settings = {name: given for name, given in vars().items() if name != "self"}
        self._backend = make_backend(backend, env)
        config = WorkerConfig(
            cwd=os.fspath(cwd) if cwd is not None else None,
            inline_limit=inline_limit,
            isolate_cells=isolate_cells,
            memory_limit=memory_limit,
        )
        if memory_limit is not None:
            self._need("memory_limit")
        self._client = Remote(
            self._backend,
            config,
            Limits(max_refs, ttl_seconds, overflow),
            strict=ends_with_cell(auto_session),
            isolate=isolate_cells,
        )
        self._client.show = show
        self._holders: Holders = _python_code
        self._marks: Callable[[], Mapping[str, str]] = dict
        self._inspection: Inspection | None = None

    # ------------------------------------------------------------ modules, options, helpers
    def module(self, name: str) -> Module:
        """A handle on a module: `np = bridge.module("numpy"); np.linalg.norm(x); np.pi`.

        It is no ref and has no session: each call through it makes its objects in the session of
        that call. The module is imported in the worker at the first use.
        """
        return Module(self._remote, module_name(name))

    def options(
        self,
        *,
        session: str | None = None,
        timeout: float | None = None,
        kill: bool | None = None,
        idempotent: bool | None = None,
        fetch: bool | None = None,
        **unknown: Any,
    ) -> BoundCalls:
        """The same bridge with runtime options; also a context manager.

        Args:
            session: the session to run in, whatever is in force.
            timeout: seconds; when they have passed the call is stopped.
            kill: whether the worker is ended if the call does not stop then.
            idempotent: the call may run twice: it is tried again once if its worker dies.
            fetch: None the usual rule, True results by value, False results as refs.
            **unknown: refused, by name.

        Raises:
            BridgeUsageError: a value that has no meaning, or an option that does not exist.
        """
        if unknown:
            raise BridgeUsageError(
                f"There is no option {', '.join(unknown)}: give session, timeout, kill, "
                "idempotent or fetch"
            )
        if session is not None:
            self._remote.sessions.named(session, cell=context.here().label)
        options = Options(session, timeout, kill, idempotent, fetch)
        if timeout is not None:
            self._need("timeout")
        return BoundCalls(self._remote, options)

    def register_helper(
        self, fn: Callable[..., Any] | str | None = None, name: str | None = None
    ) -> Any:
        """Register a function to be run in the worker by name; also a decorator.

        It is sent to the worker, and again to every fresh one, with its first use. What is
        registered under a name again takes its place.

        Args:
            fn: a function, of the notebook (it travels whole, with the globals that it uses as
                they are now) or of a module (the worker imports it there); or the path of one,
                `"package.module:function"`, which this process need not have.
            name: what it is called by; by default its own name.

        Returns:
            `fn`; without it, as in `@bridge.register_helper(name="clean")`, the decorator.

        Raises:
            BridgeUsageError: it is no function and no path, or its name is no name.
            EncodeError: it cannot be pickled.
        """
        if fn is None:
            return partial(self.register_helper, name=name)
        from .kernel.helpers import Helper  # with `pickle`, which few calls need

        made = Helper(fn, name)
        self._remote.helpers[made.info.name] = made
        made.send_again(self._remote)
        return fn

    def helpers(self) -> list[HelperInfo]:
        """The registered helpers: name, signature, docstring."""
        return [helper.info for helper in self._remote.helpers.values()]

    # ------------------------------------------------------------ the worker
    def status(self) -> WorkerInfo:
        """The worker: its pid, what it does, its memory, what it holds."""
        from .kernel import inspection

        return inspection.status(self._remote)

    def doctor(self) -> Diagnosis:
        """What is wrong here or may become so, and the facts: text to paste in a report.

        The findings come first, each with a next step: what differs between the kernel and the
        worker, files beside the notebook that hide modules, limits, what cannot be shown. It never
        raises, also where the bridge is closed or no worker can be started. A worker is started if
        there is none; one that is busy is not waited for, and one that does not answer within three
        seconds is said not to. Values of the environment are left out, but for Python's and the
        locale's, and the home directory is written "~".

        Returns:
            A string that shows as it is; `.findings` has the sentences alone.
        """
        from .doctor import diagnose

        return diagnose(self)

    def inspect(self) -> Inspector:
        """What is held, live: a widget with sessions, refs, memory, and buttons to release them.

        It goes on while a cell runs. Where no widget can show (a terminal, a page made of the
        notebook) the same is shown as tables. A cell that is run again takes its inspector's place.
        """
        _ = self._remote  # raises if it is closed
        if self._inspection is None:
            from .inspecting import Inspection

            with _inspecting:
                self._inspection = self._inspection or Inspection(self)
        return self._inspection.inspector()

    def interrupt(self) -> bool:
        """Stop the call that runs in the worker; whether one ran.

        It raises KeyboardInterrupt where it is waited for, in whatever thread or subshell that is;
        refs and sessions stay as they are. If it has been told to stop before and did not within
        two seconds, its worker is ended.
        """
        self._need("interrupt")
        return self._remote.interrupt() is not Stopped.NOTHING

    def restart(self) -> WorkerInfo:
        """End the worker and start a fresh one; what it held is lost."""
        self._need("restart")
        self._remote.restart()
        return self.status()

    def reload(self, module: str | Module | ModuleType) -> Module:
        """Load an edited module again in the worker, without losing what is held there.

        Of a package, what is imported of it is loaded again first, deepest first; what is not
        imported yet is imported. Other modules that have taken names from it with `from` keep
        the old ones until they are loaded again as well. Objects made before keep their old
        class, and names that are no longer in the file stay in the module: `restart()` starts
        from nothing.

        Args:
            module: its name, a module handle, or the module of that name here.

        Returns:
            The module handle.

        Raises:
            BridgeUsageError: that is no module's name, or none that can be loaded again.
            ModuleNotFoundError: the worker has no such module, or its file is gone.
            Exception: what the module raises, such as a SyntaxError with its file and line.
        """
        name = _name_of(module)
        remote = self._remote
        begin = start_in_module("function", _RELOADING, "reload")
        remote.request(Call("function", f"the reload of {name!r}", begin, [name], {}))
        for helper in list(remote.helpers.values()):
            if helper.comes_from(name):
                helper.send_again(remote)
        return Module(remote, name)

    def traceback(self) -> str:
        """The traceback of the last error of the worker, whole; "" if there was none.

        It has what an exception raised here leaves out: the bridge's own frames, and every member
        of every group. Errors of the bridge itself have none.
        """
        return self._remote.last_traceback()

    def subscribe(self, fn: Callable[[Event], None]) -> Callable[[], None]:
        """Call `fn` with every event from now on, in any thread; the result ends that."""
        if not callable(fn):
            raise BridgeUsageError(f"subscribe({fn!r}): give a function of one argument")
        return self._remote.sessions.subscribe(fn)

    def _need(self, feature: str) -> None:
        if feature in self._backend.lacks:
            raise BridgeUsageError(
                f"The {self._backend.name} backend has no {feature}: it runs calls in this "
                'process. Use Bridge("local").'
            )

    # ------------------------------------------------------------ life
    def close(self) -> None:
        """Release everything and end the worker; returns when it is reaped."""
        self._client.close()
        inspection = self._inspection
        if inspection is not None:
            inspection.close("the bridge was closed")

    def __enter__(self) -> Bridge:
        _ = self._remote  # raises if it is closed
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Bridge {self._backend.name}{', closed' if self._client.closed else ''}>"


def _python_code(handles: list[Ref]) -> dict[int, tuple[str, ...]]:
    """Which names hold them, where nobody knows names: some Python code does."""
    return {}


def _name_of(module: Any) -> str:
    """The name of a module that is given by it, by a handle, or as it is here.

    Raises:
        BridgeUsageError: it is none of these.
    """
    if type(module) is Module:
        module = module._bridge_name
    elif isinstance(module, ModuleType):
        module = module.__name__
    if type(module) is not str:
        raise BridgeUsageError(f"{module!r} is no module: give its name, or a handle on it")
    return module_name(module)
