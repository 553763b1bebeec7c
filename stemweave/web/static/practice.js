// How a piece is practised: its speed and pitch. Drums keep their pitch.

import { h, fill } from "./dom.js";

const SPEEDS = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1, 1.1, 1.2, 1.35, 1.5];
const SEMITONES = [6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6];

export class Practice extends EventTarget {
  speed = 1;
  semitones = 0;

  /** As parameters of the server; none if the piece sounds as it is. */
  get query() {
    return this.speed === 1 && this.semitones === 0
      ? {}
      : { speed: this.speed, semitones: this.semitones };
  }

  /** The parameters of one track, as the server makes it. */
  queryOf(name) {
    if (name !== "drums" || this.semitones === 0) return this.query;
    return this.speed === 1 ? {} : { speed: this.speed, semitones: 0 };
  }

  /** Whether a track sounds otherwise than it is. */
  changes(name) {
    return "speed" in this.queryOf(name);
  }

  set(speed, semitones) {
    if (speed === this.speed && semitones === this.semitones) return;
    [this.speed, this.semitones] = [speed, semitones];
    this.dispatchEvent(new Event("change"));
  }

  /** The next slower (-1) or faster (1) speed. */
  step(direction) {
    const next =
      direction > 0
        ? SPEEDS.find((one) => one > this.speed)
        : SPEEDS.findLast((one) => one < this.speed);
    if (next) this.set(next, this.semitones);
  }
}

/** Two lists in `host` that set `practice` and show it. */
export function showPractice(host, practice) {
  const list = (id, label, values, words) =>
    h(
      "label",
      {},
      h("span", {}, label),
      h("select", { id, title: TITLES[id], "aria-label": label }, values.map((value) => h("option", { value }, words(value)))),
    );
  fill(
    host,
    list("speed", "Speed", SPEEDS, (speed) => `${Math.round(100 * speed)} %`),
    list("pitch", "Pitch", SEMITONES, (steps) => (steps > 0 ? `+${steps}` : String(steps)).replace("-", "−")),
  );
  const [speed, pitch] = host.querySelectorAll("select");
  const show = () => {
    speed.value = practice.speed;
    pitch.value = practice.semitones;
  };
  const read = () => practice.set(Number(speed.value), Number(pitch.value));
  for (const one of [speed, pitch]) one.addEventListener("change", read);
  practice.addEventListener("change", show);
  show();
}

const TITLES = {
  speed: "Slower or faster at the same pitch (, and .)",
  pitch: "Semitones up or down at the same speed; drums stay as they are",
};
