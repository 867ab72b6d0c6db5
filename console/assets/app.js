// The page: signs in, follows the stream of events, keeps the tables fresh, sends commands.

import { Problem, get, idempotencyKey, keyFromAddress, post, storeKey, storedKey, watchStatus } from "./api.js";
import { PowerChart } from "./chart.js";
import { ago, clock, count, kilowattHours, kilowatts } from "./format.js";
import { KeyedTable } from "./tables.js";

const REFRESH_MS = 2_000;
const RECONNECT_MS = [500, 1_000, 2_000, 5_000];
const STALE_MS = 5_000;
const ROWS_MAX = 200;

const byId = (id) => document.getElementById(id);
const chart = new PowerChart(byId("chart"), byId("chart-summary"));

/** What is running while somebody is signed in; aborted at sign-out. */
let running = null;
let lastStatusAt = 0;
let stations = [];
let drivers = [];
let startAt = null;

// Tables

const toneOfConnector = (status) =>
  ({ Available: "good", Charging: "good", Faulted: "bad", Unavailable: "bad", Unknown: "rest" })[status] ?? "warn";
const toneOfSession = (state) =>
  ({ CHARGING: "good", SETTLED: "rest", REJECTED: "bad", EXPIRED: "bad", REFUSED: "bad" })[state] ?? "warn";

const stationsTable = new KeyedTable(
  byId("stations-table"),
  [
    { title: "Station", head: true, text: (row) => row.station.station },
    { title: "Site", text: (row) => row.station.site },
    { title: "Link", text: (row) => (row.station.connected ? row.station.protocol ?? "online" : "offline"), tone: (row) => (row.station.connected ? "good" : "bad") },
    { title: "EVSE", text: (row) => (row.connector ? `${row.connector.evse}.${row.connector.connector}` : "–") },
    { title: "Status", text: (row) => row.connector?.status ?? "not heard of", tone: (row) => toneOfConnector(row.connector?.status ?? "Unknown") },
    { title: "Power", number: true, text: (row) => kilowatts(row.connector?.live.power_w) },
    { title: "Charge", number: true, text: (row) => (row.connector?.live.soc_percent == null ? "–" : `${row.connector.live.soc_percent} %`) },
    { title: "Limit", number: true, text: (row) => (row.connector?.limit_w == null ? "–" : kilowatts(row.connector.limit_w)) },
    { title: "Command", action: { label: "Start", name: (row) => `Start a charge at ${row.key}`, shown: mayStart, run: openStart } },
  ],
  (row) => row.key,
);

const sessionsTable = new KeyedTable(
  byId("sessions-table"),
  [
    { title: "Session", head: true, text: (session) => session.id.slice(0, 12) },
    { title: "State", text: (session) => session.state, tone: (session) => toneOfSession(session.state) },
    { title: "Station", text: (session) => `${session.station} ${session.evse}.${session.connector}` },
    { title: "Driver", text: (session) => session.driver ?? session.token },
    { title: "By", text: (session) => session.started_by },
    { title: "Energy", number: true, text: (session) => kilowattHours(session.energy_wh) },
    { title: "Cost", number: true, text: (session) => session.cost.total.text },
    { title: "Asked for", text: (session) => ago(session.requested) },
    { title: "Command", action: { label: "Stop", name: (session) => `Stop session ${session.id.slice(0, 12)} at ${session.station}`, shown: mayStop, run: stopSession } },
  ],
  (session) => session.id,
);

const pendingTable = new KeyedTable(
  byId("pending-table"),
  [
    { title: "Station", head: true, text: (row) => row.station },
    { title: "Vendor", text: (row) => row.vendor || "–" },
    { title: "Model", text: (row) => row.model || "–" },
    { title: "Speaks", text: (row) => row.protocol ?? "–" },
    { title: "First seen", text: (row) => ago(row.seen) },
    { title: "Command", action: { label: "Approve", name: (row) => `Approve ${row.station}`, shown: () => true, run: approve } },
  ],
  (row) => row.station,
);

function mayStart(row) {
  const fit = row.connector && !["Faulted", "Unavailable"].includes(row.connector.status);
  return Boolean(fit && row.station.connected && !row.connector.session);
}

function mayStop(session) {
  return ["AUTHORISING", "STARTING", "START_ACCEPTED", "CHARGING"].includes(session.state);
}

// Commands

async function attempt(work) {
  try {
    await work();
    say("");
    await refresh();
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return signOut("The key is not accepted any more.");
    say(error.message);
  }
}

function say(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

async function stopSession(session) {
  await attempt(() => post(`/v1/sessions/${session.id}/stop`));
}

async function approve(row) {
  const site = byId("approve-site").value;
  if (!site) return say("Make a site first: a station stands at one.");
  await attempt(() => post(`/v1/stations/${encodeURIComponent(row.station)}/approve`, { site }));
}

function openStart(row) {
  startAt = row;
  byId("start-where").textContent = `${row.station.station}, connector ${row.connector.evse}.${row.connector.connector}`;
  byId("start-error").textContent = "";
  byId("start").showModal();
  byId("start-driver").focus();
}

byId("start-cancel").addEventListener("click", () => byId("start").close());
byId("start-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { station, connector } = startAt;
  const body = { station: station.station, evse: connector.evse, connector: connector.connector, driver: byId("start-driver").value.trim() };
  try {
    await post("/v1/sessions", body, { "Idempotency-Key": idempotencyKey() });
    byId("start").close();
    await refresh();
  } catch (error) {
    byId("start-error").textContent = error.message;
  }
});

// What is shown

function showStatus(status) {
  lastStatusAt = Date.now();
  byId("tile-sessions").textContent = count(status.live_sessions);
  byId("tile-power").textContent = kilowatts(status.power_w);
  byId("tile-commands").textContent = count(status.commands_per_s);
  byId("tile-settled").textContent = status.settled.map((money) => money.text).join(", ") || "nothing yet";
  byId("tile-connected").textContent = count(status.stations_connected);
  byId("updated").textContent = `Updated ${clock(new Date(status.at))}`;
  chart.push(status.at, status.power_w);
  showLink("live", "Live");
}

function showLink(state, text) {
  const element = byId("live");
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.textContent = text;
}

/** One row for each connector; a station that has told of none has one row, too. */
function stationRows() {
  const wanted = byId("station-filter").value.trim().toLowerCase();
  const rows = stations.flatMap((station) => {
    const connectors = station.connectors.filter((connector) => connector.evse > 0 && (connector.connector > 0 || connector.session));
    if (!connectors.length) return [{ key: station.station, station, connector: null }];
    return connectors.map((connector) => ({
      key: `${station.station} ${connector.evse}.${connector.connector}`, station, connector,
    }));
  });
  const text = (row) => `${row.key} ${row.station.site} ${row.station.connected ? "online" : "offline"} ${row.connector?.status ?? ""}`;
  return wanted ? rows.filter((row) => text(row).toLowerCase().includes(wanted)) : rows;
}

function showStations(more) {
  const rows = stationRows();
  stationsTable.show(rows);
  byId("stations-state").textContent = !stations.length
    ? "No stations yet. Provision one, or let one connect and approve it here."
    : !rows.length ? "No station matches the filter."
    : more ? `The first ${count(stations.length)} stations are shown.` : "";
}

function showSessions(page) {
  sessionsTable.show(page.items);
  const scope = byId("session-scope").value;
  byId("sessions-state").textContent = !page.items.length
    ? scope === "live" ? "Nobody charges now." : "No sessions yet."
    : page.next_page ? `The first ${count(page.items.length)} sessions are shown.` : "";
}

function showOptions(list, values) {
  const had = [...list.children].map((option) => option.value);
  if (had.length === values.length && had.every((value, at) => value === values[at])) return;
  const chosen = list.value;
  list.replaceChildren(...values.map((value) => new Option(value, value)));
  if (values.includes(chosen)) list.value = chosen;
}

async function refresh() {
  const signal = running?.signal;
  const scope = byId("session-scope").value === "live" ? "&live=true" : "";
  const [stationPage, sessionPage, pendingPage] = await Promise.all([
    get(`/v1/stations?limit=${ROWS_MAX}`, signal),
    get(`/v1/sessions?limit=${ROWS_MAX}${scope}`, signal),
    get(`/v1/stations/pending?limit=${ROWS_MAX}`, signal),
  ]);
  stations = stationPage.items;
  showStations(stationPage.next_page);
  showSessions(sessionPage);
  pendingTable.show(pendingPage.items);
  byId("pending").hidden = !pendingPage.items.length;
  if (pendingPage.items.length) {
    const sites = await get("/v1/sites?limit=1000", signal);
    showOptions(byId("approve-site"), sites.items.map((site) => site.site));
  }
  if (!drivers.length) {
    drivers = (await get("/v1/drivers?limit=200", signal)).items.map((driver) => driver.driver);
    showOptions(byId("drivers"), drivers);
  }
}

// Loops

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

async function followEvents(signal) {
  for (let failures = 0; !signal.aborted; ) {
    try {
      chart.set((await get("/v1/status/history", signal)).samples);
      await watchStatus(signal, (status) => { failures = 0; showStatus(status); });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status === 401) return signOut("The key is not accepted.");
    }
    showLink("down", "Reconnecting");
    await pause(RECONNECT_MS[Math.min(failures, RECONNECT_MS.length - 1)], signal);
    failures += 1;
  }
}

async function keepFresh(signal) {
  while (!signal.aborted) {
    // A page nobody looks at asks for nothing.
    if (!document.hidden) {
      try {
        await refresh();
      } catch (error) {
        if (signal.aborted) return;
        byId("stations-state").textContent = `Could not be read: ${error.message}`;
      }
    }
    if (lastStatusAt && Date.now() - lastStatusAt > STALE_MS) showLink("down", "No news from the node");
    await pause(REFRESH_MS, signal);
  }
}

// Signing in and out

async function signIn(key) {
  storeKey(key);
  try {
    showStatus(await get("/v1/status"));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) {
      return signOut("This is not the node's key.");
    }
    // Not reachable now: the loops below keep trying.
  }
  byId("sign-in").hidden = true;
  byId("board").hidden = false;
  byId("sign-out").hidden = false;
  running?.abort();
  running = new AbortController();
  followEvents(running.signal);
  keepFresh(running.signal);
}

function signOut(reason) {
  running?.abort();
  running = null;
  storeKey(null);
  byId("board").hidden = true;
  byId("sign-out").hidden = true;
  byId("sign-in").hidden = false;
  byId("key-error").textContent = reason;
  showLink("connecting", "Signed out");
  byId("key").focus();
}

byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("key-error").textContent = "";
  signIn(byId("key").value.trim());
});
byId("sign-out").addEventListener("click", () => signOut(""));
byId("station-filter").addEventListener("input", () => showStations(false));
byId("session-scope").addEventListener("change", () => attempt(async () => {}));

// Light and dark: the system's choice unless somebody chose otherwise here.

const THEME_NAME = "novax.theme";
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemIsDark.matches ? "dark" : "light")) === "dark";

function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
}

byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  localStorage.setItem(THEME_NAME, theme);
  showTheme(theme);
});
systemIsDark.addEventListener("change", () => showTheme(null));
showTheme(localStorage.getItem(THEME_NAME));

const key = keyFromAddress() ?? storedKey();
if (key) signIn(key);
else signOut("");
