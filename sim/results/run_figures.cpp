#include "sim/results/run_figures.h"

#include <algorithm>
#include <utility>

#include "sim/results/compare.h"
#include "sim/results/files.h"

namespace fedclock::results {

RunFigures figures_of(const v1::Result& result, const AccuracyRule& rule) {
  const Pace whole = pace(result);
  Curve curve = curve_of(result, rule);
  std::optional<double> best;
  for (const Measurement& one : curve.measured) best = std::max(best.value_or(0), one.accuracy);
  return {.curve = std::move(curve),
          .rounds = whole.rounds,
          .best_accuracy = best,
          .traffic = whole.traffic,
          .time = client_time(result),
          .joules = whole.joules,
          .scenario_digest = result.scenario_digest(),
          .adapter_digest = result.adapter_digest(),
          .run_digest = run_digest(result).hex(),
          .version = result.version(),
          .numerics = result.numerics(),
          .learning_model = result.learning_model(),
          .timed_model = result.timed_model(),
          .data_digest = result.data_digest(),
          .metric = result.metric(),
          .assumptions = {result.assumptions().begin(), result.assumptions().end()},
          .notes = {result.notes().begin(), result.notes().end()}};
}

}  // namespace fedclock::results
