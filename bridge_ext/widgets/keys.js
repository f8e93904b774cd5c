// The keys of the inspector. None of them reaches the notebook around it.

const MOVES = {
  ArrowDown: (index) => index + 1,
  ArrowUp: (index) => index - 1,
  PageDown: (index, page) => index + page,
  PageUp: (index, page) => index - page,
  Home: () => 0,
  End: () => Infinity,
};
const DEEDS = {
  ArrowLeft: "close",
  ArrowRight: "open",
  " ": "toggle",
  Delete: "release",
  Backspace: "release",
  Enter: "enter",
  Escape: "escape",
};
// Held down, a key moves on, but releases and answers only once.
const ONCE = new Set(["toggle", "release", "enter", "escape"]);

/** The keyboard of an inspector: what a key does depends on where the focus is. */
export class Keyboard {
  constructor(inspector) {
    this.inspector = inspector;
    inspector.root.addEventListener("keydown", (event) => this.pressed(event));
  }

  pressed(event) {
    const done = !event.isComposing && this.handle(event);
    if (done) event.preventDefault();
    // A shortcut of the browser or the system that means nothing here is left alone.
    if (done || !(event.ctrlKey || event.metaKey || event.altKey)) event.stopPropagation();
  }

  /** Do what the key means; whether it means anything. */
  handle(event) {
    const { list, heads, toolbar } = this.inspector;
    if (event.target === toolbar.input) return this.inFilter(event);
    if (event.key === "/" && !event.ctrlKey && !event.metaKey) return this.toFilter();
    if (heads.node.contains(event.target)) return this.inHeads(event);
    if (list.node.contains(event.target)) return this.inList(event);
    return event.key === "Escape" && this.escape();
  }

  toFilter() {
    this.inspector.toolbar.input.focus();
    this.inspector.toolbar.input.select();
    return true;
  }

  inFilter({ key }) {
    const { cursor, toolbar } = this.inspector;
    if (key === "Enter" || key === "ArrowDown") cursor.move(cursor.index);
    else if (key === "Escape" && toolbar.input.value) toolbar.clear();
    else if (key === "Escape") cursor.move(cursor.index);
    else return false;
    return true;
  }

  inHeads({ key }) {
    const { cursor, heads } = this.inspector;
    if (key === "ArrowDown" || key === "Escape") cursor.move(cursor.index);
    else if (key === "ArrowLeft") heads.focus(-1);
    else if (key === "ArrowRight") heads.focus(1);
    else return false;
    return true;
  }

  inList(event) {
    const wide = event.ctrlKey || event.metaKey;
    if (wide && event.key.toLowerCase() === "a") return this.select(null, "all");
    if (event.altKey || (wide && event.key !== "Home" && event.key !== "End")) return false;
    if (MOVES[event.key]) return this.go(event);
    const deed = DEEDS[event.key];
    if (!deed) return false;
    // Nothing is done to a row that is out of view: the key brings it back.
    if (event.target === this.inspector.list.node && deed !== "escape") {
      return this.inspector.cursor.focus() ?? true;
    }
    if (!(event.repeat && ONCE.has(deed))) this[deed]();
    return true;
  }

  go({ key, shiftKey }) {
    const { cursor, list, heads, windows } = this.inspector;
    const from = cursor.row;
    if (key === "ArrowUp" && cursor.index === 0 && !shiftKey) heads.focus();
    else cursor.move(Math.min(MOVES[key](cursor.index, list.page()), windows.total - 1));
    if (shiftKey && from && cursor.row) this.extend(from, cursor.row);
    return true;
  }

  /** Select from one row to another; the first one begins it, if it was not selected. */
  extend(from, to) {
    if (!this.inspector.shown(from).selected) this.select(from.key, "only");
    this.select(to.key, "to");
  }

  select(key, how) {
    this.inspector.act({ do: "select", key, how });
    return true;
  }

  toggle() {
    const { row } = this.inspector.cursor;
    if (row) this.select(row.key, "toggle");
  }

  close() {
    const { cursor, windows } = this.inspector;
    const row = cursor.row && this.inspector.shown(cursor.row);
    if (row?.kind === "session" && !row.folded) this.fold(row, true);
    const parent = row?.kind === "ref" ? windows.parent(cursor.index) : -1;
    if (parent >= 0) cursor.move(parent);
  }

  open() {
    const { cursor } = this.inspector;
    const row = cursor.row && this.inspector.shown(cursor.row);
    if (row?.kind !== "session") return;
    if (row.folded) this.fold(row, false);
    else if (this.inspector.windows.at(cursor.index + 1)?.kind === "ref") {
      cursor.move(cursor.index + 1);
    }
  }

  fold(row, folded) {
    this.inspector.act({ do: "fold", keys: [row.key], folded });
  }

  release() {
    const { cursor, state } = this.inspector;
    const row = cursor.row && this.inspector.shown(cursor.row);
    if (state.selected > 0) this.inspector.act({ do: "release_selected" });
    else if (row?.can && !row.doing && !row.asks) this.inspector.act({ do: "release", key: row.key });
  }

  enter() {
    const row = this.inspector.cursor.row && this.inspector.shown(this.inspector.cursor.row);
    if (row?.asks) this.inspector.answer(row.key, true);
    else if (this.inspector.asked("all")) this.inspector.answer("all", true);
    else if (row?.kind === "session") this.fold(row, !row.folded);
  }

  /** Answer an ask with no, else clear the selection, else the filter. */
  escape() {
    const { inspector } = this;
    const row = inspector.cursor.row && inspector.shown(inspector.cursor.row);
    const asks = ["all", "worker"].find((of) => inspector.asked(of));
    if (row?.asks) inspector.answer(row.key, false);
    else if (asks) inspector.answer(asks, false);
    else if (inspector.state.selected > 0) this.select(null, "none");
    else if (inspector.state.filter) inspector.toolbar.clear();
    return true;
  }
}
