// Elements of the page. What the kernel says is only ever put in as text.

const FOCUSED = new Set(["button", "input"]);

/**
 * An element with attributes (a function: a listener; null: left out) and children.
 *
 * Where the focus can be, Jupyter's own shortcuts do not apply: "dd" deletes no cell. It asks the
 * focused element first and those around it later, and Notebook 7 asks before we hear of the key.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  if (FOCUSED.has(tag) || "tabindex" in attributes) made.dataset.lmSuppressShortcuts = "true";
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else mark(made, name, value);
  }
  made.append(...children);
  return made;
}

/** Show this text; touches the page only if it is another one. */
export function put(node, text) {
  const wanted = text ?? "";
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Set an attribute, or take it away (null); touches the page only if it differs. */
export function mark(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Show or hide an element. */
export function reveal(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/** A button; `act` names what it does, for whoever listens further up. */
export function button(text, act, attributes = {}) {
  const fixed = { type: "button", class: "bx-button", "data-act": act };
  return element("button", { ...fixed, ...attributes }, text);
}

/** Whether a click on this button counts: it keeps its focus while it can do nothing. */
export function enable(node, can) {
  mark(node, "aria-disabled", can ? null : "true");
}

/** What a click was on: the nearest button that names an act, if it can be used. */
export function actOf(event) {
  const at = event.target.closest("[data-act]");
  return at && at.getAttribute("aria-disabled") !== "true" && !at.disabled ? at.dataset.act : "";
}

/** A question with its two answers, or a failure with a word to dismiss it, in one line. */
export class Ask {
  constructor(yes, no) {
    this.text = element("span", { class: "bx-ask-text" });
    this.yes = button(yes, "yes", { class: "bx-button bx-yes" });
    this.no = button(no, "no");
    this.dismiss = button("Dismiss", "dismiss");
    this.node = element("div", { class: "bx-ask", hidden: "" });
    this.node.append(this.text, this.yes, this.no, this.dismiss);
  }

  /** Show the question, else the failure, else nothing; says whether there is something. */
  show({ asks, failed }) {
    const text = asks || failed || "";
    put(this.text, text);
    mark(this.text, "title", text || null);
    this.node.classList.toggle("bx-failed", !asks && !!failed);
    reveal(this.yes, !!asks);
    reveal(this.no, !!asks);
    reveal(this.dismiss, !asks && !!failed);
    reveal(this.node, !!text);
    return !!text;
  }

  /** Name the buttons for those who do not see what they stand beside. */
  label(of) {
    for (const each of [this.yes, this.no, this.dismiss]) {
      mark(each, "aria-label", `${each.textContent} ${of}`);
    }
  }
}
