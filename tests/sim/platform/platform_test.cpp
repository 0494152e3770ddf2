#include "sim/platform/platform.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "tests/sim/world.h"

// Dates are worked out by hand: in the fluid model a transfer lasts latency + bytes / share.
namespace {

using namespace fedclock::test;
using fedclock::kernel::when_all;
using fedclock::platform::NetworkModel;
using fedclock::platform::Platform;

Task<Interval> upload(World world, std::size_t device, double bytes) {
  Interval up = co_await world.platform.upload(device, bytes);
  co_return up;
}
Task<Interval> download(World world, std::size_t device, double bytes) {
  Interval down = co_await world.platform.download(device, bytes);
  co_return down;
}

void add(World& world, const std::vector<Interval>& intervals) {
  for (const Interval& interval : intervals) {
    world.log.push_back(interval.start_s);
    world.log.push_back(interval.end_s);
  }
}

}  // namespace

TEST_CASE("one transfer each way: latency + bytes / bandwidth, exactly") {
  PlatformSpec spec = plain_world(1);
  spec.devices[0].latency_s = 0.25;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    Interval down = co_await world.platform.download(0, 400);
    Interval up = co_await world.platform.upload(0, 400);
    add(world, {down, up});
  });
  CHECK(result.error == "");
  // Down at 100 byte/s: 0 + 0.25 + 4 = 4.25. Up at 50 byte/s: 4.25 + 0.25 + 8 = 12.5.
  CHECK(result.values == std::vector<double>{0, 4.25, 4.25, 12.5});
}

TEST_CASE("download, compute, upload follow each other") {
  const auto result = run_world(plain_world(1), [](World world) -> Task<void> {
    Interval down = co_await world.platform.download(0, 400);
    Interval busy = co_await world.platform.compute(0, 2500);
    Interval up = co_await world.platform.upload(0, 100);
    Interval merge = co_await world.platform.compute_on_server(5000);
    add(world, {down, busy, up, merge});
  });
  CHECK(result.error == "");
  // 400/100 = 4; 2500/1000 = 2.5; 100/50 = 2; 5000/10000 = 0.5.
  CHECK(result.values == std::vector<double>{0, 4, 4, 6.5, 6.5, 8.5, 8.5, 9});
}

TEST_CASE("two uploads of the same size share the server's ingress") {
  PlatformSpec spec = plain_world(2);
  spec.server.ingress_bytes_s = 60;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<Interval>> tasks;
    tasks.push_back(upload(world, 0, 300));
    tasks.push_back(upload(world, 1, 300));
    std::vector<Interval> ups = co_await when_all(std::move(tasks));
    add(world, ups);
  });
  // Each gets 60/2 = 30 byte/s, below its own 50: 300/30 = 10.
  check_dates(result, {0, 10, 0, 10});
}

TEST_CASE("two uploads of different sizes: the longer one speeds up when the shorter has ended") {
  PlatformSpec spec = plain_world(2);
  spec.server.ingress_bytes_s = 60;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<Interval>> tasks;
    tasks.push_back(upload(world, 0, 150));
    tasks.push_back(upload(world, 1, 300));
    std::vector<Interval> ups = co_await when_all(std::move(tasks));
    add(world, ups);
  });
  // Both at 30: the first ends at 150/30 = 5. The second has 150 left and now 50 (its own link):
  // 5 + 150/50 = 8.
  check_dates(result, {0, 5, 0, 8});
}

TEST_CASE("a flow that its own link holds back leaves the rest of the ingress to the other") {
  PlatformSpec spec = plain_world(2);
  spec.devices[0].up_bytes_s = 10;
  spec.server.ingress_bytes_s = 60;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<Interval>> tasks;
    tasks.push_back(upload(world, 0, 100));
    tasks.push_back(upload(world, 1, 500));
    std::vector<Interval> ups = co_await when_all(std::move(tasks));
    add(world, ups);
  });
  // 10 + 50 = 60: neither waits for the other. 100/10 = 10 and 500/50 = 10.
  check_dates(result, {0, 10, 0, 10});
}

TEST_CASE("fluid: flows of different latency get the same share of a link") {
  PlatformSpec spec = plain_world(3);
  spec.devices[0].latency_s = 0.5;
  spec.devices[1].latency_s = 2;
  spec.devices[2].latency_s = 0;
  spec.server.ingress_bytes_s = 30;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<Interval>> tasks;
    for (std::size_t device = 0; device < 3; ++device) {
      tasks.push_back(upload(world, device, 100));
    }
    std::vector<Interval> ups = co_await when_all(std::move(tasks));
    add(world, ups);
  });
  // d2 alone at 30 until 0.5: 15 sent. d2 and d0 at 15 until 2: d2 37.5 and d0 22.5 sent. All at
  // 10: d2 has 62.5 left: 8.25. Then d0 has 77.5 - 62.5 = 15 left, d1 37.5, at 15 each: d0 at 9.25.
  // d1 has 22.5 left at 30: 10.
  check_dates(result, {0, 9.25, 0, 10, 0, 8.25});
}

TEST_CASE("downloads share the egress, and do not disturb uploads") {
  PlatformSpec spec = plain_world(2);
  spec.server.ingress_bytes_s = 60;
  spec.server.egress_bytes_s = 40;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<Interval>> tasks;
    tasks.push_back(download(world, 0, 100));
    tasks.push_back(download(world, 1, 100));
    tasks.push_back(upload(world, 0, 300));
    tasks.push_back(upload(world, 1, 300));
    std::vector<Interval> all = co_await when_all(std::move(tasks));
    add(world, all);
  });
  // Down: 40/2 = 20, so 5. Up: 60/2 = 30, so 10.
  check_dates(result, {0, 5, 0, 5, 0, 10, 0, 10});
}

TEST_CASE("without links of the server, devices do not disturb each other") {
  const auto result = run_world(plain_world(3), [](World world) -> Task<void> {
    std::vector<Task<Interval>> tasks;
    for (std::size_t device = 0; device < 3; ++device) {
      tasks.push_back(upload(world, device, 100));
    }
    std::vector<Interval> ups = co_await when_all(std::move(tasks));
    add(world, ups);
  });
  check_dates(result, {0, 2, 0, 2, 0, 2});
}

TEST_CASE("two transfers of one device share its link; two works share its processor") {
  const auto result = run_world(plain_world(1), [](World world) -> Task<void> {
    auto work = [](World in, double flops) -> Task<Interval> {
      Interval busy = co_await in.platform.compute(0, flops);
      co_return busy;
    };
    std::vector<Task<Interval>> tasks;
    tasks.push_back(upload(world, 0, 100));
    tasks.push_back(upload(world, 0, 100));
    tasks.push_back(work(world, 1000));
    tasks.push_back(work(world, 3000));
    std::vector<Interval> all = co_await when_all(std::move(tasks));
    add(world, all);
  });
  // 25 byte/s each: 4. 500 flop/s each: 2; then 2000 left at 1000: 4.
  check_dates(result, {0, 4, 0, 4, 0, 2, 0, 4});
}

TEST_CASE("when_all waits for the straggler") {
  PlatformSpec spec = plain_world(3);
  spec.devices[1].speed_flops = 10;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    auto round = [](World in, std::size_t device) -> Task<double> {
      co_await in.platform.download(device, 100);              // 1 s
      co_await in.platform.compute(device, 1000);              // 1 s; the straggler 100 s
      Interval up = co_await in.platform.upload(device, 100);  // 2 s
      co_return up.end_s;
    };
    std::vector<Task<double>> tasks;
    for (std::size_t device = 0; device < 3; ++device) tasks.push_back(round(world, device));
    std::vector<double> ends = co_await when_all(std::move(tasks));
    world.log = ends;
    world.note();
  });
  check_dates(result, {4, 103, 4, 103});
}

TEST_CASE("events of the same date come by device, whatever order they started in") {
  const auto result = run_world(plain_world(5), [](World world) -> Task<void> {
    auto round = [](World in, std::size_t device) -> Task<void> {
      co_await in.platform.download(device, 100);
      in.log.push_back(static_cast<double>(device));
      co_await in.platform.compute(device, 1000);
      in.log.push_back(static_cast<double>(10 + device));
    };
    std::vector<Task<void>> tasks;
    for (const std::size_t device : {3, 0, 4, 1, 2}) tasks.push_back(round(world, device));
    co_await when_all(std::move(tasks));
  });
  check_dates(result, {0, 1, 2, 3, 4, 10, 11, 12, 13, 14});
}

TEST_CASE("tcp: SimGrid's LV08, for a flow that is limited by its link, and one by its window") {
  PlatformSpec spec = plain_world(2);
  spec.model = NetworkModel::kTcp;
  spec.devices[0] = {"near", 1000, 1e6, 1e6, 0.01};
  spec.devices[1] = {"far", 1000, 1e9, 1e9, 0.5};
  const auto result = run_world(spec, [](World world) -> Task<void> {
    Interval near = co_await world.platform.download(0, 1e7);
    Interval far = co_await world.platform.download(1, 1e7);
    world.log = {near.duration_s(), far.duration_s()};
  });
  // near: 13.01 * 0.01 + 1e7 / (0.97 * 1e6).
  // far: the window allows 4194304 / (2 * 0.5) byte/s, far below 1e9; 13.01 * 0.5 + 1e7 / (0.97 *
  // it).
  const double window_bytes_s = 4194304 / (2 * 0.5);
  check_dates(result, {0.1301 + 1e7 / 0.97e6, 6.505 + 1e7 / (0.97 * window_bytes_s)});
}

TEST_CASE("many devices in a row of rounds give the same dates twice") {
  const auto once = [] {
    PlatformSpec spec = plain_world(50);
    spec.server.ingress_bytes_s = 500;
    for (std::size_t i = 0; i < 50; ++i) {
      spec.devices[i].speed_flops = 100.0 + 7.0 * static_cast<double>(i);
      spec.devices[i].latency_s = 0.01 * static_cast<double>(i % 5);
    }
    return run_world(spec, [](World world) -> Task<void> {
      auto round = [](World in, std::size_t device) -> Task<Interval> {
        co_await in.platform.download(device, 1000);
        co_await in.platform.compute(device, 3000);
        Interval up = co_await in.platform.upload(device, 1000);
        co_return up;
      };
      for (int i = 0; i < 5; ++i) {
        std::vector<Task<Interval>> tasks;
        for (std::size_t device = 0; device < 50; ++device) {
          tasks.push_back(round(world, device));
        }
        std::vector<Interval> ups = co_await when_all(std::move(tasks));
        add(world, ups);
      }
    });
  };
  const Forked first = once();
  const Forked second = once();
  CHECK(first.error == "");
  CHECK(first.values.size() == 500);
  CHECK(first.values == second.values);  // to the last bit
}

TEST_CASE("ten thousand devices are built") {
  const auto result = run_forked([] {
    fedclock::kernel::Simulation simulation;
    Platform platform(simulation, plain_world(10000));
    return std::vector<double>{static_cast<double>(platform.device_count())};
  });
  CHECK(result.error == "");
  CHECK(result.values[0] == 10000);
}

TEST_CASE("a world that makes no sense is refused, with its name, field and value") {
  const auto error_of = [](const PlatformSpec& spec) {
    return run_world(spec, [](World) -> Task<void> { co_return; }).error;
  };
  PlatformSpec spec = plain_world(2);
  spec.devices[1].speed_flops = 0;
  CHECK(error_of(spec).find("device 'd1': speed_flops is 0") == 0);
  spec = plain_world(2);
  spec.devices[0].up_bytes_s = -3;
  CHECK(error_of(spec).find("device 'd0': up_bytes_s is -3") == 0);
  spec = plain_world(2);
  spec.devices[0].down_bytes_s = HUGE_VAL;
  CHECK(error_of(spec).find("device 'd0': down_bytes_s is inf") == 0);
  spec = plain_world(2);
  spec.devices[0].latency_s = -0.1;
  CHECK(error_of(spec).find("device 'd0': latency_s is -0.1") == 0);
  spec = plain_world(2);
  spec.server.speed_flops = NAN;
  CHECK(error_of(spec).find("server 'server': speed_flops is nan") == 0);
  spec = plain_world(2);
  spec.server.ingress_bytes_s = 0;
  CHECK(error_of(spec).find("server 'server': ingress_bytes_s is 0") == 0);
  spec = plain_world(2);
  spec.server.egress_bytes_s = -1;
  CHECK(error_of(spec).find("server 'server': egress_bytes_s is -1") == 0);
  spec = plain_world(2);
  spec.devices[1].name = "server";
  CHECK(error_of(spec).find("named 'server'") != std::string::npos);
  spec = plain_world(2);
  spec.devices[1].name = "";
  CHECK(error_of(spec) == "device 1 has no name");
}

TEST_CASE("a cost that is missing or zero is an error") {
  const auto error_of = [](const std::function<Task<void>(World)>& root) {
    return run_world(plain_world(1), root).error;
  };
  CHECK(error_of([](World world) -> Task<void> {
          co_await world.platform.download(0, 0);
        }).find("d0: a download of 0 bytes") == 0);
  CHECK(error_of([](World world) -> Task<void> {
          co_await world.platform.upload(0, -5);
        }).find("d0: an upload of -5 bytes") == 0);
  CHECK(error_of([](World world) -> Task<void> {
          co_await world.platform.compute(0, NAN);
        }).find("d0: work of nan flops") == 0);
  CHECK(error_of([](World world) -> Task<void> {
          co_await world.platform.compute_on_server(0);
        }).find("server: work of 0 flops") == 0);
  CHECK(error_of([](World world) -> Task<void> {
          co_await world.platform.compute(1, 5);
        }).find("a device that does not exist") != std::string::npos);
}
