"""The inspector's front end as it ships: one module, one style sheet, nothing fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bridge_ext.widgets import assets

FOLDER = Path(assets.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.js"))
ASSETS = sorted([*FOLDER.glob("*.js"), *FOLDER.glob("*.css")])
TOP = re.compile(r"^(?:export )?(?:async )?(?:class|const|function|let|var) (\w+)", re.MULTILINE)
NAMED = re.compile(r'^import \{ (.*) \} from "\./(\w+)\.js";$', re.MULTILINE)
MAX_LINES = 350

# What would make a page fetch something, or take a text of the kernel for markup.
FETCHES = (
    "http://",
    "https://",
    "@import",
    "url(",
    "fetch(",
    "XMLHttpRequest",
    "WebSocket",
    "src=",
)
MARKUP = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(")


def source(name):
    return (FOLDER / f"{name}.js").read_text(encoding="utf-8")


def exported(name):
    return set(re.findall(r"^export (?:class|const|function) (\w+)", source(name), re.MULTILINE))


def test_the_module_exports_the_entry_and_nothing_else():
    text = assets.module()
    assert re.findall(r"^export\b.*$", text, re.MULTILINE) == ["export default { render };"]
    assert not re.search(r"^import\b|\bimport\(|\bfrom \"", text, re.MULTILINE)


def test_the_module_holds_every_file_once():
    text = assets.module()
    for name in MODULES:
        assert text.count(source(name).partition("\n")[0] + "\n") == 1


def test_what_a_module_uses_comes_before_it():
    text = assets.module()
    for name in MODULES:
        for _, needed in NAMED.findall(source(name)):
            assert text.index(source(needed).partition("\n")[0]) < text.index(
                source(name).partition("\n")[0]
            )


def test_no_two_modules_declare_the_same_name():
    names = Counter(name for module in MODULES for name in TOP.findall(source(module)))
    assert {name: count for name, count in names.items() if count > 1} == {}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_the_others_export_and_uses_it(name):
    text = source(name)
    assert len(re.findall(r"^import\b", text, re.MULTILINE)) == len(NAMED.findall(text))
    for names, other in NAMED.findall(text):
        for each in names.split(", "):
            assert each in exported(other)
            assert len(re.findall(rf"\b{each}\b", text)) > 1


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_one_by_itself(name):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here to read it")
    command = [node, "--input-type=module", "--check"]
    done = subprocess.run(command, input=source(name), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ASSETS, ids=lambda path: path.name)
def test_an_asset_is_short_and_fetches_nothing_and_parses_no_markup(path):
    text = path.read_text(encoding="utf-8")
    assert [word for word in FETCHES + MARKUP if word in text] == []
    if path.suffix == ".js":
        assert text.count("\n") < MAX_LINES


def test_the_style_sheet_is_of_the_inspector_alone():
    style = re.sub(r"/\*.*?\*/", "", assets.style(), flags=re.DOTALL)
    selectors = re.findall(r"^ *([^\n{}@;]+?)\s*[{,]$", style, re.MULTILINE)
    assert len(selectors) > 50
    assert [each for each in selectors if not re.search(r"\.bx-|data-share|aria-", each)] == []


def test_the_assets_are_read_once():
    assert assets.module() is assets.module()
    assert assets.style() is assets.style()
