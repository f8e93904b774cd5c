"""The options of the magics."""

from __future__ import annotations

import pytest

from bridge_ext import BridgeUsageError
from bridge_ext.commands import (
    HelpShown,
    call_parser,
    release_parser,
    session_parser,
    split_options,
)


# ---------------------------------------------------------------- %bridge call
@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        ("math.sqrt 4", (None, None, False), ["math.sqrt", "4"]),
        ("-s shared math.sqrt 4", ("shared", None, False), ["math.sqrt", "4"]),
        ("--session shared math.sqrt", ("shared", None, False), ["math.sqrt"]),
        ("--session=shared math.sqrt", ("shared", None, False), ["math.sqrt"]),
        ("-t 2.5 math.sqrt", (None, 2.5, False), ["math.sqrt"]),
        ("--timeout 2 math.sqrt", (None, 2.0, False), ["math.sqrt"]),
        ("-f math.sqrt", (None, None, True), ["math.sqrt"]),
        ("--fetch math.sqrt", (None, None, True), ["math.sqrt"]),
        ("-f -t 1 -s a math.sqrt 4", ("a", 1.0, True), ["math.sqrt", "4"]),
        ("-sa math.sqrt", ("a", None, False), ["math.sqrt"]),
    ],
)
def test_options_of_a_call_stand_before_the_path(words, options, rest):
    given, left = split_options(call_parser("call"), words.split())
    assert (given.session, given.timeout, given.fetch) == options
    assert left == rest


def test_what_stands_after_the_path_is_the_functions():
    given, left = split_options(call_parser("call"), ["math.sqrt", "-4", "-s", "-h", "--fetch"])
    assert (given.session, given.fetch) == (None, False)
    assert left == ["math.sqrt", "-4", "-s", "-h", "--fetch"]


@pytest.mark.parametrize("command", ["call", "new", "attr"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--nope math.sqrt", "--nope"),
        ("-x math.sqrt", "-x"),
        ("-t soon math.sqrt", "soon"),
        ("-t", "-t"),
        ("-s", "-s"),
        ("--sess a math.sqrt", "--sess"),
        ("-f=1 math.sqrt", "-f"),
    ],
)
def test_a_wrong_option_is_named_with_where_to_read_on(command, words, named):
    with pytest.raises(BridgeUsageError) as caught:
        split_options(call_parser(command), words.split())
    assert named in str(caught.value)
    assert f"%bridge {command} -h" in str(caught.value)


# ---------------------------------------------------------------- %bridge release
def test_release_takes_names_or_all():
    assert release_parser().parse_args(["a", "b"]).names == ["a", "b"]
    assert release_parser().parse_args(["--all"]).all
    assert not release_parser().parse_args(["a"]).all


@pytest.mark.parametrize("words", ["--everything", "-a", "a --al"])
def test_a_wrong_option_of_release_is_an_error(words):
    with pytest.raises(BridgeUsageError, match="%bridge release -h"):
        release_parser().parse_args(words.split())


# ---------------------------------------------------------------- %%session
def test_a_session_line_with_everything():
    line = "shared --ttl 1.5 --max-refs 7 --overflow evict --tag a=b --tag c=d=e --tag f= --release"
    given = session_parser().parse_args(line.split())
    assert given.id == "shared"
    assert given.ttl == 1.5
    assert given.max_refs == 7
    assert given.overflow == "evict"
    assert given.tag == [("a", "b"), ("c", "d=e"), ("f", "")]
    assert given.release
    assert not given.clear


def test_what_is_not_given_is_none():
    given = session_parser().parse_args(["shared"])
    assert (given.ttl, given.max_refs, given.overflow, given.tag) == (None, None, None, [])
    assert not given.release


def test_parsers_share_no_state():
    session_parser().parse_args(["a", "--tag", "k=v"])
    assert session_parser().parse_args(["a"]).tag == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("shared --nope", "--nope"),
        ("shared --ttl soon", "soon"),
        ("shared --max-refs 1.5", "1.5"),
        ("shared --overflow drop", "drop"),
        ("shared --tag novalue", "novalue"),
        ("shared --tag =v", "=v"),
        ("shared --tag", "--tag"),
        ("shared --rel", "--rel"),
        ("shared other", "other"),
    ],
)
def test_a_wrong_word_of_session_is_named(words, named):
    with pytest.raises(BridgeUsageError) as caught:
        session_parser().parse_args(words.split())
    assert named in str(caught.value)
    assert "%session -h" in str(caught.value)


def test_a_wrong_choice_lists_the_right_ones():
    with pytest.raises(BridgeUsageError, match=r"error.*evict"):
        session_parser().parse_args(["shared", "--overflow", "drop"])


# ---------------------------------------------------------------- help
@pytest.mark.parametrize(
    ("parser", "said"),
    [
        (call_parser("call"), ["usage: %bridge call [-s ID] [-t SECONDS] [-f] PATH", "--timeout"]),
        (call_parser("new"), ["usage: %bridge new", "PATH"]),
        (call_parser("attr"), ["usage: %bridge attr", "PATH"]),
        (release_parser(), ["usage: %bridge release NAME", "--all"]),
        (session_parser(), ["%%session ID", "%session --clear", "--max-refs N", "--tag K=V"]),
    ],
    ids=["call", "new", "attr", "release", "session"],
)
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_printed_and_is_no_error(parser, said, word, capsys):
    with pytest.raises(HelpShown):
        parser.parse_args([word])
    shown = capsys.readouterr()
    assert shown.err == ""
    for words in said:
        assert words in shown.out
    assert "%%bridge" not in shown.out
    assert "%%%" not in shown.out


def test_what_the_rewritten_cell_says_to_the_magic_is_not_in_the_help(capsys):
    with pytest.raises(HelpShown):
        session_parser().parse_args(["-h"])
    assert "--cell" not in capsys.readouterr().out
