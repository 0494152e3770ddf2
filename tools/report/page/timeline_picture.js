"use strict";
// What the timeline shows of a window: Vega's spec, tooltips, the table behind it.

function timelineTitle(unit) {
  return `Simulated time (${unit.name})`;
}

function timelineData(chosen, pixels) {
  const run = runs[chosen.run];
  const window = chosen.window ?? wholeRun(run);
  const { bars } = timelinePaths(run, timelineRows(run, chosen.subset), window, pixels);
  // A window late in a long run still tells dates in the run's unit.
  const unit = timeUnit(window[1]);
  const starts = run.rounds.round.map((round, place) => ({ round, at: run.rounds.startS[place] }))
    .filter(({ round, at }) => round > 0 && at >= window[0] && at <= window[1]);
  const every = stepOf(starts.length / Math.max(1, pixels / 44));
  return { bars, unit, roundStarts: starts.map(({ round, at }) =>
    ({ at, round, text: round % every === 0 || every === 1 ? String(round) : "" })) };
}

function criticalLine(run, rows, [from, to]) {
  const place = new Map(rows.map((client, row) => [client, row]));
  return criticalPath(run).filter(({ client, startS, endS }) => place.has(client) && endS >= from && startS <= to)
    .flatMap(({ client, startS, endS }) => [{ at: startS, row: place.get(client) + 0.5 },
      { at: endS, row: place.get(client) + 0.5 }]);
}

function timelineSpec(chosen, theme, width) {
  const run = runs[chosen.run];
  const rows = timelineRows(run, chosen.subset);
  const window = chosen.window ?? wholeRun(run);
  const { bars, unit, roundStarts } = timelineData(chosen, width);
  const known = new Set(run.events.client.map((_, place) => looks(run, place)));
  const shown = Object.keys(PHASE_NAMES).filter((look) => known.has(look));
  const critical = criticalLine(run, rows, window);
  const legend = [...shown.map((look) => PHASE_NAMES[look]), ...(criticalPath(run).length ? ["critical path"] : [])];
  const line = (stroke, strokeWidth) => ({ type: "line", clip: true, from: { data: "critical" },
    encode: { update: { x: { signal: "scale('seconds', datum.at)" },
    y: { scale: "row", field: "row" }, stroke: { value: stroke }, strokeWidth: { value: strokeWidth },
      strokeJoin: { value: "round" } } } });
  return {
    signals: [{ name: "from", value: window[0] }, { name: "to", value: window[1] },
      { name: "unit", value: unit.size }, { name: "title", value: timelineTitle(unit) }],
    data: [{ name: "bars", values: bars }, { name: "roundStarts", values: roundStarts },
      { name: "critical", values: critical },
      { name: "stripes", values: rows.map((_, row) => ({ row })).filter(({ row }) => row % 2) }],
    scales: [
      { name: "x", type: "linear", domain: [{ signal: "from / unit" }, { signal: "to / unit" }], range: "width",
        nice: false, zero: false },
      { name: "seconds", type: "linear", domain: [{ signal: "from" }, { signal: "to" }], range: "width", nice: false,
        zero: false },
      { name: "row", type: "linear", domain: [0, rows.length], range: [0, { signal: "height" }], nice: false,
        zero: false },
      { name: "look", type: "ordinal", domain: shown, range: shown.map((look) => theme.phases[look]) },
      { name: "legend", type: "ordinal", domain: legend, range: [...shown.map((look) => theme.phases[look]),
        theme.ink] },
    ],
    axes: [{ orient: "bottom", scale: "x", tickCount: Math.max(3, Math.floor(width / 100)),
      title: { signal: "title" } }, ...rowAxes(run, rows, width, "Client")],
    legends: [{ fill: "legend", orient: "top", symbolType: "square", symbolStrokeWidth: 0, offset: 22,
      columns: legendColumns(legend, width - 60),
      encode: { symbols: { update: { shape: { signal: "datum.value === 'critical path' ? 'M-1,-0.2H1V0.2H-1Z' : 'square'" } } } } }],
    marks: [
      { type: "rect", from: { data: "stripes" }, encode: { update: { x: { value: 0 }, x2: { signal: "width" },
        y: { scale: "row", field: "row" }, height: { signal: "height / " + rows.length },
        fill: { value: theme.grid }, fillOpacity: { value: 0.45 } } } },
      { type: "rule", from: { data: "roundStarts" }, encode: { update: { x: { signal: "scale('seconds', datum.at)" },
        y: { value: 0 }, y2: { signal: "height" },
        stroke: { value: theme.line }, strokeWidth: { signal: "datum.text === '' ? 0 : 0.6" } } } },
      { type: "text", from: { data: "roundStarts" }, encode: { update: { x: { signal: "scale('seconds', datum.at)" },
        y: { value: -6 }, text: { field: "text" }, align: { value: "left" },
        fontSize: { value: 10.5 }, fill: { value: theme.soft } } } },
      { type: "text", encode: { update: { x: { value: -6 }, y: { value: -6 },
        text: { value: roundStarts.length ? "Round" : "" }, align: { value: "right" }, fontSize: { value: 10.5 },
        fill: { value: theme.soft } } } },
      { type: "group", clip: true, encode: { update: { width: { signal: "width" }, height: { signal: "height" } } },
        marks: [
        { type: "path", from: { data: "bars" }, encode: { update: { path: { field: "path" },
          fill: { scale: "look", field: "look" },
          scaleX: { signal: "width / (to - from)" }, scaleY: { signal: "height / " + rows.length } } } }] },
      line(theme.paper, rows.length > 40 ? 3 : 4), line(theme.ink, rows.length > 40 ? 1.3 : 1.8),
    ],
  };
}

function timelineTip({ run: chosen, subset, window }, view, x, y) {
  const run = runs[chosen];
  const rows = timelineRows(run, subset);
  const client = rows[Math.min(rows.length - 1, Math.floor((y / view.height()) * rows.length))];
  const date = view.scale("seconds").invert(x);
  const [from, to] = window ?? wholeRun(run);
  const place = eventAt(run, client, date, ((to - from) / view.width()) * 1.5);
  const title = capital(clientAndDevice(run, client));
  if (place === null) return { title, lines: [[null, `${duration(date)}: no phase`]] };
  const { events } = run;
  const look = looks(run, place);
  const phase = PHASES[events.phase[place]];
  const lines = [
    [currentTheme().phases[look],
      `${capital(PHASE_NAMES[phase])} of round ${events.round[place]}${look === phase ? "" : `, ${PHASE_NAMES[look]}`}`],
    [null, `${duration(events.startS[place])} to ${duration(events.endS[place])}: ${duration(events.endS[place] - events.startS[place])}`],
  ];
  if (events.bytes[place] > 0) lines.push([null, bytes(events.bytes[place])]);
  if (criticalPath(run).some((part) => part.client === client
    && part.round === events.round[place])) lines.push([null, "On the critical path"]);
  return { title, lines };
}

function timelineFinding(run) {
  const counts = criticalCounts(run);
  const lasts = `The run lasts ${duration(run.endS)} over ${counted(trainedRounds(run), "round")}.`;
  if (!counts.length) return lasts;
  const [client, rounds] = counts[0];
  const ended = counts.reduce((sum, [, count]) => sum + count, 0);
  const device = run.clients.device[client] ? ` (${run.clients.device[client]})` : "";
  const others = `${counted(counts.length, "client")} ${counts.length === 1 ? "is" : "are"}`;
  return `${lasts} ${capital(clientName(run, client))}${device} ends ${rounds} of ${counted(ended, "round")} last; `
    + `${others} ever on the critical path.`;
}

function timelineTable({ run: chosen, subset, window }) {
  const run = runs[chosen];
  const { events } = run;
  const [from, to] = window ?? wholeRun(run);
  const found = timelineRows(run, subset).flatMap((client) => eventsByClient(run).get(client) ?? [])
    .filter((place) => events.endS[place] >= from && events.startS[place] <= to)
      .sort((a, b) => events.startS[a] - events.startS[b] || a - b);
  return {
    caption: `Phases of ${run.name} from ${duration(from)} to ${duration(to)}, by start. Zoom in to list others.`,
      count: found.length,
    columns: [{ title: "Who", text: true }, { title: "Round" }, { title: "Phase", text: true }, { title: "Start" },
      { title: "Lasts" }, { title: "Bytes" }, { title: "End", text: true }],
    rows: found.slice(0, MOST_TABLE_ROWS).map((place) => [clientAndDevice(run, events.client[place]),
      whole(events.round[place]), PHASE_NAMES[PHASES[events.phase[place]]],
      duration(events.startS[place]), duration(events.endS[place] - events.startS[place]),
        events.bytes[place] > 0 ? bytes(events.bytes[place]) : null,
      ["done", "broken off", "given up"][events.end[place]]]),
  };
}
