// Elements without markup strings: h("button", {class: "quiet", onclick: run}, "Run").

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties that begin with "on" are listeners, `data` is the dataset, the rest are
 * attributes; true writes an empty attribute, false, null and undefined write none. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

// 20 × 20, drawn with one stroke each
const ICONS = {
  play: "M6 3.5v13l10.5-6.5z",
  pause: "M6.5 4v12M13.5 4v12",
  start: "M5 4v12M15.5 4.5v11L7.5 10z",
  loop: "M4 10a4 4 0 0 1 4-4h7m-2.500-3 3 3-3 3M16 10a4 4 0 0 1-4 4H5m2.500 3-3-3 3-3",
  click: "M7.500 3h5l3 14h-11zM5.300 13.500h9.400M10 13.500 15.500 5",
  count: "M4.500 6v8M8 6v8M11.500 6v8M14.500 7l3.500 3-3.500 3",
  undo: "M7.500 4 3.500 8l4 4M4 8h7.500a4.500 4.500 0 0 1 0 9H8",
  redo: "M12.500 4l4 4-4 4M16 8H8.500a4.500 4.500 0 0 0 0 9H12",
  download: "M10 3v10m-4-3.500 4 4 4-4M4 17h12",
  renew: "M16 10a6 6 0 1 1-2-4.500M16.500 2.500v4h-4",
  dice: "M4 4h12v12H4zM7.500 7.500h.01M12.500 12.500h.01M12.500 7.500h.01M7.500 12.500h.01",
  close: "M5 5l10 10M15 5 5 15",
  help: "M7.500 7.500a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .8-1 1.700M10 14.500h.01",
  minus: "M4.500 10h11",
  plus: "M4.500 10h11M10 4.500v11",
  star: "M10 3.500l2 4.200 4.500.600-3.300 3.200.800 4.600-4-2.200-4 2.200.800-4.600L3.500 8.300 8 7.700z",
  delete: "M4.500 6h11M8 6V4h4v2M6 6l.7 10.500h6.600L14 6",
};

/** A decorative icon; the button around it carries the label. */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 20 20", class: `icon icon-${name}`, "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }),
  );
}

/** A button with words, or whatever else is in it. */
export function button(content, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, content);
}

/** A quiet button with an icon; `label` says what it does, and so does a `title` of its own. */
export function iconButton(name, label, onclick, { kind = "", ...properties } = {}, ...more) {
  const words = { class: `quiet ${kind}`.trim(), "aria-label": label, title: label };
  return button([icon(name), ...more], onclick, { ...words, ...properties });
}

/** A control with its label above it. */
export const field = (label, ...control) => h("label", { class: "field" }, label, ...control);

/** A button that is off stays in the order of the tab key and keeps the focus. */
export function setOff(button, off) {
  button.setAttribute("aria-disabled", String(off));
}

export const isOff = (button) => button.getAttribute("aria-disabled") === "true";

const nameOf = (element) =>
  element.id || element.name || element.dataset.stem || element.getAttribute("aria-label") || element.textContent;

/** Run `change`, which fills `host` anew; what had the focus has it again, or else `host` has it. */
export function keepingFocus(host, change) {
  const held = host.contains(document.activeElement) ? document.activeElement : null;
  const name = held && nameOf(held);
  change();
  if (!held || held.isConnected) return;
  const again = [...host.querySelectorAll("button, input, select, summary")].find((one) => nameOf(one) === name);
  host.tabIndex = -1;
  (again ?? host).focus();
}

/** Tell `move` of the pointer's moves over `target` until it is lifted, and `end` of that. */
export function followPointer(target, move, end = () => {}) {
  const ended = new AbortController();
  const { signal } = ended;
  const stop = (event) => {
    ended.abort();
    end(event);
  };
  target.addEventListener("pointermove", move, { signal });
  for (const type of ["pointerup", "pointercancel"]) target.addEventListener(type, stop, { signal });
}

/** Replace what `element` holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child != null && child !== false));
}
