// The lanes of a version, and pointing at them: a click seeks, a drag selects a range over one or
// more lanes, the edges of a selection can be dragged.

import { fill, followPointer } from "./dom.js";
import { hueOf } from "./hues.js";
import { Lane } from "./lane.js";
import { followFingers } from "./pinch.js";

const DRAG_PX = 4;

export class Lanes {
  #host;
  #view;
  #selection;
  #options;
  #lanes = [];
  #spectral = false;
  #settled = 0;

  /**
   * options: stems (that the model plays), mixer, music, onSeek(seconds), onRegenerate(name).
   */
  constructor(host, view, selection, options) {
    this.#host = host;
    this.#view = view;
    this.#selection = selection;
    this.#options = options;
    new ResizeObserver(() => this.measure()).observe(host);
    view.addEventListener("change", () => this.#redraw());
    selection.addEventListener("change", () => this.#showSelection());
    options.mixer.addEventListener("change", () => this.#showMix());
    options.music.addEventListener("change", () => this.#redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const lane of this.#lanes) lane.repaint();
      this.#redraw();
    });
    followFingers(host, view);
    host.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    host.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  get names() {
    return this.#lanes.map((lane) => lane.name);
  }

  get tracks() {
    return this.#lanes.map((lane) => lane.track).filter(Boolean);
  }

  /**
   * Empty lanes for `names`; those that are there already keep what they show until it comes if
   * the piece is as long as before.
   */
  show(names, isAsLong) {
    const old = new Map(this.#lanes.map((lane) => [lane.name, lane]));
    this.#lanes = names.map((name) => old.get(name) ?? this.#make(name));
    for (const lane of this.#lanes) {
      old.delete(lane.name);
      lane.isWhole = names.length === 1 && lane.name === "mixture";
      if (!isAsLong) lane.clear();
    }
    this.#host.style.setProperty("--lanes", names.length);
    for (const lane of old.values()) lane.destroy();
    fill(this.#host, ...this.#lanes.map((lane) => lane.element));
    this.#showMix();
    this.#showSelection();
    this.measure();
  }

  #make(name) {
    const { mixer, stems, onRegenerate } = this.#options;
    return new Lane(name, hueOf(name, stems), {
      toggle: (key) => mixer.toggle(name, key),
      volume: (volume) => mixer.set(name, { volume }),
      pan: (pan) => mixer.set(name, { pan }),
      regenerate: stems.includes(name) ? () => onRegenerate(name) : null,
    });
  }

  /** Show decoded tracks. Quiet lanes are drawn up to four times too tall, to be seen at all. */
  async setTracks(tracks) {
    const loudest = Math.max(1e-4, ...tracks.map((track) => track.peak));
    for (const track of tracks) {
      const lane = this.#lanes.find((candidate) => candidate.name === track.name);
      lane.zoom = undefined;
      await lane?.setTrack(track, 0.94 / Math.max(track.peak, loudest / 4, 1e-4));
    }
    this.#redraw();
  }

  /** Marks by lane, {name: [{start, end, kind}]}. */
  setSpans(spans) {
    for (const lane of this.#lanes) lane.setSpans(spans[lane.name] ?? [], this.#view);
  }

  setBusy(busy) {
    for (const lane of this.#lanes) lane.setBusy(busy);
  }

  setPosition(seconds) {
    const x = this.#view.x(seconds);
    for (const lane of this.#lanes) lane.setPosition(x);
  }

  /** `peakOf(name)`: of what a lane plays now. */
  setPeaks(peakOf) {
    for (const lane of this.#lanes) lane.setPeak(peakOf(lane.name));
  }

  setSpectral(spectral) {
    this.#spectral = spectral;
    this.#drawSpectra();
  }

  measure() {
    const [first] = this.#lanes;
    if (first) this.#view.resize(first.field.clientWidth);
  }

  #redraw() {
    for (const lane of this.#lanes) lane.draw(this.#view, this.#options.music);
    clearTimeout(this.#settled);
    if (this.#spectral) this.#settled = setTimeout(() => this.#drawSpectra(), 120);
  }

  #drawSpectra() {
    for (const lane of this.#lanes) lane.drawSpectrum(this.#view, this.#spectral);
  }

  #showSelection() {
    for (const lane of this.#lanes) lane.setSelection(this.#selection.range, this.#view);
  }

  #showMix() {
    const { mixer } = this.#options;
    for (const lane of this.#lanes) {
      lane.setMix(mixer.get(lane.name), mixer.gain(lane.name, this.names) > 0);
    }
  }

  #wheel(event) {
    if (!event.target.closest(".wave")) return;
    const { left } = this.#lanes[0].field.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      const anchor = this.#view.seconds(event.clientX - left);
      this.#view.setZoom(this.#view.zoom - event.deltaY / 800, anchor);
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      const pixels = event.deltaX || event.deltaY;
      this.#view.scrollTo(this.#view.start + pixels / this.#view.pxPerSecond);
    } else {
      return; // the page scrolls
    }
    event.preventDefault();
  }

  /** Stems between two lanes that the model plays; the mixture stands for all stems of the model if it is alone. */
  #between(one, other) {
    const names = this.names;
    if (names.length === 1 && names[0] === "mixture") return this.#options.stems;
    const [from, to] = [names.indexOf(one), names.indexOf(other)].sort((a, b) => a - b);
    return names.slice(from, to + 1).filter((candidate) => this.#options.stems.includes(candidate));
  }

  #laneAt(y) {
    const above = this.#lanes.filter((lane) => lane.field.getBoundingClientRect().top <= y);
    return (above.at(-1) ?? this.#lanes[0]).name;
  }

  #pointerDown(event) {
    const field = event.target.closest(".wave");
    if (!field || event.button !== 0) return;
    const { stem } = field.dataset;
    const { left } = field.getBoundingClientRect();
    const at = (move) => this.#view.seconds(move.clientX - left);
    const { range } = this.#selection;
    const { edge } = event.target.dataset;
    if (event.shiftKey && range && this.#options.stems.includes(stem)) {
      this.#selection.toggleStem(stem);
      return;
    }
    const anchor = edge ? (edge === "start" ? range.end : range.start) : at(event);
    let dragged = Boolean(edge);
    const move = (to) => {
      if (Math.abs(to.clientX - event.clientX) >= DRAG_PX) dragged = true;
      if (!dragged) return;
      const stems = edge ? range.stems : this.#between(stem, this.#laneAt(to.clientY));
      if (!stems.length) return;
      const { bars } = this.#options.music;
      const ends = bars && !to.altKey ? bars.snapped(anchor, at(to)) : [anchor, at(to)];
      this.#selection.select(...ends, stems, this.#view.duration);
    };
    field.setPointerCapture(event.pointerId);
    followPointer(field, move, (to) => {
      if (!dragged && to.type === "pointerup") this.#options.onSeek(at(to));
    });
  }
}

