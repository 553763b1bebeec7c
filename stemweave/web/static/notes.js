// The notes of a written stem, drawn over its waveform: high notes above, drums a row each.

const FEWEST_ROWS = 12; // so that two notes next to each other look like neighbours
const DRUM_S = 0.06; // strokes have no length that is heard

/** Draw `notes` of the lane `name` ([{start_beat, end_beat, pitch, velocity}]) into `canvas`'s context. */
export function drawNotes({ context, width, height }, name, notes, sheet, view, color) {
  if (!notes?.length || sheet.beats.length < 2) return;
  const pitches = [...new Set(notes.map((note) => note.pitch))].toSorted((a, b) => a - b);
  const isDrums = name === "drums";
  const rows = isDrums ? pitches.length : Math.max(FEWEST_ROWS, pitches.at(-1) - pitches[0] + 1);
  const lowest = isDrums ? 0 : pitches[0] - Math.floor((rows - (pitches.at(-1) - pitches[0] + 1)) / 2);
  const row = (height - 8) / rows;
  const thick = Math.max(2, Math.min(6, row - 1));
  context.fillStyle = color;
  for (const { start_beat, end_beat, pitch, velocity } of notes) {
    const start = sheet.timeOf(start_beat);
    const end = isDrums ? start + DRUM_S : sheet.timeOf(end_beat);
    if (end < view.start || start > view.end) continue;
    const from = isDrums ? pitches.indexOf(pitch) : pitch - lowest;
    const x = view.x(start);
    context.globalAlpha = 0.4 + (0.6 * velocity) / 127;
    context.fillRect(x, height - 4 - (from + 0.5) * row - thick / 2, Math.max(2, view.x(end) - x - 1), thick);
  }
  context.globalAlpha = 1;
}
