"""The results as pictures: ours beside floor and peers, the targets; and what scales."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.metrics import SCALES
from benchmarks.peers import FLOORS, OURS
from benchmarks.report import number
from benchmarks.workloads import FREE, PINNED

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.analysis import Results
    from benchmarks.metrics import Metric, Scale

COLUMNS = 3
PANEL_INCHES = (4.6, 2.9)
SCALE_INCHES = (5.2, 2.4)
LINE_INCHES = 0.2
"""Of the panel of the targets, which has a line for each and is as wide as the picture."""
MARGIN_LINES = 4
DPI = 110
OUR_COLOUR, FLOOR_COLOUR, PEER_COLOUR = "#c2410c", "#a8a29e", "#64748b"
MISSED_COLOUR = "#991b1b"
KERNEL_COLOUR, WORKER_COLOUR = "#0369a1", "#c2410c"
ROOM = 3.0
"""An axis reaches this many times its largest value, so that the label fits."""
HEADROOM = 1.3
"""The same of an axis that starts at zero."""
FEWEST_LINES = 6
"""An axis has room for so many: two dots would be far apart."""
BOTH = ("scalar",)
"""The workload that is shown in both placements, which differ most there."""


def draw(results: Results, path: Path) -> list[Path]:
    """Write the pictures, the second with ``-scale`` in its name; those that there was data for.

    None where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return []
    drawn = []
    second = path.with_name(f"{path.stem}-scale{path.suffix}")
    for fill, file in ((_compared, path), (_scaled, second)):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        if fill(figure, results):
            figure.savefig(file, dpi=DPI)
            drawn.append(file)
    return drawn


# --- Beside the others ------------------------------------------------------------------------


def _compared(figure: Any, results: Results) -> bool:
    """A panel for each shared workload, and one for the targets."""
    shared = _panels(results)
    judged = _shares(results)
    rows = math.ceil(len(shared) / COLUMNS)
    heights = [PANEL_INCHES[1] * rows, LINE_INCHES * (len(judged) + MARGIN_LINES)]
    if not (shared or judged):
        return False
    figure.set_size_inches(PANEL_INCHES[0] * COLUMNS, sum(heights))
    # parts of their own: the long names of the targets would narrow the panels above them
    upper, lower = figure.subfigures(2, 1, height_ratios=[max(each, 0.1) for each in heights])
    for place, metric in enumerate(shared):
        _compare(upper.add_subplot(rows, COLUMNS, place + 1), results, metric)
    if judged:
        _targets(lower.add_subplot(), judged)
    figure.suptitle("The best at the top; ours in red, floors in light grey; logarithmic axes")
    return True


def _panels(results: Results) -> list[Metric]:
    """What both ours and a peer have a figure for, in one placement: pinned, where it was."""
    shared = [
        metric
        for metric in results.measured()
        if results.value(metric, OURS) and any(results.value(metric, n) for n in results.peers)
    ]
    pinned = {(m.workload, m.figure) for m in shared if m.placement == PINNED}
    return [
        metric
        for metric in shared
        if metric.placement != FREE
        or metric.workload in BOTH
        or (metric.workload, metric.figure) not in pinned
    ]


def _compare(axis: Any, results: Results, metric: Metric) -> None:
    """One dot a subject, the best first."""
    found = {name: results.value(metric, name) for name in (*FLOORS, OURS, *results.peers)}
    known = {name: value for name, value in found.items() if value}
    ordered = dict(sorted(known.items(), key=lambda item: item[1], reverse=metric.higher))
    _dots(axis, ordered, [_colour(name) for name in ordered])
    for label, name in zip(axis.get_yticklabels(), ordered, strict=True):
        label.set_color(_colour(name) if name == OURS else "black")
        label.set_fontweight("bold" if name == OURS else "normal")
    better = "higher" if metric.higher else "lower"
    axis.set_title(f"{metric.name}\n{better} is better", fontsize=9)


def _colour(name: str) -> str:
    if name == OURS:
        return OUR_COLOUR
    return FLOOR_COLOUR if name in FLOORS else PEER_COLOUR


def _shares(results: Results) -> dict[str, float]:
    """Each judged target to how much of its limit ours uses."""
    shares = {}
    for metric in results.measured():
        for verdict in results.verdicts(metric):
            if verdict.share:
                against = f" / {verdict.target.against}" if verdict.target.against else ""
                shares[f"{metric.title}, {metric.placement}{against}"] = verdict.share
    return shares


def _targets(axis: Any, shares: dict[str, float]) -> None:
    """One dot a target: what ours uses of it, 1 being all."""
    colours = [OUR_COLOUR if share <= 1 else MISSED_COLOUR for share in shares.values()]
    _dots(axis, shares, colours)
    axis.axvspan(1.0, axis.get_xlim()[1], color="#fee2e2", zorder=-1)
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_title("ours as a share of the target: met up to 1", fontsize=10)


def _dots(axis: Any, values: dict[str, float], colours: list[str]) -> None:
    """Dots, not bars: a logarithmic axis has no zero for a bar to start from."""
    lines = range(len(values))
    axis.scatter(list(values.values()), lines, color=colours, zorder=2)
    for line, value in zip(lines, values.values(), strict=True):
        axis.annotate(
            number(value), (value, line), (7, 0), textcoords="offset points", va="center", size=8
        )
    axis.set_yticks(lines, list(values))
    axis.set_ylim(max(len(values), FEWEST_LINES) - 0.3, -0.7)
    axis.set_xscale("log")
    axis.xaxis.set_minor_formatter("")  # less than a decade would be all labels, over each other
    axis.set_xlim(min(values.values()) / ROOM, max(values.values()) * ROOM)
    axis.grid(axis="y", color="#e7e5e4", zorder=0)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


# --- What scales ------------------------------------------------------------------------------


def _scaled(figure: Any, results: Results) -> bool:
    """A row for each workload of scale: the time of one, and the memory of both processes."""
    known = [(scale, runs) for scale in SCALES if (runs := results.curves(scale))]
    if not known:
        return False
    figure.set_size_inches(SCALE_INCHES[0] * 2, SCALE_INCHES[1] * len(known))
    axes = figure.subplots(len(known), 2, squeeze=False)
    for (scale, runs), (left, right) in zip(known, axes, strict=True):
        _times(left, scale, runs)
        _memory(right, scale, runs)
    figure.suptitle("Window by window, a line a round; flat time is what is wanted")
    return True


def _times(axis: Any, scale: Scale, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        axis.plot(_ends(run, run["curve_us"]), run["curve_us"], color=OUR_COLOUR, marker=".")
    ratios = ", ".join(f"{run['ratio']:.2f}" for run in runs)
    _axis(axis, f"{scale.noun}, {scale.placement}, us\nlast / first quarter: {ratios}")


def _memory(axis: Any, scale: Scale, runs: list[dict[str, Any]]) -> None:
    for number_, run in enumerate(runs):
        for name, colour in (("kernel", KERNEL_COLOUR), ("worker", WORKER_COLOUR)):
            held = run[f"curve_{name}_mb"][1:]
            axis.plot(_ends(run, held), held, color=colour, label=None if number_ else name)
    _axis(axis, "resident, MB")
    axis.legend(fontsize=8, frameon=False)


def _ends(run: dict[str, Any], values: list[float]) -> list[float]:
    """How many there were at the end of each window."""
    return [run["window"] * (number_ + 1) for number_ in range(len(values))]


def _axis(axis: Any, title: str) -> None:
    """From zero: a curve that is flat looks flat."""
    axis.set_ylim(0, axis.get_ylim()[1] * HEADROOM)
    axis.set_xlim(0)
    axis.set_title(title, fontsize=9)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter("{x:,.0f}")
    axis.grid(axis="y", color="#e7e5e4", zorder=0)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
