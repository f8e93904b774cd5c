// What was sent to the kernel and not yet answered; what is shown of it meanwhile.

const PATIENCE = 2000; // ms until it is said that the kernel does not answer
const SETTLING = 1000; // ms after the kernel dealt with a message: nothing more will come of it

/**
 * Messages to the kernel, each with the marks its rows carry until a state answers it.
 *
 * A kernel tells when it begins and ends with a message, in most front ends. Where it does, a
 * state that was made before the kernel began answers nothing; where it does not, any state does.
 */
export class Outbox {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.pending = new Set();
    this.hears = false;
  }

  /** Send an action; `marks` are the changes to rows, by key, that are shown at once. */
  send(message, marks = {}) {
    const entry = { marks, begun: false, late: false };
    this.pending.add(entry);
    entry.timer = setTimeout(() => this.expire(entry), PATIENCE);
    this.post(message, entry);
    this.changed();
  }

  /** Send what nothing is shown of: what this view looks at. */
  post(message, entry = {}) {
    const status = (heard) => this.heard(heard?.content?.execution_state, entry);
    try {
      this.model.send(message, { iopub: { status } });
    } catch {
      // The other end is gone; that is said elsewhere.
    }
  }

  heard(status, entry) {
    this.hears = true;
    if (status === "busy") entry.begun = true;
    if (status === "busy" && entry.late) this.changed();
    if (status === "idle" && this.pending.has(entry)) {
      clearTimeout(entry.timer);
      entry.timer = setTimeout(() => this.drop(entry), SETTLING);
    }
  }

  expire(entry) {
    entry.late = true;
    this.changed();
  }

  drop(entry) {
    clearTimeout(entry.timer);
    if (this.pending.delete(entry)) this.changed();
  }

  /** A state has come. */
  answered() {
    for (const entry of this.pending) {
      if (this.hears && !entry.begun) continue;
      clearTimeout(entry.timer);
      this.pending.delete(entry);
    }
  }

  /** Whether the kernel has left a message alone for long. */
  get waiting() {
    return [...this.pending].some((entry) => entry.late && !entry.begun);
  }

  /** A row as it is to be shown: with what is under way. */
  marked(row) {
    let shown = row;
    for (const { marks } of this.pending) {
      if (marks[row.key]) shown = { ...shown, ...marks[row.key] };
    }
    return shown;
  }

  close() {
    for (const entry of this.pending) clearTimeout(entry.timer);
    this.pending.clear();
  }
}
