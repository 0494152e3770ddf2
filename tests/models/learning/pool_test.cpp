#include "models/learning/pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "models/common/error.h"

namespace fedclock::learning {
namespace {

using Catch::Matchers::Contains;

// A job that runs until it is let go.
struct Gate {
  std::promise<void> open, begun;
  std::function<void()> work() {
    return [this, opened = open.get_future().share()] {
      begun.set_value();
      opened.wait();
    };
  }
};

TEST_CASE("pool: a job runs after what it depends on, at any number of workers") {
  const int workers = GENERATE(1, 2, 4);
  INFO(workers << " workers");
  // Pascal's triangle: entry (n, k) is the sum of two entries of the row before.
  constexpr int kRows = 24;
  std::vector<std::vector<int64_t>> value(kRows);
  std::vector<std::vector<Pool::JobPtr>> jobs(kRows);
  Pool pool(workers);
  for (int n = 0; n < kRows; ++n) {
    value[n].assign(n + 1, -1);
    for (int k = 0; k <= n; ++k) {
      std::vector<Pool::JobPtr> after;
      if (k > 0) after.push_back(jobs[n - 1][k - 1]);
      if (k < n) after.push_back(jobs[n - 1][k]);
      jobs[n].push_back(pool.submit("entry", after, [&value, n, k] {
        const int64_t left = k > 0 ? value[n - 1][k - 1] : 0;
        const int64_t right = k < n ? value[n - 1][k] : 0;
        value[n][k] = n == 0 ? 1 : left + right;
      }));
    }
  }
  for (const auto& job : jobs.back()) pool.wait(job);
  CHECK(value[23][11] == 1352078);  // 23! / (11! 12!)
  CHECK(value[23][5] == 33649);
  CHECK(pool.submitted() == 300);  // 24 x 25 / 2
  CHECK(pool.finished() == 300);
}

TEST_CASE("pool: ready jobs run in the order of submission") {
  Pool pool(1);
  std::vector<int> order;
  Gate gate;
  pool.submit("gate", {}, gate.work());
  std::vector<Pool::JobPtr> jobs;
  for (int i = 0; i < 20; ++i) {
    jobs.push_back(pool.submit("job", {}, [&order, i] { order.push_back(i); }));
  }
  gate.open.set_value();
  pool.wait(jobs.back());
  std::vector<int> expected;
  for (int i = 0; i < 20; ++i) expected.push_back(i);
  CHECK(order == expected);
}

TEST_CASE("pool: workers run side by side") {
  Pool pool(3);
  Gate first, second;
  const auto a = pool.submit("first", {}, first.work());
  const auto b = pool.submit("second", {}, second.work());
  first.begun.get_future().wait();
  second.begun.get_future().wait();  // both hold a worker; the third is free
  bool ran = false;
  pool.wait(pool.submit("third", {}, [&ran] { ran = true; }));
  CHECK(ran);
  CHECK(pool.finished() == 1);
  first.open.set_value();
  second.open.set_value();
  pool.wait(a);
  pool.wait(b);
  CHECK(pool.finished() == 3);
}

TEST_CASE("pool: a job may be named twice, and may be done already") {
  Pool pool(2);
  int value = 0;
  const auto first = pool.submit("first", {}, [&] { value = 20; });
  const auto second = pool.submit("second", {first, first}, [&] { value += 1; });
  pool.wait(second);
  pool.wait(pool.submit("third", {first, second}, [&] { value *= 2; }));
  pool.wait(first);  // a second time
  CHECK(value == 42);
}

TEST_CASE("pool: an error carries the job's label and reaches all that depend on it") {
  const int workers = GENERATE(1, 3);
  Pool pool(workers);
  Gate gate;
  std::atomic<bool> ran = false;
  const auto waiting = pool.submit("gate", {}, gate.work());
  const auto bad = pool.submit("round 3, client 5: local training", {waiting},
                               [] { throw InputError("no rows"); });
  const auto good = pool.submit("good", {waiting}, [] {});
  const auto child = pool.submit("child", {good, bad}, [&] { ran = true; });
  const auto grandchild = pool.submit("grandchild", {child}, [&] { ran = true; });
  gate.open.set_value();
  for (const auto& job : {bad, child, grandchild}) {
    CHECK_THROWS_AS(pool.wait(job), InputError);
    CHECK_THROWS_WITH(pool.wait(job), "round 3, client 5: local training: no rows");
  }
  CHECK_NOTHROW(pool.wait(good));
  // The error was there before the job was submitted.
  const auto late = pool.submit("late", {bad}, [&] { ran = true; });
  CHECK_THROWS_WITH(pool.wait(late), "round 3, client 5: local training: no rows");
  CHECK_FALSE(ran);
  CHECK(pool.finished() == 6);
  // The workers live on.
  int value = 0;
  pool.wait(pool.submit("after", {}, [&] { value = 1; }));
  CHECK(value == 1);
}

TEST_CASE("pool: errors of other kinds are kept with their text") {
  Pool pool(1);
  const auto logic =
      pool.submit("merging", {}, [] { ensure(false, "a mean needs a weight for each state"); });
  CHECK_THROWS_WITH(pool.wait(logic),
                    Contains("merging: ") && Contains("a mean needs a weight for each state"));
  const auto range = pool.submit("reading", {}, [] { (void)std::vector<int>().at(3); });
  CHECK_THROWS_WITH(pool.wait(range), Contains("reading: "));
}

TEST_CASE("pool: a finished job has let go of what it held") {
  Pool pool(1);
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  const auto job = pool.submit("job", {}, [held = std::move(held)] {});
  pool.wait(job);
  CHECK(watch.expired());  // though `job` is still there
}

TEST_CASE("pool: the end finishes what runs and drops the rest") {
  std::atomic<int> ran = 0;
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  Gate gate;
  std::future<void> opener;
  {
    Pool pool(1);
    auto running = pool.submit("running", {}, [&, work = gate.work()] {
      work();
      ++ran;
    });
    gate.begun.get_future().wait();
    pool.submit("ready", {}, [&] { ran += 100; });
    // As in the learner, each of a chain holds the job before it.
    auto last = running;
    for (int i = 0; i < 3; ++i) {
      last = pool.submit("dropped", {last}, [&ran, before = last, held] { ran += 100; });
    }
    held.reset();
    opener = std::async(std::launch::async, [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      gate.open.set_value();
    });
  }
  CHECK(ran == 1);
  CHECK(watch.expired());  // nothing is left behind in memory either
}

}  // namespace
}  // namespace fedclock::learning
