"""One line of the inspector, as the texts and numbers that the front end draws. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..kernel.model import SessionInfo
from ..kernel.status import Status
from .listing import key_of, title
from .texts import fit
from .units import count, extent, keeps, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..kernel.snapshot import HeldRef, Snapshot
    from .listing import Line


def row_of(line: Line, snapshot: Snapshot, folded: bool, previews: Mapping[int, str]) -> Any:
    """What is the same whatever the user does."""
    if isinstance(line, SessionInfo):
        return _session_row(line, snapshot, folded)
    return _ref_row(line, snapshot, previews.get(line.id, ""))


def _session_row(session: SessionInfo, snapshot: Snapshot, folded: bool) -> Any:
    ended = session.status is Status.LOST
    mark = snapshot.marks.get(session.id)
    status = session.status.value
    words = [
        *([mark] if mark else []),
        *([session.kind] if session.kind == "named" else []),
        *([status] if session.status is not Status.ACTIVE else []),
    ]
    idle = int(snapshot.at - session.idle) if session.idle > 0 else None
    return {
        "key": key_of(session),
        "kind": "session",
        "name": fit(title(session)),
        "badges": words,
        "text": fit(
            " · ".join(
                [
                    *(f"{key}={value}" for key, value in session.tags.items()),
                    *([f"worker {session.worker}"] if session.worker is not None else []),
                ]
            )
        ),
        "shape": "" if ended else count(session.refs, "ref"),
        "size": size(session.nbytes) if session.refs else "",
        "note": "",
        "made": session.created_at,
        "idle": None if ended else idle,
        "expires": _expires(session, snapshot, idle),
        "cell": fit(session.cell),
        "held": fit(", ".join(session.owners)),
        "folded": folded if session.refs else None,
        "can": session.status is not Status.RELEASING,
    }


def _expires(session: SessionInfo, snapshot: Snapshot, idle: float | None) -> float | None:
    """When it ends by itself; None while somebody can still reach a ref of it."""
    if idle is None or session.status is not Status.ACTIVE or session.kind != "named":
        return None
    refs = snapshot.refs
    reached = any(refs[i].session_id == session.id for i in snapshot.names if i in refs)
    return None if reached else idle + session.ttl_seconds


def _ref_row(ref: HeldRef, snapshot: Snapshot, preview: str) -> Any:
    return {
        "key": key_of(ref),
        "kind": "ref",
        "name": ref.type_name,
        "badges": [fit(f"kept as {ref.kept_as}")] if ref.kept_as is not None else [],
        "text": preview,
        "shape": extent(ref.shape, ref.length),
        "size": size(ref.nbytes, ref.estimated),
        "note": keeps(ref.nbytes, ref.retained).strip(" ()"),
        "made": ref.made_at,
        "idle": None,
        "expires": None,
        "cell": fit(ref.cell),
        "held": fit(held_by(ref, snapshot)),
        "folded": None,
        "can": True,
    }


def held_by(ref: HeldRef, snapshot: Snapshot) -> str:
    """What keeps a ref alive."""
    names = snapshot.names.get(ref.id)
    if names is None:
        return f"kept as {ref.kept_as}" if ref.kept_as is not None else "nothing"
    return ", ".join(names) or "Python code"
