// Exchanges with gateways and between devices in WiFi cells, with energy, on a SimGrid platform
// file, and those that are refused.
#include <catch2/catch.hpp>

#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/platform/aggregators.h"

namespace {

using namespace fedclock::test;
using namespace fedclock::platform;

}  // namespace

TEST_CASE("a gateway that is an access point: the air once, and nothing of the backhaul") {
  PlatformSpec spec = plain_world(3);
  spec.aggregators = Aggregators::kGateways;
  spec.gateways.push_back({"cell", 10, 20, 0, true, nullptr, 500});
  spec.gateways.push_back({"edge", 20, 40, 0, false, nullptr, 500});
  spec.devices[0].gateway = spec.devices[1].gateway = 0;
  spec.devices[0].wifi_bytes_s = 100;
  spec.devices[1].wifi_bytes_s = 25;
  spec.devices[2].gateway = 1;
  // Equal rates x with x/100 + x/25 = 1, so 20: the first ends at 100/20 = 5, the second has 100
  // left, and the air: 5 + 100/25. The gateway's own go over its backhaul: 50/10, 80/20. A device
  // of the other gateway: 100/50. Then the server's, over the backhaul, which is the limit: 9 + 4
  // and then 13 + 2; the slow station's is the air: 15 + 100/25.
  check_both(spec, {5, 9, 5, 4, 2, 13, 15, 19}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100, gateway(0)));
    tasks.push_back(down(world, 1, 200, gateway(0)));
    tasks.push_back(gateway_up(world, 0, 50));
    tasks.push_back(gateway_down(world, 0, 80));
    tasks.push_back(up(world, 2, 100, gateway(1)));
    co_await note_all(world, std::move(tasks));
    const double up_s = co_await up(world, 0, 40, kServerPlace);
    const double down_s = co_await down(world, 0, 40, kServerPlace);
    const double slow_s = co_await up(world, 1, 100, gateway(0));
    for (const double end_s : {up_s, down_s, slow_s}) world.log.push_back(end_s);
  });
}

TEST_CASE("stations of one cell reach each other over the air twice; both radios draw power") {
  PlatformSpec spec = peers(3);
  spec.gateways.push_back({"cell", 10, 20, 0, true, nullptr});
  spec.gateways.push_back({"other", 1000, 1000, 0, true, nullptr});
  for (std::size_t i = 0; i < 3; ++i) {
    spec.devices[i].gateway = i / 2;
    spec.devices[i].wifi_bytes_s = i == 1 ? 25 : 100;
    spec.devices[i].watts.push_back({0, 0});
    spec.devices[i].radio_w = 5;
  }
  // x/100 + x/25 = 1: 20 byte/s, so 5 s. To the other cell the backhaul's 10 are the limit: 10 s
  // more.
  const auto dates = [](World world) -> Task<void> {
    const double first_s = co_await up(world, 0, 100, device(1));
    const double second_s = co_await up(world, 0, 100, device(2));
    world.log.push_back(first_s);
    world.log.push_back(second_s);
  };
  check_both(spec, {5, 15}, dates);
  spec.energy = true;
  // 5 W of each radio for the second that it takes of the air; d1, at 25 byte/s, takes 4.
  check_both(spec, {5, 15, 10, 20, 5}, [dates](World world) -> Task<void> {
    co_await dates(world);
    for (std::size_t i = 0; i < 3; ++i) world.log.push_back(world.platform.joules(i));
  });
}

TEST_CASE("energy: the radio of a device that exchanges data with its gateway") {
  PlatformSpec spec = two_gateways();
  spec.energy = true;
  for (DeviceSpec& device : spec.devices) {
    device.watts.push_back({1, 3});
    device.radio_w = 2;
  }
  // Idle for 2 s at 1 W, and the radio at its full rate for 2 s: 2 + 4. The others idle only.
  check_both(spec, {6, 2}, [](World world) -> Task<void> {
    co_await up(world, 0, 100, gateway(0));
    world.log.push_back(world.platform.joules(0));
    world.log.push_back(world.platform.joules(1));
  });
}

TEST_CASE("what there is, and what it is called") {
  const auto result = run_world(two_gateways(), [](World world) -> Task<void> {
    const Platform& platform = world.platform;
    world.log.push_back(static_cast<double>(platform.gateway_count()));
    world.log.push_back(static_cast<double>(platform.device_count()));
    world.log.push_back(platform.gateway_of(1) == 0);
    world.log.push_back(platform.gateway_of(2) == 1);
    world.log.push_back(platform.gateway_of(3).has_value());
    world.log.push_back(platform.name_of(gateway(1)) == "east");
    world.log.push_back(platform.name_of(device(1)) == "d1");
    world.log.push_back(platform.name_of(kServerPlace) == "server");
    const auto upload = world.platform.upload(0, 1, gateway(0));
    world.log.push_back(upload.describe() == "an upload from 'd0' to 'west'");
    co_return;
  });
  check_dates(result, {2, 4, 1, 1, 0, 1, 1, 1, 1});
}

TEST_CASE("device aggregators on a SimGrid platform file: its routes; gateways are refused") {
  const std::string path = "/tmp/fedclock_aggregator_test.xml";
  std::ofstream(path) << R"(<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <zone id="all" routing="Full">
    <host id="north" speed="8f"/>
    <host id="south" speed="4f"/>
    <host id="west" speed="4f"/>
    <host id="hub" speed="1f"/>
    <link id="n" bandwidth="20Bps" latency="2s"/>
    <link id="s" bandwidth="40Bps" latency="0.5s"/>
    <link id="w" bandwidth="40Bps" latency="0s"/>
    <route src="north" dst="hub"><link_ctn id="n"/></route>
    <route src="south" dst="hub"><link_ctn id="s"/></route>
    <route src="west" dst="hub"><link_ctn id="w"/></route>
    <route src="north" dst="south"><link_ctn id="n"/><link_ctn id="s"/></route>
  </zone>
</platform>
)";
  PlatformSpec spec = peers(3);
  spec.file = SimGridFile{path, "hub", {"south", "north", "west"}};
  // Latency 2.5, then 100/20.
  check_both(spec, {7.5}, [](World world) -> Task<void> {
    const double end_s = co_await up(world, 1, 100, device(0));
    world.log.push_back(end_s);
  });
  const auto lost = run_world(
      spec, [](World world) -> Task<void> { co_await world.platform.upload(1, 100, device(2)); });
  CHECK(lost.error == path + ": has no route from 'north' to 'west'");
  spec.aggregators = Aggregators::kGateways;
  const auto refused = run_world(spec, [](World) -> Task<void> { co_return; });
  CHECK(refused.error.find("a SimGrid platform file names none") != std::string::npos);
}

TEST_CASE("exchanges that make no sense are refused") {
  const auto error_of = [](const PlatformSpec& spec, const std::function<void(Platform&)>& ask) {
    return run_world(spec,
                     [&ask](World world) -> Task<void> {
                       ask(world.platform);
                       co_return;
                     })
        .error;
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  const PlatformSpec edges = two_gateways();
  const auto other = [](Platform& platform) { (void)platform.upload(0, 1, gateway(1)); };
  CHECK(contains(error_of(edges, other), "a gateway that the device is not behind"));
  const auto between = [](Platform& platform) { (void)platform.upload(0, 1, device(1)); };
  CHECK(contains(error_of(edges, between), "devices that exchange no data"));
  const auto itself = [](Platform& platform) { (void)platform.download(1, 1, device(1)); };
  CHECK(contains(error_of(peers(2), itself), "from a device to itself"));
  const auto beyond = [](Platform& platform) { (void)platform.download(1, 1, device(2)); };
  CHECK(contains(error_of(peers(2), beyond), "a device that does not exist"));
  PlatformSpec plain = two_gateways();
  plain.aggregators = Aggregators::kServer;
  const auto work = [](Platform& platform) { (void)platform.compute_on_gateway(0, 1); };
  CHECK(contains(error_of(plain, work), "a gateway that exchanges no data"));
  PlatformSpec router = two_gateways();
  router.gateways[0].speed_flops.reset();
  CHECK(contains(error_of(router, work), "gateway 'west' is given work and has no machine"));
  const auto nothing = [](Platform& platform) { (void)platform.gateway_upload(0, 0); };
  CHECK(contains(error_of(edges, nothing), "west: an upload of 0 bytes"));
  router.gateways[1].speed_flops = 0;
  const auto none = [](Platform&) {};
  CHECK(contains(error_of(router, none), "gateway 'east': speed_flops is 0"));
}
