"""A notebook in a page of JupyterLab or Notebook 7: typed into, clicked and read as a user does.

The words are those of `kernels.py`: `send` starts a cell, `wait` waits for it, `run` expects
success and `fail` an error.
"""

from __future__ import annotations

import base64

from apps import UNCOVERED, WATCH, steps
from conftest import ARTIFACTS, eventually

PATIENCE = 60.0
"""Seconds that a page may take to open, a kernel to start, or a cell to run."""

CELL = "window.panel.content.widgets[index].model"
SOURCE = f"([index, code]) => {CELL}.sharedModel.getSource() === code"
SENT = f"index => window.executions.some(e => e.cell === {CELL}.id)"
AGAIN = f"index => window.executions.filter(e => e.cell === {CELL}.id).length > 1"
LAST = f"index => window.executions.filter(e => e.cell === {CELL}.id).pop()"
DONE = f"""index => {{
    const last = window.executions.filter(e => e.cell === {CELL}.id).pop();
    return last && last.status && last.idle && {CELL}.executionState === 'idle';
}}"""
RESTARTED = """before => {
    const {kernel} = window.panel.sessionContext.session;
    return window.restarts > before && kernel.status === 'idle';
}"""
KERNEL = "window.panel.sessionContext.session.kernel.id"
CHANGE_THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
THEME = f"name => document.body.dataset.jpThemeName === name && ({UNCOVERED})()"


class Cell:
    """One cell of the page, and what it shows."""

    def __init__(self, notebook, index, code):
        self._notebook = notebook
        self.index = index
        self.code = code
        self.element = notebook.page.locator(".jp-Notebook .jp-Cell").nth(index)
        self.editor = self.element.locator(".cm-content")
        self.output = self.element.locator(".jp-Cell-outputArea")
        self.widget = self.output.locator(".jp-OutputArea-output.lm-Panel > *")

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
        path: of its file, below the server's root.
        problems: errors of the page, and what it asked of other hosts: a test must end with none.
    """

    def __init__(self, page, app, directory, url):
        from playwright.sync_api import TimeoutError

        self.page = page
        self.directory = directory
        self.path = f"{directory.name}/notebook.ipynb"
        self.problems = []
        self._app = app
        self._url = url
        self._late = TimeoutError
        self._count = 0
        page.on("console", self._console)
        page.on("pageerror", self._raised)
        page.on("requestfailed", self._failed)

    def _console(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _raised(self, error):
        if error.message not in self._app.excused:
            self.problems.append(f"page error: {error}")

    def _failed(self, request):
        if not request.url.startswith(self._url):
            self.problems.append(f"request to {request.url}")

    def open(self, address):
        """Go to its page, and wait until its kernel is ready."""
        self.page.goto(address)
        self._ready()

    def _ready(self):
        for step in steps(self._app):
            self._until(step, self.path, f"the page being ready: {step}")
        self.page.evaluate(WATCH)

    def save(self):
        """Save it, as Ctrl+S does."""
        self.page.evaluate("window.panel.context.save()")

    def reload(self):
        """Save it and reload the page; ready again when this returns, with the same kernel."""
        self.save()
        kernel = self.page.evaluate(KERNEL)
        self.page.reload()
        self._ready()
        assert self.page.evaluate(KERNEL) == kernel

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

    def again(self, cell):
        """Run a cell once more, which must succeed."""
        cell.editor.click()
        self.page.keyboard.press("ControlOrMeta+Enter")
        self._until(AGAIN, cell.index, f"another start of {cell.code!r}")
        assert self.wait(cell).status == "ok", cell
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
    def command(self, name):
        """Do what a menu or a key would do by this name."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

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

    # ------------------------------------------------------------ how it looks
    def theme(self, *, dark):
        """Switch to the light or the dark theme; it is there when this returns."""
        name = f"JupyterLab {'Dark' if dark else 'Light'}"
        self.page.evaluate(CHANGE_THEME, name)
        self._until(THEME, name, f"the theme {name}")

    def resize(self, width):
        """Make the window so many CSS pixels wide."""
        self.page.set_viewport_size({**self.page.viewport_size, "width": width})
        self._until("width => window.innerWidth === width", width, f"a width of {width}")

    def axe(self, selector):
        """What axe-core finds wrong within the elements of a selector, if serious or critical.

        One text each: the rule, what it says, and the elements.
        """
        from axe_playwright_python.sync_playwright import Axe

        # JupyterLab's body has no height, and axe-core takes all that is in it for hidden.
        self.page.evaluate("document.body.style.height = '100vh'")
        found = Axe().run(self.page, context=selector).response["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {[node['html'] for node in rule['nodes']]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]

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
