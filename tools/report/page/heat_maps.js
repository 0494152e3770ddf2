"use strict";
// What each client was assigned in each round: depth, rank, group, experts.

const ASSIGNMENTS = [
  { column: "depth", title: "Depth", what: "tuned layers", about: "How many layers a client tuned in a round.",
    one: "layer", zero: false },
  { column: "rank", title: "Rank", what: "largest rank", about: "The largest rank of a client's adapter in a round.",
    one: null },
  { column: "group", title: "Group", what: "group", about: "The group of a client in a round.", one: null,
    kinds: true },
  { column: "experts", title: "Experts", what: "experts held",
    about: "How many experts a client held in a round, over all modules.", one: "expert" },
];
const MOST_LEVELS = 12;

function showHeatMaps(section) {
  const known = ASSIGNMENTS.filter(({ column }) => runs.some((run) => run.parts[column].some(isNumber)));
  if (!known.length) {
    section.append(element("p", { class: "absent" }, runs.length
      ? "No client took part in a round, so nothing was assigned." : "There are no runs."));
    return;
  }
  const missing = ASSIGNMENTS.filter((one) => !known.includes(one))
    .map(({ title }) => `${title.toLowerCase()}${title.endsWith("s") ? "" : "s"}`);
  for (const assignment of known) {
    section.append(new Figure({
      id: `assigned-${assignment.column}`, title: `${assignment.title} over rounds`,
      about: `${assignment.about} Blank: it took no part.${runs.some((run) => run.parts.dropped.includes(1)) ? " A mark in a cell: its part was dropped." : ""}`,
      chosen: { run: mostTelling(assignment.column), subset: null, assignment },
      controls: (own) => [runChoice(own, runs), subsetChoice(own)],
      runChosen: (own, run) => {
        own.choose({ run, subset: null });
        own.fillControls();
      },
      absent: ({ run }) => assignedAbsent(runs[run], assignment),
        finding: ({ run }) => assignedFinding(runs[run], assignment),
      height: ({ run, subset }) => {
        const count = byClass(runs[run], subsetOf(runs[run], subset).clients).length;
        return Math.max(40, count * Math.min(rowHeight(count), 16));
      },
      spec: assignedSpec, tip: assignedTip, table: assignedTable,
    }).element);
  }
  if (missing.length) section.append(element("p", { class: "note" },
    `No ${missing.length > 1 ? listed(missing).replace(" and ", " or ") : missing[0]} ${missing.length > 1 ? "were" : missing[0].endsWith("s") ? "were" : "was"} assigned.`));
}

// The first run in which values differ, or else the first that has any.
function mostTelling(column) {
  const counts = runs.map((run) => valuesOf(run, column).length);
  const varied = counts.findIndex((count) => count > 1);
  return String(varied >= 0 ? varied : counts.findIndex((count) => count > 0));
}

function valuesOf(run, column) {
  return [...new Set(run.parts[column].filter(isNumber))].sort((a, b) => a - b);
}

function assignedAbsent(run, assignment) {
  const values = valuesOf(run, assignment.column);
  if (!values.length) return `${run.name}: no ${assignment.title.toLowerCase()} was assigned.`;
  return values.length === 1
    ? `${runs.length > 1 ? `${run.name}: the` : "The"} same for every client in every round: ${plain(assignment, values[0])}.` : null;
}

function plain({ one, title }, value) {
  return one ? counted(value, one) : `${title.toLowerCase()} ${whole(value)}`;
}

function assignedFinding(run, assignment) {
  const values = valuesOf(run, assignment.column);
  const means = deviceMeans(run, assignment.column);
  if (assignment.kinds) return `${counted(values.length, "group")} over ${counted(trainedRounds(run), "round")}.`;
  const range = `${run.name}: ${assignment.what} from ${whole(values[0])} to ${whole(values[values.length - 1])}.`;
  return means.length > 1 && means.length <= 6
    ? `${range} Mean: ${listed(means.map(([device, value]) => `${device} ${rounded(value)}`))}.` : range;
}

function deviceMeans(run, column) {
  const sums = new Map();
  run.parts.client.forEach((client, place) => {
    const value = run.parts[column][place];
    if (!isNumber(value)) return;
    const sum = sums.get(run.clients.device[client]) ?? [0, 0];
    sums.set(run.clients.device[client], [sum[0] + value, sum[1] + 1]);
  });
  return [...sums].map(([device, [sum, count]]) => [device, sum / count]);
}

const knownGrids = new Map();

// The part of each client in each round: parts by "client round".
function partsByCell(run) {
  if (!knownGrids.has(run)) knownGrids.set(run, new Map(run.parts.client.map((client, place) =>
    [client * 1e6 + run.parts.round[place], place])));
  return knownGrids.get(run);
}

function roundsWithParts(run) {
  return run.rounds.round.filter((round) => round > 0);
}

// Levels of a legend, and which one a value has: each value for itself, or ranges of many values.
function levelsOf(values, theme, kinds) {
  const colour = (place, count) => (kinds && count <= theme.groups.length ? theme.groups[place]
    : rampColour(theme, count > 1 ? place / (count - 1) : 1));
  if (values.length <= MOST_LEVELS) {
    // Words for a number are slow to make, cells are many.
    const names = new Map(values.map((value) => [value, whole(value)]));
    return {
      levels: values.map((value, place) => ({ name: names.get(value), colour: colour(place, values.length) })),
      levelOf: (value) => names.get(value),
    };
  }
  const [low, high] = [values[0], values[values.length - 1]];
  const size = Math.max(1, Math.ceil((high - low + 1) / 8));
  const count = Math.ceil((high - low + 1) / size);
  const name = (place) =>
    (size === 1 ? whole(low + place)
    : `${whole(low + place * size)}–${whole(Math.min(high, low + (place + 1) * size - 1))}`);
  const names = Array.from({ length: count }, (_, place) => name(place));
  return {
    levels: names.map((one, place) => ({ name: one, colour: rampColour(theme, place / Math.max(1, count - 1)) })),
    levelOf: (value) => names[Math.min(count - 1, Math.floor((value - low) / size))],
  };
}

function assignedSpec({ run: chosen, subset, assignment }, theme, width) {
  const run = runs[chosen];
  const rows = byClass(run, subsetOf(run, subset).clients);
  const rounds = roundsWithParts(run);
  const cells = partsByCell(run);
  const { levels, levelOf } = levelsOf(valuesOf(run, assignment.column), theme, assignment.kinds);
  const column = run.parts[assignment.column];
  const paths = cellPaths(rows.length, rounds.length, (row, at) => {
    const place = cells.get(rows[row] * 1e6 + rounds[at]);
    return place === undefined || !isNumber(column[place]) ? null : levelOf(column[place]);
  }, rowHeight(rows.length) > 8 ? 0.12 : 0.06);
  let marked = "";
  rows.forEach((client, row) => rounds.forEach((round, at) => {
    const place = cells.get(client * 1e6 + round);
    if (place !== undefined && run.parts.dropped[place]) marked += rectangle(at + 0.3, row + 0.3, 0.4, 0.4);
  }));
  const step = stepOf(rounds.length / Math.max(1, width / 46));
  return cellsSpec({
    theme, width, rows: rows.length, columns: rounds.length, levels, paths, marked,
      mark: assignment.kinds ? theme.paper : theme.phases.broken, legendTitle: capital(assignment.what),
    axes: [{ orient: "bottom", scale: "column", title: "Round", domain: false,
      values: rounds.map((round, at) => at + 0.5).filter((_, at) => rounds[at] % step === 0 || rounds.length === 1),
      encode: { labels: { update: { text: { signal: `${JSON.stringify(rounds)}[floor(datum.value)]` } } } } },
        ...rowAxes(run, rows, width, "Client")],
  });
}

function assignedTip({ run: chosen, subset, assignment }, view, x, y) {
  const run = runs[chosen];
  const rows = byClass(run, subsetOf(run, subset).clients);
  const rounds = roundsWithParts(run);
  const client = rows[Math.min(rows.length - 1, Math.floor((y / view.height()) * rows.length))];
  const round = rounds[Math.min(rounds.length - 1, Math.floor((x / view.width()) * rounds.length))];
  const place = partsByCell(run).get(client * 1e6 + round);
  const told = place === undefined ? "took no part" : isNumber(run.parts[assignment.column][place])
    ? plain(assignment, run.parts[assignment.column][place]) : "nothing assigned";
  const lines = [[null, `Round ${round}: ${told}`]];
  if (place !== undefined && run.parts.dropped[place]) lines.push([null, "Its part was dropped"]);
  return { title: capital(clientAndDevice(run, client)), lines };
}

function assignedTable({ run: chosen, subset, assignment }) {
  const run = runs[chosen];
  const cells = partsByCell(run);
  const rounds = roundsWithParts(run);
  const rows = byClass(run, subsetOf(run, subset).clients).map((client) => {
    const places = rounds.map((round) => cells.get(client * 1e6 + round)).filter((place) => place !== undefined);
    const values = places.map((place) => run.parts[assignment.column][place]).filter(isNumber);
    return [client, run.clients.device[client], whole(places.length),
      whole(places.filter((place) => run.parts.dropped[place]).length), stretches(run, places, assignment.column),
      assignment.kinds ? null : rounded(mean(values))];
  });
  return withoutEmptyColumns({
    caption: `${assignment.title} in ${run.name}: values with their rounds.`,
    columns: [{ title: "Client" }, { title: "Device", text: true }, { title: "Rounds" }, { title: "Dropped" },
      { title: capital(assignment.what), text: true }, { title: "Mean" }], rows,
  });
}

// "4 (rounds 1–10), 8 (11–20)" of a client's parts in order.
function stretches(run, places, column) {
  const found = [];
  for (const place of places) {
    const value = run.parts[column][place];
    const round = run.parts.round[place];
    const last = found[found.length - 1];
    if (last && last.value === value) last.to = round;
    else found.push({ value, from: round, to: round });
  }
  const told = found.slice(0, 8).map(({ value, from, to }) =>
    `${isNumber(value) ? whole(value) : ABSENT} (${from === to ? from : `${from}–${to}`})`);
  return told.join(", ") + (found.length > 8 ? `, and ${found.length - 8} changes more` : "");
}
