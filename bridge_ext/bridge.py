"""The bridge: its sessions, its worker and its life. In a notebook it is the name `bridge`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .calls import BoundCalls, Calls, SessionBlock
from .kernel import context, inspection
from .kernel.configuration import WorkerConfig, ends_with_cell, make_backend
from .kernel.errors import BridgeUsageError
from .kernel.handles import Module
from .kernel.helpers import Helper
from .kernel.model import Options, Released
from .kernel.paths import module_name
from .kernel.remote import Remote
from .kernel.session import Limits
from .kernel.wire.limits import INLINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .kernel.backends.base import Backend
    from .kernel.handles import Ref
    from .kernel.model import Event, HelperInfo, RefInfo, SessionInfo, WorkerInfo


class Bridge(Calls):
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
        self._holders: inspection.Holders = inspection.python_code

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
            timeout: seconds; when they have passed the call is given up, and its worker ended.
            kill: whether a timeout may end the worker.
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

    def register_helper(self, fn: Callable[..., Any], name: str | None = None) -> Any:
        """Register a function to be run in the worker by name; also a decorator.

        It is sent to the worker, and again to every fresh one, with its first use.
        """
        made = Helper(fn, name)
        helpers, incarnation = self._remote.helpers, self._remote.incarnation
        helpers[made.info.name] = made
        if incarnation is not None:
            incarnation.helpers.discard(made.info.name)
        return fn

    def helpers(self) -> list[HelperInfo]:
        """The registered helpers: name, signature, docstring."""
        return [helper.info for helper in self._remote.helpers.values()]

    # ------------------------------------------------------------ sessions
    def session(
        self,
        id: str | None = None,
        *,
        ttl_seconds: float | None = None,
        max_refs: int | None = None,
        overflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        owner: object = None,
    ) -> SessionBlock:
        """A named session, made if there is none; a context manager that puts it in force.

        Limits not given are left as they are; those given change the session.

        Args:
            id: 1 to 128 ASCII letters, digits and `._:-`; None makes one.
            ttl_seconds: how long it may be idle with nobody holding its refs.
            max_refs: how many refs it may hold.
            overflow: "error" or "evict".
            tags: strings to strings, added to its tags.
            owner: an object that keeps it alive, in place of the kernel.

        Raises:
            BridgeUsageError: a bad id, limit or owner; or max_refs below what it holds.
        """
        limits = Limits(max_refs, ttl_seconds, overflow)
        return SessionBlock(self._remote, self._remote.name_session(id, limits, tags, owner))

    def create_session(
        self,
        id: str | None = None,
        *,
        ttl_seconds: float | None = None,
        max_refs: int | None = None,
        overflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        owner: object = None,
    ) -> str:
        """Make a named session and return its id, putting nothing in force."""
        limits = Limits(max_refs, ttl_seconds, overflow)
        return self._remote.name_session(id, limits, tags, owner).id

    def use(self, id: str | None) -> None:
        """Put a named session in force until `use(None)`: for this shell, or this thread."""
        sticky = context.here().sticky.sessions
        if id is None:
            sticky.pop(self._remote.key, None)
        else:
            session = self._remote.sessions.named(id, cell=context.here().label)
            sticky[self._remote.key] = session

    def current_session(self) -> str:
        """The id of the session in force; makes the auto-session if it is that."""
        return self._remote.current_session()

    def sessions(self) -> list[SessionInfo]:
        """Every session that exists, in the order it was made."""
        return inspection.sessions(self._remote)

    def session_info(self, id: str) -> SessionInfo:
        """One session, which may have ended.

        Raises:
            SessionNotFoundError: there never was one of that id.
        """
        return inspection.session_info(self._remote, self._remote.sessions.find(id))

    def refs(self, session: str | None = None) -> list[RefInfo]:
        """The refs of one session, or of all, as the worker holds them."""
        if session is not None:
            self._remote.sessions.find(session)
        return inspection.refs(self._remote, session, self._holders)

    def info(self, ref: Ref) -> RefInfo:
        """One ref.

        Raises:
            RefNotFoundError, SessionLostError: it has ended.
        """
        return inspection.ref_info(self._remote, self._state(ref), self._holders)

    def register_owner(self, id: str, owner: object) -> None:
        """Let an object or a thread keep the session alive; the first one replaces the kernel.

        The session ends when its last owner is gone: a thread within a second of its end, any
        other object when it is collected.

        Raises:
            BridgeUsageError: it cannot be weakly referenced.
            SessionNotFoundError: there is no such session.
        """
        self._remote.register_owner(id, owner)

    def unregister_owner(self, id: str, owner: object) -> None:
        """Take an owner away; the session is released only if it was the last."""
        if self._remote.sessions.unregister_owner(id, owner):
            self._remote.release_session(self._remote.sessions.find(id))

    def terminate_session(self, id: str) -> Released:
        """Release a session by its id."""
        return self._remote.release_session(self._remote.sessions.find(id))

    # ------------------------------------------------------------ freeing
    def release(self, x: Any) -> Released:
        """Free a ref, a session (what `session()` gave) or the session of an id.

        Returns:
            What was freed, acknowledged by the worker; `Released(0, 0)` for what had ended.

        Raises:
            SessionNotFoundError: there never was a session of that id.
            InvalidRefError: it is none of the three.
        """
        if isinstance(x, str):
            return self.terminate_session(x)
        if isinstance(x, SessionBlock):
            return self._remote.release_session(x._session)
        return self._remote.release_ref(self._state(x))

    def release_all(self) -> Released:
        """Free everything this bridge holds."""
        released = [self._remote.release_session(s) for s in self._remote.sessions.all()]
        return Released(sum(r.refs for r in released), sum(r.nbytes for r in released))

    def release_auto_session(self) -> Released:
        """Free what this cell (or thread) has made in its auto-session."""
        lease = context.here().leases.pop(self._remote.key, None)
        return self._remote.release_session(lease.session) if lease else Released(0, 0)

    def clear_auto_session(self) -> None:
        """Forget this cell's auto-session without freeing it; for tests."""
        lease = context.here().leases.pop(self._remote.key, None)
        if lease is not None:
            lease.disarm()

    def move(self, ref: Ref, session: str) -> Ref:
        """Re-home a ref in another session, without a copy, and return its handle.

        If the object is there already, its handle there is returned, and the old one stands for
        the same ref from now on.
        """
        self._state(ref)
        self._remote.sessions.named(session, cell=context.here().label)
        return self._remote.move(ref, session)

    def keep(self, ref: Ref, name: str) -> None:
        """Name a ref in its session: it lives until it is released or the session ends."""
        if type(name) is not str or not 0 < len(name) <= 128:
            raise BridgeUsageError(f"keep(ref, {name!r}): the name is a string of 1 to 128")
        self._remote.keep(self._state(ref), name)

    def kept(self, session: str | None = None) -> dict[str, Ref]:
        """Name to ref, of the session in force unless one is given.

        Raises:
            SessionNotFoundError: there never was one of that id.
        """
        if session is None:
            return self._remote.kept(None)
        if not self._remote.sessions.find(session).live:
            return {}
        return self._remote.kept(Options(session=session))

    # ------------------------------------------------------------ the worker
    def status(self) -> WorkerInfo:
        """The worker: its pid, what it does, its memory, what it holds."""
        return inspection.status(self._remote)

    def interrupt(self) -> None:
        """Stop what runs in the worker."""
        self._need("interrupt")
        self._remote.interrupt()

    def restart(self) -> WorkerInfo:
        """End the worker and start a fresh one; what it held is lost."""
        self._need("restart")
        self._remote.restart()
        return self.status()

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

    def __enter__(self) -> Bridge:
        _ = self._remote  # raises if it is closed
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Bridge {self._backend.name}{', closed' if self._client.closed else ''}>"
