"""Snapshots as tables, in text and HTML: no made ids, no times, so that they compare."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..kernel.model import HelperInfo, RefInfo, SessionInfo, WorkerInfo

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(nbytes: int | None, estimated: bool = False) -> str:
    """Bytes as people read them: "1.5 MB", "~48 B"."""
    if nbytes is None:
        return "?"
    value = float(nbytes)
    unit = 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value /= 1000
        unit += 1
    number = f"{value:.0f}" if unit == 0 or value >= 99.5 else f"{value:.3g}"
    return f"{'~' if estimated else ''}{number} {_UNITS[unit]}"


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
        self.rows = [tuple(row) for row in rows]
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


def session_name(info: SessionInfo) -> str:
    """A session's id if the user gave it, else where it was made."""
    return info.id if info.kind == "named" else info.cell


def sessions_table(infos: Sequence[SessionInfo], in_force: str | None = None) -> Table:
    """Sessions; the one in force is marked."""
    rows = [
        (
            session_name(s) + (" ←" if s.id == in_force else ""),
            s.kind,
            s.status.value,
            f"{s.refs:,}",
            size(s.nbytes),
            ", ".join(s.owners),
            " ".join(f"{k}={v}" for k, v in s.tags.items()),
        )
        for s in infos
    ]
    columns = ("session", "kind", "status", "refs", "size", "owners", "tags")
    return Table(columns, rows, "no sessions")


def refs_table(infos: Sequence[RefInfo], names: dict[str, str]) -> Table:
    """Refs; `names` says how sessions are called."""
    rows = [
        (
            r.summary,
            names.get(r.session_id, r.session_id),
            size(r.nbytes, r.nbytes_estimated),
            r.cell,
            ", ".join(r.held_by) or "nothing",
            r.kept_as or "",
        )
        for r in infos
    ]
    return Table(("ref", "session", "size", "made in", "held by", "kept as"), rows, "no refs")


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
        ("sessions", f"{info.sessions:,}"),
        ("refs", f"{info.refs:,}"),
        ("calls", f"{info.calls:,}"),
        ("transport", info.transport),
    ]
    return Table(("worker", ""), rows)


def helpers_table(infos: Sequence[HelperInfo]) -> Table:
    """Registered helpers."""
    rows = [(h.name + h.signature, h.doc.partition("\n")[0]) for h in infos]
    return Table(("helper", ""), rows, "no helpers")
