// What is known of the open version's music: its sheet and its notes, and whether time is counted
// in bars.

import { getScore, getSheet, putSheet } from "./api.js";
import { Sheet } from "./sheet.js";

export class Music extends EventTarget {
  sheet = new Sheet();
  notes = {}; // of written stems, {name: [{start_beat, end_beat, pitch, velocity}]}
  listening = false; // whether the sheet is still to come
  #inBars = true;
  #version = null;

  /** The sheet to count in, or null for seconds. */
  get bars() {
    return this.#inBars && this.sheet.hasBars ? this.sheet : null;
  }

  /** "bar 9, beat 2, " for who hears the page; nothing while time is counted in seconds. */
  spokenPlace(seconds) {
    return this.bars ? `bar ${this.bars.place(seconds).replace(".", ", beat ")}, ` : "";
  }

  /** Load what is known of `version`; the one before is shown until then if it is as long. */
  async show(version) {
    const before = this.#version;
    this.#version = version;
    if (version?.duration_s !== before?.duration_s) this.#set({}, {});
    if (!version) return;
    this.listening = true;
    this.#changed();
    try {
      const [sheet, notes] = await Promise.all([getSheet(version), getScore(version)]);
      if (version === this.#version) this.#set(sheet, notes);
    } finally {
      if (version === this.#version) {
        this.listening = false;
        this.#changed();
      }
    }
  }

  /** Keep a corrected sheet, which the next task follows. */
  async correct(json) {
    const version = this.#version;
    const sheet = await putSheet(version, json);
    const notes = await getScore(version); // the same times, in other beats
    if (version !== this.#version) return;
    this.#set(sheet, notes);
    this.#changed();
  }

  toggleBars() {
    this.#inBars = !this.#inBars;
    this.#changed();
  }

  #set(json, notes) {
    this.sheet = new Sheet(json, this.#version?.duration_s);
    this.notes = notes;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
