"use strict";
// Accuracy against simulated time, rounds, traffic and energy: a line and a band of seeds for each series.

function showCurves(section) {
  const axes = ["time", "rounds", "traffic", "energy"].filter((axis) => axis !== "energy" || runs.some(countsJoules));
  if (!axes.includes("energy")) section.append(element("p", { class: "note" },
    "Joules were not counted, so there is no figure against energy."));
  const measured = Object.keys(MEASURES).filter((measure) => runs.some((run) => run.rounds[measure].some(isNumber)));
  const own = [];
  if (measured.length > 1) {
    section.append(element("div", { class: "controls" }, choice("Shown",
      measured.map((measure) => ({ value: measure, label: capital(MEASURES[measure].name) })), measured[0],
      (measure) => own.forEach((figure) => figure.choose({ measure })))));
  }
  const grid = element("div", { class: "grid" });
  section.append(grid);
  const against = { time: "simulated time", rounds: "rounds", traffic: "traffic", energy: "energy" };
  for (const axis of axes) {
    const figure = new Figure({
      id: `accuracy-${axis}`, title: `${capital(metricName())} against ${against[axis]}`, about: aboutCurve(axis),
      half: axes.length === 4 || axis !== "time", chosen: { measure: measured[0] ?? "accuracy", axis },
      absent: curveAbsent, finding: curveFinding, height: () => (axis === "time" && axes.length < 4 ? 330 : 250),
        spec: curveSpec, tip: curveTip,
      tipGone: (view) => view?.signal("pointed", null).run(), table: curveTable,
    });
    own.push(figure);
    grid.append(figure.element);
  }
}

function aboutCurve(axis) {
  const seeds = runs.length > series.length
    ? " Lines are means over seeds, bands reach from the least to the greatest seed." : "";
  return {
    time: `Of the global model on the test rows, at the simulated second at which a round ended.${seeds}`,
    rounds: "After each round; round 0 is before training.",
    traffic: "Bytes sent by and to all clients until then.",
    energy: "Joules of all devices until then.",
  }[axis];
}

function curveAbsent({ axis, measure }) {
  if (!runs.length) return "There are no runs.";
  if (!runs.some((run) => run.rounds.round.length)) return "No round was recorded, so there is nothing to draw.";
  if (!runs.some((run) => run.rounds[measure].some(isNumber))) {
    return runs.some((run) => run.learned) ? `No ${MEASURES[measure].name} was measured in any round.`
      : `Nothing was learned (timing only), so there is no ${MEASURES[measure].name}.`;
  }
  const bands = bandsOf({ axis, measure }).map(({ band }) => band);
  if (bands.every((band) => band.length < 2)) {
    return axis !== "rounds" && axis !== "time" && !runs.some((run) => total(AXES[axis].of(run)) > 0) ? noneOf(axis)
      : `Only round 0, before training, was measured: there is no curve yet. ${curveStart(measure)}`;
  }
  return bands.every((band) => !(band[band.length - 1]?.x > 0)) ? noneOf(axis) : null;
}

function noneOf(axis) {
  return axis === "traffic" ? "Nothing travelled between clients and server, so there is no curve against traffic."
    : `Nothing was counted for ${AXES[axis].title.toLowerCase()}.`;
}

function curveStart(measure) {
  const values = runs.map((run) => lastOf(run.rounds[measure])).filter(isNumber);
  return values.length ? `It starts at ${meanAndRange(values, MEASURES[measure].text)}.` : "";
}

const knownBands = new Map();

function bandsOf({ axis, measure }) {
  const key = `${axis} ${measure}`;
  if (!knownBands.has(key)) knownBands.set(key, series.map((one, place) =>
    ({ label: one.label, place, band: bandOf(one, axis, measure) })));
  return knownBands.get(key);
}

function curveFinding({ axis, measure }) {
  const { text } = MEASURES[measure];
  const curves = bandsOf({ axis, measure }).filter(({ band }) => band.length);
  const told = curves.length > 5 ? mostAndLeast(curves) : curves;
  const ends = told.map(({ label, band }) => {
    const end = band[band.length - 1];
    const at = axis === "rounds" ? AXES.rounds.text(end.x) : AXES[axis].text(end.x);
    const range = end.seeds > 1 && axis === "time" ? ` (${text(end.low)} to ${text(end.high)})` : "";
    return `${label} ends at ${text(end.mean)}${range} after ${at}`;
  });
  return curves.length > 5 ? `Of ${counted(curves.length, "series", "series")}, from most to least: ${clauses(ends)}`
    : clauses(ends);
}

function mostAndLeast(curves) {
  const sorted = [...curves].sort((a, b) => b.band[b.band.length - 1].mean - a.band[a.band.length - 1].mean);
  return [sorted[0], sorted[sorted.length - 1]];
}

function curveSpec({ axis, measure }, theme, width) {
  const bands = bandsOf({ axis, measure });
  const points = bands.flatMap(({ label, band }) => band.map((point) => ({ label, ...point })));
  const unit = AXES[axis].unit(greatest(points.map((point) => point.x)));
  points.forEach((point) => (point.x /= unit.size));
  const ends = bands.filter(({ band }) => band.length).map(({ label, place, band }) =>
    ({ label, shape: seriesShape(place), x: band[band.length - 1].x / unit.size, mean: band[band.length - 1].mean }));
  const target = measure === "accuracy" && report.target ? report.target.accuracy : null;
  const values = [...points.flatMap((point) => [point.low, point.high]), ...(target === null ? [] : [target])];
  const [low, high] = [least(values), greatest(values)];
  const spread = Math.max(high - low, 0.02);
  const drawn = axis === "rounds" ? "linear" : "step-after";
  const labels = bands.map(({ label }) => label);
  const colour = { scale: "colour", field: "label" };
  const marks = [{
    type: "group", from: { facet: { name: "of", data: "points", groupby: "label" } },
    marks: [
      { type: "area", from: { data: "of" }, encode: { update: { x: { scale: "x", field: "x" },
        y: { scale: "y", field: "low" }, y2: { scale: "y", field: "high" },
        fill: colour, fillOpacity: { value: theme === DARK ? 0.24 : 0.17 }, interpolate: { value: drawn } } } },
      { type: "line", from: { data: "of" }, encode: { update: { x: { scale: "x", field: "x" },
        y: { scale: "y", field: "mean" }, stroke: colour,
        strokeDash: { scale: "dash", field: "label" }, strokeWidth: { value: 2 }, strokeJoin: { value: "round" },
          interpolate: { value: drawn } } } },
    ],
  }, {
    type: "symbol", from: { data: "ends" }, encode: { update: { x: { scale: "x", field: "x" },
      y: { scale: "y", field: "mean" }, shape: { field: "shape" },
      fill: colour, stroke: { value: theme.paper }, strokeWidth: { value: 1 }, size: { value: 75 } } },
  }, {
    type: "rule", encode: { update: { x: { scale: "x", signal: "pointed" }, y: { value: 0 }, y2: { signal: "height" },
      stroke: { value: theme.soft },
      strokeWidth: { value: 1 }, opacity: { signal: "pointed === null ? 0 : 0.8" } } },
  }];
  if (target !== null) {
    marks.unshift({ type: "rule", encode: { update: { x: { value: 0 }, x2: { signal: "width" },
      y: { scale: "y", value: target }, stroke: { value: theme.target },
      strokeDash: { value: [5, 4] }, strokeWidth: { value: 1 } } } });
    const named = (look) => ({ type: "text", encode: { update: { x: { value: 5 },
      y: { scale: "y", value: target, offset: -5 }, text: { value: `target ${accuracy(target)}` },
      fontSize: { value: 11 }, ...look } } });
    marks.push(named({ stroke: { value: theme.paper }, strokeWidth: { value: 4 }, strokeJoin: { value: "round" } }),
      named({ fill: { value: theme.soft } }));
  }
  return {
    signals: [{ name: "pointed", value: null }],
    data: [{ name: "points", values: points }, { name: "ends", values: ends }],
    scales: [
      { name: "x", type: "linear", domain: [0, Math.max(...points.map((point) => point.x)) * 1.015], range: "width",
        nice: false, zero: true },
      { name: "y", type: "linear", domain: [Math.max(0, low - 0.06 * spread), high + 0.08 * spread], range: "height",
        nice: true, zero: false },
      { name: "colour", type: "ordinal", domain: labels, range: bands.map(({ place }) => seriesColour(theme,
        place)) },
      { name: "dash", type: "ordinal", domain: labels, range: bands.map(({ place }) => seriesDash(place)) },
      { name: "shape", type: "ordinal", domain: labels, range: bands.map(({ place }) => seriesShape(place)) },
    ],
    axes: [
      { orient: "left", scale: "y", grid: true, domain: false, ticks: false, tickCount: 6,
        title: capital(MEASURES[measure].name), titleLimit: 260 },
      { orient: "bottom", scale: "x", tickCount: Math.max(3, Math.floor(width / 90)),
        ...(axis === "rounds" ? { tickMinStep: 1, format: "d" } : {}),
        title: unit.name ? `${AXES[axis].title} (${unit.name})` : AXES[axis].title },
    ],
    legends: labels.length < 2 ? [] : [{ stroke: "colour", fill: "colour", shape: "shape", orient: "top", offset: 6,
      symbolType: "circle", symbolSize: 70, columns: legendColumns(labels, width - 40) }],
    marks,
  };
}

function curveTip({ axis, measure }, view, x) {
  const bands = bandsOf({ axis, measure });
  const unit = AXES[axis].unit(greatest(bands.flatMap(({ band }) => band.map((point) => point.x))));
  const at = view.scale("x").invert(x) * unit.size;
  const place = axis === "rounds" ? Math.round(at) : at;
  view.signal("pointed", place / unit.size).run();
  const lines = bands.map((one) => ({ ...one, point: bandAt(one.band, place) })).filter(({ point }) => point)
    .map(({ label, place: own, point }) => {
    const range = point.seeds > 1 ? `, ${MEASURES[measure].text(point.low)} to ${MEASURES[measure].text(point.high)}`
      : "";
    return [seriesColour(currentTheme(), own), `${label}: ${MEASURES[measure].text(point.mean)}${range}`];
  });
  return lines.length ? { title: AXES[axis].text(place), lines } : null;
}

function curveTable({ axis, measure }) {
  const { text, name } = MEASURES[measure];
  const rows = bandsOf({ axis, measure }).flatMap(({ label, band }) =>
    band.map((point) => [label, AXES[axis].text(point.x), text(point.mean),
    point.seeds > 1 ? text(point.low) : null, point.seeds > 1 ? text(point.high) : null,
      point.seeds > 1 ? `${point.running} of ${point.seeds}` : null]));
  return withoutEmptyColumns({
    caption: `${capital(name)} against ${AXES[axis].title.toLowerCase()}.`,
    columns: [{ title: "Series", text: true }, { title: AXES[axis].title }, { title: capital(name) },
      { title: "Least seed" }, { title: "Greatest seed" }, { title: "Seeds still running" }],
    rows,
  });
}
