// The runs of a suite and the judgement of its claims, as text for a terminal, as Markdown and as
// CSV. All are functions of the runs: no dates, no real durations.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/results/claims.h"
#include "sim/results/run_figures.h"
#include "sim/scenario/suite.h"

namespace fedclock::results {

struct SuiteRecord {
  scenario::SuiteRun run;
  std::string status = "not run";  // "done", "failed", "stale" (of other settings)
  std::optional<RunFigures> figures;
};

struct SuiteReport {
  v1::Suite suite;
  scenario::SuitePlan plan;
  std::vector<SuiteRecord> records;  // of all runs of the plan
};

// Claims with verdicts, methods by setting, the rules, assumptions and differences.
std::string suite_text(const SuiteReport& report);

// The same, with the digests of every run, kernels and libraries, and the version.
std::string suite_markdown(const SuiteReport& report);

// One line a run. Columns: setting, method, seed, status, rounds, simulated_s, final_accuracy
// (by the suite's rule), best_accuracy, target_accuracy, time_to_target_s, rounds_to_target,
// bytes_to_target, bytes_up, bytes_down, compute_s, transfer_s, wait_s, joules, scenario_digest,
// adapter_digest, run_digest. Empty: there is none. The target is that of the first claim about the
// setting.
std::string suite_csv(const SuiteReport& report);

}  // namespace fedclock::results
