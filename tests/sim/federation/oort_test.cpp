// Oort's choices against utilities by hand:
//   (min(rows x sqrt(mean squared loss), clip) + sqrt(0.1 ln R / l)) x (T / t)^2 where t > T.
// Where no client of lower rank has 0.95 of the last place's utility, the choice is not drawn.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "sim/federation/selection/selection.h"
#include "tests/sim/federation/fake_learner.h"

namespace fedclock::federation {
namespace {

std::vector<int32_t> first(int32_t clients) {
  std::vector<int32_t> numbers(static_cast<size_t>(clients));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Nobody explores, nothing is cut, nobody is slow.
v1::SelectOort plain() {
  v1::SelectOort answer;
  answer.set_exploration(0);
  answer.set_least_exploration(0);
  answer.set_clip_quantile(1);
  answer.set_penalty(0);
  return answer;
}

class Told {
 public:
  explicit Told(const v1::SelectOort& answer) : oort_(select_oort(answer, 1, 1, learner_)) {}

  // rows x sqrt(squares) is the client's statistical utility.
  void observe(int32_t client, int64_t rows, double squares, double seconds = 1,
               int64_t round = 1) {
    learning::TrainingNumbers numbers;
    numbers.mean_square_loss = squares;
    oort_->observe({client, round, rows, seconds, learner_.update(numbers)});
  }
  std::vector<int32_t> choose(int64_t round, const std::vector<int32_t>& candidates,
                              int32_t count) {
    return oort_->choose({round}, candidates, count);
  }
  // The single one.
  int32_t best(int64_t round, int32_t clients) { return choose(round, first(clients), 1).at(0); }

  test::FakeLearner& learner() { return learner_; }

 private:
  test::FakeLearner learner_;
  std::unique_ptr<Selection> oort_;
};

TEST_CASE("Oort: rows times the root of the mean squared loss") {
  Told told(plain());
  told.observe(0, 10, 4);      // 10 x 2 = 20
  told.observe(1, 30, 0.25);   // 30 x 0.5 = 15
  told.observe(2, 5, 1);       // 5
  told.observe(3, 100, 0.01);  // 100 x 0.1 = 10
  CHECK(told.choose(1, first(4), 1) == std::vector<int32_t>{0});
  CHECK(told.choose(2, first(4), 2) == std::vector<int32_t>{0, 1});
  CHECK(told.choose(3, first(4), 3) == std::vector<int32_t>{0, 1, 3});
  CHECK(told.choose(4, {1, 2}, 1) == std::vector<int32_t>{1});  // of those there are
  CHECK(told.choose(5, first(4), 9) == first(4));
  CHECK(told.learner().asked == 4);  // once of each
  told.observe(0, 10, 0.01, 1, 5);   // its last training counts: 1
  CHECK(told.choose(6, first(4), 1) == std::vector<int32_t>{1});
}

TEST_CASE("Oort: who was not asked for long") {
  // In round 100: sqrt(0.1 x 4.605 / 1) = 0.679 and sqrt(0.4605 / 99) = 0.068 beside 1 each.
  Told told(plain());
  told.observe(0, 1, 1, 1, 99);
  told.observe(1, 1, 1, 1, 1);
  for (int i = 0; i < 20; ++i) CHECK(told.choose(100, {0, 1}, 1) == std::vector<int32_t>{1});
  // 1.6 + 0.068 = 1.668 against 1.679: 0.95 x 1.679 is less, so either may be drawn.
  told.observe(0, 1, 1.6 * 1.6, 1, 99);
  std::map<int32_t, int> times;
  for (int64_t round = 100; round < 150; ++round) ++times[told.best(round, 2)];
  CHECK(times.size() == 2);
}

TEST_CASE("Oort: a place is drawn in proportion to utility among those near the cut-off") {
  // 20, 19.5 and 19.2 are within 0.95 x 20 = 19, 18.9 is not. One place, round after round: 10,000
  // draws of p = 20 / 58.7 and so on, standard deviations of sqrt(10^4 p (1 - p)) < 48; five of
  // them. The logarithm's term, at most sqrt(0.1 x 9.3), would let them all in: l is 1e9.
  Told told(plain());
  const std::vector<double> utilities = {20, 19.5, 19.2, 18.9};
  for (int32_t client = 0; client < 4; ++client) {
    told.observe(client, 1, utilities[client] * utilities[client], 1, 1'000'000'000);
  }
  std::map<int32_t, int> times;
  for (int64_t round = 1; round <= 10000; ++round) ++times[told.best(round, 4)];
  CHECK(times[3] == 0);
  for (int32_t client = 0; client < 3; ++client) {
    CHECK(std::abs(times[client] - 10000 * utilities[client] / 58.7) < 5 * 48);
  }
}

TEST_CASE("Oort: utilities are cut at a quantile of those seen") {
  // Of ten, the 0.9 quantile is the ninth in order: 10. The outlier counts as much as the others,
  // and is drawn a tenth of the times: 1,000 of 10,000, standard deviation 30.
  v1::SelectOort answer = plain();
  answer.set_clip_quantile(0.9);
  Told cut(answer), whole(plain());
  for (Told* told : {&cut, &whole}) {
    for (int32_t client = 0; client < 10; ++client) {
      const double utility = client == 4 ? 1000 : 10;
      told->observe(client, 1, utility * utility, 1, 1'000'000'000);
    }
  }
  int times = 0;
  for (int64_t round = 1; round <= 10000; ++round) {
    times += cut.best(round, 10) == 4;
    if (round <= 20) CHECK(whole.best(round, 10) == 4);
  }
  CHECK(std::abs(times - 1000) < 150);
}

TEST_CASE("Oort: slow clients count (T / t)^2 of their utility") {
  // Durations 1, ..., 10: T is the 0.3 quantile, 3. The client of 6 s counts a quarter, the one of
  // 3 s whole, whether it is one or not.
  for (const double utility : {3.5, 4.5}) {
    for (const double penalty : {2.0, 0.0, 1.0}) {
      v1::SelectOort answer = plain();
      answer.set_penalty(penalty);
      Told told(answer);
      for (int32_t client = 0; client < 10; ++client) {
        // Seconds 1, ..., 10; all but those of 3 s and 6 s have no loss.
        const double own = client == 2 ? 1 : client == 5 ? utility : 0;
        told.observe(client, 1, own * own, client + 1, 1'000'000'000);
      }
      CAPTURE(utility, penalty);
      // 3.5 / 4 = 0.875 < 0.95; 4.5 / 4 = 1.125, of which 0.95 are 1.07 > 1; halves are more.
      CHECK(told.best(1, 10) == (penalty == 2 && utility == 3.5 ? 2 : 5));
    }
  }
}

TEST_CASE("Oort: a falling share of the places goes to clients never seen") {
  // 0.9 x 0.98^(R - 1), at least 0.3, of 10 places, rounded: R = 1: 9, 10: 7.50 -> 8 (0.98^9 =
  // 0.8337), 30: 5.009 -> 5, 100: 0.1218 -> 3.
  v1::SelectOort answer;
  Told told(answer);
  for (int32_t client = 0; client < 50; ++client) told.observe(client, 1, 1);
  for (const auto& [round, unseen] :
       std::map<int64_t, int64_t>{{1, 9}, {10, 8}, {30, 5}, {100, 3}}) {
    const std::vector<int32_t> chosen = told.choose(round, first(100), 10);
    REQUIRE(chosen.size() == 10);
    CHECK(std::is_sorted(chosen.begin(), chosen.end()));
    CHECK(std::adjacent_find(chosen.begin(), chosen.end()) == chosen.end());
    CAPTURE(round);
    CHECK(std::count_if(chosen.begin(), chosen.end(), [](int32_t c) { return c >= 50; }) == unseen);
  }
  // Too few of one kind leave their places to the other.
  CHECK(told.choose(1, first(52), 10).size() == 10);
  CHECK(std::ranges::count(told.choose(1, first(52), 10), 51) == 1);
  CHECK(told.choose(100, {1, 60, 61, 62}, 3).size() == 3);
  CHECK(Told(answer).choose(1, first(100), 10).size() == 10);  // all unseen
}

TEST_CASE("Oort: T rises by a step where the last rounds brought less than those before") {
  // Client 0 takes 1 s, client 1 takes 2 s: T begins at the 0.3 quantile, 1 s, and a step is as
  // much. 30 / 4 = 7.5 of client 1 is less than client 0's 10; with T = 2 it is 30.
  for (const bool falls : {false, true}) {
    v1::SelectOort answer = plain();
    answer.set_penalty(2);
    answer.set_pacer_rounds(2);
    Told told(answer);
    told.observe(0, 1, 100, 1, 1'000'000'000);
    told.observe(1, 1, 900, 2, 1'000'000'000);
    // The window of rounds 10 and 11 brings 20, that of 12 and 13 as much, or 10 + 9 = 19.
    for (const int64_t round : {10, 11, 12}) CHECK(told.best(round, 2) == 0);
    if (falls) told.observe(0, 1, 81, 1, 1'000'000'000);
    CHECK(told.best(13, 2) == 0);
    CAPTURE(falls);
    CHECK(told.best(14, 2) == (falls ? 1 : 0));
  }
}

TEST_CASE("Oort: numbers that are none keep it going") {
  // A training that diverged.
  Told told(plain());
  for (int32_t client = 0; client < 40; ++client) {
    told.observe(client, 1, client % 3 == 0 ? std::nan("") : client);
  }
  for (int64_t round = 1; round <= 20; ++round) {
    const std::vector<int32_t> chosen = told.choose(round, first(40), 5);
    REQUIRE(chosen.size() == 5);
    CHECK(std::adjacent_find(chosen.begin(), chosen.end()) == chosen.end());
    for (const int32_t client : chosen) CHECK(client % 3 != 0);
  }
}

}  // namespace
}  // namespace fedclock::federation
