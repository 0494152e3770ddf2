// Small worlds for tests, with round numbers.
#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/kernel/combinators.h"
#include "sim/kernel/simulation.h"
#include "sim/platform/platform.h"
#include "tests/sim/fork_test.h"

namespace fedclock::test {

using kernel::Task;
using platform::Interval;
using platform::PlatformSpec;

// Devices with 1,000 flop/s, 50 byte/s up, 100 byte/s down and no latency, named d0, d1, ...; a
// server with 10,000 flop/s and no links of its own.
inline PlatformSpec plain_world(std::size_t devices) {
  PlatformSpec spec;
  for (std::size_t i = 0; i < devices; ++i) {
    spec.devices.push_back({"d" + std::to_string(i), 1000, 50, 100, 0});
  }
  spec.server = {"server", 10000, std::nullopt, std::nullopt};
  return spec;
}

// Off from one date to another, or for ever.
inline std::shared_ptr<platform::Presence> off_between(
    double start_s, double end_s = std::numeric_limits<double>::infinity()) {
  auto off = std::make_shared<std::vector<Interval>>();
  off->push_back({start_s, end_s});
  return platform::off_during(off, std::numeric_limits<double>::infinity(), 0);
}

// Draws between two modes every 3 s: the first one until 3, the second until 9. The seed that does
// so is looked for, not assumed.
inline std::shared_ptr<const platform::ModeChanges> first_then_second_mode() {
  auto changes = std::make_shared<platform::ModeChanges>();
  changes->every_s = 3;
  changes->choices = {0, 1};
  const auto mode = [&](double date_s) { return changes->at(date_s, 0, 0).number; };
  while (mode(0) != 0 || mode(3) != 1 || mode(6) != 1) ++changes->seed;
  return changes;
}

// What a test's root task works with.
struct World {
  kernel::Simulation& simulation;
  platform::Platform& platform;
  std::vector<double>& log;  // becomes Forked::values

  double now_s() const { return simulation.now_s(); }
  void note() { log.push_back(now_s()); }
};

// Builds the world in a child process and runs the root in it.
inline Forked run_world(const PlatformSpec& spec, const std::function<Task<void>(World)>& root) {
  return run_forked([&] {
    std::vector<double> log;
    kernel::Simulation simulation;
    platform::Platform platform(simulation, spec);
    simulation.run(root(World{simulation, platform, log}), "the test's root");
    return log;
  });
}

inline void check_dates(const Forked& result, const std::vector<double>& expected) {
  CHECK(result.error == "");
  REQUIRE(result.values.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i, result.values[i], expected[i]);
    CHECK(std::abs(result.values[i] - expected[i]) <= 1e-9 * std::max(1.0, expected[i]));
  }
}

// The ends of all, in their order.
inline Task<void> note_all(World world, std::vector<Task<double>> tasks) {
  const std::vector<double> ends = co_await when_all(std::move(tasks));
  world.log.insert(world.log.end(), ends.begin(), ends.end());
}

// The same without a platform.
inline Forked run_kernel(
    const std::function<Task<void>(kernel::Simulation&, std::vector<double>&)>& root) {
  return run_forked([&] {
    std::vector<double> log;
    kernel::Simulation simulation;
    simulation.run(root(simulation, log), "the test's root");
    return log;
  });
}

}  // namespace fedclock::test
