"""What the control thread tells completers of an object: names and keys, by dictionaries alone.

No descriptor of the user's, no module's `__getattr__` and no import runs: the main thread may be
in the middle of a call. Where a name would need that, the answer ends there.
"""

from __future__ import annotations

import sys
import types
from itertools import islice

from ..wire import searching
from ..wire.limits import MAX_MEMBERS
from .documents import document
from .inbox import checked_ref
from .introspect import SLOTS, dict_of, is_function, kind_of, mro_of, own_dict
from .keys import columns_of, keys_of
from .lineage import derives, ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .store import Store

    Root = list[Any] | str


class Unseen(LookupError):
    """There is nothing at a place, or nothing that can be seen without running code."""


class Seen:
    """What stands at a place.

    Attributes:
        obj: the object, or the descriptor that would give it.
        bound: whether it is a function whose first argument is filled in.
        read: whether reading the place gives `obj`; else only a descriptor knows what it gives.
    """

    __slots__ = ("bound", "obj", "read")

    def __init__(self, obj: Any, *, bound: bool = False, read: bool = True) -> None:
        self.obj, self.bound, self.read = obj, bound, read


# ---------------------------------------------------------------- finding
def find(store: Store, root: Root, path: list[str]) -> Seen:
    """Follow names from a ref or a module, through dictionaries.

    Args:
        store: holds the refs.
        root: a ref, or the name of a module.
        path: names to follow from there.

    Raises:
        Unseen: nothing is there, or a name on the way is a descriptor's.
    """
    if type(root) is str:
        found, *path = sys.modules.get(root), *path
        if found is None:
            first, *inner = root.split(".")
            found, path = sys.modules.get(first), [*inner, *path]
    else:
        ref_id = checked_ref(root)[0]
        entry = store.view(lambda sessions, refs: refs.get(ref_id))
        found = entry.obj if entry is not None else None
    if found is None:
        raise Unseen
    seen = Seen(found)
    for name in path:
        if not seen.read:
            raise Unseen
        seen = _part(seen.obj, name)
    return seen


def _part(obj: Any, name: str) -> Seen:
    t = type(obj)
    if derives(t, type):
        return _of_class(_inherited(obj, name))
    own = own_dict(obj)
    raw = _inherited(t, name)
    if type(raw) is not property and dict.__contains__(own, name):
        return Seen(dict.__getitem__(own, name))
    if derives(t, types.ModuleType):
        full = f"{dict.get(own, '__name__')}.{name}"
        if full in sys.modules:
            return Seen(sys.modules[full])
        raise Unseen
    return _of_instance(raw, obj)


def _of_class(raw: Any) -> Seen:
    """What a class gives for what stands in it."""
    if raw is _NOTHING:
        raise Unseen
    if type(raw) is staticmethod or type(raw) is classmethod:
        return Seen(raw.__func__, bound=type(raw) is classmethod)
    return Seen(raw)


def _of_instance(raw: Any, obj: Any) -> Seen:
    """What an instance gives for what stands in its class."""
    if raw is _NOTHING:
        raise Unseen
    if type(raw) is types.MemberDescriptorType:
        try:
            return Seen(raw.__get__(obj))  # a slot: C code, which only reads
        except AttributeError:
            raise Unseen from None
    if type(raw) is staticmethod:
        return Seen(raw.__func__)
    obj = raw.__func__ if type(raw) is classmethod else raw
    return Seen(obj, bound=True, read=_inherited(type(raw), "__get__") is _NOTHING)


def _inherited(cls: type, name: str) -> Any:
    for base in mro_of(cls):
        if name in dict_of(base):
            return dict_of(base)[name]
    return _NOTHING


_NOTHING = object()


# ---------------------------------------------------------------- names
def names(store: Store, root: Root, path: list[str]) -> list[list[str]]:
    """`[name, kind]` of what is at a place; of a ref itself only what its type does not have."""
    if root == "":
        return [[name, "module"] for name in searching.top_modules()]
    try:
        seen = find(store, root, path)
    except Unseen:
        return searching.names_of(".".join([root, *path])) if type(root) is str else []
    if not seen.read:
        return []
    obj = seen.obj
    kinds = {name: _kind(value) for name, value in _items(own_dict(obj))}
    if derives(type(obj), types.ModuleType):
        _add_modules(obj, kinds)
    elif derives(type(obj), type):
        _add_members(obj, kinds)
    else:
        if path or type(root) is str:
            _add_members(type(obj), kinds)
        kinds.update(dict.fromkeys(columns_of(obj), "instance"))
    public = (name for name in kinds if not name.startswith("_"))
    return [[name, kinds[name]] for name in islice(public, MAX_MEMBERS)]


def _items(own: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # `dict.items`, because a subclass may have methods of the user's; `dict.copy` would use them.
    whole: Any = own
    pairs = dict.items(whole) if derives(type(own), dict) else own.items()
    try:
        return [(name, value) for name, value in list(pairs) if type(name) is str]
    except RuntimeError:
        return []  # another thread has written to it meanwhile


def _add_modules(module: Any, kinds: dict[str, str]) -> None:
    """Submodules that were not imported, and what `__all__` promises."""
    own = own_dict(module)
    promised: Any = dict.get(own, "__all__", ())
    for name in promised if type(promised) is list or type(promised) is tuple else ():
        if type(name) is str:
            kinds.setdefault(name, "instance")
    path: Any = dict.get(own, "__path__")
    for name in searching.submodules(list.copy(path) if derives(type(path), list) else ()):
        kinds.setdefault(name, "module")


def _add_members(cls: type, kinds: dict[str, str]) -> None:
    for base in mro_of(cls):
        if base is not object:
            for name, value in _items(dict_of(base)):
                kinds.setdefault(name, _kind(value))


def _kind(value: Any) -> str:
    t = type(value)
    if derives(t, types.ModuleType):
        return "module"
    if t is property or id(t) in SLOTS:
        return "property"
    if is_function(t) or id(t) in _METHODS:
        return "function"
    return {"class": "class", "function": "function"}.get(kind_of(t), "instance")


_METHODS = ids(
    *(staticmethod, classmethod, types.MethodDescriptorType, types.ClassMethodDescriptorType)
)


# ---------------------------------------------------------------- the requests
def _keys(store: Store, root: Root, path: list[str]) -> list[Any]:
    try:
        seen = find(store, root, path)
    except Unseen:
        return []
    return keys_of(seen.obj) if seen.read else []


def _help(store: Store, root: Root, path: list[str], source: bool) -> list[Any] | None:
    try:
        seen = find(store, root, path)
    except Unseen:
        return None
    kind = _kind(seen.obj)
    return document(seen.obj, own_dict(seen.obj), kind, bound=seen.bound, source=source)


LOOKS: dict[str, Callable[..., Any]] = {"names": names, "keys": _keys, "help": _help}
"""The requests of completers, by their verb."""
