// One lane: the controls of a track, its waveform or spectrogram, and what is drawn over it.

import { button, h, iconButton, setOff } from "./dom.js";
import { placeName, title } from "./format.js";
import { context2d, marksOf } from "./grid.js";
import { drawNotes } from "./notes.js";
import { drawSpectrogram } from "./spectrogram.js";
import WaveSurfer from "./vendor/wavesurfer.js";

const METER_DB = 48; // below full scale, where the meter begins
const METER_FALL = 0.03; // of its height, in a frame

const SHEET = new CSSStyleSheet();

/** wavesurfer's own styles, which the vendored copy keeps in a template (see vendor-web.sh). */
function adoptStyles(wave) {
  const root = wave.getWrapper().getRootNode();
  SHEET.replaceSync(root.querySelector("template").content.textContent);
  root.adoptedStyleSheets = [SHEET];
}

export class Lane {
  /** `actions`: toggle(key), volume(value), pan(value), regenerate(), null for what the model does not play. */
  constructor(name, hue, actions) {
    this.name = name;
    this.track = null;
    this.wave = null;
    this.spans = [];
    this.height = 0; // of the meter, 0 to 1
    this.meter = h("div");
    this.head = this.#makeHead(actions);
    this.grid = h("canvas", { class: "grid", "aria-hidden": "true" });
    this.surface = h("div", { class: "wave-surface", inert: true });
    this.score = h("canvas", { class: "notes", "aria-hidden": "true" });
    this.canvas = h("canvas", { class: "spectrogram", "aria-hidden": "true", hidden: true });
    this.over = h("div", { class: "wave-over" });
    this.chosen = h(
      "div",
      { class: "chosen", hidden: true },
      h("span", { class: "edge", data: { edge: "start" } }),
      h("span", { class: "edge", data: { edge: "end" } }),
    );
    this.playhead = h("div", { class: "playhead" });
    this.field = h(
      "div",
      { class: "wave loading", data: { stem: name } },
      this.grid,
      this.surface,
      this.canvas,
      this.score,
      this.over,
      this.chosen,
      this.playhead,
    );
    this.element = h(
      "section",
      { class: "lane", data: { stem: name, hue }, "aria-label": `${title(name)} lane` },
      this.head,
      this.field,
    );
  }

  #makeHead(actions) {
    const name = this.name;
    const toggle = (key, letter, label, hint = `${label} ${name}`) =>
      button(letter, () => actions.toggle(key), {
        class: `toggle ${key}`,
        "aria-pressed": "false",
        "aria-label": `${label} ${name}`,
        title: hint,
      });
    this.mute = toggle("muted", "M", "Mute");
    const instead = name === "mixture" ? "Hear the mixture instead of the stems" : undefined;
    this.solo = toggle("soloed", "S", "Solo", instead);
    const slider = (label, of, options) =>
      h("input", {
        type: "range",
        max: 1,
        "aria-label": `${label} of ${name}`,
        oninput: (event) => of(Number(event.target.value)),
        ...options,
      });
    this.volume = slider("Volume", actions.volume, { min: 0, step: 0.01, value: 1 });
    this.pan = slider("Pan", actions.pan, {
      class: "pan",
      min: -1,
      step: 0.05,
      value: 0,
      title: "Left or right; twice: the middle",
      ondblclick: () => actions.pan(0),
    });
    const again = [`Write all of ${name} anew`, actions.regenerate, { kind: "regenerate" }];
    this.again = actions.regenerate && iconButton("renew", ...again);
    return h(
      "div",
      { class: "lane-head" },
      h("h2", {}, title(name)),
      h("div", { class: "lane-buttons" }, this.mute, this.solo, this.again),
      this.volume,
      this.pan,
      h("div", { class: "meter", "aria-hidden": "true" }, this.meter),
    );
  }

  /** Show the peak of what is heard, linear; it falls slowly. */
  setPeak(peak) {
    if (!peak && !this.height) return;
    const db = 20 * Math.log10(Math.max(peak, 1e-6));
    const height = Math.min(1, Math.max(0, 1 + db / METER_DB));
    this.height = Math.max(height, this.height - METER_FALL);
    this.meter.style.scale = `1 ${this.height}`;
    this.meter.classList.toggle("over", peak > 1);
  }

  /** Show a decoded track; `scale` brings its peaks to the lane's height. */
  setTrack(track, scale) {
    this.track = track;
    this.field.classList.remove("loading");
    if (!this.wave) {
      this.wave = WaveSurfer.create({
        container: this.surface,
        height: "auto",
        interact: false,
        hideScrollbar: true,
        autoScroll: false,
        cursorWidth: 0,
        ...this.#paint(),
      });
      adoptStyles(this.wave);
    }
    this.wave.options.barHeight = scale;
    return this.wave.load("", track.peaks, track.buffer.duration).catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
  }

  /** What was shown is of a piece of another length. */
  clear() {
    this.track = null;
    this.field.classList.add("loading");
  }

  #colors() {
    const style = getComputedStyle(this.element);
    const read = (property) => style.getPropertyValue(property).trim();
    return { color: read("--stem"), ground: read("--lane-ground"), bright: read("--stem-bright") };
  }

  #paint() {
    const { color } = this.#colors();
    return { waveColor: color, progressColor: color };
  }

  /** Colours changed: light to dark or back. */
  repaint() {
    this.wave?.setOptions(this.#paint());
  }

  setMix({ muted, soloed, volume, pan }, audible) {
    this.mute.setAttribute("aria-pressed", String(muted));
    this.solo.setAttribute("aria-pressed", String(soloed));
    this.volume.value = volume;
    this.volume.style.setProperty("--filled", `${100 * volume}%`);
    this.pan.value = pan;
    this.pan.setAttribute("aria-valuetext", placeName(pan));
    this.element.classList.toggle("silent", !audible);
  }

  setBusy(busy) {
    if (this.again) setOff(this.again, busy);
  }

  /** Spans of time to mark: [{start, end, kind: "new" | "working"}]. */
  setSpans(spans, view) {
    this.spans = spans.map((span) => ({ ...span, mark: h("div", { class: `span ${span.kind}` }) }));
    this.over.replaceChildren(...this.spans.map((span) => span.mark));
    this.#place(view);
  }

  setSelection(range, view) {
    this.range = range?.stems.has(this.name) || (range && this.isWhole) ? range : null;
    this.chosen.hidden = !this.range;
    this.#place(view);
  }

  #place(view) {
    const put = (element, { start, end }) => {
      element.style.left = `${view.x(start)}px`;
      element.style.width = `${Math.max(1, (end - start) * view.pxPerSecond)}px`;
    };
    for (const span of this.spans) put(span.mark, span);
    if (this.range) put(this.chosen, this.range);
  }

  setPosition(x) {
    this.playhead.style.transform = `translateX(${x}px)`;
  }

  #drawMusic(view, music) {
    const lines = context2d(this.grid);
    lines.context.fillStyle = getComputedStyle(this.grid).color;
    for (const { at, weight } of marksOf(view, music.bars)) {
      lines.context.globalAlpha = weight;
      lines.context.fillRect(Math.round(view.x(at)), 0, 1, lines.height);
    }
    const { bright } = this.#colors();
    drawNotes(context2d(this.score), this.name, music.notes[this.name], music.sheet, view, bright);
  }

  /** Bring everything drawn to `view`. */
  draw(view, music) {
    this.#place(view);
    this.#drawMusic(view, music);
    if (!this.wave || !this.track) return;
    const zoom = view.zoom === 0 ? 0 : view.pxPerSecond;
    if (zoom !== this.zoom) {
      this.zoom = zoom;
      this.wave.zoom(zoom);
    }
    this.wave.setScroll(view.start * view.pxPerSecond);
  }

  /** Show or hide the spectrogram; drawn again whenever the view has come to rest. */
  async drawSpectrum(view, shown) {
    this.field.classList.toggle("spectral", shown);
    if (!shown || !this.track) {
      this.canvas.hidden = true;
      return;
    }
    this.canvas.hidden = false;
    await drawSpectrogram(this.canvas, this.track.buffer, view, this.#colors());
  }

  destroy() {
    this.wave?.destroy();
    this.element.remove();
  }
}
