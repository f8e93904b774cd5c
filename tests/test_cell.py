"""What becomes of a `%%session` line, as text."""

from __future__ import annotations

import ast

import pytest
from IPython.core.inputtransformer2 import cell_magic

from bridge_ext import cell


def lines(text):
    return text.splitlines(keepends=True)


def rewritten(text):
    return "".join(cell.rewrite(lines(text), cell_magic))


def words_of(statement):
    """What the statement hands to the magic."""
    (call,) = ast.parse(statement).body
    name, line = call.value.args
    assert ast.unparse(call.value.func) == "get_ipython().run_line_magic"
    assert name.value == "session"
    flag, _, words = line.value.partition(" ")
    assert flag == "--cell"
    return words.strip()


# ---------------------------------------------------------------- a statement
def test_the_line_becomes_a_statement_and_the_rest_stays_as_it_is():
    first, *rest = lines(rewritten("%%session shared\nx = 1\nx\n"))
    assert words_of(first) == "shared"
    assert rest == ["x = 1\n", "x\n"]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("%%session shared\nx", 0),
        ("%%session shared", 0),
        ("\n\n%%session shared\nx", 2),
        ("# a note\n%%session shared\nx", 1),
        ("# a note\n\n  # another\n%%session shared\nx", 3),
        ("    %%session shared\nx", 0),
        ("%%session\tshared\nx", 0),
        ("%%session shared  \nx", 0),
        ("%%session shared\r\nx", 0),
        ("%%session  shared\n", 0),
    ],
)
def test_blank_lines_comments_and_indentation_may_come_before_it(text, index):
    before, after = lines(text), lines(rewritten(text))
    assert words_of(after[index].strip()) == "shared"
    assert len(after) == len(before), "line numbers stay right"
    assert after[:index] == before[:index]
    assert after[index + 1 :] == before[index + 1 :]


@pytest.mark.parametrize(
    "words",
    [
        "shared --max-refs 5 --release",
        "shared --tag a=b",
        "shared --tag 'a=it is'",
        'shared --tag "a=\\"b"',
        r"shared --tag a=\n",
        "",
        "bad/id",
        "--clear",
    ],
)
def test_the_words_reach_the_magic_as_they_were_written(words):
    assert words_of(lines(rewritten(f"%%session {words}\nx"))[0]) == words


def test_a_line_without_words_becomes_a_statement_too_which_then_says_what_is_missing():
    assert words_of(lines(rewritten("%%session\nx"))[0]) == ""


def test_a_second_pass_changes_nothing():
    once = rewritten("%%session shared\nx = 1")
    assert rewritten(once) == once


# ---------------------------------------------------------------- left alone
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# %%session shared\n",
        "x = 1\n",
        "x = 1\n%%session shared\n",
        "'''\n%%session shared\n'''\n",
        "%%sessions shared\nx",
        "%%session_shared\nx",
        "%%sessionshared\nx",
        "%session shared\nx",
        "%%time\n%%session shared\nx",
        "%%session?",
        "%%session??",
        "?%%session",
        "%%session shared?",
        "%%session? \n",
    ],
)
def test_anything_else_is_left_alone(text):
    given = lines(text)
    assert cell.find(given) is None
    assert cell.rewrite(given, cell_magic) == given


# ---------------------------------------------------------------- over another cell magic
@pytest.mark.parametrize(
    "text",
    [
        "%%session shared\n%%time\nx = 1\n",
        "%%session shared\n\n%%time\nx = 1\n",
        "\n# a note\n%%session shared\n%%time\nx = 1\n",
    ],
)
def test_over_a_cell_magic_both_become_calls(text):
    head = cell.find(lines(text))
    assert head.magic_follows
    assert head.words == "shared"
    *_, first, second = lines(rewritten(text))
    assert words_of(first) == "shared"
    assert second == "get_ipython().run_cell_magic('time', '', 'x = 1\\n')\n"


def test_help_on_a_magic_in_the_second_line_is_no_cell_magic():
    assert not cell.find(lines("%%session shared\n%%time?\n")).magic_follows


def test_a_line_magic_or_percent_expression_in_the_second_line_is_no_cell_magic():
    assert not cell.find(lines("%%session shared\n%time x = 1\n")).magic_follows
    assert not cell.find(lines("%%session shared\nx %% y\n")).magic_follows


# ---------------------------------------------------------------- silencing
@pytest.mark.parametrize(
    "text", ["%bridge call f 1;", "x = 1\n%bridge new list ;\n", "%bridge refs; \n\n"]
)
def test_a_semicolon_at_the_end_of_the_last_line_shows_nothing(text):
    *before, last = cell.silence(lines(text))
    assert last == "None\n"
    assert "".join(before).strip() == text.strip()


@pytest.mark.parametrize(
    "text", ["", "%bridge call f 1", "x = %bridge call f 1;", "%bridge call f 1;\nx", "%bridges;"]
)
def test_nothing_else_is_silenced(text):
    assert cell.silence(lines(text)) == lines(text)
