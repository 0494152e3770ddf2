// Dates of a world that changes, worked out by hand: shared gateways, WiFi cells, bandwidths and
// power modes that change while something is under way, devices that go and come, energy.
#include <catch2/catch.hpp>

#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "sim/platform/platform.h"
#include "tests/sim/world.h"

namespace {

using namespace fedclock::test;
using namespace fedclock::platform;
using fedclock::kernel::Failed;
using fedclock::kernel::when_all;

constexpr double kNever = std::numeric_limits<double>::infinity();

Task<double> up(World world, std::size_t device, double bytes) {
  Interval interval = co_await world.platform.upload(device, bytes);
  co_return interval.end_s;
}
Task<double> down(World world, std::size_t device, double bytes) {
  Interval interval = co_await world.platform.download(device, bytes);
  co_return interval.end_s;
}

// `d0` to `d<n-1>` of plain_world behind one gateway of 60 byte/s up and 1,000 down.
PlatformSpec behind_gateway(std::size_t devices, std::size_t behind) {
  PlatformSpec spec = plain_world(devices);
  spec.gateways.push_back({"edge", 60, 1000, 0, false, nullptr});
  for (std::size_t i = 0; i < behind; ++i) spec.devices[i].gateway = 0;
  return spec;
}

std::shared_ptr<const Bandwidth> trace(std::vector<double> times_s, std::vector<double> down,
                                       double period_s, double up_per_down = 1,
                                       double offset_s = 0) {
  auto made = std::make_shared<RateTrace>();
  made->times_s = std::move(times_s);
  made->down_bytes_s = std::move(down);
  made->period_s = period_s;
  return traced(made, up_per_down, offset_s);
}

}  // namespace

TEST_CASE("uploads behind a gateway share its backhaul; a device beside it does not") {
  const auto result = run_world(behind_gateway(4, 3), [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 200));
    tasks.push_back(up(world, 1, 300));
    tasks.push_back(up(world, 2, 500));
    tasks.push_back(up(world, 3, 200));
    co_await note_all(world, std::move(tasks));
  });
  // Three over 60 byte/s: 20 each. d0 ends at 200/20 = 10. Then 30 each: d1 has 100 left, and ends
  // at 10 + 100/30. d2 has then 500 - 200 - 100 = 200 left, and its own 50 byte/s are the limit: 4
  // s more. d3 alone: 200/50.
  check_dates(result, {10, 10 + 10.0 / 3, 10 + 10.0 / 3 + 4, 4});
}

TEST_CASE("the way through a gateway takes the latency of both") {
  PlatformSpec spec = behind_gateway(1, 1);
  spec.devices[0].latency_s = 0.25;
  spec.gateways[0].latency_s = 0.5;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100));
    co_await note_all(world, std::move(tasks));
  });
  check_dates(result, {0.75 + 2});
}

TEST_CASE("a WiFi cell: stations share the air, and the slow one slows the fast one") {
  PlatformSpec spec = plain_world(2);
  spec.gateways.push_back({"cell", 1e6, 1e6, 0, true, nullptr});
  spec.devices[0].gateway = spec.devices[1].gateway = 0;
  spec.devices[0].wifi_bytes_s = 100;
  spec.devices[1].wifi_bytes_s = 25;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100));
    tasks.push_back(down(world, 1, 200));
    co_await note_all(world, std::move(tasks));
    std::vector<Task<double>> alone;
    alone.push_back(down(world, 0, 100));
    co_await note_all(world, std::move(alone));
  });
  // Equal rates x with x/100 + x/25 = 1, so x = 20: the first ends at 100/20 = 5. The second has
  // 100 left then, and the air for itself: 5 + 100/25 = 9. Alone, 100 byte/s: 9 + 1.
  check_dates(result, {5, 9, 10});
}

TEST_CASE("three stations of one cell behind a backhaul that is the bottleneck") {
  PlatformSpec spec = plain_world(3);
  spec.gateways.push_back({"cell", 30, 1e6, 0, true, nullptr});
  for (DeviceSpec& device : spec.devices) {
    device.gateway = 0;
    device.wifi_bytes_s = 120;
  }
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100));
    tasks.push_back(up(world, 1, 100));
    tasks.push_back(down(world, 2, 180));
    co_await note_all(world, std::move(tasks));
  });
  // Two uploads at 15 each take 30/120 of the air; the download has the other 3/4: 90 byte/s. It
  // ends at 2, the uploads at 100/15.
  check_dates(result, {100.0 / 15, 100.0 / 15, 2});
}

TEST_CASE("a bandwidth that follows a trace changes in mid-transfer") {
  PlatformSpec spec = plain_world(1);
  // 100 byte/s until 2, 10 until 5, then from the start again.
  spec.devices[0].bandwidth = trace({0, 2}, {100, 10}, 5, 0.5);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    const double first_s = co_await down(world, 0, 500);
    world.log.push_back(first_s);
    co_await world.simulation.sleep_until(20);
    const double second_s = co_await up(world, 0, 110);
    world.log.push_back(second_s);
  });
  // 2 x 100 + 3 x 10 = 230 a period: 460 at 10, and 40 at 100: 10.4. Up at half of it from 20 on:
  // 2 x 50, and 10 more at 5 byte/s: 20 + 2 + 2.
  check_dates(result, {10.4, 24});
}

TEST_CASE("a trace that starts elsewhere, and one whose changes are no round numbers") {
  PlatformSpec spec = plain_world(2);
  spec.devices[0].bandwidth = trace({0, 2}, {100, 10}, 5, 1, 1.5);
  spec.devices[1].bandwidth = trace({0, 0.1, 0.3}, {7, 11, 13}, 0.7);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(down(world, 0, 80));
    tasks.push_back(down(world, 1, 7009));
    co_await note_all(world, std::move(tasks));
  });
  // Half a second at 100, then 10: 0.5 + 3. The second: 8.1 a period of 0.7 s: 865 periods
  // carry 7006.5; 2.5 are left: 0.7 in 0.1 s, then 1.8 at 11.
  check_dates(result, {3.5, 865 * 0.7 + 0.1 + 1.8 / 11});
}

TEST_CASE("a redrawn bandwidth: the same for the same seed, and what is drawn is what holds") {
  const auto bandwidth = redrawn(UniformDraw{100, 200}, 0.5, 10, 3, 7);
  const Rates first = bandwidth->at(0), second = bandwidth->at(10);
  CHECK(first.down_bytes_s != second.down_bytes_s);
  CHECK(first.up_bytes_s == first.down_bytes_s * 0.5);
  CHECK(first.until_s == 10);
  CHECK(redrawn(UniformDraw{100, 200}, 0.5, 10, 3, 7)->at(9.5).down_bytes_s == first.down_bytes_s);
  CHECK(redrawn(UniformDraw{100, 200}, 0.5, 10, 3, 8)->at(0).down_bytes_s != first.down_bytes_s);
  PlatformSpec spec = plain_world(1);
  spec.devices[0].bandwidth = bandwidth;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    const double end_s = co_await down(world, 0, 2300);
    world.log.push_back(end_s);
  });
  // What is left of 2300 after 10 s and, where it is more than the next 10 s carry, after 20 s.
  double left = 2300 - 10 * first.down_bytes_s, date_s = 10;
  if (left > 10 * second.down_bytes_s) {
    left -= 10 * second.down_bytes_s;
    date_s = 20;
  }
  check_dates(result, {date_s + left / bandwidth->at(date_s).down_bytes_s});
}

TEST_CASE("a power mode that changes in mid-execution") {
  PlatformSpec spec = plain_world(1);
  spec.devices[0].mode_speeds_flops = {1000, 250};
  spec.devices[0].mode_changes = first_then_second_mode();
  const auto result = run_world(spec, [](World world) -> Task<void> {
    Interval scaled = co_await world.platform.compute(0, 4000);
    world.log.push_back(scaled.end_s);
  });
  // 3000 flops until 3, then 1000 more at 250: 3 + 4.
  check_dates(result, {7});
  const auto by_mode = run_world(spec, [](World world) -> Task<void> {
    std::vector<double> flops(2, 4000);  // GCC 12 takes no list inside a co_await
    flops[1] = 500;
    Interval interval = co_await world.platform.compute_by_mode(0, flops);
    world.log.push_back(interval.end_s);
  });
  // 4 s in the first mode, 2 s in the second: three quarters are done at 3, the rest takes a
  // quarter of 2 s.
  check_dates(by_mode, {3.5});
}

TEST_CASE("a mode that changes with the rounds") {
  auto changes = std::make_shared<ModeChanges>();
  changes->every_rounds = 20;
  changes->choices = {0, 1};
  for (changes->seed = 1; changes->at(0, 1, 0).number != 0 || changes->at(0, 21, 0).number != 1;) {
    ++changes->seed;
  }
  CHECK(changes->at(99, 20, 0).number == 0);
  CHECK(changes->at(0, 40, 0).number == 1);
  PlatformSpec spec = plain_world(1);
  spec.devices[0].mode_speeds_flops = {1000, 250};
  spec.devices[0].mode_changes = changes;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    for (const int64_t number : {1, 20, 21}) {
      world.platform.enter_round(number);
      Interval busy = co_await world.platform.compute(0, 1000);
      world.log.push_back(busy.end_s);
    }
  });
  check_dates(result, {1, 2, 6});
}

TEST_CASE("a failure in mid-upload, and a retry from the start or from where it broke") {
  PlatformSpec spec = plain_world(1);
  spec.devices[0].latency_s = 1;
  spec.devices[0].presence = off_between(3, 10);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    auto upload = world.platform.upload(0, 400);
    bool failed = false;
    try {
      co_await upload;
    } catch (const Failed&) {
      failed = true;  // no co_await in a handler
    }
    world.log.push_back(failed);
    world.note();
    world.log.push_back(upload.done());
    const double back_s = world.platform.next_reachable_s(0);
    world.log.push_back(back_s);
    co_await world.simulation.sleep_until(back_s);
    Interval rest = co_await world.platform.upload(0, 400 * (1 - upload.done()));
    world.log.push_back(rest.end_s);
    Interval again = co_await world.platform.upload(0, 400);
    world.log.push_back(again.end_s);
  });
  // 1 s of latency, 2 s at 50 byte/s: a quarter of the 400 is through at 3. Back at 10: 300 more
  // take 1 + 6; all 400 take 1 + 8.
  check_dates(result, {1, 3, 0.25, 10, 17, 26});
}

TEST_CASE("how much of a training was done when its device died") {
  PlatformSpec spec = plain_world(1);
  spec.devices[0].presence = off_between(3);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    auto work = world.platform.compute(0, 4000);
    bool failed = false;
    try {
      co_await work;
    } catch (const Failed& error) {
      failed = std::string(error.what()) == "'d0' went off";
    }
    world.log.push_back(failed);
    world.log.push_back(work.done());
    world.log.push_back(world.platform.next_on_s(0));
  });
  check_dates({{result.values[0], result.values[1]}, result.error}, {1, 0.75});
  CHECK(result.values[2] == kNever);
}

TEST_CASE("a link that is cut stops transfers and not the work; so does a gateway") {
  for (const bool gateway : {false, true}) {
    PlatformSpec spec = behind_gateway(1, gateway ? 1 : 0);
    (gateway ? spec.gateways[0].presence : spec.devices[0].link_presence) = off_between(1, 5);
    const auto result = run_world(spec, [](World world) -> Task<void> {
      Interval busy = co_await world.platform.compute(0, 2000);
      world.log.push_back(busy.end_s);
      std::string error;
      try {
        co_await world.platform.upload(0, 50);
      } catch (const Failed& failed) {
        error = failed.what();
      }
      world.log.push_back(error == "'d0' is out of reach");
      world.log.push_back(world.platform.next_reachable_s(0));
      world.log.push_back(world.platform.off_seconds(0, 0, 10));
    });
    check_dates(result, {2, 1, 5, 0});
  }
}

TEST_CASE("availability: intervals that repeat, with an offset, at their very ends") {
  auto intervals =
      std::make_shared<std::vector<Interval>>(std::vector<Interval>{{1, 3}, {3, 4}, {8, 10}});
  const auto presence = on_during(intervals, 10, 0.5);
  // In the trace's own time, t + 0.5: on in [1,4) and [8,10), and so again after 10.
  const auto on = [&](double date_s) { return presence->at(date_s).on; };
  CHECK(!on(0));
  CHECK(on(0.5));
  CHECK(on(2.5));
  CHECK(!on(3.5));
  CHECK(on(7.5));
  CHECK(on(9.4));
  CHECK(!on(9.5));  // 0 of the next period
  CHECK(on(10.5));
  CHECK(next_on_s(presence.get(), 3.5) == 7.5);
  CHECK(next_on_s(presence.get(), 9.6) == 10.5);
  CHECK(on_seconds(presence.get(), 0, 20) == Approx(10));
  CHECK(on_seconds(presence.get(), 1, 3) == Approx(2));
  // Without a repetition it is off for ever after the last.
  const auto once = on_during(intervals, kNever, 0);
  CHECK(next_on_s(once.get(), 10) == kNever);
  CHECK(on_seconds(once.get(), 0, 1e9) == 5);
  const auto inverted = off_during(intervals, kNever, 0);
  CHECK(on_seconds(inverted.get(), 0, 20) == 15);
  for (const auto& bad : {std::vector<Interval>{{2, 2}}, std::vector<Interval>{{3, 4}, {1, 2}},
                          std::vector<Interval>{{3, 11}}, std::vector<Interval>{{-1, 1}}}) {
    CHECK_THROWS_AS(on_during(std::make_shared<std::vector<Interval>>(bad), 10, 0),
                    fedclock::InputError);
  }
}

TEST_CASE("a trace that is on at its end and at its start has no gap between the two") {
  for (const double period_s : {0.7, 86400.1, 172799.9, 1.1}) {
    const auto whole = std::make_shared<std::vector<Interval>>(
        std::vector<Interval>{{0, period_s / 3}, {period_s / 2, period_s}});
    const auto presence = on_during(whole, period_s, period_s * 0.6);
    double date_s = 0;
    int off = 0;
    for (int change = 0; change < 400; ++change) {
      const Presence::State state = presence->at(date_s);
      REQUIRE(state.until_s > date_s);
      if (!state.on) {
        ++off;
        CHECK(state.until_s - date_s > period_s / 7);
      }
      date_s = state.until_s;
    }
    CHECK(off >= 100);
  }
}

TEST_CASE("two things that must both be there") {
  auto first = std::make_shared<std::vector<Interval>>(std::vector<Interval>{{0, 1}});
  auto second = std::make_shared<std::vector<Interval>>(std::vector<Interval>{{0.5, 2}});
  const auto one = on_during(first, 2, 0), other = on_during(second, 2, 0);
  const auto together = both(one, other);
  CHECK(on_seconds(together.get(), 0, 20) == Approx(5));  // 0.5 to 1 of each 2 s
  CHECK(next_on_s(together.get(), 1) == 2.5);
  CHECK(both(nullptr, one) == one);
  CHECK(both(one, nullptr) == one);
  // One that is gone for good, and two that take turns: never again.
  CHECK(next_on_s(both(one, off_between(3)).get(), 4) == kNever);
  CHECK(next_on_s(both(one, on_during(first, 2, 1)).get(), 0) == kNever);
}

TEST_CASE("churn: on for its share of the time, the same for the same seed, whoever asks first") {
  const auto one = churn(30, 10, 5, 2);
  const auto other = churn(30, 10, 5, 2);
  other->at(1e5);  // asked late first
  double date_s = 0;
  int changes = 0;
  while (date_s < 1e5) {
    const Presence::State state = one->at(date_s);
    CHECK(other->at(date_s).on == state.on);
    REQUIRE(state.until_s > date_s);
    date_s = state.until_s;
    ++changes;
  }
  // 2,500 cycles of 40 s expected: the share's error is about sqrt(2 x 2500) x 7.5 / 1e5 s < 0.01.
  CHECK(on_seconds(one.get(), 0, 1e5) / 1e5 == Approx(0.75).margin(0.03));
  CHECK(changes == Approx(5000).margin(300));
}

TEST_CASE("a SimGrid platform file gives the network, the specs give the speeds") {
  const std::string path = "/tmp/fedclock_world_test.xml";
  std::ofstream(path) << R"(<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <zone id="all" routing="Full">
    <host id="north" speed="8f"/>
    <host id="south" speed="4f"/>
    <host id="hub" speed="1f"/>
    <link id="n" bandwidth="20Bps" latency="2s"/>
    <link id="s" bandwidth="40Bps" latency="0s"/>
    <link id="trunk" bandwidth="30Bps" latency="1s"/>
    <route src="north" dst="hub"><link_ctn id="n"/><link_ctn id="trunk"/></route>
    <route src="south" dst="hub"><link_ctn id="s"/><link_ctn id="trunk"/></route>
  </zone>
</platform>
)";
  PlatformSpec spec = plain_world(2);
  spec.file = SimGridFile{path, "hub", {"south", "north"}};
  spec.devices[0].mode_speeds_flops = {1000, 250};  // modes change there too
  spec.devices[0].mode_changes = first_then_second_mode();
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(up(world, 0, 100));
    tasks.push_back(up(world, 1, 70));
    co_await note_all(world, std::move(tasks));
    Interval busy = co_await world.platform.compute(1, 2000);
    world.log.push_back(busy.duration_s());
    Interval merge = co_await world.platform.compute_on_server(20000);
    world.log.push_back(merge.duration_s());
    co_await world.simulation.sleep_until(999);
    const double speed_flops =
        world.platform.device_count() > 0 && first_then_second_mode()->at(999, 0, 0).number == 0
            ? 1000
            : 250;
    Interval moded = co_await world.platform.compute(0, speed_flops);
    world.log.push_back(moded.duration_s());
  });
  // d0 is south: 1 s of latency, then alone on the trunk at 30 until 3: 60 bytes. Then d1 (north,
  // 3 s of latency) comes: 15 each, 40 left: 3 + 40/15. d1 has 30 left then, at its own 20: 1.5 s.
  const double first_s = 3 + 40.0 / 15;
  check_dates(result, {first_s, first_s + 1.5, 2, 2, 1});
  spec.file->device_hosts = {"south", "west"};
  const auto root = [](World) -> Task<void> { co_return; };
  CHECK(run_world(spec, root).error == path + " has no host named 'west'");
  spec.file = SimGridFile{path, "hub", {}};
  spec.devices.push_back(spec.devices[0]);
  spec.devices[2].name = "d2";
  CHECK(run_world(spec, root).error.find("has 2 hosts for 3 devices") != std::string::npos);
  spec.file->path = "/nowhere.xml";
  CHECK(run_world(spec, root).error == "there is no SimGrid platform file /nowhere.xml");
  spec.devices.pop_back();
  spec.file->path = path;
  std::ofstream(path) << R"(<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1"><zone id="all" routing="Full">
    <host id="north" speed="8f"/><host id="south" speed="4f"/><host id="hub" speed="1f"/>
    <link id="n" bandwidth="20Bps" latency="2s"/>
    <route src="north" dst="hub"><link_ctn id="n"/></route>
</zone></platform>
)";
  CHECK(run_world(spec, root).error.find("has no route from 'south' to 'hub'") !=
        std::string::npos);
  std::ofstream(path) << "<platform version=\"4.1\"><host id=\"a\" state_file=\"x\"/>";
  CHECK(run_world(spec, root).error.find("state_file") != std::string::npos);
  std::ofstream(path) << "<platform version=\"4.1\"><zone";
  CHECK(run_world(spec, root).error.find("SimGrid cannot load this platform") != std::string::npos);
}
