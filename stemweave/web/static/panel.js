// Beside the lanes: the running job, the selection, the tasks, seed and steps, the versions.

import { button, field, fill, h, iconButton, isOff, keepingFocus, setOff } from "./dom.js";
import { clock, parseClock, title } from "./format.js";
import { chordsText, withChords } from "./corrections.js";
import { chips, fittingTasks } from "./tasks.js";
import { jobCard } from "./jobs.js";
import { versionList } from "./versions.js";

const MOST_TAKES = 4;
const MOST_BARS = 16; // whose chords fit into a line

export class Panel {
  /** `app`: see main.js. */
  constructor(host, app) {
    this.app = app;
    this.job = h("div", { class: "job-host" });
    this.chosen = h("section", { class: "card selection", "aria-label": "Selection" });
    this.tasks = h("section", { class: "tasks", "aria-label": "Tasks" });
    this.versions = h("section", { class: "versions", "aria-label": "Versions" });
    this.settings = this.#makeSettings();
    fill(host, this.job, this.chosen, this.tasks, this.settings, this.versions);
    app.selection.addEventListener("change", () => this.showSelection());
    app.music.addEventListener("change", () => this.showSelection());
  }

  #makeSettings() {
    this.seed = h("input", {
      id: "seed",
      inputmode: "numeric",
      pattern: "[0-9]*",
      placeholder: "new each time",
      autocomplete: "off",
    });
    this.steps = h("input", { id: "steps", type: "number", min: 1, max: 1000, placeholder: "usual" });
    this.takes = h("input", { id: "takes", type: "number", min: 1, max: MOST_TAKES, value: 1 });
    const clear = iconButton("dice", "A new number each time", () => (this.seed.value = ""));
    return h(
      "section",
      { class: "settings", "aria-label": "Takes and steps" },
      field("Number of the take", h("span", { class: "joined" }, this.seed, clear)),
      h("div", { class: "row halves" }, field("Takes", this.takes), field("Steps", this.steps)),
      h("p", { class: "hint" }, "The same number gives the same music again. Several takes are versions beside each other: X compares them. Fewer steps are faster and rougher."),
    );
  }

  useSeed(seed) {
    this.seed.value = seed;
    this.seed.focus();
  }

  /**
   * {seeds: [int|null] of each take, steps: int|undefined}; of a task that draws nothing one seed and no
   * steps. Throws an Error with a sentence for the user.
   */
  readSettings(draws) {
    const takes = Number(this.takes.value || 1);
    if (!(Number.isInteger(takes) && takes >= 1 && takes <= MOST_TAKES)) {
      throw new Error(`The takes must be a whole number from 1 to ${MOST_TAKES}.`);
    }
    const seed = this.seed.value.trim();
    const steps = this.steps.value.trim();
    if (seed && !(/^\d+$/.test(seed) && Number.isSafeInteger(Number(seed)))) {
      throw new Error("The number of the take must be a whole number of at most 15 digits, or empty.");
    }
    const isCount = /^\d+$/.test(steps) && steps >= 1 && steps <= 1000;
    if (this.steps.validity.badInput || (steps && !isCount)) {
      throw new Error("The steps must be a whole number from 1 to 1000, or empty.");
    }
    const seeds = Array.from({ length: draws ? takes : 1 }, (_, take) => (seed ? Number(seed) + take : null));
    return { seeds, steps: steps && draws ? Number(steps) : undefined };
  }

  /** Everything anew; the forms only if the version has changed, for what was typed into them. */
  show(changed) {
    if (changed) keepingFocus(this.tasks, () => this.showTasks());
    this.showSelection();
    keepingFocus(this.versions, () => this.showVersions());
    this.showJob();
  }

  showTasks() {
    const { app } = this;
    const tasks = fittingTasks(app);
    const here = this.tasks.dataset.project === app.project.id;
    const open = here && this.tasks.querySelector("details[open]")?.dataset.task;
    this.tasks.dataset.project = app.project.id;
    const isKept = open !== "separate" && tasks.some((task) => task.id === open);
    const first = isKept ? open : tasks[0]?.id; // once separated, other things come next
    fill(
      this.tasks,
      tasks.map((task) =>
        h(
          "details",
          { name: "task", data: { task: task.id }, open: task.id === first },
          h("summary", {}, task.title),
          h(
            "div",
            { class: "stack" },
            h("p", { class: "hint" }, task.hint(app)),
            task.make(app, (name, params) => app.start(name, params)),
          ),
        ),
      ),
    );
    app.refreshBusy();
  }

  showSelection() {
    keepingFocus(this.chosen, () => this.#fillSelection());
  }

  #fillSelection() {
    const { app } = this;
    const { range } = app.selection;
    this.chosen.hidden = !range || !app.version;
    if (this.chosen.hidden) {
      fill(this.chosen);
      return;
    }
    const stems = app.model.stems.filter((name) => range.stems.has(name));
    const { bars } = app.music;
    const place = bars ? bars.range(range.start, range.end) : "part";
    const edgeField = (edge, label) => {
      const onchange = (event) => this.#moveEdge(edge, event.target);
      const value = clock(range[edge], 2);
      return field(label, h("input", { name: edge, value, inputmode: "decimal", autocomplete: "off", onchange }));
    };
    const fillButton = button(
      stems.length ? `Write ${place.startsWith("bar") ? place : "this part"} anew` : "Choose a stem to write",
      (event) => isOff(event.currentTarget) || app.fillSelection(),
      { class: "primary", id: "fill", data: { ready: stems.length ? "yes" : "no" } },
    );
    fill(
      this.chosen,
      h(
        "div",
        { class: "row between" },
        h("h2", {}, `${bars ? title(place) : "Selection"}, ${(range.end - range.start).toFixed(1)} s`),
        iconButton("close", "Clear the selection", () => app.selection.clear(), { title: "Clear the selection (Esc)" }),
      ),
      h("div", { class: "row halves" }, edgeField("start", "From"), edgeField("end", "To")),
      this.#chordField(bars?.barsBetween(range.start, range.end) ?? []),
      chips({
        label: "Stems to write anew",
        names: app.model.stems,
        on: stems,
        stems: app.model.stems,
        onchange: (names) => app.selection.select(range.start, range.end, names, app.view.duration),
      }),
      fillButton,
      this.#notesButton(stems, bars?.barsBetween(range.start, range.end) ?? []),
      h("p", { class: "hint" }, "Everything outside it stays, sample for sample."),
    );
    app.refreshBusy();
  }

  /** Opens the notes of selected bars of one written stem. */
  #notesButton([stem, ...others], bars) {
    const { app } = this;
    if (!bars.length || bars.length > MOST_BARS || others.length || !app.music.notes[stem]) return null;
    return button(`Edit the notes of ${stem}`, () => app.roll.open(stem, bars));
  }

  /** The chords of selected bars, to be corrected; the next task follows them. */
  #chordField(bars) {
    const { app } = this;
    const { sheet } = app.music;
    this.chords = null;
    if (!bars.length || bars.length > MOST_BARS) return null;
    const written = sheet.json.chords ? chordsText(sheet, bars) : "";
    this.chords = h("input", {
      name: "chords",
      value: written,
      placeholder: "Am7 | F | C G/B",
      autocomplete: "off",
      spellcheck: "false",
      onchange: (event) => app.correct(() => withChords(sheet, bars, event.target.value)),
    });
    return field("Chords", this.chords);
  }

  #moveEdge(edge, input) {
    const { app } = this;
    const { range } = app.selection;
    const seconds = parseClock(input.value);
    if (!range) return;
    if (Number.isNaN(seconds)) {
      input.value = clock(range[edge], 2);
      app.fail(new Error("A time is written like 12.5 or 1:02.5."));
      return;
    }
    const other = edge === "start" ? range.end : range.start;
    app.selection.select(Math.min(seconds, app.view.duration), other, range.stems, app.view.duration);
  }

  showVersions() {
    fill(this.versions, versionList(this.app));
  }

  showJob() {
    const card = jobCard(this.app, this.job.firstElementChild);
    if (card !== this.job.firstElementChild) keepingFocus(this.job, () => fill(this.job, card));
  }

  /** Buttons that start work are off while a job runs, or while their form is incomplete. */
  refreshBusy(busy) {
    for (const host of [this.chosen, this.tasks, this.app.roll.host]) {
      for (const button of host.querySelectorAll("button.primary")) {
        setOff(button, busy || button.dataset.ready === "no");
      }
    }
  }
}
