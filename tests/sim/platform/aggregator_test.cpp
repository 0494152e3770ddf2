// Dates of exchanges with other places than the server, worked out by hand: a gateway and the
// devices behind it, a gateway and the server, two devices.
#include <catch2/catch.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/platform/aggregators.h"

namespace {

using namespace fedclock::test;
using namespace fedclock::platform;

}  // namespace

TEST_CASE("a device and its gateway: the device's own link, and nothing of the backhaul") {
  PlatformSpec spec = two_gateways();
  spec.server.ingress_bytes_s = spec.server.egress_bytes_s = 1;
  // 50 byte/s up and 100 down, though the backhaul has 20 and 40, and the server 1.
  check_both(spec, {2, 4}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100, gateway(0)));
    tasks.push_back(down(world, 0, 400, gateway(0)));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("two devices to one gateway disturb each other no more than they do others") {
  // d0 and d1 to their gateway at 50 each: 100/50 and 300/50. d2 to its own: 50/50. d3 to the
  // server: 200/50.
  check_both(two_gateways(), {2, 6, 1, 4}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100, gateway(0)));
    tasks.push_back(up(world, 1, 300, gateway(0)));
    tasks.push_back(up(world, 2, 50, gateway(1)));
    tasks.push_back(up(world, 3, 200, kServerPlace));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("an upload to the gateway and one to the server share the device's link") {
  // The second has 20 byte/s of the backhaul, the first the other 30 of the device's 50: 90/30 = 3.
  // Then the second goes on at 20: 100/20 = 5.
  check_both(two_gateways(), {3, 5}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 90, gateway(0)));
    tasks.push_back(up(world, 0, 100, kServerPlace));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("gateways to the server: the backhaul of each, and the ingress of all") {
  PlatformSpec spec = two_gateways();
  spec.server.ingress_bytes_s = 30;
  spec.server.egress_bytes_s = 60;
  // Up at 30/2 = 15 each, below the backhaul's 20: the first ends at 150/15 = 10. The second has
  // 300 - 150 = 150 left, at 20 now: 10 + 7.5. Down at 60/2 = 30 each: the first ends at 90/30 = 3;
  // the second has 170 - 90 = 80 left, at 40: 3 + 2.
  check_both(spec, {10, 17.5, 3, 5}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(gateway_up(world, 0, 150));
    tasks.push_back(gateway_up(world, 1, 300));
    tasks.push_back(gateway_down(world, 0, 90));
    tasks.push_back(gateway_down(world, 1, 170));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("a gateway's upload and one of a device behind it share the backhaul") {
  // 10 byte/s each until the device's 50 are there at 5; the gateway has 150 - 50 left, at 20.
  check_both(two_gateways(), {10, 5}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(gateway_up(world, 0, 150));
    tasks.push_back(up(world, 1, 50, kServerPlace));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("from device to device: the sender's way out and the receiver's way in") {
  PlatformSpec spec = peers(3);
  spec.server.ingress_bytes_s = spec.server.egress_bytes_s = 1;
  spec.devices[1].down_bytes_s = 25;
  spec.devices[1].up_bytes_s = 400;
  // d0's 50 up against d1's 25 down: 100/25. d1's 400 up against d2's 100 down: 300/100. Back from
  // d1 to d0 is d0's own 100: 100/100. The first and the last are one after the other.
  check_both(spec, {3, 4, 5}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 1, 300, device(2)));
    tasks.push_back(up(world, 0, 100, device(1)));
    co_await note_all(world, std::move(tasks));
    const double back_s = co_await down(world, 0, 100, device(1));
    world.log.push_back(back_s);
  });
}

TEST_CASE("two members to one device share its way in: each takes twice as long") {
  PlatformSpec spec = peers(3);
  spec.devices[2].down_bytes_s = 50;
  // Alone 100/50 = 2; together at 25 each: 4.
  check_both(spec, {4, 4}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100, device(2)));
    tasks.push_back(up(world, 1, 100, device(2)));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("a device's download from the server shares its way in with a member's update") {
  PlatformSpec spec = peers(2);
  spec.devices[1].down_bytes_s = 60;
  // 30 each until the update's 90 are there at 3; the download has 150 - 90 left, at 60: 3 + 1.
  check_both(spec, {3, 4}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 90, device(1)));
    tasks.push_back(down(world, 1, 150, kServerPlace));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("devices behind gateways: both backhauls between two, none within one") {
  PlatformSpec spec = two_gateways();
  spec.aggregators = Aggregators::kDevices;
  spec.gateways[1].down_bytes_s = 16;
  // d0 to d1 at d0's 50: 100/50 = 2. d1 to d2 over west's 20 up and east's 16 down: 80/16 = 5. d3
  // to d0 over west's 40 down: 40/40, but d0's 100 are no limit.
  check_both(spec, {2, 5, 1}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100, device(1)));
    tasks.push_back(up(world, 1, 80, device(2)));
    tasks.push_back(up(world, 3, 40, device(0)));
    co_await note_all(world, std::move(tasks));
  });
}

TEST_CASE("latencies add up over the links of the way, and no others") {
  PlatformSpec spec = two_gateways();
  for (std::size_t i = 0; i < 4; ++i) spec.devices[i].latency_s = std::pow(2.0, i);  // 1, 2, 4, 8
  spec.gateways[0].latency_s = 16;
  spec.gateways[1].latency_s = 32;
  // Each carries for 1 s. To the gateway d0's 1; the gateway to the server its 16; d0 to the server
  // both.
  check_both(spec, {2, 2, 17, 17, 18}, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 50, gateway(0)));
    tasks.push_back(down(world, 0, 100, gateway(0)));
    tasks.push_back(gateway_up(world, 0, 20));
    tasks.push_back(gateway_down(world, 0, 40));
    tasks.push_back(up(world, 0, 20, kServerPlace));
    co_await note_all(world, std::move(tasks));
  });
  spec.aggregators = Aggregators::kDevices;
  // d0 to d1 behind one gateway: 1 + 2. d0 to d2: 1 + 16 + 32 + 4. d3 to d1: 8 + 16 + 2.
  check_both(spec, {4, 54, 27}, [](World world) -> Task<void> {
    const double first_s = co_await up(world, 0, 50, device(1));
    world.log.push_back(first_s);
    const double start_s = world.now_s();
    const double second_s = co_await up(world, 0, 20, device(2));
    world.log.push_back(second_s - start_s);
    const double third_s = co_await down(world, 1, 40, device(3));
    world.log.push_back(third_s - second_s);
  });
}

TEST_CASE("tcp: the gateway's way has the latency of its links alone, too") {
  PlatformSpec spec = two_gateways();
  spec.model = NetworkModel::kTcp;
  spec.devices[0] = {"near", 1000, 1e6, 1e6, 0.01, 0};
  spec.gateways[0] = {"west", 1e6, 1e6, 0.02, false, nullptr, 500};
  // LV08: 13.01 latency + bytes / (0.97 bandwidth).
  check_both(spec, {0.1301 + 1e7 / 0.97e6, 0.2602 + 1e7 / 0.97e6}, [](World world) -> Task<void> {
    Interval near = co_await world.platform.upload(0, 1e7, gateway(0));
    Interval far = co_await world.platform.gateway_upload(0, 1e7);
    world.log.push_back(near.duration_s());
    world.log.push_back(far.duration_s());
  });
}

TEST_CASE("a gateway that goes off breaks its transfers off; a server that does, does not") {
  PlatformSpec spec = two_gateways();
  spec.gateways[0].presence = off_between(3, 10);
  spec.server.presence = off_between(1, 20);
  // 3 s at 50 byte/s: 150 of 200. Back at 10: 100/50. Then the server is still off.
  const std::vector<double> expected = {1, 3, 0.75, 0, 0, 10, 10, 20, 20, 12, 1, 12, 1, 0};
  check_both(spec, expected, [](World world) -> Task<void> {
    Platform& platform = world.platform;
    auto upload = platform.upload(0, 200, gateway(0));
    co_await note_failure(world, upload, "'west' went off");
    world.log.push_back(upload.done());
    world.log.push_back(platform.is_on(gateway(0)));
    world.log.push_back(platform.next_reachable_s(0, gateway(0)) <= world.simulation.now_s());
    world.log.push_back(platform.next_on_s(gateway(0)));
    world.log.push_back(platform.next_reachable_s(0, gateway(0)));
    world.log.push_back(platform.next_reachable_s(0, kServerPlace));
    world.log.push_back(platform.next_gateway_reachable_s(0));
    co_await world.simulation.sleep_until(10);
    const double again_s = co_await up(world, 0, 100, gateway(0));
    world.log.push_back(again_s);
    auto onward = platform.gateway_upload(0, 20);
    co_await note_failure(world, onward, "'server' is off");
    world.log.push_back(platform.next_reachable_s(0, gateway(0)) <= world.simulation.now_s());
    world.log.push_back(platform.is_on(kServerPlace));
  });
}

TEST_CASE("an exchange of two devices needs both, their links and their gateways") {
  for (const int broken : {0, 1, 2, 3, 4}) {
    CAPTURE(broken);
    PlatformSpec spec = two_gateways();
    spec.aggregators = Aggregators::kDevices;
    spec.server.presence = off_between(0);
    const auto off = off_between(1, 5);
    if (broken == 1) spec.devices[0].link_presence = off;
    if (broken == 2) spec.devices[2].presence = off;
    if (broken == 3) spec.devices[2].link_presence = off;
    if (broken == 4) spec.gateways[1].presence = off;
    const std::string error = broken == 0   ? ""
                              : broken == 1 ? "'d0' went out of reach"
                              : broken == 2 ? "'d2' went off"
                                            : "'d2' went out of reach";
    const double end_s = broken == 0 ? 2 : 1, next_s = broken == 0 ? 2 : 5;
    // 40 bytes over the backhaul of 20 byte/s.
    check_both(spec, {1, end_s, next_s, 1}, [error](World world) -> Task<void> {
      auto upload = world.platform.upload(0, 40, device(2));
      co_await note_failure(world, upload, error);
      world.log.push_back(world.platform.next_reachable_s(0, device(2)));
      world.log.push_back(std::isinf(world.platform.next_reachable_s(0)));
    });
  }
}

TEST_CASE("bandwidths that change, of both ends of an exchange") {
  const auto steps = [](std::vector<double> times_s, std::vector<double> down_bytes_s) {
    auto made = std::make_shared<RateTrace>();
    made->times_s = std::move(times_s);
    made->down_bytes_s = std::move(down_bytes_s);
    made->period_s = 100;
    return traced(made, 1, 0);
  };
  PlatformSpec spec = peers(2);
  spec.devices[0].bandwidth = steps({0, 2}, {100, 10});
  spec.devices[1].bandwidth = steps({0, 1, 4}, {30, 200, 5});
  // Limited by d1 to 30 until 1, by d0 to 100 until 2 and to 10 until 4, then by d1 to 5: 30 + 100
  // + 20, and 10 more at 5.
  check_both(spec, {6}, [](World world) -> Task<void> {
    const double end_s = co_await up(world, 0, 160, device(1));
    world.log.push_back(end_s);
  });
  spec = two_gateways();
  spec.devices[0].bandwidth = steps({0, 2}, {100, 10});
  // To a gateway: 2 x 100, and 10 more at 10.
  check_both(spec, {3}, [](World world) -> Task<void> {
    const double end_s = co_await up(world, 0, 210, gateway(0));
    world.log.push_back(end_s);
  });
}

TEST_CASE("work on a gateway") {
  PlatformSpec spec = two_gateways();
  spec.gateways[1].presence = off_between(7);
  // 1000/500 = 2; two at once take twice as long: 6. East goes off after 500 of 1000.
  check_both(spec, {2, 6, 6, 1, 7, 0.5}, [](World world) -> Task<void> {
    const auto work = [](World in) -> Task<double> {
      Interval busy = co_await in.platform.compute_on_gateway(0, 1000);
      co_return busy.end_s;
    };
    const double first_s = co_await work(world);
    world.log.push_back(first_s);
    std::vector<Task<double>> tasks;
    tasks.push_back(work(world));
    tasks.push_back(work(world));
    co_await note_all(world, std::move(tasks));
    auto broken = world.platform.compute_on_gateway(1, 1000);
    co_await note_failure(world, broken, "'east' went off");
    world.log.push_back(broken.done());
  });
}
