// Which rows of a long list are seen, drawn and asked for. Pure; a span is {first, end}.

const AROUND = 8; // rows drawn above and below what is seen
const MARGIN = 12; // rows that must be there above and below, before more is asked for
const REACH = 30; // rows asked for above and below
const STEP = 10; // a request begins and ends at a multiple of it: small moves ask for nothing new

/** The rows that are seen: pixels from the top, height of the view and of a row. */
export function seenSpan(top, height, rowHeight, total) {
  const first = Math.max(0, Math.floor(top / rowHeight));
  const end = Math.ceil((top + height) / rowHeight);
  return { first: Math.min(first, total), end: Math.min(Math.max(end, first), total) };
}

/** A span with so many rows more on both sides, within the list. */
export function widened({ first, end }, by, total) {
  return { first: Math.max(0, first - by), end: Math.min(total, end + by) };
}

/** The rows to draw. */
export function drawnSpan(seen, total) {
  return widened(seen, AROUND, total);
}

/** The rows to ask for; nothing if what was asked for last is enough. */
export function neededSpan(seen, asked, total) {
  const least = widened(seen, MARGIN, total);
  if (asked && asked.first <= least.first && least.end <= asked.end) return null;
  const first = Math.floor(Math.max(0, seen.first - REACH) / STEP) * STEP;
  return { first, end: Math.ceil((seen.end + REACH) / STEP) * STEP };
}
