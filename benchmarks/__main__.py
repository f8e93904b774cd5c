"""The command line: measures, then writes JSON, Markdown and a plot under benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks import peers, summary
from benchmarks.analysis import Results
from benchmarks.harness import Harness, Options, missing, scratch
from benchmarks.plot import draw
from benchmarks.report import markdown
from benchmarks.workloads import WORKLOADS

OUTPUT = Path(__file__).resolve().parent / "results"


def names(text: str, known: list[str]) -> tuple[str, ...]:
    """Comma-separated ``text`` as names, in the order of ``known``."""
    asked = text.split(",")
    if unknown := [name for name in asked if name not in known]:
        raise argparse.ArgumentTypeError(f"no such name: {unknown}; known: {', '.join(known)}")
    return tuple(name for name in known if name in asked)


def parser() -> argparse.ArgumentParser:
    """The options, for parsing and for help."""
    found = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    subjects, workloads = list(peers.SUBJECTS), list(WORKLOADS)
    add = found.add_argument
    add("--list", action="store_true", help="name the subjects and say which can run")
    add("--only", type=lambda text: names(text, subjects), help="subjects, comma-separated")
    add(
        "--workloads",
        type=lambda text: names(text, workloads),
        help=f"comma-separated, of {','.join(workloads)}",
    )
    add("--rounds", type=int, default=3, help="interleaved rounds (%(default)s)")
    add("--quick", action="store_true", help="small sizes, to see that everything runs")
    add("--core", type=int, help="where pinned processes run (default: the last core allowed)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    add("--logs", type=Path, metavar="DIR", help="keep what the subjects print")
    add("--report", type=Path, metavar="FILE", help="measure nothing: report these figures")
    return found


def main() -> None:
    """Parse, measure, report."""
    args = parser().parse_args()
    if args.list:
        show_list()
    elif args.report:
        write(json.loads(args.report.read_text()), args.report.stem, None)
    else:
        whole = not (args.quick or args.only or args.workloads)
        write(measure(args), "latest" if whole else "partial", args.json)


def show_list() -> None:
    """One line a subject."""
    for name in peers.SUBJECTS:
        print(f"{name:12} {missing(name) or peers.load(name).label}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for; an interrupt ends it and reports what there is."""
    options = Options(
        subjects=args.only or tuple(peers.SUBJECTS),
        workloads=args.workloads or tuple(WORKLOADS),
        rounds=args.rounds,
        quick=args.quick,
        core=last_core() if args.core is None else args.core,
    )
    with scratch() as directory:
        harness = Harness(options, Path(directory))
        try:
            harness.run(show)
        except KeyboardInterrupt:
            print("interrupted: reporting what was measured", flush=True)
        if args.logs:
            args.logs.mkdir(parents=True, exist_ok=True)
            for log in Path(directory).glob("*.log"):
                shutil.copy(log, args.logs)
    return harness.results


def last_core() -> int:
    """The last core that this process may use; the first tends to serve interrupts."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def show(record: dict[str, Any]) -> None:
    """One line a process, as it ends."""
    parts = []
    for workload, outcome in record["outcomes"].items():
        figures = outcome.get("figures")
        text = f"{next(iter(figures.values())):.4g}" if figures else next(iter(outcome.values()))
        parts.append(f"{workload} {text}")
    print(
        f"[{record['round']}] {record['subject']}, {record['placement']}, "
        f"load {record['load']:.2f}: {'; '.join(parts)}",
        flush=True,
    )


def write(data: dict[str, Any], stem: str, copy: Path | None) -> None:
    """Print the report and write it, the figures and the plot under ``OUTPUT``."""
    OUTPUT.mkdir(exist_ok=True)
    figures = json.dumps(data, indent=1) + "\n"
    for path in (OUTPUT / f"{stem}.json", copy):
        if path:
            path.write_text(figures)
    results = Results(data)
    text = markdown(results)
    drawn = draw(results, OUTPUT / f"{stem}.png")
    overview = OUTPUT / f"{stem}-summary.png"
    if summary.draw(results, overview):
        drawn.append(overview)
    pictures = "".join(f"\n![{path.stem}]({path.name})\n" for path in drawn)
    (OUTPUT / f"{stem}.md").write_text(text + pictures)
    print(text)
    written = [f"{stem}.json", f"{stem}.md", *(path.name for path in drawn)]
    print(f"written in {OUTPUT}: {', '.join(written)}{'' if drawn else ' (no plot)'}")


if __name__ == "__main__":
    main()
