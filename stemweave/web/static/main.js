// The studio's page: starts, knows which project is open, and hands everything to its parts.

import * as api from "./api.js";
import { App } from "./app.js";
import { askForToken, showError } from "./dialogs.js";
import { icon } from "./dom.js";
import { listenForKeys, showKeys } from "./shortcuts.js";

const byId = (id) => document.getElementById(id);

function drawIcons() {
  const icons = {
    undo: "undo",
    redo: "redo",
    "help-open": "help",
    "to-start": "start",
    loop: "loop",
    click: "click",
    "count-in": "count",
    "zoom-out": "minus",
    "zoom-in": "plus",
  };
  for (const [id, name] of Object.entries(icons)) byId(id).append(icon(name));
  byId("play").append(icon("play"), icon("pause"));
  document.querySelector("#downloads summary").prepend(icon("download"));
}

function connect(app) {
  const onClick = (id, run) => byId(id).addEventListener("click", run);
  onClick("undo", () => app.undo(-1));
  onClick("redo", () => app.undo(1));
  onClick("help-open", () => byId("help").showModal());
  onClick("to-start", () => app.player.seek(0));
  onClick("play", () => app.deck.togglePlay());
  onClick("loop", () => app.deck.toggleLoop());
  onClick("click", () => app.deck.toggleClick());
  onClick("count-in", () => app.deck.toggleCountIn());
  onClick("spectral", () => app.deck.toggleSpectral());
  onClick("select-view", () => {
    app.selection.select(app.view.start, app.view.end, app.stemsToFill, app.view.duration);
  });
  onClick("zoom-in", () => app.deck.zoomTo(app.view.zoom + 0.1));
  onClick("zoom-out", () => app.deck.zoomTo(app.view.zoom - 0.1));
  byId("zoom").addEventListener("input", (event) => app.deck.zoomTo(Number(event.target.value)));
  byId("volume").addEventListener("input", (event) => app.deck.setVolume(Number(event.target.value)));
  byId("project-name").addEventListener("change", (event) => app.rename(event.target.value));
  for (const menu of document.querySelectorAll(".menu")) {
    document.addEventListener("click", (event) => {
      if (!event.composedPath().includes(menu)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.querySelector("summary").focus();
      event.stopPropagation();
    });
  }
}

/** Name of the lane on which something is dropped, below the veil. */
function laneAt(event) {
  const under = [event.target, ...document.elementsFromPoint(event.clientX, event.clientY)];
  return under.map((element) => element.closest?.(".lane")?.dataset.stem).find(Boolean);
}

/** Files may be dropped anywhere: songs begin projects, a MIDI file is for the lane below it. */
function acceptDrops(app) {
  const veil = byId("drop-veil");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (hasFiles(event) && !app.sending) veil.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event)) veil.hidden = (depth = Math.max(0, depth - 1)) === 0;
  });
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    const files = [...event.dataTransfer.files];
    if (files.length === 1 && /\.midi?$/i.test(files[0].name) && app.version) {
      app.roll.take(laneAt(event), files[0]).catch((error) => app.fail(error));
    } else if (files.length) app.upload(files);
  });
}

async function main() {
  drawIcons();
  showKeys(byId("help-keys"));
  api.onTokenNeeded(askForToken);
  const app = new App(await api.getModel());
  connect(app);
  acceptDrops(app);
  listenForKeys(app);
  addEventListener("hashchange", () => app.route());
  await app.route();
}

main().catch(showError);
