// Rounds that do not wait for everyone, by hand: when they end, who is in them, what is lost.
//
// B = board_s(): a board's part, L = large_s(): a large one's, m_k: a merge of k updates on the
// slow server.
#include <catch2/catch.hpp>

#include <fmt/format.h>

#include "tests/sim/federation/parts.h"

namespace fedclock::federation {
namespace {

using test::boards;
using test::kSlowServer;
using test::part_of;
using test::PartSeconds;
using test::result_of;
using test::share_of;
using test::slow_merge_s;
using test::timed_workload;
using test::with;

const PartSeconds& board() {
  static const PartSeconds part = part_of(timed_workload(), test::board());
  return part;
}
double board_s() { return board().all(); }
double large_s() {
  static const double all_s = part_of(timed_workload(), test::large_board()).all();
  return all_s;
}

// Clients 0 and 1 are boards, 2 and 3 large ones.
std::vector<std::string> two_each(const std::string& deadline, int rounds) {
  return with(boards(2, 2), {"federation.selection={all:{}}", kSlowServer,
                             "federation.schedule={deadline:{" + deadline + "}}",
                             fmt::format("stop.rounds={}", rounds)});
}

const v1::ClientRound& only_part(const v1::Round& round, int32_t client) {
  const v1::ClientRound* found = nullptr;
  for (const v1::ClientRound& c : round.clients()) {
    if (c.client() != client) continue;
    REQUIRE(found == nullptr);
    found = &c;
  }
  REQUIRE(found != nullptr);
  return *found;
}

TEST_CASE("a round ends at its deadline with those that are there; the late are dropped there") {
  // 4 ms after the latency of the boards' uploads: 4000 bytes of each are through.
  const double d_s = board().down_s + board().train_s + 0.01 + 0.004;
  REQUIRE((large_s() < d_s && d_s < board_s()));
  const int64_t whole = timed_workload().bytes(share_of(2));
  const v1::Result result = result_of(two_each(fmt::format("deadline_s:{}", d_s), 2));
  for (int number = 1; number <= 2; ++number) {
    const v1::Round& round = result.rounds(number);
    CHECK(round.end_s() - round.start_s() == Approx(d_s + slow_merge_s(2)).epsilon(1e-9));
    REQUIRE(round.clients_size() == 4);
    for (int32_t client = 0; client < 2; ++client) {
      const v1::ClientRound& late = only_part(round, client);
      CHECK(late.dropped());
      CHECK(late.end_s() == Approx(round.start_s() + d_s).epsilon(1e-9));
      CHECK(late.wait_s() == 0);
      CHECK(late.lost_s() == Approx(d_s).epsilon(1e-9));
      CHECK(late.lost_bytes_down() == whole);
      CHECK(std::abs(late.lost_bytes_up() - 4000) <= 1);  // whole bytes
    }
    for (int32_t client = 2; client < 4; ++client) {
      const v1::ClientRound& in_time = only_part(round, client);
      CHECK(!in_time.dropped());
      CHECK(in_time.end_s() - round.start_s() == Approx(large_s()).epsilon(1e-9));
      CHECK(in_time.wait_s() == Approx(d_s - large_s() + slow_merge_s(2)).epsilon(1e-9));
    }
  }
  test::check_conserved(result);
}

TEST_CASE("nobody in time: the round ends at its deadline and merges nothing") {
  const double d_s = large_s() / 2;
  const v1::Result result = result_of(two_each(fmt::format("deadline_s:{}", d_s), 3));
  CHECK(result.rounds(3).end_s() == Approx(3 * d_s).epsilon(1e-9));
  for (const v1::Round& round : result.rounds()) {
    CHECK(!round.has_merge_s());
    for (const v1::ClientRound& c : round.clients()) CHECK(c.dropped());
  }
  test::check_conserved(result);
}

TEST_CASE("everyone in time: the deadline is not waited for") {
  const v1::Result result = result_of(two_each("deadline_s:9", 2));
  CHECK(result.rounds(2).end_s() == Approx(2 * (board_s() + slow_merge_s(4))).epsilon(1e-9));
  // Who comes at the very deadline is in time: with no deadline the dates are the same.
  const v1::Result none = result_of(two_each("", 2));
  CHECK(none.rounds(2).end_s() == result.rounds(2).end_s());
}

TEST_CASE("late updates that are used come in a later round, and are not asked for meanwhile") {
  const double d_s = board().down_s + board().train_s + 0.01 + 0.004;
  const v1::Result result = result_of(two_each(fmt::format("deadline_s:{} late:USED", d_s), 3));
  // Round 1: the large boards alone.
  const double second_s = d_s + slow_merge_s(2);
  CHECK(result.rounds(1).end_s() == Approx(second_s).epsilon(1e-9));
  CHECK(result.rounds(1).clients_size() == 2);
  // Round 2: the boards come, the large ones are chosen and are there before its deadline, which
  // makes four.
  REQUIRE((second_s < board_s() && board_s() < second_s + large_s() && large_s() < d_s));
  const double third_s = second_s + large_s() + slow_merge_s(4);
  const v1::Round& second = result.rounds(2);
  CHECK(second.end_s() == Approx(third_s).epsilon(1e-9));
  REQUIRE(second.clients_size() == 4);
  for (int32_t client = 0; client < 4; ++client) {
    const v1::ClientRound& c = only_part(second, client);
    CHECK(!c.dropped());
    CHECK(c.staleness() == (client < 2 ? 1 : 0));
    CHECK(c.end_s() == Approx(client < 2 ? board_s() : second_s + large_s()).epsilon(1e-9));
    CHECK(c.wait_s() == Approx(third_s - c.end_s()).epsilon(1e-9));
  }
  // Round 3 is like round 1, and the last: what is still under way is given up at its end, m_2
  // after its deadline.
  const v1::Round& third = result.rounds(3);
  CHECK(third.end_s() == Approx(third_s + d_s + slow_merge_s(2)).epsilon(1e-9));
  REQUIRE(third.clients_size() == 4);
  for (int32_t client = 0; client < 2; ++client) {
    const v1::ClientRound& late = only_part(third, client);
    CHECK(late.dropped());
    CHECK(late.end_s() == third.end_s());
    CHECK(std::abs(late.lost_bytes_up() - (4000 + 1e6 * slow_merge_s(2))) <= 1);
  }
  test::check_conserved(result);
}

TEST_CASE("an update that comes in the last merge is lost") {
  // The boards come 1 ms after the deadline of the only round, in the 2.9 ms of its merge.
  const double d_s = board_s() - 0.001;
  REQUIRE(large_s() < d_s);
  const v1::Result result = result_of(two_each(fmt::format("deadline_s:{} late:USED", d_s), 1));
  const v1::Round& round = result.rounds(1);
  CHECK(round.end_s() == Approx(d_s + slow_merge_s(2)).epsilon(1e-9));
  const int64_t whole = timed_workload().bytes(share_of(2));
  for (int32_t client = 0; client < 2; ++client) {
    const v1::ClientRound& late = only_part(round, client);
    CHECK(late.end_s() == Approx(board_s()).epsilon(1e-9));
    CHECK(late.dropped());
    CHECK(late.lost_bytes_up() == whole);
  }
  test::check_conserved(result);
}

TEST_CASE("over-selection: six are chosen, the fourth ends the round") {
  // Boards 1, 2 and 3 are off for 20, 40 and 60 ms from 10 ms after their downloads on, and train
  // again from the start: they come 30, 50 and 70 ms after board 0.
  std::string outages;
  for (int client = 1; client <= 3; ++client) {
    outages += fmt::format("{}{{client:{} start_s:{} duration_s:{}}}", client > 1 ? "," : "",
                           client, board().down_s + 0.01, 0.02 * client);
  }
  const std::vector<std::string> overrides = {
      "federation.schedule={deadline:{over_selection:1.5}}", kSlowServer, "stop.rounds=1",
      "federation.selection={random:{count:4}}", "platform.outages=[" + outages + "]"};
  const v1::Result result = result_of(overrides);
  const v1::Round& round = result.rounds(1);
  REQUIRE(round.clients_size() == 6);
  // The large ones, board 0 and board 1.
  const double last_s = board_s() + 0.03;
  CHECK(round.end_s() == Approx(last_s + slow_merge_s(4)).epsilon(1e-9));
  for (int32_t client = 0; client < 6; ++client) {
    const v1::ClientRound& c = only_part(round, client);
    const bool late = client == 2 || client == 3;
    CHECK(c.dropped() == late);
    if (late) CHECK(c.end_s() == Approx(last_s).epsilon(1e-9));
  }
  test::check_conserved(result);
  // 1.25 x 4 = 5, whatever binary fractions say; 1.1 x 4 is rounded up.
  for (const auto& [factor, chosen] : {std::pair{1.25, 5}, {1.1, 5}, {1.0, 4}}) {
    const v1::Result some = result_of(
        with(overrides,
             {fmt::format("federation.schedule={{deadline:{{over_selection:{}}}}}", factor)}));
    CHECK(some.rounds(1).clients_size() == chosen);
  }
}

TEST_CASE("over-selection with late updates that are used: three a round, from whenever they are") {
  // Three of four are waited for: L, L and then both boards at B, which come at the same date.
  const v1::Result result = result_of(with(two_each("over_selection:1.34 late:USED", 4),
                                           {"federation.selection={random:{count:3}}"}));
  CHECK(result.rounds(1).end_s() == Approx(board_s() + slow_merge_s(4)).epsilon(1e-9));
  CHECK(result.rounds(1).clients_size() == 4);
  test::check_conserved(result);
}

TEST_CASE("a deadline's parts that break off: wait, go on or give up") {
  // Board 0 is off for 0.1 s, 5 ms after the latency of its upload: 5000 bytes are through.
  const double off_s = board().down_s + board().train_s + 0.015;
  const std::string outage =
      fmt::format("platform.outages=[{{client:0 start_s:{} duration_s:0.1}}]", off_s);
  const double b = static_cast<double>(timed_workload().bytes(share_of(2)));
  const auto end_s = [&](const std::string& on_break) {
    const v1::Result result = result_of(with(two_each("on_break:" + on_break, 1), {outage}));
    test::check_conserved(result);
    return result.rounds(1).end_s();
  };
  CHECK(end_s("START_AGAIN") == Approx(off_s + 0.1 + board().up_s + slow_merge_s(4)).epsilon(1e-9));
  CHECK(end_s("GO_ON") == Approx(off_s + 0.11 + (b - 5000) / 1e6 + slow_merge_s(4)).epsilon(1e-5));
  CHECK(end_s("GIVE_UP") == Approx(board_s() + slow_merge_s(3)).epsilon(1e-9));
}

}  // namespace
}  // namespace fedclock::federation
