// Mute, solo, volume and place of the lanes. Keeps its settings by name, so that a new version of a
// project is heard as the one before.

export class Mixer extends EventTarget {
  #lanes = new Map();

  #lane(name) {
    if (!this.#lanes.has(name)) {
      this.#lanes.set(name, { muted: false, soloed: false, volume: 1, pan: 0 });
    }
    return this.#lanes.get(name);
  }

  get(name) {
    return { ...this.#lane(name) };
  }

  set(name, changes) {
    Object.assign(this.#lane(name), changes);
    this.dispatchEvent(new Event("change"));
  }

  toggle(name, key) {
    this.set(name, { [key]: !this.#lane(name)[key] });
  }

  /** What is set of all lanes, {name: {muted, soloed, volume, pan}}. */
  get state() {
    return Object.fromEntries([...this.#lanes].map(([name, lane]) => [name, { ...lane }]));
  }

  /** Set all lanes as `state` has them. */
  restore(state) {
    for (const [name, lane] of Object.entries(state)) Object.assign(this.#lane(name), lane);
    this.dispatchEvent(new Event("change"));
  }

  /** Forget everything: another project was opened. */
  reset() {
    this.#lanes.clear();
  }

  /**
   * Linear gain of `name` among the lanes `present`. The mixture, which repeats what the stems
   * play, sounds only alone: as the only lane or soloed.
   */
  gain(name, present) {
    const lane = this.#lane(name);
    const anySolo = present.some((other) => this.#lane(other).soloed);
    if (lane.muted || (anySolo && !lane.soloed)) return 0;
    if (name === "mixture" && present.length > 1 && !lane.soloed) return 0;
    return lane.volume;
  }
}
