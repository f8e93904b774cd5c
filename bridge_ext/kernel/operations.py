"""What Python asks of a handle: a function that runs in the worker, with the ref as its target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import context
from .call import Call
from .options import Options
from .wire.payload import start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .refs import RefState


class _ByRule(Options):
    """Options that leave the fetching rule alone, whatever those of the blocks around say."""

    __slots__ = ()

    def over(self, outer: Options, *, hide_session: bool) -> Options:
        made = Options.over(self, outer, hide_session=hide_session)
        return _ByRule(made.session, made.timeout, made.kill, made.idempotent)


_BY_RULE = _ByRule()


def operation(
    state: RefState,
    module: str,
    name: str,
    args: Sequence[Any],
    fetch: bool | None = None,
    options: Options | None = None,
) -> Call:
    """The call of a function of `module` on a ref, which is among `args`."""
    fields = {
        "library": module,
        "python_module": module,
        "function": name,
        "instance": state.wire(),
    }
    begin = start("function", fields)
    return Call("function", name, begin, args, {}, state, options, fetch)


def by_rule() -> Options | None:
    """Options for a result that Python wants as plain data, whatever `options(fetch=)` says."""
    return _BY_RULE if context.stack.get() is not None else None
