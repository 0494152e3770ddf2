// The example of CONTRIBUTING.md, "How to add a method": whole, compiled and run.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>

#include "sim/federation/selection/selection.h"

namespace fedclock::federation {
namespace {

// begin of the example
// Clients with the most rows, of equals the first; who has not been seen yet comes before them all,
// so that everyone is once.
class MostRows : public Selection {
 public:
  explicit MostRows(int32_t chosen) : chosen_(chosen) {}

  int32_t usual(int32_t clients) const override { return std::min(chosen_, clients); }

  std::vector<int32_t> choose(const Occasion&, const std::vector<int32_t>& candidates,
                              int32_t count) override {
    std::vector<int32_t> best = candidates;
    std::ranges::stable_sort(best, std::greater(), [&](int32_t client) {
      const auto seen = rows_.find(client);
      return seen == rows_.end() ? kUnseen : seen->second;
    });
    best.resize(std::min(best.size(), static_cast<size_t>(count)));
    std::ranges::sort(best);
    return best;
  }

  // What the server learns when an update has arrived: without asking for a number that is learnt,
  // so it runs with --timing-only too.
  void observe(const Seen& seen) override { rows_[seen.client] = seen.rows; }

 private:
  static constexpr int64_t kUnseen = INT64_MAX;
  const int32_t chosen_;
  std::map<int32_t, int64_t> rows_;
};
// end of the example

TEST_CASE("the example of CONTRIBUTING.md: clients with the most rows") {
  MostRows selection(2);
  CHECK(selection.usual(10) == 2);
  CHECK(selection.usual(1) == 1);
  const std::vector<int32_t> all{0, 1, 2, 3};
  CHECK(selection.choose({1}, all, 2) == std::vector<int32_t>{0, 1});
  selection.observe({.client = 0, .round = 1, .rows = 30, .seconds = 1, .update = {}});
  selection.observe({.client = 1, .round = 1, .rows = 50, .seconds = 1, .update = {}});
  CHECK(selection.choose({2}, all, 2) == std::vector<int32_t>{2, 3});
  selection.observe({.client = 2, .round = 2, .rows = 40, .seconds = 1, .update = {}});
  selection.observe({.client = 3, .round = 2, .rows = 50, .seconds = 1, .update = {}});
  CHECK(selection.choose({3}, all, 2) == std::vector<int32_t>{1, 3});
  CHECK(selection.choose({3}, {0, 2}, 5) == std::vector<int32_t>{0, 2});  // who is there
}

}  // namespace
}  // namespace fedclock::federation
