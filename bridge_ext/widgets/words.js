// Numbers and spans of time as people read them. Pure.

/** A count with its thousands apart: 10,234. */
export function grouped(number) {
  return Math.round(number).toLocaleString("en-US");
}

/** "1 ref", "10,234 refs". */
export function counted(number, one, many = `${one}s`) {
  return `${grouped(number)} ${number === 1 ? one : many}`;
}

/** Seconds as "12 s", "3 min", "2 h 5 min", "3 d 4 h"; a clock that runs behind gives "0 s". */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(large, unit, small, part) {
  return small ? `${large} ${unit} ${small} ${part}` : `${large} ${unit}`;
}

/** What is held of how much there is: "2 sessions · 120 of 10,234 refs · 4.1 GB". */
export function holdings(state) {
  const all = counted(state.refs, "ref");
  const refs = state.filter ? `${grouped(state.found)} of ${all}` : all;
  return [counted(state.sessions, "session"), refs, state.size].filter(Boolean).join(" · ");
}

/** What a session's clock says: since when it is idle, and when it will expire. */
export function clocks(row, now) {
  const words = [];
  if (row.idle !== null && row.idle !== undefined) words.push(`idle ${span(now - row.idle)}`);
  if (row.expires) words.push(`expires in ${span(row.expires - now)}`);
  return words.join(" · ");
}

/** What a worker does: [a word, what it runs, how long]. */
export function deeds(worker, now) {
  const since = worker.since ? `for ${span(now - worker.since)}` : "";
  const doing = { idle: "idle", busy: "busy", silent: "busy in C, does not answer" };
  const idle = worker.status === "idle";
  return [doing[worker.status] ?? worker.status, idle ? "" : worker.what ?? "", idle ? "" : since];
}
