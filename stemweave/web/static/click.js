// The click: a short tone on every beat of a sheet, higher and louder where a bar begins.

const RATE = 12_000; // Hz; as little as tones of 2 kHz need, for long pieces
const TONE_S = 0.045;

/** The click of `sheet` as an AudioBuffer of `duration` seconds. */
export function clickOf(sheet, duration) {
  const length = Math.max(1, Math.floor(duration * RATE));
  const buffer = new AudioBuffer({ length, sampleRate: RATE, numberOfChannels: 1 });
  const samples = buffer.getChannelData(0);
  const lines = new Set(sheet.json.downbeats);
  sheet.beats.forEach((seconds, beat) => {
    const [frequency, gain] = lines.has(beat) ? [2000, 0.5] : [1300, 0.3];
    const first = Math.round(seconds * RATE);
    for (let at = 0; at < TONE_S * RATE; at++) {
      if (first + at < 0 || first + at >= length) continue;
      const decay = Math.exp((-6 * at) / (TONE_S * RATE));
      samples[first + at] += gain * decay * Math.sin((2 * Math.PI * frequency * at) / RATE);
    }
  });
  return buffer;
}
