"""The figures that are reported, and what ours must come to."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.peers import BEST, FLOOR, MEMCPY
from benchmarks.workloads import FREE, PINNED


class Target(NamedTuple):
    """``limit`` in the metric's unit; or as many times the figure of ``against``.

    That is a subject, or ``BEST``. At most so much, or at least where higher is better.
    """

    limit: float
    against: str | None = None


class Metric(NamedTuple):
    """One figure of one workload in one placement, lower is better unless it is said to be higher.

    ``subject`` is who is judged by the targets, ``floor`` what no peer can beat.
    """

    title: str
    workload: str
    figure: str
    unit: str
    placement: str = PINNED
    targets: tuple[Target, ...] = ()
    subject: str = "bridge"
    higher: bool = False
    floor: str = FLOOR

    @property
    def name(self) -> str:
        """Title, placement and unit, as the tables and the plot say it."""
        return f"{self.title}, {self.placement}, {self.unit}"


PINNED_CALL_TARGETS = (Target(1.6, FLOOR), Target(0.9, BEST))
FREE_CALL_TARGETS = (Target(0.8, BEST),)
OBJECT_TARGETS = (Target(0.2, BEST),)
START_TARGETS = (Target(1.2, "managers"),)
STREAM_TARGETS = (Target(0.5, BEST),)
BATCH_TARGETS = (Target(1 / 3, BEST),)
COPY_TARGETS = (Target(0.45, MEMCPY), Target(3.0, BEST))
VIEW_TARGETS = (Target(0.8, MEMCPY),)
OBJECT_FRAME_TARGETS = (Target(0.7, BEST),)
ARROW_FRAME_TARGETS = (Target(0.4, BEST),)


def _flows(placement: str) -> tuple[Metric, ...]:
    """What many small things cost, and the other ways to call."""
    return (
        Metric("an item of a stream", "stream", "item_us", "us", placement, STREAM_TARGETS),
        Metric("a call in a batch", "batch", "call_us", "us", placement, BATCH_TARGETS),
        Metric("1 MB of printed lines", "output", "mb_ms", "ms", placement, (Target(20.0),)),
        Metric("await acall", "acall", "ratio", "times the call", placement, (Target(3.0),)),
        Metric("a callback", "callback", "ratio", "times the call", placement),
        Metric("SIGINT during time.sleep", "interrupt", "sleep_ms", "ms", placement),
        Metric("SIGINT during a Python loop", "interrupt", "loop_ms", "ms", placement),
    )


def _arrays(workload: str, size: str) -> tuple[Metric, ...]:
    """GB/s there and back."""

    def rate(title: str, figure: str, targets: tuple[Target, ...]) -> Metric:
        return Metric(
            f"{size} {title}", workload, figure, "GB/s", FREE, targets, higher=True, floor=MEMCPY
        )

    return (
        rate("array to the worker", "to_gbs", COPY_TARGETS),
        rate("array from the worker", "from_gbs", COPY_TARGETS),
        rate("array from the worker, as a view", "view_gbs", VIEW_TARGETS),
    )


def _frames() -> tuple[Metric, ...]:
    """Seconds for 1,000,000 rows of 5 floats and a string."""
    objects, arrow = "frame, strings as objects", "frame, Arrow-backed strings"
    return (
        Metric(objects, "frame", "s", "s", FREE, OBJECT_FRAME_TARGETS),
        Metric(f"{objects}, as a view", "frame", "view_s", "s", FREE),
        Metric(arrow, "frame_arrow", "s", "s", FREE, ARROW_FRAME_TARGETS),
        Metric(f"{arrow}, as a view", "frame_arrow", "view_s", "s", FREE),
    )


def _outstanding() -> tuple[Metric, ...]:
    """100,000 at once, and the memory that they took at their peak."""
    calls, drop = "100,000 calls outstanding", "100,000 handles made, dropped"
    return (
        Metric(calls, "outstanding", "calls_s", "s", FREE),
        Metric(f"{calls}: kernel's peak", "outstanding", "calls_kernel_mb", "MB", FREE),
        Metric(f"{calls}: worker's peak", "outstanding", "calls_worker_mb", "MB", FREE),
        Metric("100,000 handles dropped at once", "outstanding", "drop_s", "s", FREE),
        Metric(f"{drop}: kernel's peak", "outstanding", "drop_kernel_mb", "MB", FREE),
        Metric(f"{drop}: worker's peak", "outstanding", "drop_worker_mb", "MB", FREE),
    )


class Scale(NamedTuple):
    """What a workload of ``scale`` does so many times; ``noun`` is one of them."""

    workload: str
    noun: str
    placement: str = PINNED
    subject: str = "bridge"


SCALES = (
    Scale("scale_sessions", "a session of 100 refs, of 10,000"),
    Scale("scale_refs", "a ref, of 1,000,000 in one session"),
    Scale("scale_threads", "a call, of 64 threads at once", FREE),
    Scale("scale_cells", "a cell with a call, of 1,000", PINNED, "notebook"),
)


def _scales(scale: Scale) -> tuple[Metric, ...]:
    """Whether it is flat, and what one takes."""

    def metric(title: str, figure: str, unit: str) -> Metric:
        name = f"{scale.noun}: {title}"
        return Metric(name, scale.workload, figure, unit, scale.placement, (), scale.subject)

    return (
        metric("last quarter", "ratio", "times the first"),
        metric("last window", "last_ratio", "times the first"),
        metric("time", "each_us", "us"),
        metric("kernel", "kernel_kb", "kB"),
        metric("worker", "worker_kb", "kB"),
    )


METRICS = (
    Metric("scalar call", "scalar", "median_us", "us", PINNED, PINNED_CALL_TARGETS),
    Metric("scalar call", "scalar", "median_us", "us", FREE, FREE_CALL_TARGETS),
    Metric("method of a held object", "method", "median_us", "us", PINNED, (Target(0.9, BEST),)),
    Metric("make a held object", "objects", "create_us", "us", PINNED, OBJECT_TARGETS),
    Metric("drop a held object", "objects", "drop_us", "us", PINNED, OBJECT_TARGETS),
    Metric("import, start, first call", "start", "total_ms", "ms", PINNED, START_TARGETS),
    Metric("import, start, first call", "start", "total_ms", "ms", FREE, START_TARGETS),
    Metric("idle worker, resident", "memory", "rss_mb", "MB"),
    Metric("idle worker, proportional", "memory", "pss_mb", "MB", PINNED, (Target(1.0, BEST),)),
    Metric("all processes but the client, proportional", "memory", "all_pss_mb", "MB"),
    Metric("release 10,000 refs", "sessions", "alone_ms", "ms", PINNED, (Target(10.0),)),
    Metric("the same beside 200,000", "sessions", "beside_ms", "ms", PINNED, (Target(10.0),)),
    Metric("release 1,000,000 refs", "many", "release_ms", "ms", PINNED, (Target(1000.0),)),
    Metric("make a ref, 20,000 a call", "many", "make_us", "us"),
    *_flows(PINNED),
    *_flows(FREE),
    *_arrays("array8", "8 MB"),
    *_arrays("array256", "256 MB"),
    *_frames(),
    *_outstanding(),
    *(metric for scale in SCALES for metric in _scales(scale)),
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
