#include "models/learning/pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "models/common/error.h"

namespace fedclock::learning {
namespace {

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

TEST_CASE("pool: the smallest order first, of equal ones in the order of submission") {
  std::vector<int> order;
  {
    Pool pool(1);
    Gate gate;
    pool.submit(0, gate.work());
    gate.begun.get_future().wait();
    std::promise<void> last;
    for (const auto& [at, id] : {std::pair{7, 1}, {3, 2}, {7, 3}, {3, 4}, {-1, 5}}) {
      pool.submit(at, [&order, id = id] { order.push_back(id); });
    }
    pool.submit(8, [&] { last.set_value(); });
    gate.open.set_value();
    last.get_future().wait();
  }
  CHECK(order == std::vector<int>{5, 2, 4, 1, 3});
}

TEST_CASE("pool: workers run side by side") {
  Pool pool(3);
  Gate first, second;
  pool.submit(0, first.work());
  pool.submit(0, second.work());
  first.begun.get_future().wait();
  second.begun.get_future().wait();  // both hold a worker; the third is free
  bool ran = false;
  pool.run({[&ran] { ran = true; }});
  CHECK(ran);
  first.open.set_value();
  second.open.set_value();
}

TEST_CASE("pool: run() does all and throws the first one's error") {
  Pool pool(GENERATE(1, 3));
  std::atomic<int> ran = 0;
  const auto add = [&ran](int n) {
    return [&ran, n] {
      ran += n;
      if (n > 1) throw InputError("number " + std::to_string(n));
    };
  };
  CHECK_THROWS_WITH(pool.run({add(1), add(10), add(100), add(1)}), "number 10");
  CHECK(ran == 112);
  CHECK_NOTHROW(pool.run({}));
  CHECK_NOTHROW(pool.run({add(1)}));  // the workers live on
  CHECK(ran == 113);
}

TEST_CASE("pool: the end finishes what runs and drops the rest") {
  std::atomic<int> ran = 0;
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  Gate gate;
  std::future<void> opener;
  {
    Pool pool(1);
    pool.submit(0, [&, work = gate.work()] {
      work();
      ++ran;
    });
    gate.begun.get_future().wait();
    pool.submit(0, [&ran, held = std::move(held)] { ran += 100; });
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
