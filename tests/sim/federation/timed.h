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

}  // namespace fedclock::test
