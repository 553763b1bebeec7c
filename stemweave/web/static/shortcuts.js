// Keys of the studio. They rest while one types, and leave every control its own keys.

import { h, fill } from "./dom.js";
import { comparedTarget } from "./versions.js";

const TYPING = "input:not([type=range]), textarea, select";

/** [keys for the help, words, matches(event), run(app, event)]. */
const KEYS = [
  ["Space", "Play or pause", (e) => e.key === " ", (app) => app.deck.togglePlay()],
  ["Home End", "To the beginning or the end", (e) => /^(Home|End)$/.test(e.key), toEdge],
  ["← →", "One second back or on, with Shift five", (e) => /^Arrow(Left|Right)$/.test(e.key), seekBy],
  ["[ ]", "Begin or end the selection at the playhead", (e) => "[]".includes(e.key), markEdge], // AltGr 8 and 9 of many
  ["1 … 9", "Mute a lane, with Shift solo it", (e) => /^Digit[1-9]$/.test(e.code), toggleLane],
  ["Esc", "Clear the selection", (e) => e.key === "Escape", (app) => app.selection.clear()],
  ["L", "Loop the selection, or everything", (e) => key(e, "l"), (app) => app.deck.toggleLoop()],
  ["B", "Loop the bar at the playhead", (e) => key(e, "b"), (app) => app.deck.loopBar(app.stemsToFill)],
  [", .", "Slower or faster at the same pitch", (e) => ",.".includes(e.key), (app, e) => app.deck.practice.step(e.key === "," ? -1 : 1)],
  ["C", "Click on every beat", (e) => key(e, "c"), (app) => app.music.sheet.hasBars && app.deck.toggleClick()],
  ["I", "A bar of clicks before playing begins", (e) => key(e, "i"), (app) => app.music.sheet.hasBars && app.deck.toggleCountIn()],
  ["X", "Compare with the version heard before, at the same place and as loud", (e) => key(e, "x"), compare],
  ["R", "Count in bars or in seconds", (e) => key(e, "r"), (app) => app.music.toggleBars()],
  ["F", "Write the selection anew", (e) => key(e, "f"), (app) => app.fillSelection()],
  ["G", "Waveforms or spectrograms", (e) => key(e, "g"), (app) => app.deck.toggleSpectral()],
  ["+ −", "Zoom", (e) => "+=-−".includes(e.key), zoomBy],
  ["0", "Show the whole piece", (e) => e.key === "0", (app) => app.view.setZoom(0)],
  ["Ctrl Z", "Undo, with Shift redo", (e) => ctrl(e, "z"), (app, e) => app.undo(e.shiftKey ? 1 : -1)],
  ["Ctrl Y", "Redo", (e) => ctrl(e, "y"), (app) => app.undo(1)],
  ["?", "This list", (e) => e.key === "?", () => document.getElementById("help").showModal()],
];

const key = (event, letter) => event.key.toLowerCase() === letter;
const ctrl = (event, letter) => (event.ctrlKey || event.metaKey) && key(event, letter);

function toEdge(app, event) {
  app.player.seek(event.key === "Home" ? 0 : app.view.duration);
}

function seekBy(app, event) {
  const step = (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 5 : 1);
  app.player.seek(app.player.position + step);
}

function toggleLane(app, event) {
  const name = app.lanes.names[Number(event.code.at(-1)) - 1];
  if (name) app.mixer.toggle(name, event.shiftKey ? "soloed" : "muted");
}

/** Go to the version that was open before; playing goes on at its place. */
function compare(app) {
  const other = comparedTarget(app.project, app.visited);
  if (!other) return;
  app.deck.matchNext();
  app.goTo(other.id);
}

function markEdge(app, event) {
  const { range } = app.selection;
  const { position } = app.player;
  const { duration } = app.view;
  const stems = range?.stems ?? app.stemsToFill;
  const [start, end] =
    event.key === "["
      ? [position, range && range.end > position ? range.end : duration]
      : [range && range.start < position ? range.start : 0, position];
  const { bars } = app.music;
  const ends = bars ? bars.snapped(...(event.key === "[" ? [start, end] : [end, start])) : [start, end];
  app.selection.select(...ends, stems, duration);
}

function zoomBy(app, event) {
  app.deck.zoomTo(app.view.zoom + ("-−".includes(event.key) ? -0.1 : 0.1));
}

const pressable = (target) => target.closest("button, summary, a");
let byMouse = false; // whether the focus came from the mouse: :focus-visible changes with the next key

/** Whether the focused control wants this key for itself: not Space after a click of the mouse. */
function isTaken(event) {
  const { target } = event;
  if (target.matches(TYPING)) return true;
  if (target.matches("[type=range]")) return /^(Arrow|Home|End|Page)/.test(event.key);
  if (event.key === " ") return pressable(target) !== null && !byMouse;
  return false;
}

/** Listen for keys while a project is open. */
export function listenForKeys(app) {
  document.addEventListener("pointerdown", () => (byMouse = true));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") byMouse = false;
    if (!app.version || document.querySelector("dialog[open]") || isTaken(event)) return;
    const isSign = event.getModifierState("AltGraph") || "[]".includes(event.key); // typed with Alt by some
    const withCtrl = (event.ctrlKey || event.metaKey) && !isSign;
    const match = KEYS.find(([, , matches]) => matches(event));
    if (!match || (event.altKey && !isSign) || withCtrl !== (match[0].startsWith("Ctrl"))) return;
    event.preventDefault();
    if (event.key === " ") pressable(event.target)?.blur(); // it would be pressed when Space goes up
    match[3](app, event);
  });
}

/** Write the list of keys. */
export function showKeys(list) {
  fill(
    list,
    KEYS.flatMap(([keys, words]) => [h("dt", {}, keys.split(" ").map((name) => h("kbd", {}, name))), h("dd", {}, words)]),
  );
}
