// The edges of a selection as sliders above the lanes, for the keyboard; the mouse drags them in the lanes.

import { h } from "./dom.js";
import { clock } from "./format.js";

const NAMES = { start: "The selection begins", end: "The selection ends" };
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

export class Edges {
  constructor(host, view, selection, music) {
    Object.assign(this, { host, view, selection, music });
    this.sliders = Object.entries(NAMES).map(([edge, label]) =>
      h("div", {
        class: "selection-edge",
        role: "slider",
        tabindex: 0,
        "aria-label": label,
        "aria-valuemin": 0,
        title: "Arrow keys: by a bar, with Shift by a beat; or by a second and a tenth",
        data: { edge },
        onkeydown: (event) => this.#key(event, edge),
      }),
    );
    host.append(...this.sliders);
    for (const part of [view, selection, music]) part.addEventListener("change", () => this.#draw());
  }

  #draw() {
    const { range } = this.selection;
    this.host.hidden = !range;
    if (!range) return;
    for (const slider of this.sliders) {
      const seconds = range[slider.dataset.edge];
      slider.style.translate = `${Math.min(Math.max(this.view.x(seconds), 0), this.view.width)}px`;
      slider.setAttribute("aria-valuemax", this.view.duration.toFixed(3));
      slider.setAttribute("aria-valuenow", seconds.toFixed(3));
      slider.setAttribute("aria-valuetext", this.music.spokenPlace(seconds) + clock(seconds, 1));
    }
  }

  #key(event, edge) {
    const direction = STEPS[event.key];
    if (!direction) return;
    event.preventDefault();
    event.stopPropagation();
    const { range } = this.selection;
    const moved = { ...range, [edge]: this.#moved(range[edge], direction, event.shiftKey) };
    if (moved.start < moved.end) {
      this.selection.select(moved.start, moved.end, range.stems, this.view.duration);
    }
  }

  /** The bar line, or the beat if `fine`, before or after `seconds`; without bars, seconds. */
  #moved(seconds, direction, fine) {
    const { bars: sheet } = this.music;
    if (!sheet) return seconds + direction * (fine ? 0.1 : 1);
    const lines = fine ? sheet.beats : sheet.lines;
    const next =
      direction > 0
        ? lines.find((line) => line > seconds + 0.001)
        : lines.findLast((line) => line < seconds - 0.001);
    return next ?? seconds;
  }
}
