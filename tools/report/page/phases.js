"use strict";
// Where the time of clients went, by class of device and series.

const PARTS = [
  { column: "trainS", name: "compute", colour: "train" }, { column: "downloadS", name: "download",
    colour: "download" },
  { column: "uploadS", name: "upload", colour: "upload" }, { column: "waitS", name: "waiting", colour: "wait" },
    { column: "offS", name: "off", colour: "off" },
];
const MOST_FACETS = 6;

function showPhases(section) {
  const many = series.length > MOST_FACETS;
  section.append(new Figure({
    id: "time-parts", title: "Seconds of a client, by what it did",
      about: "Mean over the clients of a class of device that took part: the sum of their parts in rounds over the whole run"
      + `${runs.length > series.length ? ", and over seeds" : ""}. Rounds for which a client was not chosen do not count.`,
    chosen: { series: many ? "0" : "all", as: "time" },
    controls: (own) => [
      many ? choice("Series", series.map((one, place) => ({ value: String(place), label: one.label })),
        own.chosen.series, (value) => own.choose({ series: value })) : null,
      choice("Shown as", [{ value: "time", label: "time" }, { value: "share", label: "share" }], own.chosen.as,
        (as) => own.choose({ as })),
    ],
    absent: (chosen) => (phaseRows(chosen).length ? null : runs.length
      ? "No client took part in a round, so no client's time was spent." : "There are no runs."),
    finding: phaseFinding, height: (chosen) => phaseLayout(chosen).height, spec: phaseSpec, tip: phaseTip,
      table: phaseTable,
  }).element);
}

const knownPhases = new Map();

// {series, label, device, clients, seconds: {column: mean seconds of a client}} of each class of device.
function phaseRows(chosen) {
  const places = chosen.series === "all" ? series.map((_, place) => place) : [Number(chosen.series)];
  return places.filter((place) => series[place]).flatMap((place) => {
    if (!knownPhases.has(place)) knownPhases.set(place, phasesOf(place));
    return knownPhases.get(place);
  });
}

function phasesOf(place) {
  const sums = new Map();
  for (const at of series[place].runs) {
    const run = runs[at];
    const named = deviceClasses(run).length <= MOST_DEVICE_CLASSES;
    run.parts.client.forEach((client, part) => {
      const device = named ? run.clients.device[client] ?? "clients" : "all devices";
      if (!sums.has(device)) sums.set(device, { clients: new Set(),
        seconds: Object.fromEntries(PARTS.map(({ column }) => [column, 0])) });
      const sum = sums.get(device);
      sum.clients.add(`${at} ${client}`);
      for (const { column } of PARTS) sum.seconds[column] += run.parts[column][part] ?? 0;
    });
  }
  return [...sums].map(([device, { clients, seconds }]) => ({ series: place, label: series[place].label, device,
    clients: clients.size,
    seconds: Object.fromEntries(PARTS.map(({ column }) => [column, seconds[column] / clients.size])) }));
}

function phaseTotal(row) {
  return PARTS.reduce((sum, { column }) => sum + row.seconds[column], 0);
}

// Rows by class of device, within it by series; classes get a heading where there are several series.
function phaseLayout(chosen) {
  const rows = phaseRows(chosen);
  const headed = new Set(rows.map((row) => row.series)).size > 1;
  const placed = [];
  const headings = [];
  let y = 0;
  for (const device of new Set(rows.map((row) => row.device))) {
    if (headed) {
      headings.push({ text: device, y: y + 13 });
      y += 22;
    }
    for (const row of rows.filter((one) => one.device === device)) {
      placed.push({ ...row, y, name: headed ? row.label : row.device });
      y += 26;
    }
    if (headed) y += 10;
  }
  return { rows: placed, headings, height: Math.max(y, 26) };
}

// A row for each series over all of its clients.
function seriesTogether(rows) {
  return [...new Set(rows.map((row) => row.series))].map((place) => {
    const own = rows.filter((row) => row.series === place);
    const clients = own.reduce((sum, row) => sum + row.clients, 0);
    const seconds = Object.fromEntries(PARTS.map(({ column }) => [column,
      own.reduce((sum, row) => sum + row.seconds[column] * row.clients, 0) / clients]));
    return { label: own[0].label, clients, seconds };
  });
}

function phaseFinding(chosen) {
  const rows = phaseRows(chosen);
  const several = new Set(rows.map((row) => row.series)).size > 1;
  const said = (several ? seriesTogether(rows) : rows).map((row) => {
    const whole = phaseTotal(row);
    const parts = PARTS.map(({ column, name }) => ({ name, part: whole > 0 ? row.seconds[column] / whole : 0 }))
      .sort((a, b) => b.part - a.part).filter(({ part }) => part >= 0.005);
    return `${several ? row.label : row.device}: ${parts.slice(0, 2).map(({ name, part }) => `${share(part)} ${name}`).join(", ")}`;
  });
  return clauses(said, 6);
}

function phaseSpec(chosen, theme, width) {
  const { rows, headings } = phaseLayout(chosen);
  const asShare = chosen.as === "share";
  const unit = asShare ? { name: "%", size: 0.01 } : timeUnit(greatest(rows.map(phaseTotal)));
  const limit = Math.min(190, width / 3.4);
  const pieces = rows.flatMap((row) => {
    const whole = phaseTotal(row);
    let start = 0;
    return PARTS.map(({ column, name }) => {
      const size = (asShare ? row.seconds[column] / (whole || 1) : row.seconds[column]) / unit.size;
      start += size;
      return { y: row.y, name, start: start - size, end: start };
    }).filter((piece) => piece.end > piece.start);
  });
  const ends = rows.map((row) => ({ y: row.y + 11, end: asShare ? 100 : phaseTotal(row) / unit.size,
    text: duration(phaseTotal(row)) }));
  const plotWidth = Math.max(120, width - Math.max(...rows.map((row) => textWidth(fitted(row.name, limit)))) - 16);
  const stretch = plotWidth / (plotWidth - Math.max(...ends.map(({ text }) => textWidth(text, 11))) - 12);
  const names = PARTS.filter(({ name }) => pieces.some((piece) => piece.name === name));
  return {
    data: [{ name: "pieces", values: pieces }, { name: "ends", values: ends },
      { name: "headings", values: headings }],
    scales: [
      { name: "x", type: "linear", domain: [0, Math.max(...ends.map((end) => end.end)) * stretch], range: "width",
        nice: false, zero: true },
      { name: "y", type: "linear", domain: [0, { signal: "height" }], range: [0, { signal: "height" }], nice: false },
      { name: "colour", type: "ordinal", domain: names.map(({ name }) => name),
        range: names.map(({ colour }) => theme.phases[colour]) },
    ],
    axes: [
      { orient: "bottom", scale: "x", tickCount: Math.max(3, Math.floor(width / 110)),
        title: asShare ? "Share of a client's time in rounds (%)" : `Mean time of a client in rounds (${unit.name})`,
        ...(asShare ? { values: [0, 25, 50, 75, 100] } : {}) },
      { orient: "left", scale: "y", domain: false, ticks: false, values: rows.map((row) => row.y + 11),
        labelColor: theme.ink, labelFontSize: 11.5, labelLimit: limit, labelOverlap: false,
        encode: { labels: { update: { text: { signal: `${JSON.stringify(Object.fromEntries(rows.map((row) => [row.y + 11, fitted(row.name, limit)])))}[datum.value]` } } } } },
    ],
    legends: [{ fill: "colour", orient: "top", symbolType: "square", symbolStrokeWidth: 0, offset: 8,
      columns: legendColumns(names.map(({ name }) => name), width - 60) }],
    marks: [
      { type: "rect", from: { data: "pieces" }, encode: { update: { x: { scale: "x", field: "start" },
        x2: { scale: "x", field: "end" }, y: { scale: "y", field: "y", offset: 2 },
        height: { value: 18 }, fill: { scale: "colour", field: "name" } } } },
      { type: "text", from: { data: "ends" }, encode: { update: { x: { scale: "x", field: "end", offset: 7 },
        y: { scale: "y", field: "y" }, baseline: { value: "middle" }, text: { field: "text" },
        fontSize: { value: 11 }, fill: { value: theme.soft } } } },
      { type: "text", from: { data: "headings" }, encode: { update: { x: { value: 0 }, y: { scale: "y", field: "y" },
        text: { field: "text" }, fontWeight: { value: 600 }, baseline: { value: "middle" } } } },
    ],
  };
}

function phaseTip(chosen, view, x, y) {
  const row = phaseLayout(chosen).rows.find((one) => y >= one.y && y < one.y + 24);
  if (!row) return null;
  const whole = phaseTotal(row);
  return { title: `${row.label}, ${row.device} (${counted(row.clients, "client")})`,
    lines: [...PARTS.filter(({ column }) => row.seconds[column] > 0)
      .map(({ column, name, colour }) => [currentTheme().phases[colour],
      `${name}: ${duration(row.seconds[column])}, ${share(row.seconds[column] / (whole || 1))}`]),
        [null, `together: ${duration(whole)}`]] };
}

function phaseTable(chosen) {
  return {
    caption: "Mean time of a client in rounds over the whole run.",
    columns: [{ title: "Series", text: true }, { title: "Devices", text: true }, { title: "Clients" },
      ...PARTS.map(({ name }) => ({ title: capital(name) })), { title: "Together" }],
    rows: phaseRows(chosen).map((row) => [row.label, row.device, whole(row.clients),
      ...PARTS.map(({ column }) => duration(row.seconds[column])), duration(phaseTotal(row))]),
  };
}
