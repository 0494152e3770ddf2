"use strict";
// Devices by phase over simulated time, with the critical path; zoomed by wheel, drag, buttons and keys.

function showTimeline(section) {
  const figure = new Figure({
    id: "timeline-devices", title: "Devices over simulated time",
      about: "Each row is a device, each bar a phase of its part in a round; where a row is blank it waits, is off or was not "
      + "chosen. The line marks the critical path: the client whose part ended the round last.",
    chosen: { run: "0", subset: null, window: null }, renderer: "canvas", controls: timelineControls,
    absent: ({ run }) => timelineAbsent(runs[run]), finding: ({ run }) => timelineFinding(runs[run]),
    height: ({ run, subset }) => {
      const rows = timelineRows(runs[run], subset);
      return Math.max(60, rows.length * rowHeight(rows.length));
    },
    spec: timelineSpec, tip: timelineTip, table: timelineTable,
      afterDraw: (own) => own.plot.querySelector("canvas")?.setAttribute("aria-hidden", "true"),
    runChosen: (own, run) => {
      own.choose({ run, subset: null, window: null });
      own.fillControls();
      timelineState(own);
    },
  });
  const { picture, plot } = figure;
  picture.tabIndex = 0;
  picture.setAttribute("aria-describedby", "timeline-keys");
  figure.state = element("p", { class: "state", "aria-live": "polite" });
  picture.after(element("p", { class: "note keys", id: "timeline-keys" },
    "Zoom: wheel with Ctrl, buttons, or + and − in the focused picture; move: drag, or ← and →; "
    + "0 shows the whole run. Double-click zooms in."), figure.state);
  plot.addEventListener("wheel", (event) => wheel(figure, event), { passive: false });
  plot.addEventListener("pointerdown", (event) => drag(figure, event));
  plot.addEventListener("dblclick", (event) => zoom(figure, 0.5, dateAt(figure, event)));
  picture.addEventListener("keydown", (event) => key(figure, event));
  section.append(figure.element);
  timelineState(figure);
}

function timelineControls(figure) {
  if (!runs.length || timelineAbsent(runs[figure.chosen.run])) return [runChoice(figure, runs)];
  return [runChoice(figure, runs), subsetChoice(figure), element("span",
    { class: "buttons", role: "group", "aria-label": "Zoom of the timeline" },
    button("+", () => zoom(figure, 0.5), { "aria-label": "Zoom in", id: "timeline-in" }),
    button("−", () => zoom(figure, 2), { "aria-label": "Zoom out", id: "timeline-out" }),
    button("←", () => move(figure, -0.4), { "aria-label": "Earlier", id: "timeline-earlier" }),
    button("→", () => move(figure, 0.4), { "aria-label": "Later", id: "timeline-later" }),
    button("Whole run", () => look(figure, null), { id: "timeline-whole" }))];
}

function timelineAbsent(run) {
  if (!run) return "There are no runs.";
  return run.events.client.length ? null : "No phases were recorded, because no client took part in a round.";
}

function wholeRun(run) {
  const end = greatest([...run.events.endS, run.endS]);
  return [0, end > 0 ? end : 1];
}

function windowOf(figure) {
  return figure.chosen.window ?? wholeRun(runs[figure.chosen.run]);
}

function zoom(figure, factor, about = null) {
  const [from, to] = windowOf(figure);
  const middle = about ?? (from + to) / 2;
  look(figure, [middle - (middle - from) * factor, middle + (to - middle) * factor]);
}

function move(figure, part) {
  const [from, to] = windowOf(figure);
  look(figure, [from + part * (to - from), to + part * (to - from)]);
}

// Shows a window, kept within the run; null shows it whole.
function look(figure, wanted) {
  const [start, end] = wholeRun(runs[figure.chosen.run]);
  let next = null;
  if (wanted) {
    const size = Math.max(wanted[1] - wanted[0], (end - start) * 1e-6);
    const from = Math.min(Math.max(wanted[0], start), Math.max(start, end - size));
    next = size >= end - start ? null : [from, from + size];
  }
  figure.chosen.window = next;
  if (figure.awaited || !figure.view) return;
  figure.awaited = requestAnimationFrame(() => {
    figure.awaited = null;
    if (figure.view) updateTimeline(figure);
    figure.fillTable();
    timelineState(figure);
  });
}

function updateTimeline(figure) {
  const { view, chosen } = figure;
  const run = runs[chosen.run];
  const { bars, unit, roundStarts } = timelineData(chosen, view.width());
  const [from, to] = windowOf(figure);
  view.data("bars", bars).data("roundStarts", roundStarts).signal("from", from).signal("to", to).signal("unit",
    unit.size)
    .signal("title", timelineTitle(unit)).data("critical", criticalLine(run, timelineRows(run, chosen.subset),
      [from, to])).run();
  hideTip();
}

function timelineState(figure) {
  if (!runs.length || figure.absentNow) return;
  const run = runs[figure.chosen.run];
  const [from, to] = windowOf(figure);
  const seen = run.rounds.round.filter((round, place) => round > 0 && run.rounds.endS[place] > from
    && run.rounds.startS[place] < to);
  const which = seen.length ? seen.length === 1 ? `, round ${seen[0]}`
    : `, rounds ${seen[0]} to ${seen[seen.length - 1]}` : "";
  figure.state.textContent = `Shown: ${duration(from)} to ${duration(to)}${which}.`;
}

function dateAt(figure, event) {
  return figure.view.scale("x").invert(figure.point(event).x) * figure.view.signal("unit");
}

// A plain wheel scrolls the page until the picture has the focus: else it would be a trap.
function wheel(figure, event) {
  if (!figure.view || (!event.ctrlKey && document.activeElement !== figure.picture)) return;
  event.preventDefault();
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(figure, Math.sign(event.deltaX) * 0.08);
  else zoom(figure, Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.005), dateAt(figure, event));
}

function drag(figure, event) {
  if (!figure.view || event.button !== 0 || event.pointerType === "touch") return;
  const [from, to] = windowOf(figure);
  const start = event.clientX;
  const perPixel = (to - from) / figure.view.width();
  const moved = (next) => {
    const by = (start - next.clientX) * perPixel;
    if (Math.abs(next.clientX - start) > 2) look(figure, [from + by, to + by]);
  };
  const done = () => {
    window.removeEventListener("pointermove", moved);
    window.removeEventListener("pointerup", done);
    window.removeEventListener("pointercancel", done);
  };
  window.addEventListener("pointermove", moved);
  window.addEventListener("pointerup", done);
  window.addEventListener("pointercancel", done);
}

function key(figure, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const does = { "+": () => zoom(figure, 0.5), "=": () => zoom(figure, 0.5), "-": () => zoom(figure, 2),
    "_": () => zoom(figure, 2), ArrowLeft: () => move(figure, -0.25),
    ArrowRight: () => move(figure, 0.25), 0: () => look(figure, null), Home: () => look(figure, null),
      Escape: hideTip }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
}
