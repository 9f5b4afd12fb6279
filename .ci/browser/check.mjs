// Opens the pages in DIR and prints what is wrong with them; the last line counts.
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve("target/ci/puppeteer/package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync("target/ci/axe/node_modules/axe-core/axe.min.js", "utf8");
const dir = resolve(process.argv[2]);
let passed = 0;
const failed = [];
const check = (what, holds, detail = "") => (holds ? passed++ : failed.push(`${what} ${detail}`.trim()));

// As root, and in containers, Chromium has no sandbox to use.
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM, headless: true, args: ["--no-sandbox", "--disable-gpu"] });

async function open(name, { width = 900, scheme = "light", script = true } = {}) {
  const page = await browser.newPage();
  const url = `file://${dir}/${name}.html`;
  const noise = [];
  page.on("console", (message) => noise.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => noise.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => (noise.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("request", (request) => request.url() !== url && noise.push(`request: ${request.url()}`));
  await page.setJavaScriptEnabled(script);
  await page.setViewport({ width, height: 1000 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const begun = performance.now();
  await page.goto(url, { waitUntil: "load" });
  if (script) await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  return { page, noise, took: performance.now() - begun };
}

/** Tab from the start of the page: which controls never get the focus. */
async function unreached(page) {
  const controls = await page.evaluate(() => {
    const all = [...document.querySelectorAll('a[href], input, button, summary, [tabindex="0"]')];
    return all.filter((control) => control.checkVisibility()).map((control, at) => ((control.dataset.at = at), at)).length;
  });
  const reached = new Set();
  for (let step = 0; step < controls + 5; step++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.dataset?.at));
  }
  return controls - [...reached].filter((at) => at !== undefined).length;
}

for (const name of ["small", "lost", "hostile"]) {
  for (const scheme of ["light", "dark"]) {
    for (const width of [360, 900, 1600]) {
      const what = `${name}, ${scheme}, ${width} px:`;
      const { page, noise } = await open(name, { width, scheme });
      const file = `${dir}/${name}-${scheme}-${width}.png`;
      await page.screenshot({ path: file, fullPage: true });
      check(`${what} the screenshot is empty`, statSync(file).size > 10_000);
      check(`${what} the page is wider than the window`, await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
      check(`${what} not silent`, noise.length === 0, noise.join("; "));
      await page.evaluate(axe);
      const found = await page.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations);
      const words = found.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
      check(`${what} axe:`, found.length === 0, words.join("\n    "));
      if (width === 900 && scheme === "light") check(`${what} controls not reached with Tab`, (await unreached(page)) === 0);
      await page.close();
    }
  }
}

const { page, noise } = await open("small");
await page.type("#name", "fleet-003");
const dimmed = await page.$$eval(".t i.dim", (tiles) => tiles.length);
check("the filter dims nothing", dimmed > 0, `${await page.$eval("#found", (output) => output.textContent)}`);
check("the filter is not silent", noise.length === 0, noise.join("; "));
await page.close();

const plain = await open("small", { script: false });
check("without JavaScript the machines are missing", (await plain.page.content()).includes("fleet-003-workers"));
check("without JavaScript it is not silent", plain.noise.length === 0, plain.noise.join("; "));
await plain.page.close();

const large = await open("large", { width: 1600 });
const size = statSync(`${dir}/large.html`).size;
check("10,000 machines: larger than 1.5 MB", size < 1_500_000, `${size} bytes`);
check("10,000 machines: longer than 2 s", large.took < 2_000, `${Math.round(large.took)} ms`);
check("10,000 machines: tiles are missing", (await large.page.$$eval(".t i", (tiles) => tiles.length)) === 10_000);
check("10,000 machines: not silent", large.noise.length === 0, large.noise.join("; "));
await large.page.screenshot({ path: `${dir}/large.png` });
await browser.close();

for (const line of failed) console.log(`FAILED ${line}`);
console.log(`${passed} passed, ${failed.length} failed; 10,000 machines: ${size} bytes, ${Math.round(large.took)} ms`);
process.exit(failed.length ? 1 : 0);
