// Draws the visible part of a track as a spectrogram in the lane's colour. Frames are gathered
// here and transformed in a worker, so that the page stays quick.

import { mono } from "./tracks.js";

const FRAME = 2048;

let worker = null;
const waiting = new Map(); // id → resolve
let lastId = 0;

function transformed(message) {
  if (!worker) {
    worker = new Worker(new URL("./spectrogram-worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      waiting.get(data.id)?.(data.pixels);
      waiting.delete(data.id);
    };
  }
  const id = ++lastId;
  worker.postMessage({ ...message, id }, [message.frames.buffer]);
  return new Promise((resolve) => waiting.set(id, resolve));
}

function gather(buffer, view, columns) {
  const frames = new Float32Array(columns * FRAME);
  const secondsPerColumn = (view.end - view.start) / columns;
  for (let column = 0; column < columns; column++) {
    const middle = (view.start + (column + 0.5) * secondsPerColumn) * buffer.sampleRate;
    frames.set(mono(buffer, Math.round(middle) - FRAME / 2, FRAME), column * FRAME);
  }
  return frames;
}

function rgb(color) {
  const probe = new OffscreenCanvas(1, 1).getContext("2d");
  probe.fillStyle = color;
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
}

/** 256 colours from the lane's ground through its own colour to its brightest. */
function ramp(ground, color, bright) {
  const stops = [rgb(ground), rgb(color), rgb(bright)];
  return Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) ** 1.3 * 2;
    const from = Math.min(1, Math.floor(place));
    const share = place - from;
    return [0, 1, 2].map((i) => stops[from][i] * (1 - share) + stops[from + 1][i] * share);
  });
}

/** Draws onto `canvas`; resolves to false if a later call for the same canvas overtook this one. */
export async function drawSpectrogram(canvas, buffer, view, colors) {
  const columns = Math.max(1, Math.round(canvas.clientWidth));
  const rows = Math.max(1, Math.round(canvas.clientHeight));
  const turn = (canvas.turn = (canvas.turn ?? 0) + 1);
  const frames = gather(buffer, view, columns);
  const { sampleRate } = buffer;
  const pixels = await transformed({ frames, columns, rows, size: FRAME, sampleRate });
  if (turn !== canvas.turn) return false;
  const palette = ramp(colors.ground, colors.color, colors.bright);
  const image = new ImageData(columns, rows);
  for (let index = 0; index < pixels.length; index++) {
    const [r, g, b] = palette[pixels[index]];
    image.data.set([r, g, b, 255], 4 * index);
  }
  canvas.width = columns;
  canvas.height = rows;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return true;
}
