#include "sim/kernel/task.h"

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/kernel/agenda.h"

namespace {

using namespace fedclock::kernel;

struct Nobody final : TaskObserver {
  int ended = 0;
  std::coroutine_handle<> on_task_done(std::size_t) noexcept override {
    ++ended;
    return std::noop_coroutine();
  }
};

Task<int> answer(int value) { co_return value; }
Task<std::unique_ptr<int>> boxed(int value) { co_return std::make_unique<int>(value); }
Task<int> thrower(std::string what) {
  if (!what.empty()) throw std::runtime_error(what);
  co_return 0;
}
Task<int> sum(int n) {
  int total = 0;
  for (int i = 1; i <= n; ++i) total += co_await answer(i);
  co_return total;
}
Task<void> sleep_until(Agenda& agenda, double date_s) {
  Sleep sleep(agenda, date_s, 0, EventKind::kSleep);
  co_await sleep;
}
Task<void> parent_of_sleep(Agenda& agenda) { co_await sleep_until(agenda, 7); }

struct Counted {
  explicit Counted(int& balance) : balance_(&balance) { ++*balance_; }
  Counted(const Counted& other) : balance_(other.balance_) { ++*balance_; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*balance_; }
  int* balance_;
};
Task<Counted> counted(Counted value) { co_return value; }

}  // namespace

TEST_CASE("a task starts when it is awaited, not before") {
  bool ran = false;
  Nobody nobody;
  auto task = [](bool& flag) -> Task<void> {
    flag = true;
    co_return;
  }(ran);
  CHECK_FALSE(ran);
  task.start(nobody, 0);
  CHECK(ran);
  CHECK(nobody.ended == 1);
}

TEST_CASE("values and errors come out of co_await") {
  Nobody nobody;
  auto root = []() -> Task<std::string> {
    std::unique_ptr<int> box = co_await boxed(5);
    std::string text;
    try {
      co_await thrower("broken");
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    co_return text + std::to_string(*box + co_await sum(4));  // 5 + 10
  }();
  root.start(nobody, 0);
  CHECK(root.take() == "broken15");
  auto failing = []() -> Task<int> { co_return co_await thrower("out"); }();
  failing.start(nobody, 0);
  CHECK_THROWS_WITH(failing.take(), "out");
}

TEST_CASE("many children in a row do not use up the stack") {
  // GCC makes symmetric transfer a jump when it optimises; a debug build nests the calls.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
  const int n = 1000000;
#else
  const int n = 1000;
#endif
  Nobody nobody;
  Task<int> task = sum(n);
  task.start(nobody, 0);
  CHECK(task.take() == static_cast<int>(static_cast<unsigned>(n) * (n + 1LL) / 2));
}

TEST_CASE("temporaries in a co_await expression are destroyed once") {
  int balance = 0;
  Nobody nobody;
  {
    auto root = [](int& count) -> Task<void> {
      Counted kept = co_await counted(Counted(count));
      co_await counted(kept);
    }(balance);
    root.start(nobody, 0);
    CHECK(root.ended());
  }
  CHECK(balance == 0);
}

TEST_CASE("cancellation goes down to the operation, and comes up as Cancelled") {
  Agenda agenda;
  Nobody nobody;
  Task<void> root = parent_of_sleep(agenda);
  root.start(nobody, 0);
  CHECK(root.promise().describe() == "the date 7.000000 s");
  root.cancel();
  CHECK_FALSE(root.ended());  // never inside cancel()
  root.cancel();              // twice is once
  agenda.deliver_due();
  REQUIRE(root.ended());
  CHECK_THROWS_AS(root.take(), Cancelled);
  root.cancel();  // nothing to cancel any more
}

TEST_CASE("a task that is cancelled before it waits is cancelled at its next co_await") {
  Agenda agenda;
  Nobody nobody;
  int reached = 0;
  auto make = [&](bool child) {
    return [](Agenda& at, int& step, bool with_child) -> Task<void> {
      step = 1;
      if (with_child) {
        co_await sleep_until(at, 1);
      } else {
        Sleep sleep(at, 1, 0, EventKind::kSleep);
        co_await sleep;
      }
      step = 2;
    }(agenda, reached, child);
  };
  for (const bool child : {false, true}) {
    Task<void> task = make(child);
    task.cancel();
    task.start(nobody, 0);
    CHECK(reached == 1);
    REQUIRE(task.ended());
    CHECK_THROWS_AS(task.take(), Cancelled);
  }
}

TEST_CASE("a cancelled task may tidy up, and wait while it does") {
  Agenda agenda;
  Nobody nobody;
  std::vector<double> dates;
  auto task = [](Agenda& at, std::vector<double>& log) -> Task<void> {
    try {
      co_await sleep_until(at, 100);
    } catch (const Cancelled&) {
      log.push_back(at.now_s());
    }
    co_await sleep_until(at, 3);  // the cancellation was delivered once
    log.push_back(at.now_s());
  }(agenda, dates);
  task.start(nobody, 0);
  agenda.set_now_s(2);
  task.cancel();
  agenda.deliver_due();
  CHECK(agenda.next_date_s() == 3);
  agenda.set_now_s(3);
  agenda.deliver_due();
  CHECK(task.ended());
  CHECK(dates == std::vector<double>{2, 3});
}

TEST_CASE("a task is awaited once") {
  Nobody nobody;
  Task<int> task = answer(1);
  task.start(nobody, 0);
  CHECK_THROWS_AS(task.start(nobody, 0), fedclock::ProgrammerError);
  auto twice = [](Task<int>& inner) -> Task<int> { co_return co_await inner; }(task);
  twice.start(nobody, 0);
  CHECK_THROWS_AS(twice.take(), fedclock::ProgrammerError);
}
