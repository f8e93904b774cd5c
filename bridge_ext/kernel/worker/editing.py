"""Modules of the user's that were edited after the worker imported them.

A look compares the file of each such module with what it was at the import: its modification time
and its size. Looks are made where a call by path begins, and take a hundredth of the time at most.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from .reloading import file_of, here, is_users, members, reloaded, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .reloading import Version

_PAUSE = 100
"""How many times as long as a look took it is until the next one."""
_SHORTEST = 0.001
"""Seconds from one look to the next where there is little to look at."""
_SLACK = 20_000_000
"""Nanoseconds by which a file's time may lag behind the clock."""
_NAMED = 3
"""Modules that have a line of their own; a checkout of another branch may change hundreds."""


class _Seen:
    """One module of the user's: what its file was when it was imported, and when last seen."""

    __slots__ = ("file", "loaded", "now", "spec")

    def __init__(self, file: str, spec: Any, loaded: Version | None, now: Version | None) -> None:
        self.file, self.spec, self.loaded, self.now = file, spec, loaded, now


class Watch:
    """Looks after the modules of this process.

    Attributes:
        due: when to look next, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self._seen: dict[str, _Seen] = {}
        self._judged: set[str] = set()
        self._count = 0
        self._looked = time.time_ns()

    def tell(self) -> None:
        """Look, and say on stderr what was edited; once for each change."""
        lines = notices(self.look())
        if lines:
            with contextlib.suppress(Exception):  # the user has closed or replaced it
                sys.stderr.write("".join(f"bridge: {line}\n" for line in lines))

    def look(self) -> list[tuple[str, str | None]]:
        """The modules edited since the last look: name, and the file if that is gone."""
        clock = time.time_ns()
        if len(sys.modules) != self._count:
            self._judge()
        started = time.monotonic()
        changed = [(n, seen) for n, seen in list(self._seen.items()) if self._changed(n, seen)]
        ended = time.monotonic()
        self.due = ended + max(_SHORTEST, _PAUSE * (ended - started))
        self._looked = clock
        return [
            (name, None if seen.now or _moved(seen.file) else seen.file) for name, seen in changed
        ]

    def _judge(self) -> None:
        """Take up the modules that were imported since the last time."""
        modules = list(sys.modules.items())
        self._count = len(modules)
        folder = here()
        for name, module in modules:
            if name in self._judged:
                continue
            self._judged.add(name)
            file = file_of(module)
            if file is not None and name != "__main__" and is_users(file, folder):
                self._seen[name] = self._first_seen(name, module, file)

    def _first_seen(self, name: str, module: Any, file: str) -> _Seen:
        """A module as it was imported, which may be a while ago.

        If its file was written since the last look, its bytecode, which the import wrote, tells
        whether the import came first.
        """
        spec = members(module).get("__spec__")
        now: Version | None = version(file)
        known, loaded = reloaded.get(name, (None, None))
        if spec is not None and known is spec:
            return _Seen(file, spec, loaded, loaded)
        if now is not None and now[0] > self._looked - _SLACK and not sys.dont_write_bytecode:
            compiled = _compiled(spec)
            if compiled not in (None, (now[0] // 10**9 & 0xFFFFFFFF, now[1] & 0xFFFFFFFF)):
                return _Seen(file, spec, None, None)
        return _Seen(file, spec, now, now)

    def _changed(self, name: str, seen: _Seen) -> bool:
        module = sys.modules.get(name)
        if module is None:
            self._seen.pop(name, None)
            self._judged.discard(name)
            return False
        if members(module).get("__spec__") is not seen.spec:  # imported or loaded again
            file = file_of(module) or seen.file
            again = self._first_seen(name, module, file)
            seen.file, seen.spec, seen.loaded, seen.now = file, again.spec, again.loaded, again.now
        now = version(seen.file)
        changed = now not in (seen.now, seen.loaded)
        seen.now = now
        return changed


def notices(edited: Sequence[tuple[str, str | None]]) -> list[str]:
    """What to say of edited modules: name, and the file if that is gone."""
    lines = []
    for name, gone in edited[:_NAMED]:
        if gone is None:
            lines.append(
                f"module {name!r} was edited after the worker imported it; "
                f"bridge.reload({name!r}) loads it again."
            )
        else:
            lines.append(f"module {name!r} has lost its file {gone}; the worker still runs it.")
    if len(edited) > _NAMED:
        rest = ", ".join(name for name, _ in edited[_NAMED : 3 * _NAMED])
        more = "" if len(edited) <= 3 * _NAMED else ", …"
        lines.append(
            f"{len(edited) - _NAMED} more modules were edited ({rest}{more}); "
            "bridge.restart() starts a fresh worker."
        )
    return lines


# ---------------------------------------------------------------- files
def _compiled(spec: Any) -> Version | None:
    """What the bytecode beside a module says of its source: whole seconds, and the size."""
    try:
        with open(spec.cached, "rb") as file:
            head = file.read(16)
    except (AttributeError, TypeError, OSError):
        return None
    if len(head) < 16 or head[4:8] != bytes(4):  # bytecode that goes by a hash of the source
        return None
    return int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:], "little")


def _moved(file: str) -> bool:
    """Whether a module has become a package in its place, or a package a module."""
    folder, leaf = os.path.split(file)
    package = os.path.join(folder, leaf[:-3], "__init__.py")
    return os.path.exists(folder + ".py" if leaf == "__init__.py" else package)
