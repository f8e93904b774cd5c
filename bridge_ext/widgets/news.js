// What has happened, in a line that is read out; and what to say of what was released.

import { element, put } from "./parts.js";
import { counted } from "./words.js";

const SHOWN = 8000; // ms

/** The line at the foot of the list. */
export class News {
  constructor() {
    this.node = element("span", { class: "bx-news", role: "status", "aria-live": "polite" });
    this.text = "";
    this.waiting = false;
  }

  say(text) {
    this.text = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say(""), SHOWN);
    if (!text) clearTimeout(this.timer);
    this.show();
  }

  /** That the kernel does not answer comes before anything else. */
  wait(waiting) {
    this.waiting = waiting;
    this.show();
  }

  show() {
    put(this.node, this.waiting ? "waiting for the kernel ..." : this.text);
  }

  close() {
    clearTimeout(this.timer);
  }
}

/** Releases that were asked for, until it can be said what has come of them. */
export class Releases {
  constructor() {
    this.rows = new Map(); // key: [name, how much there was]
    this.many = null; // how many refs there were
  }

  /** A row is to be released. */
  one(row, state) {
    this.rows.set(row.key, [row.name, state.refs + state.sessions]);
  }

  /** Many rows are to be released. */
  all(state) {
    this.many = state.refs;
  }

  /** What has come of it by now, given the row of a key as it is (null: not in sight). */
  told(state, rowOf) {
    const words = [...this.rows].map(([key, was]) => this.fate(key, was, rowOf(key), state));
    return [...words, this.ofMany(state)].filter(Boolean).join("; ");
  }

  fate(key, [name, before], row, state) {
    if (row?.doing) return "";
    this.rows.delete(key);
    if (!row) return state.refs + state.sessions < before ? `released ${name}` : "";
    return row.asks ? `${row.asks} Enter releases, Escape keeps.` : row.failed;
  }

  ofMany(state) {
    const fewer = this.many === null ? 0 : this.many - state.refs;
    if (fewer > 0 || state.failed) this.many = null;
    return fewer > 0 ? `released ${counted(fewer, "ref")}` : "";
  }
}

/** What is worth saying of a new state beside releases: what was asked for is there. */
export function changes(before, state) {
  const words = [];
  if (state.filter !== before.filter && state.filter) {
    words.push(`${counted(state.found, "ref")} found`);
  }
  if (String(state.sort) !== String(before.sort)) words.push(`sorted by ${state.sort.join(", ")}`);
  for (const of of ["asks", "failed"]) {
    if (state[of] !== before[of]) words.push(state[of]);
    if (state.worker?.[of] !== before.worker?.[of]) words.push(state.worker?.[of]);
  }
  if (state.worker?.doing !== before.worker?.doing) words.push(state.worker?.doing);
  return words.filter(Boolean).join("; ");
}
