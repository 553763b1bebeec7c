// The page's small parts, called in the browser and compared here.

import assert from "node:assert/strict";

async function inPage() {
  const load = (name) => import(new URL(name, document.baseURI));
  const [format, { View }, { Selection }, { Mixer }, spans, versions, { sortFiles }] =
    await Promise.all(
      ["format.js", "view.js", "selection.js", "mixer.js", "spans.js", "versions.js", "home.js"].map(load),
    );

  const view = new View();
  view.resize(1000);
  view.setDuration(100);
  view.setZoom(0.5, 50);
  const anchored = view.x(50);
  view.scrollTo(1000);
  const last = [Math.round(view.end), Math.round(view.x(view.end))];

  const { followFingers } = await load("pinch.js");
  const host = document.createElement("div");
  const field = document.createElement("div");
  field.className = "wave";
  Object.assign(field.style, { position: "fixed", left: 0, width: "1000px", height: "9px" });
  host.append(field);
  document.body.append(host);
  const touched = new View();
  touched.resize(1000);
  touched.setDuration(100);
  followFingers(host, touched);
  const touch = (type, pointerId, clientX) =>
    host.firstChild.dispatchEvent(
      new PointerEvent(type, { pointerType: "touch", pointerId, clientX, bubbles: true }),
    );
  touch("pointerdown", 1, 400);
  touch("pointermove", 1, 300); // one finger moves nothing here
  touch("pointerdown", 2, 500);
  touch("pointermove", 1, 250);
  touch("pointermove", 2, 650);
  const pinched = { scale: touched.pxPerSecond, x: touched.x(40) };
  touch("pointerup", 1, 250);
  touch("pointermove", 2, 900);
  pinched.after = touched.pxPerSecond;
  host.remove();

  const selection = new Selection();
  selection.select(9, 3, ["drums"], 8);
  const backwards = selection.range;
  selection.select(8, 8, ["drums"], 8);
  const tiny = selection.range;

  const mixer = new Mixer();
  const names = ["bass", "drums", "mixture"];
  const gains = () => names.map((name) => mixer.gain(name, names));
  const mixes = { all: gains(), alone: mixer.gain("mixture", ["mixture"]) };
  mixer.set("drums", { soloed: true, volume: 0.5 });
  mixes.solo = gains();
  const second = new Mixer();
  second.restore(mixer.state);
  mixes.restored = names.map((name) => second.gain(name, names));
  mixer.set("drums", { muted: true });
  mixes.mutedSolo = gains();

  const project = {
    head_version_id: "b",
    versions: [
      { id: "a", parent_id: null, duration_s: 10 },
      { id: "b", parent_id: "a", duration_s: 10 },
      { id: "c", parent_id: "b", duration_s: 15, task: "extend", params: { seconds: 5 } },
      { id: "d", parent_id: "b", task: "edit", params: { renew: { bass: [8, null] } }, duration_s: 10 },
    ],
  };
  const [, , c, d] = project.versions;

  const { Sheet } = await load("sheet.js");
  const correct = await load("corrections.js");
  const json = {
    tempo_bpm: 120,
    metre: "4/4",
    beats_s: Array.from({ length: 17 }, (_, beat) => beat / 2),
    downbeats: [0, 4, 8, 12, 16],
    chords: [[0, "Am"], [4, "F"], [10, "G"]],
  };
  const sheet = new Sheet(json, 7.5);
  const { clickOf, countInOf } = await load("click.js");
  const samples = clickOf(sheet, 1.2).getChannelData(0);
  const loudness = (from, to) => Math.max(...samples.slice(12000 * from, 12000 * to).map(Math.abs));
  const countIn = countInOf(sheet, 3.25); // two and a half beats into the second bar
  const counted = countIn.getChannelData(0);
  const loudAt = (seconds) => Math.max(...counted.slice(12000 * seconds, 12000 * (seconds + 0.05)).map(Math.abs));
  const counts = [0.25, 0.75, 1.25, 1.75].map(loudAt);
  const twice = correct.doubled(json);
  const slower = correct.withTempo(json, 60, 7.5, 1);
  const music = {
    bars: sheet.bars.map((bar) => [bar.number, bar.start, bar.end]).at(-1),
    places: [sheet.place(3.1), sheet.place(99), sheet.range(2, 6), sheet.range(6, 7.5), sheet.range(2.5, 4)],
    snapped: [sheet.snapped(1.2, 5.7), sheet.snapped(2.1, 2.2), sheet.snapped(7.4, 7.3)],
    text: correct.chordsText(sheet, sheet.bars),
    chords: correct.withChords(sheet, sheet.bars.slice(1, 3), "F | C D").chords,
    twice: [twice.tempo_bpm, twice.beats_s.length, twice.downbeats[1], twice.chords[2]],
    again: JSON.stringify(correct.halved(twice)) === JSON.stringify(json),
    shifted: [correct.shifted(json, 1).downbeats, correct.shifted(json, -1).downbeats],
    waltz: correct.withMetre(json, "3/4").downbeats.length,
    slower: [slower.beats_s[0], slower.beats_s.at(-1), slower.downbeats, slower.chords],
    click: [loudness(0, 0.05) > loudness(0.5, 0.55), loudness(0.5, 0.55) > 0.1, loudness(0.1, 0.5)],
    countIn: [countIn.duration, counts.map((loud) => loud > 0.1), Math.max(...counts) === counts[1], loudAt(0)],
    nothing: correct.withTempo({}, 100, 5).downbeats,
  };

  const model = { separated_stems: ["bass", "drums", "other"], limits: { max_mb: 1 } };
  const sorted = (...files) => {
    try {
      return Object.keys(sortFiles(files.map(([name, size]) => ({ name, size })), model));
    } catch (error) {
      return error.message;
    }
  };
  return {
    clocks: [format.clock(59.96, 1), format.clock(61.5), format.clock(3661, 2)],
    times: ["1:02.5", "12,5", " 7 ", "1:2:3", "soon", "1:99", "99"].map(format.parseClock),
    titles: [
      format.versionTitle(c),
      format.versionTitle(d),
      format.versionTitle({ task: "generate", duration_s: 10, params: { tempo_bpm: 96 } }),
      format.versionTitle({ task: "generate", duration_s: 10, params: { tempo_bpm: null } }),
    ],
    music,
    anchored,
    pinched: [pinched.scale, pinched.x, pinched.after].map(Math.round),
    last,
    ranges: [backwards, tiny].map((range) => [range.start, range.end]),
    mixes,
    undo: versions.undoTarget(project).id,
    compared: [["c", "b"], ["b"], ["gone", "d", "b"]].map((way) => versions.comparedTarget(project, way).id),
    redo: [["a", "b"], ["a", "b", "c", "b"]].map((way) => versions.redoTarget(project, way).id),
    spans: [spans.spansOf(project, c, ["bass"]), spans.spansOf(project, d, ["bass"])],
    files: [
      sorted(["song.mp3", 1]),
      sorted(["Bass.wav", 1]),
      sorted(["x - bass.wav", 1], ["drums.flac", 1]),
      sorted(["bass.wav", 1], ["song.wav", 1]),
      sorted(["song.wav", 2e6]),
      sorted(["My Song - Bass.flac", 1]),
      sorted(["Solo bass.flac", 1]),
    ],
  };
}

/** Throws if a part of the page does not do what it should. */
export async function checkUnits(page) {
  const got = await page.evaluate(inPage);
  assert.deepEqual(got.clocks, ["1:00.0", "1:02", "61:01.00"]);
  assert.deepEqual(got.times, [62.5, 12.5, 7, NaN, NaN, NaN, 99]);
  assert.deepEqual(got.pinched, [20, 450, 20]);
  assert.deepEqual(got.titles, [
    "Extended by 5 s",
    "Wrote bass anew, 0:08.0–end",
    "Written, 0:10, 96 bpm",
    "Written, 0:10",
  ]);
  assert.deepEqual(got.music, {
    bars: [4, 6, 7.5],
    places: ["2.3", "4.4", "bars 2–3", "bar 4", "2.2–3.1"],
    snapped: [[2, 6], [2, 4], [6, 7.5]],
    text: "Am | F | F G | G",
    chords: [[0, "Am"], [4, "F"], [8, "C"], [10, "D"], [12, "G"]],
    twice: [240, 33, 4, [20, "G"]],
    again: true,
    shifted: [[1, 5, 9, 13], [3, 7, 11, 15]],
    waltz: 6,
    slower: [-3, 9, [0, 4, 8, 12], [[3, "Am"], [5, "F"], [8, "G"]]],
    click: [true, true, 0],
    countIn: [2, [true, true, true, true], true, 0],
    nothing: [0, 4, 8, 12],
  });
  assert.ok(Math.abs(got.anchored - 500) < 1e-6);
  assert.deepEqual(got.last, [100, 1000]);
  assert.deepEqual(got.ranges, [[3, 8], [7.9, 8]]);
  assert.deepEqual(got.mixes, { all: [1, 1, 0], alone: 1, solo: [0, 0.5, 0], restored: [0, 0.5, 0], mutedSolo: [0, 0, 0] });
  assert.equal(got.undo, "a");
  assert.deepEqual(got.compared, ["c", "a", "d"]);
  assert.deepEqual(got.redo, ["d", "c"]);
  assert.deepEqual(got.spans, [
    { bass: [{ start: 10, end: 15, kind: "new" }] },
    { bass: [{ start: 8, end: 10, kind: "new" }] },
  ]);
  assert.deepEqual(got.files.slice(0, 3), [["mixture"], ["bass"], ["bass", "drums"]]);
  assert.match(got.files[3], /song\.wav is neither/);
  assert.match(got.files[4], /at most 1 MB/);
  assert.deepEqual(got.files.slice(5), [["bass"], ["mixture"]]);
}
