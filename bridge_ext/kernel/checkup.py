"""The worker is asked how it is, whatever it does: started at need, and never waited for long."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .machine import silence
from .surveys import PACKAGES, Survey, taken
from .wire.naming import clean
from .wire.survey import survey

if TYPE_CHECKING:
    from .backends.base import Connection
    from .custody import Custodian

PATIENCE = 3.0
"""Seconds for all that is asked of a worker; one that starts needs a twentieth of a second."""


class Checkup(NamedTuple):
    """What a worker has said, or why it has not.

    Attributes:
        survey: None if it has not answered.
        trouble: a sentence with a next step; "" if all is well.
        busy: what it runs and for how long; "" if nothing.
        pid, transport: None and "" without a worker.
    """

    survey: Survey | None
    trouble: str = ""
    busy: str = ""
    pid: int | None = None
    transport: str = ""


def here() -> Survey:
    """This process."""
    return taken(survey(PACKAGES))


def there(client: Custodian) -> Checkup:
    """The worker, over its control channel: a call that runs goes on."""
    if client.closed:
        return Checkup(None, f"This bridge cannot be used: {client.closed}. Make a new one.")
    try:
        incarnation = client.connect()
    except Exception as error:
        return Checkup(None, clean(str(error), 1_000))
    connection = incarnation.connection
    try:
        answer = client.ask("survey", list(PACKAGES), within=PATIENCE)
        survey = None if answer is None else taken(answer)
        trouble = ""
    except Exception as error:
        survey, trouble = None, f"The worker's answer is none ({_said(error)}): restart it."
    if survey is None and not trouble:
        trouble = _silent(connection)
    busy = _busy(client) if survey is not None else ""
    return Checkup(survey, trouble, busy, connection.pid, connection.transport)


def _silent(connection: Connection) -> str:
    """Why there was no answer."""
    pid, running = connection.pid, connection.running
    if connection.death is not None:
        return (
            f"The worker (pid {pid}) {clean(connection.death.how)} instead of answering. The next "
            "call starts a fresh one; if that ends too, what it wrote to stderr says why."
        )
    why = silence(pid)
    if not why and running is not None:
        why = (
            f"it runs {clean(running)!r}, in C code that keeps Python's lock; wait, or interrupt "
            "twice, which ends it"
        )
    next_step = why or "`bridge.restart()` ends it and starts a fresh one"
    return f"The worker (pid {pid}) has not answered for {PATIENCE:.0f} s: {next_step}."


def _busy(client: Custodian) -> str:
    """What it runs."""
    try:
        status = client.ask("status")
        what, since = status[0], float(status[1])
    except Exception:
        return ""
    return f"{clean(what)}, for {since:.1f} s" if type(what) is str else ""


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {clean(str(error), 500)}"
