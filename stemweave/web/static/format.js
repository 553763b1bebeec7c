// Words and numbers as the page shows them.

/** Seconds as m:ss, with as many decimals as asked for. */
export function clock(seconds, decimals = 0) {
  const scale = 10 ** decimals;
  const rounded = Math.round(Math.max(0, seconds) * scale) / scale;
  const minutes = Math.floor(rounded / 60);
  const rest = (rounded - 60 * minutes).toFixed(decimals);
  return `${minutes}:${rest.padStart(decimals ? decimals + 3 : 2, "0")}`;
}

/** "0:04.5" or "4.5" as seconds; NaN if it is neither, as "1:99". */
export function parseClock(text) {
  const match = /^\s*(?:(\d+):)?(\d+(?:[.,]\d*)?)\s*$/.exec(text);
  const [, minutes, rest] = match ?? [];
  const seconds = Number(rest?.replace(",", "."));
  return minutes !== undefined && seconds >= 60 ? NaN : 60 * Number(minutes ?? 0) + seconds;
}

/** "about 4 s left", "about 2 min left". */
export function timeLeft(seconds) {
  if (seconds == null) return "";
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s left`;
  return `about ${Math.round(seconds / 60)} min left`;
}

/** "bass", "bass and drums", "bass, drums and piano". */
export function listed(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Where a voice goes, after `listed` stems: a model with "other" has it last. */
export function whatElse({ stems, separated_stems: separated }) {
  return separated.length > stems.length ? ": voices, strings and all else" : "";
}

const TONES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const FIRST_DRUM = 35;
const DRUMS = [
  ...["Bass drum 2", "Bass drum", "Side stick", "Snare", "Clap", "Snare 2", "Low tom 2", "Closed hat", "Low tom"],
  ...["Pedal hat", "Mid tom 2", "Open hat", "Mid tom", "High tom 2", "Crash", "High tom", "Ride", "China"],
  ...["Ride bell", "Tambourine", "Splash", "Cowbell", "Crash 2", "Vibraslap", "Ride 2", "High bongo"],
  ...["Low bongo", "Mute conga", "High conga", "Low conga", "High timbale", "Low timbale", "High agogo"],
  ...["Low agogo", "Cabasa", "Maracas", "Whistle", "Long whistle", "Guiro", "Long guiro", "Claves"],
  ...["High block", "Low block", "Mute cuica", "Cuica", "Mute triangle", "Triangle"],
];

/** "C4" of MIDI pitch 60. */
export const noteName = (pitch) => `${TONES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

/** "Snare" of a General MIDI drum key. */
export const drumName = (pitch) => DRUMS[pitch - FIRST_DRUM] ?? `Drum ${pitch}`;

/** "middle", "30 % left". */
export const placeName = (pan) =>
  pan === 0 ? "middle" : `${Math.round(100 * Math.abs(pan))} % ${pan < 0 ? "left" : "right"}`;

/** "Drums". */
export function title(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

const VERBS = {
  separate: "Separating",
  generate: "Writing a piece",
  arrange: "Arranging",
  extend: "Extending",
  vary: "Varying",
};

/** What a job is doing. */
export function doing(job) {
  if (job.task === "edit") {
    const spans = Object.values(job.params.renew ?? {});
    const whole = spans.every(([start, end]) => start === 0 && end == null);
    const names = listed(Object.keys(job.params.renew ?? {}));
    if (job.params.notes) return `Playing the notes of ${names}`;
    return whole ? `Writing all of ${names} anew` : `Writing a part of ${names} anew`;
  }
  if (job.task === "arrange") return `Writing ${listed(job.params.add ?? [])}`;
  return VERBS[job.task] ?? title(job.task);
}

function editTitle(renew, verb) {
  const spans = Object.values(renew);
  const names = listed(Object.keys(renew));
  const how = verb === "Wrote" ? " anew" : "";
  if (spans.every(([start, end]) => start === 0 && end == null)) return `${verb} all of ${names}${how}`;
  const start = Math.min(...spans.map((span) => span[0]));
  const ends = spans.map((span) => span[1]);
  const end = ends.includes(null) ? "end" : clock(Math.max(...ends), 1);
  return `${verb} ${names}${how}, ${clock(start, 1)}–${end}`;
}

/** What a version is, in a line. */
export function versionTitle(version) {
  const params = version.params ?? {};
  switch (version.task) {
    case "upload":
      return "Uploaded";
    case "separate":
      return params.method === "vocoder" ? "Separated, synthesised" : "Separated";
    case "generate":
      return [
        `Written, ${clock(version.duration_s)}`,
        ...(params.tempo_bpm == null ? [] : [`${params.tempo_bpm} bpm`]),
      ].join(", ");
    case "arrange":
      return `Wrote ${listed(params.add ?? [])}`;
    case "edit":
      return editTitle(params.renew ?? {}, params.notes ? "Edited" : "Wrote");
    case "extend":
      return `Extended by ${params.seconds} s`;
    case "vary":
      return `Varied by ${Math.round(100 * params.strength)} %`;
    default:
      return title(version.task);
  }
}

/** Local time of day, with the date if it is not today. */
export function when(iso) {
  const date = new Date(iso);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`;
}
