// What a worker's memory is made of: a bar, and the same in words.

import { element, mark, put } from "./parts.js";

const SHARES = [
  ["held", "held"],
  ["start", "start-up"],
  ["other", "other"],
];

/** The parts of resident memory, as fractions of the bar: {held, start, other}. */
export function sharesOf({ rss, held, start }) {
  const known = held + (start ?? 0);
  const whole = Math.max(rss ?? 0, known, 1); // what is held may be shared, or not yet resident
  return { held: held / whole, start: (start ?? 0) / whole, other: (whole - known) / whole };
}

/** The bar with its legend. */
export class Meter {
  constructor() {
    this.parts = {};
    this.bar = element("div", { class: "bx-bar", role: "img" });
    this.legend = element("ul", { class: "bx-legend" });
    this.node = element("div", { class: "bx-meter" }, this.bar, this.legend);
    for (const [id, word] of SHARES) this.add(id, word);
  }

  add(id, word) {
    const part = element("span", { class: "bx-share", "data-share": id });
    const size = element("span", { class: "bx-amount" });
    const swatch = element("span", { class: "bx-swatch", "data-share": id, "aria-hidden": "true" });
    this.legend.append(element("li", {}, swatch, `${word} `, size));
    this.bar.append(part);
    this.parts[id] = { part, size };
  }

  show(worker) {
    const shares = sharesOf(worker);
    for (const [id, { part, size }] of Object.entries(this.parts)) {
      part.style.flexGrow = shares[id].toFixed(4);
      put(size, worker.memory[id]);
    }
    const words = SHARES.map(([id, word]) => `${word} ${worker.memory[id]}`);
    mark(this.bar, "aria-label", `Memory: ${words.join(", ")}`);
  }
}
