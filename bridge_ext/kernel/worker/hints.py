"""What helps with frequent errors: shapes that do not fit, memory that ran out, types of arrays.

Decided by the exception's type and by where it was raised, never by its text alone: whoever writes
`raise ValueError("operands could not be broadcast …")` gets no hint. The text is read for numbers
once that is settled. Nothing is imported.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from opcode import opmap

from ..wire.naming import module_of, mro_of, name_of
from .introspect import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any

    Shape = tuple[int, ...]

_RAISE = opmap["RAISE_VARARGS"]
_LIBRARIES = ("numpy", "pandas")
_OURS = __name__.partition(".")[0]
_NAMES = 200
"""Variables of a frame that are looked at."""
_SHOWN = 4
"""Arrays that a hint names."""
_FREE = "%bridge refs lists what is held here, and bridge.release(ref) frees it."


def hint_for(error: BaseException) -> str | None:
    """A note to add to an error, or None; never raises."""
    try:
        for of in mro_of(type(error)):
            rule = _RULES.get((module_of(of), name_of(of)))
            if rule is not None and _is_genuine(of):
                found = rule(error)
                if found:
                    return f"bridge: {found}"
        return None
    except Exception:
        return None  # a library whose insides have changed: the error itself must arrive


def _is_genuine(of: type) -> bool:
    """Whether it is the type of that name, and not one that only says so."""
    module = sys.modules.get(module_of(of))
    return module is not None and vars(module).get(name_of(of)) is of


# ---------------------------------------------------------------- where it was raised
def _innermost(error: BaseException) -> tuple[FrameType, int] | None:
    entry = error.__traceback__
    if entry is None:
        return None
    while entry.tb_next is not None:
        entry = entry.tb_next
    return entry.tb_frame, entry.tb_lasti


def _from_library(error: BaseException, libraries: Iterable[str]) -> bool:
    """Whether a library raised it: in a module of its own, or in compiled code that was called.

    Compiled code leaves no frame, but the frame that called it was not at a `raise`.
    """
    where = _innermost(error)
    if where is None:
        return False
    frame, lasti = where
    top = str(frame.f_globals.get("__name__")).partition(".")[0]
    code = frame.f_code.co_code
    return top in libraries or not (0 <= lasti < len(code) and code[lasti] == _RAISE)


def _arrays(error: BaseException) -> list[tuple[str, Shape, Any]]:
    """Name, shape and element type of the arrays at hand in the user's innermost frame."""
    frames = []
    entry = error.__traceback__
    while entry is not None:
        top = str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if top not in _LIBRARIES:
            frames.append((entry.tb_frame, top))
        entry = entry.tb_next
    if not frames:
        return []
    frame, top = frames[-1]
    named = _called_with(frame.f_locals) if top == _OURS else frame.f_locals.items()
    found = []
    for name, obj in islice(_unpacked(named), _NAMES):
        shape = facts(obj)[1]
        if shape is not None:
            found.append((name, shape, getattr(obj, "dtype", None)))
    return found


def _unpacked(named: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """The same, and the items of lists and tuples among them."""
    for name, obj in named:
        yield name, obj
        if type(obj) in (list, tuple):
            for number, item in enumerate(obj[:_SHOWN]):
                yield f"{name}[{number}]", item


def _called_with(variables: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """What the user's code was called with, in a frame of the bridge."""
    payload = variables.get("payload")
    if "target" in variables:
        yield "the object", variables["target"]
    if type(payload) is dict:
        for number, arg in enumerate(payload.get("args", ()), 1):
            yield f"argument {number}", arg
        yield from payload.get("kwargs", {}).items()


# ---------------------------------------------------------------- shapes
_SHAPE = r"\((?:\d+(?:, ?\d+)*)?,?\)"


def _shape(text: str) -> Shape:
    return tuple(map(int, re.findall(r"\d+", text)))


def _broadcast(*texts: str) -> str:
    shapes = [_shape(t) for t in texts]
    for sizes in zip(*(reversed(s) for s in shapes), strict=False):
        if len({n for n in sizes if n != 1}) > 1:
            against = " against ".join(map(str, sizes))
            return f"aligned at their last dimensions, sizes must be equal or 1: here {against}"
    return "aligned at their last dimensions, sizes must be equal or 1"


def _into(source: str, into: str) -> str:
    how = _broadcast(source, into)
    return f"a value of shape {source} does not fill a place of shape {into}: {how}"


def _reshape(size: str, shape: str) -> str:
    count = 1
    for n in _shape(shape):
        count *= n
    return f"shape {shape} has {count:,} elements, the array has {int(size):,}"


def _product(second: str, first: str) -> str:
    return (
        f"in a product the last dimension of the first operand and the last but one (or the only "
        f"one) of the second are equal: here {first} and {second}"
    )


def _aligned(left: str, right: str, first: str, second: str) -> str:
    return _product(second, first)


def _joined(axis: str, first: str, second: str) -> str:
    return (
        f"arrays that are joined differ in the joined dimension only: along dimension {axis} "
        f"they have {first} and {second}"
    )


_SHAPES: list[tuple[str, Callable[..., str]]] = [
    (
        rf"operands could not be broadcast together with shapes ({_SHAPE}) ({_SHAPE}) ",
        lambda a, b: f"shapes {a} and {b}: {_broadcast(a, b)}",
    ),
    (
        rf"operands could not be broadcast together with shapes ({_SHAPE}) ({_SHAPE}) ({_SHAPE}) ",
        lambda a, b, c: f"shapes {a}, {b} and {c}: {_broadcast(a, b, c)}",
    ),
    (
        rf"shape mismatch: objects cannot be broadcast to a single shape\.  Mismatch is between "
        rf"arg \d+ with shape ({_SHAPE}) and arg \d+ with shape ({_SHAPE})\.",
        lambda a, b: f"shapes {a} and {b}: {_broadcast(a, b)}",
    ),
    (
        rf"non-broadcastable output operand with shape ({_SHAPE}) doesn't match the broadcast "
        rf"shape ({_SHAPE})",
        lambda out, made: f"the result has shape {made} and cannot be stored in one of {out}",
    ),
    (rf"could not broadcast input array from shape ({_SHAPE}) into shape ({_SHAPE})", _into),
    (rf"cannot reshape array of size (\d+) into shape ({_SHAPE})", _reshape),
    (
        rf"shapes ({_SHAPE}) and ({_SHAPE}) not aligned: (\d+) \(dim \d+\) != (\d+) \(dim \d+\)",
        _aligned,
    ),
    (
        r"matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature "
        r"\S+ \(size (\d+) is different from (\d+)\)",
        _product,
    ),
    (
        r"all the input array dimensions except for the concatenation axis must match exactly, but "
        r"along dimension (\d+), the array at index \d+ has size (\d+) and the array at index \d+ "
        r"has size (\d+)",
        _joined,
    ),
    (
        rf"Dot product shape mismatch, ({_SHAPE}) vs ({_SHAPE})",
        lambda a, b: f"shapes {a} and {b}: {_product(str(_shape(b)[0]), str(_shape(a)[-1]))}",
    ),
    (
        rf"Shape of passed values is ({_SHAPE}), indices imply ({_SHAPE})",
        lambda values, labels: f"the values have shape {values}, the labels are for {labels}",
    ),
    (
        r"Length of values \((\d+)\) does not match length of index \((\d+)\)",
        lambda values, index: f"a column of {values} values does not fit {index} rows",
    ),
]
"""Texts of numpy and of pandas that say how shapes differ, and what to add to each."""


def _shapes(error: BaseException) -> str | None:
    """For a ValueError of numpy or pandas: which shapes do not fit, and what has them."""
    if type(error) is not ValueError or len(error.args) != 1 or "numpy" not in sys.modules:
        return None
    text = error.args[0]
    if type(text) is not str or not _from_library(error, _LIBRARIES):
        return None
    for pattern, explain in _SHAPES:
        found = re.fullmatch(pattern, text)
        if found is not None:
            return f"{explain(*found.groups())}.{_those(error, lambda a: str(a[1]))}"
    return None


def _those(error: BaseException, show: Callable[[tuple[str, Shape, Any]], str]) -> str:
    """The arrays at hand, in a sentence of its own."""
    named = [f"{array[0]} is {show(array)}" for array in _arrays(error)]
    more = ", …" if len(named) > _SHOWN else ""
    return f" At hand: {', '.join(named[:_SHOWN])}{more}." if named else ""


# ---------------------------------------------------------------- memory
def _size(nbytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if nbytes < 1024:
            return f"{nbytes:,.0f} {unit}" if unit == "bytes" else f"{nbytes:,.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:,.1f} TiB"


def _limit() -> str:
    """The memory limit of this worker; it was set if `resource` was ever loaded."""
    resource = sys.modules.get("resource")
    if resource is None:
        return ""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return f" (memory_limit is {_size(limit)})" if limit != resource.RLIM_INFINITY else ""


def _array_memory(error: Any) -> str:
    nbytes = error.dtype.itemsize
    for n in error.shape:
        nbytes *= n
    return (
        f"an array of shape {tuple(error.shape)} and {error.dtype} takes {_size(nbytes)}, more "
        f"than the worker can get{_limit()}. {_FREE}"
    )


def _memory(error: BaseException) -> str | None:
    if type(error) is not MemoryError or not _from_library(error, ()):
        return None
    return f"the worker got no memory for this{_limit()}. {_FREE}"


_AMOUNT = r"[\d.]+ [KMGT]?i?B"


def _device_memory(error: BaseException) -> str:
    """What the device lacks: how much, of how much, on which."""
    text = str(error)

    def told(*patterns: str) -> str | None:
        found = (re.search(pattern, text) for pattern in patterns)
        return next((m[1] for m in found if m is not None), None)

    wanted = told(rf"Tried to allocate ({_AMOUNT})")
    device = told(r"GPU (\d+)", r"device (\d+)")
    total = told(rf"total capacity of ({_AMOUNT})", rf"({_AMOUNT}) total capacity")
    free = told(rf"of which ({_AMOUNT}) is free", rf"({_AMOUNT}) free")
    where = f"GPU {device}" if device is not None else "the device"
    asked = f"{wanted} were asked for" if wanted else "more was asked for than there is"
    left = f", {free} of {total} are free" if free and total else ""
    return f"{where} is out of memory: {asked}{left}. Tensors that are held stay there: {_FREE}"


# ---------------------------------------------------------------- types of elements
def _no_loop(error: Any) -> str:
    types = [str(t) for t in error.dtypes if t is not None]
    return (
        f"numpy.{error.ufunc.__name__} is not defined for {' and '.join(types)}: convert with "
        f".astype() first.{_those(error, lambda a: str(a[2]))}"
    )


def _casting(error: Any) -> str:
    return (
        f"numpy.{error.ufunc.__name__} works on {error.from_} here, which cannot be stored as "
        f"{error.to}: let it make a new array (x = x + y, no x += y or out=), or convert with "
        f".astype().{_those(error, lambda a: str(a[2]))}"
    )


_UNSUPPORTED = (
    r"ufunc '(\w+)' not supported for the input types, and the inputs could not be safely "
    r"coerced to any supported types according to the casting rule ''\w+''"
)


def _unsupported(error: BaseException) -> str | None:
    if type(error) is not TypeError or len(error.args) != 1 or "numpy" not in sys.modules:
        return None
    text = error.args[0]
    found = re.fullmatch(_UNSUPPORTED, text) if type(text) is str else None
    if found is None or not _from_library(error, ("numpy",)):
        return None
    those = _those(error, lambda a: str(a[2]))
    return f"numpy.{found[1]} is not defined for these types of elements: convert first.{those}"


_RULES: dict[tuple[str, str], Callable[[Any], str | None]] = {
    ("builtins", "ValueError"): _shapes,
    ("builtins", "TypeError"): _unsupported,
    ("builtins", "MemoryError"): _memory,
    ("torch", "OutOfMemoryError"): _device_memory,
    ("torch.cuda", "OutOfMemoryError"): _device_memory,
}
for _where in ("numpy._core._exceptions", "numpy.core._exceptions"):  # before numpy 2: the latter
    _RULES[_where, "_ArrayMemoryError"] = _array_memory
    for _name in ("_UFuncNoLoopError", "_UFuncBinaryResolutionError"):
        _RULES[_where, _name] = _no_loop
    for _name in ("_UFuncInputCastingError", "_UFuncOutputCastingError"):
        _RULES[_where, _name] = _casting
