// The heads of the columns: what the list is sorted by, and how to change that.

import { element, mark } from "./parts.js";

/** The columns in order: what the kernel calls them, and what people do. */
export const COLUMNS = [
  ["name", "Object"],
  ["shape", "Shape"],
  ["size", "Size"],
  ["held", "Held by"],
  ["made", "Age"],
  ["cell", "Made in"],
];

/** The row of heads; `act` is called with the message of what was clicked. */
export class Heads {
  constructor(act) {
    this.cells = new Map();
    const row = { class: "bx-heads", role: "row", "aria-rowindex": "1" };
    this.row = element("div", row, ...COLUMNS.map((column, i) => this.head(column, i + 1)));
    const last = { role: "columnheader", class: "bx-cell", "data-column": "act" };
    const words = element("span", { class: "bx-unseen" }, "Actions");
    this.row.append(element("div", { ...last, "aria-colindex": COLUMNS.length + 1 }, words));
    this.node = element("div", { role: "rowgroup", class: "bx-head" }, this.row);
    this.row.addEventListener("click", (event) => {
      const by = event.target.closest("[data-sort]")?.dataset.sort;
      if (by) act({ do: "sort", by });
    });
  }

  head([id, word], index) {
    const arrow = element("span", { class: "bx-arrow", "aria-hidden": "true" });
    // Not on the way of the Tab key: the list is one stop, and Up from its first row leads here.
    const sort = { type: "button", class: "bx-sort", "data-sort": id, tabindex: "-1" };
    const inner = element("button", sort, element("span", {}, word), arrow);
    inner.title = `Sort by ${word.toLowerCase()}`;
    const cell = { role: "columnheader", class: "bx-cell", "data-column": id };
    const made = element("div", { ...cell, "aria-colindex": index }, inner);
    this.cells.set(id, made);
    return made;
  }

  show([by, direction]) {
    for (const [id, cell] of this.cells) mark(cell, "aria-sort", id === by ? direction : "none");
  }

  /** Go to the head of a column; `steps` from the one that has the focus, or the sorted one. */
  focus(steps = 0) {
    const buttons = [...this.row.querySelectorAll("button")].filter((b) => b.offsetParent);
    const here = buttons.indexOf(document.activeElement);
    const sorted = buttons.findIndex((b) => b.closest("[aria-sort]").ariaSort !== "none");
    const next = here < 0 ? Math.max(0, sorted) : here + steps;
    buttons[Math.min(buttons.length - 1, Math.max(0, next))]?.focus();
  }
}
