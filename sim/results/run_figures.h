// What a suite's tables need of a result, which may be large.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/results/claims.h"
#include "sim/results/result.pb.h"
#include "sim/results/totals.h"

namespace fedclock::results {

struct RunFigures {
  Curve curve;
  int32_t rounds = 0;
  std::optional<double> best_accuracy;
  Traffic traffic;
  ClientTime time;
  std::optional<double> joules;
  std::string scenario_digest, adapter_digest, run_digest;
  std::string version, numerics, learning_model, timed_model, data_digest, metric;
  std::vector<std::string> assumptions, notes;
};
// By the suite's rule.
RunFigures figures_of(const v1::Result& result, const AccuracyRule& rule);

}  // namespace fedclock::results
