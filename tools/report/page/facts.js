"use strict";
// What the runs are: scenario, models, assumptions, digests, versions.

function showFacts(section) {
  if (!runs.length) {
    section.append(element("p", { class: "absent" }, "There are no runs."));
    return;
  }
  section.append(table(withoutEmptyColumns({
    caption: "Runs. Re-running a scenario with the same version and numerics gives the same digest.",
    columns: [{ title: "Run", text: true }, { title: "Scenario", text: true }, { title: "Method", text: true },
      { title: "Seed" }, { title: "Ended", text: true }, { title: "Digest", text: true }],
    rows: runs.map((run) => [run.name, run.scenario, run.method, run.seed,
      `${run.stopReason || "?"}, at ${duration(run.endS)}`, run.digest]),
  })));
  showStatements(section, "Assumptions", "Values without a public source, on which the results rest.", "assumptions",
    "No assumptions were stated.");
  showStatements(section, "Notes", "What came of devices that do not hold their training.", "notes", null);
  section.append(element("h3", {}, "Each run in full"));
  for (const run of runs) section.append(runInFull(run, runs.length === 1));
}

// Statements with the runs that make them, where not all do.
function showStatements(section, title, about, column, none) {
  const made = new Map();
  for (const run of runs) for (const statement of run[column] ?? []) made.set(statement,
    [...(made.get(statement) ?? []), run.name]);
  if (!made.size && none === null) return;
  section.append(element("h3", {}, title), element("p", { class: "about" }, made.size ? about : none));
  if (!made.size) return;
  section.append(element("ul", {}, [...made].map(([statement, by]) =>
    element("li", {}, statement, by.length < runs.length ? element("span", { class: "soft" }, ` (${listed(by, 4)})`)
      : ""))));
}

function runInFull(run, open) {
  const facts = [
    ["Scenario", run.scenario], ["Method", run.method], ["Seed", run.seed], ["Learns", run.learningModel],
      ["Timed as", run.timedModel], ["Measured by", run.learned ? (run.metric === "rouge_l" ? "ROUGE-L" : run.metric)
      : "nothing was learned"],
    ["Clients", whole(run.clients.device.length)], ["Rounds", whole(trainedRounds(run))], ["Ended", run.stopReason],
      ["Simulated time", duration(run.endS)], ["Version", run.version], ["Numerics", run.numerics],
    ["Folder", run.folder], ["Digest of the result", run.digest],
    ...Object.entries(run.digests ?? {}).map(([name, digest]) => [`Digest of the ${name}`, digest]),
  ].filter(([, value]) => ![null, undefined, ""].includes(value));
  return element("details", { class: "run", open },
    element("summary", {}, run.name),
    element("dl", {}, facts.flatMap(([name, value]) => [element("dt", {}, name),
      element("dd", { class: /Digest|Folder/.test(name) ? "code" : null }, String(value))])),
    run.scenarioText ? element("details", { class: "scenario" },
      element("summary", {}, "Resolved scenario", element("span", { class: "unseen" }, ` of ${run.name}`)),
      element("pre", { tabindex: "0" }, run.scenarioText)) : null);
}
