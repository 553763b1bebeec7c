// The menu of what can be saved: the mix, each stem, everything in a zip.

import { h, fill } from "./dom.js";
import { title } from "./format.js";
import { dawUrl, mixUrl, trackUrl, zipUrl } from "./api.js";

const FORMATS = {
  wav: "WAV, 32-bit float",
  flac: "FLAC, lossless",
  mp3: "MP3, small",
};
let format = "wav";

/** Fill the sheet of the menu for the version that `app` shows. */
export function showDownloads(sheet, version, app) {
  const heard = () => mixUrl(version, format, app.deck.heard, app.selection.range);
  const select = h(
    "select",
    {
      "aria-label": "Format",
      onchange: () => {
        format = select.value;
        showDownloads(sheet, version, app);
        sheet.querySelector("select").focus();
      },
    },
    Object.entries(FORMATS).map(([value, label]) =>
      h("option", { value, selected: value === format }, label),
    ),
  );
  const link = (name, label) =>
    h(
      "li",
      {},
      h("a", { href: trackUrl(version, name, { format, download: true }), download: true, data: { track: name } }, label),
    );
  const mix = h(
    "a",
    {
      href: heard(),
      onclick: () => (mix.href = heard()),
      download: true,
      title: "With faders, speed, pitch and click as they are; of the selection, if there is one",
      data: { track: "mix" },
    },
    "As it sounds now",
  );
  const has = (name) => version.tracks.some((track) => track.name === name);
  fill(
    sheet,
    select,
    h(
      "ul",
      {},
      has("mixture") && link("mixture", "Mixture"),
      h("li", {}, mix),
      app.model.separated_stems.filter(has).map((name) => link(name, title(name))),
      h("li", {}, h("a", { href: zipUrl(version, format), download: true, data: { track: "zip" } }, "All in a zip")),
      h("li", {}, h("a", { href: dawUrl(version), download: true, data: { track: "daw" } }, "For a DAW, with MIDI")),
    ),
  );
}
