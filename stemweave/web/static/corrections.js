// What people correct of a sheet: each of these takes the server's JSON of one and returns another.

import { beatsPerBar, Sheet } from "./sheet.js";

const range = (first, end, step) =>
  Array.from({ length: Math.max(0, Math.ceil((end - first) / step)) }, (_, index) => first + index * step);

/** Bars of the sheet's metre, one of which begins at beat `at`. */
function withBars(json, at) {
  const bar = beatsPerBar(json.metre);
  return { ...json, downbeats: range(((at % bar) + bar) % bar, json.beats_s.length, bar) };
}

const firstLine = (json) => json.downbeats?.[0] ?? 0;

/** Twice as many beats: the tempo was taken for half of what it is. */
export function doubled(json) {
  const old = new Sheet(json);
  const beats_s = range(0, 2 * json.beats_s.length - 1, 1).map((beat) => old.timeOf(beat / 2));
  const chords = json.chords?.map(([beat, symbol]) => [2 * beat, symbol]);
  return withBars({ ...json, tempo_bpm: 2 * json.tempo_bpm, beats_s, chords }, 2 * firstLine(json));
}

/** Half as many beats. */
export function halved(json) {
  const first = firstLine(json) % 2;
  const beats_s = json.beats_s.filter((_, beat) => beat % 2 === first);
  const chords = json.chords?.map(([beat, symbol]) => [(beat - first) / 2, symbol]);
  const half = { ...json, tempo_bpm: json.tempo_bpm / 2, beats_s, chords };
  return withBars(half, (firstLine(json) - first) / 2);
}

/** Bars begin so many beats later. */
export const shifted = (json, beats) => withBars(json, firstLine(json) + beats);

export const withMetre = (json, metre) => withBars({ ...json, metre }, firstLine(json));

/**
 * Even beats over `duration` seconds; a bar begins at `line` seconds, by default where one did.
 * Chords keep their times, to the beat.
 */
export function withTempo(json, tempo_bpm, duration, line) {
  const old = new Sheet(json, duration);
  const metre = json.metre ?? "4/4";
  const bar_s = (60 / tempo_bpm) * beatsPerBar(metre);
  const known = line ?? old.bars[0]?.start ?? 0;
  const start = known - Math.ceil(known / bar_s - 1e-6) * bar_s;
  const bars = Math.max(1, Math.ceil((duration - start) / bar_s - 1e-6));
  const beats_s = range(0, bars * beatsPerBar(metre) + 1, 1).map((beat) => start + (beat * 60) / tempo_bpm);
  const timed = old.chords.map((chord) => [Math.round(((chord.start - start) * tempo_bpm) / 60), chord.symbol]);
  const chords = tidied(timed, beats_s.length - 1);
  return withBars({ ...json, metre, tempo_bpm, beats_s, chords: chords.length ? chords : null }, 0);
}

/** Changes in order and within the beats, one at a time: of several the last, and none for the same chord. */
function tidied(changes, beats) {
  const byBeat = new Map();
  for (const [beat, symbol] of changes.toSorted((a, b) => a[0] - b[0])) {
    if (beat < beats) byBeat.set(Math.max(0, beat), symbol);
  }
  return [...byBeat].filter(([, symbol], index, all) => symbol !== all[index - 1]?.[1]);
}

const chordAt = (json, beat) => json.chords?.findLast(([start]) => start <= beat + 1e-6)?.[1] ?? "N.C.";

/** Chords of `bars` of a sheet as text: "Am7 | F | C G/B". */
export function chordsText(sheet, bars) {
  const { json } = sheet;
  const inside = (bar) => json.chords?.filter(([at]) => at > bar.beat && at < bar.beat + bar.beats) ?? [];
  return bars
    .map((bar) => [chordAt(json, bar.beat), ...inside(bar).map(([, symbol]) => symbol)].join(" "))
    .join(" | ");
}

/** `bars` of a sheet with the chords of a text like that; bars whose text is the same stay. */
export function withChords(sheet, bars, text) {
  const { json } = sheet;
  const wanted = text.split("|").map((symbols) => symbols.trim().split(/\s+/).filter(Boolean));
  if (wanted.length !== bars.length || wanted.some((symbols) => !symbols.length)) {
    const count = bars.length === 1 ? "one bar" : `${bars.length} bars`;
    throw new Error(`Write the chords of ${count}, with a | between bars, like Am7 | F | C G/B.`);
  }
  let changes = json.chords ?? [];
  bars.forEach((bar, index) => {
    const symbols = wanted[index][0] === "%" ? wanted[index - 1] ?? wanted[index] : wanted[index];
    if (symbols.join(" ") === chordsText(sheet, [bar])) return;
    const end = bar.beat + bar.beats;
    const after = chordAt(json, end);
    const starts = symbols.map((_, at) => at * (bar.beats / symbols.length));
    const onBeats = symbols.length <= bar.beats ? starts.map(Math.ceil) : starts;
    changes = [
      ...changes.filter(([at]) => at < bar.beat - 1e-6 || at >= end - 1e-6),
      ...symbols.map((symbol, at) => [bar.beat + onBeats[at], symbol]),
    ];
    if (!changes.some(([at]) => Math.abs(at - end) < 1e-6)) changes.push([end, after]);
  });
  return { ...json, chords: tidied(changes, sheet.beats.length - 1) };
}
