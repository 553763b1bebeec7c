// The running job: what it does, how far it is, how to stop it.

import { h } from "./dom.js";
import { doing, timeLeft } from "./format.js";

/** Share done, 0–1, or null while that is unknown. */
export function share(job) {
  return job.steps ? Math.min(1, job.step / job.steps) : null;
}

function state(job, cancelling) {
  if (cancelling) return "Stopping";
  if (job.state === "queued") {
    return job.position > 1 ? `Waiting, ${job.position - 1} before it` : "Next in the queue";
  }
  if (!job.steps) return "Beginning";
  const left = timeLeft(job.seconds_left);
  return `Step ${job.step} of ${job.steps}${left ? `, ${left}` : ""}`;
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
      h("div", {}, h("p", { class: "job-state" }), h("p", { class: "hint" }, `Seed ${job.seed}`)),
    );
  }
  const progress = card.querySelector("progress");
  const done = share(job);
  if (done === null) progress.removeAttribute("value");
  else progress.value = done;
  card.querySelector(".job-state").textContent = state(job, app.cancelling);
  card.querySelector(".cancel").disabled = app.cancelling;
  return card;
}
