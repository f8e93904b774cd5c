"""The command lines of the magics: one argparse parser each, for parsing, help and docs.

Mistakes raise BridgeUsageError: a `UsageError` of IPython would leave the cell "ok" in notebooks
that are run by nbclient, papermill or nbval.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from .kernel.errors import BridgeUsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of leaving the process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise BridgeUsageError."""
        raise BridgeUsageError(f"%{self.prog}: {message}. `%{self.prog} -h` explains the words.")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise HelpShown: only `-h` comes here."""
        raise HelpShown


class HelpShown(Exception):
    """Help was asked for and has been printed."""


def split_options(parser: Parser, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options that stand before the first other word, and the words from there on."""
    takes = {
        option: action.nargs != 0 for action in parser._actions for option in action.option_strings
    }
    end = 0
    while end < len(words) and words[end].startswith("-"):
        name = words[end].partition("=")[0]
        end += 2 if takes.get(name) and "=" not in words[end] else 1
    return parser.parse_args(list(words[:end])), list(words[end:])


def call_parser(command: str) -> Parser:
    """`%bridge call`, `new` and `attr`: options before the path."""
    what = {
        "call": "Call a function in the worker.",
        "new": "Make an instance in the worker; always a ref.",
        "attr": "Read a module attribute in the worker.",
    }[command]
    words = "" if command == "attr" else " [WORD ...]"
    parser = Parser(
        prog=f"bridge {command}",
        usage=f"%%bridge {command} [-s ID] [-t SECONDS] [-f] PATH{words}",
        description=what,
        epilog=(
            "PATH is 'module.name', 'module:Class.method' or the name of a builtin.\n"
            "Each WORD is a Python literal, or a variable or attribute of one; key=value gives a\n"
            "keyword argument. `x = %bridge call ...` assigns, a trailing ; silences."
        ),
    )
    parser.add_argument("-s", "--session", metavar="ID", help="run in this session")
    parser.add_argument(
        "-t", "--timeout", metavar="SECONDS", type=float, help="give up after that time"
    )
    parser.add_argument("-f", "--fetch", action="store_true", help="bring the result by value")
    return parser


def listing_parser(command: str) -> Parser:
    """`%bridge sessions` and `refs`."""
    what = "sessions" if command == "sessions" else "refs of one session, or of all"
    words = "" if command == "sessions" else " [ID]"
    parser = Parser(
        prog=f"bridge {command}",
        usage=f"%%bridge {command} [-l]{words}",
        description=f"List the {what}.",
    )
    parser.add_argument(
        "-l", "--times", action="store_true", help="also how old and how long idle they are"
    )
    if command == "refs":
        parser.add_argument("id", metavar="ID", nargs="?", help="a session's id")
    return parser


def release_parser() -> Parser:
    """`%bridge release`."""
    parser = Parser(
        prog="bridge release",
        usage="%%bridge release NAME ... | --all",
        description="Free refs and sessions.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a variable, or a session's id")
    parser.add_argument("--all", action="store_true", help="free everything")
    return parser


def session_parser() -> Parser:
    """`%%session` and `%session`."""
    parser = Parser(
        prog="session",
        usage=(
            "%%%%session ID [--ttl SECONDS] [--max-refs N] [--overflow error|evict] "
            "[--tag K=V] [--release]   (a cell)\n       %%session ID | %%session | "
            "%%session --clear   (sticky)"
        ),
        description="Run a cell, or the cells from here on, in a named session.",
    )
    parser.add_argument("id", metavar="ID", nargs="?", help="the session; made if there is none")
    parser.add_argument("--ttl", metavar="SECONDS", type=float, help="idle time until it expires")
    parser.add_argument("--max-refs", metavar="N", type=int, help="how many refs it may hold")
    parser.add_argument("--overflow", choices=("error", "evict"), help="what a full session does")
    parser.add_argument(
        "--tag", metavar="K=V", action="append", default=[], type=_tag, help="a tag; repeatable"
    )
    parser.add_argument("--release", action="store_true", help="end the session with this cell")
    parser.add_argument("--clear", action="store_true", help="put no session in force any more")
    parser.add_argument("--cell", action="store_true", help=argparse.SUPPRESS)
    return parser


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is no K=V")
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return key, value[1:-1] if quoted else value
