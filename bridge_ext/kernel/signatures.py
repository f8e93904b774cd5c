"""Signatures from the text of them that a worker sends: read as literals, never evaluated."""

from __future__ import annotations

import ast
import inspect
import re
from functools import lru_cache
from inspect import Parameter, Signature
from typing import Any

_LONGEST = 4_000
"""Characters of a signature that is read; longer ones are shown as text."""
_UNSHOWN = re.compile(r"=<[\w .]+>")
"""How the interpreter writes a default of a C function that has no literal."""


class _Unshown:
    """A default whose value is not here."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "..."


UNSHOWN = _Unshown()


def parse(text: str) -> Signature | None:
    """The signature that a text such as `"(self, a, b=1, *, c=...)"` says, or None.

    A default is the value of its literal, else `UNSHOWN`; annotations are left out. A `$` before
    the first name, which C functions have there, is dropped.
    """
    if not (text.startswith("(") and text.endswith(")")) or len(text) > _LONGEST:
        return None
    return _parsed(text)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Signature | None:
    text = text[2:] if text.startswith("($") else text[1:]
    try:
        args = _arguments(text) or _arguments(_UNSHOWN.sub("=...", text))
        return Signature(_parameters(args)) if args is not None else None
    except (ValueError, RecursionError, MemoryError):
        return None


def _arguments(text: str) -> ast.arguments | None:
    """The arguments of the one function that a text defines, if it says nothing else."""
    try:
        (node,) = ast.parse(f"def _({text}: pass").body
    except (SyntaxError, ValueError):
        return None
    if isinstance(node, ast.FunctionDef) and [type(x) for x in node.body] == [ast.Pass]:
        return node.args
    return None


def _parameters(args: ast.arguments) -> list[Parameter]:
    positional = [*args.posonlyargs, *args.args]
    required = len(positional) - len(args.defaults)
    defaults = [*[None] * required, *args.defaults]
    found = []
    for i, (arg, default) in enumerate(zip(positional, defaults, strict=True)):
        only = i < len(args.posonlyargs)
        kind = Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD
        found.append(Parameter(arg.arg, kind, default=_value(default)))
    if args.vararg is not None:
        found.append(Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL))
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=_value(default)))
    if args.kwarg is not None:
        found.append(Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD))
    return found


def _value(node: ast.expr | None) -> Any:
    if node is None:
        return Parameter.empty
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return UNSHOWN
    return UNSHOWN if value is ... else value


def without_first(signature: Signature) -> Signature:
    """The signature as a caller sees it for whom the first argument is filled in."""
    found = list(signature.parameters.values())
    if found and found[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
        del found[0]
    return signature.replace(parameters=found)


def with_first(signature: Signature) -> Signature:
    """The signature of a function that takes one more argument, before the others."""
    name = "self"
    while name in signature.parameters:
        name = f"_{name}"
    first = Parameter(name, inspect.Parameter.POSITIONAL_ONLY)
    return signature.replace(parameters=[first, *signature.parameters.values()])
