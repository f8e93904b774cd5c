// What is shown at once of a message, before the kernel has answered it. Pure.

const RELEASING = { doing: "releasing ...", asks: "", failed: "" };

function ofAnswer({ to, yes }) {
  const doing = { worker: "restarting ...", all: "" }[to] ?? RELEASING.doing;
  return { [to]: yes ? { asks: "", doing } : { asks: "" } };
}

function ofSelect({ key, how }, rows) {
  if (how === "all" || how === "none") {
    return Object.fromEntries(rows.map((row) => [row.key, { selected: how === "all" }]));
  }
  const chosen = rows.find((row) => row.key === key);
  if (how === "toggle") return { [key]: { selected: !chosen?.selected } };
  if (how === "to") return { [key]: { selected: true } };
  return Object.fromEntries(rows.map((row) => [row.key, { selected: row.key === key }]));
}

const MARKS = {
  release: ({ key }) => ({ [key]: RELEASING }),
  release_selected: (_, rows) =>
    Object.fromEntries(rows.filter((r) => r.selected && r.can).map((r) => [r.key, RELEASING])),
  interrupt: () => ({ worker: { doing: "interrupting ..." } }),
  answer: ofAnswer,
  dismiss: ({ of }) => ({ [of]: { failed: "" } }),
  fold: ({ keys, folded }) => Object.fromEntries(keys.map((key) => [key, { folded }])),
  select: ofSelect,
};

/** Changes to rows by key, or to "worker" and "all", that a message will bring about. */
export function marksOf(message, rows) {
  return MARKS[message.do]?.(message, rows) ?? {};
}
