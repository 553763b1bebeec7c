// Plays the tracks of a version on one clock: every track is a buffer source, all are started for
// the same instant of one AudioContext, so that they stay together to the sample.

const LEAD_S = 0.06; // sources are started this far ahead, so that none is late
const END_S = 0.01; // so near to the end playing rests, and begins anew
const METERED = 2048; // samples: more than between two frames of the page
const RAMP_S = 0.012; // time constant of gain changes, against clicks

/** Gain of the left (0) or right (1) channel. */
const sideGain = (pan, index) => Math.min(1, index === 0 ? 1 - pan : 1 + pan);

export class Player extends EventTarget {
  #makeContext;
  #context = null;
  #master = null;
  #lanes = new Map(); // name → {buffer, gain, pan: numbers, node: GainNode|null, sides, source}
  #offset = 0; // s, where playing began or rests
  #startedAt = null; // context time at which #offset sounds; null while resting
  #loop = null;
  #volume = 1;
  #trim = 1; // beside the volume, of what is played now
  #samples = new Float32Array(METERED);
  #lead = null; // the source of what sounds before the tracks
  #speed = 1; // of what the tracks hold: times are those of the piece

  /** `makeContext(sampleRate)` is called at the first play: browsers want a gesture for it. */
  constructor(makeContext = (sampleRate) => new AudioContext({ sampleRate })) {
    super();
    this.#makeContext = makeContext;
  }

  get playing() {
    return this.#startedAt !== null;
  }

  get duration() {
    const longest = Math.max(0, ...[...this.#lanes.values()].map((lane) => lane.buffer.duration));
    return longest * this.#speed;
  }

  /** Seconds into the piece that are heard now. */
  get position() {
    if (!this.playing) return this.#offset;
    // what is heard lags behind the clock, by much on wireless headphones
    const heard = this.#context.currentTime - (this.#context.outputLatency || 0);
    const at = this.#offset + Math.max(0, heard - this.#startedAt) * this.#speed;
    if (!this.#loop || at < this.#loop.end) return Math.min(at, this.duration);
    return this.#loop.start + ((at - this.#loop.start) % (this.#loop.end - this.#loop.start));
  }

  /** Replace what is played, {name: AudioBuffer}; a running player goes on at its position. The
   * buffers hold the piece at `speed`; the positions here stay those of the piece. */
  setTracks(buffers, speed = 1) {
    const position = this.position;
    const wasPlaying = this.playing;
    this.#silence();
    this.#speed = speed;
    for (const lane of this.#lanes.values()) lane.node?.disconnect();
    const before = this.#lanes;
    this.#lanes = new Map(
      Object.entries(buffers).map(([name, buffer]) => [
        name,
        {
          buffer,
          gain: before.get(name)?.gain ?? 1,
          pan: before.get(name)?.pan ?? 0,
          node: null,
          source: null,
        },
      ]),
    );
    this.#offset = Math.min(position, this.duration);
    if (wasPlaying && this.#lanes.size) this.play();
  }

  /** How loud a track is, linear. */
  setGain(name, gain) {
    const lane = this.#lanes.get(name);
    if (!lane) return;
    lane.gain = gain;
    lane.node?.gain.setTargetAtTime(gain, this.#context.currentTime, RAMP_S);
  }

  /** The peak of what a track plays now, linear, with its gain. */
  peak(name) {
    const meter = this.playing && this.#lanes.get(name)?.meter;
    if (!meter) return 0;
    meter.getFloatTimeDomainData(this.#samples);
    return this.#samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
  }

  /** Where a track is, from -1 (left) to 1: the other side is turned down. */
  setPan(name, pan) {
    const lane = this.#lanes.get(name);
    if (!lane) return;
    lane.pan = pan;
    if (!lane.node) return;
    lane.sides.forEach((side, index) => {
      side.gain.setTargetAtTime(sideGain(pan, index), this.#context.currentTime, RAMP_S);
    });
  }

  setVolume(volume) {
    this.#volume = volume;
    this.#setMaster();
  }

  setTrim(trim) {
    this.#trim = trim;
    this.#setMaster();
  }

  #setMaster() {
    this.#master?.gain.setTargetAtTime(this.#volume * this.#trim, this.#context.currentTime, RAMP_S);
  }

  /** Repeat {start, end} in seconds, or null. */
  setLoop(loop) {
    const usable = loop && loop.end - loop.start > 0.02 ? { ...loop } : null;
    const same = usable?.start === this.#loop?.start && usable?.end === this.#loop?.end;
    if (same) return;
    this.#restartAround(() => (this.#loop = usable));
  }

  seek(seconds) {
    this.#restartAround(() => {
      this.#offset = Math.min(Math.max(0, seconds), this.duration);
    });
    this.dispatchEvent(new Event("seek"));
  }

  /** Where playing would begin, in seconds. */
  get nextStart() {
    const at = this.position;
    if (this.#loop && (at >= this.#loop.end || at < this.#loop.start)) return this.#loop.start;
    return !this.#loop && at >= this.duration - END_S ? 0 : at;
  }

  /** Play on; `lead`, an AudioBuffer, sounds before the tracks. */
  play(lead = null) {
    if (this.playing || !this.#lanes.size) return;
    this.#prepare();
    this.#offset = this.nextStart;
    let at = this.#context.currentTime + LEAD_S;
    if (lead) {
      this.#lead = new AudioBufferSourceNode(this.#context, { buffer: lead });
      this.#lead.connect(this.#master);
      this.#lead.start(at);
      at += lead.duration;
    }
    for (const lane of this.#lanes.values()) {
      lane.source = new AudioBufferSourceNode(this.#context, { buffer: lane.buffer });
      if (this.#loop) {
        lane.source.loop = true;
        lane.source.loopStart = this.#loop.start / this.#speed;
        lane.source.loopEnd = this.#loop.end / this.#speed;
      }
      lane.source.connect(lane.node);
      lane.source.start(at, this.#offset / this.#speed);
    }
    this.#startedAt = at;
    this.dispatchEvent(new Event("play"));
  }

  pause() {
    if (!this.playing) return;
    this.#offset = this.position;
    this.#silence();
    this.dispatchEvent(new Event("pause"));
  }

  /** Called once a frame by the page: rests at the end of the piece. */
  tick() {
    if (this.playing && !this.#loop && this.position >= this.duration) this.pause();
  }

  #prepare() {
    const [first] = this.#lanes.values();
    const rate = first.buffer.sampleRate;
    if (this.#context?.sampleRate !== rate) {
      this.#context?.close();
      for (const lane of this.#lanes.values()) lane.node = null;
      this.#context = this.#makeContext(rate);
      this.#master = new GainNode(this.#context, { gain: this.#volume * this.#trim });
      this.#master.connect(this.#context.destination);
    }
    for (const lane of this.#lanes.values()) {
      if (!lane.node) this.#connect(lane);
    }
    if (this.#context.state === "suspended") this.#context.resume?.().catch(() => {});
  }

  /** Let a lane sound in stereo, with its gain and place, at the master. */
  #connect(lane) {
    const context = this.#context;
    lane.node = new GainNode(context, { gain: lane.gain, channelCount: 2, channelCountMode: "explicit" });
    lane.meter = new AnalyserNode(context, { fftSize: METERED });
    lane.node.connect(lane.meter);
    const split = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    const merge = new ChannelMergerNode(context, { numberOfInputs: 2 });
    lane.node.connect(split);
    lane.sides = [0, 1].map((index) => new GainNode(context, { gain: sideGain(lane.pan, index) }));
    lane.sides.forEach((side, index) => split.connect(side, index).connect(merge, 0, index));
    merge.connect(this.#master);
  }

  #restartAround(change) {
    const wasPlaying = this.playing;
    this.#offset = this.position;
    this.#silence();
    change();
    if (!wasPlaying) return;
    if (this.#loop || this.#offset < this.duration - END_S) this.play();
    else this.dispatchEvent(new Event("pause"));
  }

  #silence() {
    this.#lead?.stop();
    this.#lead?.disconnect();
    this.#lead = null;
    for (const lane of this.#lanes.values()) {
      lane.source?.stop();
      lane.source?.disconnect();
      lane.source = null;
    }
    this.#startedAt = null;
  }
}
