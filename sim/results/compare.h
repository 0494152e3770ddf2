// Runs beside each other: when each of them reached a target accuracy, and what it had sent.
#pragma once

#include <optional>
#include <vector>

#include "sim/results/result.pb.h"

namespace fedclock::results {

struct Reached {
  int32_t round = 0;
  double simulated_s = 0;
  int64_t bytes = 0;  // up and down, of all rounds until then
};

// The first measured round at or above the target; nothing where there is none.
std::optional<Reached> time_to_accuracy(const v1::Result& result, double target);

// Best measured accuracy; nothing where none was measured.
std::optional<double> best_accuracy(const v1::Result& result);

// The highest accuracy that all of them reach: the default target. Nothing where one of them
// measured none.
std::optional<double> common_target(const std::vector<v1::Result>& results);

// Bytes up and down of all rounds.
int64_t total_bytes(const v1::Result& result);

}  // namespace fedclock::results
