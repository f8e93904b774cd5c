"""Facts about objects and types, found without running any of the user's code.

Attributes of a type are read through `type`'s own descriptors and its dictionaries, so neither a
metaclass nor a property gets to run. Sizes are given for types that are known, and for the rest
what the interpreter itself says.
"""

from __future__ import annotations

import sys
import types

from ..wire.limits import MAX_DOC, MAX_MEMBERS
from ..wire.naming import module_of, name_of
from ..wire.specials import REFUSED, SPECIALS
from .lineage import classes, derives, ids, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MRO = type.__dict__["__mro__"].__get__
_DICT = type.__dict__["__dict__"].__get__
_MODULE = type.__dict__["__module__"].__get__
mro_of, dict_of = _MRO, _DICT


def type_record(t: type, type_id: int) -> list[Any]:
    """What a kernel needs to stand in for instances of a type.

    Returns:
        `[id, name, module, kind, specials, doc, members]`. The kind is "class" for a type of types,
        "function" for functions, and "object" else. A special that the type sets to None stands
        behind `REFUSED`. A member is `[name, kind, signature or None, first paragraph of its
        docstring]`, its kind one of "method" (the first parameter is the instance or its class),
        "static", "property" and "data".
    """
    specials: dict[str, bool] = {}
    members: dict[str, Any] = {}
    for cls in reversed(_MRO(t)):
        if cls is object:
            continue
        for name, value in list(_DICT(cls).items()):
            if type(name) is not str:
                continue
            if name in SPECIALS:
                specials[name] = value is not None
            elif not name.startswith("_"):
                members[name] = value
    if specials.get("__index__") and not is_integer(t):
        del specials["__index__"]  # a handle is an index only if its object is a number
        specials = {"__int__": True, "__float__": True, **specials}  # which may fall back on it
    shown = sorted(members)[:MAX_MEMBERS]
    return [
        type_id,
        name_of(t),
        module_of(t),
        kind_of(t),
        sorted(name if has else REFUSED + name for name, has in specials.items()),
        _paragraph(_DICT(t).get("__doc__")),
        [_member(name, members[name]) for name in shown],
    ]


def kind_of(t: type) -> str:
    """What its instances are: "class", "function" or "object"."""
    if derives(t, type):
        return "class"
    return "function" if name_of(t) in _FUNCTION_TYPES else "object"


_FUNCTION_TYPES = frozenset(
    (
        "function",
        "builtin_function_or_method",
        "method",
        "cython_function_or_method",
        "ufunc",
        "_ArrayFunctionDispatcher",
    )
)
"""Types whose instances a module handle offers as functions to call."""


def is_integer(t: type) -> bool:
    """Whether its instances are integers: int is among its bases, or numpy's."""
    return any(cls is int or _is_numpy_integer(cls) for cls in _MRO(t))


def _is_numpy_integer(cls: type) -> bool:
    return name_of(cls) == "integer" and module_of(cls) == "numpy"


def _member(name: str, value: Any) -> list[Any]:
    kind = type(value)
    called = "static" if kind is staticmethod else "method"
    if kind is staticmethod or kind is classmethod:
        value = value.__func__
        kind = type(value)
    if is_function(kind):
        return [name, called, signature_of(value), _paragraph(value.__doc__)]
    if id(kind) in _BUILTIN:
        return [name, called, value.__text_signature__, _paragraph(value.__doc__)]
    if kind is property:
        return [name, "property", None, _paragraph(value.__doc__)]
    return [name, "data", None, _paragraph(value.__doc__) if id(kind) in SLOTS else None]


def is_function(t: type) -> bool:
    """Whether its instances are functions that tell their parameters: Python's and Cython's."""
    # In the dictionary of Cython's type stands the slot of its functions' `__module__`.
    return t is _FUNCTION or (name_of(t) == _CYTHON and id(type(_MODULE(t))) in SLOTS)


def builtin_name(fn: Any) -> str:
    """The qualified name of a builtin function, which asks the type that it is bound to."""
    owner = fn.__self__
    t = owner if derives(type(owner), type) else type(owner)
    name = fn.__qualname__ if type(t) is type else fn.__name__
    return name if type(name) is str else ""


def own_dict(obj: Any) -> dict[str, Any]:
    """The object's own dictionary; of one that has none, or a class, an empty one."""
    for base in mro_of(type(obj)):
        slot = dict_of(base).get("__dict__")
        if id(type(slot)) in SLOTS:
            found = slot.__get__(obj)
            return found if derives(type(found), dict) else {}
    return {}


_FUNCTION = type(name_of)
_CYTHON = "cython_function_or_method"
SLOTS = ids(types.GetSetDescriptorType, types.MemberDescriptorType)
"""The types of the attributes that C code or `__slots__` give a type, by their ids."""
_BUILTIN = ids(type(list.append), type(dict.__dict__["fromkeys"]), type(len))
_SIMPLE = ids(type(None), bool, int, float, str)


def signature_of(fn: Any) -> str:
    """The parameters of a function as text, defaults shown where they are simple."""
    for _ in range(10):
        wrapped = dict.get(fn.__dict__, "__wrapped__")
        if type(wrapped) is not _FUNCTION:
            break
        fn = wrapped
    code = fn.__code__
    names = code.co_varnames
    defaults = fn.__defaults__ or ()
    first_default = code.co_argcount - len(defaults)
    parts = []
    for i, name in enumerate(names[: code.co_argcount]):
        parts.append(name if i < first_default else _default(name, defaults[i - first_default]))
        if i + 1 == code.co_posonlyargcount:
            parts.append("/")
    position = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & 4:
        parts.append("*" + names[position])
        position += 1
    elif code.co_kwonlyargcount:
        parts.append("*")
    given = fn.__kwdefaults__ or {}
    only = names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    parts += [_default(name, given[name]) if name in given else name for name in only]
    if code.co_flags & 8:
        parts.append("**" + names[position])
    return f"({', '.join(parts)})"


def _default(name: str, value: Any) -> str:
    if id(type(value)) in _SIMPLE:
        text = repr(value)
        if len(text) <= 40:
            return f"{name}={text}"
    return f"{name}=..."


def _paragraph(doc: Any) -> str | None:
    if type(doc) is not str:
        return None
    return doc.strip().partition("\n\n")[0][:MAX_DOC]


# ---------------------------------------------------------------- facts of one object
Facts = tuple["int | None", "tuple[int, ...] | None", int, bool]


def facts(obj: Any) -> Facts:
    """`(length, shape, nbytes, estimated)`; `estimated` says that nbytes is not the whole."""
    t = type(obj)
    parts = _SIZED.get(id(t))
    if parts is not None:
        return len(obj), None, obj.__sizeof__(), parts
    module = module_of(t)
    rule = _KNOWN.get(module.partition(".")[0])
    if rule is not None:
        try:
            known = rule(t, obj)
        except Exception:
            known = None  # a library whose insides have changed: fall back to what all have
        if known is not None:
            return known
    # A type of C code sizes its own: of a generator, or an int, `object` makes any number. That of
    # a class would be the user's code.
    sizer: Any = object if _flags(t) & _HEAPTYPE else t
    return None, None, sizer.__sizeof__(obj), True


_flags: Any = type.__dict__["__flags__"].__get__
_HEAPTYPE = 1 << 9
_SIZED = {
    **dict.fromkeys(ids(list, tuple, dict, set, frozenset), True),
    **dict.fromkeys(ids(str, bytes, bytearray), False),
}
"""Whether there is more to them than their own bytes, by the ids of types."""


def _numpy_facts(t: type, obj: Any) -> Facts | None:
    numpy = sys.modules["numpy"]
    array: Any = numpy.__dict__["ndarray"] if type(numpy) is types.ModuleType else None
    if t is not array and not derives(t, array):
        return None
    shape = tuple(array.shape.__get__(obj))
    dtype = array.dtype.__get__(obj)
    return (shape[0] if shape else None), shape, array.nbytes.__get__(obj), dtype.hasobject


def _pandas_facts(t: type, obj: Any) -> Facts | None:
    frame, series, index = classes("pandas", "DataFrame", "Series", "Index")
    if t is frame:
        rows, columns = obj.shape
        return rows, (rows, columns), *_frame_bytes(obj)
    if t is series or (derives(t, index) and one_of(t, module_of(t), name_of(t))):
        return len(obj), (len(obj),), int(obj.memory_usage()), obj.dtype.kind == "O"
    return None


def _frame_bytes(frame: Any) -> tuple[int, bool]:
    """Bytes of a frame, and whether there are objects in it, which are not counted."""
    try:
        blocks = frame._mgr.arrays  # private, but memory_usage() takes a hundred times as long
    except AttributeError:
        return int(frame.memory_usage().sum()), True
    return int(sum(b.nbytes for b in blocks)), any(b.dtype.kind == "O" for b in blocks)


def _arrow_facts(t: type, obj: Any) -> Facts | None:
    if one_of(t, "pyarrow", "Table", "RecordBatch"):
        return obj.num_rows, (obj.num_rows, obj.num_columns), obj.nbytes, False
    for base in classes("pyarrow", "Array", "ChunkedArray"):
        if derives(t, base):  # whose methods the user's own may hide
            length = base.__len__(obj)
            return length, (length,), base.nbytes.__get__(obj), False
    return None


def _torch_facts(t: type, obj: Any) -> Facts | None:
    if not one_of(t, "torch", "Tensor"):
        return None
    shape = tuple(obj.shape)
    return (shape[0] if shape else None), shape, obj.element_size() * obj.nelement(), False


_KNOWN = {
    "numpy": _numpy_facts,
    "pandas": _pandas_facts,
    "pyarrow": _arrow_facts,
    "torch": _torch_facts,
}
