"""Where a cursor stands: the pure part of the notebook's completion."""

from __future__ import annotations

import pytest

from bridge_ext.completion import open_call


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("f(", ("f", "")),
        ("a.b.c(x, ke", ("a.b.c", "ke")),
        ("f(g(1), [2, 3], {4: (5,)}, k", ("f", "k")),
        ("f(g(x, y", ("g", "y")),
        ("f([x, y", ("", "y")),
        ("f(x y", ("", "y")),
        ("f(x=1, ", ("f", "")),
        ("f(x=y", ("", "y")),
        ("f(1)", ("", "")),
        ("(a, b", ("", "b")),
        ("x, y", ("", "y")),
        ("", ("", "")),
        ("f(x)(y, z", ("", "z")),
        ("größe.f(ä", ("größe.f", "ä")),
        (")]}(((", ("", "")),
    ],
)
def test_the_call_that_is_open(text, found):
    assert open_call(text) == found
