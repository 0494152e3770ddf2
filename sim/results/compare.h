// Runs beside each other: when each of them reached a target accuracy, and what it had sent.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/results/result.pb.h"
#include "sim/results/totals.h"

namespace fedclock::results {

struct Reached {
  int32_t round = 0;
  double simulated_s = 0;
  int64_t bytes = 0;             // up and down, of all rounds until then
  std::optional<double> joules;  // of the devices, likewise; nothing where they are not counted
};

// The first measured round at or above the target; nothing where there is none.
std::optional<Reached> time_to_accuracy(const v1::Result& result, double target);

// Best measured accuracy; nothing where none was measured.
std::optional<double> best_accuracy(const v1::Result& result);

// The highest accuracy that all of them reach: the default target. Nothing where one of them
// measured none.
std::optional<double> common_target(const std::vector<const v1::Result*>& results);

// Accuracy of the last round; nothing where it was not measured.
std::optional<double> final_accuracy(const v1::Result& result);

// The clock alone: what there is to compare where nothing was learnt.
struct Pace {
  int32_t rounds = 0;  // round 0 does not count
  double total_s = 0;  // simulated
  Traffic traffic;
  std::optional<double> round_s;  // mean; nothing where there was no round
  std::optional<double> joules;
};
Pace pace(const v1::Result& result);

}  // namespace fedclock::results
