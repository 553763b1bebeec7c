// Above the lanes: the overview of the whole piece, which also scrolls, the ruler, which is the
// slider of the playhead, and the chords.

import { clock } from "./format.js";
import { context2d, marksOf } from "./grid.js";

function dragged(element, move) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    const { left } = element.getBoundingClientRect();
    move(event.clientX - left);
    element.onpointermove = (to) => move(to.clientX - left);
    element.onpointerup = element.onpointercancel = () => (element.onpointermove = null);
  });
}

export class Timeline {
  /**
   * elements: {ruler, rulerCanvas, rulerHead, overview, overviewCanvas, overviewWindow, chords}.
   * onChord(chord) is told which one was pressed.
   */
  constructor(elements, view, music, { onSeek, onChord }) {
    this.elements = elements;
    this.view = view;
    this.music = music;
    this.tracks = [];
    music.addEventListener("change", () => this.draw());
    elements.chords.addEventListener("click", (event) => {
      const at = view.seconds(event.offsetX);
      const chord = music.bars?.chords.findLast(({ start }) => start <= at);
      if (chord) onChord(chord);
    });
    view.addEventListener("change", () => this.draw());
    dragged(elements.ruler, (x) => onSeek(view.seconds(x)));
    dragged(elements.overview, (x) => {
      const seconds = (x / elements.overview.clientWidth) * view.duration;
      if (view.zoom === 0) onSeek(seconds);
      else view.scrollTo(seconds - (view.end - view.start) / 2);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.draw();
      this.drawOverview();
    });
    new ResizeObserver(() => this.drawOverview()).observe(elements.overview);
  }

  setTracks(tracks, colorOf) {
    this.tracks = tracks;
    this.colorOf = colorOf;
    this.drawOverview();
    this.draw();
  }

  setPosition(seconds) {
    const { ruler, rulerHead } = this.elements;
    rulerHead.style.transform = `translateX(${this.view.x(seconds)}px)`;
    const now = seconds.toFixed(1);
    if (ruler.getAttribute("aria-valuenow") === now) return;
    ruler.setAttribute("aria-valuenow", now);
    const place = this.music.spokenPlace(seconds);
    ruler.setAttribute("aria-valuetext", `${place}${clock(seconds, 1)} of ${clock(this.view.duration, 1)}`);
  }

  draw() {
    const { ruler, rulerCanvas, overviewWindow, overview } = this.elements;
    const { view } = this;
    ruler.setAttribute("aria-valuemax", view.duration.toFixed(1));
    const { context, width, height } = context2d(rulerCanvas);
    const style = getComputedStyle(ruler);
    context.font = `12px ${style.fontFamily}`;
    context.fillStyle = style.color;
    context.textBaseline = "middle";
    for (const { at, label, weight } of marksOf(view, this.music.bars)) {
      const x = Math.round(view.x(at));
      context.globalAlpha = 0.45 * weight;
      context.fillRect(x, height - 8 * weight, 1, 8 * weight);
      context.globalAlpha = weight === 1 ? 1 : 0.75;
      if (label && x + context.measureText(label).width + 4 < width) context.fillText(label, x + 4, height / 2);
    }
    this.#drawChords();
    const share = view.duration ? (view.end - view.start) / view.duration : 1;
    overviewWindow.hidden = view.zoom === 0;
    overviewWindow.style.width = `${share * overview.clientWidth}px`;
    overviewWindow.style.left = `${(view.start / view.duration || 0) * overview.clientWidth}px`;
  }

  #drawChords() {
    const { chords } = this.elements;
    const { view } = this;
    const known = this.music.bars?.chords ?? [];
    chords.hidden = !known.length;
    if (chords.hidden) return;
    const { context, width, height } = context2d(chords);
    const style = getComputedStyle(chords);
    context.font = `600 13px ${style.fontFamily}`;
    context.fillStyle = style.color;
    context.textBaseline = "middle";
    let free = 0; // where the name before ends
    for (const { symbol, start, end } of known) {
      const x = Math.max(0, view.x(start)) + 4;
      const wide = context.measureText(symbol).width;
      if (end <= view.start || x < free || x + wide > Math.min(width, view.x(end))) continue;
      context.fillText(symbol, x, height / 2);
      free = x + wide + 6;
    }
  }

  /** All tracks over each other as translucent threads. */
  drawOverview() {
    const { context, width, height } = context2d(this.elements.overviewCanvas);
    const stems = this.tracks.filter((track) => track.name !== "mixture");
    const drawn = stems.length ? stems : this.tracks;
    const loudest = Math.max(1e-4, ...drawn.map((track) => track.peak));
    for (const track of drawn) {
      const [above, below] = track.peaks;
      context.fillStyle = this.colorOf(track.name);
      context.globalAlpha = stems.length ? 0.55 : 0.8;
      for (let x = 0; x < width; x++) {
        const from = Math.floor((x / width) * above.length);
        const to = Math.max(from + 1, Math.floor(((x + 1) / width) * above.length));
        let size = 0;
        for (let at = from; at < to; at++) size = Math.max(size, above[at], below[at]);
        const half = Math.max(0.5, (size / loudest) * (height / 2 - 2));
        context.fillRect(x, height / 2 - half, 1, 2 * half);
      }
    }
  }
}
