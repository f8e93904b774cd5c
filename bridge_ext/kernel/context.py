"""Where a call is made: its scope, and what is in force there.

A *scope* is one execution of one cell, or one plain thread. The scope of a cell is in a
ContextVar, which tasks and `to_thread` inherit; any other thread has a scope of its own, that
ends with it. What `with bridge.session()` and `with bridge.options()` put in force is a linked
list in a second ContextVar, never on the object, so that one object serves many threads.
"""

from __future__ import annotations

import functools
import threading
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from .options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Lease, Session


class Sticky:
    """What `use` put in force: for one shell (or subshell), or for one scope without a shell."""

    __slots__ = ("__weakref__", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}


class Scope:
    """One execution of one cell, or one plain thread.

    Attributes:
        label: "cell [7]" or "thread MainThread".
        number: the cell's execution count, 0 for a thread.
        cell_id: the front end's name of the cell, where it gives one.
        leases: bridge key to the auto-session's lease.
        entered: bridge key to the session that `%%session` entered for this cell.
        sticky: shared by the cells of one shell.
    """

    __slots__ = (
        "__weakref__",
        "cell_id",
        "context",
        "entered",
        "label",
        "leases",
        "number",
        "sticky",
    )

    def __init__(self, label: str, number: int = 0, sticky: Sticky | None = None) -> None:
        self.label, self.number = label, number
        self.leases: dict[int, Lease] = {}
        self.entered: dict[int, Session] = {}
        self.sticky = sticky if sticky is not None else Sticky()
        self.context: Context | None = None
        self.cell_id: str | None = None

    def output(self) -> Context:
        """A context to write this scope's output in, which does not hold the scope."""
        context = copy_context()
        context.run(current.set, None)
        context.run(stack.set, None)
        return context


class Frame:
    """One `with` block of a bridge: a session or options."""

    __slots__ = ("bridge", "options", "parent", "session", "token")

    def __init__(
        self,
        parent: Frame | None,
        bridge: int,
        token: object,
        session: Session | None,
        options: Options | None,
    ) -> None:
        self.parent, self.bridge, self.token = parent, bridge, token
        self.session, self.options = session, options


current: ContextVar[Scope | None] = ContextVar("bridge_ext_scope", default=None)
stack: ContextVar[Frame | None] = ContextVar("bridge_ext_stack", default=None)


class _ThreadScope(threading.local):
    scope: Scope | None = None


_threads = _ThreadScope()


def here() -> Scope:
    """The scope of this call."""
    scope = current.get() or _threads.scope
    if scope is None:
        scope = _threads.scope = Scope(f"thread {threading.current_thread().name}")
    return scope


def bind(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs `fn` in this scope, with what is in force here, in whatever thread."""
    scope, made = here(), copy_context()

    @functools.wraps(fn)
    def bound(*args: Any, **kwargs: Any) -> Any:
        own = made.copy()  # a context can be entered only once at a time
        own.run(current.set, scope)
        return own.run(fn, *args, **kwargs)

    return bound


def enter(bridge: int, token: object, session: Session | None, options: Options | None) -> None:
    """Put a session or options in force, until `leave(token)`."""
    stack.set(Frame(stack.get(), bridge, token, session, options))


def leave(token: object) -> None:
    """End the innermost block that was entered with `token`, wherever it is in the stack."""
    kept: list[Frame] = []
    frame = stack.get()
    while frame is not None and frame.token is not token:
        kept.append(frame)
        frame = frame.parent
    if frame is None:
        return  # entered in another context, which has ended
    parent = frame.parent
    for inner in reversed(kept):
        parent = Frame(parent, inner.bridge, inner.token, inner.session, inner.options)
    stack.set(parent)


def in_force(bridge: int, scope: Scope) -> Session | None:
    """The named session in force: the innermost block, else the cell's, else the sticky one."""
    frame = stack.get()
    while frame is not None:
        if frame.bridge == bridge and frame.session is not None:
            return frame.session
        frame = frame.parent
    return scope.entered.get(bridge) or scope.sticky.sessions.get(bridge)


def ambient(bridge: int, bound: Options | None) -> Options:
    """The options of a call: those bound to it, then those of the blocks around it.

    Entering a session hides an outer block's `session` option, and nothing else.
    """
    found = bound if bound is not None else Options()
    frame = stack.get()
    hidden = False
    while frame is not None:
        if frame.bridge == bridge:
            hidden = hidden or frame.session is not None
            if frame.options is not None:
                found = found.over(frame.options, hide_session=hidden)
        frame = frame.parent
    return found
