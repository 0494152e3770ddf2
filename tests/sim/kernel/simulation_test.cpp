#include "sim/kernel/simulation.h"

#include <signal.h>
#include <catch2/catch.hpp>

#include <coroutine>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace {

using namespace fedclock::kernel;
using fedclock::test::run_forked;
using fedclock::test::run_kernel;
using Log = std::vector<double>;

// Something that the kernel knows nothing of, and that never ends.
struct Never {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}
};

Task<void> sleep_and_note(Simulation& simulation, double duration_s, Log& log) {
  co_await simulation.sleep_for(duration_s);
  log.push_back(simulation.now_s());
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("sleeping moves the clock to the date") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    log.push_back(simulation.now_s());
    co_await simulation.sleep_for(1.5);
    log.push_back(simulation.now_s());
    Interval slept = co_await simulation.sleep_until(4);
    log.push_back(slept.start_s);
    log.push_back(slept.end_s);
    co_await simulation.sleep_until(2);  // has passed
    co_await simulation.sleep_for(0);
    log.push_back(simulation.now_s());
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{0, 1.5, 1.5, 4, 4});
}

TEST_CASE("sleeps that make no sense are errors") {
  const auto negative = run_kernel(
      [](Simulation& simulation, Log&) -> Task<void> { co_await simulation.sleep_for(-1); });
  CHECK(has(negative.error, "negative"));
  const auto nan = run_kernel(
      [](Simulation& simulation, Log&) -> Task<void> { co_await simulation.sleep_until(NAN); });
  CHECK(has(nan.error, "not finite"));
}

TEST_CASE("an error inside a task comes out of run()") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    co_await sleep_and_note(simulation, 3, log);
    throw std::runtime_error("at three");
  });
  CHECK(result.error == "at three");
}

TEST_CASE("a second simulation in one process is refused, also after the first") {
  for (const bool nested : {true, false}) {
    const auto result = run_forked([nested] {
      auto first = std::make_unique<Simulation>();
      if (!nested) first.reset();
      Simulation second;
      return Log{};
    });
    CHECK(has(result.error, "a second simulation in one process"));
  }
}

TEST_CASE("a simulation that hangs says who waits for what") {
  const auto alone = run_kernel([](Simulation&, Log&) -> Task<void> { co_await Never{}; });
  CHECK(has(alone.error, "the simulation hangs at 0.000000 s"));
  CHECK(has(alone.error, "'the test's root' waits for something outside fedclock's kernel"));

  const auto group = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto never = []() -> Task<void> { co_await Never{}; };
    std::vector<Task<void>> tasks;
    tasks.push_back(sleep_and_note(simulation, 2, log));
    tasks.push_back(never());
    co_await when_all(std::move(tasks));
  });
  CHECK(has(group.error, "hangs at 2.000000 s"));
  CHECK(has(group.error, "a group of 2 tasks, 1 of them not ended"));

  const auto spawned = run_kernel([](Simulation& simulation, Log&) -> Task<void> {
    auto never = []() -> Task<void> { co_await Never{}; };
    simulation.spawn(never(), "the endless one");
    co_await simulation.sleep_for(1);
  });
  CHECK(has(spawned.error, "'the endless one' waits for"));
}

TEST_CASE("spawned tasks run beside the root, and end with it") {
  const auto result = run_kernel([](Simulation& simulation, Log& log) -> Task<void> {
    auto ticks = [](Simulation& in, Log& dates) -> Task<void> {
      try {
        while (true) {
          co_await in.sleep_for(1);
          dates.push_back(in.now_s());
        }
      } catch (const Cancelled&) {
        dates.push_back(-in.now_s());
        throw;
      }
    };
    simulation.spawn(ticks(simulation, log), "ticks");
    simulation.spawn(sleep_and_note(simulation, 1.25, log), "once");
    co_await simulation.sleep_until(2.5);
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{1, 1.25, 2, -2.5});
}

TEST_CASE("the error of a spawned task stops the root and comes out of run()") {
  const auto result = run_kernel([](Simulation& simulation, Log&) -> Task<void> {
    auto broken = [](Simulation& in) -> Task<void> {
      co_await in.sleep_for(1);
      throw std::runtime_error("spawned and broken");
    };
    simulation.spawn(broken(simulation), "broken");
    co_await simulation.sleep_until(1e9);
  });
  CHECK(result.error == "spawned and broken");
}

TEST_CASE("run() may be called again, and the clock goes on") {
  const auto result = run_forked([] {
    Log log;
    Simulation simulation;
    simulation.run(sleep_and_note(simulation, 2, log));
    simulation.run(sleep_and_note(simulation, 3, log));
    return log;
  });
  CHECK(result.error == "");
  CHECK(result.values == Log{2, 5});
}

TEST_CASE("SimGrid does not take over Ctrl-C") {
  const auto result = run_forked([] {
    struct sigaction before;
    sigaction(SIGINT, nullptr, &before);
    Simulation simulation;
    struct sigaction after;
    sigaction(SIGINT, nullptr, &after);
    return Log{before.sa_handler == after.sa_handler ? 1.0 : 0.0};
  });
  CHECK(result.values == Log{1});
}
