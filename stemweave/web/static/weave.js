// The picture of the first page: one thread of the mixture opens into the threads of its stems.

import { svg } from "./dom.js";

const WIDTH = 1200;
const HEIGHT = 220;
const PIECE = 12; // px along the thread between changes of over and under

const smooth = (t) => (t <= 0 ? 0 : t >= 1 ? 1 : t * t * (3 - 2 * t));

/** Height and depth of thread `index` of `count` at `x`: braided on the left, apart on the right. */
function place(index, count, x) {
  const apart = smooth((x - 0.38 * WIDTH) / (0.36 * WIDTH));
  const turn = (2 * Math.PI * x) / 190 + (2 * Math.PI * index) / count;
  const braid = 18 * Math.sin(turn);
  const lane = (index - (count - 1) / 2) * 44 + 5 * Math.sin(x / 60 + index);
  const depth = apart < 0.8 ? Math.cos(turn) : 0;
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
      const halo = depth && line(x, x + PIECE);
      pieces.push({ depth, hue, halo, d: line(x - 2, x + PIECE + 2) });
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
      ...(halo ? [svg("path", { d: halo, class: "halo" })] : []),
      svg("path", { d, class: `thread ${hue}` }),
    ]),
  );
}
