// Results of many runs of one scenario as one table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/learning/learner.h"
#include "sim/results/result.pb.h"

namespace fedclock::results {

struct SweepPoint {
  std::string name;                  // of its folder
  std::vector<std::string> values;   // of the fields that vary
  std::string status = "not run";    // "done", "failed"
  std::optional<v1::Result> result;  // where it is done
  learning::JobCount jobs;           // of all kinds
};

// The target of a table: the one given, else the highest accuracy that all finished points reach.
std::optional<double> sweep_target(const std::vector<SweepPoint>& points,
                                   const std::optional<double>& given);

// One line a point. Columns: point, one for each path, status, rounds, simulated_s, final_accuracy,
// best_accuracy, target_accuracy, time_to_accuracy_s, rounds_to_accuracy, bytes_to_accuracy,
// bytes_up, bytes_down, jobs_known, jobs_shared, jobs_computed, digest. Empty: there is none.
std::string sweep_csv(const std::vector<std::string>& paths, const std::vector<SweepPoint>& points,
                      const std::optional<double>& target);

}  // namespace fedclock::results
