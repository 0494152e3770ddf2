"use strict";
// Clients in rows: by class of device, then by number. Many are shown a hundred at a time.

const MOST_ROWS = 100;
const MOST_DEVICE_CLASSES = 12;
const SERVER = -1;

function deviceClasses(run) {
  return [...new Set(run.clients.device)];
}

function hasDeviceClasses(run) {
  const count = deviceClasses(run).length;
  return count > 1 && count <= MOST_DEVICE_CLASSES;
}

function clientsOf(run) {
  return run.clients.device.map((_, client) => client);
}

function byClass(run, clients) {
  if (!hasDeviceClasses(run)) return [...clients].sort((a, b) => a - b);
  const place = new Map(deviceClasses(run).map((name, at) => [name, at]));
  return [...clients].sort((a, b) => place.get(run.clients.device[a]) - place.get(run.clients.device[b]) || a - b);
}

// Choices of at most MOST_ROWS clients: {value, label, clients}.
function deviceSubsets(run) {
  const all = clientsOf(run);
  if (all.length <= MOST_ROWS) return [{ value: "all", label: "all", clients: all }];
  const parts = new Map();
  const ended = new Map();
  run.parts.client.forEach((client, place) => {
    parts.set(client, (parts.get(client) ?? 0) + 1);
    if (run.parts.critical[place]) ended.set(client, (ended.get(client) ?? 0) + 1);
  });
  const most = (counts) => [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || a - b).slice(0,
    MOST_ROWS);
  const found = [];
  if (ended.size) found.push({ value: "critical",
    label: `that ended rounds last (${Math.min(ended.size, MOST_ROWS)})`, clients: most(ended) });
  if (parts.size) found.push({ value: "busy", label: `with the most rounds (${Math.min(parts.size, MOST_ROWS)})`,
    clients: most(parts) });
  if (hasDeviceClasses(run)) {
    for (const name of deviceClasses(run)) {
      const own = all.filter((client) => run.clients.device[client] === name).slice(0, MOST_ROWS);
      found.push({ value: `class ${name}`, label: `${name}, ${own.length} of them`, clients: own });
    }
  }
  for (let from = 0; from < all.length; from += MOST_ROWS) {
    const own = all.slice(from, from + MOST_ROWS);
    found.push({ value: `from ${from}`, label: `clients ${from} to ${from + own.length - 1}`, clients: own });
  }
  return found;
}

function subsetOf(run, value) {
  const subsets = deviceSubsets(run);
  return subsets.find((subset) => subset.value === value) ?? subsets[0];
}

function subsetChoice(figure) {
  const subsets = deviceSubsets(runs[figure.chosen.run]);
  if (subsets.length < 2) return null;
  const chosen = subsetOf(runs[figure.chosen.run], figure.chosen.subset).value;
  return choice("Devices", subsets, chosen, (subset) => figure.choose({ subset }));
}

function clientName(run, client) {
  if (client === SERVER) return "server";
  if (client < SERVER) return `gateway ${SERVER - 1 - client}`;
  return `client ${client}`;
}

function clientAndDevice(run, client) {
  return client >= 0 && run.clients.device[client] ? `client ${client}, ${run.clients.device[client]}`
    : clientName(run, client);
}

function rowHeight(count) {
  return count <= 12 ? 20 : count <= 24 ? 16 : count <= 50 ? 11 : count <= 90 ? 8 : 7;
}

// Axes of rows that stand for clients (row 0 on top): numbers on the left, classes of devices on the right.
function rowAxes(run, rows, width, left) {
  const every = stepOf(13 / rowHeight(rows.length));
  const first = rows.findIndex((client) => client >= 0);
  const names = rows.map((client) => (client < 0 ? clientName(run, client) : String(client)));
  // Gateways in rows too low for a label each have one together.
  const together = every > 1 && rows.filter((client) => client < SERVER).length > 1 ? rows.indexOf(SERVER - 1)
    + Math.floor((first - rows.indexOf(SERVER - 1)) / 2) : null;
  if (together !== null) names[together] = "gateways";
  const labelled = rows.map((client, row) => row).filter((row) =>
    (rows[row] >= 0 ? (row - first) % every === 0 : rows[row] === SERVER || together === null || row === together));
  const axes = [{
    orient: "left", scale: "row", values: labelled.map((row) => row + 0.5), domain: false, ticks: false, title: left,
    encode: { labels: { update: { text: { signal: `${JSON.stringify(names)}[floor(datum.value)]` } } } },
  }];
  if (!hasDeviceClasses(run)) return axes;
  const spans = [];
  rows.forEach((client, row) => {
    const name = client < 0 ? null : run.clients.device[client];
    const span = spans[spans.length - 1];
    if (span && span.name === name) span.end = row + 1;
    else spans.push({ name, start: row, end: row + 1 });
  });
  const shown = spans.filter((span) => span.name !== null);
  const limit = Math.min(150, width / 4);
  axes.push({
    orient: "right", scale: "row", values: shown.map((span) => (span.start + span.end) / 2), domain: false,
      ticks: false,
    labelLimit: limit, labelOverlap: false,
    encode: { labels: { update: { text: { signal:
      `${JSON.stringify(Object.fromEntries(shown.map((span) => [String((span.start + span.end) / 2), fitted(span.name, limit, 11)])))}['' + datum.value]` } } } },
  }, {
    orient: "right", scale: "row", values: shown.slice(1).map((span) => span.start), labels: false, tickSize: 10,
      tickColor: "#8b949c", domain: false,
  });
  return axes;
}
