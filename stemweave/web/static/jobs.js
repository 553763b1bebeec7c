// The running job: what it does, how far it is, how to stop it.

import { isRunning } from "./api.js";
import { h } from "./dom.js";
import { doing, timeLeft } from "./format.js";

/** The jobs of a project, as far as they have been told. */
export class Jobs {
  cancelling = null; // id of the one that is to stop
  #all = new Map();

  /** The one that runs or is next, or null. */
  get running() {
    const begun = [...this.#all.values()].filter(isRunning);
    return begun.find((job) => job.state === "running") ?? begun[0] ?? null;
  }

  /** How many wait behind it. */
  get waiting() {
    return [...this.#all.values()].filter(isRunning).length - 1;
  }

  get(id) {
    return this.#all.get(id);
  }

  /** Take note of `job`; returns whether it has just ended. */
  see(job) {
    const before = this.#all.get(job.id);
    this.#all.set(job.id, job);
    return Boolean(before && isRunning(before) && !isRunning(job));
  }
}

/** Share done, 0–1, or null while that is unknown. */
export function share(job) {
  return job.steps ? Math.min(1, job.step / job.steps) : null;
}

function state(job, { cancelling, waiting }) {
  if (cancelling === job.id) return "Stopping";
  const more = waiting > 0 ? `, ${waiting} more after it` : "";
  if (job.state === "queued") {
    return job.position > 1 ? `Waiting, ${job.position - 1} before it` : "Next in the queue";
  }
  if (!job.steps) return `Beginning${more}`;
  const left = timeLeft(job.seconds_left);
  return `Step ${job.step} of ${job.steps}${left ? `, ${left}` : ""}${more}`;
}

/** The card of the running job, or null; `card` is the present one, which is updated if it fits. */
export function jobCard(app, card) {
  const job = app.running;
  if (!job) return null;
  if (card?.dataset.job !== job.id) {
    card = h(
      "section",
      { class: "card job", data: { job: job.id }, "aria-label": "Running job" },
      h(
        "div",
        { class: "row between" },
        h("h2", { role: "status" }, doing(job)),
        h("button", { type: "button", class: "cancel", onclick: () => app.cancel() }, "Cancel"),
      ),
      h("progress", { max: 1, "aria-label": doing(job) }),
      h("div", {}, h("p", { class: "job-state" }), h("p", { class: "hint" }, `Take ${job.seed}`)),
    );
  }
  const progress = card.querySelector("progress");
  const done = share(job);
  if (done === null) progress.removeAttribute("value");
  else progress.value = done;
  card.querySelector(".job-state").textContent = state(job, app.jobs);
  card.querySelector(".cancel").disabled = app.jobs.cancelling === job.id;
  return card;
}
