// The multitrack player: lanes, timeline and transport around one Player.

import { clickOf, countInOf } from "./click.js";
import { h } from "./dom.js";
import { Edges } from "./edges.js";
import { clock } from "./format.js";
import { Lanes } from "./lanes.js";
import { Mixer } from "./mixer.js";
import { Music } from "./music.js";
import { Player } from "./player.js";
import { Practice, showPractice } from "./practice.js";
import { Selection } from "./selection.js";
import { Timeline } from "./timeline.js";
import { loadTrack } from "./tracks.js";
import { View } from "./view.js";

const LARGEST_TRIM = 4; // 12 dB

const byId = (id) => document.getElementById(id);

export class Deck extends EventTarget {
  view = new View();
  selection = new Selection();
  mixer = new Mixer();
  music = new Music();
  player = new Player();
  practice = new Practice();
  volume = 1;
  looping = false;
  clicking = false;
  countingIn = false;
  spectral = false;
  #inView = true; // whoever scrolls away from the playhead is left in peace
  #loading = null;
  #stretching = null;
  #version = null; // whose tracks are shown
  #buffers = {}; // {name: AudioBuffer} of it, at #speed
  #speed = 1;
  #level = 0; // RMS of it, as it is heard
  #wantedLevel = null; // of the next version, if it is to be as loud
  #clickOf = null; // the sheet that the click was made of

  /** onRegenerate(name), onChord(chord), onError(error). */
  constructor(model, { onRegenerate, onChord, onError }) {
    super();
    const { view, selection, mixer, music, player } = this;
    const onSeek = (seconds) => player.seek(seconds);
    this.stems = model.separated_stems;
    const { stems } = model;
    this.lanes = new Lanes(byId("lanes"), view, selection, { stems, mixer, music, onSeek, onRegenerate });
    const [overview, ruler] = [byId("overview"), byId("ruler")];
    const elements = {
      ruler,
      rulerCanvas: ruler.querySelector("canvas"),
      rulerHead: ruler.querySelector(".ruler-head"),
      overview,
      overviewCanvas: overview.querySelector("canvas"),
      overviewWindow: overview.querySelector(".window"),
      chords: byId("chords"),
    };
    this.timeline = new Timeline(elements, view, music, { onSeek, onChord });
    new Edges(byId("edges"), view, selection, music);
    music.addEventListener("change", () => {
      for (const id of ["click", "count-in"]) byId(id).hidden = !music.sheet.hasBars;
      if (this.clicking && this.#clickOf !== music.sheet) this.#play();
      this.#showPosition();
    });
    showPractice(byId("practice"), this.practice);
    this.practice.addEventListener("change", () => {
      this.#stretch().catch(onError);
      this.dispatchEvent(new Event("change"));
    });
    mixer.addEventListener("change", () => this.#applyMix());
    selection.addEventListener("change", () => this.#applyLoop());
    view.addEventListener("change", () => this.#showPosition());
    player.addEventListener("seek", () => {
      view.follow(player.position);
      this.#showPosition();
    });
    for (const type of ["play", "pause"]) player.addEventListener(type, () => this.#showPlaying());
    const frame = () => {
      if (player.playing) {
        player.tick();
        if (this.#inView && !this.#dragging()) view.follow(player.position);
        this.#showPosition();
      }
      this.lanes.setPeaks((name) => player.peak(name));
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** Load a version's tracks and show them; resolves to false if another version overtook it. */
  async show(version) {
    this.#abort();
    const wanted = this.#wantedLevel;
    this.#wantedLevel = null;
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    const available = version.tracks.map((track) => track.name);
    const names = [...this.stems, "mixture"].filter((name) => available.includes(name));
    this.lanes.show(names, version.duration_s === this.view.duration);
    this.view.setDuration(version.duration_s);
    this.lanes.measure();
    try {
      const tracks = await Promise.all(names.map((name) => loadTrack(version, name, signal)));
      if (signal.aborted) return false;
      await this.lanes.setTracks(tracks);
      if (signal.aborted) return false;
      this.timeline.setTracks(tracks, (name) => this.#color(name));
      this.#version = version;
      await this.#stretch(tracks);
      if (signal.aborted) return false;
      this.#setLevel(tracks, wanted);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      throw error;
    }
  }

  /** Let the next version be as loud as this one: for a fair comparison. */
  matchNext() {
    this.#wantedLevel = this.#level;
  }

  #setLevel(tracks, wanted) {
    const whole = tracks.filter((track) => track.name === "mixture");
    const power = (whole.length ? whole : tracks).reduce((sum, track) => sum + track.power, 0);
    const level = Math.sqrt(power);
    const fair = wanted && level ? wanted / level : 1;
    const trim = Math.min(LARGEST_TRIM, Math.max(1 / LARGEST_TRIM, fair));
    this.player.setTrim(trim);
    this.#level = level * trim;
  }

  /** Load nothing more, and show no version until one is loaded. */
  #abort() {
    this.#loading?.abort();
    this.#stretching?.abort();
    byId("practice").removeAttribute("aria-busy");
    this.#version = null;
  }

  /** Play the version's tracks at the wanted speed and pitch; what played before goes on until they
   * come. `plain` are those that were loaded as they are. */
  async #stretch(plain = []) {
    const [version, names, { practice }] = [this.#version, this.lanes.names, this];
    if (!version) return; // whoever loads one comes back here
    this.#stretching?.abort();
    const { signal } = (this.#stretching = new AbortController());
    const host = byId("practice");
    host.setAttribute("aria-busy", String(names.some((name) => practice.changes(name))));
    const { speed } = practice;
    const load = (name) =>
      (!practice.changes(name) && plain.find((track) => track.name === name)) ||
      loadTrack(version, name, signal, practice.queryOf(name));
    try {
      const tracks = await Promise.all(names.map(load));
      if (signal.aborted) return;
      this.#buffers = Object.fromEntries(tracks.map((track) => [track.name, track.buffer]));
      this.#speed = speed;
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      practice.set(1, 0);
      throw error;
    } finally {
      if (!signal.aborted) host.removeAttribute("aria-busy");
    }
    this.#play();
    this.#applyMix();
    this.#applyLoop();
    this.#showPosition();
  }

  /** Another project: silence, and nothing chosen. */
  clear() {
    this.#abort();
    this.player.pause();
    this.practice.set(1, 0);
    this.#buffers = {};
    this.player.setTracks({});
    this.player.seek(0);
    this.mixer.reset();
    this.selection.clear();
    this.music.show(null);
    this.view.setZoom(0);
    this.lanes.show([], false);
  }

  togglePlay() {
    if (this.player.playing) this.player.pause();
    else this.player.play(this.#countIn());
  }

  toggleLoop() {
    this.looping = !this.looping;
    byId("loop").setAttribute("aria-pressed", String(this.looping));
    this.#applyLoop();
    this.dispatchEvent(new Event("change"));
  }

  /** Hear a click on every beat, or no longer. */
  toggleClick() {
    this.clicking = !this.clicking;
    byId("click").setAttribute("aria-pressed", String(this.clicking));
    this.#play();
  }

  /** Hear a bar of clicks before playing begins, or no longer. */
  toggleCountIn() {
    this.countingIn = !this.countingIn;
    byId("count-in").setAttribute("aria-pressed", String(this.countingIn));
  }

  #countIn() {
    const { sheet } = this.music;
    return this.countingIn && sheet.hasBars ? countInOf(sheet, this.player.nextStart, this.#speed) : null;
  }

  /** Give the tracks to the player, and the click if it is wanted. */
  #play() {
    const { sheet } = this.music;
    const isHeard = this.clicking && sheet.hasBars && Object.keys(this.#buffers).length;
    this.#clickOf = isHeard ? sheet : null;
    const click = isHeard ? { click: clickOf(sheet, this.view.duration, this.#speed) } : {};
    this.player.setTracks({ ...this.#buffers, ...click }, this.#speed);
  }

  /** Select `stems` in the bar at the playhead, and loop it. */
  loopBar(stems) {
    const bar = this.music.bars?.barAt(this.player.position);
    if (!bar) return;
    this.selection.select(bar.start, bar.end, stems, this.view.duration);
    if (!this.looping) this.toggleLoop();
  }

  toggleSpectral() {
    this.spectral = !this.spectral;
    byId("spectral").setAttribute("aria-checked", String(this.spectral));
    this.lanes.setSpectral(this.spectral);
    this.dispatchEvent(new Event("change"));
  }

  /** Zoom 0–1 around the playhead if that is visible. */
  zoomTo(zoom) {
    const { position } = this.player;
    const isVisible = position >= this.view.start && position <= this.view.end;
    this.view.setZoom(zoom, isVisible ? position : undefined);
  }

  setVolume(volume) {
    this.volume = volume;
    this.player.setVolume(volume);
    byId("volume").value = volume;
    this.dispatchEvent(new Event("change"));
    byId("volume").style.setProperty("--filled", `${100 * volume}%`);
  }

  /** All that decides how the version sounds: {track: gain, "pan.track": pan, speed, semitones,
   * click: gain}. */
  get heard() {
    const { names } = this.lanes;
    const rows = names.map((name) => [
      [name, this.mixer.gain(name, names)],
      [`pan.${name}`, this.mixer.get(name).pan],
    ]);
    const click = this.clicking && this.music.sheet.hasBars ? { click: 1 } : {};
    return { ...Object.fromEntries(rows.flat()), ...this.practice.query, ...click };
  }

  #applyMix() {
    const names = this.lanes.names;
    for (const name of names) {
      this.player.setGain(name, this.mixer.gain(name, names));
      this.player.setPan(name, this.mixer.get(name).pan);
    }
  }

  #applyLoop() {
    const { range } = this.selection;
    const all = { start: 0, end: this.view.duration };
    this.player.setLoop(this.looping ? (range ?? all) : null);
  }

  #dragging() {
    return document.querySelector(".wave:active, .ruler:active, .overview:active") !== null;
  }

  #color(name) {
    const lane = document.querySelector(`.lane[data-stem="${CSS.escape(name)}"]`);
    return getComputedStyle(lane ?? document.body).getPropertyValue("--stem");
  }

  #showPlaying() {
    const { playing } = this.player;
    const button = byId("play");
    button.classList.toggle("playing", playing);
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.#showPosition();
  }

  #showPosition() {
    const { position } = this.player;
    this.#inView = position >= this.view.start && position <= this.view.end;
    this.lanes.setPosition(position);
    this.timeline.setPosition(position);
    const { bars } = this.music;
    byId("clock").replaceChildren(
      h("b", {}, clock(position, 1)),
      h("span", { class: "whole" }, ` / ${clock(this.view.duration, 1)}`),
      bars ? h("span", { class: "bar-clock" }, bars.place(position)) : "",
    );
    const zoom = byId("zoom");
    zoom.value = this.view.zoom;
    zoom.style.setProperty("--filled", `${100 * this.view.zoom}%`);
  }
}
