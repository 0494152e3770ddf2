// What ends an operation early: a deadline, a cancellation, a device or a server that goes off.
#include <catch2/catch.hpp>

#include <optional>
#include <string>
#include <vector>

#include "sim/platform/platform.h"
#include "tests/sim/world.h"

namespace {

using namespace fedclock::test;
using fedclock::kernel::Cancelled;
using fedclock::kernel::EventKind;
using fedclock::kernel::Failed;
using fedclock::kernel::First;
using fedclock::kernel::kServer;
using fedclock::kernel::when_all;
using fedclock::kernel::when_any;
using fedclock::kernel::with_deadline;
using Log = std::vector<double>;

// 400 bytes down at 100: to 4. 2000 flops at 1000: to 6. 200 bytes up at 50: to 10.
Task<double> round(World world, std::size_t device = 0) {
  co_await world.platform.download(device, 400);
  co_await world.platform.compute(device, 2000);
  Interval up = co_await world.platform.upload(device, 200);
  co_return up.end_s;
}

// Ends well: 0. Otherwise: the date, the device, the kind.
Task<void> note_failure(World world, Task<double> task) {
  try {
    co_await task;
    world.log.push_back(0);
  } catch (const Failed& failed) {
    world.note();
    world.log.push_back(failed.device() == kServer ? -1 : static_cast<double>(failed.device()));
    world.log.push_back(static_cast<double>(failed.kind()));
  }
}

double kind(EventKind value) { return static_cast<double>(value); }

}  // namespace

TEST_CASE("a deadline cuts an upload, and frees the link for the others") {
  PlatformSpec spec = plain_world(2);
  spec.server.ingress_bytes_s = 40;
  const auto result = run_world(spec, [](World world) -> Task<void> {
    auto slow = [](World in) -> Task<double> {
      Interval up = co_await in.platform.upload(0, 1000);
      co_return up.end_s;
    };
    auto other = [](World in) -> Task<void> {
      Interval up = co_await in.platform.upload(1, 260);
      in.log.push_back(up.end_s);
    };
    world.simulation.spawn(other(world), "the other upload");
    std::optional<double> end = co_await with_deadline(world.simulation, slow(world), 3);
    world.log.push_back(end.has_value());
    world.note();
    co_await world.simulation.sleep_until(20);
  });
  CHECK(result.error == "");
  // Both at 20 until 3: the other has 200 left, and then 40: 3 + 5 = 8.
  CHECK(result.values == Log{0, 3, 8});
}

TEST_CASE("an upload that ends at the very deadline is in time") {
  const auto result = run_world(plain_world(1), [](World world) -> Task<void> {
    std::optional<double> end = co_await with_deadline(world.simulation, round(world), 10);
    world.log.push_back(end.value_or(-1));
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{10});
}

TEST_CASE("a round is cancelled in download, compute, upload, and in the latency of each") {
  // With a latency of 1: download 0 to 5, compute to 7, upload to 12.
  for (const double date_s : {0.0, 0.5, 3.0, 5.5, 7.0, 7.5, 9.0}) {
    PlatformSpec spec = plain_world(1);
    spec.devices[0].latency_s = 1;
    const auto result = run_world(spec, [date_s](World world) -> Task<void> {
      auto watched = [](World in) -> Task<double> {
        try {
          const double end_s = co_await round(in);
          co_return end_s;
        } catch (const Cancelled&) {
          in.note();
          throw;
        }
      };
      std::optional<double> end = co_await with_deadline(world.simulation, watched(world), date_s);
      world.log.push_back(end.has_value());
      world.note();
      // The device is free again: 1 + 400/100.
      Interval down = co_await world.platform.download(0, 400);
      world.log.push_back(down.duration_s());
    });
    CHECK(result.error == "");
    CHECK(result.values == Log{date_s, 0, date_s, 5});
  }
}

TEST_CASE("when_any takes the first device and gives the other up") {
  PlatformSpec spec = plain_world(2);
  spec.devices[0].speed_flops = 500;  // 4 + 4 + 4 = 12
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(round(world, 0));
    tasks.push_back(round(world, 1));
    First<double> first = co_await when_any(world.simulation, std::move(tasks));
    world.log = {static_cast<double>(first.index), first.value, world.now_s()};
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{1, 10, 10});
}

TEST_CASE(
    "a device that goes off in mid-download, mid-compute, mid-upload is Failed at that date") {
  struct Case {
    double date_s;
    EventKind kind;
  };
  for (const Case& c :
       {Case{0.5, EventKind::kDownload}, Case{3, EventKind::kDownload},
        Case{6, EventKind::kCompute}, Case{7.5, EventKind::kUpload}, Case{9, EventKind::kUpload}}) {
    PlatformSpec spec = plain_world(2);
    spec.devices[1].latency_s = 1;  // download 0 to 5, compute to 7, upload to 12
    spec.devices[1].presence = off_between(c.date_s);
    const auto result = run_world(spec, [](World world) -> Task<void> {
      std::vector<Task<void>> tasks;
      tasks.push_back(note_failure(world, round(world, 1)));
      tasks.push_back(note_failure(world, round(world, 0)));  // goes on to its end
      co_await when_all(std::move(tasks));
      world.note();
    });
    CHECK(result.error == "");
    CHECK(result.values == Log{c.date_s, 1, kind(c.kind), 0, 10});
  }
}

TEST_CASE("a device that is off fails at once, and works again when it is on") {
  PlatformSpec spec = plain_world(1);
  spec.devices[0].presence = off_between(0, 5);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    world.log.push_back(world.platform.is_reachable(0));
    co_await note_failure(world, round(world));
    co_await world.simulation.sleep_until(world.platform.next_reachable_s(0));
    const double end_s = co_await round(world);
    world.log.push_back(end_s);
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{0, 0, 0, kind(EventKind::kDownload), 15});
}

TEST_CASE("the server goes off: transfers fail, work on devices goes on to its end") {
  PlatformSpec spec = plain_world(3);
  spec.server.presence = off_between(3);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    auto work = [](World in) -> Task<double> {
      Interval busy = co_await in.platform.compute(1, 5000);
      in.note();  // 5
      co_return busy.end_s;
    };
    auto merge = [](World in) -> Task<double> {
      Interval busy = co_await in.platform.compute_on_server(50000);  // would end at 5
      co_return busy.end_s;
    };
    std::vector<Task<void>> tasks;
    tasks.push_back(note_failure(world, round(world, 0)));  // in mid-download
    tasks.push_back(note_failure(world, work(world)));
    tasks.push_back(note_failure(world, merge(world)));
    co_await when_all(std::move(tasks));
    co_await note_failure(world, round(world, 2));  // the server is off already
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{3, 0, kind(EventKind::kDownload), 3, -1, kind(EventKind::kCompute), 5,
                             0, 5, 2, kind(EventKind::kDownload)});
}

TEST_CASE("a failure that nobody catches comes out of run(), with the device's name") {
  PlatformSpec spec = plain_world(2);
  spec.devices[1].presence = off_between(5);
  const auto result = run_world(spec, [](World world) -> Task<void> {
    std::vector<Task<double>> tasks;
    tasks.push_back(round(world, 0));
    tasks.push_back(round(world, 1));
    co_await when_all(std::move(tasks));
  });
  CHECK(result.error == "'d1' went off");
}

TEST_CASE("tasks that are dropped in mid-transfer leave a simulation that goes on") {
  const auto result = run_world(plain_world(2), [](World world) -> Task<void> {
    struct Nobody final : fedclock::kernel::TaskObserver {
      std::coroutine_handle<> on_task_done(std::size_t) noexcept override {
        return std::noop_coroutine();
      }
    } nobody;
    {
      Task<double> dropped = round(world, 0);
      dropped.start(nobody, 0);
      co_await world.simulation.sleep_until(2);
    }
    const double end_s = co_await round(world, 0);
    world.log.push_back(end_s);
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{12});  // 2 + 10, the link to itself again
}

TEST_CASE("a hang names the operation that the root waits for") {
  const auto result = run_world(plain_world(1), [](World world) -> Task<void> {
    fedclock::kernel::Gate gate(world.simulation.agenda());
    co_await world.platform.download(0, 100);
    co_await gate;
  });
  CHECK(result.error.find("hangs at 1.000000 s") != std::string::npos);
  CHECK(result.error.find("a gate that nobody has opened") != std::string::npos);
}
