// node flow.mjs BASE AUDIO OUT: upload → separate → play, solo → fill a region → download, undo; write.
// Saves what was downloaded in OUT and prints, as JSON, what was seen.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as studio from "./studio.mjs";
import { checkUnits } from "./units.mjs";

const [base, audio, out] = process.argv.slice(2);
const STEMS = ["bass", "drums", "guitar", "piano"]; // new pieces have no other
const LANES = [...STEMS, "other", "mixture"];

async function playAndSolo(page) {
  await page.keyboard.press("Space");
  await page.locator("#play.playing").waitFor();
  await page.waitForFunction(() => document.querySelector("#clock b").textContent > "0:00.4");
  await page.getByRole("button", { name: "Solo drums" }).click();
  const silent = await page.locator(".lane.silent").evaluateAll((all) => all.map((l) => l.dataset.stem));
  await page.getByRole("button", { name: "Solo drums" }).click();
  await page.locator("#play").click();
  await page.locator("#play:not(.playing)").waitFor();
  return { silent, position: await studio.position(page) };
}

/** Space after a click plays and does not press again; End while it plays rests there. */
async function useKeysAfterTheMouse(page) {
  await page.getByRole("button", { name: "Solo drums" }).click();
  await page.keyboard.press("Space");
  await page.locator("#play.playing").waitFor();
  const silent = await page.locator(".lane.silent").count();
  await page.getByRole("button", { name: "Solo drums" }).click();
  await page.keyboard.press("End");
  await page.locator("#play:not(.playing)").waitFor();
  return { silent, atEnd: await studio.position(page) };
}

/** What the page says when its project is deleted elsewhere while a job runs. */
async function loseProject(page) {
  await page.locator("#begin-empty").click();
  const form = await studio.task(page, "generate");
  await form.locator('input[name="length"]').fill("60");
  await page.locator("#steps").fill("500");
  await studio.begin(form);
  await page.locator(".card.job").waitFor();
  await page.evaluate(() => {
    const [, id] = /^#\/p\/([\w-]+)$/.exec(location.hash);
    return fetch(new URL(`api/projects/${id}`, document.baseURI), { method: "DELETE" });
  });
  await page.locator("#home:not([hidden])").waitFor();
  return page.locator(".alert span").textContent();
}

async function fillRegion(page) {
  await page.keyboard.down("Alt"); // free of the bars
  await studio.drag(page, "drums", 0.3, "drums", 0.55);
  await page.keyboard.up("Alt");
  const range = {};
  for (const edge of ["start", "end"]) {
    const text = await page.locator(`.selection input[name="${edge}"]`).inputValue();
    range[edge] = Number(text.split(":")[1]);
  }
  await page.locator("#seed").fill("7");
  await page.locator("#steps").fill("2");
  await page.locator("#fill").click();
  await studio.waitForVersion(page, 3);
  await studio.waitForLanes(page, LANES);
  return range;
}

/** A note more in a bar of the bass, moved by a key, and then played: how it is called. */
/** Two takes of a lane, beside each other; then they are deleted. */
async function makeTakes(page) {
  await page.locator("#takes").fill("2");
  await page.getByRole("button", { name: "Write all of piano anew" }).click();
  await studio.waitForVersion(page, 5);
  await page.locator("#takes").fill("1");
  for (const version of [5, 4]) {
    await page.getByRole("button", { name: `Delete version ${version}` }).click();
    await page.locator("#confirm [value=yes]").click();
    await page.locator(".version", { hasText: new RegExp(`^${version}`) }).waitFor({ state: "detached" });
  }
  await studio.waitForVersion(page, 3);
  await studio.waitForLanes(page, LANES);
}

/** Slower and higher: what is saved then, and how fast the clock runs. */
async function practise(page) {
  await page.locator("#speed").selectOption("0.5");
  await page.locator("#pitch").selectOption("2");
  await page.locator("#practice:not([aria-busy])").waitFor();
  await studio.download(page, "mix", join(out, "slow.wav"));
  await page.keyboard.press("Home");
  await page.keyboard.press("Space");
  const began = await page.evaluate(() => performance.now());
  await page.waitForFunction(() => document.querySelector("#clock b").textContent > "0:00.7");
  const ended = await page.evaluate(() => performance.now());
  await page.keyboard.press("Space");
  await page.keyboard.press("."); // the next faster
  const faster = await page.locator("#speed").inputValue();
  await page.keyboard.press("r"); // seconds, if bars were found
  await studio.drag(page, "bass", 0.2, "bass", 0.5);
  const edge = page.getByRole("slider", { name: "The selection ends" });
  const at = async () => Number(await edge.getAttribute("aria-valuenow"));
  const before = await at();
  await edge.press("Shift+ArrowLeft");
  return { seconds: (ended - began) / 1000, faster, moved: (await at()) - before };
}

/** Set the faders, come back, and save what sounds then. */
async function comeBack(page) {
  await page.keyboard.press("Escape");
  await page.getByRole("slider", { name: "Pan of bass" }).fill("-0.5");
  const kept = page.waitForResponse((answer) => answer.request().method() === "PUT" && answer.url().endsWith("/desk"));
  await page.getByRole("button", { name: "Solo drums" }).click();
  await kept;
  const marked = page.waitForResponse((answer) => answer.request().method() === "PUT" && answer.url().endsWith("/desk"));
  await page.getByRole("button", { name: "Version 2 is a favourite" }).click();
  await marked;
  await page.reload();
  await studio.waitForLanes(page, LANES);
  await page.locator('[aria-label="Solo drums"][aria-pressed="true"]').waitFor();
  const filename = await studio.download(page, "mix", join(out, "heard.wav"));
  await page.locator('[aria-label="Version 2 is a favourite"][aria-pressed="true"]').waitFor();
  return { filename, pan: await page.getByRole("slider", { name: "Pan of bass" }).inputValue() };
}

async function editNotes(page) {
  await studio.drag(page, "bass", 0.3, "bass", 0.4);
  await page.getByRole("button", { name: "Edit the notes of bass" }).click();
  await page.getByRole("button", { name: "Add a note" }).click();
  await page.keyboard.press("ArrowRight");
  const name = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  const violations = await findViolations(page);
  await page.getByRole("button", { name: "Play these notes" }).click();
  await studio.waitForVersion(page, 2);
  return { name, violations };
}

/** What the page shows of a MIDI file that is dropped on the lane of the guitar. */
async function dropMidi(page) {
  await page.evaluate(() => {
    const header = [0x4d, 0x54, 0x68, 0x64, 0, 0, 0, 6, 0, 0, 0, 1, 0, 96];
    const track = [0x4d, 0x54, 0x72, 0x6b, 0, 0, 0, 12, 0, 0x90, 60, 100, 96, 0x80, 60, 0, 0, 0xff, 0x2f, 0];
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array([...header, ...track])], "riff.mid"));
    const field = document.querySelector('.lane[data-stem="guitar"] .wave');
    field.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  });
  await page.getByRole("heading", { name: /^Guitar, / }).waitFor();
  const names = await page.locator(".roll-note").evaluateAll((all) => all.map((one) => one.ariaLabel));
  await page.getByRole("button", { name: "Close the notes" }).click();
  return names;
}

/** "[" as German keyboards type it, undo and redo, and another name that somebody else gives. */
async function useOtherKeys(page) {
  await page.keyboard.press("Escape");
  await page.evaluate(() => {
    const typed = { key: "[", code: "Digit8", ctrlKey: true, altKey: true, modifierAltGraph: true, bubbles: true };
    document.body.dispatchEvent(new KeyboardEvent("keydown", typed));
  });
  const selected = await page.locator(".selection h2").textContent();
  await page.keyboard.press("Control+z");
  await studio.waitForVersion(page, 1);
  await page.keyboard.press("Control+y");
  await studio.waitForVersion(page, 2);
  await page.evaluate(() => {
    const [, id] = /^#\/p\/([\w-]+)$/.exec(location.hash);
    const change = { method: "PATCH", headers: { "Content-Type": "application/json" }, body: '{"name": "Ours"}' };
    return fetch(new URL(`api/projects/${id}`, document.baseURI), change);
  });
  await page.waitForFunction(() => document.title.startsWith("Ours"));
  return selected;
}

/** What axe-core finds wrong with the page as it is. */
async function findViolations(page) {
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 90)).join(" ")}`);
}

/** What is known of the written piece, a bar of which gets another chord. */
async function correctChord(page) {
  const facts = page.locator("#sheet-menu summary", { hasText: "bpm" });
  await studio.waitForLanes(page, [...STEMS, "mixture"]);
  const shown = [await facts.textContent()];
  await studio.drag(page, "bass", 0.3, "drums", 0.4);
  shown.push(await page.locator(".selection h2").textContent(), await page.locator("#fill").textContent());
  const chords = page.locator('.selection input[name="chords"]');
  await chords.fill("Ebmaj7");
  await Promise.all([page.waitForResponse((answer) => answer.url().endsWith("/sheet")), chords.press("Enter")]);
  const inks = await page.locator("canvas.notes").evaluateAll((all) =>
    all.map((one) => one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some(Boolean)),
  );
  return { shown, inks };
}

/** A piece from nothing: what its version is called, and what the form showed before. */
async function writePiece(page) {
  await page.locator("#begin-empty").click();
  const form = await studio.task(page, "generate");
  const shown = [await form.locator("output").last().textContent()];
  for (const [name, value] of [["length", "2"], ["tempo", "96"]]) {
    await form.locator(`input[name="${name}"]`).fill(value);
  }
  shown.push(await form.locator("output").last().textContent());
  await page.locator("#steps").fill("2");
  await studio.begin(form);
  await studio.waitForVersion(page, 1);
  return [...shown, await page.locator(".version.current .version-title").textContent()];
}

/** The player's own clock, rendered: two opposite tracks must cancel, loops must repeat. */
function renderPlayer() {
  return import(new URL("player.js", document.baseURI)).then(async ({ Player }) => {
    const rate = 8000;
    const context = new OfflineAudioContext(1, rate, rate);
    const player = new Player(() => context);
    const track = (sign) => {
      const buffer = new AudioBuffer({ length: rate, sampleRate: rate });
      const samples = buffer.getChannelData(0);
      for (let at = 0; at < rate; at++) samples[at] = (sign * ((at * 7919) % 1000)) / 1000;
      return buffer;
    };
    const silence = new AudioBuffer({ length: rate, sampleRate: rate });
    player.setTracks({ one: track(1), other: track(-1), third: track(1), none: silence });
    player.setGain("third", 0);
    player.setLoop({ start: 0.25, end: 0.5 });
    player.seek(0.25);
    player.play();
    const sum = (await context.startRendering()).getChannelData(0);

    const alone = new OfflineAudioContext(1, rate, rate);
    const soloist = new Player(() => alone);
    soloist.setTracks({ one: track(1), other: track(-1) });
    soloist.setGain("other", 0);
    soloist.setLoop({ start: 0.25, end: 0.5 });
    soloist.play();
    const heard = (await alone.startRendering()).getChannelData(0);
    const first = heard.findIndex((sample) => sample !== 0);
    const later = new OfflineAudioContext(1, rate, rate);
    const counted = new Player(() => later);
    counted.setTracks({ one: track(1) });
    counted.play(new AudioBuffer({ length: 0.25 * rate, sampleRate: rate }));
    const led = (await later.startRendering()).getChannelData(0).findIndex((sample) => sample !== 0) - first;
    const half = new OfflineAudioContext(1, rate, rate);
    const slow = new Player(() => half);
    slow.setTracks({ one: track(1) }, 0.5); // half a second of a piece
    slow.setLoop({ start: 0.125, end: 0.25 });
    slow.play();
    const slowed = (await half.startRendering()).getChannelData(0);
    const wide = new OfflineAudioContext(2, rate, rate);
    const placed = new Player(() => wide);
    placed.setTracks({ one: track(1) });
    placed.setPan("one", 0.75);
    placed.setTrim(0.5);
    placed.play();
    const sides = await wide.startRendering();
    const trimmed = Math.max(...sides.getChannelData(1));
    const [left, right] = [0, 1].map((index) => Math.max(...sides.getChannelData(index)));
    let unlike = 0;
    for (let at = 0; at < 2000; at++) {
      unlike = Math.max(unlike, Math.abs(heard[first + at] - heard[first + 2000 + at]));
    }
    return {
      opposites: Math.max(...sum.map(Math.abs)),
      loopDifference: unlike,
      led,
      slow: { duration: slow.duration, same: slowed.every((sample, at) => sample === heard[at]) },
      sides: left / right,
      trimmed: trimmed / Math.max(...heard),
      loudest: Math.max(...heard),
    };
  });
}

const browser = await studio.launch();
try {
  const { page, faults } = await studio.open(browser, base);
  await checkUnits(page);
  const player = await page.evaluate(renderPlayer);
  await page.locator("#file").setInputFiles(audio);
  await studio.waitForLanes(page, ["mixture"]);
  await studio.begin(await studio.task(page, "separate"));
  await studio.waitForVersion(page, 2);
  await studio.waitForLanes(page, LANES);
  const played = await playAndSolo(page);
  const keys = await useKeysAfterTheMouse(page);
  await studio.download(page, "drums", join(out, "before.wav"));
  await studio.download(page, "bass", join(out, "bass_before.wav"));
  const range = await fillRegion(page);
  const filename = await studio.download(page, "drums", join(out, "after.wav"));
  await studio.download(page, "bass", join(out, "bass_after.wav"));
  await studio.download(page, "mixture", join(out, "mix.wav"));
  await studio.download(page, "zip", join(out, "all.zip"));
  const seed = await page.locator(".version.current .seed span").textContent();
  await page.keyboard.press("Control+z");
  await studio.waitForVersion(page, 2);
  await page.keyboard.press("Control+Shift+z");
  await studio.waitForVersion(page, 3);
  for (const version of [2, 3]) {
    await page.keyboard.press("x");
    await studio.waitForVersion(page, version);
  }
  await makeTakes(page);
  const desk = await comeBack(page);
  const practised = await practise(page);
  const another = await studio.open(browser, base);
  const written = await writePiece(another.page);
  const music = await correctChord(another.page);
  const violations = await findViolations(another.page);
  const edited = await editNotes(another.page);
  const dropped = await dropMidi(another.page);
  const selected = await useOtherKeys(another.page);
  const lost = await loseProject((await studio.open(browser, base)).page);
  for (const kind of ["foreign", "console"]) faults[kind].push(...another.faults[kind]);
  console.log(JSON.stringify({ player, played, keys, desk, lost, range, filename, seed, practised, written, music, violations, edited, dropped, selected, faults }));
} finally {
  await browser.close();
}
