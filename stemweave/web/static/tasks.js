// What can be done with a piece: one form for each task, made of the model's stems and limits.

import { button, field, h, isOff } from "./dom.js";
import { clock, listed, title, whatElse } from "./format.js";
import { hueOf } from "./hues.js";

/** Buttons that can be on or off, one for each of `names` among the model's `stems`. */
export function chips({ label, names, on: pressed, stems, onchange }) {
  const on = new Set(pressed);
  return h(
    "div",
    { class: "chips", role: "group", "aria-label": label },
    names.map((name) =>
      button(
        title(name),
        (event) => {
          if (!on.delete(name)) on.add(name);
          event.currentTarget.setAttribute("aria-pressed", String(on.has(name)));
          onchange(names.filter((candidate) => on.has(candidate)));
        },
        { class: "chip", "aria-pressed": String(on.has(name)), data: { stem: name, hue: hueOf(name, stems) } },
      ),
    ),
  );
}

const chosen = new Map(); // what was set last, by the name of the control

/** A slider with its value written beside it. */
export function slider(label, { min, max, step, value: initial, show, name }) {
  const value = Math.min(max, chosen.get(name) ?? initial);
  const output = h("output", {}, show(value));
  const paint = () => {
    const share = (Number(input.value) - min) / (max - min);
    input.style.setProperty("--filled", `${100 * share}%`);
  };
  const input = h("input", {
    type: "range",
    name,
    min,
    max,
    step,
    value,
    "aria-label": label,
    oninput: () => {
      chosen.set(name, Number(input.value));
      output.textContent = show(Number(input.value));
      paint();
    },
  });
  paint();
  const element = h("label", { class: "slider" }, h("span", {}, label), output, input);
  return { element, value: () => Number(input.value) };
}

function run(label, submit) {
  return button(label, (event) => isOff(event.currentTarget) || submit(), { class: "primary" });
}

/** For a tempo within `range`, or none: its lowest value leaves it open. Nothing without `range`. */
function tempoSlider(range) {
  if (!range) return { elements: [], params: () => ({}) };
  const [slowest, fastest] = range;
  const step = 2;
  const { element, value } = slider("Tempo", {
    name: "tempo",
    min: slowest - step,
    max: fastest,
    step,
    value: slowest - step,
    show: (bpm) => (bpm < slowest ? "any" : `${bpm} bpm`),
  });
  return { elements: [element], params: () => (value() < slowest ? {} : { tempo_bpm: value() }) };
}

function secondsLeft(app) {
  return Math.max(1, Math.floor(app.model.limits.max_minutes * 60 - app.version.duration_s));
}

/** Each: {id, title, hint, make(app, start) → elements}; `start(task, params)` begins a job. */
const TASKS = [
  {
    id: "separate",
    title: "Separate",
    fits: (app) => app.hasTrack("mixture"),
    hint: (app) => `Pulls the mixture apart into ${listed(app.model.separated_stems)}${whatElse(app.model) || ". Voices and all else are divided among them"}.`,
    make: (app, start) => {
      const method = h(
        "select",
        { name: "method", onchange: () => chosen.set("method", method.value) },
        h("option", { value: "mask" }, "Cut from the recording"),
        h("option", { value: "vocoder" }, "Synthesised anew"),
      );
      method.value = chosen.get("method") ?? "mask";
      return [
        field("Sound", method),
        run("Separate", () => start("separate", { method: method.value })),
      ];
    },
  },
  {
    id: "arrange",
    title: "Arrange",
    fits: (app) => app.stems.length > 0,
    hint: () => "Keeps some stems as they are and writes others to them.",
    make: (app, start) => {
      const { stems } = app.model;
      let given = app.stems;
      let add = stems.filter((name) => !given.includes(name));
      const host = h("div", { class: "stack" });
      const go = run("Arrange", () => start("arrange", { given: [...given, ...app.kept], add }));
      const show = () => {
        const both = add.length > 0 && given.length > 0;
        go.dataset.ready = both ? "yes" : "no";
        go.textContent = both ? `Write ${listed(add)}` : "Choose stems to write";
        app.refreshBusy();
        host.replaceChildren(
          h("span", { class: "label" }, "Keep"),
          chips({
            label: "Stems to keep",
            names: app.stems,
            on: given,
            stems,
            onchange: (names) => {
              given = names;
              add = add.filter((name) => !names.includes(name));
              show();
            },
          }),
          h("span", { class: "label" }, "Write"),
          chips({
            label: "Stems to write",
            names: stems,
            on: add,
            stems,
            onchange: (names) => {
              add = names;
              given = given.filter((name) => !names.includes(name));
              show();
            },
          }),
        );
      };
      show();
      return [host, go];
    },
  },
  {
    id: "vary",
    title: "Vary",
    fits: () => true,
    hint: () => "A similar piece of the same length, from hardly changed to nothing in common.",
    make: (app, start) => {
      const strength = slider("How different", {
        name: "strength",
        min: 0,
        max: 1,
        step: 0.05,
        value: 0.5,
        show: (value) => `${Math.round(100 * value)} %`,
      });
      return [strength.element, run("Vary", () => start("vary", { strength: strength.value() }))];
    },
  },
  {
    id: "extend",
    title: "Extend",
    fits: (app) => secondsLeft(app) > 1,
    hint: () => "Goes on after the end. What is there stays as it is.",
    make: (app, start) => {
      const seconds = slider("Longer by", {
        name: "extension",
        min: 1,
        max: Math.min(60, secondsLeft(app)),
        step: 1,
        value: Math.min(10, secondsLeft(app)),
        show: (value) => `${value} s`,
      });
      return [seconds.element, run("Extend", () => start("extend", { seconds: seconds.value() }))];
    },
  },
];

const GENERATE = {
  id: "generate",
  title: "Write a piece",
  hint: (app) => `The model plays ${listed(app.model.stems)} of its own.`,
  make: (app, start) => {
    const seconds = slider("Length", {
      name: "length",
      min: 2,
      max: Math.min(120, app.model.limits.max_minutes * 60),
      step: 1,
      value: 10,
      show: (value) => clock(value),
    });
    const tempo = tempoSlider(app.model.limits.tempo_bpm);
    const write = () => start("generate", { seconds: seconds.value(), ...tempo.params() });
    return [seconds.element, ...tempo.elements, run("Write", write)];
  },
};

/** The tasks that make sense now, the likeliest first. */
export function fittingTasks(app) {
  const known = (task) => app.model.tasks.includes(task.id);
  if (!app.version) return [GENERATE].filter(known);
  const tasks = TASKS.filter((task) => known(task) && task.fits(app));
  const isLikely = (task) => {
    if (task.id === "separate") return !app.stems.length;
    return task.id !== "arrange" || app.stems.length < app.model.stems.length;
  };
  return tasks.toSorted((a, b) => isLikely(b) - isLikely(a));
}
