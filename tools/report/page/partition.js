"use strict";
// How the training rows lie on clients and classes.

function showPartition(section) {
  section.append(new Figure({
    id: "partition-rows", title: "Training rows by client and class",
      about: "A column is a client, a row is a class of the task, the colour says how many training rows of it the client holds. "
      + "Bars above: all of its rows.",
    chosen: { run: "0" }, controls: (own) => [runChoice(own, runs)], absent: ({ run }) => partitionAbsent(runs[run]),
      finding: ({ run }) => partitionFinding(runs[run]),
    height: ({ run }) => partitionHeight(runs[run]), spec: partitionSpec, tip: partitionTip, table: partitionTable,
  }).element);
}

const BARS_HEIGHT = 64;

function classCount(run) {
  return Math.max(run.classes.length, run.clients.classRows.reduce((most, rows) => Math.max(most, rows?.length ?? 0),
    0));
}

function hasClassRows(run) {
  return classCount(run) > 0 && run.clients.classRows.some((rows) => rows?.some((count) => count > 0));
}

function partitionAbsent(run) {
  if (!run) return "There are no runs.";
  if (!run.clients.device.length) return "There are no clients.";
  return run.clients.trainRows.some((rows) => rows > 0) || hasClassRows(run) ? null
    : "No training rows were recorded.";
}

function classHeight(run) {
  const count = classCount(run);
  return count <= 12 ? 20 : count <= 30 ? 13 : Math.max(3, 400 / count);
}

function partitionHeight(run) {
  return BARS_HEIGHT + 10 + (hasClassRows(run) ? classCount(run) * classHeight(run) : 40);
}

function partitionFinding(run) {
  const rows = [...run.clients.trainRows].filter(isNumber).sort((a, b) => a - b);
  const holds = rows.length === 1 ? "holds" : "hold";
  const held = `${counted(rows.length, "client")} ${holds} ${counted(total(rows) ?? 0, "training row")}, `
    + `from ${whole(rows[0])} to ${whole(rows[rows.length - 1])} (median ${whole(quantile(rows, 0.5))}).`;
  if (!hasClassRows(run)) return `${held} Rows have no classes.`;
  const classes = run.clients.classRows.map((counts) => counts.filter((count) => count > 0).length)
    .sort((a, b) => a - b);
  const shares = run.clients.classRows.map((counts) => Math.max(...counts) / (total(counts) || 1));
  return `${held} A client holds ${whole(quantile(classes, 0.5))} of ${counted(classCount(run), "class", "classes")} `
    + `in the median; the largest class makes up ${share(mean(shares))} of its rows on average.`;
}

function className(run, place) {
  return run.classes[place] ?? `class ${place}`;
}

function partitionSpec({ run: chosen }, theme, width) {
  const run = runs[chosen];
  const clients = run.clients.device.length;
  const classes = hasClassRows(run) ? classCount(run) : 0;
  const counts = [...new Set(run.clients.classRows.flat().filter((count) => count > 0))].sort((a, b) => a - b);
  const { levels, levelOf } = classes ? levelsOf(counts, theme, false) : { levels: [], levelOf: null };
  const paths = classes ? cellPaths(classes, clients, (row, client) => {
    const count = run.clients.classRows[client]?.[row];
    return count > 0 ? levelOf(count) : null;
  }, classHeight(run) > 8 ? 0.08 : 0, clients <= 60 ? 0.06 : 0) : new Map();
  const most = greatest(run.clients.trainRows) || 1;
  const gap = clients > 150 ? 0 : 0.14;
  const bars = run.clients.trainRows.map((rows, client) => (rows > 0
    ? rectangle(client + gap / 2, 1 - rows / most, 1 - gap, rows / most) : "")).join("");
  const top = BARS_HEIGHT + 10;
  const mapHeight = classes * classHeight(run);
  const step = stepOf(clients / Math.max(1, width / 40));
  const nameLimit = Math.min(150, width / 4);
  const names = Array.from({ length: classes }, (_, place) => fitted(className(run, place), nameLimit, 11));
  const everyClass = Math.ceil(12 / classHeight(run));
  const clientAxis = { orient: "bottom", scale: "column", domain: false, title: "Client",
    values: Array.from({ length: clients }, (_, client) => client + 0.5).filter((_, client) => client % step === 0),
    encode: { labels: { update: { text: { signal: "format(floor(datum.value), 'd')" } } } } };
  const column = { name: "column", type: "linear", domain: [0, clients], range: "width", nice: false, zero: false };
  return {
    data: [{ name: "cells", values: levels.filter((level) => paths.has(level.name))
      .map((level) => ({ name: level.name, path: paths.get(level.name) })) }],
    scales: [column,
      { name: "rows", type: "linear", domain: [0, most], range: [BARS_HEIGHT, 0], nice: false, zero: true },
      { name: "class", type: "linear", domain: [0, Math.max(classes, 1)], range: [top, top + Math.max(mapHeight, 1)],
        nice: false, zero: false },
      { name: "colour", type: "ordinal", domain: levels.map((level) => level.name),
        range: levels.map((level) => level.colour) }],
    axes: [
      { orient: "left", scale: "rows", tickCount: 2, grid: true, domain: false, ticks: false, title: "Rows",
        titleY: BARS_HEIGHT / 2 },
      ...(classes ? [{ orient: "left", scale: "class", domain: false, ticks: false, labelLimit: nameLimit + 10,
        labelOverlap: false, values: names.map((_, place) => place + 0.5)
        .filter((_, place) => place % everyClass === 0),
        encode: { labels: { update: { text: { signal: `${JSON.stringify(names)}[floor(datum.value)]` } } } } }] : []),
      classes ? clientAxis : { ...clientAxis, offset: BARS_HEIGHT + 4 - partitionHeight(run) },
    ],
    legends: classes ? [{ fill: "colour", orient: "top", title: "Rows of a class", symbolType: "square",
      symbolStrokeWidth: 0, offset: 8, columns: legendColumns(levels.map(({ name }) => name), width - 60) }] : [],
    marks: [
      { type: "path", encode: { update: { path: { value: bars || "M0 0Z" }, fill: { value: theme.phases.off },
        scaleX: { signal: `width / ${clients}` }, scaleY: { value: BARS_HEIGHT } } } },
      { type: "path", from: { data: "cells" }, encode: { update: { path: { field: "path" }, y: { value: top },
        fill: { scale: "colour", field: "name" }, scaleX: { signal: `width / ${clients}` },
        scaleY: { value: classHeight(run) } } } },
      { type: "rect", interactive: false, encode: { update: { x: { value: 0 }, y: { value: top },
        x2: { signal: "width" }, height: { value: mapHeight }, stroke: { value: theme.line },
        strokeWidth: { value: classes ? 0.5 : 0 } } } },
    ],
  };
}

function partitionTip({ run: chosen }, view, x, y) {
  const run = runs[chosen];
  const clients = run.clients.device.length;
  const client = Math.min(clients - 1, Math.floor((x / view.width()) * clients));
  const lines = [[null, `${counted(run.clients.trainRows[client] ?? 0, "training row")}`]];
  const at = Math.floor((y - BARS_HEIGHT - 10) / classHeight(run));
  if (at >= 0 && at < classCount(run) && hasClassRows(run)) lines.push([null,
    `${className(run, at)}: ${whole(run.clients.classRows[client]?.[at] ?? 0)}`]);
  if (isNumber(run.clients.testRows[client])) lines.push([null,
    counted(run.clients.testRows[client], "own test row")]);
  return { title: capital(clientAndDevice(run, client)), lines };
}

function partitionTable({ run: chosen }) {
  const run = runs[chosen];
  const classes = hasClassRows(run) ? Array.from({ length: Math.min(classCount(run), 40) }, (_, place) => place) : [];
  return {
    caption: `Training rows in ${run.name}.${classCount(run) > classes.length && classes.length ? ` The first ${classes.length} of ${classCount(run)} classes.` : ""}`, count: run.clients.device.length,
    columns: [{ title: "Client" }, { title: "Device", text: true }, { title: "Training rows" },
      { title: "Own test rows" }, ...classes.map((place) => ({ title: className(run, place) }))],
    rows: run.clients.device.slice(0, MOST_TABLE_ROWS).map((device, client) => [client, device,
      whole(run.clients.trainRows[client]), whole(run.clients.testRows[client]),
      ...classes.map((place) => whole(run.clients.classRows[client]?.[place] ?? 0))]),
  };
}
