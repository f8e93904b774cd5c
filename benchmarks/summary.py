"""What the README shows of a run: how ours compares with the best other, as table and picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.analysis import Results
from benchmarks.metrics import METRICS
from benchmarks.report import NONE, number
from benchmarks.workloads import FREE, PINNED

if TYPE_CHECKING:
    from benchmarks.metrics import Metric

ROOT = Path(__file__).resolve().parent.parent
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
BEGIN, END = "<!-- measured -->", "<!-- end -->"
OUR_COLOUR, SLOWER_COLOUR, GRID_COLOUR = "#c2410c", "#64748b", "#e7e5e4"
INCHES = (8.6, 4.6)
DPI = 110
SHOWN = (
    ("scalar", "median_us", FREE, "call a small function"),
    ("scalar", "median_us", PINNED, "the same, both processes on one core"),
    ("method", "median_us", PINNED, "call a method of a held object, on one core"),
    ("objects", "create_us", PINNED, "make a held object"),
    ("objects", "drop_us", PINNED, "drop one"),
    ("stream", "item_us", FREE, "an item of a stream"),
    ("batch", "call_us", FREE, "a call in a batch"),
    ("array8", "to_gbs", FREE, "send an array of 8 MB"),
    ("array8", "from_gbs", FREE, "fetch an array of 8 MB"),
    ("array256", "to_gbs", FREE, "send an array of 256 MB"),
    ("array256", "from_gbs", FREE, "fetch an array of 256 MB"),
    ("frame", "s", FREE, "fetch a frame of 1,000,000 rows, strings as objects"),
    ("frame_arrow", "s", FREE, "the same, Arrow-backed"),
    ("start", "total_ms", FREE, "import, start, first call"),
)
"""Workload, figure and placement of each line, and what it says."""


class Line(NamedTuple):
    """One workload: what ours takes, and how many times as fast as the best other it is."""

    what: str
    times: float
    ours: str
    best: str
    floor: str


def lines(results: Results) -> list[Line]:
    """Those that ours and another have a figure for."""
    by_place = {(m.workload, m.figure, m.placement): m for m in METRICS}
    found = (
        _line(results, by_place[workload, figure, placement], what)
        for workload, figure, placement, what in SHOWN
    )
    return [line for line in found if line is not None]


def _line(results: Results, metric: Metric, what: str) -> Line | None:
    best, ours = results.best_peer(metric), results.value(metric, metric.subject)
    ratio = results.ratio(metric, metric.subject, best) if best else None
    if best is None or ours is None or not ratio:
        return None
    floor = results.value(metric, metric.floor)
    return Line(
        what,
        ratio if metric.higher else 1 / ratio,
        f"{number(ours)} {metric.unit}",
        f"{number(results.value(metric, best))} ({best})",
        NONE if floor is None else number(floor),
    )


def table(results: Results) -> str:
    """The lines as Markdown, under a sentence that says where and when they were measured."""
    data = results.data
    rows = ["| | times as fast as the best other | ours | best other | floor |"]
    rows.append("| --- | ---: | ---: | ---: | ---: |")
    rows += [
        f"| {one.what} | **{one.times:.1f}** | {one.ours} | {one.best} | {one.floor} |"
        for one in lines(results)
    ]
    when = data["started"].partition(" ")[0]
    where = f"Python {data['python']}, {data['cores']} cores, {when}, medians of {data['rounds']}"
    return f"{where} interleaved rounds.\n\n" + "\n".join(rows) + "\n"


def placed(readme: str) -> str:
    """The README with the table of the last whole run in its place.

    Raises:
        ValueError: it has no such place.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README has no {BEGIN} and {END}")
    results = Results(json.loads(LATEST.read_text(encoding="utf-8")))
    return f"{before}{begin}\n{table(results)}{end}{after}"


def draw(results: Results, path: Path) -> bool:
    """Write the picture; False if matplotlib is not installed, or there is nothing to show."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    shown = lines(results)
    if not shown:
        return False
    figure = Figure(figsize=INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    _bars(figure.add_subplot(), shown)
    figure.savefig(path, dpi=DPI)
    return True


def _bars(axis: Any, shown: list[Line]) -> None:
    """A bar from 1, which is as fast as the best other, to what ours is."""
    places = range(len(shown))
    times = [one.times for one in shown]
    colours = [OUR_COLOUR if one >= 1 else SLOWER_COLOUR for one in times]
    axis.barh(places, [one - 1 for one in times], left=1, color=colours, height=0.6, zorder=2)
    for place, one in enumerate(shown):
        ahead = one.times >= 1
        axis.annotate(
            f"{one.times:.1f}×   {one.ours}, {one.best}" if ahead else f"{one.times:.1f}×",
            (max(one.times, 1.0), place),
            (6, 0),
            textcoords="offset points",
            va="center",
            size=8,
        )
    axis.set_yticks(places, [one.what for one in shown])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xscale("log")
    axis.set_xlim(min(*times, 1.0) / 1.3, max(times) * 8)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axis.xaxis.set_minor_formatter("")
    axis.axvline(1.0, color="black", linewidth=1, zorder=3)
    axis.grid(axis="x", color=GRID_COLOUR, zorder=0)
    axis.tick_params(labelsize=8.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title("bridge_ext, times as fast as the fastest of the others", fontsize=10)


def main() -> None:
    """Put the table of the last whole run into the README."""
    readme = ROOT / "README.md"
    readme.write_text(placed(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
