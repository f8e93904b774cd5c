"""What exists, as frozen records: the manager's list joined with what the worker holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import RefNotFoundError
from .hearing import Row, ref_rows, session_rows, status_of
from .model import RefInfo, SessionInfo, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .custody import Custodian
    from .handles import Ref
    from .refs import RefState
    from .session import Session

Holders = Callable[["list[Ref]"], "dict[int, tuple[str, ...]]"]
"""Says for handles, by `id`, which names hold them."""


# ---------------------------------------------------------------- sessions
def sessions(client: Custodian) -> list[SessionInfo]:
    """Every session."""
    return _session_infos(client, client.sessions.all())


def session_info(client: Custodian, session: Session) -> SessionInfo:
    """One session."""
    return _session_infos(client, [session])[0]


def _session_infos(client: Custodian, wanted: list[Session]) -> list[SessionInfo]:
    client.settle()
    rows = session_rows(client.ask("sessions") or [])
    return joined(client, wanted, {(row[0], row[1]): row for row in rows})


def joined(
    client: Custodian, wanted: list[Session], rows: Mapping[tuple[str, int], list[Any]]
) -> list[SessionInfo]:
    """The manager's sessions with the worker's rows of them, by id and generation."""
    incarnation = client.incarnation
    infos = []
    for session in wanted:
        row = rows.get((session.id, session.generation))
        max_refs, ttl, overflow = session.limits.as_tuple()
        known = incarnation is not None and session.incarnation == incarnation.number
        infos.append(
            SessionInfo(
                id=session.id,
                kind="auto" if session.auto else "named",
                status=session.status,
                worker=incarnation.connection.pid if incarnation is not None and known else None,
                refs=row[2] if row else 0,
                nbytes=row[3] if row else 0,
                created_at=session.created_at,
                idle=row[4] if row else time.monotonic() - session.created_mono,
                ttl_seconds=ttl or 0.0,
                max_refs=max_refs or 0,
                overflow=overflow or "",
                tags=MappingProxyType(dict(session.tags)),
                owners=session.owners.names(),
                cell=session.cell,
            )
        )
    return infos


# ---------------------------------------------------------------- refs
def refs(client: Custodian, session: str | None, holders: Holders) -> list[RefInfo]:
    """The refs of one session, or of all."""
    client.settle()
    return _ref_infos(client, ref_rows(client.ask("refs", session) or []), holders)


def ref_info(client: Custodian, state: RefState, holders: Holders) -> RefInfo:
    """One ref."""
    state.check()
    client.settle()
    row = client.describe(state)
    if row is None:
        raise RefNotFoundError(state.text(), state.ended() or "released")
    return _ref_infos(client, ref_rows([row]), holders)[0]


def _ref_infos(client: Custodian, rows: list[Row], holders: Holders) -> list[RefInfo]:
    incarnation = client.incarnation
    handles: dict[int, list[Ref]] = {}
    for row in rows:
        state = incarnation.refs.get(row.id) if incarnation is not None else None
        handles[row.id] = state.handles() if state is not None else []
    names = holders([handle for held in handles.values() for handle in held])
    return [_ref_info(row, handles[row.id], names) for row in rows]


def names_of(handles: list[Ref], found: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    """The names that hold any handle of one ref."""
    return tuple(dict.fromkeys(name for h in handles for name in found.get(id(h), ())))


def _ref_info(row: Row, handles: list[Ref], names: dict[int, tuple[str, ...]]) -> RefInfo:
    held = (names_of(handles, names) or ("Python code",)) if handles else ()
    name = row.type_name.rpartition(".")[2]
    return RefInfo(
        id=row.id,
        session_id=row.session_id,
        type_name=name,
        module=row.module,
        nbytes=row.nbytes,
        nbytes_estimated=row.estimated,
        length=row.length,
        shape=tuple(row.shape) if row.shape is not None else None,
        summary=repr(handles[0]) if handles else f"<ref {name}>",
        age=row.age,
        idle=row.idle,
        cell=row.cell,
        held_by=held,
        kept_as=row.kept,
        retained=row.retained,
    )


# ---------------------------------------------------------------- the worker
def status(client: Custodian) -> WorkerInfo:
    """The worker, as far as it answers."""
    client.settle()
    incarnation = client.incarnation
    if incarnation is None:
        return WorkerInfo(
            None, client.started, None, 0.0, None, 0, 0, 0, client.backend.name, 0, None
        )
    connection = incarnation.connection
    unknown = ["not answering", 0.0, 0, 0, 0, None]
    busy, since, calls, held, nbytes, start = status_of(client.ask("status") or unknown)
    known = [s for s in client.sessions.all() if s.incarnation == incarnation.number and s.live]
    return WorkerInfo(
        pid=connection.pid,
        incarnation=connection.incarnation,
        busy=busy,
        since=since,
        rss=resident(connection.pid),
        sessions=len(known),
        refs=held,
        calls=calls,
        transport=connection.transport,
        nbytes=nbytes,
        rss_at_start=start,
    )


def resident(pid: int) -> int | None:
    """Resident memory of a process in bytes, where the system tells."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
