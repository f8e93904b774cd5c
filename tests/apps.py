"""The applications that a notebook opens in: the addresses of its page, and when that is ready.

Typing before all of `READY` is true runs nothing, silently. (Playwright waits for a promise, but
takes any value of it for true.)
"""

from __future__ import annotations

from typing import NamedTuple


class App(NamedTuple):
    """One of them.

    Attributes:
        page: the path of its page below the server's address; {name} names the workspace, {path}
            the notebook's file.
        panel: what finds or opens the notebook in the page, as `window.panel`.
        excused: the errors that its page raises by itself, whatever is opened in it.
    """

    page: str
    panel: str
    excused: tuple[str, ...] = ()


LAB, NOTEBOOK_7 = "lab", "notebook 7"
APPS = {
    LAB: App(
        "lab/workspaces/{name}",
        """async path => {
            const {commands} = window.jupyterapp;
            window.panel = await commands.execute('docmanager:open', {path});
            return true;
        }""",
    ),
    NOTEBOOK_7: App(
        "notebooks/{path}",
        """() => {
            window.panel = window.jupyterapp.shell.currentWidget;
            return !!window.panel?.sessionContext;
        }""",
        # Its keyboard shortcuts hear of a plugin before the registry of settings has it.
        excused=("Cannot read properties of undefined (reading 'schema')",),
    ),
}
UNCOVERED = "() => document.getElementById('jupyterlab-splash') === null"
"""JupyterLab's splash is gone. Each change of theme has one, and raises if one is there already."""

READY = (
    "() => !!window.jupyterapp",
    "async () => { await window.jupyterapp.restored; return true; }",
    "{panel}",
    """async () => {
        await window.panel.context.ready;
        await window.panel.sessionContext.ready;
        await window.panel.sessionContext.session.kernel.info;
        return true;
    }""",
    UNCOVERED,
)
WATCH = """() => {
    window.executions = [];  // of {cell, request, status, idle}
    window.restarts = 0;
    const session = window.panel.sessionContext.session;
    session.anyMessage.connect((_, {msg, direction}) => {
        const type = msg.header.msg_type;
        const of = window.executions.find(e => e.request === msg.parent_header.msg_id);
        if (direction === 'send' && type === 'execute_request') {
            const cell = msg.metadata.cellId;
            window.executions.push({cell, request: msg.header.msg_id, status: null, idle: false});
        } else if (of && type === 'execute_reply') {
            of.status = msg.content.status;
        } else if (of && type === 'status' && msg.content.execution_state === 'idle') {
            of.idle = true;
        }
    });
    session.statusChanged.connect((_, status) => {
        window.restarts += status === 'restarting' || status === 'autorestarting';
    });
}"""
"""Notes what the kernel is asked to run, and what became of it."""


def steps(app):
    """What must become true of a page, one after the other, until its notebook can be used."""
    return [app.panel if step == "{panel}" else step for step in READY]
