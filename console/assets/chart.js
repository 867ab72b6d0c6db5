// Power over the last ten minutes, as SVG drawn by hand: an area, a line, a grid, a cursor.

import { clock, kilowatts } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const SPAN_MS = 600_000;
const SAMPLES_MAX = 600;
const EDGE = { left: 64, right: 14, top: 14, bottom: 26 };

/** The next of 1, 2, 5, 10, 20, ... that is not less. */
export function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A chart in an SVG element, with a summary in words in another. */
export class PowerChart {
  #svg;
  #summary;
  #samples = [];
  #cursorX = null;

  constructor(svg, summary) {
    this.#svg = svg;
    this.#summary = summary;
    svg.addEventListener("pointermove", (event) => {
      this.#cursorX = event.offsetX;
      this.#render();
    });
    svg.addEventListener("pointerleave", () => {
      this.#cursorX = null;
      this.#render();
    });
    new ResizeObserver(() => this.#render()).observe(svg);
  }

  /** Replaces everything. */
  set(samples) {
    this.#samples = samples.map((sample) => ({ at: Date.parse(sample.at), watts: sample.power_w }));
    this.#render();
  }

  /** Adds the newest; one that is not newer is the same second again. */
  push(at, watts) {
    const last = this.#samples.at(-1);
    const time = Date.parse(at);
    if (last && time <= last.at) return;
    this.#samples.push({ at: time, watts });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    this.#render();
  }

  #render() {
    const newest = this.#samples.at(-1);
    this.#svg.dataset.samples = String(this.#samples.length);
    if (!newest) return;
    const shown = this.#samples.filter((sample) => sample.at > newest.at - SPAN_MS);
    const peak = Math.max(...shown.map((sample) => sample.watts));
    const low = Math.min(0, ...shown.map((sample) => sample.watts));
    this.#summary.textContent = `Now ${kilowatts(newest.watts)}, peak ${kilowatts(peak)}`;
    const { width, height } = this.#svg.getBoundingClientRect();
    if (width < EDGE.left + EDGE.right + 10) return;
    const top = niceCeiling(peak);
    const bottom = low < 0 ? -niceCeiling(-low) : 0;
    const x = (at) => width - EDGE.right - ((newest.at - at) / SPAN_MS) * (width - EDGE.left - EDGE.right);
    const y = (watts) => EDGE.top + ((top - watts) / (top - bottom)) * (height - EDGE.top - EDGE.bottom);
    const parts = [...grid(x, y, top, bottom, newest.at, width, height), ...curve(shown, x, y)];
    const near = this.#nearest(shown, x);
    if (near) parts.push(...cursor(near, x, y, width, height));
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(...parts);
  }

  #nearest(shown, x) {
    if (this.#cursorX === null) return null;
    const distance = (sample) => Math.abs(x(sample.at) - this.#cursorX);
    return shown.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best));
  }
}

function grid(x, y, top, bottom, now, width, height) {
  const parts = [];
  for (let step = 0; step <= 4; step += 1) {
    const watts = bottom + ((top - bottom) * step) / 4;
    parts.push(draw("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(watts), y2: y(watts) }));
    parts.push(draw("text", { x: EDGE.left - 8, y: y(watts) + 4, "text-anchor": "end" }, kilowatts(watts)));
  }
  for (let minutes = 10; minutes >= 0; minutes -= 2) {
    const at = x(now - minutes * 60_000);
    const anchor = minutes === 0 ? "end" : "middle";
    parts.push(draw("text", { x: at, y: height - 8, "text-anchor": anchor }, minutes ? `−${minutes} min` : "now"));
  }
  return parts;
}

function curve(shown, x, y) {
  const points = shown.map((sample) => `${x(sample.at).toFixed(1)},${y(sample.watts).toFixed(1)}`);
  const line = `M${points.join("L")}`;
  const area = `${line}L${x(shown.at(-1).at).toFixed(1)},${y(0)}L${x(shown[0].at).toFixed(1)},${y(0)}Z`;
  return [draw("path", { class: "area", d: area }), draw("path", { class: "line", d: line })];
}

function cursor(sample, x, y, width, height) {
  const at = x(sample.at);
  const right = at > width / 2;
  const label = `${clock(new Date(sample.at))}  ${kilowatts(sample.watts)}`;
  return [
    draw("line", { class: "cursor", x1: at, x2: at, y1: EDGE.top, y2: height - EDGE.bottom }),
    draw("circle", { class: "point", cx: at, cy: y(sample.watts), r: 4 }),
    draw("text", { class: "tip", x: at + (right ? -8 : 8), y: EDGE.top + 12, "text-anchor": right ? "end" : "start" }, label),
  ];
}
