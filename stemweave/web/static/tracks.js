// Tracks of a version: fetched, decoded at their own rate, and measured for drawing.

import { getTrack } from "./api.js";

const PEAKS_PER_SECOND = 400;
const CACHE_BYTES = 400e6; // decoded audio of earlier versions, kept for undo

const cache = new Map(); // "version/track/speed/semitones" → {buffer, peaks, peak}, oldest first

/**
 * Largest and smallest sample of every 1/400 s over all channels, as two rows of magnitudes
 * (above and below the middle), the largest of all, and the mean square.
 */
export function measure(buffer) {
  const block = buffer.sampleRate / PEAKS_PER_SECOND;
  const count = Math.max(1, Math.ceil(buffer.length / block));
  const above = new Float32Array(count);
  const below = new Float32Array(count);
  let [peak, sum] = [0, 0];
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let index = 0; index < count; index++) {
      const end = Math.min(samples.length, Math.round((index + 1) * block));
      let high = above[index];
      let low = below[index];
      for (let at = Math.round(index * block); at < end; at++) {
        const sample = samples[at];
        sum += sample * sample;
        if (sample > high) high = sample;
        else if (-sample > low) low = -sample;
      }
      above[index] = high;
      below[index] = low;
      peak = Math.max(peak, high, low);
    }
  }
  return { peaks: [above, below], peak, power: sum / (buffer.length * buffer.numberOfChannels) };
}

function remember(key, track) {
  cache.delete(key);
  cache.set(key, track);
  const bytes = ({ buffer }) => 4 * buffer.length * buffer.numberOfChannels;
  let total = [...cache.values()].reduce((sum, entry) => sum + bytes(entry), 0);
  for (const [oldest, entry] of cache) {
    if (total <= CACHE_BYTES || oldest === key) break;
    total -= bytes(entry);
    cache.delete(oldest);
  }
}

/** One track, {name, buffer: AudioBuffer, peaks: [above, below], peak, power}, at a speed and pitch. */
export async function loadTrack(version, name, signal, practice = {}) {
  const key = [version.id, name, ...Object.values(practice)].join("/");
  let track = cache.get(key);
  if (!track) {
    const bytes = await getTrack(version, name, signal, practice);
    // an offline context decodes at the track's own rate and needs no gesture
    const decoder = new OfflineAudioContext(1, 1, version.sample_rate);
    const buffer = await decoder.decodeAudioData(bytes).catch(() => {
      throw new Error(`The browser cannot decode the track ${name}.`);
    });
    track = { name, buffer, ...measure(buffer) };
  }
  remember(key, track);
  return track;
}

/** Mono samples of a track: the mean of its channels between two samples. */
export function mono(buffer, start, length) {
  const mean = new Float32Array(length);
  const from = Math.max(0, start);
  const to = Math.min(buffer.length, start + length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let at = from; at < to; at++) mean[at - start] += samples[at] / buffer.numberOfChannels;
  }
  return mean;
}
