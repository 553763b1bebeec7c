// Where the ruler has marks and the lanes lines: bars and beats, or seconds.

import { clock } from "./format.js";

const LABEL_PX = 34;
const BAR_PX = 7;
const BEAT_PX = 13;

/** Marks of every `tick` seconds. */
function seconds(view) {
  const { tick } = view;
  const first = Math.floor(view.start / tick);
  const count = Math.max(0, Math.ceil((view.end - first * tick) / tick));
  return Array.from({ length: count + 1 }, (_, index) => ({
    at: (first + index) * tick,
    label: clock((first + index) * tick, tick < 1 ? 1 : 0),
    weight: 1,
  }));
}

function bars(view, sheet) {
  const { bars: all, beats } = sheet;
  const px = (all.at(-1).end - all[0].start) * view.pxPerSecond / all.length;
  const shown = 2 ** Math.max(0, Math.ceil(Math.log2(LABEL_PX / px))); // a label for so many bars
  const marks = [];
  for (const bar of all) {
    if (bar.end < view.start || bar.start > view.end) continue;
    const labelled = (bar.number - 1) % shown === 0;
    if (labelled || px >= BAR_PX) {
      marks.push({ at: bar.start, label: labelled ? String(bar.number) : null, weight: 1 });
    }
    if (px / bar.beats < BEAT_PX) continue;
    for (let beat = 1; beat < bar.beats; beat++) {
      const label = px / bar.beats >= LABEL_PX ? `${bar.number}.${beat + 1}` : null;
      if (beats[bar.beat + beat] < bar.end) marks.push({ at: beats[bar.beat + beat], label, weight: 0.5 });
    }
  }
  return marks;
}

/** [{at: seconds, label: string|null, weight: 1 or 0.5}] of what is visible. */
export function marksOf(view, sheet) {
  return sheet ? bars(view, sheet) : seconds(view);
}

/** A canvas of its size on the page, cleared; {context, width, height} in CSS pixels. */
export function context2d(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { context, width, height };
}
