"""The text of definitions, found by their lines."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import inspect
import json.decoder
import statistics
import sys
import textwrap
import types

import pytest

from bridge_ext.kernel.worker.introspect import own_dict
from bridge_ext.kernel.worker.sources import definition, file_of, origin_of, source_of

MODULES = [argparse, collections, dataclasses, json.decoder, statistics, textwrap]


def definitions():
    """Functions and classes of the standard library, with their methods."""
    for module in MODULES:
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") == module.__name__:
                if isinstance(value, (types.FunctionType, type)):
                    yield pytest.param(value, id=f"{module.__name__}.{name}")
                if isinstance(value, type):
                    for method in vars(value).values():
                        if isinstance(method, types.FunctionType):
                            yield pytest.param(method, id=f"{value.__name__}.{method.__name__}")


@pytest.mark.parametrize("obj", list(definitions()))
def test_a_definition_is_what_inspect_finds(obj):
    try:
        expected = inspect.getsource(obj)
    except OSError:
        assert source_of(obj) == "", "it was made by exec"
        return
    assert source_of(origin_of(obj, own_dict(obj))).rstrip() == expected.rstrip()


TEXT = '''\
import x

@decorated(
    1,
)
@again
class A(
    B,
):
    """Text
that is not indented.
"""

    def f(self): pass

    # a comment
    async def g(
        self,
        a=(
            1,
        ),
    ):
        return """
no indentation
"""

def last(): return 1
value = 2
'''


@pytest.mark.parametrize(
    ("first", "last", "lines"),
    [
        (3, 25, (3, 25)),  # the class, with all that its methods know
        (14, 14, (14, 14)),
        (17, 25, (17, 25)),
        (27, 27, (27, 27)),
        (28, 28, (28, 28)),
        (0, 0, None),
        (99, 99, None),
    ],
)
def test_a_definition_ends_where_it_is_indented_no_more(first, last, lines):
    found = definition(TEXT.splitlines(), first, last)
    expected = TEXT.splitlines()[lines[0] - 1 : lines[1]] if lines else []
    assert found == expected


def test_where_things_are_from():
    assert file_of(textwrap) == textwrap.__file__
    assert file_of(textwrap.TextWrapper) == textwrap.__file__
    assert file_of(textwrap.dedent) == textwrap.__file__
    assert file_of(int) == ""
    assert file_of(collections.deque) == collections.__file__
    assert source_of(int) == ""


def test_an_object_is_from_where_its_class_is_and_a_property_from_its_function():
    wrapper = textwrap.TextWrapper()
    assert origin_of(wrapper, own_dict(wrapper)) is textwrap.TextWrapper
    assert origin_of(textwrap.TextWrapper, {}) is textwrap.TextWrapper
    mean = statistics.NormalDist.mean
    assert origin_of(mean, {}) is mean.fget
    assert origin_of(textwrap, own_dict(textwrap)) is textwrap


def test_the_source_of_a_module_is_its_file():
    with open(textwrap.__file__, encoding="utf-8") as file:
        assert source_of(textwrap) == file.read()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code knows only where its lines begin")
def test_a_text_that_is_not_indented_belongs_to_its_function(tmp_path, monkeypatch):
    (tmp_path / "sources_text.py").write_text(TEXT.replace("import x", "from sources_dec import *"))
    (tmp_path / "sources_dec.py").write_text(
        "def decorated(n):\n    return again\ndef again(x):\n    return x\nclass B: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import sources_text

    lines = TEXT.splitlines(keepends=True)
    assert source_of(sources_text.A.g) == "".join(lines[16:25])
    assert source_of(sources_text.A) in ("".join(lines[2:25]), "".join(lines[5:25]))
    for name in ("sources_text", "sources_dec"):
        monkeypatch.delitem(sys.modules, name)
