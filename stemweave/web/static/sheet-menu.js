// Tempo, metre and key of the open version: shown in the bar at the top, and corrected there.

import * as correct from "./corrections.js";
import { button, field, fill, h } from "./dom.js";

const METRES = ["2/4", "3/4", "4/4", "5/4", "6/8", "7/8", "9/8", "12/8"];
const TEMPO_BPM = [10, 500];
const TAPS = 4;
const REST_S = 1.5; // after so long without a tap they are counted

export class SheetMenu {
  #taps = []; // seconds: of the piece while it plays, else of any clock
  #resting = 0;

  /** `app`: music, player, view and correct(change) are used. */
  constructor(element, app) {
    this.app = app;
    this.element = element;
    this.facts = element.querySelector("summary");
    const change = (make) => () => app.correct(make);
    this.tempo = h("input", { inputmode: "decimal", autocomplete: "off", onchange: () => this.#setTempo() });
    this.metre = h("select", {
      onchange: () => app.correct((json) => correct.withMetre(json, this.metre.value)),
    });
    this.key = h("input", {
      autocomplete: "off",
      placeholder: "unknown",
      onchange: () => app.correct((json) => ({ ...json, key: this.key.value.trim() || null })),
    });
    this.tap = button("Tap", () => this.#tap(), { title: "Tap along with the beat, from the first of a bar" });
    this.needBars = [
      button("Half", change(correct.halved), { title: "Half as many beats" }),
      button("Double", change(correct.doubled), { title: "Twice as many beats" }),
    ];
    this.shifts = h(
      "div",
      { class: "row" },
      button("A beat earlier", change((json) => correct.shifted(json, -1))),
      button("A beat later", change((json) => correct.shifted(json, 1))),
    );
    this.unit = button("", () => app.music.toggleBars());
    fill(
      element.querySelector(".sheet"),
      field("Tempo in beats a minute", this.tempo),
      h("div", { class: "row" }, ...this.needBars, this.tap),
      h("div", { class: "row halves" }, field("Metre", this.metre), field("Key", this.key)),
      (this.lines = h("div", { class: "field", role: "group", "aria-label": "Bars begin" }, "Bars begin", this.shifts)),
      h("p", { class: "hint" }, "The next task follows what you correct here. Chords are corrected in a selection of bars."),
      this.unit,
    );
    app.music.addEventListener("change", () => this.show());
    this.show();
  }

  show() {
    const { sheet, bars, listening } = this.app.music;
    const [first = listening ? "Listening for the beat" : "Tempo unknown", ...more] = sheet.facts;
    fill(this.facts, first, h("span", {}, more.map((fact) => ` · ${fact}`).join("")));
    if (document.activeElement !== this.tempo) {
      this.tempo.value = sheet.json.tempo_bpm ? Math.round(100 * sheet.json.tempo_bpm) / 100 : "";
    }
    const metre = sheet.json.metre ?? "4/4";
    const known = METRES.includes(metre) ? METRES : [...METRES, metre];
    fill(this.metre, known.map((name) => h("option", { value: name }, name)));
    this.metre.value = metre;
    if (document.activeElement !== this.key) this.key.value = sheet.json.key ?? "";
    for (const button of this.needBars) button.disabled = !sheet.hasBars;
    this.lines.hidden = this.unit.hidden = !sheet.hasBars;
    this.unit.textContent = bars ? "Show seconds instead of bars" : "Show bars instead of seconds";
  }

  #setTempo() {
    const tempo = Number(this.tempo.value.replace(",", "."));
    const [slowest, fastest] = TEMPO_BPM;
    if (!(tempo >= slowest && tempo <= fastest)) {
      this.tempo.value = this.app.music.sheet.json.tempo_bpm ?? "";
      this.app.fail(new Error(`A tempo is a number from ${slowest} to ${fastest}.`));
      return;
    }
    this.#apply(tempo);
  }

  #apply(tempo, line) {
    const { duration } = this.app.view;
    this.app.correct((json) => correct.withTempo(json, tempo, duration, line));
  }

  /** The tempo of the taps; bars begin at the first of them if one taps to what plays. */
  #tap() {
    const { player } = this.app;
    const { playing } = player;
    const now = playing ? player.position : performance.now() / 1000;
    const last = this.#taps.at(-1);
    if (last === undefined || !(now > last && now - last < 2 * REST_S)) this.#taps = [];
    this.#taps.push(now);
    const count = this.#taps.length - 1;
    if (count < TAPS - 1) return;
    const beat_s = (now - this.#taps[0]) / count;
    const mean = this.#taps.reduce((sum, time, index) => sum + time - index * beat_s, 0) / (count + 1);
    const tempo = Math.round(10 * (60 / beat_s)) / 10;
    this.tempo.value = tempo;
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => {
      this.#taps = [];
      this.#apply(tempo, playing ? mean : undefined);
    }, 1000 * REST_S);
  }
}
