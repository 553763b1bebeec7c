// Which parts of the lanes are new in a version, and which a job is working on.

const clipped = (start, end, version) => ({ start, end: Math.min(end ?? Infinity, version.duration_s) });

/** {name: [{start, end, kind: "new"}]}: what this version has and its parent has not. */
export function spansOf(project, version, names) {
  const parent = project.versions.find((other) => other.id === version.parent_id);
  const params = version.params ?? {};
  const spans = {};
  const mark = (name, start, end) => {
    if (!names.includes(name)) return;
    spans[name] = [{ ...clipped(start, end, version), kind: "new" }];
  };
  if (version.task === "edit") {
    for (const [name, [start, end]] of Object.entries(params.renew ?? {})) mark(name, start, end);
  } else if (version.task === "extend" && parent) {
    for (const name of names) mark(name, parent.duration_s, null);
  } else if (version.task === "arrange") {
    for (const name of params.add ?? []) mark(name, 0, null);
  }
  return spans;
}

/** {name: [{start, end, kind: "working"}]}: what a running job writes or reads. */
export function workingSpans(job, version, names) {
  if (!version || job.version_id !== version.id) return {};
  const spans = {};
  const mark = (name, start, end) => {
    spans[name] = [{ ...clipped(start, end, version), kind: "working" }];
  };
  if (job.task === "edit") {
    for (const [name, [start, end]] of Object.entries(job.params.renew ?? {})) {
      mark(names.includes(name) ? name : "mixture", start, end);
    }
  } else if (job.task === "separate") {
    mark("mixture", 0, null);
  } else if (job.task === "arrange") {
    for (const name of job.params.add ?? []) mark(name, 0, null);
  } else if (job.task === "vary") {
    for (const name of names) mark(name, 0, null);
  }
  return spans;
}
