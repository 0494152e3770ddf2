"use strict";
// The head of the page and the table of all series at a glance.

// What names begin with alike, in whole words; nothing where that says little.
function beginning(names) {
  const words = names.map((name) => name.match(/[^-_/ ]*[-_/ ]|[^-_/ ]+$/g) ?? []);
  let same = 0;
  while (words.every((each) => each.length > same && each[same] === words[0][same])) same += 1;
  const text = words[0].slice(0, same).join("").replace(/[-_/ ]+$/, "");
  return text.length > 2 ? text : "";
}

function showHead(head) {
  const scenarios = [...new Set(runs.map((run) => run.scenario))];
  const named = runs.length === 1 ? runs[0].name
    : (scenarios.length > 3 && beginning(scenarios)) || listed(scenarios, 4);
  document.title = `${named} – fedclock report`;
  head.append(element("p", { class: "kicker" }, "fedclock report"), element("h1", {}, named || "No runs"));
  if (!runs.length) return;
  const methods = [...new Set(runs.map((run) => run.method))];
  const seeds = [...new Set(runs.map((run) => run.seed))];
  head.append(element("p", { class: "lede" }, runs.length === 1
    ? `${runs[0].method}, seed ${runs[0].seed}: ${counted(runs[0].clients.device.length, "client")}, `
      + `${counted(trainedRounds(runs[0]), "round")}, ${duration(runs[0].endS)} of simulated time.`
    : `${counted(runs.length, "run")}: ${listed(methods)}; ${seeds.length > 1 ? `seeds ${listed(seeds.map(String))}` : `seed ${seeds[0]}`}.`));
  const pairs = [...new Set(runs.map((run) => JSON.stringify([run.learningModel, run.timedModel])))].map(JSON.parse);
  for (const [learning, timed] of pairs) {
    if (learning && timed && learning !== timed) {
      head.append(element("p", { class: "models" }, element("strong", {}, "Learns: "), `${learning}; `,
        element("strong", {}, "timed as: "), `${timed}.`,
        " Accuracies are of the first, seconds, bytes and joules of the second."));
    }
  }
  const tasks = new Set(runs.filter((run) => run.learned).map((run) => run.digests.data)).size;
  if (tasks > 1) {
    head.append(element("p", { class: "models" }, element("strong", {}, `${tasks} different tasks: `),
      "their accuracies do not compare, nor do times to one target. A page for each task says more."));
  }
  if (runs.every((run) => !run.learned)) {
    head.append(element("p", { class: "models" },
      "Only the clock ran: nothing was learned, so there are no accuracies."));
  }
}

function showOverview(section) {
  if (!runs.length) {
    section.append(element("p", { class: "absent" }, "The report was made of no runs."));
    return;
  }
  const target = report.target;
  const seeds = runs.length > series.length;
  const energy = runs.some(countsJoules);
  const ranged = (values, format) => meanAndRange(values, format, "\n");
  const rows = series.map((one) => {
    const own = one.runs.map((place) => runs[place]);
    return [one.label, seeds ? whole(own.length) : null, rounded(mean(own.map(trainedRounds))),
      duration(mean(own.map((run) => run.endS).filter(isNumber))),
      ranged(finalValues(one), accuracy), accuracy(mean(own.map((run) => greatest(run.rounds.accuracy))
        .filter(isNumber))),
      target ? reachedText(one, "s", "\n") : null, target && series.length > 1 ? speedUpText(one, "s") : null,
      bytes(mean(own.map((run) => total(traffic(run))).filter(isNumber))),
        energy ? joules(mean(own.map((run) => total(run.rounds.joules)).filter(isNumber))) : null];
  });
  const metric = metricName();
  section.append(table(withoutEmptyColumns({
    caption: seeds ? "Means over seeds; in brackets the least and the greatest." : runs.length > 1 ? "Each run."
      : "The run.",
    columns: [{ title: "Series", text: true }, { title: "Seeds" }, { title: "Rounds" }, { title: "Simulated time" },
      { title: `Final ${metric}` }, { title: `Best ${metric}` },
        { title: target ? `Time to ${accuracy(target.accuracy)}` : "" }, { title: "Speed-up" }, { title: "Traffic" },
        { title: "Energy" }],
    rows,
  })));
  if (target) section.append(element("p", { class: "note" },
    `Target: ${metric} ${accuracy(target.accuracy)}${target.reason ? ` (${target.reason})` : ""}.`));
}
