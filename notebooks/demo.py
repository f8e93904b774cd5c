"""Runs the quickstart in a real kernel, shows what each cell shows, and proves what is left of it.

The proof is taken from outside the kernel: the process ids of its workers are read from the
system while the notebook runs, and looked for again after the kernel has been shut down.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("01_quickstart.ipynb")
DEADLINE = 5.0
"""Seconds in which a worker must have ended after its kernel."""


def main() -> int:
    """Run the notebook; 0 if nothing is left of it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    manager = KernelManager(kernel_name="python3")
    quiet = ["--log-level=ERROR"]  # ipykernel warns of its own TCP ports, which are on loopback
    client = NotebookClient(
        notebook, km=manager, timeout=120, resources=_here(), extra_arguments=quiet
    )
    workers: set[int] = set()
    started = time.perf_counter()
    with client.setup_kernel():
        kernel = manager.provisioner.process.pid
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                print(f"\n{cell.source}\n")
                continue
            client.execute_cell(cell, index)
            workers |= children(kernel)
            show(cell)
    manager.shutdown_kernel()
    took = time.perf_counter() - started
    print("\n" + "-" * 72)
    print(f"{len(notebook.cells)} cells in {took:.1f} s, in kernel {kernel}.")
    print(f"Workers seen while it ran: {', '.join(map(str, sorted(workers))) or 'none'}.")
    left = wait_until_gone(workers | {kernel})
    if left or not workers:
        print(f"Still there after the kernel's shutdown: {sorted(left)}." if left else "No worker?")
        return 1
    print("None of them exists after the kernel's shutdown. Nothing is left behind.")
    return 0


def _here() -> dict[str, dict[str, str]]:
    return {"metadata": {"path": str(NOTEBOOK.parent)}}


def show(cell: nbformat.NotebookNode) -> None:
    """Print a cell and its outputs as text."""
    for number, line in enumerate(cell.source.splitlines()):
        print(("In  " if number == 0 else "    ") + line)
    for output in cell.outputs:
        if output.output_type == "stream":
            text = output.text
        elif output.output_type == "error":
            text = f"{output.ename}: {output.evalue}"
        else:
            text = output.data.get("text/plain", "")
        for number, line in enumerate(text.rstrip("\n").splitlines()):
            print(("Out " if number == 0 else "    ") + line)
    print()


def children(pid: int) -> set[int]:
    """The child processes of a process, as the system tells them."""
    try:
        stats = [p.read_text() for p in Path("/proc").glob("[0-9]*/stat")]
    except OSError:
        stats = []
    if stats:
        # pid (name, which may hold anything) state parent ...
        pairs = [(s.partition(" ")[0], s.rpartition(")")[2].split()[1]) for s in stats]
    else:
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        pairs = [(a, b) for a, b in (line.split() for line in listing.stdout.splitlines())]
    return {int(child) for child, parent in pairs if int(parent) == pid}


def wait_until_gone(pids: set[int]) -> set[int]:
    """What of these processes is left when the deadline has passed."""
    end = time.monotonic() + DEADLINE
    left = set(pids)
    while left and time.monotonic() < end:
        left = {pid for pid in left if exists(pid)}
        time.sleep(0.02)
    return left


def exists(pid: int) -> bool:
    """Whether a process of that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())
