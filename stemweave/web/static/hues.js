// The colours of the stems, by the names of css/base.css.

const HUES = { bass: "indigo", drums: "madder", guitar: "weld", piano: "lichen", mixture: "walnut" };
const SPARE_HUES = ["plum", "teal", "rose", "moss"];

/** The colour of a stem: fixed for the usual four, in turn for any other. */
export function hueOf(name, stems) {
  const others = stems.filter((stem) => !(stem in HUES));
  return HUES[name] ?? SPARE_HUES[Math.max(0, others.indexOf(name)) % SPARE_HUES.length];
}
