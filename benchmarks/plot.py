"""The results as one picture: a panel for each shared workload, and one for the targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.peers import FLOORS, OURS
from benchmarks.report import number

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.analysis import Results
    from benchmarks.metrics import Metric

COLUMNS = 3
PANEL_INCHES = (4.6, 3.0)
LINE_INCHES = 0.2
"""Of the panel of the targets, which has a line for each and is as wide as the picture."""
MARGIN_LINES = 4
OUR_COLOUR, FLOOR_COLOUR, PEER_COLOUR = "#c2410c", "#a8a29e", "#64748b"
MISSED_COLOUR = "#991b1b"
ROOM = 3.0
"""An axis reaches this many times its largest value, so that the label fits."""


def draw(results: Results, path: Path) -> bool:
    """Write the picture; False where matplotlib is not installed or nothing was measured."""
    shared = [m for m in results.measured() if any(results.value(m, n) for n in results.peers)]
    judged = _shares(results)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = math.ceil(len(shared) / COLUMNS)
    heights = [PANEL_INCHES[1]] * rows
    if judged:
        heights.append(LINE_INCHES * (len(judged) + MARGIN_LINES))
    if not heights:
        return False
    figure = Figure(figsize=(PANEL_INCHES[0] * COLUMNS, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
    for place, metric in enumerate(shared):
        _compare(figure.add_subplot(grid[divmod(place, COLUMNS)]), results, metric)
    if judged:
        _targets(figure.add_subplot(grid[rows, :]), judged)
    figure.suptitle("Lower is better; logarithmic axes")
    figure.savefig(path, dpi=110)
    return True


def _compare(axis: Any, results: Results, metric: Metric) -> None:
    """One dot a subject."""
    found = {name: results.value(metric, name) for name in (*FLOORS, OURS, *results.peers)}
    known = {name: value for name, value in found.items() if value}
    _dots(axis, known, [_colour(name) for name in known])
    axis.set_title(metric.name, fontsize=10)


def _colour(name: str) -> str:
    if name == OURS:
        return OUR_COLOUR
    return FLOOR_COLOUR if name in FLOORS else PEER_COLOUR


def _shares(results: Results) -> dict[str, float]:
    """Each judged target to how much of its limit ours uses."""
    shares = {}
    for metric in results.measured():
        for verdict in results.verdicts(metric):
            if verdict.value is not None and verdict.value > 0:
                against = f" / {verdict.target.against}" if verdict.target.against else ""
                name = f"{metric.title}, {metric.placement}{against}"
                shares[name] = verdict.value / verdict.target.limit
    return shares


def _targets(axis: Any, shares: dict[str, float]) -> None:
    """One dot a target: what ours uses of it, 1 being all."""
    colours = [OUR_COLOUR if share <= 1 else MISSED_COLOUR for share in shares.values()]
    _dots(axis, shares, colours)
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_title("ours as a share of the target", fontsize=10)


def _dots(axis: Any, values: dict[str, float], colours: list[str]) -> None:
    """Dots, not bars: a logarithmic axis has no zero for a bar to start from."""
    lines = range(len(values))
    axis.scatter(list(values.values()), lines, color=colours, zorder=2)
    for line, value in zip(lines, values.values(), strict=True):
        axis.annotate(
            number(value), (value, line), (7, 0), textcoords="offset points", va="center", size=8
        )
    axis.set_yticks(lines, list(values))
    axis.margins(y=0.15)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.xaxis.set_minor_formatter("")  # less than a decade would be all labels, over each other
    axis.set_xlim(min(values.values()) / ROOM, max(values.values()) * ROOM)
    axis.grid(axis="y", color="#e7e5e4", zorder=0)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
