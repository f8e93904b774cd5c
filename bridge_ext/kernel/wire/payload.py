"""The payload: the request that travels to a worker, as a map with fixed field names.

Every payload carries `COMMON`; each call type adds the fields of `FIELDS`, all required unless
they stand in `OPTIONAL`, where absence means None. `dynamic`, `class`, `stream` and
`module_attr` name their module by `python_module` (exactly that module) or by `module_path` (a
dotted path that begins with a module).
"""

from __future__ import annotations

import re
from enum import Enum

from ..errors import BridgeUsageError, ProtocolError
from .codec import pack
from .limits import MIN_SUPPORTED_VERSION, PROTOCOL_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class CallType(str, Enum):
    """What a payload asks for."""

    FUNCTION = "function"
    DYNAMIC = "dynamic"
    CLASS = "class"
    METHOD = "method"
    GET_ATTR = "get_attr"
    SET_ATTR = "set_attr"
    MODULE_ATTR = "module_attr"
    HELPER = "helper"
    STREAM = "stream"
    STREAM_NEXT = "stream_next"
    PUT = "put"
    FETCH = "fetch"
    KEEP = "keep"
    KEPT = "kept"
    MOVE = "move"
    DESCRIBE = "describe"
    DISPLAY = "display"
    BATCH = "batch"
    CALLBACK = "callback"
    """The other way: a worker asks its kernel."""
    RELEASE_REF = "release_ref"
    RELEASE_SESSION = "release_session"


COMMON = frozenset(("protocol_version", "min_supported_version", "call_type", "session_id"))
OPTIONAL = frozenset(
    (
        "library",
        "idempotent",
        "in_force",
        "generation",
        "fetch",
        "instance",
        "module_path",
        "python_module",
    )
)
_CALL = frozenset(("function", "args", "kwargs"))
_ARGS = frozenset(("args",))
FIELDS: dict[str, frozenset[str]] = {
    "function": _CALL | {"python_module"},
    "dynamic": _CALL,
    "class": _CALL,
    "method": _CALL | {"instance"},
    "get_attr": frozenset(("instance", "attr")),
    "set_attr": frozenset(("instance", "attr", "args")),
    "module_attr": frozenset(("attr",)),
    "helper": frozenset(("helper", "args", "kwargs")),
    "stream": _CALL,
    "stream_next": frozenset(("stream_ref", "args")),
    "put": _ARGS,
    "fetch": _ARGS,
    "keep": _ARGS,
    "kept": _ARGS,
    "move": _ARGS,
    "describe": _ARGS,
    "display": _ARGS,
    "batch": _ARGS,
    "callback": frozenset(("instance", "args", "kwargs")),
    "release_ref": _ARGS,
    "release_session": _ARGS,
}
COUNTS = {
    "set_attr": 1,
    "stream_next": 2,
    "put": 1,
    "fetch": 1,
    "keep": 2,
    "kept": 0,
    "move": 1,
    "describe": 1,
    "display": 2,
    "batch": 2,
    "release_session": 1,
}
"""How many args the call types have that carry their own in `args`."""
_NEEDED = {name: COMMON | fields for name, fields in FIELDS.items()}
_KNOWN = COMMON | OPTIONAL | frozenset().union(*FIELDS.values())
_BY_MODULE = frozenset(("dynamic", "class", "stream", "module_attr"))
_TYPES: dict[str, tuple[type, ...]] = {
    "session_id": (str,),
    "function": (str,),
    "attr": (str,),
    "helper": (str,),
    "python_module": (str, type(None)),
    "module_path": (str, type(None)),
    "library": (str, type(None)),
    "args": (list,),
    "kwargs": (dict,),
    "in_force": (str, type(None)),
    "generation": (int, type(None)),
    "fetch": (bool, type(None)),
    "idempotent": (bool, type(None)),
}
_SHAPES = 1_000
"""Shapes of payloads (call type, field names, types of values) that are remembered as good, so
that the same shape is not checked name by name again; kernels send a few dozen."""
_GOOD: set[tuple[Any, ...]] = set()
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def check_id(session_id: object) -> str:
    """A session id that may be used: 1 to 128 ASCII letters, digits and ``._:-``.

    Raises:
        BridgeUsageError: it is something else.
    """
    if type(session_id) is str and _ID.fullmatch(session_id):
        return session_id
    shown = repr(session_id)
    raise BridgeUsageError(
        f"{shown if len(shown) <= 140 else shown[:140] + '…'} is no session id: give 1 to 128 "
        "ASCII letters, digits or any of . _ : -"
    )


def base(call_type: str, session_id: str) -> dict[str, Any]:
    """The fields every payload has."""
    return {
        "protocol_version": PROTOCOL_VERSION,
        "min_supported_version": MIN_SUPPORTED_VERSION,
        "call_type": call_type,
        "session_id": session_id,
    }


Part = tuple[int, bytes]
"""Some fields of a payload, packed: how many, and their bytes. A payload is put together from parts
that stay the same from call to call."""
_FEW = 15
"""Fields of a map with a header of one byte; a payload has fewer."""
_HEADERS = [bytes((0x80 + count,)) for count in range(_FEW + 1)]
_ARGS_KEY, _KWARGS_KEY, _NO_KWARGS = pack("args"), pack("kwargs"), pack("kwargs") + pack({})


def part(fields: dict[str, Any]) -> Part:
    """Fields as a part; at most 15 in one payload."""
    return len(fields), pack(fields)[1:]


def join(parts: Sequence[Part]) -> bytes:
    """A packed payload."""
    if len(parts) == 3:  # as nearly always
        (a, x), (b, y), (c, z) = parts
        return _HEADERS[a + b + c] + x + y + z
    count, data = 0, b""
    for more, packed in parts:
        count += more
        data += packed
    return _HEADERS[count] + data


def call_part(args: list[Any], kwargs: Mapping[str, Any] | None) -> Part:
    """The part with the lowered arguments; without `kwargs` if that is None."""
    if kwargs is None:
        return 1, _ARGS_KEY + pack(args)
    if kwargs:
        return 2, _ARGS_KEY + pack(args) + _KWARGS_KEY + pack(kwargs)
    return 2, _ARGS_KEY + pack(args) + _NO_KWARGS


def start(call_type: str, fields: dict[str, Any]) -> Part:
    """The part of a payload that says what is asked for."""
    return part(
        {
            "protocol_version": PROTOCOL_VERSION,
            "min_supported_version": MIN_SUPPORTED_VERSION,
            "call_type": call_type,
            **fields,
        }
    )


def check(payload: Any) -> str:
    """The call type of a well-formed payload.

    Raises:
        ProtocolError: it is not well-formed; the text says what was expected and what came.
    """
    if type(payload) is dict and payload.get("protocol_version") == PROTOCOL_VERSION:
        call_type = payload.get("call_type")
        if type(call_type) is str:
            shape = (call_type, *payload, *map(type, payload.values()))
            if shape in _GOOD and payload["session_id"]:
                count = COUNTS.get(call_type)
                if count is None or len(payload["args"]) == count:
                    return call_type
            _check(payload)
            if len(_GOOD) < _SHAPES:
                _GOOD.add(shape)
            return call_type
    return _check(payload)


def _check(payload: Any) -> str:
    try:
        call_type: str = payload["call_type"]
        needed = _NEEDED[call_type]
        keys = payload.keys()
    except (KeyError, TypeError, AttributeError):
        raise _malformed(payload) from None
    if not needed <= keys or not keys <= _KNOWN:
        raise _misfit(payload, call_type, needed)
    if payload["protocol_version"] != PROTOCOL_VERSION:
        _check_version(payload)
    for name, value in payload.items():
        types = _TYPES.get(name)
        if types is not None and type(value) not in types:
            raise ProtocolError(
                f"field {name!r} of a {call_type!r} payload is {type(value).__name__}, expected "
                + " or ".join("None" if t is type(None) else t.__name__ for t in types)
            )
    if not payload["session_id"]:
        raise ProtocolError("the session id is empty; there is no default session")
    if call_type in _BY_MODULE:
        _check_module(payload, call_type)
    count = COUNTS.get(call_type)
    if count is not None and len(payload["args"]) != count:
        raise ProtocolError(
            f"a {call_type!r} payload has {count} args, and {len(payload['args'])} came"
        )
    return call_type


def _malformed(payload: Any) -> ProtocolError:
    if type(payload) is not dict:
        return ProtocolError(f"a payload is a map, and {type(payload).__name__} came")
    if "call_type" not in payload:
        return ProtocolError(f"a payload has no call_type, only {sorted(map(str, payload))}")
    return ProtocolError(
        f"unknown call type {payload['call_type']!r}, expected one of {sorted(FIELDS)}"
    )


def _misfit(payload: dict[str, Any], call_type: str, needed: frozenset[str]) -> ProtocolError:
    missing = sorted(needed - payload.keys())
    if missing:
        return ProtocolError(f"a {call_type!r} payload lacks {missing}, it has {sorted(payload)}")
    unknown = sorted(str(k) for k in payload.keys() - _KNOWN)
    return ProtocolError(f"a {call_type!r} payload has unknown fields {unknown}")


def _check_version(payload: dict[str, Any]) -> None:
    theirs, least = payload["protocol_version"], payload["min_supported_version"]
    fits = (
        type(theirs) is int
        and type(least) is int
        and theirs >= MIN_SUPPORTED_VERSION
        and least <= PROTOCOL_VERSION
    )
    if not fits:
        raise ProtocolError(
            f"protocol version {theirs!r} (at least {least!r}) came; this side speaks "
            f"{MIN_SUPPORTED_VERSION} to {PROTOCOL_VERSION}"
        )


def _check_module(payload: dict[str, Any], call_type: str) -> None:
    exact, path = payload.get("python_module"), payload.get("module_path")
    if (exact is None) == (path is None):
        raise ProtocolError(
            f"a {call_type!r} payload names its module by python_module or by module_path; "
            f"{exact!r} and {path!r} came"
        )
