"""Opening what the user asked to fetch: here, and only here, a pickle of a worker is opened."""

from __future__ import annotations

import io
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

from .backends.base import Death, Died, TimedOut
from .errors import EncodeError, ProtocolError
from .replies import checked
from .wire.arrays import open_array
from .wire.loading import Loading, plain
from .wire.marks import Ext
from .wire.shared import Stalled, Torn, copied, viewed

if TYPE_CHECKING:
    from .backends.base import Reply
    from .incarnation import Incarnation


def fetched(
    reply: Reply, incarnation: Incarnation, *, view: bool = False, kill: bool = False
) -> list[Any]:
    """The body of a reply whose value was fetched; it may hold refs too.

    Args:
        reply: as it came; its buffers are used up.
        incarnation: whose reply it is.
        view: whether its large buffers are read where they are, and cannot be written to.
        kill: whether the worker may be ended if it does not go on with them.

    Raises:
        EncodeError: this process cannot rebuild the object.
        Died: the worker died before all of it was there.
        TimedOut: with `kill`, it does not go on.
    """

    def unpickle(data: bytes) -> Any:
        from .wire.opening import Unpickler  # with `pickle`, which plain data does not need

        stream, first, _ = plain.load(data)
        try:
            buffers = (viewed if view else copied)(reply.buffers, first)
            return Unpickler(io.BytesIO(stream), buffers=buffers).load()
        except (Torn, Stalled) as error:
            raise _stopped(error, kill) from None
        except Exception as error:  # the object's own code runs here
            raise _unfit(error) from error

    def array(data: bytes) -> Any:
        try:
            return open_array(data, reply.buffers, view=view)
        except (Torn, Stalled) as error:
            raise _stopped(error, kill) from None
        except ProtocolError:
            raise
        except Exception as error:
            raise _unfit(error) from error

    hooks = {**incarnation.hooks, Ext.PICKLE: unpickle, Ext.ARRAY: array}
    try:
        return checked(Loading(hooks).load(reply.body))
    except Torn as error:
        clear_frames(error.__traceback__)  # which have the mapped memory, and its descriptor
        raise Died(incarnation.connection.death or Death("has died")) from None
    except Stalled as error:
        clear_frames(error.__traceback__)
        raise TimedOut(stopped=False) from None
    finally:
        reply.buffers.clear()  # a traceback would keep what was not opened


def _stopped(error: Torn | Stalled, kill: bool) -> Exception:
    """What to raise for a buffer of which not all has come."""
    if kill or isinstance(error, Torn):
        return error
    why = f"{error}; wait for it, or end the worker with bridge.restart()"
    return EncodeError("The result", "a copy", why)


def _unfit(error: Exception) -> EncodeError:
    why = f"it cannot be rebuilt here ({type(error).__name__}: {error}); keep it as a ref"
    return EncodeError("The result", "a copy", why)
