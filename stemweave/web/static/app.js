// Which project and version are open, what is being done with them, and every action of the page.

import * as api from "./api.js";
import { Deck } from "./deck.js";
import { Desk } from "./desk.js";
import { clearErrors, confirmed, showError } from "./dialogs.js";
import { showDownloads } from "./downloads.js";
import { doing, versionTitle } from "./format.js";
import { showHome, showSent, sortFiles } from "./home.js";
import { Jobs, share } from "./jobs.js";
import { Panel } from "./panel.js";
import { spansOf, workingSpans } from "./spans.js";
import { Roll } from "./roll.js";
import { SheetMenu } from "./sheet-menu.js";
import { headOf, redoTarget, undoTarget } from "./versions.js";

const byId = (id) => document.getElementById(id);

export class App {
  project = null;
  version = null;
  jobs = new Jobs(); // of this project
  sending = null; // {upload: {name, share}, abort} while a file is sent
  #shown = false; // whether the open project has been drawn
  #starting = false;
  #lost = false; // whether the server has stopped answering
  visited = []; // ids of versions, latest last: redo goes back the way one came
  #unfollow = () => {};

  constructor(model) {
    this.model = model;
    this.deck = new Deck(model, {
      onRegenerate: (name) => this.regenerate(name),
      onChord: (chord) => this.#showChord(chord),
      onError: (error) => this.fail(error),
    });
    const { view, selection, player, mixer, lanes, music } = this.deck;
    Object.assign(this, { view, selection, player, mixer, lanes, music });
    this.desk = new Desk(this);
    this.roll = new Roll(byId("roll"), this);
    this.panel = new Panel(byId("panel"), this);
    this.sheetMenu = new SheetMenu(byId("sheet-menu"), this);
  }

  /** The job that runs or waits, or null. */
  get running() {
    return this.jobs.running;
  }

  /** Whether nothing new can be begun. */
  get busy() {
    return this.#starting || this.running !== null;
  }

  /** Stems of the open version that the model plays, in its order. */
  get stems() {
    return this.model.stems.filter((name) => this.hasTrack(name));
  }

  /** Stems of the open version that the model leaves as they are. */
  get kept() {
    const { stems, separated_stems: separated } = this.model;
    return separated.filter((name) => !stems.includes(name) && this.hasTrack(name));
  }

  /** What a new selection covers. */
  get stemsToFill() {
    return this.stems.length ? this.stems : this.model.stems;
  }

  hasTrack(name) {
    return Boolean(this.version?.tracks.some((track) => track.name === name));
  }

  fail(error) {
    if (error.name !== "AbortError") showError(error);
  }

  /** Run an action; its error becomes a sentence on the page. */
  async #attempt(action, { quietly = false } = {}) {
    if (!quietly) clearErrors();
    try {
      return await action();
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  /** Open what the address names. */
  async route() {
    const [, id] = /^#\/p\/([\w-]+)$/.exec(location.hash) ?? [];
    if (id && id === this.project?.id) return;
    this.#unfollow();
    this.desk.close();
    this.deck.clear();
    [this.project, this.version, this.jobs, this.visited] = [null, null, new Jobs(), []];
    [this.#shown, this.#lost] = [false, false];
    await this.#attempt(() => (id ? this.#open(id) : this.#openHome()));
  }

  async #openHome() {
    this.#showPlace("home");
    document.title = "Stemweave";
    showHome(byId("home"), this, await api.getProjects());
  }

  async #open(id) {
    try {
      this.project = await api.getProject(id);
    } catch (error) {
      if (error.status !== 404) throw error;
      await this.#leave();
      return;
    }
    this.#showPlace("studio");
    await this.#showHead();
    if (this.project?.id !== id) return;
    this.#attempt(() => this.desk.open(id), { quietly: true });
    this.#unfollow = api.followProject(id, {
      project: (project) => {
        this.project = project; // as it is now, here or elsewhere
        this.#attempt(() => this.#showHead(), { quietly: true });
      },
      job: (job) => this.#attempt(() => this.#seeJob(job), { quietly: true }),
      deleted: () => this.#attempt(() => this.#leave()),
      lost: (lost) => this.#showLost(lost),
    });
  }

  /** The open project is no more. */
  async #leave() {
    history.replaceState(null, "", "#/");
    await this.route();
    this.fail(new Error("This project is not here any more: it was deleted or has expired."));
  }

  #showPlace(place) {
    byId("home").hidden = place !== "home";
    for (const part of ["studio", "transport", "project-bar"]) byId(part).hidden = place === "home";
  }

  /** Show the project's head: everything that depends on the version is drawn anew. */
  async #showHead() {
    const { project } = this;
    const head = headOf(project);
    const changed = !this.#shown || head?.id !== this.version?.id;
    this.#shown = true;
    this.version = head;
    if (head && this.visited.at(-1) !== head.id) this.visited.push(head.id);
    document.title = `${project.name} – Stemweave`;
    byId("studio-title").textContent = project.name;
    if (byId("project-name") !== document.activeElement) byId("project-name").value = project.name;
    byId("undo").disabled = !undoTarget(project);
    byId("redo").disabled = !redoTarget(project, this.visited);
    for (const part of ["downloads", "sheet-menu", "transport", "timeline", "lanes", "stage-hint"]) {
      byId(part).hidden = !head;
    }
    this.#showNote();
    this.panel.show(changed);
    if (changed) this.roll.close();
    if (!head) return;
    showDownloads(document.querySelector("#downloads .sheet"), head, this);
    if (!changed) return;
    const { range } = this.selection;
    if (range && range.end > head.duration_s) this.selection.clear();
    this.#attempt(() => this.music.show(head), { quietly: true });
    await this.deck.show(head).finally(() => head === this.version && this.#showSpans());
  }

  #showNote() {
    const note = byId("stage-note");
    note.hidden = Boolean(this.version);
    note.textContent = this.running
      ? "The model is playing. Its stems will appear here."
      : "Nothing here yet. Choose a length and press Write.";
  }

  #showSpans() {
    if (!this.version) return;
    const spans = spansOf(this.project, this.version, this.lanes.names);
    const working = this.running ? workingSpans(this.running, this.version, this.lanes.names) : {};
    for (const name of Object.keys(working)) spans[name] = [...(spans[name] ?? []), ...working[name]];
    this.lanes.setSpans(spans);
  }

  /** Begin a project with dropped or chosen files. */
  upload(files) {
    return this.#attempt(async () => {
      const fields = sortFiles(files, this.model);
      if (location.hash !== "#/" && location.hash !== "") location.hash = "#/";
      const controller = new AbortController();
      const name = files.length === 1 ? files[0].name : `${files.length} stems`;
      this.sending = { upload: { name, share: 0 }, abort: () => controller.abort() };
      this.#showPlace("home");
      showHome(byId("home"), this, []);
      try {
        const project = await api.createProject(fields, files.length > 1 ? name : "", {
          onProgress: (sent) => showSent(sent),
          signal: controller.signal,
        });
        this.sending = null;
        location.hash = `#/p/${project.id}`;
      } catch (error) {
        this.sending = null;
        showHome(byId("home"), this, await api.getProjects());
        throw error;
      }
    });
  }

  beginEmpty() {
    return this.#attempt(async () => {
      location.hash = `#/p/${(await api.createProject({}, "New piece")).id}`;
    });
  }

  rename(name) {
    return this.#attempt(async () => {
      if (name.trim()) this.project = await api.changeProject(this.project.id, { name: name.trim() });
      byId("project-name").value = this.project.name;
      document.title = `${this.project.name} – Stemweave`;
    });
  }

  async remove(project) {
    if (!(await confirmed(`Delete “${project.name}” and all of its versions?`))) return;
    await this.#attempt(async () => {
      await api.deleteProject(project.id);
      if (location.hash === "#/" || !location.hash) await this.#openHome();
      else location.hash = "#/";
    });
  }

  /** Begin a job on the open version, or one for each take. */
  start(task, params) {
    if (this.busy) return undefined;
    return this.#attempt(async () => {
      const { seeds, steps } = this.panel.readSettings(params.method !== "mask");
      const wanted = steps === undefined ? params : { ...params, steps };
      const body = { task, version_id: this.version?.id ?? null, params: wanted };
      const { id } = this.project;
      this.#starting = true;
      this.refreshBusy();
      for (const seed of seeds) this.#seeStart(await api.startJob(id, { ...body, seed }));
    }).finally(() => {
      this.#starting = false;
      this.refreshBusy();
    });
  }

  #seeStart(job) {
    const known = this.jobs.get(job.id); // the news may be faster than the answer
    if (job.project_id !== this.project?.id) return;
    if (!known) this.#seeJob(job);
    else if (!api.isRunning(known)) this.#sayEnd(known);
  }

  regenerate(name) {
    return this.start("edit", { renew: { [name]: [0, null] } });
  }

  fillSelection() {
    const { range } = this.selection;
    if (!range?.stems.size) return undefined;
    const end = range.end >= this.version.duration_s - 0.001 ? null : range.end;
    const renew = Object.fromEntries([...range.stems].map((name) => [name, [range.start, end]]));
    return this.start("edit", { renew });
  }

  /** Correct the sheet; `change` takes its JSON and returns another. */
  correct(change) {
    return this.#attempt(() => this.music.correct(change(this.music.sheet.json))).finally(() =>
      this.sheetMenu.show(),
    );
  }

  /** Select the bar in which a chord begins, to correct it. */
  #showChord(chord) {
    const bar = this.music.sheet.barAt(Math.max(chord.start, 0));
    this.selection.select(bar.start, bar.end, this.stemsToFill, this.view.duration);
    this.panel.chords?.focus();
  }

  /** Say that the server does not answer, once, and no longer when it does. */
  #showLost(lost) {
    if (lost === this.#lost) return;
    this.#lost = lost;
    if (lost) showError(api.unreachable());
    else clearErrors();
  }

  /** A job of the open project has begun, gone on or ended. */
  #seeJob(job) {
    const before = this.running?.id;
    const ended = this.jobs.see(job);
    this.#showJob();
    if (ended || this.running?.id !== before) this.#showSpans();
    if (ended) this.#sayEnd(job);
  }

  #sayEnd(job) {
    if (job.state === "failed") throw new Error(job.error ?? `${doing(job)} failed.`);
    byId("said").textContent =
      job.state === "done" ? `${versionTitle(this.version)}.` : `${doing(job)} was cancelled.`;
  }

  #showJob() {
    const line = byId("job-line");
    line.hidden = !this.running;
    const done = this.running && share(this.running);
    line.classList.toggle("unknown", done === null);
    line.firstElementChild.style.width = `${100 * (done ?? 0)}%`;
    this.panel.showJob();
    this.#showNote();
    this.refreshBusy();
  }

  refreshBusy() {
    this.panel?.refreshBusy(this.busy);
    this.lanes.setBusy(this.busy);
  }

  cancel() {
    return this.#attempt(async () => {
      const job = this.running;
      this.jobs.cancelling = job.id;
      this.#showJob();
      await api.cancelJob(job.id);
    });
  }

  /** Make another version the head. */
  goTo(id) {
    if (id === this.version?.id) return undefined;
    return this.#attempt(async () => {
      this.project = await api.changeProject(this.project.id, { head_version_id: id });
      await this.#showHead();
    });
  }

  /** -1 to the version before, 1 to the one that was made of this. */
  undo(direction) {
    const target =
      direction < 0 ? undoTarget(this.project) : redoTarget(this.project, this.visited);
    return target && this.goTo(target.id);
  }
}
