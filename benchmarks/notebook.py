"""Ours only, inside IPython: importing, loading, the first call, and the hooks of a cell."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figures, Sizes, elapsed_ms, median
from benchmarks.peers.base import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

EXTENSION = "bridge_ext"
FIRST_CALL = "%bridge call math.sqrt 4"
CELL = "x = 1\n"
IMPORT_DEADLINE_S = 20.0
TIMED_IMPORT = f"""
from time import perf_counter
began = perf_counter()
import {EXTENSION}
print((perf_counter() - began) * 1e3)
"""


class Notebook(Subject):
    """A shell in a process of its own, and the extension loaded into it."""

    name = "notebook"
    label = "the extension in an InteractiveShell"
    package = EXTENSION
    workloads = ("import", "extension", "scale_cells")


def import_extension(subject: Subject, sizes: Sizes) -> Figures:
    """``import bridge_ext`` in fresh interpreters, timed inside them."""
    return {"ms": median([_import_once() for _ in range(sizes.imports)])}


def _import_once() -> float:
    import subprocess  # not above: this module is imported before peers are timed

    done = subprocess.run(
        [sys.executable, "-c", TIMED_IMPORT],
        check=True,
        capture_output=True,
        timeout=IMPORT_DEADLINE_S,
    )
    return float(done.stdout)


def extension(subject: Subject, sizes: Sizes) -> Figures:
    """Load the extension, make the first call, then run cells that make none.

    ``hooks_us`` is what a loaded extension adds to the events of one such cell,
    ``transform_us`` what it adds to the transformation of its source.
    """
    shell = make_shell()
    bare_us = _events_us(shell, sizes)
    bare_transformers = _transformers(shell)
    load_ms = elapsed_ms(lambda: run_cell(shell, f"%load_ext {EXTENSION}"))
    call_ms = elapsed_ms(lambda: run_cell(shell, FIRST_CALL))
    hooks_us = _events_us(shell, sizes) - bare_us
    added = [x for x in _transformers(shell) if x not in bare_transformers]
    transform_us = sum(_transform_us(x, sizes) for x in added)
    run_cell(shell, f"%unload_ext {EXTENSION}")
    return {
        "first_call_ms": load_ms + call_ms,
        "load_ms": load_ms,
        "hooks_us": hooks_us,
        "transform_us": transform_us,
    }


def make_shell() -> Any:
    """A shell that has run a cell."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    run_cell(shell, CELL)  # the first cell of any shell pays for imports of IPython's own
    return shell


def run_cell(shell: Any, cell: str) -> None:
    """Run a cell as a frontend would; raises what it raised."""
    shell.run_cell(cell, store_history=True).raise_error()


def _events_us(shell: Any, sizes: Sizes) -> float:
    """Microseconds of the four events that ``run_cell`` fires around a cell."""
    interactive: Any = import_module("IPython.core.interactiveshell")
    info = interactive.ExecutionInfo(CELL, True, False, True, None)
    result = interactive.ExecutionResult(info)
    trigger = shell.events.trigger

    def cell() -> None:
        trigger("pre_execute")
        trigger("pre_run_cell", info)
        trigger("post_execute")
        trigger("post_run_cell", result)

    return _each_us(cell, sizes)


def _transformers(shell: Any) -> list[Any]:
    return [*shell.input_transformers_cleanup, *shell.input_transformers_post]


def _transform_us(transform: Callable[[list[str]], list[str]], sizes: Sizes) -> float:
    return _each_us(lambda: transform([CELL]), sizes)


def _each_us(action: Callable[[], object], sizes: Sizes) -> float:
    """Microseconds of one ``action``: the median of batches: one is near the clock's cost."""
    batch = max(sizes.cells // 10, 1)

    def repeat() -> None:
        for _ in range(batch):
            action()

    return median([elapsed_ms(repeat) for _ in range(10)]) * 1e3 / batch
