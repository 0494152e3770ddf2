#include "sim/kernel/agenda.h"

#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

namespace {

using namespace fedclock::kernel;

Task<void> sleeper(Agenda& agenda, double date_s, DeviceId device, EventKind kind, int id,
                   std::vector<int>& order) {
  Sleep sleep(agenda, date_s, device, kind);
  co_await sleep;
  order.push_back(id);
}

// Delivers all that is armed, as SimGrid's clock would.
void run_to_end(Agenda& agenda) {
  agenda.deliver_due();
  while (agenda.next_date_s() >= 0) {
    agenda.set_now_s(agenda.next_date_s());
    agenda.deliver_due();
  }
}

struct Nobody final : TaskObserver {
  std::coroutine_handle<> on_task_done(std::size_t) noexcept override {
    return std::noop_coroutine();
  }
};

}  // namespace

TEST_CASE("events of one date come by device, kind and sequence number") {
  Agenda agenda;
  Nobody nobody;
  std::vector<int> order;
  std::vector<Task<void>> tasks;
  // Started in an order that is none of the three.
  tasks.push_back(sleeper(agenda, 5, kNoDevice, EventKind::kSleep, 7, order));
  tasks.push_back(sleeper(agenda, 5, 2, EventKind::kUpload, 4, order));
  tasks.push_back(sleeper(agenda, 5, kServer, EventKind::kCompute, 6, order));
  tasks.push_back(sleeper(agenda, 5, 2, EventKind::kDownload, 2, order));
  tasks.push_back(sleeper(agenda, 5, 2, EventKind::kDownload, 3, order));
  tasks.push_back(sleeper(agenda, 5, 1, EventKind::kUpload, 1, order));
  tasks.push_back(sleeper(agenda, 5, 9, EventKind::kDownload, 5, order));
  tasks.push_back(sleeper(agenda, 4, 99, EventKind::kDownload, 0, order));
  for (auto& task : tasks) task.start(nobody, 0);
  run_to_end(agenda);
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(agenda.now_s() == 5);
}

TEST_CASE("a date that has passed is now") {
  Agenda agenda;
  Nobody nobody;
  std::vector<int> order;
  agenda.set_now_s(10);
  Task<void> late = sleeper(agenda, 3, 0, EventKind::kSleep, 1, order);
  late.start(nobody, 0);
  CHECK(order.empty());
  agenda.deliver_due();
  CHECK(order == std::vector<int>{1});
  CHECK(agenda.now_s() == 10);
}

TEST_CASE("a task that is dropped while it waits leaves nothing in the agenda") {
  Agenda agenda;
  Nobody nobody;
  std::vector<int> order;
  {
    Task<void> dropped = sleeper(agenda, 3, 0, EventKind::kSleep, 1, order);
    dropped.start(nobody, 0);
    CHECK(agenda.next_date_s() == 3);
  }
  CHECK(agenda.next_date_s() < 0);
  {
    // Over, but not yet delivered.
    Task<void> dropped = sleeper(agenda, 3, 0, EventKind::kSleep, 1, order);
    dropped.start(nobody, 0);
    dropped.cancel();
  }
  run_to_end(agenda);
  CHECK(order.empty());
}

TEST_CASE("an event that drops another task of its own date") {
  Agenda agenda;
  Nobody nobody;
  std::vector<int> order;
  auto victim = std::make_unique<Task<void>>(sleeper(agenda, 5, 8, EventKind::kSleep, 8, order));
  auto killer = [](Agenda& at, std::unique_ptr<Task<void>>& target) -> Task<void> {
    Sleep sleep(at, 5, 1, EventKind::kSleep);
    co_await sleep;
    target.reset();
  }(agenda, victim);
  victim->start(nobody, 0);
  killer.start(nobody, 0);
  run_to_end(agenda);
  CHECK(order.empty());
  CHECK(killer.ended());
}

TEST_CASE("any mixture of sleeps and cancellations keeps its order") {
  rc::check("sleeps end by date, then device, then start; cancelled ones do not", [] {
    struct Spec {
      int date;
      unsigned device;
      bool cancelled;
    };
    const auto specs = *rc::gen::container<std::vector<Spec>>(rc::gen::construct<Spec>(
        rc::gen::inRange(0, 6), rc::gen::inRange(0u, 4u), rc::gen::arbitrary<bool>()));
    Agenda agenda;
    Nobody nobody;
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      tasks.push_back(sleeper(agenda, specs[i].date, specs[i].device, EventKind::kSleep,
                              static_cast<int>(i), order));
      tasks.back().start(nobody, 0);
    }
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].cancelled) tasks[i].cancel();
    }
    run_to_end(agenda);
    std::vector<int> expected;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (!specs[i].cancelled) expected.push_back(static_cast<int>(i));
    }
    std::sort(expected.begin(), expected.end(), [&](int a, int b) {
      return std::tie(specs[a].date, specs[a].device, a) <
             std::tie(specs[b].date, specs[b].device, b);
    });
    RC_ASSERT(order == expected);
    for (const auto& task : tasks) RC_ASSERT(task.ended());
  });
}
