// Joules of devices, by hand: idle and busy power over time, and the radio's in proportion to its
// rate.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "sim/platform/platform.h"
#include "tests/sim/world.h"

namespace {

using namespace fedclock::test;
using namespace fedclock::platform;
using fedclock::kernel::Failed;
using fedclock::kernel::when_all;

}  // namespace

TEST_CASE("energy of a round: idle, busy and the radio, by SimGrid's plug-ins") {
  PlatformSpec spec = plain_world(2);
  spec.energy = true;
  for (DeviceSpec& device : spec.devices) device.watts = {{2, 10}};
  spec.devices[0].radio_w = 3;
  spec.server.ingress_bytes_s = 25;  // halves the upload's rate
  const auto result = run_world(spec, [](World world) -> Task<void> {
    Platform& p = world.platform;
    co_await p.download(0, 400);  // 4 s
    world.log.push_back(p.joules(0));
    co_await p.compute(0, 3000);  // 3 s
    world.log.push_back(p.joules(0));
    co_await p.upload(0, 100);  // 4 s at 25 of the link's 50 byte/s
    world.log.push_back(p.joules(0));
    world.log.push_back(p.joules(1));
  });
  // Download: 4 s x (2 + 3). Work: 3 s x 10. Upload: 4 s x (2 + 3/2), as the link is half used.
  // The other idles for 11 s at 2 W.
  check_dates(result, {20, 50, 64, 22});
}

TEST_CASE("energy of a WiFi station's radio goes with its bytes, also of what broke off") {
  PlatformSpec spec = plain_world(2);
  spec.energy = true;
  spec.gateways.push_back({"cell", 1e6, 1e6, 0, true, nullptr});
  for (DeviceSpec& device : spec.devices) {
    device.gateway = 0;
    device.wifi_bytes_s = 50;
    device.watts = {{1, 1}};
    device.radio_w = 3;
  }
  spec.devices[1].presence = off_between(2);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    const auto try_up = [](World in, std::size_t device) -> Task<double> {
      try {
        co_await in.platform.upload(device, 100);
      } catch (const Failed&) {
      }
      co_return in.now_s();
    };
    std::vector<Task<double>> tasks;
    tasks.push_back(try_up(world, 0));
    tasks.push_back(try_up(world, 1));
    co_await note_all(world, std::move(tasks));
    world.log.push_back(world.platform.joules(0));
    world.log.push_back(world.platform.joules(1));
  });
  // 25 each until the second goes off at 2, then 50: 2 + 50/50. Radio: 100 bytes at 3 W / 50
  // byte/s; 50 of the other. Idle: 1 W for 3 s.
  check_dates(result, {3, 2, 6 + 3, 3 + 3});
}

TEST_CASE("energy follows a power mode that changes in mid-execution") {
  PlatformSpec spec = plain_world(1);
  spec.energy = true;
  spec.devices[0].mode_speeds_flops = {1000, 250};
  spec.devices[0].mode_changes = first_then_second_mode();
  spec.devices[0].watts = {{1, 20}, {1, 6}};
  const auto result = run_world(spec, [](World world) -> Task<void> {
    co_await world.platform.compute(0, 4000);
    world.log.push_back(world.platform.joules(0));
  });
  check_dates(result, {3 * 20 + 4 * 6});
}

TEST_CASE("energy that is counted needs the power of every mode") {
  PlatformSpec spec = plain_world(1);
  spec.energy = true;
  const auto root = [](World) -> Task<void> { co_return; };
  CHECK(run_world(spec, root).error ==
        "device 'd0': energy is counted, and its power is not known in every mode");
  spec.devices[0].watts = {{5, 4}};
  CHECK(run_world(spec, root).error.find("busy_w less idle_w") != std::string::npos);
}
