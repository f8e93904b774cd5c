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
SPECIALS = frozenset(
    [f"__{n}__" for n in BINARY]
    + [f"__r{n}__" for n in BINARY]
    + [f"__i{n}__" for n in BINARY if n != "divmod"]
    + [
        f"__{n}__"
        for n in [
            "lt",
            "le",
            "eq",
            "ne",
            "gt",
            "ge",
            "neg",
            "pos",
            "abs",
            "invert",
            "round",
            "trunc",
            "floor",
            "ceil",
            "int",
            "float",
            "complex",
            "index",
            "bool",
            "bytes",
            "len",
            "length_hint",
            "iter",
            "next",
            "reversed",
            "contains",
            "getitem",
            "setitem",
            "delitem",
            "call",
            "enter",
            "exit",
        ]
    ]
)
"""The special methods that a handle can have; it has those of them that its type has."""
