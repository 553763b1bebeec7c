// node screenshots.mjs BASE AUDIO OUT [TOKEN_BASE]: the pictures of docs/studio.md, from a studio
// with no projects. TOKEN_BASE is a second one that asks for a token.

import { join } from "node:path";
import * as studio from "./studio.mjs";

const [base, audio, out, tokenBase] = process.argv.slice(2);
const STEMS = ["bass", "drums", "guitar", "piano"]; // new pieces have no other
const LANES = [...STEMS, "other", "mixture"];
const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 360, height: 780 };

const browser = await studio.launch();

async function shoot(page, name, { scrolled = false } = {}) {
  if (!scrolled) await page.evaluate(() => scrollTo(0, 0));
  await page.evaluate(() => document.fonts.ready);
  await page.waitForTimeout(300);
  await page.screenshot({ path: join(out, `${name}.png`) });
  console.log(name);
}

/** The same address in another browser window. */
async function elsewhere(url, options) {
  const { page } = await studio.open(browser, url, options);
  page.setDefaultTimeout(600_000);
  return page;
}

async function bring(page) {
  await shoot(page, "empty");
  await page.locator("#file").setInputFiles(audio);
  await studio.waitForLanes(page, ["mixture"]);
  await shoot(page, "uploaded");
  await studio.begin(await studio.task(page, "separate"));
  await page.locator(".card.job").waitFor();
  await shoot(page, "separating");
  await studio.waitForVersion(page, 2);
  await studio.waitForLanes(page, LANES);
  await page.locator("#ruler").click({ position: { x: 260, y: 10 } });
  await shoot(page, "lanes");
}

async function fill(page) {
  await page.locator("#spectral").click();
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".spectrogram")].every((c) => c.width === c.clientWidth),
  );
  await shoot(page, "spectrogram");
  await page.locator("#spectral").click();
  await studio.drag(page, "bass", 0.4, "drums", 0.62);
  await shoot(page, "selection");
  await page.locator("#sheet-menu summary").click();
  await shoot(page, "sheet");
  await page.keyboard.press("Escape");
  await page.locator("#seed").fill("2024");
  await page.locator("#fill").click();
  await page.locator(".job-state", { hasText: /Step \d+/ }).waitFor();
  await page.locator(".job-state", { hasText: /left/ }).waitFor();
  await shoot(page, "filling");
  await studio.waitForVersion(page, 3);
}

async function moreVersions(page) {
  await page.locator("#steps").fill("4"); // the picture shows no sound
  const vary = await studio.task(page, "vary");
  await studio.begin(vary);
  await studio.waitForVersion(page, 4);
  await page.keyboard.press("Control+z");
  await studio.waitForVersion(page, 3);
  await page.locator("#seed").fill("");
  const extend = await studio.task(page, "extend");
  await extend.locator("input").fill("8");
  await studio.begin(extend);
  await studio.waitForVersion(page, 5);
  await studio.waitForLanes(page, LANES);
  await page.locator("#steps").fill("");
  await page.getByRole("button", { name: "Solo drums" }).click();
  await page.keyboard.press("Escape");
  await page.locator(".versions .foot").scrollIntoViewIfNeeded();
  await shoot(page, "versions", { scrolled: true });
}

async function write() {
  const page = await elsewhere(base, { viewport: WIDE });
  await page.locator("#begin-empty").click();
  const form = await studio.task(page, "generate");
  await form.locator('input[name="length"]').fill("20");
  await page.locator("#seed").fill("2024");
  await page.locator("#steps").fill("4"); // the picture shows no sound
  await studio.begin(form);
  await studio.waitForVersion(page, 1);
  await studio.waitForLanes(page, [...STEMS, "mixture"]);
  await studio.drag(page, "bass", 0.2, "bass", 0.4);
  await page.getByRole("button", { name: "Edit the notes of bass" }).click();
  await shoot(page, "notes", { scrolled: true });
}

try {
  const page = await elsewhere(base, { viewport: WIDE });
  await bring(page);
  await fill(page);
  await moreVersions(page);
  const address = page.url();

  await page.locator("#steps").fill("0");
  await studio.begin(await studio.task(page, "vary"));
  await page.locator(".alert").waitFor();
  await shoot(page, "error");

  const dark = await elsewhere(address, { viewport: WIDE, colorScheme: "dark" });
  await studio.waitForLanes(dark, LANES);
  await studio.drag(dark, "guitar", 0.2, "piano", 0.45);
  await shoot(dark, "dark");
  await dark.goto(`${base}/#/`);
  await dark.locator(".projects").waitFor();
  await shoot(dark, "home-dark");

  const narrow = await elsewhere(address, { viewport: NARROW, hasTouch: true, isMobile: true });
  await studio.waitForLanes(narrow, LANES);
  await shoot(narrow, "narrow");
  await studio.drag(narrow, "bass", 0.3, "bass", 0.6);
  await narrow.locator(".selection").evaluate((card) => card.scrollIntoView());
  await shoot(narrow, "narrow-selection", { scrolled: true });
  await narrow.goto(`${base}/#/`);
  await narrow.locator(".projects").waitFor();
  await shoot(narrow, "home-narrow");

  const help = await elsewhere(address, { viewport: WIDE });
  await studio.waitForLanes(help, LANES);
  await help.keyboard.press("?");
  await shoot(help, "keys");
  await write();

  if (tokenBase) {
    const locked = await elsewhere(tokenBase, { viewport: WIDE });
    await locked.locator("#token-dialog[open]").waitFor();
    await locked.locator("#token").fill("not this one");
    await locked.keyboard.press("Enter");
    await locked.locator("#token-wrong:not([hidden])").waitFor();
    await shoot(locked, "token");
  }
} finally {
  await browser.close();
}
