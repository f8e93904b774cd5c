"""Tab in a notebook: the words of the magics, and what follows dots and brackets after a handle.

These are matchers of IPython's completer, and do the same with jedi and without. What a handle
itself has, IPython finds by itself: `dir(ref)`, and keys by `_ipython_key_completions_`.
"""

from __future__ import annotations

import builtins
import re
import sys
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from .commands import call_parser, release_parser, session_parser
from .kernel import completion
from .kernel.completion import Place
from .kernel.handles import Ref
from .kernel.wire import searching
from .magics import _CALLS, _COMMANDS
from .subjects import find_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from inspect import Signature

    from IPython.core.completer import CompletionContext

    from .commands import Parser
    from .extension import Extension

    Offer = Iterable[tuple[str, str]]
    Matcher = Callable[[Any, CompletionContext], dict[str, Any]]

_MAGIC = re.compile(r"(?:^|[=\s])%{1,2}(bridge|session)[ \t]+(.*)$")
_CHAIN = re.compile(r"(?:^|[^\w.)\]}'\"])((?:[^\W\d]\w*\.)+)([^\W\d]\w*)?$")
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*$")
_WORD = re.compile(r"(?:[^\W\d]\w*)?$")
_PRIORITY = 200
"""Before IPython's own, which have 0 and 100: what these match is not Python code."""


def _matcher(identifier: str) -> Callable[[Matcher], Matcher]:
    decorate: Any = context_matcher(identifier=identifier, priority=_PRIORITY)

    def decorator(matcher: Matcher) -> Matcher:
        decorated: Matcher = decorate(matcher)
        return decorated

    return decorator


class Completer:
    """Completes in one shell until it is removed."""

    def __init__(self, extension: Extension) -> None:
        self._extension, self._shell = extension, extension.shell
        self._matchers = self._shell.Completer.custom_matchers
        self._ours = [self.magics, self.chains, self.arguments]
        self._matchers += self._ours

    def remove(self) -> None:
        """Take the matchers away."""
        for matcher in self._ours:
            if matcher in self._matchers:
                self._matchers.remove(matcher)

    @_matcher("bridge_ext.magics")
    def magics(self, context: CompletionContext) -> dict[str, Any]:
        """The words of `%bridge`, `%session` and `%%session`."""
        match = _MAGIC.search(context.text_until_cursor)
        if match is None:
            return _result((), "")
        *before, word = re.split(r"\s+", match[2])
        offer = self._bridge if match[1] == "bridge" else self._session
        return _result(offer(before, word), word)

    @_matcher("bridge_ext.chains")
    def chains(self, context: CompletionContext) -> dict[str, Any]:
        """Names behind a module's handle, and those of a ref's parts: `np.li`, `ref.part.na`."""
        match = _CHAIN.search(context.text_until_cursor)
        if match is None:
            return _result((), "")
        subject = find_subject(match[1][:-1].split("."), self._shell.user_ns)
        if subject is None or (subject.handle is not None and not subject.place.path):
            return _result((), "")
        return _result(completion.names(subject.place), match[2] or "")

    @_matcher("bridge_ext.arguments")
    def arguments(self, context: CompletionContext) -> dict[str, Any]:
        """`name=` in a call of what is remote: `np.linalg.norm(x, ax`."""
        name, word = open_call(context.text_until_cursor)
        subject = find_subject(name.split("."), self._shell.user_ns) if name else None
        offer = _named(subject.signature()) if subject is not None else ()
        return {**_result(offer, word), "suppress": False}

    # ------------------------------------------------------------ the words of a magic
    def _bridge(self, before: list[str], word: str) -> Offer:
        if not before:
            return [(command, "magic") for command in _COMMANDS]
        command, *rest = before
        if command in _CALLS:
            return self._call(call_parser(command), rest, word)
        if command == "release":
            return [*self._ids(), *self._variables(), *_options(release_parser(), word)]
        return self._ids() if command == "refs" and not rest else ()

    def _call(self, parser: Parser, before: list[str], word: str) -> Offer:
        """The options, the path, and then variables and the function's keywords."""
        option = _open_option(parser, before)
        if option:
            return self._named_ids() if option in ("-s", "--session") else ()
        name, equals, _ = word.partition("=")
        if name == "--session" and equals:
            return [(f"--session={id}", kind) for id, kind in self._named_ids()]
        if word.startswith("-"):
            return _options(parser, word)
        path = _first_word(parser, before)
        return self._arguments(path, word) if path else paths(self._client, word)

    def _arguments(self, path: str, word: str) -> Offer:
        key, equals, _ = word.partition("=")
        hidden = self._shell.user_ns_hidden
        names = [n for n in list(self._shell.user_ns) if n not in hidden and not n.startswith("_")]
        if equals:
            return [(f"{key}={name}", "instance") for name in names]
        return [*((name, "instance") for name in names), *_keywords(self._client, path)]

    def _session(self, before: list[str], word: str) -> Offer:
        parser = session_parser()
        option = _open_option(parser, before)
        if option:
            action = parser._option_string_actions[option]
            return [(choice, "param") for choice in action.choices or ()]
        if word.startswith("-"):
            return _options(parser, word)
        return () if _first_word(parser, before) else self._named_ids()

    # ------------------------------------------------------------ what exists
    @property
    def _client(self) -> Any:
        return self._extension.bridge._client

    def _ids(self) -> Offer:
        return [(session.id, "session") for session in self._client.sessions.all()]

    def _named_ids(self) -> Offer:
        sessions = self._client.sessions.all()
        return [(session.id, "session") for session in sessions if not session.auto]

    def _variables(self) -> Offer:
        names = list(self._shell.user_ns.items())
        return [(n, "instance") for n, x in names if isinstance(x, Ref) and not n.startswith("_")]


def _result(offer: Offer, fragment: str) -> dict[str, Any]:
    """What fits the fragment; if anything does, nobody else is asked."""
    found = dict(sorted(pair for pair in offer if pair[0].startswith(fragment)))
    return {
        "completions": [SimpleCompletion(text=text, type=kind) for text, kind in found.items()],
        "matched_fragment": fragment,
        "suppress": bool(found),
    }


def _options(parser: Parser, word: str) -> Offer:
    if not word.startswith("-"):
        return ()
    hidden = {"--cell"}
    return [(option, "param") for option in parser._option_string_actions if option not in hidden]


def _open_option(parser: Parser, before: list[str]) -> str:
    """The option whose value comes next, or ""."""
    last = before[-1] if before else ""
    action = parser._option_string_actions.get(last)
    return last if action is not None and action.nargs != 0 else ""


def _first_word(parser: Parser, before: list[str]) -> str:
    """The first word that is no option and no option's value, or ""."""
    words = (w for i, w in enumerate(before) if not _open_option(parser, before[:i]))
    return next((w for w in words if not w.startswith("-")), "")


def open_call(text: str) -> tuple[str, str]:
    """The dotted name of the call that is open at the end of a text, and the word begun in it."""
    begun = _WORD.search(text)
    word = begun[0] if begun is not None else ""
    before = text[: len(text) - len(word)].rstrip()
    depth = 0
    for at in range(len(before) - 1, -1, -1) if before.endswith(("(", ",")) else ():
        if before[at] in ")]}":
            depth += 1
        elif before[at] in "([{" and depth:
            depth -= 1
        elif before[at] in "([{":
            name = _DOTTED.search(before[:at]) if before[at] == "(" else None
            return (name[0] if name else ""), word
    return "", word


# ---------------------------------------------------------------- paths
def paths(client: Any, word: str) -> list[tuple[str, str]]:
    """What a path that begins with these letters can go on with: nothing is imported for it."""
    place = _place(client, word)
    if place is None:
        return [*_in(Place(client, "")), *_builtins()]
    begun = word[: max(word.rfind("."), word.rfind(":")) + 1]
    return [(begun + name, kind) for name, kind in _in(place)]


def _place(client: Any, word: str) -> Place | None:
    """Where the last name of a path is; None for a path of one name."""
    module, colon, inner = word.partition(":")
    if colon:
        return Place(client, module, tuple(inner.split(".")[:-1]))
    first, *rest = word.split(".")
    return Place(client, first, tuple(rest[:-1])) if rest else None


def _keywords(client: Any, path: str) -> list[tuple[str, str]]:
    """`name=` for the parameters of the function at a path."""
    place = _place(client, path) or Place(client, "builtins")
    name = path[max(path.rfind("."), path.rfind(":")) + 1 :]
    found = completion.help_on(Place(client, place.root, (*place.path, name)))
    return _named(found.signature if found is not None else None)


def _named(signature: Signature | None) -> list[tuple[str, str]]:
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    parameters = signature.parameters.values() if signature is not None else ()
    return [(f"{p.name}=", "param") for p in parameters if p.kind in kinds]


def _in(place: Place) -> list[tuple[str, str]]:
    """What the worker knows of a module; without an answer, what is found on the path here."""
    answer = place.ask("names")
    if answer is not None:
        return completion.checked_names(answer)
    if not place.root:
        return [(name, "module") for name in searching.top_modules()]
    full = ".".join([str(place.root), *place.path])
    module = sys.modules.get(full)
    imported = module.__dict__ if type(module) is type(sys) else {}
    here = [[name, "instance"] for name in imported]
    return completion.checked_names([*here, *searching.names_of(full)])


def _builtins() -> list[tuple[str, str]]:
    found = ((name, getattr(builtins, name)) for name in dir(builtins) if name[0].islower())
    return [(n, "class" if isinstance(x, type) else "function") for n, x in found if callable(x)]
