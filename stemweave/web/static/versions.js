// The versions of a project: a list to go back and forth in, and what undo and redo mean in it.

import { deleteVersion } from "./api.js";
import { confirmed } from "./dialogs.js";
import { button, h, iconButton } from "./dom.js";
import { clock, versionTitle, when } from "./format.js";

const byId = (project, id) => project.versions.find((version) => version.id === id) ?? null;

/** The version that is open, or null. */
export const headOf = (project) => byId(project, project.head_version_id);

/** The version before the head, or null. */
export function undoTarget(project) {
  const head = headOf(project);
  return head && byId(project, head.parent_id);
}

/** The version that was made of the head last, or null; `visited` holds ids, latest last. */
export function redoTarget(project, visited) {
  const next = project.versions.filter(
    (version) => version.parent_id && version.parent_id === project.head_version_id,
  );
  const recency = (version) => visited.lastIndexOf(version.id);
  return next.toSorted((a, b) => recency(a) - recency(b)).at(-1) ?? null;
}

/** The version that was open before the head, or else the one that it was made of, or null. */
export function comparedTarget(project, visited) {
  const others = visited.filter((id) => id !== project.head_version_id && byId(project, id));
  return others.length ? byId(project, others.at(-1)) : undoTarget(project);
}

async function remove(app, version, number) {
  const question = `Delete version ${number}, “${versionTitle(version)}”? What was made of it stays.`;
  if (await confirmed(question)) await deleteVersion(version.id).catch((error) => app.fail(error));
}

function entry(app, version, number) {
  const { project } = app;
  const isHead = version.id === project.head_version_id;
  const parent = byId(project, version.parent_id);
  const previous = project.versions[number - 2];
  const branch = parent && parent !== previous;
  const facts = [when(version.created_at), clock(version.duration_s)];
  if (branch) facts.push(`from version ${project.versions.indexOf(parent) + 1}`);
  return h(
    "li",
    { class: isHead ? "version current" : "version" },
    button(
      [
        h("span", { class: "number" }, String(number)),
        h("span", { class: "version-title" }, versionTitle(version)),
        h("span", { class: "facts" }, facts.join(" · ")),
      ],
      () => app.goTo(version.id),
      { class: "version-open", "aria-current": isHead ? "true" : null },
    ),
    version.seed != null &&
      iconButton(
        "dice",
        `Use the take's number ${version.seed} again`,
        () => app.panel.useSeed(version.seed),
        { kind: "seed" },
        h("span", {}, String(version.seed)),
      ),
    iconButton("star", `Version ${number} is a favourite`, () => app.desk.toggleFavourite(version.id), {
      kind: "favourite",
      title: "A favourite: a version to come back to",
      "aria-pressed": String(app.desk.favourites.has(version.id)),
    }),
    project.versions.length > 1 &&
      iconButton("delete", `Delete version ${number}`, () => remove(app, version, number)),
  );
}

/** Newest first. */
export function versionList(app) {
  const { project } = app;
  if (!project?.versions.length) return [];
  const entries = project.versions.map((version, index) => entry(app, version, index + 1));
  return [
    h("h2", {}, "Versions"),
    h("ol", { reversed: true, class: "version-list" }, entries.reverse()),
    h(
      "div",
      { class: "row between foot" },
      h("span", { class: "hint" }, `Kept until ${when(project.expires_at)}`),
      button("Delete project", () => app.remove(project), { class: "text danger" }),
    ),
  ];
}
