"use strict";
// Curves of runs, and of a series of runs that differ in their seed: mean and range at common places.

const report = window.FEDCLOCK;
const runs = report.runs;
const series = report.series;

// What is on the x axis: a column of places, one for each round.
const AXES = {
  time: { title: "Simulated time", of: (run) => run.rounds.endS, unit: timeUnit, text: duration },
  rounds: { title: "Round", of: (run) => run.rounds.round, unit: roundUnit,
    text: (round) => `round ${whole(round)}` },
  traffic: { title: "Traffic so far, up and down", of: (run) => summed(traffic(run)), unit: byteUnit, text: bytes },
  energy: { title: "Energy so far", of: (run) => summed(run.rounds.joules), unit: jouleUnit, text: joules },
};

const MEASURES = {
  accuracy: { name: metricName(), text: accuracy },
  clientAccuracy: { name: `mean ${metricName()} on clients' own test rows`, text: accuracy },
  loss: { name: "test loss in nats", text: short },
  trainLoss: { name: "training loss in nats", text: short },
};

function metricName() {
  const metrics = new Set(runs.map((run) => run.metric));
  return metrics.has("rouge_l") ? (metrics.size > 1 ? "accuracy or ROUGE-L" : "ROUGE-L") : "accuracy";
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function traffic(run) {
  return run.rounds.bytesUp.map((up, place) => (up === null && run.rounds.bytesDown[place] === null ? null : (up ?? 0)
    + (run.rounds.bytesDown[place] ?? 0)));
}

// Nothing where nothing was ever counted.
function summed(column) {
  if (!column.some(isNumber)) return column.map(() => null);
  let sum = 0;
  return column.map((value) => (sum += value ?? 0));
}

function lastOf(column) {
  for (let place = column.length - 1; place >= 0; --place) if (isNumber(column[place])) return column[place];
  return null;
}

function trainedRounds(run) {
  return run.rounds.round.filter((round) => round > 0).length;
}

function countsJoules(run) {
  return run.rounds.joules.some((value) => value > 0);
}

function curveOf(run, axis, measure) {
  const places = AXES[axis].of(run);
  const points = [];
  run.rounds[measure].forEach((y, place) => {
    if (isNumber(y) && isNumber(places[place])) points.push({ x: places[place], y, round: run.rounds.round[place] });
  });
  return points;
}

// At every place where a run of the series was measured: mean, least and greatest of what each run had last.
// A run that ended keeps its last value; `running` says how many had not.
function bandOf(one, axis, measure) {
  const curves = one.runs.map((place) => curveOf(runs[place], axis, measure)).filter((curve) => curve.length);
  if (!curves.length) return [];
  const places = [...new Set(curves.flatMap((curve) => curve.map((point) => point.x)))].sort((a, b) => a - b);
  const next = curves.map(() => 0);
  const band = [];
  for (const x of places) {
    curves.forEach((curve, at) => {
      while (next[at] < curve.length && curve[next[at]].x <= x) ++next[at];
    });
    if (next.some((at) => at === 0)) continue;
    const values = curves.map((curve, at) => curve[next[at] - 1].y);
    band.push({ x, mean: mean(values), low: Math.min(...values), high: Math.max(...values), seeds: values.length,
      running: curves.filter((curve) => curve[curve.length - 1].x >= x).length });
  }
  return band;
}

// The last point of a band at or before a place.
function bandAt(band, x) {
  let found = null;
  for (const point of band) {
    if (point.x > x) break;
    found = point;
  }
  return found;
}

function finalValues(one, measure = "accuracy") {
  return one.runs.map((place) => lastOf(runs[place].rounds[measure]));
}

function seedsText(count) {
  return count > 1 ? `mean of ${count} seeds` : "1 seed";
}
