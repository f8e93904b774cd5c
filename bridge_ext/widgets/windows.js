// The rows that a state holds: some stretches of the whole list.

/** The rows at hand, by their place in the list and by key. */
export class Windows {
  constructor(view) {
    this.view = view;
    this.total = 0;
    this.parts = [];
  }

  /** Take what a state holds: what this view asked for, and the start of the list. */
  take(state) {
    const { [this.view]: own, "": start } = state.windows ?? {};
    this.parts = [own, start].filter(Boolean);
    this.total = state.total;
  }

  /** Nothing more will come: what is at hand is the list. */
  end() {
    const rows = this.parts[0]?.rows ?? [];
    this.parts = [{ first: 0, rows }];
    this.total = rows.length;
  }

  /** The row at a place, or null while it is not at hand. */
  at(index) {
    for (const { first, rows } of this.parts) {
      if (index >= first && index < first + rows.length) return rows[index - first];
    }
    return null;
  }

  /** The place of a row, or -1 while it is not at hand. */
  find(key) {
    for (const { first, rows } of this.parts) {
      const found = rows.findIndex((row) => row.key === key);
      if (found >= 0) return first + found;
    }
    return -1;
  }

  /** The place of the session that a row belongs to, or -1 if that is not known. */
  parent(index) {
    const told = this.at(index)?.parent;
    if (Number.isInteger(told)) return told;
    for (let above = index - 1; this.at(above); above--) {
      if (this.at(above).kind === "session") return above;
    }
    return -1;
  }

  /** All rows at hand. */
  rows() {
    return this.parts.flatMap(({ rows }) => rows);
  }
}
