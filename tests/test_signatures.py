"""Signatures read from the text that a worker sends."""

from __future__ import annotations

import inspect
import os
from inspect import Parameter, Signature

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_ext.kernel.signatures import UNSHOWN, parse, with_first, without_first


@pytest.mark.parametrize(
    "text",
    [
        "()",
        "(self)",
        "(self, a, b=1, *, c='x', **kw)",
        "(a, /, b, *args, c=None)",
        "(*, only)",
        "(a=-1, b=[1, {'k': (2.5, None)}], c=b'x', d=True)",
        "(größe, *Ω)",
        "(a='($', b='=<x>')",
    ],
)
def test_a_signature_is_what_its_text_says(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("($self, key, default=None, /)", "(self, key, default=None, /)"),
        ("($module, /, *args)", "(module, /, *args)"),
        ("(x, y=<unrepresentable>, /)", "(x, y=..., /)"),
        ("(size=sys.maxsize)", "(size=...)"),
        ("(a=...)", "(a=...)"),
        ("(a: int = 4, *rest: str)", "(a=4, *rest)"),
    ],
)
def test_what_c_functions_say_of_themselves_is_read(text, shown):
    assert str(parse(text)) == shown


def test_a_default_without_a_literal_is_no_value():
    parameters = parse("(a=object(), b=...)").parameters
    assert parameters["a"].default is UNSHOWN
    assert parameters["b"].default is UNSHOWN
    assert Parameter.empty not in (parameters["a"].default, parameters["b"].default)


def test_nothing_of_a_text_is_evaluated(tmp_path):
    target = tmp_path / "ran"
    call = f"__import__('os').mkdir({str(target)!r})"
    texts = [
        f"(a={call})",
        f"(a=[{call}])",
        f"(a: {call} = 1)",
        f"(a) -> {call}",
        f"(a): {call}\nif (1)",
        f"(a=(lambda: {call})())",
        f"(a=f'{{{call}}}')",
    ]
    for text in texts:
        str(parse(text))
    assert not os.path.exists(target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "self",
        "(",
        "(a",
        "a)",
        "(a): pass\ndef g()",
        "(a): x = 1; (b)",
        "(a, a)",
        "(a=1, b)",
        "(1)",
        "([x])",
        "(a\0)",
        "(" * 3000 + ")",
        "(a=" + "(" * 1900 + ")" * 1900 + ")",
        "(" + "a, " * 5000 + ")",
        "(None)",
    ],
)
def test_what_is_no_signature_is_none(text):
    assert parse(text) is None


@given(st.text(alphabet="(),=*/:ab1'\"[]{}. \n$<>-#\\", max_size=40))
def test_no_text_raises(text):
    assert isinstance(parse(f"({text})"), (Signature, type(None)))


NAMES = st.lists(
    st.sampled_from(["a", "b", "c", "d", "e", "f", "self", "x1"]), unique=True, max_size=6
)
HARD = "a$ ,=<>()'\"\\\n\xe9"
LITERALS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(HARD, max_size=9), st.binary(max_size=9)
)


@given(NAMES, st.data())
def test_a_signature_survives_the_way_as_text(names, data):
    kinds = sorted(data.draw(st.sampled_from(list(inspect._ParameterKind))) for _ in names)
    parameters, defaulted = [], False
    for name, kind in zip(names, kinds, strict=True):
        variadic = kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        if variadic and any(p.kind is kind for p in parameters):
            continue
        needs = defaulted and kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        has = not variadic and (needs or data.draw(st.booleans()))
        defaulted = defaulted or has
        default = data.draw(LITERALS) if has else Parameter.empty
        parameters.append(Parameter(name, kind, default=default))
    signature = Signature(parameters)
    assert parse(str(signature)) == signature


def test_the_first_parameter_is_dropped_or_added():
    assert str(without_first(parse("(self, a, /, b)"))) == "(a, /, b)"
    assert str(without_first(parse("(*args)"))) == "(*args)"
    assert str(without_first(parse("(*, a)"))) == "(*, a)"
    assert str(without_first(parse("()"))) == "()"
    for text in ("(x, y=1)", "(self, _self)", "()", "(*, k)"):
        assert without_first(with_first(parse(text))) == parse(text)
