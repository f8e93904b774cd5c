"""Shows in the notebook what the worker's code shows, through IPython where that runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .kernel.display import Cleared, to_stdout

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .kernel.display import Message


def show(message: Message) -> None:
    """Show it in the shell that runs, if there is one, and else on stdout."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        to_stdout(message)
    else:
        publish(shell, message)


def publish(shell: InteractiveShell, message: Message) -> None:
    """Show it in a shell; the cell is that of the context it is called in."""
    publisher = shell.display_pub  # asked for each time: `%%capture` changes it
    if isinstance(message, Cleared):
        publisher.clear_output(wait=message.wait)
        return
    transient = {"display_id": message.display_id} if message.display_id is not None else {}
    publisher.publish(message.data, message.metadata, transient=transient, update=message.update)
