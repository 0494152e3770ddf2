"use strict";
// How accurate the model is for each client, on the client's own test rows.

const knownOwn = new Map();

// round -> [{client, accuracy}], of all clients where those were measured, else of those that took part.
function ownAccuracies(run) {
  if (knownOwn.has(run)) return knownOwn.get(run);
  const from = run.ownAccuracies.accuracy.some(isNumber) ? run.ownAccuracies : run.parts;
  const found = new Map();
  from.accuracy.forEach((value, place) => {
    if (!isNumber(value)) return;
    const round = from.round[place];
    if (!found.has(round)) found.set(round, []);
    found.get(round).push({ client: from.client[place], accuracy: value });
  });
  knownOwn.set(run, new Map([...found].sort((a, b) => a[0] - b[0])));
  return knownOwn.get(run);
}

function lastOwn(run) {
  const rounds = [...ownAccuracies(run).keys()];
  return rounds.length ? { round: rounds[rounds.length - 1],
    clients: ownAccuracies(run).get(rounds[rounds.length - 1]) } : null;
}

function sortedAccuracies(clients) {
  return clients.map((one) => one.accuracy).sort((a, b) => a - b);
}

const QUARTILES = { low: 0.1, lower: 0.25, middle: 0.5, upper: 0.75, high: 0.9 };

function quantilesOf(sorted) {
  return Object.fromEntries(Object.entries(QUARTILES).map(([name, part]) => [name, quantile(sorted, part)]));
}

function noOwnAccuracies(which) {
  if (!runs.length) return "There are no runs.";
  return which.some((run) => ownAccuracies(run).size) ? null
    : `No ${metricName()} was measured on clients' own test rows.`;
}

function showClientAccuracy(section) {
  section.append(new Figure({
    id: "clients-end", title: `Clients' ${metricName()} at the end`,
      about: "Each dot is a client, at the last round in which it was measured on the client's own test rows. The box reaches from the first to the third "
      + "quartile, the line in it is the median, whiskers reach from the 10th to the 90th percentile.",
    absent: () => noOwnAccuracies(runs), finding: endFinding, height: () => endRows().length * 58 + 4, spec: endSpec,
      tip: endTip, table: endTable,
  }).element);
  const first = runs.findIndex((run) => ownAccuracies(run).size);
  if (first < 0) return;
  section.append(new Figure({
    id: "clients-rounds", title: `Clients' ${metricName()} over rounds`,
      about: "Median of the clients, with half of them in the dark band and four fifths in the light one.",
    chosen: { run: String(first) }, controls: (own) => [runChoice(own, runs)],
      absent: ({ run }) => fanAbsent(runs[run]), finding: ({ run }) => fanFinding(runs[run]),
    height: () => 240, spec: fanSpec, tip: fanTip, table: fanTable,
  }).element);
}

// Clients of all seeds of a series together.
function endRows() {
  return series.map((one, place) => {
    const ends = one.runs.map((at) => ({ run: runs[at], end: lastOwn(runs[at]) })).filter(({ end }) => end);
    const clients = ends.flatMap(({ run, end }) => end.clients.map((client) => ({ ...client, run })));
    return { label: one.label, place, clients, sorted: sortedAccuracies(clients) };
  }).filter(({ clients }) => clients.length);
}

function endFinding() {
  return clauses(endRows().map(({ label, sorted }) =>
    `${label}: median ${accuracy(quantile(sorted, 0.5))}, 10th percentile ${accuracy(quantile(sorted, 0.1))}, least ${accuracy(sorted[0])}`));
}

// Dots are moved up and down by their place alone, so that a picture is the same each time.
function endSpec(_, theme, width) {
  const rows = endRows();
  const limit = Math.min(190, width / 4);
  const dots = rows.flatMap((row, at) => row.clients.map(({ client, accuracy: value }, place) =>
    ({ value, y: at + 0.5 + 0.56 * (((place * 0.618034 + client * 0.1) % 1) - 0.5), place: row.place })));
  const boxes = rows.map((row, at) => ({ at, y: at + 0.5, place: row.place, ...quantilesOf(row.sorted) }));
  const [low, high] = [least(dots.map((dot) => dot.value)), greatest(dots.map((dot) => dot.value))];
  const pad = Math.max(0.02, (high - low) * 0.04);
  const colour = { scale: "colour", field: "place" };
  const x = (field) => ({ scale: "x", field });
  const y = { scale: "y", field: "y" };
  return {
    data: [{ name: "dots", values: dots }, { name: "boxes", values: boxes }],
    scales: [
      { name: "x", type: "linear", domain: [Math.max(0, low - pad), Math.min(1, high + pad)], range: "width",
        nice: false, zero: false },
      { name: "y", type: "linear", domain: [0, rows.length], range: [0, { signal: "height" }], nice: false },
      { name: "colour", type: "ordinal", domain: rows.map(({ place }) => place),
        range: rows.map(({ place }) => seriesColour(theme, place)) },
    ],
    axes: [
      { orient: "bottom", scale: "x", grid: true, domain: false, tickCount: Math.max(3, Math.floor(width / 90)),
        title: `${capital(metricName())} on a client's own test rows` },
      ...(rows.length < 2 ? [] : [{ orient: "left", scale: "y", domain: false, ticks: false,
        values: rows.map((_, at) => at + 0.5), labelColor: theme.ink, labelLimit: limit + 10, labelOverlap: false,
        encode: { labels: { update: { text: { signal: `${JSON.stringify(rows.map(({ label }) => fitted(label, limit, 11)))}[floor(datum.value)]` } } } } }]),
    ],
    marks: [
      { type: "symbol", from: { data: "dots" }, encode: { update: { x: x("value"), y,
        size: { value: dots.length > 600 ? 9 : 22 }, fill: colour,
        fillOpacity: { value: dots.length > 600 ? 0.4 : 0.7 } } } },
      { type: "rule", from: { data: "boxes" }, encode: { update: { x: x("low"), x2: x("high"), y,
        stroke: { value: theme.ink }, strokeWidth: { value: 1.2 } } } },
      { type: "rect", from: { data: "boxes" }, encode: { update: { x: x("lower"), x2: x("upper"),
        y: { scale: "y", signal: "datum.y - 0.17" }, y2: { scale: "y", signal: "datum.y + 0.17" },
        fill: { value: null }, stroke: { value: theme.ink }, strokeWidth: { value: 1.2 } } } },
      { type: "rule", from: { data: "boxes" }, encode: { update: { x: x("middle"),
        y: { scale: "y", signal: "datum.y - 0.17" }, y2: { scale: "y", signal: "datum.y + 0.17" },
        stroke: { value: theme.ink }, strokeWidth: { value: 2.6 } } } },
    ],
  };
}

function endTip(_, view, x, y) {
  const rows = endRows();
  const row = rows[Math.min(rows.length - 1, Math.floor((y / view.height()) * rows.length))];
  const value = view.scale("x").invert(x);
  const near = row.clients.reduce((best, one) => (Math.abs(one.accuracy - value) < Math.abs(best.accuracy - value)
    ? one : best));
  const { lower, middle, upper } = quantilesOf(row.sorted);
  return { title: row.label,
    lines: [[null, `median ${accuracy(middle)}, quartiles ${accuracy(lower)} and ${accuracy(upper)}`],
    [null, `nearest: ${clientAndDevice(near.run, near.client)}${runs.length > 1 ? `, ${near.run.name}` : ""}: ${accuracy(near.accuracy)}`]] };
}

function endTable() {
  return {
    caption: `${capital(metricName())} on clients' own test rows at the last round measured.`,
    columns: [{ title: "Series", text: true }, { title: "Clients" }, { title: "Least" }, { title: "10th percentile" },
      { title: "First quartile" }, { title: "Median" }, { title: "Third quartile" },
      { title: "90th percentile" }, { title: "Greatest" }, { title: "Mean" }],
    rows: endRows().map(({ label, sorted }) => [label, whole(sorted.length), accuracy(sorted[0]),
      ...Object.values(quantilesOf(sorted)).map(accuracy), accuracy(sorted[sorted.length - 1]),
      accuracy(mean(sorted))]),
  };
}

function fanOf(run) {
  return [...ownAccuracies(run)].map(([round, clients]) => ({ round, clients: clients.length,
    ...quantilesOf(sortedAccuracies(clients)) }));
}

function fanAbsent(run) {
  const measured = ownAccuracies(run).size;
  if (!measured) return `${run.name}: no ${metricName()} was measured on clients' own test rows.`;
  return measured < 2 ? `${run.name}: clients were measured after one round alone, so there is no curve.` : null;
}

function fanFinding(run) {
  const fan = fanOf(run);
  const [first, last] = [fan[0], fan[fan.length - 1]];
  return `${run.name}: the median client goes from ${accuracy(first.middle)} to ${accuracy(last.middle)}, the spread `
    + `between the 10th and the 90th percentile from ${accuracy(first.high - first.low)} to ${accuracy(last.high - last.low)}.`;
}

function fanSpec({ run }, theme, width) {
  const fan = fanOf(runs[run]);
  const place = series.findIndex((one) => one.runs.includes(Number(run)));
  const colour = { value: seriesColour(theme, Math.max(0, place)) };
  const x = { scale: "x", field: "round" };
  const area = (low, high, opacity) => ({ type: "area", from: { data: "fan" },
    encode: { update: { x, y: { scale: "y", field: low }, y2: { scale: "y", field: high }, fill: colour,
    fillOpacity: { value: opacity } } } });
  return {
    data: [{ name: "fan", values: fan }],
    scales: [
      { name: "x", type: "linear", domain: [fan[0].round, fan[fan.length - 1].round], range: "width", nice: false,
        zero: false },
      { name: "y", type: "linear", domain: [least(fan.map((one) => one.low)), greatest(fan.map((one) => one.high))],
        range: "height", nice: true, zero: false },
    ],
    axes: [
      { orient: "left", scale: "y", grid: true, domain: false, ticks: false, tickCount: 5,
        title: `${capital(metricName())} of clients` },
      { orient: "bottom", scale: "x", tickCount: Math.max(3, Math.floor(width / 80)), tickMinStep: 1, format: "d",
        title: "Round" },
    ],
    marks: [area("low", "high", 0.17), area("lower", "upper", 0.3),
      { type: "line", from: { data: "fan" }, encode: { update: { x, y: { scale: "y", field: "middle" },
        stroke: colour, strokeWidth: { value: 2 } } } }],
  };
}

function fanTip({ run }, view, x) {
  const wanted = view.scale("x").invert(x);
  const one = fanOf(runs[run]).reduce((best, next) => (Math.abs(next.round - wanted) < Math.abs(best.round - wanted)
    ? next : best));
  return { title: `Round ${one.round}, ${counted(one.clients, "client")}`,
    lines: [[null, `median ${accuracy(one.middle)}`], [null,
    `quartiles ${accuracy(one.lower)} and ${accuracy(one.upper)}`],
    [null, `10th to 90th percentile ${accuracy(one.low)} to ${accuracy(one.high)}`]] };
}

function fanTable({ run }) {
  return {
    caption: `${capital(metricName())} on clients' own test rows in ${runs[run].name}.`,
    columns: [{ title: "Round" }, { title: "Clients" }, { title: "10th percentile" }, { title: "First quartile" },
      { title: "Median" }, { title: "Third quartile" }, { title: "90th percentile" }],
    rows: fanOf(runs[run]).map(({ round, clients, ...values }) => [round, whole(clients),
      ...Object.keys(QUARTILES).map((name) => accuracy(values[name]))]),
  };
}
