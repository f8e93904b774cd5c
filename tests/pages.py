"""A notebook in a page of JupyterLab: typed into, clicked and read as a user does.

The words are those of `kernels.py`: `send` starts a cell, `wait` waits for it, `run` expects
success and `fail` an error.
"""

from __future__ import annotations

import base64
from pathlib import Path

from conftest import eventually
from kernels import ROOT

PATIENCE = 30.0
"""Seconds that a page may take to open, a kernel to start, or a cell to run."""
ARTIFACTS = Path(ROOT) / ".artifacts"
"""What a run leaves to look at: pictures of the pages, the server's log."""
pictures = []
"""The files of the pictures of this run."""

# How a notebook is opened. Typing before all of this is true runs nothing, silently.
# (Playwright waits for a promise, but takes any value of it for true.)
READY = (
    "() => !!window.jupyterapp",
    "async () => { await window.jupyterapp.restored; return true; }",
    """async path => {
        window.panel = await window.jupyterapp.commands.execute('docmanager:open', {path});
        await window.panel.context.ready;
        await window.panel.sessionContext.ready;
        await window.panel.sessionContext.session.kernel.info;
        return true;
    }""",
    "() => document.getElementById('jupyterlab-splash') === null",
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
CELL = "window.panel.content.widgets[index].model"
SOURCE = f"([index, code]) => {CELL}.sharedModel.getSource() === code"
SENT = f"index => window.executions.some(e => e.cell === {CELL}.id)"
LAST = f"index => window.executions.filter(e => e.cell === {CELL}.id).pop()"
DONE = f"""index => {{
    const last = window.executions.filter(e => e.cell === {CELL}.id).pop();
    return last && last.status && last.idle && {CELL}.executionState === 'idle';
}}"""
RESTARTED = """before => {
    const {kernel} = window.panel.sessionContext.session;
    return window.restarts > before && kernel.status === 'idle';
}"""


class Cell:
    """One cell of the page, and what it shows."""

    def __init__(self, notebook, index, code):
        self._notebook = notebook
        self.index = index
        self.code = code
        self.element = notebook.page.locator(".jp-Notebook .jp-Cell").nth(index)
        self.editor = self.element.locator(".cm-content")
        self.output = self.element.locator(".jp-Cell-outputArea")

    @property
    def done(self):
        """Whether its execution has ended, however."""
        return bool(self._notebook.page.evaluate(DONE, self.index))

    @property
    def status(self):
        """Of its last execution: "ok", "error", "aborted"; None while it runs."""
        return self._notebook.page.evaluate(LAST, self.index)["status"]

    @property
    def prompt(self):
        """What stands beside it: `[ ]:`, `[*]:`, `[1]:`."""
        return self.element.locator(".jp-InputPrompt").inner_text()

    @property
    def text(self):
        """What its output reads as."""
        return "\n".join(self.output.all_inner_texts())

    @property
    def html(self):
        """The source of each output that is shown as HTML."""
        return [shown.inner_html() for shown in self.output.locator(".jp-RenderedHTML").all()]

    @property
    def rows(self):
        """The texts in the tables that it shows, row by row."""
        read = "rows => rows.map(row => Array.from(row.cells, cell => cell.innerText))"
        return self.output.locator("tr").evaluate_all(read)

    @property
    def images(self):
        """The bytes of each picture that it shows."""
        shown = self.output.locator("img").all()
        return [base64.b64decode(i.get_attribute("src").partition("base64,")[2]) for i in shown]

    def shows(self, text):
        """Wait until its output contains this."""
        try:
            eventually(lambda: text in self.text, repr(text), PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{self}: {error}") from None

    def __repr__(self):
        return f"<cell {self.code!r} showing {self.text!r}>"


class Notebook:
    """One notebook, open in a page of its own, with a kernel and a directory of its own.

    Attributes:
        page: Playwright's, for what has no method here.
        directory: where the kernel runs; it holds the module `tracked` of `kernels.py`.
        problems: errors of the page, and what it asked of other hosts: a test must end with none.
    """

    def __init__(self, page, directory, url):
        from playwright.sync_api import TimeoutError

        self.page = page
        self.directory = directory
        self.problems = []
        self._url = url
        self._late = TimeoutError
        self._count = 0
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("requestfailed", self._failed)

    def _console(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _failed(self, request):
        if not request.url.startswith(self._url):
            self.problems.append(f"request to {request.url}")

    def open(self, lab, path):
        """Go to an address of JupyterLab, open a file there, and wait until its kernel is ready."""
        self.page.goto(lab)
        for step in READY:
            self._until(step, path, f"the page being ready: {step}")
        self.page.evaluate(WATCH)

    def _until(self, true, argument, what):
        try:
            return self.page.wait_for_function(true, arg=argument, timeout=PATIENCE * 1000)
        except self._late:
            late = f"{what} did not come within {PATIENCE} s; problems: {self.problems}"
            raise AssertionError(late) from None

    # ------------------------------------------------------------ cells
    def write(self, code):
        """Type into the empty cell at the end."""
        cell = Cell(self, self._count, code)
        cell.editor.click()
        self.page.keyboard.insert_text(code)
        self._until(SOURCE, [cell.index, code], f"the text {code!r} in its cell")
        return cell

    def send(self, code):
        """Type a cell and press Shift+Enter; `wait` waits for it."""
        cell = self.write(code)
        self.page.keyboard.press("Shift+Enter")
        self._count += 1
        self._until(SENT, cell.index, f"the start of {code!r}")
        return cell

    def wait(self, cell):
        """Wait until a cell has ended."""
        try:
            self._until(DONE, cell.index, "its end")
        except AssertionError as error:
            raise AssertionError(f"{cell}: {error}") from None
        return cell

    def execute(self, code):
        """Run a cell, however it ends."""
        return self.wait(self.send(code))

    def run(self, code):
        """Run a cell that must succeed."""
        cell = self.execute(code)
        assert cell.status == "ok", cell
        return cell

    def fail(self, code):
        """Run a cell that must fail."""
        cell = self.execute(code)
        assert cell.status == "error", cell
        return cell

    # ------------------------------------------------------------ help while typing
    def complete(self, code):
        """Type, press Tab, and read what is offered; the cell is empty again afterwards."""
        return self._ask(code, "Tab", ".jp-Completer", ".jp-Completer-match")

    def tooltip(self, code):
        """Type, press Shift+Tab, and read the tooltip; the cell is empty again afterwards."""
        return "\n".join(self._ask(code, "Shift+Tab", ".jp-Tooltip", "pre"))

    def _ask(self, code, key, popup, part):
        cell = self.write(code)
        self.page.keyboard.press(key)
        self.page.locator(f"{popup} {part}").first.wait_for()
        self.screenshot(key)
        found = self.page.locator(f"{popup} {part}").all_inner_texts()
        self.page.keyboard.press("Escape")
        self.page.locator(popup).wait_for(state="hidden")
        cell.editor.click()  # Escape may also have left the cell
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.press("Delete")
        self._until(SOURCE, [cell.index, ""], "an empty cell")
        return found

    # ------------------------------------------------------------ the kernel
    def click(self, command):
        """Click the toolbar's button of a command, such as `notebook:interrupt-kernel`."""
        self.page.locator(f".jp-NotebookPanel-toolbar [data-command='{command}']").click()

    def interrupt(self):
        """Click the stop button."""
        self.click("notebook:interrupt-kernel")

    def restart(self):
        """Click the restart button, say yes, and wait until the new kernel is ready."""
        before = self.page.evaluate("window.restarts")
        self.click("notebook:restart-kernel")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self._until(RESTARTED, before, "the new kernel")

    # ------------------------------------------------------------ files
    def file(self, name):
        """Whether something has touched a file."""
        return (self.directory / name).exists()

    def until_file(self, name):
        eventually(lambda: self.file(name), name, PATIENCE)

    def touch(self, name):
        (self.directory / name).touch()

    def screenshot(self, label):
        """Keep a picture of the page."""
        path = ARTIFACTS / f"{self.directory.name}-{label}.png"
        self.page.screenshot(path=path)
        pictures.append(path)
