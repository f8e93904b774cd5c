"""Snapshots as tables, in text and HTML: no made ids, no times, so that they compare."""

from __future__ import annotations

import html
import time
from typing import TYPE_CHECKING

from .listing import held_sessions, title
from .rows import held_by
from .texts import fit
from .units import count, duration, extent, keeps, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..kernel.model import HelperInfo, RefInfo, SessionInfo, WorkerInfo
    from ..kernel.snapshot import HeldRef, Snapshot

_MOST = 100
"""Rows of each table of a report: more than that nobody reads in a document."""


_LONGEST = 1_000
"""Characters of one cell."""


class Table:
    """Rows of text under a heading each; shows as text and as HTML.

    Attributes:
        columns: the headings.
        rows: one tuple of texts a row.
        empty: what to show when there are no rows.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str = "nothing"
    ) -> None:
        self.columns = tuple(columns)
        self.rows = [tuple(fit(cell, _LONGEST) for cell in row) for row in rows]
        self.empty = empty

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return self.empty
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines)
        return "\n".join(line.rstrip() for line in text)

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(self.empty)}</p>"
        head = "".join(f"<th style='text-align:left'>{html.escape(c)}</th>" for c in self.columns)
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(c)}</td>" for c in row)
            + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Report:
    """Several tables under a headline."""

    def __init__(self, headline: str, tables: Sequence[Table]) -> None:
        self.headline, self.tables = headline, tables

    def __repr__(self) -> str:
        return "\n\n".join([self.headline, *map(repr, self.tables)])

    def _repr_html_(self) -> str:
        head = f"<p><b>{html.escape(self.headline)}</b></p>"
        return head + "".join(table._repr_html_() for table in self.tables)


def report(snapshot: Snapshot) -> Report:
    """All that is held, as far as a page shows it."""
    marked = [id for id, mark in snapshot.marks.items() if mark == "in force"]
    sessions = held_sessions(snapshot)
    refs = list(snapshot.refs.values())
    held = size(snapshot.worker.held if snapshot.worker is not None else 0)
    headline = f"{count(len(sessions), 'session')}, {count(len(refs), 'ref')}, {held}"
    tables = [sessions_table(sessions[:_MOST], *marked[:1])]
    if refs:
        tables.append(_held_table(refs[:_MOST], snapshot))
    more = max(0, len(refs) - _MOST, len(sessions) - _MOST)
    return Report(headline + (f" (the first {_MOST} are listed)" if more else ""), tables)


def sessions_table(
    infos: Sequence[SessionInfo], in_force: str | None = None, *, times: bool = False
) -> Table:
    """Sessions; the one in force is marked. With `times`, also what changes by itself."""
    rows = [
        (
            title(s) + (" ←" if s.id == in_force else ""),
            s.kind,
            s.status.value,
            f"{s.refs:,}",
            size(s.nbytes),
            ", ".join(s.owners),
            " ".join(f"{k}={v}" for k, v in s.tags.items()),
            *((duration(time.time() - s.created_at), *_life(s)) if times else ()),
        )
        for s in infos
    ]
    more = ("age", "idle", "ttl", "worker") if times else ()
    columns = ("session", "kind", "status", "refs", "size", "owners", "tags", *more)
    return Table(columns, rows, "no sessions")


def _life(session: SessionInfo) -> tuple[str, str, str]:
    worker = str(session.worker) if session.worker is not None else ""
    return duration(session.idle), duration(session.ttl_seconds), worker


def refs_table(infos: Sequence[RefInfo], names: Mapping[str, str], *, times: bool = False) -> Table:
    """Refs; `names` says how sessions are called. With `times`, also what changes by itself."""
    rows = [
        (
            r.summary,
            names.get(r.session_id, r.session_id),
            size(r.nbytes, r.nbytes_estimated) + keeps(r.nbytes, r.retained),
            r.cell,
            ", ".join(r.held_by) or "nothing",
            r.kept_as or "",
            *((duration(r.age), duration(r.idle)) if times else ()),
        )
        for r in infos
    ]
    more = ("age", "idle") if times else ()
    return Table(
        ("ref", "session", "size", "made in", "held by", "kept as", *more), rows, "no refs"
    )


def _held_table(refs: Sequence[HeldRef], snapshot: Snapshot) -> Table:
    names = {id: title(s) for id, s in snapshot.sessions.items()}
    rows = [
        (
            f"{r.type_name} {extent(r.shape, r.length)}".rstrip(),
            names.get(r.session_id, r.session_id),
            size(r.nbytes, r.estimated) + keeps(r.nbytes, r.retained),
            r.cell,
            held_by(r, snapshot),
        )
        for r in refs
    ]
    return Table(("ref", "session", "size", "made in", "held by"), rows)


def status_table(info: WorkerInfo) -> Table:
    """The worker as a table of facts."""
    if info.pid is None:
        return Table(("worker", ""), [], "no worker; the next call starts one")
    busy = f"{info.busy}, for {info.since:.1f} s" if info.busy else "nothing"
    rows = [
        ("pid", str(info.pid)),
        ("incarnation", str(info.incarnation)),
        ("runs", busy),
        ("memory", size(info.rss)),
        *_explained(info),
        ("sessions", f"{info.sessions:,}"),
        ("refs", f"{info.refs:,}"),
        ("calls", f"{info.calls:,}"),
        ("transport", info.transport),
    ]
    return Table(("worker", ""), rows)


def _explained(info: WorkerInfo) -> list[tuple[str, str]]:
    """Where the memory is."""
    if info.rss is None:
        return []
    start = info.rss_at_start or 0
    other = max(0, info.rss - info.nbytes - start)
    return [
        ("  in refs", size(info.nbytes)),
        ("  at its start", size(start)),
        ("  other", f"{size(other)} (modules, caches, freed memory)"),
    ]


def helpers_table(infos: Sequence[HelperInfo]) -> Table:
    """Registered helpers."""
    rows = [(h.name + h.signature, h.doc.partition("\n")[0]) for h in infos]
    return Table(("helper", ""), rows, "no helpers")
