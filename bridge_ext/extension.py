"""`%load_ext bridge_ext` and its mirror image.

All state hangs off one `Extension` for each shell: the bridge, the hooks, and which scope each
running cell has. Each execution of a cell is a scope; it is set in a ContextVar before the cell and
reset after it, because what is left there leaks into later cells and comm handlers.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import cell_magic

from . import cell as cells
from .bridge import Bridge
from .completion import Completer
from .help import Helper
from .holders import Holders
from .kernel import context
from .kernel.errors import BridgeUsageError
from .magics import Bridge as BridgeMagics
from .publisher import publish

if TYPE_CHECKING:
    import argparse
    from contextvars import Token

    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

_NAME = "bridge"
_MAGICS = {"line": ("bridge", "session"), "cell": ("session",)}
_loaded: weakref.WeakKeyDictionary[InteractiveShell, Extension] = weakref.WeakKeyDictionary()


def load(shell: InteractiveShell) -> None:
    """Load into a shell; loading again changes nothing."""
    if shell not in _loaded:
        _loaded[shell] = Extension(shell)


def unload(shell: InteractiveShell) -> None:
    """Release everything, and take away all that `load` has added."""
    extension = _loaded.pop(shell, None)
    if extension is not None:
        extension.close()


class _Home(threading.local):
    """The sticky session of a shell's thread: subshells have threads of their own."""

    def __init__(self, everywhere: list[weakref.ref[context.Sticky]]) -> None:
        self.sticky = context.Sticky()
        everywhere[:] = [ref for ref in everywhere if ref() is not None]
        everywhere.append(weakref.ref(self.sticky))


class _Running:
    """A cell that runs: how to put back what was set for it."""

    __slots__ = ("scope", "stack", "token")

    def __init__(self, scope: context.Scope, *, nested: bool = False) -> None:
        self.scope = scope
        self.token: Token[Any] = context.current.set(scope)
        self.stack: Token[Any] = context.stack.set(context.stack.get() if nested else None)

    def reset(self) -> None:
        for var, token in ((context.stack, self.stack), (context.current, self.token)):
            try:
                var.reset(token)
            except ValueError:
                pass  # an async cell ran in a context of its own, which has ended


class Extension:
    """The extension in one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self._magics = BridgeMagics(shell)
        self._magics.extension = self
        try:
            self.bridge = Bridge(**self._magics.settings())
        except Exception:
            self._forget_magics()
            raise
        self.bridge._holders = Holders(shell)
        self.bridge._marks = self.marks
        self.bridge._client.show = partial(publish, shell)
        self._stickies: list[weakref.ref[context.Sticky]] = []
        self._home = _Home(self._stickies)
        self._running: dict[int, _Running] = {}
        self._releases: weakref.WeakKeyDictionary[context.Scope, list[str]] = (
            weakref.WeakKeyDictionary()
        )
        self._replaced = self._register_magics()
        shell.events.register("pre_run_cell", self.pre_run_cell)
        shell.events.register("post_run_cell", self.post_run_cell)
        shell.input_transformers_cleanup.append(self.transform)
        self._completer, self._helper = Completer(self), Helper(shell)
        self._give_name()
        # The cell that loads the extension fires no pre_run_cell for it.
        self._loading: _Running | None = _Running(self._scope(begun=True))

    def close(self) -> None:
        """Undo what `__init__` did, in reverse."""
        self._end_loading()
        for running in list(self._running.values()):
            running.reset()
        self._running.clear()
        if self.shell.user_ns.get(_NAME) is self.bridge:
            del self.shell.user_ns[_NAME]
        self._helper.remove()
        self._completer.remove()
        self.shell.input_transformers_cleanup.remove(self.transform)
        self.shell.events.unregister("post_run_cell", self.post_run_cell)
        self.shell.events.unregister("pre_run_cell", self.pre_run_cell)
        self._unregister_magics()
        self.bridge.close()

    # ------------------------------------------------------------ magics and the name
    def _register_magics(self) -> list[tuple[dict[str, Any], str, Any]]:
        """Register, and say what stood where: `(table, name, what)`."""
        manager = self.shell.magics_manager
        tables = [(manager.magics[kind], n) for kind, names in _MAGICS.items() for n in names]
        tables.append((manager.registry, type(self._magics).__name__))
        before = [(table, name, table.get(name)) for table, name in tables]
        self.shell.register_magics(self._magics)
        return before

    def _unregister_magics(self) -> None:
        for table, name, before in self._replaced:
            if before is None:
                table.pop(name, None)
            else:
                table[name] = before
        self._forget_magics()

    def _forget_magics(self) -> None:
        """A Magics instance enters itself among the configurables."""
        configurables: list[Any] = self.shell.configurables
        if self._magics in configurables:
            configurables.remove(self._magics)

    def _give_name(self) -> None:
        namespace = self.shell.user_ns
        if _NAME in namespace:
            print(  # noqa: T201 - said in the cell that loads the extension
                f"bridge_ext: the name {_NAME!r} is taken here ({type(namespace[_NAME]).__name__})"
                " and is left alone. `b = %bridge` gives the bridge."
            )
        else:
            namespace[_NAME] = self.bridge

    # ------------------------------------------------------------ cells
    def _scope(self, *, begun: bool) -> context.Scope:
        """The scope of the cell that runs; `begun` says that it is in the history already.

        The number is read off the history, because IPython has moved the moment at which it
        counts `execution_count` up.
        """
        history: Any = self.shell.history_manager
        number = len(history.input_hist_parsed) - begun
        return context.Scope(f"cell [{number}]", number, self._home.sticky)

    def pre_run_cell(self, info: ExecutionInfo) -> None:
        """A cell begins: it is a scope of its own."""
        if self._loading is not None:
            self._end_loading()
        outer = context.current.get()
        scope = self._scope(begun=False)
        if outer is not None:  # a cell within a cell, such as the body of %%capture
            scope.entered.update(outer.entered)
        scope.cell_id = getattr(info, "cell_id", None)
        self._running[id(info)] = _Running(scope, nested=outer is not None)

    def post_run_cell(self, result: ExecutionResult) -> None:
        """A cell has ended: what nothing holds any more is released at once."""
        running = self._running.pop(id(result.info), None)
        if running is None:
            self._end_loading()
            return
        self._end(running)
        del running  # or it would hold the scope that is to be released now
        self.bridge._client.flush()
        if self.bridge._inspection is not None:
            self.bridge._inspection.nudge()

    def _end_loading(self) -> None:
        loading, self._loading = self._loading, None
        if loading is not None:
            self._end(loading)
            del loading
            self.bridge._client.flush()

    def _end(self, running: _Running) -> None:
        running.reset()
        scope = running.scope
        for session_id in self._releases.pop(scope, ()) if self._releases else ():
            self.bridge.release(session_id)
        if self.bridge._client.strict:
            scope.leases.clear()

    # ------------------------------------------------------------ %%session
    def transform(self, lines: list[str]) -> list[str]:
        """The input transformer: see `cell`."""
        return cells.silence(cells.rewrite(lines, cell_magic))

    def enter_cell(self, given: argparse.Namespace) -> None:
        """Enter a session for the rest of the running cell.

        Raises:
            BridgeUsageError: no cell runs (a silent execution fires no events).
        """
        scope = context.current.get()
        if scope is None:
            raise BridgeUsageError(
                "%%session needs a cell, and this code runs outside of one; use "
                f"bridge.session({given.id!r})"
            )
        session = self.name_session(given)
        scope.entered[self.bridge._client.key] = session
        if given.release:
            self._releases.setdefault(scope, []).append(given.id)

    def name_session(self, given: argparse.Namespace) -> Any:
        """The session that the words of a magic name, made if need be."""
        block = self.bridge.session(
            given.id,
            ttl_seconds=given.ttl,
            max_refs=given.max_refs,
            overflow=given.overflow,
            tags=dict(given.tag) or None,
        )
        return block._session

    def run_body(self, given: argparse.Namespace, body: str) -> None:
        """`%%session` called as a function (`run_cell_magic`): run a body in the session."""
        block = self.bridge.session(given.id)
        self.name_session(given)
        try:
            with block:
                self.shell.ex(self.shell.transform_cell(body))
        finally:
            if given.release:
                self.bridge.release(given.id)

    def named_in_force(self) -> str | None:
        """The id of the named session in force, if there is one; makes nothing."""
        session = context.in_force(self.bridge._client.key, context.here())
        return session.id if session is not None else None

    def marks(self) -> dict[str, str]:
        """A word for each session that is in force in a shell or a running cell, by its id."""
        key = self.bridge._client.key
        stickies = [sticky for ref in list(self._stickies) if (sticky := ref()) is not None]
        found = {s.sessions[key].id: "in force" for s in stickies if key in s.sessions}
        for scope in [running.scope for running in list(self._running.values())]:
            lease, entered = scope.leases.get(key), scope.entered.get(key)
            if lease is not None:
                found[lease.session.id] = "running"
            if entered is not None:
                found[entered.id] = "in force"
        return found
