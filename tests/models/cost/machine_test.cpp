#include "models/cost/machine.h"

#include <catch2/catch.hpp>
#include <limits>

#include "models/common/error.h"

using namespace fedclock::cost;
using fedclock::InputError;

namespace {

// 1 TFLOP/s at one half, 100 GB/s, 10 ms a step.
Machine machine() { return {"test", 1e12, 0.5, 100e9, 8e9, 0.01}; }

}  // namespace

TEST_CASE("a step takes the longer of compute and memory, and the overhead", "[cost][unit]") {
  // 3e11 / 5e11 = 0.6 s against 1e10 / 1e11 = 0.1 s.
  CHECK(step_seconds(machine(), {1e11, 2e11, 1e10}) == Approx(0.61).epsilon(1e-12));
  CHECK_FALSE(is_memory_bound(machine(), {1e11, 2e11, 1e10}));
  // 0.6 s against 2e11 / 1e11 = 2 s.
  CHECK(step_seconds(machine(), {1e11, 2e11, 2e11}) == Approx(2.01).epsilon(1e-12));
  CHECK(is_memory_bound(machine(), {1e11, 2e11, 2e11}));
}

TEST_CASE("a missing cost is an error, never zero", "[cost][unit]") {
  const Work work{1e11, 0, 1e10};
  const auto refused = [&](auto change, const std::string& says) {
    Machine broken = machine();
    change(broken);
    CHECK_THROWS_AS(step_seconds(broken, work), InputError);
    CHECK_THROWS_WITH(step_seconds(broken, work), Catch::Contains(says));
  };
  refused([](Machine& m) { m.peak_flops = 0; }, "peak rate");
  refused([](Machine& m) { m.efficiency = 0; }, "efficiency");
  refused([](Machine& m) { m.efficiency = std::numeric_limits<double>::quiet_NaN(); },
          "efficiency");
  refused([](Machine& m) { m.memory_bandwidth_bytes_s = -1; }, "bandwidth");
  refused([](Machine& m) { m.step_overhead_s = -0.1; }, "overhead");
  CHECK_THROWS_AS(step_seconds(machine(), {0, 0, 1e10}), InputError);
  CHECK_THROWS_AS(step_seconds(machine(), {1e11, 0, 0}), InputError);
}
