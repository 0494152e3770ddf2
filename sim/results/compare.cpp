#include "sim/results/compare.h"

#include <algorithm>

namespace fedclock::results {

std::optional<Reached> time_to_accuracy(const v1::Result& result, double target) {
  int64_t bytes = 0;
  for (const v1::Round& round : result.rounds()) {
    bytes += round.bytes_up() + round.bytes_down();
    if (round.has_accuracy() && round.accuracy() >= target) {
      return Reached{round.round(), round.end_s(), bytes};
    }
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

std::optional<double> common_target(const std::vector<v1::Result>& results) {
  std::optional<double> target;
  for (const v1::Result& result : results) {
    const std::optional<double> best = best_accuracy(result);
    if (!best) return std::nullopt;
    target = std::min(target.value_or(1.0), *best);
  }
  return target;
}

int64_t total_bytes(const v1::Result& result) {
  int64_t bytes = 0;
  for (const v1::Round& round : result.rounds()) bytes += round.bytes_up() + round.bytes_down();
  return bytes;
}

}  // namespace fedclock::results
