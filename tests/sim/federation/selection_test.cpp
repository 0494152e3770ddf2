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

v1::SelectRandom count_of(int32_t count) {
  v1::SelectRandom answer;
  answer.set_count(count);
  return answer;
}

TEST_CASE("all clients, in order") {
  CHECK(select_all()->choose(1, first(4)) == std::vector<int32_t>{0, 1, 2, 3});
}

TEST_CASE("a random choice is a set of the right size, the same for the same round and seed") {
  const auto selection = select_random(count_of(10), 50, 7);
  const auto other_seed = select_random(count_of(10), 50, 8);
  for (int64_t round = 1; round <= 20; ++round) {
    const std::vector<int32_t> chosen = selection->choose(round, first(50));
    REQUIRE(chosen.size() == 10);
    CHECK(std::is_sorted(chosen.begin(), chosen.end()));
    CHECK(std::adjacent_find(chosen.begin(), chosen.end()) == chosen.end());
    CHECK((chosen.front() >= 0 && chosen.back() < 50));
    CHECK(selection->choose(round, first(50)) == chosen);
    CHECK(other_seed->choose(round, first(50)) != chosen);
  }
  CHECK(selection->choose(1, first(50)) != selection->choose(2, first(50)));
}

TEST_CASE("every client is equally likely") {
  // 3 of 6 clients in 6,000 rounds: each is expected 3,000 times, with a standard deviation of
  // sqrt(6000 / 4) = 39; six of these are 232.
  const auto selection = select_random(count_of(3), 6, 1);
  std::map<int32_t, int> times;
  for (int64_t round = 0; round < 6000; ++round) {
    for (const int32_t client : selection->choose(round, first(6))) ++times[client];
  }
  for (int32_t client = 0; client < 6; ++client) CHECK(std::abs(times[client] - 3000) < 232);
}

TEST_CASE("a share is rounded up, but not for the sake of a binary fraction") {
  v1::SelectRandom tenth;
  tenth.set_fraction(0.1);
  CHECK(select_random(tenth, 30, 1)->choose(1, first(30)).size() ==
        3);  // 0.1 x 30 = 3.0000000000000004
  CHECK(select_random(tenth, 31, 1)->choose(1, first(31)).size() == 4);
  CHECK(select_random(tenth, 1, 1)->choose(1, first(1)).size() == 1);
  CHECK(select_random(count_of(30), 30, 1)->choose(1, first(30)).size() == 30);
}

TEST_CASE("only candidates are chosen, all of them where there are too few") {
  const std::vector<int32_t> candidates{3, 8, 9, 20};
  CHECK(select_all()->choose(1, candidates) == candidates);
  CHECK(select_random(count_of(6), 30, 1)->choose(1, candidates) == candidates);
  const std::vector<int32_t> two = select_random(count_of(2), 30, 1)->choose(1, candidates);
  REQUIRE(two.size() == 2);
  for (const int32_t client : two) {
    CHECK(std::count(candidates.begin(), candidates.end(), client) == 1);
  }
  CHECK(select_random(count_of(2), 30, 1)->choose(1, {}).empty());
}

}  // namespace
}  // namespace fedclock::federation
