// One row of the list: a session, a ref, or a place where a row will be.

import { COLUMNS } from "./heads.js";
import { Ask, button, element, mark, put, reveal } from "./parts.js";
import { clocks, span } from "./words.js";

const SOON = 600; // s until a session expires, from when on it is said in narrow views too

function cellOf(column, index, ...children) {
  const cell = { role: "gridcell", class: "bx-cell", "data-column": column };
  return element("div", { ...cell, "aria-colindex": index }, ...children);
}

function piece(name) {
  return element("span", { class: `bx-${name}` });
}

/** The element of a row. It is used again and again, for whichever row is there. */
export class Row {
  constructor() {
    this.fold = button("", "fold", { class: "bx-fold", tabindex: "-1" });
    this.name = piece("name");
    this.badges = piece("badges");
    this.text = piece("text");
    this.clock = piece("clock");
    this.note = piece("note");
    this.release = button("Release", "release", { class: "bx-button bx-quiet", tabindex: "-1" });
    this.doing = piece("doing");
    this.ask = new Ask("Release", "Keep");
    for (const each of [this.ask.yes, this.ask.no, this.ask.dismiss]) each.tabIndex = -1;
    this.cells = this.columns();
    this.asking = cellOf("ask", 2, this.ask.node);
    const row = { role: "row", class: "bx-row", tabindex: "-1" };
    this.node = element("div", row, ...Object.values(this.cells), this.asking);
    this.badged = "";
  }

  columns() {
    const inside = {
      name: [this.fold, this.name, this.badges, this.note, this.clock, this.text],
      act: [this.release, this.doing],
    };
    const ids = [...COLUMNS.map(([id]) => id), "act"];
    return Object.fromEntries(ids.map((id, i) => [id, cellOf(id, i + 1, ...(inside[id] ?? []))]));
  }

  /** Show a row (null: it is not there yet) at a place of the list. */
  show(row, index, now) {
    this.row = row;
    this.index = index;
    mark(this.node, "aria-rowindex", index + 2); // the heads are the first
    mark(this.node, "aria-busy", row ? null : "true");
    mark(this.node, "data-key", row ? row.key : null);
    mark(this.node, "data-kind", row ? row.kind : "none");
    this.node.classList.toggle("bx-busy", !!row?.doing);
    this.showStanding(row);
    this.showObject(row ?? {});
    this.showFacts(row ?? {});
    this.showActs(row ?? {});
    this.tick(now);
  }

  showStanding(row) {
    const session = row?.kind === "session";
    mark(this.node, "aria-level", row ? (session ? 1 : 2) : null);
    mark(this.node, "aria-selected", row ? String(!!row.selected) : null);
    mark(this.node, "aria-expanded", session ? String(!row.folded) : null);
    reveal(this.fold, session);
    mark(this.fold, "aria-label", session ? `${row.folded ? "Unfold" : "Fold"} ${row.name}` : null);
  }

  showObject({ name, text, note, badges = [] }) {
    put(this.name, name);
    put(this.note, note);
    put(this.text, text);
    mark(this.cells.name, "title", [name, note, text].filter(Boolean).join("  ") || null);
    if (this.badged === badges.join("\n")) return;
    this.badged = badges.join("\n");
    const made = badges.map((b) => element("span", { class: "bx-badge", "data-badge": b }, b));
    this.badges.replaceChildren(...made);
  }

  showFacts({ shape, size, held, cell }) {
    put(this.cells.size, size);
    for (const [id, text] of Object.entries({ shape, held, cell })) {
      put(this.cells[id], text);
      mark(this.cells[id], "title", text || null);
    }
    this.cells.held.classList.toggle("bx-nothing", held === "nothing");
  }

  showActs(row) {
    const asked = this.ask.show(row);
    const lost = row.badges?.includes("lost");
    this.node.classList.toggle("bx-asking", asked);
    reveal(this.asking, asked);
    reveal(this.release, !!row.can && !row.doing && !asked);
    reveal(this.doing, !!row.doing);
    put(this.doing, row.doing);
    put(this.release, lost ? "Dismiss" : "Release");
    mark(this.release, "aria-label", `${lost ? "Dismiss" : "Release"} ${row.name}`);
    if (asked) this.ask.label(row.name);
  }

  /** What changes by itself: its age, and a session's clock. */
  tick(now) {
    const row = this.row;
    put(this.cells.made, row?.made ? span(now - row.made) : "");
    put(this.clock, row ? clocks(row, now) : "");
    this.clock.classList.toggle("bx-soon", !!row?.expires && row.expires - now < SOON);
  }

  /** That it is where the keys go: the list's one stop of the Tab key. */
  stop(here) {
    mark(this.node, "tabindex", here ? "0" : "-1");
    this.node.classList.toggle("bx-cursor", here);
  }
}
