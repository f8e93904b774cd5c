"""Splitting and reading the words of `%bridge call`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_ext import BridgeUsageError
from bridge_ext.words import arguments, split, value_of


# ---------------------------------------------------------------- split
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   \t ", []),
        ("call math.sqrt 4", ["call", "math.sqrt", "4"]),
        ("  call \t math.sqrt   4  ", ["call", "math.sqrt", "4"]),
        ("'a b' c", ["'a b'", "c"]),
        ('"a b" c', ['"a b"', "c"]),
        ('"it\'s" c', ['"it\'s"', "c"]),
        (r"'it\'s' c", [r"'it\'s'", "c"]),
        (r"'back\\' c", [r"'back\\'", "c"]),
        ("'''a 'quoted' b''' c", ["'''a 'quoted' b'''", "c"]),
        ("[1, 2] (3, 4) {5, 6}", ["[1, 2]", "(3, 4)", "{5, 6}"]),
        ("[[1, 2], [3, 4]] x", ["[[1, 2], [3, 4]]", "x"]),
        ("{'a b': [1, (2, 3)]} x", ["{'a b': [1, (2, 3)]}", "x"]),
        ("['a ]', 1] x", ["['a ]', 1]", "x"]),
        ("'(' x", ["'('", "x"]),
        ("key='a b' x", ["key='a b'", "x"]),
        ("key=[1, 2] x", ["key=[1, 2]", "x"]),
        ("b'a b' r'c d'", ["b'a b'", "r'c d'"]),
        ("-1 -h --all", ["-1", "-h", "--all"]),
    ],
)
def test_words_are_split_outside_quotes_and_brackets_and_keep_their_quotes(line, words):
    assert split(line) == words


@pytest.mark.parametrize("line", ["'a b", '"a b', "x 'a", "[1, 2", "{'a': [1}", "f(1", r"'a\'"])
def test_what_is_not_closed_is_named(line):
    with pytest.raises(BridgeUsageError) as caught:
        split(line)
    assert repr(line) in str(caught.value)
    assert "missing" in str(caught.value)


@pytest.mark.parametrize("line", ["1]", "(1]", "1) 2", "]1, 2["])
def test_brackets_that_do_not_match_are_an_error(line):
    with pytest.raises(BridgeUsageError):
        arguments(split(line))


@given(st.lists(st.one_of(st.integers(), st.text(), st.lists(st.text(max_size=3)), st.binary())))
def test_reprs_of_plain_values_survive_being_split_and_read(values):
    words = split(" ".join(map(repr, values)))
    assert words == list(map(repr, values))
    assert arguments(words) == (values, {})


# ---------------------------------------------------------------- values
@pytest.mark.parametrize(
    "value",
    [
        4,
        -4,
        4.5,
        -1e-3,
        2 + 3j,
        "text",
        "it's",
        "",
        b"bytes",
        None,
        True,
        False,
        [1, [2, "x"]],
        (1,),
        (),
        {"a": 1, 2: [3]},
        {1, 2},
        10**40,
    ],
    ids=repr,
)
def test_a_literal_is_its_value(value):
    read = value_of(repr(value))
    assert read == value
    assert type(read) is type(value)


def test_a_name_is_looked_up():
    marker = object()
    assert value_of("x", {"x": marker}) is marker
    assert value_of("größe", {"größe": 3}) == 3
    assert value_of("x", {"x": None}) is None


def test_namespaces_are_searched_in_order():
    assert value_of("x", {"x": "local"}, {"x": "user"}) == "local"
    assert value_of("x", {}, {"x": "user"}) == "user"


def test_an_attribute_chain_is_followed():
    config = SimpleNamespace(model=SimpleNamespace(depth=7))
    assert value_of("config.model.depth", {"config": config}) == 7


def test_a_literal_comes_before_a_name():
    assert value_of("None", {"None": 1}) is None
    assert value_of("True", {"True": 1}) is True


def test_a_name_is_not_looked_up_among_the_builtins():
    with pytest.raises(BridgeUsageError, match="len"):
        value_of("len", {})


def test_an_unknown_name_says_how_to_write_a_string():
    with pytest.raises(BridgeUsageError) as caught:
        value_of("taxi", {"x": 1})
    assert "'taxi'" in str(caught.value)
    assert "quotes" in str(caught.value)


def test_an_attribute_that_does_not_exist_is_named():
    with pytest.raises((BridgeUsageError, AttributeError), match="nothing_here"):
        value_of("x.nothing_here", {"x": 1})


@pytest.mark.parametrize(
    "word",
    [
        "1+1",
        "x+1",
        "f(1)",
        "x[0]",
        "[x]",
        "{x}",
        "$x",
        "${x}",
        "f'{x}'",
        "taxi.csv.",
        ".csv",
        "a b",
        "-x",
        "--fetch",
        "",
        "lambda:0",
    ],
)
def test_an_expression_is_an_error_and_runs_nothing(word):
    ran = []
    with pytest.raises(BridgeUsageError) as caught:
        value_of(word, {"x": 1, "f": ran.append})
    assert repr(word) in str(caught.value)
    assert ran == []


def test_a_deeply_nested_word_is_an_error_and_no_crash():
    with pytest.raises(BridgeUsageError):
        value_of("[" * 5000 + "]" * 5000)


# ---------------------------------------------------------------- arguments
def test_positional_and_keyword_words():
    space = {"df": "the frame", "n": 3}
    assert arguments(["df", "1", "by='zone'", "top=n"], space) == (
        ["the frame", 1],
        {"by": "zone", "top": 3},
    )


def test_an_equals_sign_in_quotes_or_brackets_makes_no_keyword():
    assert arguments(["'a=1'", "{'b=2': 3}"]) == (["a=1", {"b=2": 3}], {})


def test_a_comparison_is_no_keyword():
    with pytest.raises(BridgeUsageError, match="a==1"):
        arguments(["a==1"], {"a": 1})


def test_a_keyword_may_have_any_name():
    assert arguments(["path=1", "self=2", "größe=3"]) == ([], {"path": 1, "self": 2, "größe": 3})


def test_a_keyword_value_may_contain_an_equals_sign():
    assert arguments(["query='a=1'"]) == ([], {"query": "a=1"})


def test_a_keyword_given_twice_is_named():
    with pytest.raises(BridgeUsageError, match="twice") as caught:
        arguments(["n=1", "n=2"])
    assert "n=2" in str(caught.value)


def test_a_positional_word_after_a_keyword_is_named():
    with pytest.raises(BridgeUsageError, match="'4'"):
        arguments(["n=1", "4"])


@pytest.mark.parametrize("word", ["n=", "n=$x", "n=1+1", "n=nowhere"])
def test_a_keyword_with_a_bad_value_is_an_error(word):
    with pytest.raises(BridgeUsageError):
        arguments([word], {"x": 1})
