// The picture of the first page: one thread of the mixture opens into the threads of its stems.

import { svg } from "./dom.js";

const WIDTH = 1200;
const HEIGHT = 220;
const PARTING = 0.4 * WIDTH;
const PIECE = 12; // px along the thread between changes of over and under

const smooth = (t) => (t <= 0 ? 0 : t >= 1 ? 1 : t * t * (3 - 2 * t));

/** Height and depth of thread `index` of `count` at `x`: braided on the left, apart on the right. */
function place(index, count, x) {
  const apart = smooth((x - PARTING) / (0.3 * WIDTH));
  const turn = (at) => 2 * Math.PI * (at / 190 + index / count);
  const braid = 18 * Math.sin(turn(x));
  const gap = 132 / Math.max(1, count - 1);
  const lane = (index - (count - 1) / 2) * gap + 5 * Math.sin(x / 60 + index);
  // from the parting on no thread changes from over to under, so that every crossing is clean
  const depth = Math.cos(turn(Math.min(x, PARTING)));
  return { y: HEIGHT / 2 + braid * (1 - apart) + lane * apart, depth };
}

/** An SVG of `hues.length` threads, drawn piece by piece from the lowest to the uppermost. */
export function weave(hues) {
  const pieces = [];
  hues.forEach((hue, index) => {
    for (let x = -PIECE; x < WIDTH; x += PIECE) {
      const line = (from, to) => {
        const points = [];
        for (let at = from; at <= to; at += (to - from) / 4) {
          points.push(`${at.toFixed(1)} ${place(index, hues.length, at).y.toFixed(2)}`);
        }
        return `M${points.join("L")}`;
      };
      const { depth } = place(index, hues.length, x + PIECE / 2);
      // the thread is longer than its halo, so that no halo cuts into its own neighbours
      pieces.push({ depth, hue, halo: line(x, x + PIECE), d: line(x - 2, x + PIECE + 2) });
    }
  });
  pieces.sort((a, b) => a.depth - b.depth);
  return svg(
    "svg",
    {
      class: "weave",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "xMidYMid slice",
      "aria-hidden": "true",
    },
    ...pieces.flatMap(({ d, halo, hue }) => [
      svg("path", { d: halo, class: "halo" }),
      svg("path", { d, class: `thread ${hue}` }),
    ]),
  );
}
