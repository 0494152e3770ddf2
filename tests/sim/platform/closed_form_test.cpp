// What is computed without SimGrid gives SimGrid's own dates.
#include <catch2/catch.hpp>

#include <cmath>
#include <memory>

#include "models/common/random.h"
#include "sim/platform/platform.h"
#include "tests/sim/world.h"

namespace {

using namespace fedclock::test;
using namespace fedclock::platform;
using fedclock::Random;
using fedclock::kernel::Failed;
using fedclock::kernel::when_all;

double between(Random& random, double low, double high) {
  return low * std::pow(high / low, random.uniform());
}

// Devices with links and processors of all sizes; some come and go, some links and modes change.
PlatformSpec random_world(uint64_t seed, bool closed_form) {
  Random random(seed, "closed form");
  PlatformSpec spec;
  spec.closed_form = closed_form;
  spec.server = {"server", between(random, 1e9, 1e14)};
  // One direction may be shared: then the other alone is in closed form.
  const auto shared = random.below(3);
  if (shared == 1) spec.server.ingress_bytes_s = between(random, 1e4, 1e8);
  if (shared == 2) spec.server.egress_bytes_s = between(random, 1e4, 1e8);
  const auto devices = 1 + random.below(4);
  for (uint64_t i = 0; i < devices; ++i) {
    DeviceSpec device;
    device.name = "d" + std::to_string(i);
    device.speed_flops = between(random, 1e8, 1e13);
    device.up_bytes_s = between(random, 1e3, 1e9);
    device.down_bytes_s = between(random, 1e3, 1e9);
    device.latency_s = random.below(3) == 0 ? 0 : between(random, 1e-5, 1);
    if (random.below(3) == 0) {
      device.bandwidth = redrawn(LogUniformDraw{1e3, 1e8}, between(random, 0.1, 2),
                                 between(random, 0.1, 10), seed, i);
    }
    if (random.below(4) == 0) {
      device.mode_speeds_flops = {device.speed_flops, device.speed_flops / 3};
      auto changes = std::make_shared<ModeChanges>();
      changes->every_s = between(random, 0.1, 10);
      changes->choices = {0, 1};
      changes->seed = seed;
      device.mode_changes = changes;
    }
    if (random.below(4) == 0) device.presence = churn(20, 3, seed, i);
    spec.devices.push_back(device);
  }
  return spec;
}

// The end of each operation, and how much of it was done.
Task<void> note(World world, DeviceOperation&& operation) {
  try {
    co_await operation;
  } catch (const Failed&) {
  }
  world.note();
  world.log.push_back(operation.done());
}

Task<void> chain(World world, uint64_t seed, std::size_t device) {
  Random random(seed, "operations", 0, device);
  for (int i = 0; i < 5; ++i) {
    co_await world.simulation.sleep_for(between(random, 0.01, 3));
    const auto kind = random.below(3);
    const double bytes = std::ceil(between(random, 1, 1e7)), flops = between(random, 1e6, 1e13);
    if (kind == 0) co_await note(world, world.platform.upload(device, bytes));
    if (kind == 1) co_await note(world, world.platform.download(device, bytes));
    if (kind == 2) co_await note(world, world.platform.compute(device, flops));
  }
}

std::vector<double> dates(uint64_t seed, bool closed_form) {
  const Forked result =
      run_world(random_world(seed, closed_form), [seed](World world) -> Task<void> {
        std::vector<Task<void>> chains;
        for (std::size_t device = 0; device < world.platform.device_count(); ++device) {
          // Two at once on each device: they share its links and its processor.
          chains.push_back(chain(world, seed, device));
          chains.push_back(chain(world, seed + 1000, device));
        }
        co_await when_all(std::move(chains));
      });
  CHECK(result.error == "");
  return result.values;
}

}  // namespace

TEST_CASE("closed form and SimGrid agree to 1e-9, over sizes, latencies, bandwidths and changes") {
  std::size_t compared = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    const std::vector<double> closed = dates(seed, true), simgrid = dates(seed, false);
    REQUIRE(closed.size() == simgrid.size());
    for (std::size_t i = 0; i < closed.size(); ++i) {
      CAPTURE(i);
      CHECK(closed[i] == Approx(simgrid[i]).epsilon(1e-9).margin(1e-9));
    }
    compared += closed.size();
  }
  CHECK(compared > 1000);
}

TEST_CASE("shares that change: joining, leaving, another capacity") {
  struct User final : ShareUser {
    ~User() = default;
    void on_share(double date_s) override { end_s = date_s; }
    double end_s = -1;
  };
  FairShare share(10);
  User a, b;
  share.join(a, 100, 0);
  CHECK(a.end_s == 10);
  share.join(b, 10, 2);  // 80 left of a, at 5 each
  CHECK(a.end_s == 18);
  CHECK(b.end_s == 4);
  share.leave(b, 4);  // 70 left, at 10
  CHECK(a.end_s == 11);
  share.set_capacity(35, 9);  // 20 left
  CHECK(a.end_s == Approx(9 + 20.0 / 35));
  share.set_left(a, 70, 9);
  CHECK(a.end_s == 11);
  CHECK(share.left(a, 10) == 35);
}
