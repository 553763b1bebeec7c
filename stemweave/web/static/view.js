// What part of the piece is visible: pixels per second and the second at the left edge.

const MOST_PX_PER_S = 400;

export class View extends EventTarget {
  #width = 1;
  #duration = 0;
  #zoom = 0; // 0 the whole piece fits, 1 MOST_PX_PER_S
  #start = 0;

  get duration() {
    return this.#duration;
  }

  get width() {
    return this.#width;
  }

  get zoom() {
    return this.#zoom;
  }

  get pxPerSecond() {
    if (!this.#duration) return 1;
    const fit = this.#width / this.#duration;
    return fit * Math.max(1, MOST_PX_PER_S / fit) ** this.#zoom;
  }

  get start() {
    return this.#start;
  }

  get end() {
    return Math.min(this.#duration, this.#start + this.#width / this.pxPerSecond);
  }

  x(seconds) {
    return (seconds - this.#start) * this.pxPerSecond;
  }

  seconds(x) {
    return Math.min(this.#duration, Math.max(0, this.#start + x / this.pxPerSecond));
  }

  resize(width) {
    if (width === this.#width || width < 1) return;
    this.#width = width;
    this.#moved();
  }

  setDuration(duration) {
    if (duration === this.#duration) return;
    this.#duration = duration;
    this.#moved();
  }

  scrollTo(start) {
    this.#start = start;
    this.#moved();
  }

  /** Zoom 0–1, keeping `anchor` seconds where it is. */
  setZoom(zoom, anchor = (this.start + this.end) / 2) {
    const x = this.x(anchor);
    this.#zoom = Math.min(1, Math.max(0, zoom));
    this.#start = anchor - x / this.pxPerSecond;
    this.#moved();
  }

  /** Make a second `scale` pixels wide, with `anchor` seconds at `x` pixels. */
  setScale(scale, anchor, x) {
    const fit = this.#width / this.#duration;
    const most = Math.max(1, MOST_PX_PER_S / fit);
    this.#zoom = most > 1 ? Math.min(1, Math.max(0, Math.log(scale / fit) / Math.log(most))) : 0;
    this.#start = anchor - x / this.pxPerSecond;
    this.#moved();
  }

  /** Turn the page when the playhead leaves the view. */
  follow(position) {
    if (position < this.#start || position > this.end) this.scrollTo(position - 0.05);
  }

  /** Ruler marks: seconds between labels, so that these are at least 70 px apart. */
  get tick() {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
    return steps.find((step) => step * this.pxPerSecond >= 70) ?? 600;
  }

  #moved() {
    const last = Math.max(0, this.#duration - this.#width / this.pxPerSecond);
    this.#start = Math.min(Math.max(0, this.#start), last);
    this.dispatchEvent(new Event("change"));
  }
}
