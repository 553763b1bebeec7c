// The studio's HTTP API. Addresses are relative to the page, so that a reverse proxy may serve it
// below any path.

const root = new URL("api/", document.baseURI);
const ENDED = new Set(["done", "failed", "cancelled"]);

/** An answer that is an error; the message is one sentence for the user, status 0 is no answer. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const unreachable = () =>
  new ApiError("The studio's server does not answer. Check that it is still running.", 0);

let askForToken = async () => false;

/** `ask` shows a prompt and resolves to whether the server accepted a token. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

function sentence(body, status) {
  if (typeof body?.detail === "string") return body.detail;
  if (Array.isArray(body?.detail) && body.detail[0]?.msg) {
    const { loc = [], msg } = body.detail[0];
    return `${loc.at(-1) ?? "The request"}: ${msg}.`;
  }
  return `The server answered with error ${status}.`;
}

async function answered(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  const body = await response.json().catch(() => null);
  throw new ApiError(sentence(body, response.status), response.status);
}

async function request(path, { method = "GET", json, body, signal } = {}) {
  const init = { method, body, signal, headers: {} };
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers["Content-Type"] = "application/json";
  }
  for (;;) {
    const response = await fetch(new URL(path, root), init).catch((error) => {
      throw error.name === "AbortError" ? error : unreachable();
    });
    if (response.status === 401 && (await askForToken())) continue;
    return answered(response);
  }
}

export const getModel = () => request("model");
export const getProjects = () => request("projects");
export const getProject = (id) => request(`projects/${id}`);
export const deleteProject = (id) => request(`projects/${id}`, { method: "DELETE" });
export const deleteVersion = (id) => request(`versions/${id}`, { method: "DELETE" });
export const changeProject = (id, json) => request(`projects/${id}`, { method: "PATCH", json });
export const startJob = (id, json) => request(`projects/${id}/jobs`, { method: "POST", json });
export const getJobs = (id) => request(`jobs?project_id=${id}`);
export const cancelJob = (id) => request(`jobs/${id}/cancel`, { method: "POST" });

/** Give the server a token; false if it is the wrong one. */
export async function openSession(token) {
  const response = await fetch(new URL("session", root), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  }).catch(() => {
    throw unreachable();
  });
  return response.ok;
}

/** `practice`: {speed, semitones}, or nothing for the track as it is. */
export function trackUrl(version, name, { format = "wav", download = false, practice = {} } = {}) {
  const query = new URLSearchParams({ format, ...practice, ...(download && { download: "1" }) });
  return new URL(`versions/${version.id}/tracks/${name}?${query}`, root).href;
}

export const dawUrl = (version) => new URL(`versions/${version.id}/daw`, root).href;
export const getSheet = (version) => request(`versions/${version.id}/sheet`);
export const putSheet = (version, json) =>
  request(`versions/${version.id}/sheet`, { method: "PUT", json });
export const getDesk = (id) => request(`projects/${id}/desk`);
export const putDesk = (id, json) => request(`projects/${id}/desk`, { method: "PUT", json });
/** What a MIDI file has for `stem`, [{start_beat, end_beat, pitch, velocity}] from its beginning. */
export const readMidi = (version, stem, body) =>
  request(`versions/${version.id}/midi?${new URLSearchParams({ stem })}`, { method: "POST", body });
export const getScore = (version) => request(`versions/${version.id}/score`);

/** The tracks as one: `heard` are {track: gain, "pan.track": pan, speed, semitones, click}, `range`
 * {start, end} or null. */
export function mixUrl(version, format, heard, range) {
  const ends = range ? { start: range.start, end: range.end } : {};
  const query = new URLSearchParams({ ...heard, ...ends, format, download: "1" });
  return new URL(`versions/${version.id}/mix?${query}`, root).href;
}

export function zipUrl(version, format) {
  return new URL(`versions/${version.id}/download?format=${format}`, root).href;
}

/** The bytes of a track, at the speed and pitch of `practice`. */
export async function getTrack(version, name, signal, practice = {}) {
  const response = await fetch(trackUrl(version, name, { practice }), { signal }).catch((error) => {
    throw error.name === "AbortError" ? error : unreachable();
  });
  if (!response.ok) await answered(response);
  return response.arrayBuffer();
}

/**
 * A new project of `files`, {field: File}; none makes an empty one. `onProgress` is told the share
 * sent. fetch cannot report that, so this is an XMLHttpRequest; `signal` aborts it.
 */
export async function createProject(files, name, { onProgress = () => {}, signal } = {}) {
  const form = new FormData();
  if (name) form.append("name", name);
  for (const [field, file] of Object.entries(files)) form.append(field, file, file.name);
  const { status, body } = await new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", new URL("projects", root));
    sending.responseType = "json";
    sending.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    sending.onload = () => resolve({ status: sending.status, body: sending.response });
    sending.onerror = () => reject(unreachable());
    sending.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(form);
  });
  if (status === 401 && (await askForToken())) {
    return createProject(files, name, { onProgress, signal });
  }
  if (status >= 400) throw new ApiError(sentence(body, status), status);
  return body;
}

/**
 * Follow a project until the returned function is called. `on` is told news: project(project),
 * job(job), deleted(), and lost(isLost) when the server stops answering or answers again. Where the
 * event stream does not get through, project and jobs are asked for instead. Hidden pages hold no
 * stream: browsers allow six connections to a server.
 */
export function followProject(id, on) {
  let [events, retry, failures, stopped] = [null, 0, 0, false];
  const told = (name) => (event) => !stopped && on[name](JSON.parse(event.data));
  const answers = () => {
    failures = 0;
    on.lost(false);
  };
  const ask = async () => {
    try {
      const [project, jobs] = [await getProject(id), await getJobs(id)];
      if (stopped) return;
      answers();
      on.project(project);
      jobs.forEach(on.job);
    } catch (error) {
      if (stopped) return;
      if (error.status === 404) on.deleted();
      else on.lost(true);
    }
    if (!stopped) retry = setTimeout(open, 1000);
  };
  const open = () => {
    close();
    if (stopped || document.hidden) return;
    events = new EventSource(new URL(`projects/${id}/events`, root));
    events.addEventListener("open", answers);
    for (const name of ["project", "job"]) events.addEventListener(name, told(name));
    events.addEventListener("deleted", () => {
      close(); // before it asks for a stream of what is no more
      on.deleted();
    });
    events.addEventListener("error", () => {
      if (++failures > 1) on.lost(true); // once may be the end of the stream
      if (events.readyState === EventSource.CLOSED) ask();
    });
  };
  const close = () => {
    clearTimeout(retry);
    events?.close();
  };
  document.addEventListener("visibilitychange", open);
  open();
  return () => {
    stopped = true;
    close();
    document.removeEventListener("visibilitychange", open);
  };
}

export const isRunning = (job) => !ENDED.has(job.state);
