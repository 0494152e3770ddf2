// Devices that go off, links that are cut, servers that restart: what each schedule does, what is
// lost, and when it goes on, by hand arithmetic on the tiny scenario.
#include <catch2/catch.hpp>

#include <fmt/format.h>

#include <cmath>

#include "sim/federation/schedule/schedule.h"
#include "tests/sim/federation/timed.h"

namespace fedclock::federation {
namespace {

using test::merge_flops;
using test::share_of;
using test::timed;
using test::timed_workload;

constexpr double kUp = 1e6, kDown = 2e6, kLatency = 0.01;  // of a board, byte/s and s

// Dates of an undisturbed part of client 0, a board: bytes both ways, 6 steps.
struct Part {
  double bytes = 0, download_s = 0, train_s = 0, upload_s = 0;
  double trained_s() const { return download_s + train_s; }  // date
};

Part board_part() {
  const Workload work = timed_workload();
  const cost::Machine board{"board", 0.5e12, 0.4, 25e9, 4e9, 0.01};
  Part part;
  part.bytes = static_cast<double>(work.bytes(share_of(2)));
  part.download_s = kLatency + part.bytes / kDown;
  part.train_s = 6 * work.step_seconds(board, share_of(2));
  part.upload_s = kLatency + part.bytes / kUp;
  return part;
}

// One round of all six; something is out of order.
std::vector<std::string> one_round(const std::string& on_failure, const std::string& outage) {
  return {"federation.selection={all:{}}", "stop.rounds=1",
          "federation.schedule={synchronous:{on_failure:" + on_failure + "}}",
          "platform.outages=[{" + outage + "}]"};
}

// Of client 0 in round 1: end, lost seconds, lost bytes up, bytes up, off, dropped; then the
// round's end and the number of rounds.
std::vector<double> first_client(const v1::Result& result) {
  for (const v1::ClientRound& c : result.rounds(1).clients()) {
    if (c.client() != 0) continue;
    return {c.end_s(),
            c.lost_s(),
            static_cast<double>(c.lost_bytes_up()),
            static_cast<double>(c.bytes_up()),
            c.off_s(),
            static_cast<double>(c.dropped()),
            result.rounds(1).end_s(),
            static_cast<double>(result.rounds_size())};
  }
  return {};
}

void check_near(const std::vector<double>& values, const std::vector<double>& expected) {
  REQUIRE(values.size() >= expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(values[i] == Approx(expected[i]).epsilon(1e-6).margin(1e-7));  // a merge takes 2.4e-8 s
  }
}

TEST_CASE("off in mid-upload: wait and start again, go on, or be dropped") {
  const Part part = board_part();
  // Off 5 ms after the upload's latency: 5,000 bytes are through. Back a second later.
  const double off_s = part.trained_s() + kLatency + 0.005, through = 5000;
  const std::string outage = fmt::format("client:0 start_s:{} duration_s:1", off_s);
  const double again_s = off_s + 1 + part.upload_s;
  check_near(timed(one_round("WAIT", outage), first_client),
             {again_s, 0.015, through, part.bytes + through, 1, 0, again_s});
  const double rest_s = off_s + 1 + kLatency + (part.bytes - through) / kUp;
  check_near(timed(one_round("RESUME", outage), first_client),
             {rest_s, 0, 0, part.bytes, 1, 0, rest_s});
  // Dropped: everything that it did was for nothing, and the round ends with the other boards.
  const double others_s = part.trained_s() + part.upload_s;
  check_near(timed(one_round("DROP", outage), first_client),
             {off_s, off_s, through, through, 0, 1, others_s});
}

TEST_CASE("off in mid-training: the work starts again, or goes on where it was") {
  const Part part = board_part();
  const double done_s = 0.02, off_s = part.download_s + done_s;
  const std::string outage = fmt::format("client:0 start_s:{} duration_s:0.5", off_s);
  const double again_s = off_s + 0.5 + part.train_s + part.upload_s;
  check_near(timed(one_round("WAIT", outage), first_client), {again_s, done_s});
  check_near(timed(one_round("RESUME", outage), first_client), {again_s - done_s, 0});
}

TEST_CASE("a device that is never on for long enough is dropped after so many attempts") {
  const Part part = board_part();
  // On for 30 ms, off for 10: enough for the download, never for 60 ms of training.
  const std::string outage = "client:0 start_s:0.03 duration_s:0.01 every_s:0.04";
  auto overrides = one_round("WAIT", outage);
  overrides[2] = "federation.schedule={synchronous:{max_attempts:3}}";
  // Trains from the download's end to 0.03, from 0.04 to 0.07, from 0.08 to 0.11.
  const double lost_s = part.download_s + (0.03 - part.download_s) + 0.03 + 0.03;
  check_near(timed(overrides, first_client), {0.11, lost_s, 0, 0, 0.02, 1, 0.11});
  // Going on where it was, it gets there: the work left at 0.08, then an upload that breaks off at
  // 0.11 and goes on at 0.12.
  const double trained_s = 0.08 + part.train_s - (0.03 - part.download_s) - 0.03;
  const double through = std::floor((0.11 - trained_s - kLatency) * kUp);
  check_near(timed(one_round("RESUME", outage), first_client),
             {0.12 + kLatency + (part.bytes - through) / kUp, 0, 0, part.bytes});
}

TEST_CASE("a cut link stops the transfers alone") {
  const Part part = board_part();
  // Cut from mid-training to 0.1 s after its end: the upload waits for that, and nothing is lost.
  const double cut_s = part.download_s + 0.01;
  const double whole_s = part.trained_s() + 0.1;
  const auto values = timed(
      one_round("WAIT",
                fmt::format("link_of_client:0 start_s:{} duration_s:{}", cut_s, whole_s - cut_s)),
      first_client);
  check_near(values, {whole_s + part.upload_s, 0, 0, part.bytes, 0, 0});
}

TEST_CASE("a device that never comes back is dropped, whatever the schedule does") {
  const Part part = board_part();
  for (const char* answer : {"WAIT", "RESUME", "DROP", "RESELECT"}) {
    const auto values =
        timed(one_round(answer, fmt::format("client:0 start_s:{}", part.download_s)), first_client);
    CHECK(values[5] == 1);
    // The other boards are in time.
    CHECK(values[6] == Approx(part.trained_s() + part.upload_s).epsilon(1e-6));
  }
}

TEST_CASE("a place is taken again by a client without a part") {
  const Part part = board_part();
  auto overrides =
      one_round("RESELECT", fmt::format("client:0 start_s:{} duration_s:9", part.download_s));
  overrides[0] = "federation.selection={random:{count:5}}";
  // Seeds until client 0 has a part and one of the large boards has none.
  for (int seed = 1; seed < 50; ++seed) {
    overrides.push_back(fmt::format("seed={}", seed));
    const auto clients = timed(overrides, [](const v1::Result& result) {
      std::vector<double> parts;
      for (const v1::ClientRound& c : result.rounds(1).clients()) {
        parts.insert(parts.end(),
                     {static_cast<double>(c.client()), static_cast<double>(c.dropped()),
                      c.end_s() - c.download_s() - c.train_s() - c.upload_s()});
      }
      return parts;
    });
    overrides.pop_back();
    if (clients[0] != 0) continue;
    REQUIRE(clients.size() == 18);  // six parts: five places, one of them twice
    CHECK(clients[1] == 1);
    CHECK(clients[16] == 0);  // the one who stepped in was not dropped, and began when 0 went off
    CHECK(clients[17] == Approx(part.download_s).epsilon(1e-6));
    return;
  }
  FAIL("no seed chooses client 0");
}

TEST_CASE("a server that restarts: transfers break off, training does not") {
  const Part part = board_part();
  // Off while the boards train; the large boards' uploads, which came earlier, break off or wait.
  const double off_s = part.trained_s() - 0.005, on_s = part.trained_s() + 0.2;
  const auto values = timed(
      one_round("WAIT", fmt::format("server:true start_s:{} duration_s:{}", off_s, on_s - off_s)),
      first_client);
  check_near(values, {on_s + part.upload_s, 0, 0, part.bytes, 0, 0});
}

TEST_CASE("a merge that breaks off starts again") {
  const Part part = board_part();
  const Workload work = timed_workload();
  const cost::Machine slow{"server", 20e12, 0.5, 1e7, 80e9, 0.001};  // memory of 0.01 GB/s
  const double merge_s = merge_flops(work, slow, 6) / (20e12 * 0.5);
  const double uploaded_s = part.trained_s() + part.upload_s;
  auto overrides = one_round(
      "WAIT", fmt::format("server:true start_s:{} duration_s:1", uploaded_s + merge_s / 2));
  overrides.push_back("platform.server.device.memory_bandwidth_gb_s=0.01");
  const auto dates = timed(overrides, [](const v1::Result& result) {
    return std::vector<double>{result.rounds(1).merge_s(), result.rounds(1).end_s()};
  });
  check_near(dates, {merge_s, uploaded_s + merge_s / 2 + 1 + merge_s});
}

TEST_CASE("a round waits until enough clients are reachable, and chooses among them") {
  // All but client 3 are off until 5 s, client 3 until 2 s.
  std::string outages;
  for (int client = 0; client < 6; ++client) {
    outages += fmt::format("{{client:{} start_s:0 duration_s:{}}}{}", client, client == 3 ? 2 : 5,
                           client < 5 ? "," : "");
  }
  const auto look = [](const v1::Result& result) {
    return std::vector<double>{result.rounds(1).start_s(),
                               static_cast<double>(result.rounds(1).clients_size()),
                               static_cast<double>(result.rounds(1).clients(0).client()),
                               result.clients(3).off_s(), result.clients(4).off_s()};
  };
  const std::vector<std::string> base{"stop.rounds=1", "platform.outages=[" + outages + "]"};
  CHECK(timed(base, look)[0] == 2);
  CHECK(timed(base, look)[1] == 1);
  CHECK(timed(base, look)[2] == 3);
  auto two = base;
  two.push_back("federation.schedule={synchronous:{min_reachable:2}}");
  const auto values = timed(two, look);
  CHECK(values[0] == 5);
  CHECK(values[1] == 4);  // of six reachable
  CHECK(values[3] == Approx(2));
  CHECK(values[4] == Approx(5));
}

TEST_CASE("a run whose clients are gone for good ends, and says so") {
  const auto gone = timed({"stop.rounds=5", "federation.schedule={synchronous:{min_reachable:6}}",
                           "platform.outages=[{client:2 start_s:0.05}]"},
                          [](const v1::Result& result) {
                            const bool told = result.stop_reason() ==
                                              "never again are enough clients reachable: 6 needed";
                            return std::vector<double>{static_cast<double>(result.rounds_size()),
                                                       static_cast<double>(told)};
                          });
  CHECK(gone == std::vector<double>{2, 1});  // round 0 and one more
  const auto server = timed(
      {"stop.rounds=5", "method=centralized", "platform.outages=[{server:true start_s:0.01}]"},
      [](const v1::Result& result) {
        return std::vector<double>{
            static_cast<double>(result.stop_reason().starts_with("the server never comes back"))};
      });
  CHECK(server == std::vector<double>{1});
}

TEST_CASE("a server that is never on for long enough ends the work that it breaks off") {
  const auto central =
      timed({"method=centralized", "stop.rounds=5",
             "platform.outages=[{server:true start_s:0.001 duration_s:1 "
             "every_s:1.001}]"},
            [](const v1::Result& result) {
              return std::vector<double>{static_cast<double>(result.events().end_size()),
                                         static_cast<double>(result.rounds_size())};
            });
  CHECK(central == std::vector<double>{20, 2});
  // A merge that never gets through: rounds go on, and merge nothing.
  auto slow = one_round("WAIT", "server:true start_s:0.3 duration_s:0.1 every_s:0.3");
  slow[1] = "stop.rounds=2";
  slow.push_back("platform.server.device.memory_bandwidth_gb_s=0.01");
  slow.push_back("platform.server.device.step_overhead_s=0");
  slow.push_back("platform.server.device.modes[0].fp32_tflops=0.00001");
  const auto merges = timed(slow, [](const v1::Result& result) {
    return std::vector<double>{result.rounds(1).merge_s(),
                               static_cast<double>(result.rounds_size())};
  });
  CHECK(merges[1] == 3);
}

TEST_CASE("where the server is off, nobody is dropped for it") {
  const Part part = board_part();
  // Off in mid-download, for all of them: the downloads start again.
  const double off_s = 0.012, on_s = 0.5;
  for (const char* answer : {"DROP", "RESELECT"}) {
    const auto values = timed(
        one_round(answer, fmt::format("server:true start_s:{} duration_s:{}", off_s, on_s - off_s)),
        first_client);
    check_near(values,
               {on_s + part.download_s + part.train_s + part.upload_s, off_s, 0, part.bytes, 0, 0});
  }
}

TEST_CASE("alone: clients that are gone have no say over the others") {
  // Three of four boards are dead; rounds that choose one of them alone go by, the run goes on.
  const auto rounds =
      timed({"stop.rounds=12", "method=local_only", "federation.selection={random:{count:1}}",
             "platform.outages=[{client:0 start_s:0},{client:1 start_s:0},{client:2 start_s:0}]"},
            [](const v1::Result& result) {
              double trained = 0;
              for (const v1::Round& round : result.rounds()) {
                for (const v1::ClientRound& client : round.clients()) trained += !client.dropped();
              }
              return std::vector<double>{static_cast<double>(result.rounds_size()), trained};
            });
  CHECK(rounds[0] == 13);
  CHECK(rounds[1] > 0);
  CHECK(rounds[1] < 12);
}

TEST_CASE("a replaced client is on the path, and the replacement's part is late") {
  auto overrides = one_round("RESELECT", "client:0 start_s:0.05");
  overrides[0] = "federation.selection={random:{count:5}}";
  for (int seed = 1; seed < 50; ++seed) {
    overrides.push_back(fmt::format("seed={}", seed));
    const auto late = timed(overrides, [](const v1::Result& result) {
      std::vector<double> values;
      for (const v1::ClientRound& c : result.rounds(1).clients()) values.push_back(c.late_s());
      return values;
    });
    overrides.pop_back();
    if (late.size() != 6) continue;
    CHECK(late[0] == 0);
    CHECK(late[5] == Approx(0.05));
    return;
  }
  FAIL("no seed replaces client 0");
}

TEST_CASE("alone: training that breaks off starts again, a device that stays away has no part") {
  const Part part = board_part();
  const auto alone =
      timed({"stop.rounds=2", "method=local_only", "federation.selection={all:{}}",
             "platform.outages=[{client:0 start_s:0.01 duration_s:1},{client:1 start_s:0.01}]"},
            [](const v1::Result& result) {
              return std::vector<double>{result.rounds(1).clients(0).end_s(),
                                         static_cast<double>(result.rounds(1).clients(1).dropped()),
                                         static_cast<double>(result.rounds(2).clients(1).dropped()),
                                         static_cast<double>(result.rounds_size())};
            });
  check_near(alone, {1.01 + part.train_s, 1, 1, 3});
}

TEST_CASE("energy of a round by hand: idle, training, and the radio") {
  const Part part = board_part();
  const auto joules =
      timed({"federation.selection={all:{}}", "stop.rounds=1", "platform.energy=true",
             "platform.devices[0].device.idle_w=2", "platform.devices[0].device.modes[0].busy_w=10",
             "platform.devices[1].device.idle_w=3", "platform.devices[1].device.modes[0].busy_w=30",
             "platform.devices[0].network.radio_w=0.5", "platform.devices[1].network.radio_w=0"},
            [](const v1::Result& result) {
              const v1::ClientRound& board = result.rounds(1).clients(0);
              const v1::ClientRound& large = result.rounds(1).clients(5);
              return std::vector<double>{board.download_j(),
                                         board.train_j(),
                                         board.upload_j(),
                                         board.wait_j(),
                                         large.train_j() / large.train_s(),
                                         large.wait_j() / large.wait_s(),
                                         result.rounds(1).merge_s()};
            });
  // The radio draws 0.5 W while bytes flow, not in the latency.
  check_near(joules, {2 * part.download_s + 0.5 * part.bytes / kDown, 10 * part.train_s,
                      2 * part.upload_s + 0.5 * part.bytes / kUp, 2 * joules[6], 30, 3});
}

TEST_CASE("memory that is too small: refused, less deep, or left out, and the result says so") {
  const auto run = [](const std::string& answer, const std::string& memory_gb) {
    return timed({"federation.selection={all:{}}", "stop.rounds=1",
                  "platform.devices[0].device.memory_gb=" + memory_gb,
                  "platform.devices[0].device.memory_overhead_gb=0.001",
                  "federation.assignment.uniform.when_too_large=" + answer},
                 [](const v1::Result& result) {
                   std::vector<double> depths;
                   for (const auto& c : result.rounds(1).clients()) {
                     depths.push_back(static_cast<double>(c.depth()));
                   }
                   depths.push_back(result.notes_size());
                   return depths;
                 });
  };
  const Workload work = timed_workload();
  const auto gb = [&](int64_t depth) { return work.memory(share_of(depth)).total() / 1e9 + 0.001; };
  const std::string holds_one = fmt::format("{}", (gb(1) + gb(2)) / 2);
  const std::string holds_none = fmt::format("{}", (0.001 + gb(0)) / 2);
  CHECK(run("SHRINK_DEPTH", holds_one) == std::vector<double>{1, 1, 1, 1, 2, 2, 1});
  CHECK(run("LEAVE_OUT", holds_one) == std::vector<double>{2, 2, 1});
  CHECK(run("SHRINK_DEPTH", holds_none) == std::vector<double>{2, 2, 1});
  CHECK(run("SHRINK_DEPTH", "4") == std::vector<double>{2, 2, 2, 2, 2, 2, 0});
  const auto refused = [&] {
    experiment::Experiment experiment(
        scenario::load_and_validate(
            test::tiny_scenario(),
            {.overrides = {"platform.devices[0].device.memory_gb=" + holds_none}, .library = {}}),
        test::timing_only());
  };
  CHECK_THROWS_WITH(refused(), Catch::Contains("when_too_large"));
}

}  // namespace
}  // namespace fedclock::federation
