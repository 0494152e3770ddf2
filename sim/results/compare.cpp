#include "sim/results/compare.h"

#include <algorithm>

namespace fedclock::results {

std::optional<Reached> time_to_accuracy(const v1::Result& result, double target) {
  Reached reached;
  for (const v1::Round& round : result.rounds()) {
    reached.bytes += round.bytes_up() + round.bytes_down();
    if (const std::optional<Energy> energy = energy_of(round)) {
      reached.joules = reached.joules.value_or(0) + energy->total_j();
    }
    if (!round.has_accuracy() || round.accuracy() < target) continue;
    reached.round = round.round();
    reached.simulated_s = round.end_s();
    return reached;
  }
  return std::nullopt;
}

std::optional<double> best_accuracy(const v1::Result& result) {
  std::optional<double> best;
  for (const v1::Round& round : result.rounds()) {
    if (round.has_accuracy()) best = std::max(best.value_or(0.0), round.accuracy());
  }
  return best;
}

std::optional<double> common_target(const std::vector<const v1::Result*>& results) {
  std::optional<double> target;
  for (const v1::Result* result : results) {
    const std::optional<double> best = best_accuracy(*result);
    if (!best) return std::nullopt;
    target = std::min(target.value_or(1.0), *best);
  }
  return target;
}

std::optional<double> final_accuracy(const v1::Result& result) {
  if (result.rounds().empty() || !result.rounds().rbegin()->has_accuracy()) return std::nullopt;
  return result.rounds().rbegin()->accuracy();
}

Pace pace(const v1::Result& result) {
  Pace pace;
  pace.traffic = total_traffic(result);
  if (const std::optional<Energy> energy = energy_of(result)) pace.joules = energy->total_j();
  if (result.rounds().empty()) return pace;
  pace.rounds = result.rounds().rbegin()->round();
  pace.total_s = result.rounds().rbegin()->end_s();
  if (pace.rounds > 0) pace.round_s = pace.total_s / pace.rounds;
  return pace;
}

}  // namespace fedclock::results
