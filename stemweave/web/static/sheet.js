// The sheet of a version in seconds: its beats, bars and chords.

const NEAR_S = 0.02; // so far from a bar line is on it: selections are rounded to milliseconds

/** Felt beats of a bar: 4 in 4/4 and 12/8, 2 in 6/8. */
export function beatsPerBar(metre) {
  const [numerator, unit] = (metre ?? "4/4").split("/").map(Number);
  return unit >= 8 && numerator > 3 && numerator % 3 === 0 ? numerator / 3 : numerator;
}

export class Sheet {
  /** `json` as the server has it, of a piece of `duration` seconds; without one nothing is known. */
  constructor(json = {}, duration = 0) {
    this.json = json;
    this.duration = duration;
    this.beats = json.beats_s ?? [];
    this.bars = this.#makeBars(); // {number, beat, beats, start, end}, cut to the piece
    this.chords = this.#makeChords(); // {symbol, beat, start, end}
  }

  /** Whether there are bars to count in. */
  get hasBars() {
    return this.bars.length > 0;
  }

  /** "96 bpm", "4/4", "A minor", as far as they are known. */
  get facts() {
    const { tempo_bpm: tempo, metre, key } = this.json;
    return [tempo && `${Math.round(10 * tempo) / 10} bpm`, metre, key].filter(Boolean);
  }

  #makeBars() {
    const last = this.beats.length - 1;
    const lines = (this.json.downbeats ?? []).filter((beat) => beat < last);
    const bars = lines.map((beat, index) => {
      const next = lines[index + 1] ?? last;
      const [start, end] = [beat, next].map((at) => Math.min(Math.max(this.beats[at], 0), this.duration));
      return { number: index + 1, beat, beats: next - beat, start, end };
    });
    return bars.filter((bar) => bar.end - bar.start > NEAR_S);
  }

  #makeChords() {
    if (this.beats.length < 2) return [];
    const changes = this.json.chords ?? [];
    return changes.map(([beat, symbol], index) => ({
      symbol,
      beat,
      start: this.timeOf(beat),
      end: this.timeOf(changes[index + 1]?.[0] ?? this.beats.length - 1),
    }));
  }

  /** Seconds of a beat, also between beats and beyond the last. */
  timeOf(beat) {
    const at = Math.min(Math.max(Math.floor(beat), 0), this.beats.length - 2);
    return this.beats[at] + (beat - at) * (this.beats[at + 1] - this.beats[at]);
  }

  /** The beat, with its fraction, at a time in seconds. */
  beatAt(seconds) {
    let [low, high] = [0, this.beats.length - 2];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.beats[middle] <= seconds) low = middle;
      else high = middle - 1;
    }
    return low + (seconds - this.beats[low]) / (this.beats[low + 1] - this.beats[low]);
  }

  /** The bar that sounds at a time: the first or last one outside all. */
  barAt(seconds) {
    return this.bars.findLast((bar) => bar.start <= seconds + 1e-6) ?? this.bars[0];
  }

  /** "9.2": bar and beat at a time. */
  place(seconds) {
    const bar = this.barAt(seconds);
    const beat = Math.floor(this.beatAt(seconds) - bar.beat + 1e-3);
    return `${bar.number}.${Math.min(Math.max(beat, 0), bar.beats - 1) + 1}`;
  }

  /** Times of the bar lines, the last one's, too. */
  get lines() {
    return [...this.bars.map((bar) => bar.start), this.bars.at(-1).end];
  }

  /** The bar lines next to two times; at least the bar of the first one. */
  snapped(anchor, other) {
    const { lines } = this;
    const next = (seconds) =>
      lines.reduce((best, line) => (Math.abs(line - seconds) < Math.abs(best - seconds) ? line : best));
    const [start, end] = [anchor, other].map(next).toSorted((a, b) => a - b);
    if (start !== end) return [start, end];
    const bar = this.barAt(anchor);
    return [bar.start, bar.end];
  }

  /** The bars from one bar line to another, or none. */
  barsBetween(start, end) {
    const first = this.bars.findIndex((bar) => Math.abs(bar.start - start) < NEAR_S);
    const last = this.bars.findIndex((bar) => Math.abs(bar.end - end) < NEAR_S);
    return first < 0 ? [] : this.bars.slice(first, last + 1);
  }

  /** "bars 9–12", "bar 9", or "9.2–12.4" for what lies between bar lines. */
  range(start, end) {
    const bars = this.barsBetween(start, end);
    if (!bars.length) return `${this.place(start)}–${this.place(end)}`;
    const [first, last] = [bars[0].number, bars.at(-1).number];
    return first === last ? `bar ${first}` : `bars ${first}–${last}`;
  }
}
