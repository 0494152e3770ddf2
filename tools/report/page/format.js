"use strict";
// Numbers in words, with their units. Absent values are a dash: "null" and "NaN" are never shown.

const ABSENT = "–";

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function counted(count, one, many = one + "s") {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

function whole(value) {
  return isNumber(value) ? Math.round(value).toLocaleString("en-US") : ABSENT;
}

// Three significant digits, without an exponent.
function short(value) {
  if (!isNumber(value)) return ABSENT;
  const size = Math.abs(value);
  if (size >= 1000) return whole(value);
  return value.toFixed(size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4);
}

// Three digits at most: "9", "9.25".
function rounded(value) {
  return isNumber(value) ? String(Number(value.toPrecision(3))) : ABSENT;
}

function accuracy(value) {
  return isNumber(value) ? value.toFixed(3) : ABSENT;
}

function share(value) {
  if (!isNumber(value)) return ABSENT;
  return `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
}

function times(value) {
  return isNumber(value) ? `${value.toFixed(value < 10 ? 2 : 1)}×` : ABSENT;
}

// "16 min 23 s": two units at most.
function duration(seconds) {
  if (!isNumber(seconds)) return ABSENT;
  if (seconds < 0) return "−" + duration(-seconds);
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${short(seconds * 1e6)} µs`;
  if (seconds < 1) return `${short(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const pair = (large, small, size, largeName, smallName) =>
    `${whole(large)} ${largeName} ${String(small).padStart(size, "0")} ${smallName}`;
  const s = Math.round(seconds);
  if (s < 3600) return pair(Math.floor(s / 60), s % 60, 2, "min", "s");
  const min = Math.round(seconds / 60);
  if (min < 24 * 60) return pair(Math.floor(min / 60), min % 60, 2, "h", "min");
  const h = Math.round(seconds / 3600);
  return pair(Math.floor(h / 24), h % 24, 1, "d", "h");
}

function scaled(value, unit) {
  return isNumber(value) ? `${short(value / unit.size)} ${unit.name}` : ABSENT;
}

function bytes(value) {
  return scaled(value, byteUnit(value));
}

function joules(value) {
  return scaled(value, jouleUnit(value));
}

// Units of an axis: the largest one of which the greatest value has at least `least`.
function unitFor(units, greatest, least) {
  return units.find((unit) => Math.abs(greatest) >= least * unit.size) ?? units[units.length - 1];
}

function timeUnit(greatest) {
  return unitFor([{ name: "d", size: 86400 }, { name: "h", size: 3600 }, { name: "min", size: 60 },
    { name: "s", size: 1 }], greatest, 3);
}

function byteUnit(greatest) {
  return unitFor([{ name: "TB", size: 1e12 }, { name: "GB", size: 1e9 }, { name: "MB", size: 1e6 },
    { name: "kB", size: 1e3 }, { name: "B", size: 1 }], greatest, 1);
}

function jouleUnit(greatest) {
  return unitFor([{ name: "GJ", size: 1e9 }, { name: "MJ", size: 1e6 }, { name: "kJ", size: 1e3 },
    { name: "J", size: 1 }], greatest, 1);
}

function roundUnit() {
  return { name: "", size: 1 };
}

// "a, b and c"; of long lists the first few.
function listed(words, most = 6) {
  if (words.length > most) return `${words.slice(0, most - 1).join(", ")} and ${words.length - most + 1} more`;
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

// Statements about each of several: names may hold commas.
function clauses(words, most = 5) {
  const shown = words.length > most ? [...words.slice(0, most - 1), `${words.length - most + 1} more in the table`]
    : words;
  return shown.length ? shown.join("; ") + "." : "";
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

function total(values) {
  return values.some(isNumber) ? values.reduce((sum, value) => sum + (value ?? 0), 0) : null;
}

// Spread does not fit on the stack for long columns.
function least(values) {
  return values.reduce((found, value) => (isNumber(value) && (found === null || value < found) ? value : found),
    null);
}

function greatest(values) {
  return values.reduce((found, value) => (isNumber(value) && (found === null || value > found) ? value : found),
    null);
}

// The value below which a share of the sorted values lies.
function quantile(sorted, part) {
  if (!sorted.length) return null;
  const place = part * (sorted.length - 1);
  const below = Math.floor(place);
  return sorted[below] + (place - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
}

// "0.671 (0.650 to 0.690)" of several seeds.
function meanAndRange(values, format, between = " ") {
  const known = values.filter(isNumber);
  if (!known.length) return ABSENT;
  const text = format(mean(known));
  const low = format(least(known));
  const high = format(greatest(known));
  return known.length > 1 && low !== high ? `${text}${between}(${low} to ${high})` : text;
}
