"""The results as Markdown: ours against targets, floor and best peer; then everyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import median
from benchmarks.peers import FLOORS, OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.analysis import Results, Verdict
    from benchmarks.metrics import Metric

NONE = "-"
VERDICT = {True: "yes", False: "**no**", None: "not measured"}
HEAD = ("workload", "ours/floor", "ours/best", "target", "met", "ours", "best peer", "floor")


def markdown(results: Results) -> str:
    """The whole report."""
    parts = [_title(results), _ours(results), _everyone(results), _remarks(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def number(value: float | None) -> str:
    """Three digits or so, as a reader wants them."""
    if value is None:
        return NONE
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"


def _title(results: Results) -> str:
    data = results.data
    loads = [run["load"] for run in data["runs"]]
    quick = " Quick sizes: not for comparison." if data["quick"] else ""
    return (
        "# Benchmarks\n\n"
        f"Python {data['python']}, {data['cores']} cores, {data['started']}; medians of "
        f"{data['rounds']} interleaved rounds [lowest to highest]. *Pinned*: all processes on "
        f"one core; *free*: wherever the scheduler puts them. Ratios are medians of the ratios "
        f"within a round. Lower is better, except where ↑ says higher. "
        f"Load average before a process: {number(median(loads or [0.0]))} "
        f"(highest {number(max(loads, default=0.0))}).{quick}"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ours(results: Results) -> str:
    return "## Ours\n\n" + _table(HEAD, (_our_row(results, m) for m in results.measured()))


def _our_row(results: Results, metric: Metric) -> list[str]:
    best = results.best_peer(metric)
    verdicts = results.verdicts(metric)
    return [
        _titled(metric),
        _times(results.ratio(metric, metric.subject, metric.floor)),
        _times(results.ratio(metric, metric.subject, best)) if best else NONE,
        "; ".join(_target(metric, verdict) for verdict in verdicts) or NONE,
        "; ".join(VERDICT[verdict.met] for verdict in verdicts) or NONE,
        _spread(results, metric, metric.subject),
        f"{number(results.value(metric, best))} ({best})" if best else NONE,
        number(results.value(metric, metric.floor)),
    ]


def _titled(metric: Metric) -> str:
    return f"{metric.name} ↑" if metric.higher else metric.name


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}x"


def _spread(results: Results, metric: Metric, subject: str) -> str:
    found = results.rounds(metric, subject).values()
    if not found:
        return results.why_none(metric, subject).replace("|", "/") or NONE
    middle = number(results.value(metric, subject))
    return middle if len(found) == 1 else f"{middle} [{number(min(found))} to {number(max(found))}]"


def _target(metric: Metric, verdict: Verdict) -> str:
    limit, against = verdict.target
    bound = "at least" if verdict.higher else "at most"
    if against is None:
        return f"{bound} {number(limit)} {metric.unit}"
    return f"{bound} {limit:g}x {against} (is {_times(verdict.value)})"


def _everyone(results: Results) -> str:
    names = [name for name in (*FLOORS, OURS, *results.peers) if name in results.subjects]
    shared = [m for m in results.measured() if any(results.value(m, n) for n in results.peers)]
    if not shared:
        return ""
    rows = ([_titled(m), *(number(results.value(m, name)) for name in names)] for m in shared)
    return "## Everyone\n\n" + _table(["workload", *names], rows)


def _remarks(results: Results) -> str:
    lines = []
    for name, about in results.subjects.items():
        state = about.get("skipped") or about.get("version", "")
        lines.append(f"- {name} ({state}): {about['label']}")
        lines += [f"  - {workload}: {note}" for workload, note in about["notes"].items()]
        lines += [f"  - {reason}" for reason in _reasons(results, name)]
    return "## Who, and why a figure is missing\n\n" + "\n".join(lines)


def _reasons(results: Results, name: str) -> list[str]:
    """Each workload without a figure, once, with the reason."""
    found: dict[str, None] = {}
    for metric in results.measured():
        if "skipped" in results.subjects[name] or results.value(metric, name) is not None:
            continue
        if reason := results.why_none(metric, name):
            found[f"{metric.workload}, {metric.placement}: {reason}"] = None
    return list(found)
