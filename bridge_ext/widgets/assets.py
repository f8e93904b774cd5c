"""The inspector's front end: its modules as the one that anywidget takes, and its style sheet."""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

ENTRY = "inspector"

_IMPORT = re.compile(r'^import .* from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:class|const|function|let)\b)", re.MULTILINE)


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _modules() -> dict[str, str]:
    """Every module that the entry needs, by name, each after those it imports.

    Raises:
        graphlib.CycleError: modules import each other.
    """
    sources: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    wanted = [ENTRY]
    while wanted:
        name = wanted.pop()
        if name not in sources:
            sources[name] = _read(f"{name}.js")
            needs[name] = _IMPORT.findall(sources[name])
            wanted += needs[name]
    return {name: sources[name] for name in TopologicalSorter(needs).static_order()}


@cache
def module() -> str:
    """The front end as the text of one ES module, which exports the entry's default alone.

    The files are modules by themselves, one noun each. Here their imports go, and all of them
    share one scope: no two may declare the same name at the top.
    """
    joined = []
    for name, source in _modules().items():
        alone = _IMPORT.sub("", source)
        joined.append(alone if name == ENTRY else _EXPORT.sub("", alone))
    return "\n".join(joined)


@cache
def style() -> str:
    """The style sheet of the front end."""
    return _read(f"{ENTRY}.css")
