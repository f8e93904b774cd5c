"""`%bridge`, `%session` and `%%session`: each parses, makes one call, and returns what it shows."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from traitlets import Bool, CaselessStrEnum, Dict, Float, Int, Unicode

from .commands import (
    HelpShown,
    Parser,
    call_parser,
    listing_parser,
    release_parser,
    session_parser,
    split_options,
)
from .kernel.errors import BridgeUsageError, SessionNotFoundError
from .kernel.handles import Ref
from .kernel.surface import surface
from .kernel.wire.limits import INLINE_LIMIT
from .words import arguments, split

if TYPE_CHECKING:
    import argparse

    from .bridge import Bridge as BridgeObject
    from .doctor import Diagnosis
    from .extension import Extension
    from .widgets.inspector import Inspector
    from .widgets.tables import Table

_COMMANDS = (
    "call",
    "new",
    "attr",
    "sessions",
    "refs",
    "release",
    "helpers",
    "status",
    "doctor",
    "inspect",
    "interrupt",
    "restart",
    "traceback",
)


_CALLS = ("call", "new", "attr")
_PARSED = (*_CALLS, "release", "sessions", "refs")
_HELP = {"-h", "--help"}


@magics_class
class Bridge(Magics):
    """What `%config Bridge` sets; all of it counts from the next `%reload_ext bridge_ext` on."""

    backend = CaselessStrEnum(
        ["local", "memory"], "local", help="Where calls run: a worker process, or this one."
    ).tag(config=True)
    env = Dict(help="Variables to add to the worker's environment.").tag(config=True)
    memory_limit = Int(
        None, allow_none=True, help="Bytes the worker may allocate; None is no limit."
    ).tag(config=True)
    inline_limit = Int(INLINE_LIMIT, help="Bytes up to which plain data comes back by value.").tag(
        config=True
    )
    auto_session = CaselessStrEnum(
        ["reachable", "cell"],
        "reachable",
        help="'reachable': what you can reach works; 'cell': what a cell made ends with it.",
    ).tag(config=True)
    isolate_cells = Bool(False, help="Use a cell's refs in that cell only.").tag(config=True)
    max_refs = Int(10_000, help="Refs that a session may hold.").tag(config=True)
    ttl_seconds = Float(
        3600.0, help="Seconds until a session expires that nobody holds and nobody uses."
    ).tag(config=True)
    overflow = Unicode(
        "error", help="What a full session does: 'error' or 'evict' (least recently used)."
    ).tag(config=True)

    extension: Extension

    def settings(self) -> dict[str, Any]:
        """The traits, as arguments of `bridge_ext.Bridge`."""
        own = self.class_own_traits(config=True)
        found = {name: getattr(self, name) for name in own}
        found["env"] = dict(found["env"])
        return found

    @property
    def _bridge(self) -> BridgeObject:
        return self.extension.bridge

    # ------------------------------------------------------------ %bridge
    @needs_local_scope
    @no_var_expand
    @line_magic
    @surface
    def bridge(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Call functions in a worker, and see and free what is held there.

        %bridge call [-s ID] [-t SECONDS] [-f] PATH [WORD ...]   call a function
        %bridge new PATH [WORD ...]                make an instance, as a ref
        %bridge attr PATH                          read a module attribute
        %bridge sessions [-l]                      what sessions exist; -l: also ages
        %bridge refs [-l] [ID]                     what refs exist
        %bridge release NAME ... | --all           free refs and sessions
        %bridge helpers                            what helpers are registered
        %bridge status                             the worker
        %bridge doctor                             what is wrong here, and the facts for a report
        %bridge inspect                            what is held, live, with buttons to release it
        %bridge interrupt                          stop what runs in the worker
        %bridge restart                            end the worker and start a fresh one
        %bridge traceback                          the last error of the worker, with every frame
        %bridge                                    the bridge itself: b = %bridge

        Each WORD is a Python literal, or a variable or attribute of one; key=value gives a
        keyword argument. `x = %bridge call ...` assigns, a trailing ; silences.
        `%bridge call -h` says more.
        """
        words = split(line.rstrip().removesuffix(";"))  # silencing is the transformer's work
        if not words:
            return self._bridge
        command, *rest = words
        if command in ("-h", "--help") or (command not in _PARSED and _HELP & set(rest)):
            return _Help(inspect.cleandoc(type(self).bridge.__doc__ or ""))
        if command not in _COMMANDS:
            near = difflib.get_close_matches(command, _COMMANDS, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise BridgeUsageError(
                f"%bridge has no command {command!r}.{hint} There are: {', '.join(_COMMANDS)}; "
                "`%bridge?` explains them."
            )
        try:
            if command in _CALLS:
                return self._call(command, rest, local_ns or {})
            if command == "release":
                return self._release(rest, local_ns or {})
            return getattr(self, "_" + command)(rest)
        except HelpShown:
            return None

    def _call(self, command: str, words: list[str], local_ns: dict[str, Any]) -> Any:
        parser = call_parser(command)
        options, words = split_options(parser, words)
        if not words:
            parser.error("PATH is missing, such as math.sqrt")
        path, *words = words
        bound = self._bridge.options(
            session=options.session, timeout=options.timeout, fetch=options.fetch or None
        )
        if command == "attr":
            if words:
                parser.error(f"{words[0]!r} is one word too many")
            return bound.attr(path)
        args, kwargs = arguments(words, local_ns, self.extension.shell.user_ns)
        return (
            bound.call(path, *args, **kwargs)
            if command == "call"
            else (bound.new(path, *args, **kwargs))
        )

    def _release(self, words: list[str], local_ns: dict[str, Any]) -> Table:
        parser = release_parser()
        given = parser.parse_args(words)
        if given.all == bool(given.names):
            parser.error("give names, or --all")
        if given.all:
            released = [("everything", self._bridge.release_all())]
        else:
            found = [(name, self._holder(name, local_ns)) for name in given.names]
            released = [(name, self._bridge.release(x)) for name, x in found]
        from .widgets.tables import Table  # as below: with the records, which are slow to import
        from .widgets.units import size

        rows = [(name, f"{r.refs:,}", size(r.nbytes)) for name, r in released]
        return Table(("released", "refs", "size"), rows)

    def _holder(self, name: str, local_ns: dict[str, Any]) -> Any:
        """The ref in a variable of that name, or the session id that it is.

        Raises:
            BridgeUsageError: it is both, or neither.
        """
        value = local_ns.get(name, self.extension.shell.user_ns.get(name))
        is_ref = isinstance(value, Ref)
        try:
            self._bridge.session_info(name)
        except (SessionNotFoundError, BridgeUsageError) as error:
            if is_ref:
                return value
            kind = f"a variable of type {type(value).__name__}" if value is not None else "nothing"
            raise BridgeUsageError(
                f"{name!r} is {kind}: give a variable that holds a ref, or a session's id ({error})"
            ) from None
        if is_ref:
            raise BridgeUsageError(
                f"{name!r} is both a variable that holds {value!r} and the session {name!r}: use "
                f"bridge.release({name}) for the ref, bridge.release({name!r}) for the session"
            )
        return name

    def _sessions(self, words: list[str]) -> Table:
        times = listing_parser("sessions").parse_args(words).times
        from .widgets.tables import sessions_table

        return sessions_table(self._bridge.sessions(), self.extension.named_in_force(), times=times)

    def _refs(self, words: list[str]) -> Table:
        given = listing_parser("refs").parse_args(words)
        from .widgets.listing import title
        from .widgets.tables import refs_table

        names = {s.id: title(s) for s in self._bridge.sessions()}
        return refs_table(self._bridge.refs(given.id), names, times=given.times)

    def _helpers(self, words: list[str]) -> Table:
        _none("helpers", words)
        from .widgets.tables import helpers_table

        return helpers_table(self._bridge.helpers())

    def _status(self, words: list[str]) -> Table:
        _none("status", words)
        from .widgets.tables import status_table

        return status_table(self._bridge.status())

    def _doctor(self, words: list[str]) -> Diagnosis:
        _none("doctor", words)
        return self._bridge.doctor()

    def _inspect(self, words: list[str]) -> Inspector:
        _none("inspect", words)
        return self._bridge.inspect()

    def _interrupt(self, words: list[str]) -> None:
        _none("interrupt", words)
        self._bridge.interrupt()

    def _restart(self, words: list[str]) -> Table:
        _none("restart", words)
        from .widgets.tables import status_table

        return status_table(self._bridge.restart())

    def _traceback(self, words: list[str]) -> Any:
        _none("traceback", words)
        return _Help(self._bridge.traceback().rstrip() or "no error was raised in the worker")

    # ------------------------------------------------------------ %session, %%session
    @no_var_expand
    @line_cell_magic
    @surface
    def session(self, line: str, cell: str | None = None) -> Any:
        """Run a cell, or the cells from here on, in a named session.

        %%session ID [--ttl SECONDS] [--max-refs N] [--overflow error|evict] [--tag K=V] [--release]
            this cell runs in the session; --release: which ends with it
        %session ID        sticky: this and the following cells
        %session           which session is in force
        %session --clear   none any more
        """
        parser = session_parser()
        words = split(line)
        if _HELP & set(words) and (cell is not None or "--cell" in words):
            parser.error("a cell that runs shows no help; use `%session -h`")
        try:
            given = parser.parse_args(words)
        except HelpShown:
            return None
        if given.cell:
            self._need_id(parser, given)
            self.extension.enter_cell(given)
            return None
        if cell is not None:
            self._need_id(parser, given)
            return self.extension.run_body(given, cell)
        return self._sticky(parser, given)

    def _need_id(self, parser: Parser, given: argparse.Namespace) -> None:
        if given.id is None or given.clear:
            parser.error("a cell needs the ID of its session: %%session shared")

    def _sticky(self, parser: Parser, given: argparse.Namespace) -> Any:
        if given.clear:
            if given.id is not None:
                parser.error(f"--clear takes no ID, and {given.id!r} was given")
            self._bridge.use(None)
            return None
        if given.id is None:
            return self.extension.named_in_force() or _Help("no named session is in force")
        if given.release:
            parser.error("--release is for cells: %%session ID --release")
        self.extension.name_session(given)
        self._bridge.use(given.id)
        return None


class _Help(str):
    """Text that shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _none(command: str, words: list[str]) -> None:
    if words:
        raise BridgeUsageError(f"%bridge {command} takes no words, and {words!r} came")
