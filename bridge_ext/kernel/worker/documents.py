"""What `?` shows of an object, as far as it is found without running any of its code."""

from __future__ import annotations

import sys
import types

from ..wire.limits import MAX_HELP
from ..wire.naming import module_of, name_of
from .introspect import (
    SLOTS,
    builtin_name,
    dict_of,
    is_function,
    kind_of,
    mro_of,
    signature_of,
)
from .lineage import derives, ids
from .sources import file_of, origin_of, source_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TEXT = type.__dict__["__text_signature__"].__get__
_DOCUMENTED = SLOTS | ids(
    property,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
"""Types of C, by their ids, whose instances' `__doc__` runs nothing of the user's."""


def document(obj: Any, own: dict[str, Any], kind: str, *, bound: bool, source: bool) -> list[Any]:
    """What `?` shows of an object, and `??` with its source.

    Args:
        obj: the object.
        own: its own dictionary, empty for a class.
        kind: what it is, for the answer.
        bound: whether its first argument is filled in.
        source: whether the source is wanted, which is read from a file.

    Returns:
        `[kind, full name of its type, its own full name, signature, whether the first parameter is
        filled in, docstring, file, source]`; texts are "" where nothing is known.
    """
    t = type(obj)
    if t is types.MethodType:
        obj, bound, t = obj.__func__, True, type(obj.__func__)
        own = obj.__dict__ if is_function(t) else {}
    text, bound = _signature(obj, own, bound)
    origin = origin_of(obj, own)
    return [
        kind,
        _full(module_of(t), name_of(t)),
        _name(obj),
        text,
        bound,
        _doc(obj, own)[:MAX_HELP],
        file_of(origin),
        source_of(origin)[:MAX_HELP] if source else "",
    ]


def _full(module: str, name: str) -> str:
    return name if module == "builtins" else f"{module}.{name}"


def _name(obj: Any) -> str:
    """The object's own full name, where it is a class, a function or a module."""
    t = type(obj)
    if derives(t, type):
        return _full(module_of(obj), name_of(obj))
    if is_function(t) or t is types.BuiltinFunctionType:
        module = obj.__module__
        name = obj.__qualname__ if is_function(t) else builtin_name(obj)
        return _full(module if type(module) is str else "builtins", name)
    return ""


# ---------------------------------------------------------------- signature and docstring
def _signature(obj: Any, own: dict[str, Any], bound: bool) -> tuple[str, bool]:
    """The text of a signature, and whether its first parameter is filled in."""
    t = type(obj)
    if is_function(t):
        return signature_of(obj), bound
    if id(t) in _DOCUMENTED:
        text = "" if t is property or id(t) in SLOTS else obj.__text_signature__ or ""
        return text, bound or (t is types.BuiltinFunctionType and text.startswith("($"))
    if derives(t, type):
        return _made_by(obj)
    wrapped = dict.get(own, "__wrapped__")
    if is_function(type(wrapped)):
        return signature_of(wrapped), bound
    if kind_of(t) == "function":
        return _of_ufunc(t, obj), False
    call = _in_types(t, "__call__")
    return (signature_of(call), True) if is_function(type(call)) else ("", False)


def _of_ufunc(t: type, obj: Any) -> str:
    numpy = sys.modules.get("numpy")
    if numpy is not None and t is numpy.__dict__.get("ufunc"):
        signature = getattr(obj, "__signature__", None)  # numpy's own, where it has one
        return str(signature) if signature is not None else ""
    return ""


def _made_by(cls: type) -> tuple[str, bool]:
    """How a class is called."""
    for base in mro_of(cls):
        if base is not object:
            for name in ("__init__", "__new__"):
                made = dict_of(base).get(name)
                made = made.__func__ if type(made) is staticmethod else made
                if is_function(type(made)):
                    return signature_of(made), True
            text = _TEXT(base)
            if type(text) is str:
                return text, text.startswith("($")
    return "", False


def _in_types(t: type, name: str) -> Any:
    for base in mro_of(t):
        if name in dict_of(base):
            return dict_of(base)[name]
    return None


def _doc(obj: Any, own: dict[str, Any]) -> str:
    t = type(obj)
    if is_function(t) or id(t) in _DOCUMENTED:
        doc = obj.__doc__
    else:
        doc = dict.get(own, "__doc__")
        if type(doc) is not str:
            numpy = sys.modules.get("numpy")
            if numpy is not None and t is numpy.__dict__.get("ufunc"):
                doc = obj.__doc__
            else:
                doc = _class_doc(obj if derives(t, type) else t)
    return _dedented(doc) if type(doc) is str else ""


def _class_doc(cls: type) -> Any:
    for base in mro_of(cls):
        doc = dict_of(base).get("__doc__")
        if type(doc) is str and base is not object:
            return doc
    return None


def _dedented(doc: str) -> str:
    """A docstring without the indentation that its lines but the first share."""
    lines = doc.expandtabs().rstrip().split("\n")
    indents = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    cut = min(indents, default=0)
    return "\n".join([lines[0].lstrip(), *(line[cut:].rstrip() for line in lines[1:])]).strip("\n")
