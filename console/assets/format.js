// Numbers and times as people read them. Money comes formatted from the node and is never computed here.

/** Watts as kW with one decimal. */
export function kilowatts(watts) {
  return watts == null ? "–" : `${(watts / 1000).toFixed(1)} kW`;
}

/** Watt-hours as kWh with two decimals. */
export function kilowattHours(wattHours) {
  return wattHours == null ? "–" : `${(wattHours / 1000).toFixed(2)} kWh`;
}

/** A whole number with separators. */
export function count(number) {
  return number == null ? "–" : number.toLocaleString("en");
}

/** A time of day. */
export function clock(date) {
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** How long ago a time was, roughly. */
export function ago(text, now = Date.now()) {
  if (!text) return "–";
  const seconds = Math.max(0, Math.round((now - Date.parse(text)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}
