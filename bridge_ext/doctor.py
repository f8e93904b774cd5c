"""A report to paste: what is wrong first, as sentences, then the facts they rest on.

It never raises. Each part that fails says so in its place, and the others stand.
"""

from __future__ import annotations

import inspect
import os
import platform
import re
import sys
from typing import TYPE_CHECKING, Any

from . import __version__, frontend
from .kernel import checkup, machine
from .kernel.differences import differences
from .kernel.shadows import shadows
from .kernel.surveys import PACKAGES
from .kernel.wire.naming import clean
from .kernel.wire.segments import FROM_WORKER, TO_WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .bridge import Bridge
    from .kernel.checkup import Checkup
    from .kernel.surveys import Survey

    Rows = Iterable[tuple[str, ...]]

_LENGTH = 2_000
"""Characters of one line: more than that nobody reads in a report."""


class Diagnosis(str):
    """The report, as text; it shows as it is.

    Attributes:
        findings: the sentences on what is wrong or may become so, each with a next step.
    """

    findings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return str.__str__(self)


def diagnose(bridge: Bridge) -> Diagnosis:
    """Look at everything, and write it down."""
    said: list[str] = []
    here = _tried(said, "this process", checkup.here)
    there = _tried(said, "the worker", lambda: checkup.there(bridge._client))
    follows = bridge._client.follow_cwd
    found = [
        lambda: [there.trouble] if there is not None and there.trouble else [],
        lambda: _apart(bridge, here, there, follows),
        lambda: _hidden(here),
        lambda: list(machine.findings()),
        lambda: list(frontend.findings()),
    ]
    for look in found:
        said += _tried(said, "a part of this", look) or []
    parts: dict[str, Callable[[], Rows]] = {
        "versions": lambda: _versions(here, there),
        "paths": lambda: _paths(here, there),
        "worker": lambda: _worker(bridge, there),
        "front end": frontend.facts,
        "limits": _limits,
        "settings that are not the default": lambda: _settings(bridge),
        "environment": lambda: _environment(here, there),
    }
    texts = [_part(title, rows) for title, rows in parts.items()]
    findings = tuple(map(_shown, said))
    made = Diagnosis("\n\n".join([_head(findings), *texts]))
    made.findings = findings
    return made


def _tried(said: list[str], what: str, look: Callable[[], Any]) -> Any:
    """What `look` finds; if it fails, that is said, and nothing found."""
    try:
        return look()
    except Exception as error:
        said.append(f"Of {what} nothing could be found out ({_reason(error)}).")
        return None


def _reason(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _head(findings: tuple[str, ...]) -> str:
    count = (
        f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "all well"
    )
    return "\n".join(
        [f"bridge_ext {__version__}: {count}", *(f"  {n}. {s}" for n, s in enumerate(findings, 1))]
    )


def _part(title: str, rows: Callable[[], Rows]) -> str:
    """One part as lines, its columns beside each other."""
    lines: list[tuple[str, ...]] = []
    try:
        lines.extend(tuple(map(_shown, row)) for row in rows())
    except Exception as error:
        lines.append((f"not known ({_shown(_reason(error))})",))
    if not lines:
        return f"{title}: none"
    depth = max(map(len, lines))
    width = [max((len(r[i]) for r in lines if len(r) > i + 1), default=0) for i in range(depth)]
    texts = ("  ".join(c.ljust(width[i]) for i, c in enumerate(row)).rstrip() for row in lines)
    return "\n".join([title, *(f"  {text}" for text in texts)])


def _shown(text: str) -> str:
    """Text on one line, without what a terminal obeys and without the name of the user."""
    line = clean(text, _LENGTH)
    for home in {os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~"))}:
        if len(home) > 1:
            line = re.sub(rf"{re.escape(home.rstrip('/'))}(?![\w.-])", "~", line)
    return line


# ---------------------------------------------------------------- what is wrong
def _apart(bridge: Bridge, here: Survey | None, there: Checkup | None, follows: bool) -> list[str]:
    if here is None or there is None or there.survey is None:
        return []
    added = bridge._settings["env"] or ()
    return list(differences(here, there.survey, follows=follows, added=added))


def _hidden(here: Survey | None) -> list[str]:
    if here is None or here.cwd is None:
        return []
    return list(shadows(here.cwd, sys.path))


# ---------------------------------------------------------------- facts
def _versions(here: Survey | None, there: Checkup | None) -> Iterator[tuple[str, ...]]:
    other = there.survey if there is not None else None
    yield ("", "kernel", "worker")
    yield ("python", here.python if here else "?", other.python if other else "?")
    for name in PACKAGES:
        ours = _version(here, name)
        theirs = _version(other, name)
        if ours or theirs:
            yield (name, ours or "none", theirs or "none")
    yield ("platform", platform.platform())


def _version(survey: Survey | None, name: str) -> str:
    if survey is None:
        return "?"
    loaded = "" if name in survey.loaded else " (not loaded)"
    version = survey.version(name)
    return version + loaded if version else "loaded" if name in survey.loaded else ""


def _paths(here: Survey | None, there: Checkup | None) -> Iterator[tuple[str, ...]]:
    other = there.survey if there is not None else None
    yield ("executable", here.executable if here else sys.executable)
    if here is not None and other is not None and here.executable != other.executable:
        yield ("  worker's", other.executable)
    yield ("bridge_ext", os.path.dirname(__file__))
    yield ("directory", (here.cwd if here else None) or "gone")
    if other is not None and here is not None and other.cwd != here.cwd:
        yield ("  worker's", other.cwd or "gone")
    for number, entry in enumerate(here.path if here else ()):
        yield ("" if number else "sys.path", entry or "''")


def _worker(bridge: Bridge, there: Checkup | None) -> Iterator[tuple[str, ...]]:
    yield ("backend", bridge._backend.name)
    yield ("pids", f"kernel {os.getpid()}, worker {there.pid if there and there.pid else 'none'}")
    if there is not None and there.pid is not None:
        yield ("runs", there.busy or ("nothing" if there.survey is not None else "not known"))
        yield ("transport", there.transport)
        if "shared" in there.transport:
            yield ("segments", f"{TO_WORKER} to the worker, {FROM_WORKER} from it")
    yield ("started", f"{bridge._client.started} so far")
    for call in machine.CALLS:
        yield (call, machine.has(call))


def _limits() -> Iterator[tuple[str, ...]]:
    opened, most = machine.descriptors()
    yield ("descriptors", f"{opened if opened is not None else '?'} open, {most} allowed")
    for name in ("RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_NPROC"):
        yield (name, machine.limit(name))
    known = machine.memory()
    gb = [f"{n / 1e9:.1f}" for n in known or ()]
    yield ("memory", f"{gb[0]} of {gb[1]} GB available" if gb else "not known")
    yield ("cores", machine.cores())
    yield ("shared", machine.shared_memory())


def _settings(bridge: Bridge) -> Iterator[tuple[str, ...]]:
    """What the bridge was made with; of variables the names, as values may be secrets."""
    defaults = inspect.signature(type(bridge)).parameters
    for name, value in bridge._settings.items():
        default = defaults[name].default
        if value == default or (name == "env" and not value):
            continue
        yield (name, ", ".join(value) if name == "env" else f"{value!r:.200}")


def _environment(here: Survey | None, there: Checkup | None) -> Iterator[tuple[str, ...]]:
    other = there.survey if there is not None else None
    yield ("", "kernel", "worker")
    both = (here.variables if here else {}, other.variables if other else {})
    for name in sorted({*both[0], *both[1]}):
        yield (name, *(values.get(name, "not set") for values in both))
    for what in here.encodings if here else ():
        codecs = (s.encodings.get(what, "?") if s else "?" for s in (here, other))
        yield (f"encoding of {what}", *codecs)
    for flag, value in (here.flags if here else {}).items():
        theirs = other.flags.get(flag, "?") if other else "?"
        if value or theirs:
            yield (flag, str(value), str(theirs))
