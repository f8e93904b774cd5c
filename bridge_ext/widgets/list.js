// A long list of which only the rows in view are in the page.

import { element, mark } from "./parts.js";
import { Row } from "./rows.js";
import { drawnSpan, neededSpan, seenSpan } from "./spans.js";

const UNSEEN = 600; // px that a view is taken to be high while it is not laid out

/** The treegrid: `want` is called with the span of rows it needs, `drawn` with who had the focus. */
export class List {
  constructor(heads, { want, drawn }) {
    this.want = want;
    this.drawn = drawn;
    this.body = element("div", { role: "rowgroup", class: "bx-body" });
    const grid = { role: "treegrid", class: "bx-grid", "aria-label": "Sessions and their refs" };
    this.node = element("div", { ...grid, "aria-multiselectable": "true", tabindex: "-1" });
    this.node.append(heads.node, this.body);
    this.heads = heads.node;
    this.rows = new Map(); // by key; a place without a row has the key "#" and its index
    this.spare = [];
    this.total = 0;
    this.rowHeight = 28;
    this.asked = null;
    this.node.addEventListener("scroll", () => this.soon(), { passive: true });
    this.watcher = new ResizeObserver(() => this.measure());
    this.watcher.observe(this.node);
  }

  close() {
    this.watcher.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Rows are as high as the host's letters ask for; known when the list is laid out. */
  measure() {
    const letters = parseFloat(getComputedStyle(this.node).fontSize);
    if (letters) this.rowHeight = Math.max(24, Math.round(letters * 2.15));
    this.node.style.setProperty("--bx-row", `${this.rowHeight}px`);
    this.body.style.height = `${this.total * this.rowHeight}px`;
    this.soon();
  }

  /** Show rows: how many there are, the row at an index (or null), and the kernel's time. */
  show(total, at, now) {
    this.total = total;
    this.at = at;
    this.now = now;
    mark(this.node, "aria-rowcount", total + 1);
    this.body.style.height = `${total * this.rowHeight}px`;
    this.draw();
  }

  /** Draw with the next frame, once however often it is asked for. */
  soon() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  seen() {
    const height = this.node.clientHeight ? this.node.clientHeight - this.heads.offsetHeight : 0;
    return seenSpan(this.node.scrollTop, height || UNSEEN, this.rowHeight, this.total);
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (!this.at) return;
    const seen = this.seen();
    this.ask(seen);
    const held = this.node.contains(this.node.getRootNode().activeElement);
    this.place(this.plan(drawnSpan(seen, this.total)));
    this.drawn(held);
  }

  ask(seen) {
    const needed = neededSpan(seen, this.asked, this.total);
    if (!needed) return;
    this.asked = needed;
    this.want(needed);
  }

  /** The rows to be in the page: [key, row or null, index]. */
  plan({ first, end }) {
    const planned = [];
    for (let index = first; index < end; index++) {
      const row = this.at(index);
      planned.push([row ? row.key : `#${index}`, row, index]);
    }
    return planned;
  }

  place(planned) {
    const kept = new Map();
    for (const [key, row, index] of planned) {
      const view = this.take(key, index);
      if (view) kept.set(key, view);
    }
    for (const view of this.rows.values()) this.spare.push(view);
    let before = null;
    for (const [key, row, index] of planned) {
      const view = kept.get(key) ?? this.spare.pop() ?? new Row();
      kept.set(key, view);
      view.show(row, index, this.now);
      view.node.style.transform = `translateY(${index * this.rowHeight}px)`;
      this.order(view.node, before);
      before = view.node;
    }
    this.rows = kept;
    for (const view of this.spare) view.node.remove();
  }

  /** The element that shows this row already, or the place where it was awaited. */
  take(key, index) {
    const name = this.rows.has(key) ? key : `#${index}`;
    const view = this.rows.get(name);
    this.rows.delete(name);
    return view;
  }

  /** Elements stand in the order of the rows, for those who read them; moved only if need be. */
  order(node, before) {
    const next = before ? before.nextSibling : this.body.firstChild;
    if (next !== node) this.body.insertBefore(node, next);
  }

  /** The element of the row at an index, if it is in the page. */
  viewAt(index) {
    for (const view of this.rows.values()) if (view.index === index) return view;
    return null;
  }

  /** The row that an event was on. */
  viewOf(event) {
    const node = event.target.closest(".bx-row");
    for (const view of this.rows.values()) if (view.node === node) return view;
    return null;
  }

  /** How many whole rows are in view. */
  page() {
    const { first, end } = this.seen();
    return Math.max(1, end - first - 2);
  }

  /** Scroll no further than it takes for a row to be in view, and draw it. */
  bring(index) {
    const top = index * this.rowHeight;
    const height = this.node.clientHeight - this.heads.offsetHeight;
    const { scrollTop } = this.node;
    if (top < scrollTop) this.node.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + height) {
      this.node.scrollTop = top + this.rowHeight - height;
    }
    if (!this.viewAt(index)) this.draw();
  }

  tick(now) {
    this.now = now;
    for (const view of this.rows.values()) view.tick(now);
  }
}
