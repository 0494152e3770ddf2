// Small worlds for tests, with round numbers.
#pragma once

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
