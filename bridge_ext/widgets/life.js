// Whether there still is a kernel behind a view.

const RESTARTED = "The kernel was restarted.";
const ENDED = "The kernel has ended.";
const GONE = "What this showed is gone; run bridge.inspect() again.";
const NEVER = "There is no kernel behind this view. Run bridge.inspect() for one that is live.";

// What a kernel says of itself while it goes; a restart by itself, after a crash, is told to
// nobody else.
const ENDS = {
  restarting: RESTARTED,
  autorestarting: RESTARTED,
  terminating: ENDED,
  dead: ENDED,
};

/** Whether the model is known to have lost its kernel: it says so, or the host marks the view. */
function lost(model, el) {
  if (typeof model.comm_live === "boolean") return !model.comm_live;
  return el.closest(".jupyter-widgets-disconnected") !== null;
}

function connected(signal, slot) {
  if (!signal?.connect) return () => {};
  signal.connect(slot);
  return () => signal.disconnect(slot);
}

/** Call `over` with a text when there is no kernel any more; returns what ends the watch. */
export function watchLife(model, el, over) {
  const restarted = () => over(`${RESTARTED} ${GONE}`);
  // The event has no argument and the model may be a proxy that shows no more than the event:
  // a model that lives again is a new one, so only a model that says it lives does.
  const updated = () => model.comm_live !== true && restarted();
  const status = (_, now) => ENDS[now] && over(`${ENDS[now]} ${GONE}`);
  const manager = model.widget_manager;
  const session = manager?.context?.sessionContext;
  model.on("comm_live_update", updated);
  const ends = [
    () => model.off("comm_live_update", updated),
    connected((session ?? manager?.kernel)?.statusChanged, status),
  ];
  if (lost(model, el)) over(NEVER);
  return () => ends.forEach((end) => end());
}
