// A piano roll of some bars of one written stem: notes are moved, added and deleted, and then played.

import { readMidi } from "./api.js";
import { button, fill, followPointer, h, iconButton, isOff } from "./dom.js";
import { drumName, noteName, title } from "./format.js";
import { hueOf } from "./hues.js";

const KIT = [36, 38, 42, 46, 45, 50, 49, 51]; // rows of every drum lane: bass drum to ride
const ROUND_ROWS = 16; // at least so many rows of pitches
const STEPS = { "a quarter of a beat": 1 / 4, "a third of a beat": 1 / 3, "half a beat": 1 / 2, "a beat": 1 };
const DRAG_PX = 3;

export class Roll {
  #notes = [];
  #before = []; // what undo goes back to
  #step = 1 / 4;

  /** `app` starts the task. */
  constructor(host, app) {
    this.host = host;
    this.app = app;
  }

  /** Show what a MIDI file has for `stem`, from the first selected bar on, to be played. */
  async take(stem, file) {
    const { app } = this;
    const { sheet } = app.music;
    if (!app.stems.includes(stem)) throw new Error("Drop a MIDI file on the lane of a stem that the model plays.");
    if (!sheet.hasBars) throw new Error("No beat was found in this piece: set its tempo first.");
    const notes = await readMidi(app.version, stem, file);
    const { range } = app.selection;
    const chosen = range ? sheet.barsBetween(range.start, range.end) : [];
    const first = chosen[0] ?? (range ? sheet.barAt(range.start) : sheet.bars[0]);
    const { beat } = first;
    const moved = notes.map((note) => ({
      ...note,
      start_beat: note.start_beat + beat,
      end_beat: note.end_beat + beat,
    }));
    const end = moved.reduce((latest, note) => Math.max(latest, note.end_beat), 0);
    const covered = sheet.bars.filter((bar) => bar === first || (bar.beat > beat && bar.beat < end - 0.01));
    this.open(stem, chosen.length ? chosen : covered, moved);
  }

  /** Edit what `stem` plays in `bars` of the sheet, or let it play `notes` there. */
  open(stem, bars, notes = null) {
    const [first, last] = [bars[0], bars.at(-1)];
    Object.assign(this, { stem, start: first.beat, end: last.beat + last.beats, from: first.start, to: last.end });
    const written = this.app.music.notes[stem] ?? [];
    const inside = ({ start_beat: at }) => at >= this.start - 0.01 && at < this.end - 0.01;
    this.#notes = (notes ?? written).filter(inside);
    this.#before = notes ? [written.filter(inside)] : [];
    this.rows = this.#rowsOf([...written, ...this.#notes]);
    this.place = this.app.music.sheet.range(first.start, last.end);
    this.host.dataset.hue = hueOf(stem, this.app.model.separated_stems);
    this.#build(first.beats);
    this.#draw();
    this.host.hidden = false;
    const rows = this.#notes.map((note) => this.rows.indexOf(note.pitch));
    const middle = rows.length ? (Math.min(...rows) + Math.max(...rows) + 1) / 2 : this.rows.length / 2;
    this.field.scrollTop = (middle / this.rows.length) * this.field.scrollHeight - this.field.clientHeight / 2;
    this.host.scrollIntoView({ block: "nearest" });
    this.host.focus();
  }

  close() {
    this.host.hidden = true;
    fill(this.host);
  }

  /** Pitches, the highest first. */
  #rowsOf(notes) {
    const used = notes.map((note) => note.pitch);
    if (this.stem === "drums") return [...new Set([...KIT, ...used])].toSorted((a, b) => b - a);
    const lowest = Math.max(0, Math.min(...used, 60) - 3);
    const highest = Math.min(127, Math.max(...used, lowest + ROUND_ROWS) + 3);
    return Array.from({ length: highest - lowest + 1 }, (_, row) => highest - row);
  }

  #name(pitch) {
    return this.stem === "drums" ? drumName(pitch) : noteName(pitch);
  }

  #build(barBeats) {
    const step = h(
      "select",
      { "aria-label": "Grid", onchange: () => (this.#step = Number(step.value)) },
      Object.entries(STEPS).map(([label, value]) => h("option", { value, selected: value === this.#step }, label)),
    );
    this.grid = h("div", { class: "roll-grid", onpointerdown: (event) => this.#pressGrid(event) });
    this.grid.style.setProperty("--beats", this.end - this.start);
    this.grid.style.setProperty("--bars", (this.end - this.start) / barBeats);
    this.grid.style.setProperty("--rows", this.rows.length);
    const names = this.rows.map((pitch) => h("span", {}, this.#name(pitch)));
    this.field = h("div", { class: "roll-field" }, h("div", { class: "roll-names", "aria-hidden": "true" }, names), this.grid);
    this.undoButton = button("Undo", () => this.#undo());
    const onplay = (event) => isOff(event.currentTarget) || this.#play();
    const play = button("Play these notes", onplay, { class: "primary" });
    fill(
      this.host,
      h(
        "div",
        { class: "row roll-bar" },
        h("h2", {}, `${title(this.stem)}, ${this.place}`),
        step,
        button("Add a note", () => this.#add(this.start, this.rows[this.rows.length >> 1])),
        this.undoButton,
        play,
        iconButton("close", "Close the notes", () => this.close()),
      ),
      this.field,
      h("p", { class: "hint" }, "Press to add, drag to move, drag the right end to lengthen, Delete to remove. With the keys: arrows move, with Shift they lengthen or change how hard it is struck."),
    );
    this.host.onkeydown = (event) => this.#key(event);
    this.app.refreshBusy();
  }

  #draw(focused = null) {
    const beats = this.end - this.start;
    const marks = this.#notes.map((note) => {
      const mark = h("button", {
        type: "button",
        class: "roll-note",
        "aria-label": `${this.#name(note.pitch)}, ${this.#placeOf(note)}, struck with ${note.velocity}`,
        onpointerdown: (event) => this.#pressNote(event, note),
      });
      mark.note = note;
      mark.style.left = `${(100 * (note.start_beat - this.start)) / beats}%`;
      mark.style.width = `${(100 * Math.max(note.end_beat - note.start_beat, 0.1)) / beats}%`;
      mark.style.setProperty("--row", this.rows.indexOf(note.pitch));
      mark.style.opacity = 0.45 + (0.55 * note.velocity) / 127;
      return mark;
    });
    fill(this.grid, marks);
    this.undoButton.disabled = !this.#before.length;
    marks.find((mark) => mark.note === focused)?.focus();
  }

  #placeOf(note) {
    const { sheet } = this.app.music;
    const length = Math.round(100 * (note.end_beat - note.start_beat)) / 100;
    return `${sheet.place(sheet.timeOf(note.start_beat))}, ${length} ${length === 1 ? "beat" : "beats"}`;
  }

  /** Take `notes`; `focused` is one of them. What was there is kept for undo unless a drag goes on. */
  #set(notes, focused, goesOn = false) {
    if (!goesOn) this.#before.push(this.#notes);
    this.#notes = notes;
    this.#draw(focused);
  }

  #undo() {
    if (this.#before.length) this.#notes = this.#before.pop();
    this.#draw();
    this.host.focus();
  }

  #add(start_beat, pitch) {
    const end_beat = Math.min(start_beat + this.#step, this.end);
    const note = { start_beat, end_beat, pitch, velocity: 90 };
    this.#set([...this.#notes, note], note);
    return note;
  }

  /** `note` with `changes`, kept within the bars, the rows and MIDI's range. */
  #change(note, changes, goesOn) {
    const next = { ...note, ...changes };
    const moved = Math.min(Math.max(next.start_beat, this.start), this.end - this.#step) - next.start_beat;
    next.start_beat += moved;
    next.end_beat = Math.max(next.end_beat + moved, next.start_beat + 1 / 12);
    next.velocity = Math.min(127, Math.max(1, next.velocity));
    this.#set(this.#notes.map((one) => (one === note ? next : one)), next, goesOn);
    return next;
  }

  /** Beats and row under the pointer. */
  #at(event) {
    const { left, top, width, height } = this.grid.getBoundingClientRect();
    const beat = this.start + ((event.clientX - left) / width) * (this.end - this.start);
    const row = Math.floor(((event.clientY - top) / height) * this.rows.length);
    return { beat, row: Math.min(Math.max(row, 0), this.rows.length - 1) };
  }

  #pressGrid(event) {
    if (event.target !== this.grid || event.button !== 0) return;
    event.preventDefault();
    const { beat, row } = this.#at(event);
    const start = this.start + Math.floor((beat - this.start) / this.#step + 1e-6) * this.#step;
    this.#add(start, this.rows[row]);
  }

  #pressNote(event, note) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.currentTarget.focus();
    const { right } = event.currentTarget.getBoundingClientRect();
    const lengthens = right - event.clientX < 7;
    const [from, old] = [this.#at(event), note];
    let [current, dragged] = [note, false];
    const rounded = (beats) => Math.round(beats / this.#step) * this.#step;
    const move = (to) => {
      if (!dragged && Math.hypot(to.clientX - event.clientX, to.clientY - event.clientY) < DRAG_PX) return;
      const { beat, row } = this.#at(to);
      const by = rounded(beat - from.beat);
      const pitch = this.rows[this.rows.indexOf(old.pitch) + row - from.row] ?? old.pitch;
      const changes = lengthens
        ? { end_beat: old.end_beat + by }
        : { start_beat: old.start_beat + by, end_beat: old.end_beat + by, pitch };
      current = this.#change(current, { ...old, ...changes }, dragged);
      dragged = true;
    };
    followPointer(window, move);
  }

  #key(event) {
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    const { note } = event.target;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[event.key];
    const isTime = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (isUndo) this.#undo();
    else if (event.key === "Escape") this.close();
    else if (!note) return;
    else if (/^(Delete|Backspace)$/.test(event.key)) this.#remove(note);
    else if (!step) return;
    else if (isTime) {
      const by = step * this.#step;
      const end_beat = note.end_beat + by;
      this.#change(note, event.shiftKey ? { end_beat } : { start_beat: note.start_beat + by, end_beat });
    } else if (event.shiftKey) this.#change(note, { velocity: note.velocity + 8 * step });
    else this.#change(note, { pitch: this.rows[this.rows.indexOf(note.pitch) - step] ?? note.pitch });
    event.preventDefault();
    event.stopPropagation();
  }

  #remove(note) {
    const index = this.#notes.indexOf(note);
    const left = this.#notes.filter((one) => one !== note);
    this.#set(left, left[Math.min(index, left.length - 1)]);
  }

  #play() {
    const end = this.to >= this.app.version.duration_s - 0.001 ? null : this.to;
    const notes = { [this.stem]: this.#notes };
    return this.app.start("edit", { renew: { [this.stem]: [this.from, end] }, notes });
  }
}
