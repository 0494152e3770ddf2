"use strict";
// Puts the page together. Figures are drawn when they come near the window, and all of them for paper.

const SECTIONS = [
  { id: "overview", nav: "Overview", title: "At a glance", about: "What each series reached, and what it took.",
    show: showOverview },
  { id: "accuracy", nav: capital(metricName()), title: `${capital(metricName())}`,
    about: `${capital(metricName())} of 0 to 1, against what was spent on it.`, show: showCurves },
  { id: "target", nav: "Target", title: `Time to ${metricName()}`,
    about: "What it took until the target was reached for the first time.", show: showTarget },
  { id: "timeline", nav: "Timeline", title: "Timeline", about: "Which device did what, and when, in simulated time.",
    show: showTimeline },
  { id: "time", nav: "Time", title: "Where the time went", about: "Compute, download, upload, waiting and being off.",
    show: showPhases },
  { id: "assignments", nav: "Assignments", title: "Assignments",
    about: "What each client was given to tune, round by round.", show: showHeatMaps },
  { id: "partition", nav: "Partition", title: "Partition", about: "Who holds which data.", show: showPartition },
  { id: "clients", nav: "Clients", title: "Clients",
    about: `${capital(metricName())} for each client, on its own test rows.`, show: showClientAccuracy },
  { id: "facts", nav: "Facts", title: "Facts", about: "Scenario, models, assumptions, digests and versions.",
    show: showFacts },
];

function showSection({ id, title, about, show }) {
  const section = element("section", { id, "aria-labelledby": `${id}-heading` },
    element("h2", { id: `${id}-heading` }, title), element("p", { class: "about" }, about));
  document.getElementById("content").append(section);
  try {
    show(section);
  } catch (mistake) {
    section.append(element("p", { class: "absent" }, `This section could not be shown: ${mistake.message}`));
    console.error(mistake);
  }
}

function drawFigure(figure) {
  try {
    figure.draw();
  } catch (mistake) {
    figure.plot.replaceChildren(element("p", { class: "absent" },
      `This figure could not be drawn: ${mistake.message}`));
    console.error(mistake);
  }
}

function drawWhenNear() {
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      const figure = figures.find((one) => one.element === target);
      if (!isIntersecting || figure.drawn) continue;
      near.unobserve(target);
      drawFigure(figure);
    }
    // The date that tests ask for: the figures of the first screen are there.
    if (!performance.getEntriesByName("first-figures").length) performance.mark("first-figures");
  }, { rootMargin: "400px 0px" });
  figures.forEach((figure) => near.observe(figure.element));
}

function showNavigation() {
  const links = new Map(SECTIONS.map(({ id, nav }) => [id, element("a", { href: `#${id}` }, nav)]));
  document.getElementById("nav").append(element("ul", {}, [...links.values()].map((link) => element("li", {},
    link))));
  const visible = new Set();
  const seen = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) isIntersecting ? visible.add(target.id)
      : visible.delete(target.id);
    const current = SECTIONS.find(({ id }) => visible.has(id))?.id;
    for (const [id, link] of links) id === current ? link.setAttribute("aria-current", "true")
      : link.removeAttribute("aria-current");
  }, { rootMargin: "-15% 0px -60% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}

function refreshFigures() {
  figures.forEach((figure) => figure.refresh());
}

function onceStill(act) {
  let waiting = null;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, 120);
  };
}

function forPaper(begins) {
  aboutToPrint = begins;
  if (begins) figures.filter((figure) => !figure.drawn).forEach(drawFigure);
  refreshFigures();
}

showHead(document.getElementById("head"));
SECTIONS.forEach(showSection);
showNavigation();
document.getElementById("foot")
  .append(`Made by fedclock ${report.version ?? ""} from ${counted(runs.length, "run")}. The page loads nothing from anywhere.`);
drawWhenNear();
darkWanted.addEventListener("change", refreshFigures);
printing.addEventListener("change", (change) => forPaper(change.matches));
window.addEventListener("beforeprint", () => forPaper(true));
window.addEventListener("afterprint", () => forPaper(false));
window.addEventListener("scroll", hideTip, { passive: true });
window.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
new ResizeObserver(onceStill(refreshFigures)).observe(document.getElementById("content"));
