// The session inspector: what a bridge holds, and ways to free it.

import { Cursor } from "./cursor.js";
import { Heads } from "./heads.js";
import { Keyboard } from "./keys.js";
import { watchLife } from "./life.js";
import { List } from "./list.js";
import { marksOf } from "./marks.js";
import { News, Releases, changes } from "./news.js";
import { Outbox } from "./outbox.js";
import { actOf, element, mark, put, reveal } from "./parts.js";
import { Toolbar } from "./toolbar.js";
import { Windows } from "./windows.js";
import { WorkerPanel } from "./worker.js";

const HINT = "/ filters · Space selects · Delete releases";
const DRIFT = 30; // s by which the kernel's clock may seem to go back before it is believed
const ASKING = 400; // ms that a request for rows may take before the next one is sent anyway

/** One view of a model. */
class Inspector {
  constructor(model, el) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2, 10);
    this.over = null;
    this.offset = -Infinity;
    this.outbox = new Outbox(model, () => this.draw());
    this.windows = new Windows(this.id);
    this.releases = new Releases();
    this.news = new News();
    this.build();
    this.cursor = new Cursor(this.list, this.windows);
    this.keyboard = new Keyboard(this);
    this.take(model.get("state"));
    el.append(this.root);
    this.listen(el);
  }

  build() {
    const act = (message) => this.act(message);
    this.panel = new WorkerPanel(act);
    this.toolbar = new Toolbar(act);
    this.heads = new Heads(act);
    const drawn = (held) => this.cursor.drawn(held);
    this.list = new List(this.heads, { want: (span) => this.want(span), drawn });
    this.list.body.addEventListener("click", (event) => this.clicked(event));
    this.list.body.addEventListener("mousedown", (event) => this.pressed(event));
    this.list.node.addEventListener("focus", () => this.cursor.entered());
    this.gone = element("p", { class: "bx-gone", role: "status", hidden: "" });
    this.empty = element("p", { class: "bx-empty" });
    this.area = element("div", { class: "bx-area" }, this.list.node, this.empty);
    this.note = element("span", { class: "bx-limit" });
    const hint = element("span", { class: "bx-hint", "aria-hidden": "true" }, HINT);
    const foot = element("div", { class: "bx-foot" }, this.news.node, this.note, hint);
    const root = { class: "bx-inspector", role: "region", "aria-label": "Session inspector" };
    this.root = element("div", { ...root, "data-lm-suppress-shortcuts": "true" });
    this.root.append(this.gone, this.panel.node, this.toolbar.node, this.area, foot);
  }

  listen(el) {
    const changed = () => this.take(this.model.get("state"));
    this.model.on("change:state", changed);
    const unwatch = watchLife(this.model, el, (text) => this.end(text));
    const clock = setInterval(() => this.tick(), 1000);
    this.close = () => {
      this.model.off("change:state", changed);
      unwatch();
      clearInterval(clock);
      clearTimeout(this.asking);
      this.outbox.post({ do: "leave", view: this.id });
      for (const part of [this.outbox, this.toolbar, this.list, this.news]) part.close();
      this.root.remove();
    };
  }

  /** The kernel's time now. */
  now() {
    return Date.now() / 1000 + this.offset;
  }

  /** A state has come. */
  take(state) {
    if (this.over || !state || !("windows" in state)) return;
    const before = this.state ?? state;
    const offset = state.now - Date.now() / 1000;
    // The largest is the one that came fastest: a clock that never jumps back a second.
    this.offset = offset < this.offset - DRIFT ? offset : Math.max(offset, this.offset);
    this.state = state;
    this.windows.take(state);
    this.outbox.answered();
    this.arrived();
    this.cursor.settle();
    this.tell(before);
    this.draw();
    if (state.over) this.end(state.over);
  }

  tell(before) {
    const rowOf = (key) => {
      const row = this.windows.at(this.windows.find(key));
      return row && this.shown(row);
    };
    const words = [this.releases.told(this.state, rowOf), changes(before, this.state)];
    const text = words.filter(Boolean).join("; ");
    if (text) this.news.say(text);
  }

  /** Something with what is under way. */
  shown(row) {
    if (this.over) return { ...row, can: false, asks: "", doing: "", failed: "" };
    return this.outbox.marked(row);
  }

  /** The state of the worker or of what is done to all, with what is under way. */
  part(key) {
    const { state } = this;
    if (key === "worker") return state.worker && this.shown({ ...state.worker, key });
    return this.shown({ ...state, key });
  }

  asked(key) {
    return this.part(key)?.asks;
  }

  draw() {
    if (!this.state) return;
    const held = this.holder();
    this.panel.show(this.part("worker"), this.now());
    this.toolbar.show(this.part("all"));
    this.heads.show(this.state.sort);
    this.showList();
    put(this.note, this.state.note);
    this.news.wait(!this.over && this.outbox.waiting);
    if (held) this.refocus(held);
  }

  showList() {
    const { state, windows } = this;
    reveal(this.empty, !windows.total && !!state.empty);
    put(this.empty, state.empty);
    reveal(this.list.node, windows.total > 0 || !!state.filter);
    const height = this.area.offsetHeight;
    if (!state.filter) this.area.style.minHeight = "";
    else if (!this.area.style.minHeight) this.area.style.minHeight = `${height}px`;
    const at = (index) => {
      const row = windows.at(index);
      return row && this.shown(row);
    };
    this.list.show(windows.total, at, this.now());
  }

  /** The part that holds the focus, if one does. */
  holder() {
    const active = this.root.getRootNode().activeElement;
    return [this.panel.node, this.toolbar.node, this.area].find((part) => part.contains(active));
  }

  /** What had the focus may have been hidden: go to what took its place. */
  refocus(part) {
    const active = this.root.getRootNode().activeElement;
    if (part.contains(active) && active.getClientRects().length) return;
    const shown = [...part.querySelectorAll("button, input")].filter(
      (each) => each.getClientRects().length && !each.disabled,
    );
    const asks = shown.find((each) => each.dataset.act === "yes");
    const next = asks ?? shown.find((each) => each.dataset.act && !each.ariaDisabled);
    (part === this.area ? this.toolbar.input : next ?? shown[0])?.focus({ preventScroll: true });
  }

  tick() {
    if (this.over || !this.state || !this.root.isConnected || document.hidden) return;
    this.list.tick(this.now());
    this.panel.tick(this.now());
  }

  /** Send an action, and show at once what it will do. */
  act(message) {
    if (this.over || !this.state) return;
    const rows = this.windows.rows().map((row) => this.shown(row));
    this.expect(message, rows);
    if (message.do === "answer") this.news.say(""); // it may still be asking
    this.outbox.send(message, marksOf(message, rows));
  }

  expect(message, rows) {
    const key = message.do === "answer" && message.yes ? message.to : message.key;
    const many = message.do.startsWith("release_") || (message.do === "answer" && key === "all");
    if (many) this.releases.all(this.state);
    const row = rows.find((each) => each.key === key);
    if (row && (message.do === "release" || message.do === "answer")) {
      this.releases.one(row, this.state);
    }
  }

  answer(to, yes) {
    this.act({ do: "answer", to, yes });
  }

  /** Shift and a click select rows here: not text, and no cells of the notebook. */
  pressed(event) {
    if (!event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
  }

  clicked(event) {
    const view = this.list.viewOf(event);
    if (!view?.row) return;
    const { key, folded } = view.row;
    const did = actOf(event);
    this.cursor.move(view.index);
    if (did === "fold") this.act({ do: "fold", keys: [key], folded: !folded });
    else if (did === "release") this.act({ do: "release", key });
    else if (did === "dismiss") this.act({ do: "dismiss", of: key });
    else if (did) this.answer(key, did === "yes");
    else this.act({ do: "select", key, how: this.how(event) });
  }

  how({ shiftKey, ctrlKey, metaKey }) {
    if (shiftKey) return "to";
    return ctrlKey || metaKey ? "toggle" : "only";
  }

  /** Ask for rows: one request at a time, then the newest. */
  want(span) {
    if (this.over) return;
    this.wanted = span;
    if (!this.asking) this.request();
  }

  request() {
    const { first, end } = this.wanted;
    this.wanted = null;
    this.outbox.post({ do: "window", view: this.id, first, count: end - first });
    this.asking = setTimeout(() => this.arrived(), ASKING);
  }

  /** The rows that were asked for are there, or take too long. */
  arrived() {
    clearTimeout(this.asking);
    this.asking = null;
    if (this.wanted) this.request();
  }

  /** Nothing can be done any more. */
  end(text) {
    if (this.over) return;
    this.over = text;
    this.windows.end();
    this.outbox.close();
    this.cursor.settle();
    this.root.classList.add("bx-over");
    put(this.gone, text);
    reveal(this.gone, true);
    this.draw();
    for (const each of this.root.querySelectorAll("button, input")) each.disabled = true;
    mark(this.list.node, "aria-disabled", "true");
  }
}

/** anywidget's entry: draw a model into an element; returns what undoes it. */
function render({ model, el }) {
  const inspector = new Inspector(model, el);
  return () => inspector.close();
}

export default { render };
