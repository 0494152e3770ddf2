// Who takes part.
#include "sim/federation/selection/selection.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <numeric>

namespace fedclock::federation {
namespace {

std::vector<int32_t> first(int32_t clients) {
  std::vector<int32_t> numbers(static_cast<size_t>(clients));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// The selection of this text, as a round asks it.
std::vector<int32_t> chosen(const v1::Selection& answer, int32_t clients, uint64_t seed,
                            int64_t round, const std::vector<int32_t>& candidates) {
  const auto none = learning::make_timing_only_learner();
  const auto selection = make_selection(answer, clients, seed, *none);
  return selection->choose({round}, candidates, selection->usual(clients));
}

v1::Selection count_of(int32_t count) {
  v1::Selection answer;
  answer.mutable_random()->set_count(count);
  return answer;
}

v1::Selection everyone() {
  v1::Selection answer;
  answer.mutable_all();
  return answer;
}

TEST_CASE("all clients, in order") {
  CHECK(chosen(everyone(), 4, 1, 1, first(4)) == std::vector<int32_t>{0, 1, 2, 3});
}

TEST_CASE("a random choice is a set of the right size, the same for the same round and seed") {
  for (int64_t round = 1; round <= 20; ++round) {
    const std::vector<int32_t> some = chosen(count_of(10), 50, 7, round, first(50));
    REQUIRE(some.size() == 10);
    CHECK(std::is_sorted(some.begin(), some.end()));
    CHECK(std::adjacent_find(some.begin(), some.end()) == some.end());
    CHECK((some.front() >= 0 && some.back() < 50));
    CHECK(chosen(count_of(10), 50, 7, round, first(50)) == some);
    CHECK(chosen(count_of(10), 50, 8, round, first(50)) != some);
  }
  CHECK(chosen(count_of(10), 50, 7, 1, first(50)) != chosen(count_of(10), 50, 7, 2, first(50)));
}

TEST_CASE("groups and parts of a round draw for themselves, the first as the round does") {
  const auto selection = select_random(10, 7);
  const auto first_part = selection->choose({1}, first(50), 10);
  CHECK(selection->choose({1, 0, 0}, first(50), 10) == first_part);
  CHECK(selection->choose({1, 1, 0}, first(50), 10) != first_part);
  CHECK(selection->choose({1, 0, 1}, first(50), 10) != first_part);
}

TEST_CASE("every client is equally likely") {
  // 3 of 6 clients in 6,000 rounds: each is expected 3,000 times, with a standard deviation of
  // sqrt(6000 / 4) = 39; six of these are 232.
  const auto selection = select_random(3, 1);
  std::map<int32_t, int> times;
  for (int64_t round = 0; round < 6000; ++round) {
    for (const int32_t client : selection->choose({round}, first(6), 3)) ++times[client];
  }
  for (int32_t client = 0; client < 6; ++client) CHECK(std::abs(times[client] - 3000) < 232);
}

TEST_CASE("a share is rounded up, but not for the sake of a binary fraction") {
  v1::Selection tenth;
  tenth.mutable_random()->set_fraction(0.1);
  CHECK(chosen(tenth, 30, 1, 1, first(30)).size() == 3);  // 0.1 x 30 = 3.0000000000000004
  CHECK(chosen(tenth, 31, 1, 1, first(31)).size() == 4);
  CHECK(chosen(tenth, 1, 1, 1, first(1)).size() == 1);
  CHECK(chosen(count_of(30), 30, 1, 1, first(30)).size() == 30);
}

TEST_CASE("only candidates are chosen, all of them where there are too few") {
  const std::vector<int32_t> candidates{3, 8, 9, 20};
  CHECK(chosen(everyone(), 30, 1, 1, candidates) == candidates);
  CHECK(chosen(count_of(6), 30, 1, 1, candidates) == candidates);
  const std::vector<int32_t> two = chosen(count_of(2), 30, 1, 1, candidates);
  REQUIRE(two.size() == 2);
  for (const int32_t client : two) {
    CHECK(std::count(candidates.begin(), candidates.end(), client) == 1);
  }
  CHECK(chosen(count_of(2), 30, 1, 1, {}).empty());
}

}  // namespace
}  // namespace fedclock::federation
