// The worker: what it does, its memory, and the two things one can do to it.

import { Curve } from "./curve.js";
import { Meter } from "./meter.js";
import { Ask, actOf, button, element, enable, mark, put, reveal } from "./parts.js";
import { counted, deeds } from "./words.js";

/** The panel of the worker; `act` is called with the message of what was clicked. */
export class WorkerPanel {
  constructor(act) {
    this.dot = element("span", { class: "bx-dot", "aria-hidden": "true" });
    this.word = element("span", { class: "bx-status" });
    this.what = element("code", { class: "bx-what" });
    this.since = element("span", { class: "bx-since" });
    this.facts = element("span", { class: "bx-facts" });
    this.doing = element("span", { class: "bx-doing" });
    this.interrupt = button("Interrupt", "interrupt", { "aria-label": "Interrupt the worker" });
    this.restart = button("Restart", "restart", { "aria-label": "Restart the worker" });
    this.ask = new Ask("Restart", "Keep");
    this.ask.label("the worker");
    this.resident = element("span", { class: "bx-amount bx-resident" });
    this.curve = new Curve();
    this.meter = new Meter();
    this.node = this.laidOut();
    this.node.addEventListener("click", (event) => this.clicked(actOf(event), act));
  }

  laidOut() {
    this.says = element("div", { class: "bx-says" }, this.dot, this.word, this.what, this.since);
    this.buttons = element("div", { class: "bx-buttons" }, this.interrupt, this.restart);
    this.deed = element("div", { class: "bx-line" }, this.says, this.facts, this.doing);
    this.deed.append(this.buttons, this.ask.node);
    const amount = element("div", { class: "bx-rss" }, this.curve.node, this.resident);
    this.memory = element("div", { class: "bx-line bx-memory" }, amount, this.meter.node);
    const label = { class: "bx-worker", role: "group", "aria-label": "Worker" };
    return element("div", label, this.deed, this.memory);
  }

  clicked(did, act) {
    if (did === "interrupt" || did === "restart") act({ do: did });
    else if (did === "dismiss") act({ do: "dismiss", of: "worker" });
    else if (did) act({ do: "answer", to: "worker", yes: did === "yes" });
  }

  show(worker, now) {
    this.worker = worker;
    mark(this.node, "data-status", worker ? worker.status : "none");
    this.ask.show(worker ?? {});
    reveal(this.buttons, !!worker && !worker.asks);
    reveal(this.doing, !!worker?.doing);
    put(this.doing, worker?.doing);
    reveal(this.facts, !!worker && !worker.asks);
    reveal(this.memory, !!worker?.memory);
    if (worker) this.showFacts(worker);
    this.tick(now);
  }

  showFacts(worker) {
    put(this.facts, `pid ${worker.pid} · ${counted(worker.calls, "call")}`);
    enable(this.interrupt, worker.status !== "idle" && !worker.doing);
    enable(this.restart, !worker.doing);
    if (!worker.memory) return;
    put(this.resident, worker.memory.rss);
    this.curve.show(worker.curve ?? []);
    this.meter.show(worker);
  }

  /** What changes by itself: how long it has been busy. */
  tick(now) {
    const none = ["no worker; the next call starts one", "", ""];
    const [word, what, since] = this.worker ? deeds(this.worker, now) : none;
    put(this.word, word);
    put(this.what, what);
    mark(this.what, "title", what || null);
    put(this.since, since);
  }
}
