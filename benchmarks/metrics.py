"""The figures that are reported, and what ours must come to."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.peers import FLOOR
from benchmarks.workloads import FREE, PINNED


class Target(NamedTuple):
    """At most ``limit``, in the metric's unit; or times the figure of the subject ``against``."""

    limit: float
    against: str | None = None


class Metric(NamedTuple):
    """One figure of one workload in one placement. ``subject`` is who is judged by the targets."""

    title: str
    workload: str
    figure: str
    unit: str
    placement: str = PINNED
    targets: tuple[Target, ...] = ()
    subject: str = "bridge"

    @property
    def name(self) -> str:
        """Title, placement and unit, as the tables and the plot say it."""
        return f"{self.title}, {self.placement}, {self.unit}"


CALL_TARGETS = (Target(2.0, FLOOR), Target(1.0, "managers"))
OBJECT_TARGETS = (Target(60.0),)


def _flows(placement: str) -> tuple[Metric, ...]:
    """What many small things cost, and the other ways to call."""
    return (
        # 1,000,000 items, 100,000 calls and 50 MB a second
        Metric("an item of a stream", "stream", "item_us", "us", placement, (Target(1.0),)),
        Metric("a call in a batch", "batch", "call_us", "us", placement, (Target(10.0),)),
        Metric("1 MB of printed lines", "output", "mb_ms", "ms", placement, (Target(20.0),)),
        Metric("await acall", "acall", "ratio", "times the call", placement, (Target(3.0),)),
        Metric("a callback", "callback", "ratio", "times the call", placement),
        Metric("SIGINT during time.sleep", "interrupt", "sleep_ms", "ms", placement),
        Metric("SIGINT during a Python loop", "interrupt", "loop_ms", "ms", placement),
    )


METRICS = (
    Metric("scalar call", "scalar", "median_us", "us", PINNED, CALL_TARGETS),
    Metric("scalar call", "scalar", "median_us", "us", FREE, CALL_TARGETS),
    Metric("method of a held object", "method", "median_us", "us"),
    Metric("make a held object", "objects", "create_us", "us", PINNED, OBJECT_TARGETS),
    Metric("drop a held object", "objects", "drop_us", "us", PINNED, OBJECT_TARGETS),
    Metric("import, start, first call", "start", "total_ms", "ms", PINNED),
    Metric("import, start, first call", "start", "total_ms", "ms", FREE),
    Metric("idle worker, resident", "memory", "rss_mb", "MB", PINNED, (Target(25.0),)),
    Metric("idle worker, proportional", "memory", "pss_mb", "MB"),
    Metric("all processes but the client, proportional", "memory", "all_pss_mb", "MB"),
    Metric("release 10,000 refs", "sessions", "alone_ms", "ms", PINNED, (Target(10.0),)),
    Metric("the same beside 200,000", "sessions", "beside_ms", "ms", PINNED, (Target(10.0),)),
    Metric("release 1,000,000 refs", "many", "release_ms", "ms", PINNED, (Target(1000.0),)),
    Metric("make a ref, 20,000 a call", "many", "make_us", "us"),
    *_flows(PINNED),
    *_flows(FREE),
    *(
        metric
        for placement in (PINNED, FREE)
        for metric in (
            Metric(
                "hooks of a cell without a call",
                "extension",
                "hooks_us",
                "us",
                placement,
                (Target(5.0),),
                "notebook",
            ),
            Metric(
                "its input transformers",
                "extension",
                "transform_us",
                "us",
                placement,
                subject="notebook",
            ),
            Metric(
                "load_ext and the first call",
                "extension",
                "first_call_ms",
                "ms",
                placement,
                (Target(300.0),),
                "notebook",
            ),
            Metric(
                "import bridge_ext",
                "import",
                "ms",
                "ms",
                placement,
                (Target(10.0),),
                "notebook",
            ),
        )
    ),
)
