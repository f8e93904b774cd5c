"""Reads what a run measured: medians over the rounds, ratios within them, targets met or not."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.measure import median
from benchmarks.metrics import METRICS, Metric, Scale, Target
from benchmarks.peers import BEST, FLOORS, OURS


class Verdict(NamedTuple):
    """A target, what ours came to in its terms, and whether that is within the limit."""

    target: Target
    value: float | None
    higher: bool

    @property
    def met(self) -> bool | None:
        """None where there is no figure to judge."""
        share = self.share
        return None if share is None else share <= 1

    @property
    def share(self) -> float | None:
        """How much of the limit ours uses; 1 is all."""
        if self.value is None:
            return None
        of, limit = self.value, self.target.limit
        if self.higher:
            of, limit = limit, of
        return of / limit if limit else float("inf")


class Results:
    """The recorded runs, by metric and subject."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.subjects: dict[str, dict[str, Any]] = data["subjects"]

    @property
    def peers(self) -> list[str]:
        """The subjects that ours is compared with."""
        ours = {metric.subject for metric in METRICS}
        return [name for name in self.subjects if name not in ours and name not in FLOORS]

    def outcomes(self, metric: Metric, subject: str) -> dict[int, dict[str, Any]]:
        """Round to what the metric's workload came to."""
        return {
            run["round"]: run["outcomes"][metric.workload]
            for run in self.data["runs"]
            if run["subject"] == subject
            and run["placement"] == metric.placement
            and metric.workload in run["outcomes"]
        }

    def rounds(self, metric: Metric, subject: str) -> dict[int, float]:
        """Round to figure, where it was measured."""
        return {
            number: outcome["figures"][metric.figure]
            for number, outcome in self.outcomes(metric, subject).items()
            if metric.figure in outcome.get("figures", {})
        }

    def value(self, metric: Metric, subject: str) -> float | None:
        """The median over the rounds."""
        found = self.rounds(metric, subject)
        return median(list(found.values())) if found else None

    def why_none(self, metric: Metric, subject: str) -> str:
        """Why there is no figure: what failed, what the subject lacks, or nothing was run."""
        if "skipped" in self.subjects.get(subject, {}):
            return str(self.subjects[subject]["skipped"])
        for outcome in self.outcomes(metric, subject).values():
            if reason := outcome.get("error") or outcome.get("lacks"):
                return str(reason)
        return ""

    def best_peer(self, metric: Metric) -> str | None:
        """The peer with the best median."""
        found = {name: self.value(metric, name) for name in self.peers}
        known = {name: value for name, value in found.items() if value is not None}
        best = max if metric.higher else min
        return best(known, key=known.__getitem__) if known else None

    def ratio(self, metric: Metric, subject: str, other: str) -> float | None:
        """The median over the rounds of the ratio within a round.

        What slows one round down slows both, so this repeats better than a ratio of medians.
        """
        mine, theirs = self.rounds(metric, subject), self.rounds(metric, other)
        ratios = [mine[number] / theirs[number] for number in mine if theirs.get(number)]
        return median(ratios) if ratios else None

    def verdicts(self, metric: Metric) -> list[Verdict]:
        """Each target of the metric, judged."""
        return [
            Verdict(target, self._judged(metric, target), metric.higher)
            for target in metric.targets
        ]

    def _judged(self, metric: Metric, target: Target) -> float | None:
        """What ours came to, in the target's terms."""
        if target.against is None:
            return self.value(metric, metric.subject)
        other = self.best_peer(metric) if target.against == BEST else target.against
        return self.ratio(metric, metric.subject, other) if other else None

    def curves(self, scale: Scale) -> list[dict[str, Any]]:
        """The figures of each round of a workload of ``scale``, its curves among them."""
        return [
            run["outcomes"][scale.workload]["figures"]
            for run in self.data["runs"]
            if run["subject"] == scale.subject
            and "figures" in run["outcomes"].get(scale.workload, {})
        ]

    def measured(self) -> list[Metric]:
        """The metrics for which any subject has a figure, or ours has a failure to show."""
        return [metric for metric in METRICS if self._any(metric)]

    def _any(self, metric: Metric) -> bool:
        names = {*self.subjects, OURS}
        return any(self.outcomes(metric, name) for name in names)
