"""What the documents say of the code is what the code says."""

import doctest
import re
from pathlib import Path

import matrix

import bridge_ext
from bridge_ext import batch, calls
from bridge_ext.kernel.backends import stopping
from bridge_ext.kernel.status import TRANSITIONS

ROOT = Path(__file__).parent.parent


def test_the_picture_of_a_sessions_life_is_the_table_in_the_code():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("| status | may become |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\w+) \| ?(.*?) ?\|$", table, re.MULTILINE)
    shown = {status: set(filter(None, after.split(", "))) for status, after in rows}
    assert shown == {s.value: {t.value for t in after} for s, after in TRANSITIONS.items()}


def test_the_picture_of_how_a_call_is_stopped_is_the_table_in_the_code():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("| phase | interrupt | deadline | grace over |")[2].partition("\n\n")[0]
    row = re.compile(r"^\| (\w[\w ]*) \|(.*?)\|(.*?)\|(.*?)\|$", re.MULTILINE)
    shown = {}
    for phase, *cells in row.findall(table):
        for what, cell in zip(stopping.Happening, cells, strict=True):
            if cell.strip():
                action, _, after = cell.strip().partition(", ")
                shown[phase, what] = (after, action)
    assert shown == {
        (phase.value, what): (after.value, action.value)
        for (phase, what), (after, action) in stopping.TABLE.items()
    }


def test_the_page_of_what_was_broken_is_what_was_measured_of_the_tables():
    """`make torture`, then `python tests/matrix.py`, where a table has changed."""
    measured = matrix.taken_over()
    cells = {
        "kill": matrix.every(matrix.STATES, matrix.ENDS),
        "crash": matrix.every(matrix.FAULTS, matrix.MOMENTS),
    }
    for name, pairs in cells.items():
        assert set(measured[name]) == {" | ".join(pair) for pair in pairs}
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert matrix.section(text) == matrix.page(measured)


def test_every_module_of_the_kernel_side_has_its_line():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    small = {"__init__", "call", "configuration", "display", "helpers", "inspection", "replies"}
    for file in (ROOT / "bridge_ext" / "kernel").glob("*.py"):
        assert file.stem in small or re.search(rf"\b{file.stem}\b", text), file.stem


def test_links_between_the_documents_lead_somewhere():
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_the_readmes_first_example_is_true(local, tmp_path):
    table = tmp_path / "taxi.csv"
    table.write_text("zone,fare\na,1\na,3\nb,5\n")
    df = local.call("pandas.read_csv", str(table))
    assert isinstance(df, bridge_ext.Ref)
    means = df.groupby("zone").fare.mean()
    assert local.fetch(means).to_dict() == {"a": 2.0, "b": 5.0}
    assert "<table" in df._repr_mimebundle_()["text/html"]


def test_every_public_name_is_there_and_documented():
    for name in bridge_ext.__all__:
        assert getattr(bridge_ext, name).__doc__, name
    for name in dir(bridge_ext.Bridge):
        if not name.startswith("_"):
            assert getattr(bridge_ext.Bridge, name).__doc__, name


def test_the_examples_in_docstrings_run():
    for module in (batch, calls):
        found = doctest.testmod(module)
        assert found.attempted
        assert found.failed == 0


def test_the_readme_shows_what_was_measured(monkeypatch):
    """`make bench` writes the results; `python -m benchmarks.summary` puts the table here."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import summary

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert summary.placed(text) == text
    assert (ROOT / "benchmarks/results/latest-summary.png").stat().st_size > 10_000
