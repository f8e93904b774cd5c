"""The inspector's panel of the worker: what it does, and where its memory is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .units import size

if TYPE_CHECKING:
    from ..kernel.snapshot import Snapshot, WorkerState


def worker_panel(snapshot: Snapshot, doing: str, asks: str, failed: str) -> dict[str, Any] | None:
    """The worker as the front end draws it; None if there is none."""
    worker = snapshot.worker
    if worker is None:
        return None
    return {
        "pid": worker.pid,
        "incarnation": worker.incarnation,
        "status": "silent" if not worker.answers else "busy" if worker.busy else "idle",
        "what": worker.busy,
        "since": worker.since if worker.busy or not worker.answers else None,
        "rss": worker.rss,
        "held": worker.held,
        "start": worker.start,
        "memory": memory(worker),
        "curve": list(worker.curve),
        "calls": worker.calls,
        "doing": doing,
        "asks": asks,
        "failed": failed,
    }


def memory(worker: WorkerState) -> dict[str, str] | None:
    """Where the resident memory is; what the refs do not explain is said to be something else."""
    if worker.rss is None:
        return None
    start = worker.start or 0
    other = max(0, worker.rss - worker.held - start)
    return {
        "rss": size(worker.rss),
        "held": size(worker.held),
        "start": size(start),
        "other": size(other),
    }
