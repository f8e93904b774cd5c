// The filter, what there is, and what is done to many at once.

import { Ask, actOf, button, element, enable, put, reveal } from "./parts.js";
import { grouped, holdings } from "./words.js";

const TYPING = 120; // ms after the last key until the kernel is asked

/** The toolbar; `act` is called with the message of what was clicked or typed. */
export class Toolbar {
  constructor(act) {
    this.act = act;
    const input = { type: "search", class: "bx-filter", placeholder: "Filter", spellcheck: "false" };
    this.input = element("input", { ...input, "aria-label": "Filter the refs", autocomplete: "off" });
    this.counts = element("span", { class: "bx-counts" });
    this.selected = button("", "release_selected");
    this.all = button("Release all", "release_all");
    this.buttons = element("div", { class: "bx-buttons" }, this.selected, this.all);
    this.ask = new Ask("Release", "Keep");
    this.ask.label("them");
    this.node = element("div", { class: "bx-toolbar", role: "group", "aria-label": "Refs" });
    this.node.append(this.input, this.counts, this.buttons, this.ask.node);
    this.node.addEventListener("click", (event) => this.clicked(actOf(event)));
    this.input.addEventListener("input", () => this.typed());
  }

  clicked(did) {
    if (did === "release_selected" || did === "release_all") this.act({ do: did });
    else if (did === "dismiss") this.act({ do: "dismiss", of: "all" });
    else if (did) this.act({ do: "answer", to: "all", yes: did === "yes" });
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell(), TYPING);
  }

  tell() {
    clearTimeout(this.timer);
    this.timer = null;
    this.act({ do: "filter", text: this.input.value });
  }

  /** Empty the filter, at once. */
  clear() {
    this.input.value = "";
    this.tell();
  }

  show(state) {
    const writing = document.activeElement === this.input || this.timer;
    if (!writing && this.input.value !== state.filter) this.input.value = state.filter;
    this.ask.show(state);
    reveal(this.buttons, !state.asks);
    reveal(this.counts, !state.asks);
    put(this.counts, holdings(state));
    put(this.selected, `Release selected (${grouped(state.selected)})`);
    enable(this.selected, state.selected > 0);
    enable(this.all, state.refs > 0 || state.sessions > 0);
  }

  close() {
    clearTimeout(this.timer);
  }
}
