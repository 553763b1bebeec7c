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
  const braid = 17 * (0.35 + 0.65 * smooth(x / (0.3 * WIDTH))) * Math.sin(turn);
  const lane = (index - (count - 1) / 2) * 44 + 5 * Math.sin(x / 60 + index);
  return { y: HEIGHT / 2 + braid * (1 - apart) + lane * apart, depth: Math.cos(turn) * (1 - apart) };
}

/** An SVG of `hues.length` threads, drawn piece by piece from the lowest to the uppermost. */
export function weave(hues) {
  const pieces = [];
  hues.forEach((hue, index) => {
    for (let x = -PIECE; x < WIDTH; x += PIECE) {
      const points = [];
      for (let at = x - 1; at <= x + PIECE + 1; at += 3.5) {
        points.push(`${at.toFixed(1)} ${place(index, hues.length, at).y.toFixed(1)}`);
      }
      const { depth } = place(index, hues.length, x + PIECE / 2);
      pieces.push({ depth, hue, d: `M${points.join("L")}` });
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
    ...pieces.flatMap(({ d, hue }) => [
      svg("path", { d, class: "halo" }),
      svg("path", { d, class: `thread ${hue}` }),
    ]),
  );
}
