"""What the inspector asks and says in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .texts import fit
from .units import count, listed

if TYPE_CHECKING:
    from ..kernel.model import SessionInfo
    from ..kernel.snapshot import Snapshot


def question(session: SessionInfo, snapshot: Snapshot) -> str:
    """What to ask before a session is released, or ""."""
    if session.kind != "named":
        return ""
    names = _names_in(snapshot, session.id)
    if not names:
        return ""
    return f"{listed(names)} still {'holds' if len(names) == 1 else 'hold'} refs of it. Release?"


def question_of_all(snapshot: Snapshot) -> str:
    """What to ask before everything is released."""
    names = _names_in(snapshot, None)
    who = f"; {listed(names)} still {'holds' if len(names) == 1 else 'hold'} some" if names else ""
    return f"Release everything? {_all(snapshot)}{who}."


def question_of_restart(snapshot: Snapshot) -> str:
    """What to ask before the worker is started again."""
    return f"Restart the worker? {_all(snapshot)} will be lost."


def _all(snapshot: Snapshot) -> str:
    live = [s for s in snapshot.sessions.values() if s.refs]
    return f"{count(len(snapshot.refs), 'ref')} in {count(len(live), 'session')}"


def _names_in(snapshot: Snapshot, session_id: str | None) -> list[str]:
    refs = snapshot.refs
    return list(
        dict.fromkeys(
            fit(name, 60)
            for ref_id, names in snapshot.names.items()
            if ref_id in refs and session_id in (None, refs[ref_id].session_id)
            for name in names
        )
    )


def unlisted(snapshot: Snapshot) -> str:
    """That there are more refs than are listed, or ""."""
    if not snapshot.unlisted:
        return ""
    shown = len(snapshot.refs)
    return f"{shown:,} of {shown + snapshot.unlisted:,} refs are listed"


def empty(snapshot: Snapshot, text: str) -> str:
    """Why there is nothing to show, and what to do."""
    if text and (snapshot.refs or snapshot.sessions):
        return f"Nothing here matches {text!r}. Escape clears the filter."
    return (
        "Nothing is held. What a call returns and is not plain data stays in the worker and "
        'shows here: df = bridge.call("pandas.read_csv", "taxi.csv")'
    )
