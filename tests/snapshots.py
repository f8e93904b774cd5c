"""Snapshots made by hand, for what is pure."""

from __future__ import annotations

from types import MappingProxyType

from bridge_ext import SessionInfo, Status
from bridge_ext.kernel.snapshot import HeldRef, Snapshot, WorkerState

NOW = 1_700_000_000.0
_versions = iter(range(1, 1_000_000))


def session(id="shared", kind="named", **changes):
    facts = {
        "status": Status.ACTIVE,
        "worker": 4711,
        "refs": 1,
        "nbytes": 1000,
        "created_at": NOW - 60,
        "idle": 30.0,
        "ttl_seconds": 3600.0,
        "max_refs": 10_000,
        "overflow": "error",
        "tags": MappingProxyType({}),
        "owners": ("kernel",),
        "cell": "cell [3]",
    }
    return SessionInfo(id=id, kind=kind, **{**facts, **changes})


def ref(id, session_id="shared", type_name="list", nbytes=100, **changes):
    facts = {
        "module": "builtins",
        "length": None,
        "shape": None,
        "estimated": False,
        "retained": nbytes,
        "made_at": NOW - 60 + id,
        "cell": "cell [3]",
        "kept_as": None,
    }
    return HeldRef(
        id=id, session_id=session_id, type_name=type_name, nbytes=nbytes, **{**facts, **changes}
    )


def worker(**changes):
    facts = {
        "pid": 4711,
        "incarnation": 1,
        "answers": True,
        "busy": None,
        "since": 0.0,
        "calls": 12,
        "rss": 100_000_000,
        "start": 15_000_000,
        "held": 60_000_000,
        "curve": (99_000_000, 100_000_000),
    }
    return WorkerState(**{**facts, **changes})


def snapshot(sessions=(), refs=(), names=None, marks=None, **changes):
    facts = {"version": next(_versions), "at": NOW, "worker": worker(), "unlisted": 0}
    return Snapshot(
        sessions={s.id: s for s in sessions},
        refs={r.id: r for r in refs},
        names={r.id: () for r in refs} if names is None else names,
        marks=marks or {},
        **{**facts, **changes},
    )
