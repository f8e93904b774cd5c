"""An inspector in a page: read by its roles and its data attributes, clicked and typed into."""

from __future__ import annotations

import re

from conftest import eventually
from pages import PATIENCE

REGION = "[role=region][aria-label='Session inspector']"
READ = """(rows) => rows.map(row => {
    const seen = element => element.getClientRects().length ? element.innerText.trim() : '';
    const cells = Array.from(row.querySelectorAll('[data-column]'));
    const texts = cells.map(cell => [cell.dataset.column, seen(cell)]);
    const {key, kind} = row.dataset;
    const name = row.querySelector('.bx-name').textContent;
    const index = Number(row.getAttribute('aria-rowindex'));
    return {...Object.fromEntries(texts), key, kind, name, index};
}).sort((one, other) => one.index - other.index)"""
FOCUS = """() => {
    const at = document.activeElement;
    const row = at.matches('[data-key]') && at.querySelector('.bx-name').textContent;
    return row || at.ariaLabel || at.className;
}"""
CUT_OFF = """root => {
    const {left, right} = root.getBoundingClientRect();
    const out = ({left: start, right: end}) => start < left || right < end;
    const parts = Array.from(root.querySelectorAll('button, input, [role=row]'));
    const shown = parts.filter(part => part.getClientRects().length);
    return shown.filter(part => out(part.getBoundingClientRect())).map(part => part.outerHTML);
}"""
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


class Inspector:
    """What one cell shows of the sessions.

    Attributes:
        cell: that cell.
        root: Playwright's locator of the whole; worker, refs: of its panel and its toolbar.
        filter, grid: of the field and of the list.
    """

    def __init__(self, notebook, cell):
        self._page = notebook.page
        self.cell = cell
        self.root = cell.output.locator(REGION)
        self.worker = self.root.get_by_role("group", name="Worker")
        self.refs = self.root.get_by_role("group", name="Refs", exact=True)
        self.filter = self.root.get_by_role("searchbox")
        self.grid = self.root.get_by_role("treegrid")
        self.root.wait_for()

    # ------------------------------------------------------------ reading
    @property
    def text(self):
        """All that it says."""
        return self.root.inner_text()

    @property
    def rows(self):
        """The rows in the page: texts by column, with `key`, `kind` and `index`."""
        return self.root.locator("[data-key]").evaluate_all(READ)

    @property
    def names(self):
        """The objects of the rows in the page: the sessions and the refs, in their order."""
        return [row["name"] for row in self.rows]

    @property
    def drawn(self):
        """How many rows are in the page, with the heads and those that are still awaited."""
        return self.root.locator("[role=row]").count()

    def asks(self, name):
        """Whether the row of this name asks for an answer."""
        return self.row(name).get_by_role("button", name="Keep").is_visible()

    @property
    def rss(self):
        """The worker's resident memory as it is shown, in bytes; 0 if it is not."""
        found = re.search(r"([\d.]+) ([kMG]?B)", self.worker.inner_text())
        return float(found[1]) * UNITS[found[2]] if found else 0

    @property
    def pid(self):
        """The worker's, as it is shown; None if there is no worker."""
        found = re.search(r"pid (\d+)", self.worker.inner_text())
        return int(found[1]) if found else None

    @staticmethod
    def bytes_of(row):
        """The size in a row, in bytes."""
        number, unit = row["size"].lstrip("~").split()[:2]
        return float(number) * UNITS[unit]

    def row(self, name):
        """The row of the session, or the rows of the refs to objects of the type, of this name."""
        exact = self._page.locator(".bx-name", has_text=re.compile(f"^{re.escape(name)}$"))
        return self.root.locator("[data-key]").filter(has=exact)

    def says(self, text):
        """Wait until it contains this."""
        self.until(lambda: text in self.text, repr(text))

    @property
    def over(self):
        """Whether nothing can be done with it any more."""
        return not self.root.locator("button:enabled, input:enabled").count()

    @property
    def cut_off(self):
        """What can be used and is not wholly within it, from side to side."""
        return self.root.evaluate(CUT_OFF)

    def until(self, true, what):
        """Wait until something is true of it."""
        try:
            return eventually(true, what, PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}; the inspector: {self.text}") from None

    def shows(self, *names):
        """Wait until each of these has a row."""
        for name in names:
            self.until(lambda name=name: name in self.names, f"a row of {name!r}")

    def lacks(self, *names):
        """Wait until none of these has a row."""
        for name in names:
            self.until(lambda name=name: name not in self.names, f"no row of {name!r}")

    # ------------------------------------------------------------ doing
    def click(self, name, button):
        """Click a button of the one row of this name."""
        self.row(name).get_by_role("button", name=re.compile(f"^{button}")).click()

    def release(self, name):
        """Click its Release; what comes of it is not awaited."""
        self.click(name, "Release")

    def sort(self, column):
        """Click the head of a column; wait until it is what the list is sorted by."""
        head = self.root.get_by_role("columnheader", name=column)
        before = head.get_attribute("aria-sort")
        head.get_by_role("button").click()
        self.until(lambda: head.get_attribute("aria-sort") != before, f"sorted by {column}")
        return head.get_attribute("aria-sort")

    def scroll_to_end(self):
        """Scroll the list to its last row."""
        self.grid.evaluate("grid => grid.scrollTo(0, grid.scrollHeight)")

    def find(self, text):
        """Type into the filter."""
        self.filter.fill(text)

    @property
    def focus(self):
        """What has the focus in the page: the name of its row, else what it is called or is."""
        return self._page.evaluate(FOCUS)
