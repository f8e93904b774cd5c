// The row where the keys go: the list's one stop of the Tab key.

/** A place in the list, held by the key of the row that is there. */
export class Cursor {
  constructor(list, windows) {
    this.list = list;
    this.windows = windows;
    this.index = 0;
    this.key = null;
    this.parked = false; // the focus is on the list itself, as its row is out of view
  }

  get row() {
    return this.windows.at(this.index);
  }

  /** Follow the row to where it is now; if it has gone, stay for the one in its place. */
  settle() {
    const found = this.key === null ? -1 : this.windows.find(this.key);
    if (found >= 0) this.index = found;
    this.index = Math.max(0, Math.min(this.index, this.windows.total - 1));
    if (this.row) this.key = this.row.key;
  }

  /** After the list was drawn: one row can be reached by Tab, and keeps the focus if it had it. */
  drawn(held) {
    for (const view of this.list.rows.values()) view.stop(view.index === this.index);
    const view = this.list.viewAt(this.index);
    this.list.node.tabIndex = view ? -1 : 0;
    if (held) this.take(view);
  }

  take(view) {
    const target = view ? view.node : this.list.node;
    this.parked = !view;
    if (target.getRootNode().activeElement !== target) target.focus({ preventScroll: true });
  }

  /** The list itself got the focus: by Tab, on to the row; by a click into it, not. */
  entered() {
    if (!this.parked && this.list.node.matches(":focus-visible")) this.focus();
  }

  /** Go to a place, into view, with the focus. */
  move(index) {
    if (!this.windows.total) return;
    this.index = Math.max(0, Math.min(index, this.windows.total - 1));
    this.key = this.row?.key ?? null;
    this.focus();
  }

  /** Take the focus. */
  focus() {
    this.list.bring(this.index);
    this.drawn(true);
  }
}
