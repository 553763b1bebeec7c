// The click: a short tone on every beat of a sheet, higher and louder where a bar begins.

const RATE = 12_000; // Hz; as little as tones of 2 kHz need, for long pieces
const TONE_S = 0.045;

/** Tones at [[seconds, whether a bar begins]] as an AudioBuffer of `duration` seconds. */
function tones(places, duration) {
  const length = Math.max(1, Math.floor(duration * RATE));
  const buffer = new AudioBuffer({ length, sampleRate: RATE, numberOfChannels: 1 });
  const samples = buffer.getChannelData(0);
  for (const [seconds, isLine] of places) {
    const [frequency, gain] = isLine ? [2000, 0.5] : [1300, 0.3];
    const first = Math.round(seconds * RATE);
    for (let at = 0; at < TONE_S * RATE; at++) {
      if (first + at < 0 || first + at >= length) continue;
      const decay = Math.exp((-6 * at) / (TONE_S * RATE));
      samples[first + at] += gain * decay * Math.sin((2 * Math.PI * frequency * at) / RATE);
    }
  }
  return buffer;
}

/** The click of `sheet`, played at `speed`, for `duration` seconds of the piece. */
export function clickOf(sheet, duration, speed = 1) {
  const lines = new Set(sheet.json.downbeats);
  const places = sheet.beats.map((seconds, beat) => [seconds / speed, lines.has(beat)]);
  return tones(places, duration / speed);
}

/** A bar of clicks, played at `speed`, that leads to the second `position` of the piece. */
export function countInOf(sheet, position, speed = 1) {
  const bar = sheet.barAt(position);
  const beat_s = (sheet.timeOf(bar.beat + bar.beats) - sheet.timeOf(bar.beat)) / bar.beats / speed;
  const place = sheet.beatAt(position) - bar.beat; // in beats of the bar
  const first = Math.ceil(place - bar.beats - 1e-3);
  const beats = Array.from({ length: bar.beats }, (_, index) => first + index);
  const places = beats.map((beat) => [
    Math.max(0, (beat - place + bar.beats) * beat_s),
    beat % bar.beats === 0,
  ]);
  return tones(places, bar.beats * beat_s);
}
