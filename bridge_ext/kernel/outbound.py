"""Arguments on their way to a worker.

Plain data travels as it is, refs and module handles by name, and any other object as a pickle made
by cloudpickle, with large buffers beside it. An argument that holds such an object anywhere is
pickled whole, so that what is shared or cyclic within it stays so.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from .callbacks import Callback
from .errors import BridgeError, EncodeError, InvalidRefError
from .handles import Module, ModuleFunction, Ref
from .resolution import check_argument
from .wire.arrays import is_array, pack_array
from .wire.codec import Lowering, TooLarge, pack
from .wire.limits import MAX_BODY, MAX_DEPTH
from .wire.marks import Ext
from .wire.own import msgpack
from .wire.payload import call_part

if TYPE_CHECKING:
    import pickle
    from collections.abc import Mapping, Sequence

    from .incarnation import Incarnation
    from .session import Session
    from .wire.payload import Part

SCALARS = frozenset((type(None), bool, int, float))


class _NeedsPickle(Exception):
    """The argument holds an object that is not by value."""


class Outbound:
    """Encodes the arguments of one call, checking the walls of the refs among them.

    Args:
        incarnation: where the call goes; refs of another one are refused.
        session: the session the call runs in.
        in_force: id of the named session in force.
        isolate: whether auto-sessions are walls too.
        buffers: of the message; those of this call come after them.
    """

    def __init__(
        self,
        incarnation: Incarnation,
        session: Session,
        in_force: str | None,
        isolate: bool,
        buffers: list[Any] | None = None,
    ) -> None:
        self._incarnation, self._session = incarnation, session
        self._in_force, self._isolate = in_force, isolate
        self.buffers: list[Any] = buffers if buffers is not None else []
        self.has_refs = False

    def part(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Part:
        """Args and kwargs as a part of a payload.

        Raises:
            EncodeError: one cannot travel; it is named by its path.
            SessionMismatchError: a ref among them is behind a wall.
            RefNotFoundError, SessionLostError: a ref among them has ended.
            InvalidRefError: a ref among them belongs to another bridge.
        """
        lowered = [
            x if type(x) in SCALARS else self._one(x, f"args[{i}]") for i, x in enumerate(args)
        ]
        if not kwargs:
            return call_part(lowered, kwargs)
        named = {
            k: x if type(x) in SCALARS else self._one(x, f"kwargs[{k!r}]")
            for k, x in kwargs.items()
        }
        return call_part(lowered, named)

    def _one(self, x: Any, where: str) -> Any:
        if is_array(x):
            made = self._array(x, where)
            if made is not None:
                return made
        try:
            return Lowering(self._leaf, self._deep, MAX_BODY).lower(x)
        except _NeedsPickle:
            return self._pickle(x, where)
        except (TooLarge, RecursionError) as error:
            why = (
                f"its encoding exceeds {MAX_BODY:,} bytes"
                if isinstance(error, TooLarge)
                else f"it is nested deeper than {MAX_DEPTH}"
            )
            raise EncodeError(where, type(x).__name__, why) from None
        except _TooDeep:
            why = f"it is nested deeper than {MAX_DEPTH}; flatten it"
            raise EncodeError(where, type(x).__name__, why) from None

    def _array(self, x: Any, where: str) -> Any:
        try:
            made = pack_array(x, len(self.buffers))
        except MemoryError as error:
            raise EncodeError(where, "ndarray", f"{type(error).__name__}: {error}") from error
        if made is None:
            return None
        self.buffers += made[1]
        return made[0]

    def _leaf(self, x: Any) -> Any:
        if isinstance(x, Ref):
            return msgpack.ExtType(Ext.REF_ARG, pack(self._ref(x)))
        if type(x) is Module:
            return msgpack.ExtType(Ext.MODULE, x._bridge_name.encode())
        if type(x) is Callback:
            return msgpack.ExtType(Ext.CALLBACK, pack(x.carried(self._session)))
        raise _NeedsPickle

    def _deep(self, x: Any) -> Any:
        raise _TooDeep

    def _ref(self, ref: Ref) -> list[Any]:
        """The ref as it is named on the wire, its walls checked."""
        state = ref._bridge_state
        state.check()
        if state.incarnation is not self._incarnation:
            raise InvalidRefError(repr(ref), "it belongs to another bridge; fetch it there first")
        check_argument(state.text(), state.session, self._session, self._in_force, self._isolate)
        self.has_refs = True
        return state.wire()

    def _pickle(self, x: Any, where: str) -> Any:
        from .wire.pickling import dump  # with `pickle`, which plain data does not need

        refs: list[list[Any]] = []

        def persistent(obj: Any) -> Any:
            if isinstance(obj, Ref):
                refs.append(self._ref(obj))
                return tuple(refs[-1])
            if type(obj) is Callback:
                return tuple(obj.carried(self._session))
            return obj._bridge_name if type(obj) is Module else None

        buffers: list[pickle.PickleBuffer] = []
        try:
            data = dump(x, persistent, buffers, function_of_module)
        except BridgeError:
            raise
        except Exception as error:
            from .wire.culprits import locate

            path, culprit = locate(x, where, _stands_for, function_of_module)
            why = f"{type(error).__name__}: {error}"
            raise EncodeError(path, type(culprit).__name__, why) from error
        first = len(self.buffers)
        self.buffers += [b.raw() for b in buffers]
        return msgpack.ExtType(Ext.PICKLE, pack([data, first, refs]))


class _TooDeep(Exception):
    """The argument is nested too deep."""


def function_of_module(obj: Any) -> tuple[Any, ...] | None:
    """How a pickle makes the function of a module handle: of the module, by its names."""
    if type(obj) is not ModuleFunction:
        return None
    module = Module(obj._bridge_client, obj._bridge_module)
    return reduce, (getattr, obj._bridge_name.split("."), module)


def _stands_for(obj: Any) -> str | None:
    """A ref, module handle or callback while the fault in a pickle is looked for."""
    return repr(obj) if isinstance(obj, (Ref, Module, Callback)) else None
