// Global rounds of groups that merge at the server, at gateways and on devices, against hand
// arithmetic. b: bytes of everything that is tuned; a latency and b / rate for each transfer.
#include <catch2/catch.hpp>

#include <set>

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

const std::vector<std::string> kAll = {"federation.selection={all:{}}"};

std::string hierarchical(const std::string& fields) {
  return "federation.schedule={hierarchical:{" + fields + "}}";
}

// Members of each group that had a part in the round.
std::vector<std::set<int32_t>> members_of(const v1::Round& round) {
  std::vector<std::set<int32_t>> groups(static_cast<size_t>(round.groups_size()));
  for (const v1::ClientRound& c : round.clients()) {
    groups.at(static_cast<size_t>(c.group())).insert(c.client());
  }
  return groups;
}

// Where one group has all boards and the other all large boards.
v1::Result kinds_apart(const std::vector<std::string>& overrides) {
  for (int seed = 1; seed < 50; ++seed) {
    const v1::Result result = result_of(with(overrides, {"seed=" + std::to_string(seed)}));
    auto groups = members_of(result.rounds(1));
    if (groups == std::vector<std::set<int32_t>>{{0, 1}, {2, 3}}) return result;
  }
  FAIL("no seed groups alike boards");
  return {};
}

TEST_CASE("hierarchical, on the server: the slowest group's rounds, one after the other") {
  const Workload work = timed_workload();
  const double board_s = part_of(work, test::board()).all();
  const double large_s = part_of(work, test::large_board()).all();
  const v1::Result result =
      kinds_apart(with(with(kAll, boards(2, 2)), {hierarchical("random:{groups:2} intra_rounds:2"),
                                                  kSlowServer, "stop.rounds=2"}));
  // Two rounds of two updates each; then the two groups' updates are merged.
  const double boards_s = 2 * (board_s + slow_merge_s(2));
  const double larges_s = 2 * (large_s + slow_merge_s(2));
  REQUIRE(larges_s + slow_merge_s(2) < boards_s);  // so no two merges are on the server at once
  for (int number = 1; number <= 2; ++number) {
    const v1::Round& round = result.rounds(number);
    CHECK(round.end_s() - round.start_s() == Approx(boards_s + slow_merge_s(2)).epsilon(1e-9));
    CHECK(round.merge_s() == Approx(slow_merge_s(2)).epsilon(1e-9));
    REQUIRE(round.groups_size() == 2);
    CHECK(round.groups(0).seconds() == Approx(boards_s).epsilon(1e-9));
    CHECK(round.groups(1).seconds() == Approx(larges_s).epsilon(1e-9));
    for (const v1::GroupRound& group : round.groups()) {
      CHECK(group.frequency() == 2);
      CHECK(group.depth() == 2);
      CHECK(group.bytes_up() + group.bytes_down() == 0);  // what is on the server does not travel
    }
    // Each client has two parts: twice the bytes both ways.
    const int64_t whole = work.bytes(share_of(2));
    REQUIRE(round.clients_size() == 4);
    for (const v1::ClientRound& c : round.clients()) {
      CHECK(c.parts() == 2);
      CHECK(c.group() == c.client() / 2);
      CHECK(c.bytes_up() == 2 * whole);
      CHECK(c.bytes_down() == 2 * whole);
      const PartSeconds part = part_of(work, c.client() < 2 ? test::board() : test::large_board());
      CHECK(c.train_s() == Approx(2 * part.train_s).epsilon(1e-9));
      CHECK(c.end_s() - round.start_s() == Approx(2 * part.all() + slow_merge_s(2)).epsilon(1e-9));
      // It waits for its group's first merge and, from its end on, for the global one.
      CHECK(c.wait_s() == Approx(round.end_s() - round.start_s() - 2 * part.all()).epsilon(1e-9));
    }
    CHECK(round.bytes_up() == 8 * whole);
    CHECK(round.bytes_down() == 8 * whole);
  }
  test::check_conserved(result);
}

TEST_CASE("hierarchical: a single group on the server is merged once") {
  const Workload work = timed_workload();
  const double board_s = part_of(work, test::board()).all();
  const v1::Result result =
      result_of(with(kAll, {hierarchical("random:{groups:1}"), kSlowServer, "stop.rounds=2"}));
  const v1::Result flat = result_of(with(kAll, {kSlowServer, "stop.rounds=2"}));
  CHECK(result.rounds(1).end_s() == Approx(board_s + slow_merge_s(6)).epsilon(1e-9));
  CHECK(result.rounds(2).end_s() == flat.rounds(2).end_s());
  CHECK(result.rounds(2).bytes_up() == flat.rounds(2).bytes_up());
}

TEST_CASE("hierarchical: the selection chooses in proportion within each group") {
  // 3 of 6, in groups of 3: 1.5, rounded up, of each.
  const v1::Result result =
      result_of({hierarchical("random:{groups:2}"), "federation.selection={random:{count:3}}"});
  for (int number = 1; number <= 3; ++number) {
    for (const auto& members : members_of(result.rounds(number))) CHECK(members.size() == 2);
  }
  test::check_conserved(result);
}

// A gateway of 4 Mbit/s up, 8 down, 0.02 s, whose machine's memory moves 2e7 bytes a second.
std::string gateway(const std::string& name) {
  return "{name:\"" + name +
         "\" up_mbit_s:4 down_mbit_s:8 latency_s:0.02 device:{name:\"edge\" memory_gb:16 "
         "memory_bandwidth_gb_s:0.02 modes:{name:\"all\" fp32_tflops:2} efficiency:0.5 "
         "step_overhead_s:0.001}}";
}
std::vector<std::string> behind_gateways() {
  return {"platform.devices[0].network.gateway=" + gateway("a"),
          "platform.devices[1].network.gateway=" + gateway("b"), "federation.selection={all:{}}"};
}

TEST_CASE("hierarchical, on gateways: groups cross the backhaul, members do not") {
  const Workload work = timed_workload();
  const int64_t whole = work.bytes(share_of(2));
  const auto b = static_cast<double>(whole);
  const v1::Result result = result_of(
      with(behind_gateways(), {hierarchical("by_gateway:{} aggregator:GATEWAY intra_rounds:2"),
                               kSlowServer, "stop.rounds=2"}));
  // Down 8 Mbit/s = 1e6 byte/s, up half of that; members' links are their own, with their own
  // latency; the gateway's memory is twice as fast as the slow server's.
  const double down_s = 0.02 + b / 1e6, up_s = 0.02 + b / 0.5e6;
  const PartSeconds board = part_of(work, test::board());
  const PartSeconds large = part_of(work, test::large_board());
  const double boards_s = down_s + 2 * (board.all() + slow_merge_s(4) / 2) + up_s;
  const double larges_s = down_s + 2 * (large.all() + slow_merge_s(2) / 2) + up_s;
  for (int number = 1; number <= 2; ++number) {
    const v1::Round& round = result.rounds(number);
    CHECK(round.end_s() - round.start_s() == Approx(boards_s + slow_merge_s(2)).epsilon(1e-9));
    CHECK(round.merge_s() == Approx(slow_merge_s(2)).epsilon(1e-9));
    REQUIRE(round.groups_size() == 2);
    CHECK(round.groups(0).seconds() == Approx(boards_s).epsilon(1e-9));
    CHECK(round.groups(1).seconds() == Approx(larges_s).epsilon(1e-9));
    for (const v1::GroupRound& group : round.groups()) {
      CHECK(group.bytes_down() == whole);
      CHECK(group.bytes_up() == whole);
    }
    REQUIRE(round.clients_size() == 6);
    for (const v1::ClientRound& c : round.clients()) {
      CHECK(c.group() == (c.client() < 4 ? 0 : 1));
      CHECK(c.bytes_up() == 2 * whole);
      CHECK(c.download_s() == Approx(2 * (c.client() < 4 ? board : large).down_s).epsilon(1e-9));
      CHECK(c.late_s() == Approx(down_s).epsilon(1e-9));  // until its gateway has something
    }
    CHECK(round.bytes_up() == (6 * 2 + 2) * whole);
    CHECK(round.bytes_down() == (6 * 2 + 2) * whole);
  }
  test::check_conserved(result);
}

TEST_CASE("hierarchical, by gateway but on the server: everything crosses the backhaul") {
  const Workload work = timed_workload();
  const auto b = static_cast<double>(work.bytes(share_of(2)));
  const v1::Result result = result_of(
      with(behind_gateways(), {hierarchical("by_gateway:{} aggregator:SERVER"), "stop.rounds=1"}));
  // Four boards share 1e6 byte/s down and 0.5e6 up; all latencies are paid once by each transfer.
  // Two large boards share as much.
  const double board_s =
      0.03 + 4 * b / 1e6 + part_of(work, test::board()).train_s + 0.03 + 4 * b / 0.5e6;
  const double large_s =
      0.025 + 2 * b / 1e6 + part_of(work, test::large_board()).train_s + 0.025 + 2 * b / 0.5e6;
  // The merges take less than 1e-7 s.
  CHECK(result.rounds(1).groups(0).seconds() == Approx(board_s).epsilon(1e-6));
  CHECK(result.rounds(1).groups(1).seconds() == Approx(large_s).epsilon(1e-6));
  CHECK(result.rounds(1).end_s() == Approx(board_s).epsilon(1e-6));
  test::check_conserved(result);
}

TEST_CASE("hierarchical, on the fastest device: others' updates come over its link") {
  const Workload work = timed_workload();
  const int64_t whole = work.bytes(share_of(2));
  const auto b = static_cast<double>(whole);
  // Two boards and a large one, which is the fastest and whose link is down 8 Mbit/s = 1e6 byte/s;
  // up 80, so 1e7. Its memory moves 0.1 GB/s.
  const v1::Result result =
      result_of(with(with(kAll, boards(2, 1)),
                     {hierarchical("random:{groups:1} aggregator:DEVICE intra_rounds:2"),
                      kSlowServer, "platform.devices[1].network.down_mbit_s=8", "stop.rounds=2"}));
  const PartSeconds board = part_of(work, test::board());
  const PartSeconds large = part_of(work, test::large_board());
  const double group_down_s = 0.005 + b / 1e6, group_up_s = 0.005 + b / 1e7;
  // Down from the large board at the boards' own 2e6, two of which its up link holds; both
  // latencies. Up, they share its 1e6. It trains beside that, without any transfer.
  const double member_down_s = 0.015 + b / 2e6, member_up_s = 0.015 + 2 * b / 1e6;
  const double member_s = member_down_s + board.train_s + member_up_s;
  REQUIRE(large.train_s < member_s);
  // Three updates on its memory of 100 GB/s: (3 + 1) x 2436 x 4 bytes.
  const double merge_s = 4 * 2436 * 4 / 100e9;
  const double group_s = group_down_s + 2 * (member_s + merge_s) + group_up_s;
  for (int number = 1; number <= 2; ++number) {
    const v1::Round& round = result.rounds(number);
    REQUIRE(round.groups_size() == 1);
    CHECK(round.groups(0).seconds() == Approx(group_s).epsilon(1e-9));
    CHECK(round.end_s() - round.start_s() == Approx(group_s + slow_merge_s(1)).epsilon(1e-9));
    CHECK(round.groups(0).bytes_down() == whole);
    CHECK(round.groups(0).bytes_up() == whole);
    REQUIRE(round.clients_size() == 3);
    for (const v1::ClientRound& c : round.clients()) {
      CHECK(c.parts() == 2);
      const bool itself = c.client() == 2;
      CHECK(c.bytes_up() == (itself ? 0 : 2 * whole));
      CHECK(c.bytes_down() == (itself ? 0 : 2 * whole));
      CHECK(c.upload_s() == Approx(itself ? 0 : 2 * member_up_s).epsilon(1e-9));
      CHECK(c.train_s() == Approx(2 * (itself ? large : board).train_s).epsilon(1e-9));
    }
    CHECK(round.bytes_up() == (2 * 2 + 1) * whole);
    CHECK(round.bytes_down() == (2 * 2 + 1) * whole);
  }
  test::check_conserved(result);
}

TEST_CASE("hierarchical: gateways are sent, and send, what their clients exchange") {
  const Workload work = timed_workload();
  const auto of = [&](bool a, bool b, bool head) { return work.bytes({{4, 4}, a, b, head}); };
  struct Expected {
    const char* method;
    std::vector<int64_t> down, up;  // of each round
  };
  const int64_t all = of(true, true, true), b = of(false, true, true), a = of(true, false, true);
  const int64_t a_alone = of(true, false, false);
  for (const Expected& expected : std::vector<Expected>{
           {"fedit", {all, all, all}, {all, all, all}},
           {"ffa_lora", {b, b, b}, {b, b, b}},
           {"fedsa_lora", {a_alone, a_alone, a_alone}, {a_alone, a_alone, a_alone}},
           {"rolora", {all, b, a}, {b, a, b}},
           {"scaffold", {2 * all, 2 * all, 2 * all}, {2 * all, 2 * all, 2 * all}}}) {
    CAPTURE(expected.method);
    const v1::Result result = result_of(
        with(behind_gateways(), {std::string("method=") + expected.method,
                                 hierarchical("by_gateway:{} aggregator:GATEWAY intra_rounds:2")}));
    for (int number = 1; number <= 3; ++number) {
      const v1::Round& round = result.rounds(number);
      CAPTURE(number);
      const auto at = static_cast<size_t>(number - 1);
      for (const v1::GroupRound& group : round.groups()) {
        CHECK(group.bytes_down() == expected.down[at]);
        CHECK(group.bytes_up() == expected.up[at]);
      }
      // Members: the first part of the round as the group, the second what the group has merged.
      for (const v1::ClientRound& c : round.clients()) {
        CHECK(c.bytes_up() == 2 * expected.up[at]);
        CHECK(c.bytes_down() == expected.down[at] + expected.up[at]);
      }
    }
    test::check_conserved(result);
  }
}

TEST_CASE("hierarchical: HierFAVG is by gateway, twice before the cloud") {
  const v1::Result named = result_of(with(behind_gateways(), {"method=hierfavg"}));
  const v1::Result written = result_of(
      with(behind_gateways(), {hierarchical("by_gateway:{} aggregator:GATEWAY intra_rounds:2")}));
  CHECK(named.rounds(3).end_s() == written.rounds(3).end_s());
  CHECK(named.rounds(3).bytes_up() == written.rounds(3).bytes_up());
}

TEST_CASE("hierarchical: what a gateway is sent twice is counted twice") {
  const Workload work = timed_workload();
  const auto b = static_cast<double>(work.bytes(share_of(2)));
  // Gateway "a" is off for 0.1 s from the middle of its first download on, 0.02 + b / 1e6: the
  // download starts again.
  const double off_s = 0.02 + b / 2e6;
  const v1::Result result = result_of(with(
      behind_gateways(),
      {hierarchical("by_gateway:{} aggregator:GATEWAY"), "stop.rounds=1",
       "platform.outages=[{gateway:\"a\" start_s:" + std::to_string(off_s) + " duration_s:0.1}]"}));
  const v1::GroupRound& group = result.rounds(1).groups(0);
  CHECK(group.bytes_down() > work.bytes(share_of(2)) * 1.4);
  CHECK(group.bytes_down() < work.bytes(share_of(2)) * 1.6);
  test::check_conserved(result);
}

TEST_CASE("hierarchical: a group's transfer is tried max_attempts times") {
  const Workload work = timed_workload();
  const auto b = static_cast<double>(work.bytes(share_of(2)));
  const auto off = [](double start_s) {
    return "platform.outages=[{gateway:\"a\" start_s:" + std::to_string(start_s) +
           " duration_s:0.1}]";
  };
  const auto groups = [&](int32_t max_attempts, double off_s) {
    const v1::Result result = result_of(
        with(behind_gateways(), {hierarchical("by_gateway:{} aggregator:GATEWAY max_attempts:" +
                                              std::to_string(max_attempts)),
                                 "stop.rounds=1", off(off_s)}));
    test::check_conserved(result);
    return std::pair(result.rounds(1).groups(0), result.rounds(1).groups(1));
  };
  // Broken in the middle, as above: given up at once, so that nothing of the group is merged.
  const auto [broken, other] = groups(1, 0.02 + b / 2e6);
  CHECK(broken.bytes_down() < b);
  CHECK(broken.bytes_up() == 0);
  CHECK(broken.seconds() == Approx(0.02 + b / 2e6));
  CHECK(other.bytes_up() == work.bytes(share_of(2)));
  CHECK(groups(2, 0.02 + b / 2e6).first.bytes_up() == work.bytes(share_of(2)));
  // Off when the round begins is no attempt: it is waited for.
  const auto [late, _] = groups(1, 0);
  CHECK(late.bytes_down() == work.bytes(share_of(2)));
  CHECK(late.bytes_up() == work.bytes(share_of(2)));
}

}  // namespace
}  // namespace fedclock::federation
