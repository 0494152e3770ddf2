// tests/data/good/tiny.textproto, timed only, with changes.
#pragma once

#include <catch2/catch.hpp>

#include <functional>
#include <string>
#include <vector>

#include "sim/experiment/experiment.h"
#include "tests/e2e/program.h"
#include "tests/sim/fork_test.h"

namespace fedclock::test {

inline experiment::Options timing_only() {
  experiment::Options options;
  options.timing_only = true;
  return options;
}

// In a process of its own. What a test wants to know comes back as numbers.
inline std::vector<double> timed(
    const std::vector<std::string>& overrides,
    const std::function<std::vector<double>(const v1::Result&)>& look) {
  const auto run = [&]() -> std::vector<double> {
    experiment::Experiment experiment(
        scenario::load_and_validate(tiny_scenario(), {.overrides = overrides, .library = {}}),
        timing_only());
    return look(experiment.run({}, {}));
  };
  const Forked forked = run_forked(run);
  INFO(forked.error);
  REQUIRE(forked.error.empty());
  return forked.values;
}

// The same workload, outside of the child.
inline federation::Workload timed_workload() {
  const experiment::Experiment experiment(scenario::load_and_validate(tiny_scenario(), {}),
                                          timing_only());
  return experiment.workload();
}

// Of that workload: rank 4 in the last layers.
inline learning::Share share_of(int64_t depth) { return learning::last_layers(2, depth, 4); }

// Of the mean of so many whole updates.
inline double merge_flops(const federation::Workload& workload, const cost::Machine& on,
                          size_t clients) {
  const federation::Update update{0, 1, {}, share_of(2)};
  const auto mean = federation::weighted_mean(v1::MeanAggregation());
  return workload.flops_of(on, mean->work(workload, std::vector(clients, update)));
}

}  // namespace fedclock::test
