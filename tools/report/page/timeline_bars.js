"use strict";
// A run's events as bars: prepared once for each row, and drawn for the window that is looked at.

const PHASES = ["download", "train", "upload", "merge", "groupDownload", "groupUpload"];
const PHASE_NAMES = { download: "download", train: "compute", upload: "upload", merge: "merge",
  groupDownload: "group download", groupUpload: "group upload",
  broken: "broken off", cancelled: "given up" };
const ENDS = [null, "broken", "cancelled"];

// A path of so many bars still zooms smoothly; beyond, neighbours narrower than a pixel's fraction are joined.
const MOST_BARS = 24000;

const knownRows = new Map();
const knownPaths = new Map();

// Events of a run by client, each list by start.
function eventsByClient(run) {
  if (!knownRows.has(run)) {
    const { events } = run;
    const found = new Map();
    events.client.forEach((client, place) => {
      if (!isNumber(events.startS[place]) || !isNumber(events.endS[place])) return;
      if (!found.has(client)) found.set(client, []);
      found.get(client).push(place);
    });
    for (const places of found.values()) places.sort((a, b) => events.startS[a] - events.startS[b]);
    knownRows.set(run, found);
  }
  return knownRows.get(run);
}

// Rows from the top: server, gateways, the chosen clients.
function timelineRows(run, subset) {
  const found = eventsByClient(run);
  const others = [...found.keys()].filter((client) => client < 0).sort((a, b) => b - a);
  // Where everything happens on the server, rows of clients say nothing.
  return run.parts.client.length ? [...others, ...byClass(run, subsetOf(run, subset).clients)] : others;
}

function looks(run, place) {
  return ENDS[run.events.end[place]] ?? PHASES[run.events.phase[place]];
}

// Paths in seconds and rows, one for each look, of what lies within the window [from, to].
function timelinePaths(run, rows, [from, to], pixels) {
  const { events } = run;
  const found = eventsByClient(run);
  const inside = rows.map((client) => (found.get(client) ?? [])
    .filter((place) => events.endS[place] >= from && events.startS[place] <= to));
  const count = inside.reduce((sum, places) => sum + places.length, 0);
  const narrow = count > MOST_BARS ? ((to - from) / pixels) * Math.min(4, count / MOST_BARS) : 0;
  const pieces = new Map();
  const put = (look, start, end, row) => {
    if (!pieces.has(look)) pieces.set(look, []);
    // Times are told from the window's start: single precision of a canvas has no room for long runs.
    const left = (Math.max(start, from) - from).toPrecision(7);
    const right = (Math.min(end, to) - from).toPrecision(7);
    pieces.get(look).push(`M${left} ${row + 0.1}H${right}V${row + 0.9}H${left}Z`);
  };
  inside.forEach((places, row) => {
    let open = null;
    for (const place of places) {
      const look = looks(run, place);
      const start = events.startS[place];
      const end = events.endS[place];
      if (open && end - open.start < narrow) {
        open.time.set(look, (open.time.get(look) ?? 0) + end - start);
        open.end = Math.max(open.end, end);
        continue;
      }
      if (open) put(longest(open.time), open.start, open.end, row);
      open = { start, end, time: new Map([[look, end - start]]) };
    }
    if (open) put(longest(open.time), open.start, open.end, row);
  });
  return { joined: narrow > 0, bars: [...pieces].map(([look, path]) => ({ look, path: path.join("") })) };
}

function longest(time) {
  return [...time].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

// From each round's start to its end along the client whose part ended it: {round, client, startS, endS}.
function criticalPath(run) {
  if (!knownPaths.has(run)) knownPaths.set(run, criticalPathOf(run));
  return knownPaths.get(run);
}

function criticalPathOf(run) {
  const rounds = new Map(run.rounds.round.map((round, place) => [round, place]));
  const begun = new Map();
  const { events } = run;
  events.client.forEach((client, place) => {
    const key = `${client} ${events.round[place]}`;
    if (!(begun.get(key) <= events.startS[place])) begun.set(key, events.startS[place]);
  });
  const found = [];
  run.parts.critical.forEach((critical, place) => {
    if (!critical) return;
    const round = run.parts.round[place];
    const client = run.parts.client[place];
    const startS = begun.get(`${client} ${round}`) ?? run.rounds.startS[rounds.get(round)];
    if (isNumber(startS) && isNumber(run.parts.endS[place])) found.push({ round, client, startS,
      endS: run.parts.endS[place] });
  });
  return found.sort((a, b) => a.endS - b.endS);
}

// How often each client ended a round, most first: [[client, rounds], ...].
function criticalCounts(run) {
  const counts = new Map();
  for (const { client } of criticalPath(run)) counts.set(client, (counts.get(client) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

// The event at a date in a row, or nothing.
function eventAt(run, client, date, slack) {
  const { events } = run;
  const places = eventsByClient(run).get(client) ?? [];
  let best = null;
  for (const place of places) {
    if (events.startS[place] > date + slack) break;
    if (events.endS[place] >= date - slack && (best === null || events.endS[place] >= date)) {
      best = place;
      if (events.startS[place] <= date && events.endS[place] >= date) break;
    }
  }
  return best;
}
