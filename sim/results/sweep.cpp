#include "sim/results/sweep.h"

#include <fmt/format.h>

#include "sim/results/compare.h"
#include "sim/results/files.h"

namespace fedclock::results {

namespace {

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

// From rounds to joules_to_accuracy.
std::string outcome(const std::optional<v1::Result>& result, const std::optional<double>& target) {
  if (!result) return ",,,,,,,,,,,";
  const Pace whole = pace(*result);
  const std::optional<Reached> reached = target ? time_to_accuracy(*result, *target) : std::nullopt;
  const std::string reaching =
      reached ? fmt::format("{},{},{}", reached->simulated_s, reached->round, reached->bytes)
              : ",,";
  return fmt::format("{},{},{},{},{},{},{},{},{},{}", whole.rounds, whole.total_s,
                     number(final_accuracy(*result)), number(best_accuracy(*result)),
                     number(target), reaching, whole.traffic.up, whole.traffic.down,
                     number(whole.joules), number(reached ? reached->joules : std::nullopt));
}

}  // namespace

std::optional<double> sweep_target(const std::vector<SweepPoint>& points,
                                   const std::optional<double>& given) {
  if (given) return given;
  std::vector<const v1::Result*> done;
  for (const SweepPoint& point : points) {
    if (point.result) done.push_back(&*point.result);
  }
  return common_target(done);
}

std::string sweep_csv(const std::vector<std::string>& paths, const std::vector<SweepPoint>& points,
                      const std::optional<double>& target) {
  std::string text = "point,";
  for (const std::string& path : paths) text += csv_field(path) + ",";
  text +=
      "status,rounds,simulated_s,final_accuracy,best_accuracy,target_accuracy,"
      "time_to_accuracy_s,rounds_to_accuracy,bytes_to_accuracy,bytes_up,bytes_down,joules,"
      "joules_to_accuracy,"
      "jobs_known,jobs_shared,jobs_computed,digest\n";
  for (const SweepPoint& point : points) {
    text += csv_field(point.name) + ",";
    for (const std::string& value : point.values) text += csv_field(value) + ",";
    text += fmt::format("{},{},{},{},{},{}\n", point.status, outcome(point.result, target),
                        point.jobs.known, point.jobs.shared, point.jobs.computed,
                        point.result ? run_digest(*point.result).hex() : "");
  }
  return text;
}

}  // namespace fedclock::results
