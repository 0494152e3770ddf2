"use strict";
// What each series spent until it reached the target, and how much less that is than the first one's.

const COSTS = {
  s: { name: "simulated time", title: "Simulated time to the target", unit: timeUnit, text: duration },
  bytes: { name: "traffic", title: "Traffic to the target", unit: byteUnit, text: bytes },
  joules: { name: "energy", title: "Energy to the target", unit: jouleUnit, text: joules },
};

// {values: of the seeds that reached it, seeds, mean: where all of them did}
function spentOf(one, cost) {
  const values = one.runs.map((place) => report.target?.reached[place]?.[cost]).filter(isNumber);
  return { values, seeds: one.runs.length, mean: values.length === one.runs.length ? mean(values) : null };
}

function speedUp(one, cost) {
  const first = spentOf(series[0], cost).mean;
  const own = spentOf(one, cost).mean;
  return isNumber(first) && own > 0 ? first / own : null;
}

function speedUpText(one, cost) {
  return times(speedUp(one, cost));
}

function reachedText(one, cost, between = " ") {
  const { values, seeds } = spentOf(one, cost);
  if (!values.length) return "not reached";
  const some = values.length < seeds ? `${between === " " ? ", " : between}${values.length} of ${seeds} seeds` : "";
  return meanAndRange(values, COSTS[cost].text, between) + some;
}

function showTarget(section) {
  const costs = Object.keys(COSTS).filter((cost) => series.some((one) => spentOf(one, cost).values.length));
  section.append(new Figure({
    id: "target-bars", title: report.target ? `Until ${metricName()} ${accuracy(report.target.accuracy)}`
      : "Until the target", about: aboutTarget(),
    chosen: { cost: costs[0] ?? "s" },
    controls: (own) => [costs.length < 2 ? null : choice("Spent",
      costs.map((cost) => ({ value: cost, label: capital(COSTS[cost].name) })), own.chosen.cost,
      (cost) => own.choose({ cost }))],
    absent: targetAbsent, finding: targetFinding, height: () => series.length * 34 + 8, spec: targetSpec,
      tip: targetTip, table: targetTable,
  }).element);
}

function aboutTarget() {
  const reason = report.target?.reason ? `Target: ${report.target.reason}. ` : "";
  const seeds = runs.length > series.length
    ? "Bars are means over seeds, thin lines reach from the least to the greatest. " : "";
  return `${reason}${seeds}${series.length > 1 ? `Speed-ups are against the first series, ${series[0].label}.` : ""}`.trim();
}

function targetAbsent({ cost }) {
  if (!runs.length) return "There are no runs.";
  if (!report.target) {
    return runs.some((run) => run.rounds.accuracy.some(isNumber))
      ? "There is no target, because nothing was measured after training."
      : `There is no target, because no ${metricName()} was measured.`;
  }
  if (series.every((one) => !spentOf(one, cost).values.length)) {
    return `No run reached ${metricName()} ${accuracy(report.target.accuracy)}${report.target.reason ? ` (${report.target.reason})` : ""}.`;
  }
  return null;
}

function targetFinding({ cost }) {
  return clauses(series.map((one, place) => {
    const { values } = spentOf(one, cost);
    if (!values.length) return `${one.label} does not reach the target`;
    const faster = place > 0 && speedUp(one, cost) !== null ? `, ${speedUpText(one, cost)} ${series[0].label}'s pace`
      : "";
    const pace = cost === "s" ? faster : place > 0 && speedUp(one, cost) !== null
      ? `, ${times(1 / speedUp(one, cost))} of what ${series[0].label} takes` : "";
    return `${one.label} takes ${reachedText(one, cost)}${pace}`;
  }));
}

function bestText(one) {
  const best = one.runs.map((place) => greatest(runs[place].rounds.accuracy)).filter(isNumber);
  return best.length ? `not reached, best ${accuracy(greatest(best))}` : "not reached";
}

function targetSpec({ cost }, theme, width) {
  const spent = series.map((one) => spentOf(one, cost));
  const unit = COSTS[cost].unit(greatest(spent.flatMap(({ values }) => values)));
  const nameLimit = Math.min(220, width / 4);
  const bars = series.map((one, place) => {
    const { values, seeds } = spent[place];
    const gain = place > 0 && speedUp(one, cost) !== null ? speedUpText(one, cost) : "";
    const some = values.length && values.length < seeds ? `  (${values.length} of ${seeds} seeds)` : "";
    return { place, name: fitted(one.label, nameLimit, 12), end: (mean(values) ?? 0) / unit.size,
      low: (least(values) ?? 0) / unit.size, high: (greatest(values) ?? 0) / unit.size,
      several: values.length > 1, faint: values.length < seeds, colour: seriesColour(theme, place),
      text: values.length ? COSTS[cost].text(mean(values)) + some : bestText(one), gain };
  });
  const reserved = Math.max(...bars.map((bar) => textWidth(bar.text + bar.gain, 13))) + 34;
  const plotWidth = Math.max(120, width - Math.max(...bars.map((bar) => textWidth(bar.name, 12))) - 24);
  const stretch = plotWidth / Math.max(80, plotWidth - Math.min(reserved, plotWidth * 0.6));
  const y = { scale: "y", field: "place", band: 0.5 };
  return {
    data: [{ name: "bars", values: bars }],
    scales: [
      { name: "x", type: "linear", domain: [0, Math.max(...bars.map((bar) => bar.high)) * stretch], range: "width",
        nice: false, zero: true },
      { name: "y", type: "band", domain: bars.map((bar) => bar.place), range: [0, { signal: "height" }],
        padding: 0.25 },
    ],
    axes: [
      { orient: "left", scale: "y", domain: false, ticks: false, labelColor: theme.ink, labelFontSize: 12,
        labelLimit: nameLimit + 10, labelOverlap: false,
        encode: { labels: { update: { text: { signal: `${JSON.stringify(bars.map((bar) => bar.name))}[datum.value]` } } } } },
      { orient: "bottom", scale: "x", tickCount: Math.max(3, Math.floor(width / 110)),
        title: `${COSTS[cost].title} (${unit.name})` },
    ],
    marks: [
      { type: "rect", from: { data: "bars" }, encode: { update: { x: { scale: "x", value: 0 },
        x2: { scale: "x", field: "end" }, y: { scale: "y", field: "place" },
        height: { scale: "y", band: 1 }, fill: { field: "colour" },
          fillOpacity: { signal: "datum.faint ? 0.45 : 0.9" }, cornerRadiusTopRight: { value: 2 },
          cornerRadiusBottomRight: { value: 2 } } } },
      { type: "rule", from: { data: "bars" }, encode: { update: { x: { scale: "x", field: "low" },
        x2: { scale: "x", field: "high" }, y, stroke: { value: theme.ink },
        strokeWidth: { value: 1.5 }, opacity: { signal: "datum.several ? 0.85 : 0" } } } },
      { type: "text", from: { data: "bars" }, name: "amounts",
        encode: { update: { x: { signal: "scale('x', datum.high) + 8" }, y, baseline: { value: "middle" },
        text: { field: "text" } } } },
      { type: "text", from: { data: "amounts" }, encode: { update: { x: { signal: "datum.bounds.x2 + 9" },
        y: { field: "y" }, baseline: { value: "middle" },
        text: { field: "datum.gain" }, fontWeight: { value: 700 }, fontSize: { value: 12.5 } } } },
    ],
  };
}

function targetTip({ cost }, view, x, y) {
  const place = Math.min(series.length - 1, Math.floor((y / view.height()) * series.length));
  const one = series[place];
  const { values } = spentOf(one, cost);
  const lines = values.length ? one.runs.map((run) => [null,
    `${runs[run].name}: ${COSTS[cost].text(report.target.reached[run]?.[cost])}`]) : [[null, bestText(one)]];
  if (speedUp(one, cost) !== null) lines.push([null, `${speedUpText(one, cost)} against ${series[0].label}`]);
  return { title: one.label, lines: lines.slice(0, 12) };
}

function targetTable() {
  return withoutEmptyColumns({
    caption: `Until ${metricName()} ${accuracy(report.target.accuracy)}: means over seeds, with the least and the greatest.`,
    columns: [{ title: "Series", text: true }, { title: "Seeds that reached it" }, { title: "Simulated time" },
      { title: "Speed-up" }, { title: "Traffic" }, { title: "Traffic, less by" }, { title: "Energy" },
      { title: "Energy, less by" }],
    rows: series.map((one) => {
      const { values, seeds } = spentOf(one, "s");
      const cells = Object.keys(COSTS).flatMap((cost) => (spentOf(one, cost).values.length
        ? [meanAndRange(spentOf(one, cost).values, COSTS[cost].text), speedUpText(one, cost)] : [null, null]));
      return [one.label, `${values.length} of ${seeds}`, ...cells];
    }),
  });
}
