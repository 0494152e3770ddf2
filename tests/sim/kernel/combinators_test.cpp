#include "sim/kernel/combinators.h"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/world.h"

namespace {

using namespace fedclock::kernel;
using fedclock::test::run_kernel;
using Log = std::vector<double>;

Task<int> value_at(Simulation& simulation, double date_s, int value, DeviceId device = kNoDevice) {
  co_await simulation.sleep_until(date_s, device);
  co_return value;
}
Task<void> nothing_at(Simulation& simulation, double date_s) {
  co_await simulation.sleep_until(date_s);
}
Task<int> error_at(Simulation& simulation, double date_s, std::string what) {
  co_await simulation.sleep_until(date_s);
  throw std::runtime_error(what);
}
// Notes the date at which it is cancelled, and takes two seconds to tidy up.
Task<int> tidy(Simulation& simulation, Log& log) {
  bool cancelled = false;
  try {
    co_await simulation.sleep_until(1000);
  } catch (const Cancelled&) {
    cancelled = true;
    log.push_back(simulation.now_s());
  }
  if (cancelled) co_await simulation.sleep_for(2);
  if (cancelled) throw Cancelled();
  co_return 0;
}

template <class... Tasks>
auto list(Tasks... tasks) {
  std::vector<Task<int>> all;
  (all.push_back(std::move(tasks)), ...);
  return all;
}

}  // namespace

TEST_CASE("when_all: results in input order, at the date of the last") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto tasks =
        list(value_at(simulation, 9, 1), value_at(simulation, 2, 2), value_at(simulation, 5, 3));
    std::vector<int> values = co_await when_all(std::move(tasks));
    for (const int value : values) log.push_back(value);
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{1, 2, 3, 9});
}

TEST_CASE("when_all of nothing, of void tasks, of tasks inside tasks") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    std::vector<Task<int>> none;
    std::vector<int> values = co_await when_all(std::move(none));
    log.push_back(static_cast<double>(values.size()));
    std::vector<Task<void>> outer;
    for (int i = 1; i <= 3; ++i) {
      std::vector<Task<void>> inner;
      inner.push_back(nothing_at(simulation, i));
      inner.push_back(nothing_at(simulation, 2 * i));
      outer.push_back(when_all(std::move(inner)));
    }
    co_await when_all(std::move(outer));
    log.push_back(simulation.now_s());  // 2 * 3
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{0, 6});
}

TEST_CASE("when_all: the first error cancels the others, and comes when they have ended") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    try {
      auto tasks = list(value_at(simulation, 50, 1), error_at(simulation, 4, "early"),
                        tidy(simulation, log), error_at(simulation, 5, "late"));
      co_await when_all(std::move(tasks));
    } catch (const std::runtime_error& error) {
      log.push_back(error.what() == std::string("early"));
      log.push_back(simulation.now_s());
    }
  });
  CHECK(result.error == "");
  // Cancelled at 4, tidied up by 6; the sleep until 50 plays no part.
  CHECK(result.values == Log{4, 1, 6});
}

TEST_CASE("when_all: a task that fails at once keeps the rest from starting") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto at_once = []() -> Task<int> {
      throw std::runtime_error("at once");
      co_return 0;
    };
    auto starts = [](Log& steps) -> Task<int> {
      steps.push_back(-1);
      co_return 0;
    };
    bool caught = false;
    try {
      auto tasks = list(value_at(simulation, 50, 1), at_once(), starts(log));
      co_await when_all(std::move(tasks));
    } catch (const std::runtime_error&) {
      caught = true;
    }
    log.push_back(caught);
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{1, 0});
}

TEST_CASE("when_any: index and value of the first; the others are cancelled") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto tasks =
        list(value_at(simulation, 9, 10), tidy(simulation, log), value_at(simulation, 4, 30));
    First<int> first = co_await when_any(simulation, std::move(tasks));
    log.push_back(static_cast<double>(first.index));
    log.push_back(first.value);
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{4, 2, 30, 6});  // cancelled at 4, tidied up by 6
}

TEST_CASE("when_any: of the same date the lowest index is first, not the lowest device") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto tasks = list(value_at(simulation, 9, 10), value_at(simulation, 4, 20, 7),
                      value_at(simulation, 4, 30, 3));
    First<int> first = co_await when_any(simulation, std::move(tasks));
    log.push_back(static_cast<double>(first.index));
    log.push_back(first.value);
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{1, 20});
}

TEST_CASE("when_any: tasks that end at once, void tasks, errors") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto now = [](int value) -> Task<int> { co_return value; };
    auto tasks = list(value_at(simulation, 9, 10), now(20), now(30));
    First<int> first = co_await when_any(simulation, std::move(tasks));
    log.push_back(first.value);
    std::vector<Task<void>> voids;
    voids.push_back(nothing_at(simulation, 3));
    voids.push_back(nothing_at(simulation, 2));
    First<void> end = co_await when_any(simulation, std::move(voids));
    log.push_back(static_cast<double>(end.index));
    log.push_back(simulation.now_s());
    auto broken = list(value_at(simulation, 9, 10), error_at(simulation, 5, "first"));
    co_await when_any(simulation, std::move(broken));
  });
  CHECK(result.error == "first");
  const auto none = run_kernel([](Simulation& simulation, Log&) -> Task<void> {
    std::vector<Task<int>> tasks;
    co_await when_any(simulation, std::move(tasks));
  });
  CHECK(none.error.find("when_any of no task") != std::string::npos);
}

TEST_CASE("with_deadline: in time, too late, just in time, no deadline") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    const auto note = [&](const std::optional<int>& value) {
      log.push_back(value ? *value : -1);
      log.push_back(simulation.now_s());
    };
    std::optional<int> value = co_await with_deadline(simulation, value_at(simulation, 2, 7), 5);
    note(value);
    value = co_await with_deadline(simulation, value_at(simulation, 9, 7), 5);
    note(value);
    value = co_await with_deadline(simulation, value_at(simulation, 6, 8), 6);
    note(value);
    value = co_await with_deadline(simulation, value_at(simulation, 7, 9), HUGE_VAL);
    note(value);
    value = co_await with_deadline(simulation, value_at(simulation, 50, 9), 1);  // has passed
    note(value);
    const bool done = co_await with_deadline(simulation, nothing_at(simulation, 8), 9);
    const bool late = co_await with_deadline(simulation, nothing_at(simulation, 18), 9);
    log.push_back(done);
    log.push_back(late);
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{7, 2, -1, 5, 8, 6, 9, 7, -1, 7, 1, 0, 9});
}

TEST_CASE("with_deadline: the error of the task comes out") {
  const auto result = run_kernel([](Simulation& simulation, Log&) -> Task<void> {
    co_await with_deadline(simulation, error_at(simulation, 2, "inside"), 5);
  });
  CHECK(result.error == "inside");
}

TEST_CASE("cancellation reaches through groups, deadlines and first-of") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto deep = [](Simulation& in, Log& steps) -> Task<int> {
      auto both = list(tidy(in, steps), value_at(in, 500, 1));
      First<int> first = co_await when_any(in, std::move(both));
      co_return first.value;
    };
    auto group = [&](Simulation& in) -> Task<int> {
      auto tasks = list(deep(in, log), tidy(in, log));
      std::vector<int> values = co_await when_all(std::move(tasks));
      co_return values[0];
    };
    std::optional<int> value = co_await with_deadline(simulation, group(simulation), 3);
    log.push_back(value.has_value());
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{3, 3, 0, 5});  // two tasks tidy up from 3 to 5
}

TEST_CASE("a cancellation while a first-of waits for its losers is not lost") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto race = [](Simulation& in, Log& steps) -> Task<int> {
      auto tasks = list(value_at(in, 4, 10), tidy(in, steps));  // won at 4, over at 6
      First<int> first = co_await when_any(in, std::move(tasks));
      steps.push_back(-1);
      co_return first.value;
    };
    std::optional<int> value = co_await with_deadline(simulation, race(simulation, log), 5);
    log.push_back(value.has_value());
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{4, 0, 5});  // the tidying sleep is cut at 5, too
}
