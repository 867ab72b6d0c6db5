// Talks to the node: the key, requests, problems, the stream of events.

const KEY_NAME = "novax.key";

/** What the node said when it did not do what it was asked. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the node answered ${status}`);
    this.status = status;
    this.code = body.code || "error";
    this.requestId = body.request_id;
  }
}

/** The key of this browser, or null. */
export function storedKey() {
  return localStorage.getItem(KEY_NAME);
}

/** Keeps the key in this browser; null forgets it. */
export function storeKey(key) {
  if (key === null) localStorage.removeItem(KEY_NAME);
  else localStorage.setItem(KEY_NAME, key);
}

/** Takes a key out of the address (#key=...), and the address clean. */
export function keyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key) history.replaceState(null, "", location.pathname + location.search);
  return key;
}

/** A key for one request that may be sent again. */
export function idempotencyKey() {
  // Not randomUUID: the page may be served without TLS.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(path, options = {}) {
  const headers = { Authorization: `Bearer ${storedKey()}`, ...options.headers };
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Problem(response.status, body);
}

/** Reads JSON. */
export async function get(path, signal) {
  return (await send(path, { signal })).json();
}

/** Sends JSON, reads JSON. */
export async function post(path, body, headers = {}) {
  const response = await send(path, {
    method: "POST",
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
  });
  return response.json();
}

/** Calls `onStatus` with every status the node sends, until the stream ends or `signal` is aborted. */
export async function watchStatus(signal, onStatus) {
  // EventSource cannot send a key in a header, so the stream is read by hand.
  const response = await send("/v1/events", { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (data && lines.some((line) => line.replace("event: ", "event:") === "event:status")) {
        onStatus(JSON.parse(data));
      }
    }
  }
}
