// Servers that merge as updates come, by hand: when, whose, how stale, and when who goes on.
//
// A part of a board takes B = board_s(), about 0.098 s, of a large one L = large_s(), 0.073; a
// merge of k updates on the slow server m_k = (k + 1) x 0.974 ms. What the derivations need, L +
// m_1 < B < 2 L and so on, is checked where it is used.
#include <catch2/catch.hpp>

#include <vector>

#include "tests/sim/federation/parts.h"

namespace fedclock::federation {
namespace {

using test::boards;
using test::kSlowServer;
using test::part_of;
using test::result_of;
using test::share_of;
using test::slow_merge_s;
using test::timed_workload;
using test::with;

double board_s() {
  static const double all_s = part_of(timed_workload(), test::board()).all();
  return all_s;
}
double large_s() {
  static const double all_s = part_of(timed_workload(), test::large_board()).all();
  return all_s;
}
constexpr int32_t kBoard = 0, kLarge = 1;  // of one each

std::vector<std::string> one_each(const std::string& schedule, int rounds) {
  return with(boards(1, 1),
              {"federation.selection={all:{}}", kSlowServer,
               "federation.schedule={" + schedule + "}", "stop.rounds=" + std::to_string(rounds)});
}

// An update as it is merged.
struct Merged {
  int32_t client = 0, staleness = 0;
  double end_s = 0;  // of its upload
};

// Round `number` ends at the date and has merged these, in the order in which they came.
void check_round(const v1::Result& result, int number, double end_s,
                 const std::vector<Merged>& merged) {
  CAPTURE(number);
  const v1::Round& round = result.rounds(number);
  CHECK(round.end_s() == Approx(end_s).epsilon(1e-9));
  std::vector<const v1::ClientRound*> kept;
  for (const v1::ClientRound& c : round.clients()) {
    if (!c.dropped()) kept.push_back(&c);
  }
  REQUIRE(kept.size() == merged.size());
  for (size_t i = 0; i < merged.size(); ++i) {
    CHECK(kept[i]->client() == merged[i].client);
    CHECK(kept[i]->staleness() == merged[i].staleness);
    CHECK(kept[i]->end_s() == Approx(merged[i].end_s).epsilon(1e-9));
    CHECK(kept[i]->wait_s() == 0);  // it goes on
  }
}

// Dates at which the client's downloads began.
std::vector<double> starts_of(const v1::Result& result, int32_t client) {
  const v1::Events& events = result.events();
  std::vector<double> starts_s;
  for (int i = 0; i < events.client_size(); ++i) {
    if (events.client(i) == client && events.phase(i) == v1::Event::DOWNLOAD) {
      starts_s.push_back(events.start_s(i));
    }
  }
  return starts_s;
}

TEST_CASE("FedAsync merges each update when it comes, and its client goes on from there") {
  const double m = slow_merge_s(1);
  REQUIRE((large_s() + m < board_s() && board_s() + m < 2 * large_s() + m));
  REQUIRE(
      (2 * large_s() + 2 * m < 2 * board_s() + m && 2 * board_s() + 2 * m < 3 * large_s() + 2 * m));
  REQUIRE((4 * large_s() + 3 * m < 3 * board_s() + 2 * m &&
           3 * board_s() + 2 * m < 4 * large_s() + 4 * m));
  const v1::Result result = result_of(one_each("asynchronous:{}", 7));
  check_round(result, 1, large_s() + m, {{kLarge, 0, large_s()}});  // it goes on in round 2
  check_round(result, 2, board_s() + m,
              {{kBoard, 1, board_s()}});  // began in round 1; goes on in 3
  check_round(result, 3, 2 * large_s() + 2 * m, {{kLarge, 1, 2 * large_s() + m}});      // 2; 4
  check_round(result, 4, 2 * board_s() + 2 * m, {{kBoard, 1, 2 * board_s() + m}});      // 3; 5
  check_round(result, 5, 3 * large_s() + 3 * m, {{kLarge, 1, 3 * large_s() + 2 * m}});  // 4; 6
  check_round(result, 6, 4 * large_s() + 4 * m, {{kLarge, 0, 4 * large_s() + 3 * m}});  // 6
  // The board's, begun in round 5, comes in the merge of round 6, and waits for it.
  check_round(result, 7, 4 * large_s() + 5 * m, {{kBoard, 2, 3 * board_s() + 2 * m}});
  for (int round = 1; round <= 7; ++round) {
    CHECK(result.rounds(round).start_s() == result.rounds(round - 1).end_s());
    CHECK(result.rounds(round).merge_s() == Approx(m).epsilon(1e-9));
  }
  // Only the large board's fifth part is under way at the end; the board's fourth never began.
  CHECK(starts_of(result, kBoard).size() == 3);
  CHECK(starts_of(result, kLarge).size() == 5);
  test::check_conserved(result);
}

TEST_CASE("FedAsync: who is merged first goes on first, also where two come at once") {
  // Both boards (0 and 1) come at B, in round 2; the large one (2) was merged in round 1.
  const double m = slow_merge_s(1);
  const v1::Result result = result_of(with(one_each("asynchronous:{}", 4), boards(2, 1)));
  REQUIRE((large_s() + m < board_s() && board_s() + 2 * m < 2 * large_s() + m));
  check_round(result, 1, large_s() + m, {{2, 0, large_s()}});
  check_round(result, 2, board_s() + m, {{0, 1, board_s()}});
  check_round(result, 3, board_s() + 2 * m, {{1, 2, board_s()}});
  check_round(result, 4, 2 * large_s() + 2 * m, {{2, 2, 2 * large_s() + m}});
  REQUIRE(starts_of(result, 0).size() == 2);
  REQUIRE(starts_of(result, 1).size() == 2);
  CHECK(starts_of(result, 0)[1] == Approx(board_s() + m).epsilon(1e-9));
  CHECK(starts_of(result, 1)[1] == Approx(board_s() + 2 * m).epsilon(1e-9));
  test::check_conserved(result);
}

TEST_CASE("FedAsync: as many work at any time as the selection chooses") {
  // One of two: parts and merges follow each other.
  const v1::Result result =
      result_of(with(one_each("asynchronous:{}", 6), {"federation.selection={random:{count:1}}"}));
  double now_s = 0;
  for (int number = 1; number <= 6; ++number) {
    const int32_t client = result.rounds(number).clients(0).client();
    const double part_s = client == kBoard ? board_s() : large_s();
    check_round(result, number, now_s + part_s + slow_merge_s(1), {{client, 0, now_s + part_s}});
    now_s += part_s + slow_merge_s(1);
  }
}

TEST_CASE("FedAsync: what is too stale is dropped, and its client begins anew at once") {
  const double m = slow_merge_s(1);
  REQUIRE((board_s() > large_s() + m && board_s() < 2 * large_s() + m &&
           2 * board_s() > 2 * large_s() + 2 * m && 2 * board_s() < 3 * large_s() + 2 * m));
  const v1::Result result = result_of(one_each("asynchronous:{most_staleness:0}", 3));
  check_round(result, 1, large_s() + m, {{kLarge, 0, large_s()}});
  // The board's update began in round 1 and comes in round 2, the next one began in round 2 and
  // comes in round 3.
  check_round(result, 2, 2 * large_s() + 2 * m, {{kLarge, 0, 2 * large_s() + m}});
  check_round(result, 3, 3 * large_s() + 3 * m, {{kLarge, 0, 3 * large_s() + 2 * m}});
  const int64_t whole = timed_workload().bytes(share_of(2));
  for (int number = 2; number <= 3; ++number) {
    const v1::ClientRound& late = result.rounds(number).clients(0);
    CHECK(late.client() == kBoard);
    CHECK(late.dropped());
    CHECK(late.staleness() == 1);
    CHECK(late.end_s() == Approx((number - 1) * board_s()).epsilon(1e-9));
    CHECK(late.lost_s() == Approx(board_s()).epsilon(1e-9));
    CHECK(late.lost_bytes_up() == whole);
    CHECK(late.lost_bytes_down() == whole);
  }
  test::check_conserved(result);
  // One merge may have passed.
  const v1::Result patient = result_of(one_each("asynchronous:{most_staleness:1}", 3));
  check_round(patient, 2, board_s() + m, {{kBoard, 1, board_s()}});
}

TEST_CASE("FedBuff merges K updates; whoever does not fill the buffer goes on at once") {
  const double m = slow_merge_s(2);
  REQUIRE((large_s() < board_s() && board_s() < 2 * large_s() && 2 * large_s() > board_s() + m));
  REQUIRE((2 * board_s() + m < 3 * large_s() && 3 * large_s() > 2 * board_s() + 2 * m &&
           4 * large_s() < 3 * board_s() + 2 * m));
  const v1::Result result = result_of(one_each("buffered:{size:2}", 3));
  // L: one is there, and goes on with the same state. B: two.
  check_round(result, 1, board_s() + m, {{kLarge, 0, large_s()}, {kBoard, 0, board_s()}});
  // 2 L, begun at L in round 1: one. 2 B + m, begun at B + m in round 2: two.
  check_round(result, 2, 2 * board_s() + 2 * m,
              {{kLarge, 1, 2 * large_s()}, {kBoard, 0, 2 * board_s() + m}});
  // 3 L, begun in round 2; 4 L, begun in round 3: both of the large board, and two.
  check_round(result, 3, 4 * large_s() + m,
              {{kLarge, 1, 3 * large_s()}, {kLarge, 0, 4 * large_s()}});
  const std::vector<double> starts_s = starts_of(result, kLarge);
  REQUIRE(starts_s.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(starts_s[i] == Approx(i * large_s()).margin(1e-9));
  CHECK(starts_of(result, kBoard).size() == 3);
  test::check_conserved(result);
}

TEST_CASE("FedBuff: updates that nobody merges are lost") {
  // Two merges of three; when the run ends, what is in the buffer and what is under way.
  for (const char* schedule : {"buffered:{size:3}", "buffered:{size:2 most_staleness:0}",
                               "asynchronous:{}", "asynchronous:{most_staleness:1}"}) {
    for (int large = 1; large <= 3; ++large) {
      CAPTURE(schedule, large);
      const v1::Result result = result_of(with(one_each(schedule, 5), boards(3, large)));
      test::check_conserved(result);
    }
  }
  // The boards' three updates come at B, the large one's at L: merged are L's and the first one.
  const v1::Result result = result_of(with(one_each("buffered:{size:2}", 1), boards(3, 1)));
  const double m = slow_merge_s(2);
  check_round(result, 1, board_s() + m, {{3, 0, large_s()}, {0, 0, board_s()}});
  int lost = 0;
  for (const v1::ClientRound& c : result.rounds(1).clients()) {
    if (!c.dropped() || c.client() == 3) continue;
    ++lost;
    CHECK(c.end_s() == Approx(board_s()).epsilon(1e-9));
    CHECK(c.lost_s() == Approx(board_s()).epsilon(1e-9));
  }
  CHECK(lost == 2);
}

}  // namespace
}  // namespace fedclock::federation
