// The first page: bring a file, begin with nothing, or open an earlier project.

import { button, fill, h, iconButton } from "./dom.js";
import { clock, listed, title, whatElse, when } from "./format.js";
import { hueOf } from "./hues.js";
import { weave } from "./weave.js";

/**
 * Which file is what, {field: File}: one file is a mixture, unless it is named like a stem or like
 * one that was downloaded here; several must be named like stems (or like "mixture"). Throws an
 * Error with a sentence for the user.
 */
export function sortFiles(files, model) {
  const limit = model.limits.max_mb * 1e6;
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (total > limit) {
    throw new Error(`${files[0].name} is too large: this studio takes at most ${model.limits.max_mb} MB.`);
  }
  const named = (file) => file.name.replace(/\.[^.]*$/, "").toLowerCase();
  const { separated_stems: stems } = model;
  const fields = [...stems, "mixture"];
  if (files.length === 1) {
    const [file] = files;
    const isStem = (stem) => named(file) === stem || named(file).endsWith(` - ${stem}`);
    return { [stems.find(isStem) ?? "mixture"]: file };
  }
  const sorted = {};
  for (const file of files) {
    const field = fields.find((name) => named(file) === name || named(file).endsWith(` ${name}`));
    if (!field || sorted[field]) {
      throw new Error(
        `Bring one song, or stems in files named like ${listed(stems)}: ${file.name} is neither.`,
      );
    }
    sorted[field] = file;
  }
  return sorted;
}

function begin(app) {
  const { model } = app;
  const input = h("input", {
    type: "file",
    id: "file",
    multiple: true,
    class: "unseen",
    onchange: () => input.files.length && app.upload([...input.files]),
  });
  const { max_minutes: minutes, max_mb: megabytes } = model.limits;
  return h(
    "div",
    { class: "begin" },
    h(
      "div",
      { class: "drop" },
      h("p", { class: "drop-text" }, "Drop a song here"),
      input,
      h("label", { for: "file", class: "button primary" }, "Choose a file"),
      h(
        "p",
        { class: "hint" },
        `Any audio or video file, up to ${minutes} minutes and ${megabytes} MB; or stems in files named ${listed(model.separated_stems)}.`,
      ),
    ),
    model.tasks.includes("generate") &&
      h(
        "div",
        { class: "blank" },
        h("p", {}, "Nothing at hand?"),
        button("Write a new piece", () => app.beginEmpty(), { id: "begin-empty" }),
        h("p", { class: "hint" }, "The model plays all of its instruments; you keep what you like."),
      ),
  );
}

function uploading(app) {
  const { upload } = app.sending;
  return h(
    "div",
    { class: "begin sending" },
    h("p", { class: "drop-text", role: "status" }, `Bringing in ${upload.name}`),
    h("progress", { id: "upload-progress", max: 1, value: upload.share, "aria-label": "Upload" }),
    h(
      "div",
      { class: "row" },
      h("span", { class: "hint", id: "upload-state" }, ""),
      button("Cancel", () => app.sending.abort()),
    ),
  );
}

function threads(project, app) {
  const head = project.versions.find((version) => version.id === project.head_version_id);
  const names = head?.tracks.map((track) => track.name) ?? [];
  const stems = names.filter((name) => name !== "mixture");
  return h(
    "span",
    { class: "swatches", "aria-hidden": "true" },
    (stems.length ? stems : names).map((name) =>
      h("i", { data: { hue: hueOf(name, app.model.separated_stems) } }),
    ),
  );
}

function projectCard(project, app) {
  const head = project.versions.find((version) => version.id === project.head_version_id);
  const count = project.versions.length;
  const facts = head
    ? `${clock(head.duration_s)}, ${count} ${count === 1 ? "version" : "versions"}`
    : "empty";
  return h(
    "li",
    {},
    h(
      "a",
      { class: "project", href: `#/p/${project.id}` },
      threads(project, app),
      h("b", {}, project.name),
      h("span", { class: "facts" }, `${facts} · kept until ${when(project.expires_at)}`),
    ),
    iconButton("delete", `Delete ${project.name}`, () => app.remove(project)),
  );
}

/** Show the first page. `projects` are those on the server, newest first. */
export function showHome(host, app, projects) {
  const { stems, separated_stems: separated } = app.model;
  const hues = separated.map((name) => hueOf(name, separated));
  fill(
    host,
    h(
      "div",
      { class: "hero" },
      h("h1", {}, "Take a song apart. Weave it anew."),
      h(
        "p",
        { class: "lead" },
        `One mixture becomes ${listed(separated)}${whatElse(app.model)}. Then write ${separated.length > stems.length ? listed(stems) : "any of them"} again: the whole stem, or just four bars of it.`,
      ),
      weave(hues),
    ),
    app.sending ? uploading(app) : begin(app),
    projects.length > 0 &&
      h(
        "section",
        { class: "projects", "aria-labelledby": "projects-title" },
        h("h2", { id: "projects-title" }, "Earlier work"),
        h("ul", {}, projects.map((project) => projectCard(project, app))),
      ),
  );
}

/** Tell the share of the upload that is sent. */
export function showSent(share) {
  const progress = document.getElementById("upload-progress");
  if (!progress) return;
  progress.value = share;
  document.getElementById("upload-state").textContent =
    share < 1 ? `${Math.round(100 * share)} % sent` : "Reading the audio";
}
