// Opens the console of a running node in a real Chromium and does what an operator does: signs in, sees stations,
// sessions and a moving chart, approves a station, stops a session. Exit code 0 when all of it works.
//
//   BASE_URL   http://127.0.0.1:8080 of a node with a fleet that charges
//   API_KEY    the node's key
//   OCPP_URL   ws://127.0.0.1:9000/ocpp: where the test connects the station it approves. Without it, a
//              station must wait for approval already
//   SHOT       where to save a screenshot (optional)
//   CHROMIUM   the browser (default /usr/bin/chromium)

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { connectStranger } from "./stranger.mjs";

const { BASE_URL, API_KEY, OCPP_URL, SHOT, CHROMIUM = "/usr/bin/chromium" } = process.env;
assert(BASE_URL && API_KEY, "set BASE_URL and API_KEY");

const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const TIMEOUT_MS = 20_000;

/** What the browser complained of. */
function listen(page) {
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return complaints;
}

const step = async (name, work) => {
  const begun = Date.now();
  await work();
  console.log(`ok ${name} (${Date.now() - begun} ms)`);
};

/** The number of rows a table shows. */
const rows = (page, table) => page.locator(`#${table} tbody tr`);

const read = async (path) => {
  const response = await fetch(new URL(path, BASE_URL), { headers: { Authorization: `Bearer ${API_KEY}` } });
  assert.equal(response.status, 200, path);
  return response.json();
};

async function refusesAWrongKey(page) {
  await page.goto(BASE_URL);
  await page.getByLabel("API key").fill("not-the-key-of-this-node");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("This is not the node's key.").waitFor();
  assert.equal(await page.locator("#board").isVisible(), false);
}

async function signsInByTheAddress(page) {
  await page.goto(`${BASE_URL}/#key=${encodeURIComponent(API_KEY)}`);
  await page.locator("#board").waitFor();
  assert(!page.url().includes(API_KEY), "the key has left the address bar");
  await page.locator('#live[data-state="live"]').waitFor();
}

async function showsTheFleet(page) {
  await rows(page, "stations-table").first().waitFor();
  await rows(page, "sessions-table").first().waitFor();
  await page.waitForFunction(() => /^[1-9]/.test(document.getElementById("tile-sessions").textContent));
  const power = await page.locator("#tile-power").textContent();
  assert.match(power, /^-?[\d.]+ kW$/);
  assert.match(await page.locator("#updated").textContent(), /^Updated \d/);
}

async function movesTheChart(page) {
  const line = page.locator("#chart path.line");
  await line.waitFor({ state: "attached" });
  const before = { shape: await line.getAttribute("d"), count: await page.locator("#chart").getAttribute("data-samples") };
  await page.waitForFunction(
    ({ shape, count }) => {
      const chart = document.getElementById("chart");
      const newer = chart.querySelector("path.line");
      return newer && newer.getAttribute("d") !== shape && Number(chart.dataset.samples) >= Math.min(Number(count) + 1, 600);
    },
    before,
  );
}

async function approvesAStation(page, identity) {
  const waiting = identity
    ? page.locator(`#pending-table tr[data-key="${identity}"]`)
    : rows(page, "pending-table").first();
  await waiting.waitFor();
  const name = identity ?? (await waiting.getAttribute("data-key"));
  await waiting.getByRole("button", { name: `Approve ${name}` }).click();
  await page.locator(`#pending-table tr[data-key="${name}"]`).waitFor({ state: "detached" });
  await page.getByLabel("Filter").fill(name);
  await page.locator("#stations-table").getByRole("rowheader", { name, exact: true }).first().waitFor();
  await page.getByLabel("Filter").fill("");
  const station = await read(`/v1/stations/${name}`);
  assert.equal(station.station, name);
}

async function stopsASession(page) {
  const button = page.locator("#sessions-table button:visible").first();
  await button.waitFor();
  const id = await button.locator("xpath=ancestor::tr").getAttribute("data-key");
  await button.click();
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    const { state } = await read(`/v1/sessions/${id}`);
    if (!["STARTING", "START_ACCEPTED", "CHARGING"].includes(state)) break;
    assert(Date.now() < deadline, `session ${id} is still ${state}`);
    await page.waitForTimeout(100);
  }
  assert.equal(await page.locator("#notice").isVisible(), false, await page.locator("#notice").textContent());
}

async function worksByKeyboardAndInTheDark(page) {
  // A fresh page: the key is kept, and the focus starts at the top.
  await page.reload();
  await page.locator('#live[data-state="live"]').waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  const theme = page.getByRole("button", { name: /Switch to the (light|dark) theme/ });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await ground();
  await theme.focus();
  await theme.press("Enter");
  assert.notEqual(await ground(), before, "the theme changes");
  await theme.press("Enter");
  assert.equal(await ground(), before, "and back");
}

/** Every control has a name, every table its heads: what a screen reader reads. */
async function namesItsControls(page) {
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select")]
      .filter((element) => element.checkVisibility())
      .filter((element) => !element.textContent.trim() && !element.labels?.length && !element.getAttribute("aria-label"))
      .map((element) => element.outerHTML));
  assert.deepEqual(nameless, []);
}

const profile = await mkdtemp(join(tmpdir(), "novax-console-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: CHROMIUM, args: ARGUMENTS, viewport: { width: 1280, height: 1000 }, colorScheme: "light",
});
browser.setDefaultTimeout(TIMEOUT_MS);
let stranger = null;
try {
  const stranded = await browser.newPage();
  await step("a wrong key is refused", () => refusesAWrongKey(stranded));
  await stranded.close();

  const page = await browser.newPage();
  const complaints = listen(page);
  await step("the key in the address signs in", () => signsInByTheAddress(page));
  await step("stations, sessions and numbers appear", () => showsTheFleet(page));
  await step("the chart moves", () => movesTheChart(page));
  if (SHOT) await page.screenshot({ path: SHOT, fullPage: true });
  if (OCPP_URL) stranger = await connectStranger(OCPP_URL);
  await step("a pending station is approved", () => approvesAStation(page, stranger?.identity));
  await step("a session is stopped", () => stopsASession(page));
  await step("keyboard and themes work", () => worksByKeyboardAndInTheDark(page));
  await step("controls have names", () => namesItsControls(page));
  assert.deepEqual(complaints, [], "the browser has nothing to complain of");
} finally {
  stranger?.close();
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
