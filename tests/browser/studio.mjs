// Drives the studio's page in Debian's Chromium, the way a person does. Used by the test and by the
// script that makes the pictures of docs/studio.md.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PATIENCE_MS = 180_000; // other work may share the processor

/** A headless browser with a new, empty profile. */
export function launch() {
  const executablePath = CHROMIUM.find(existsSync);
  if (!executablePath) {
    throw new Error("no Chromium: run scripts/install-system-packages.sh test");
  }
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

/**
 * A page at `base` that keeps what must not happen: requests to anywhere else, errors on the
 * console, exceptions.
 */
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = { foreign: [], console: [] };
  const origin = new URL(base).origin;
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("blob:") && new URL(url).origin !== origin) faults.foreign.push(url);
  });
  page.on("console", (message) => {
    if (message.type() === "error") faults.console.push(message.text());
  });
  page.on("pageerror", (error) => faults.console.push(String(error)));
  await page.goto(base);
  return { page, faults };
}

export const lane = (page, name) => page.locator(`.lane[data-stem="${name}"]`);

/** Wait until the lanes are exactly `names` and all of them are drawn. */
export async function waitForLanes(page, names) {
  for (const name of names) await lane(page, name).locator(".wave:not(.loading)").waitFor();
  await page.waitForFunction(
    (count) => document.querySelectorAll(".lane").length === count,
    names.length,
  );
}

/** Open a task's form if it is not open, and return it. */
export async function task(page, id) {
  const form = page.locator(`details[data-task="${id}"]`);
  if ((await form.getAttribute("open")) === null) await form.locator("summary").click();
  return form;
}

export const begin = (form) => form.locator("button.primary").click();

/** Wait until no job runs and version `number` is the head. */
export async function waitForVersion(page, number) {
  await page
    .locator(".version.current .number", { hasText: new RegExp(`^${number}$`) })
    .waitFor();
  await page.locator(".card.job").waitFor({ state: "detached" });
}

/** Drag from share `from` to share `to` of the width, beginning on one lane, ending on another. */
export async function drag(page, fromLane, from, toLane, to) {
  const first = await lane(page, fromLane).locator(".wave").boundingBox();
  const last = await lane(page, toLane).locator(".wave").boundingBox();
  await page.mouse.move(first.x + from * first.width, first.y + first.height / 2);
  await page.mouse.down();
  await page.mouse.move(last.x + to * last.width, last.y + last.height / 2, { steps: 6 });
  await page.mouse.up();
}

/** Save one entry of the download menu. */
export async function download(page, track, path) {
  await page.locator("#downloads > summary").click();
  const started = page.waitForEvent("download");
  await page.locator(`#downloads a[data-track="${track}"]`).click();
  const saved = await started;
  await saved.saveAs(path);
  await page.locator("#downloads > summary").click();
  return saved.suggestedFilename();
}

/** Seconds that the clock shows. */
export async function position(page) {
  const text = await page.locator("#clock b").textContent();
  const [minutes, seconds] = text.split(":").map(Number);
  return 60 * minutes + seconds;
}
