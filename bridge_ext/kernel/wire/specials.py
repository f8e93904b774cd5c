"""The special methods that both sides know: a type has some of them, and its handles the same."""

from __future__ import annotations

BINARY = [
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "divmod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "xor",
    "or",
]
COMPARISONS = ["lt", "le", "eq", "ne", "gt", "ge"]
UNARY = ["neg", "pos", "abs", "invert"]
NUMBERS = ["round", "trunc", "floor", "ceil", "int", "float", "complex", "index"]
CONTAINERS = ["len", "length_hint", "iter", "next", "reversed", "contains"]
ITEMS = ["getitem", "setitem", "delitem"]
BLOCKS = ["enter", "exit", "aenter", "aexit"]
ASYNC = ["await", "aiter", "anext"]
OTHERS = ["bool", "bytes", "call", "fspath", "replace"]
SPECIALS = frozenset(
    [f"__{n}__" for n in BINARY]
    + [f"__r{n}__" for n in BINARY]
    + [f"__i{n}__" for n in BINARY if n != "divmod"]
    + [f"__{n}__" for n in [*COMPARISONS, *UNARY, *NUMBERS, *CONTAINERS, *ITEMS]]
    + [f"__{n}__" for n in [*BLOCKS, *ASYNC, *OTHERS]]
)
"""The special methods that a handle can have; it has those of them that its type has."""
REFUSED = "-"
"""Before a name in a type record: the type sets it to None, which refuses what Python would fall
back on (`__iter__ = None` with a `__getitem__`)."""
