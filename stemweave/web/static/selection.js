// The selected time range and the stems it covers; null when nothing is selected.

const SHORTEST_S = 0.1;

export class Selection extends EventTarget {
  #range = null; // {start, end, stems: Set}

  get range() {
    return this.#range && { ...this.#range, stems: new Set(this.#range.stems) };
  }

  /** Select `stems` from `start` to `end` (in any order) within a piece of `duration` seconds. */
  select(start, end, stems, duration) {
    let from = Math.max(0, Math.min(start, end));
    const to = Math.min(duration, Math.max(start, end, from + SHORTEST_S));
    from = Math.max(0, Math.min(from, to - SHORTEST_S));
    this.#range = { start: round(from), end: round(to), stems: new Set(stems) };
    this.dispatchEvent(new Event("change"));
  }

  toggleStem(name) {
    if (!this.#range) return;
    const { stems } = this.#range;
    if (!stems.delete(name)) stems.add(name);
    this.dispatchEvent(new Event("change"));
  }

  clear() {
    if (!this.#range) return;
    this.#range = null;
    this.dispatchEvent(new Event("change"));
  }
}

const round = (seconds) => Math.round(seconds * 1000) / 1000;
