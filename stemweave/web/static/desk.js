// How a project is listened to, kept by the server for the next visit: faders, selection, loop, view.

import { getDesk, putDesk } from "./api.js";

const PAUSE_MS = 800; // of no change, before it is sent

export class Desk {
  #app;
  #project = null; // id of the one that is kept
  #timer = null;
  favourites = new Set(); // ids of versions

  constructor(app) {
    this.#app = app;
    for (const part of [app.deck, app.mixer, app.selection, app.view]) {
      part.addEventListener("change", () => this.#later());
    }
    for (const type of ["seek", "pause"]) app.player.addEventListener(type, () => this.#later());
  }

  /** Set everything as it was left in a project whose version is shown, and keep it from here on. */
  async open(id) {
    const state = await getDesk(id);
    if (this.#app.project?.id !== id) return;
    if (this.#app.version) this.#restore(state);
    this.#project = id;
  }

  /** Keep no more: another project, or none, is to be shown. */
  close() {
    if (this.#timer !== null) this.#save();
    this.#project = null;
    this.favourites.clear();
  }

  /** Mark a version as one to come back to, or no longer. */
  toggleFavourite(id) {
    if (!this.favourites.delete(id)) this.favourites.add(id);
    this.#app.panel.show(false);
    this.#later();
  }

  #later() {
    if (this.#project === null) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), PAUSE_MS);
  }

  #save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    putDesk(this.#project, this.#state()).catch(() => {}); // the next change tries again
  }

  #state() {
    const { deck, mixer, selection, view, player } = this.#app;
    const { range } = selection;
    return {
      lanes: mixer.state,
      volume: deck.volume,
      looping: deck.looping,
      spectral: deck.spectral,
      speed: deck.practice.speed,
      semitones: deck.practice.semitones,
      zoom: view.zoom,
      start_s: view.start,
      position_s: player.position,
      favourites: [...this.favourites],
      selection: range && { start_s: range.start, end_s: range.end, stems: [...range.stems] },
    };
  }

  #restore(state) {
    const { deck, mixer, selection, view, player } = this.#app;
    this.favourites = new Set(state.favourites);
    this.#app.panel.show(false);
    mixer.restore(state.lanes);
    deck.setVolume(state.volume);
    if (state.looping !== deck.looping) deck.toggleLoop();
    if (state.spectral !== deck.spectral) deck.toggleSpectral();
    deck.practice.set(state.speed, state.semitones);
    view.setZoom(state.zoom);
    view.scrollTo(state.start_s);
    const { selection: range } = state;
    if (range && range.end_s <= view.duration) {
      selection.select(range.start_s, range.end_s, range.stems, view.duration);
    }
    player.seek(state.position_s);
  }
}
