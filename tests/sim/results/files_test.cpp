// Result files and comparisons, on a result written by hand.
#include "sim/results/files.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include <fstream>

#include "models/common/error.h"
#include "sim/results/compare.h"
#include "tests/e2e/program.h"

namespace fedclock::results {
namespace {

using Catch::Matchers::Contains;

// Two clients, rounds of 10 s that send 1000 bytes up and 2000 down, measured every second round.
v1::Result example(const std::vector<double>& accuracies) {
  v1::Result result;
  result.set_scenario("example");
  result.set_scenario_digest("abc");
  result.set_learned(true);
  for (int client = 0; client < 2; ++client) {
    v1::ClientSummary& summary = *result.add_clients();
    summary.set_client(client);
    summary.set_device(client == 0 ? "slow board" : "fast board");
    summary.set_train_rows(10 * (client + 1));
  }
  for (size_t i = 0; i < accuracies.size(); ++i) {
    v1::Round& round = *result.add_rounds();
    round.set_round(static_cast<int>(i));
    round.set_end_s(10.0 * static_cast<double>(i));
    if (i % 2 == 0) round.set_accuracy(accuracies[i]);
    if (i == 0) continue;
    round.set_bytes_up(1000);
    round.set_bytes_down(2000);
    for (int client = 0; client < 2; ++client) {
      v1::ClientRound& part = *round.add_clients();
      part.set_client(client);
      part.set_depth(2);
      part.set_download_s(1);
      part.set_train_s(client == 0 ? 6 : 2);
      part.set_upload_s(2);
      part.set_wait_s(client == 0 ? 0 : 4);
      part.set_bytes_up(500);
      part.set_bytes_down(1000);
      part.set_train_loss(0.5);
    }
  }
  return result;
}

TEST_CASE("time and traffic to a target count unmeasured rounds too") {
  const v1::Result result = example({0.1, 0.9, 0.4, 0.9, 0.6});
  // 0.9 in rounds 1 and 3 was not measured; 0.4 stands at 20 s after two rounds of 3000 bytes.
  const auto reached = time_to_accuracy(result, 0.3);
  REQUIRE(reached);
  CHECK(reached->round == 2);
  CHECK(reached->simulated_s == 20);
  CHECK(reached->bytes == 6000);
  CHECK(time_to_accuracy(result, 0.4)->round == 2);
  CHECK(time_to_accuracy(result, 0.41)->round == 4);
  CHECK_FALSE(time_to_accuracy(result, 0.7));
  CHECK(best_accuracy(result) == 0.6);
  // Four rounds of 1000 bytes up and 2000 down.
  CHECK(total_traffic(result).up == 4000);
  CHECK(total_traffic(result).down == 8000);
  CHECK(total_traffic(result).total() == 12000);
  CHECK(final_accuracy(result) == 0.6);
  CHECK_FALSE(final_accuracy(example({0.1, 0.9})));  // the last round was not measured
  CHECK_FALSE(final_accuracy(v1::Result()));
}

TEST_CASE("the pace is the clock alone") {
  const Pace two = pace(example({0, 0, 0}));
  CHECK(two.rounds == 2);
  CHECK(two.total_s == 20);
  CHECK(two.round_s == 10.0);  // 20 s over 2 rounds; round 0 does not count
  CHECK(two.traffic.up == 2000);
  CHECK(two.traffic.down == 4000);
  CHECK_FALSE(pace(example({0})).round_s);
  CHECK(pace(v1::Result()).rounds == 0);
}

TEST_CASE("the common target is the lowest of the best") {
  const v1::Result high = example({0.1, 0, 0.7}), low = example({0.1, 0, 0.5, 0, 0.4});
  CHECK(common_target({&high, &low}) == 0.5);
  v1::Result timed;
  timed.add_rounds();
  CHECK_FALSE(common_target({&low, &timed}));
}

TEST_CASE("tables: empty where nothing was measured, means over clients") {
  const v1::Result result = example({0.25, 0, 0.5});
  CHECK(rounds_csv(result) ==
        "round,simulated_s,accuracy,loss,train_loss,client_accuracy,bytes_up,bytes_down,download_s,"
        "train_s,upload_s,wait_s,merge_s,off_s,dropped,lost_s,lost_bytes_up,lost_bytes_down,joules,"
        "start_s,clients\n"
        "0,0,0.25,,,,0,0,0,0,0,0,0,0,0,0,0,0,,0,0\n"
        "1,10,,,,,1000,2000,1,4,2,2,0,0,0,0,0,0,,0,2\n"
        "2,20,0.5,,,,1000,2000,1,4,2,2,0,0,0,0,0,0,,0,2\n");
  CHECK_THAT(clients_csv(result),
             Contains("1,0,slow board,2,10,0.5,,500,1000,1,6,2,0,0,1,0,0,0,0,0,,,,,0,,1,0,\n") &&
                 Contains("2,1,fast board,2,20,0.5,,500,1000,1,2,2,4,0,0,0,0,0,0,0,,,,,0,,1,0,\n"));
}

TEST_CASE("what was lost and what was drawn: in the tables, summed up, and to an accuracy") {
  v1::Result result = example({0.25, 0, 0.5});
  for (int round : {1, 2}) {
    v1::ClientRound& client = *result.mutable_rounds(round)->mutable_clients(0);
    client.set_off_s(0.5);
    client.set_lost_s(3);
    client.set_lost_bytes_up(40);
    client.set_lost_bytes_down(50);
    client.set_dropped(round == 2);
    client.set_download_j(1);
    client.set_train_j(20);
    client.set_upload_j(2);
    client.set_wait_j(4);
  }
  CHECK_THAT(rounds_csv(result),
             Contains("\n2,20,0.5,,,,1000,2000,1,4,2,2,0,0.25,1,3,40,50,27,0,2\n"));
  CHECK_THAT(clients_csv(result), Contains("1,6,2,0,0,0,0.5,1,3,40,50,1,20,2,4,0,,1,0,\n"));
  const Lost lost = lost_in(result);
  CHECK(lost.any());
  CHECK(lost.dropped == 1);
  CHECK(lost.seconds == 6);
  CHECK(lost.bytes_up == 80);
  CHECK(lost.bytes_down == 100);
  CHECK(energy_of(result)->total_j() == 54);
  CHECK(energy_of(result)->train_j == 40);
  CHECK(time_to_accuracy(result, 0.5)->joules == 54.0);
  CHECK(time_to_accuracy(result, 0.2)->joules == std::nullopt);  // before training
  CHECK(pace(result).joules == 54.0);
  CHECK_FALSE(energy_of(example({0.25, 0.5})).has_value());
  CHECK_FALSE(lost_in(example({0.25, 0.5})).any());
}

TEST_CASE("events as a table") {
  v1::Result result = example({0.25, 0});
  v1::Events& events = *result.mutable_events();
  for (const int32_t client : {1, -1}) {
    events.add_phase(client < 0 ? v1::Event::MERGE : v1::Event::UPLOAD);
    events.add_client(client);
    events.add_round(1);
    events.add_start_s(2.5);
    events.add_end_s(4);
    events.add_bytes(client < 0 ? 0 : 77);
    events.add_end(client < 0 ? v1::Event::DONE : v1::Event::BROKEN);
  }
  CHECK(events_csv(result) ==
        "round,client,device,phase,start_s,end_s,bytes,end\n"
        "1,1,fast board,upload,2.5,4,77,broken\n"
        "1,,server,merge,2.5,4,0,done\n");
}

TEST_CASE("tables: a device's name with commas and quotes stays one field") {
  v1::Result result = example({0.25, 0});
  result.mutable_clients(0)->set_device("board, 15\" case");
  CHECK_THAT(clients_csv(result),
             Contains("1,0,\"board, 15\"\" case\",2,10,") && Contains("1,1,fast board,2,20,"));
}

TEST_CASE("a difference says which result is there") {
  v1::Result there = example({0.25}), planned = there;
  there.set_data_digest("d");
  there.set_numerics("portable");
  there.set_version("0.1.0");
  there.set_base_digest("b");
  CHECK(difference(there, planned).empty());  // the planned run does not know them yet
  planned = there;
  CHECK(difference(there, planned).empty());
  planned.set_scenario_digest("def");
  CHECK(difference(there, planned) == "of other settings of the same scenario");
  planned.set_learned(false);
  CHECK(difference(there, planned) ==
        "of other settings of the same scenario, of a run that learnt");
  CHECK_THAT(difference(planned, there), Contains("of a timing-only run"));
  planned.set_scenario("another");
  CHECK_THAT(difference(there, planned),
             Contains("of another scenario (example)") && !Contains("settings"));
  planned = there;
  planned.set_data_digest("e");
  CHECK(difference(there, planned) == "on other data");
  planned = there;
  planned.set_base_digest("c");
  CHECK(difference(there, planned) == "on another base model");
  planned = there;
  planned.set_numerics("native");
  CHECK(difference(there, planned) == "with other kernels or libraries (portable)");
  planned = there;
  planned.set_version("0.2.0");
  CHECK(difference(there, planned) == "by version 0.1.0 of fedclock");
}

TEST_CASE("files are written, read back, and never lost to another scenario") {
  const test::Workplace here;
  const v1::Result result = example({0.25, 0, 0.5});
  const auto folder = here / "out";
  prepare_folder(folder, result);
  write_files(folder, result, "name: \"example\"\n");
  CHECK(result_bytes(read_result(folder)) == result_bytes(result));
  CHECK(run_digest(read_result(folder)) == run_digest(result));
  CHECK_NOTHROW(prepare_folder(folder, result));  // the same scenario may be run again
  v1::Result other = result;
  other.set_scenario_digest("def");
  CHECK_THROWS_WITH(prepare_folder(folder, other),
                    Contains("holds the result of other settings of the same scenario") &&
                        Contains("--out") && Contains("--overwrite"));
  CHECK_NOTHROW(prepare_folder(folder, other, true));
  CHECK(result_bytes(read_result(folder)) == result_bytes(result));  // until it is written over
  // A file where a folder is needed.
  CHECK_THROWS_WITH(prepare_folder(folder / "rounds.csv", result), Contains("--out"));
  std::filesystem::create_directory(here / "taken");
  std::filesystem::create_directories(here / "taken" / "rounds.csv" / "deeper");
  CHECK_THROWS_AS(write_files(here / "taken", result, ""), InputError);
  // An empty file is an empty message: no result either.
  for (const char* damage : {"no result", ""}) {
    CAPTURE(damage);
    std::ofstream(folder / "result.pb") << damage;
    CHECK_THROWS_WITH(read_result(folder), Contains("result.pb") && Contains("run the scenario"));
    CHECK_THROWS_WITH(prepare_folder(folder, result),
                      Contains("result.pb") && Contains("remove it"));
    CHECK_NOTHROW(prepare_folder(folder, result, true));
  }
  // A timing-only run leaves no adapter of an earlier run behind.
  std::filesystem::create_directory(folder / "final_adapter");
  prepare_folder(folder, result, true);
  CHECK(std::filesystem::exists(folder / "final_adapter"));
  other.set_learned(false);
  prepare_folder(folder, other, true);
  CHECK_FALSE(std::filesystem::exists(folder / "final_adapter"));
  CHECK_THROWS_AS(read_result(here / "nowhere"), InputError);
  if (geteuid() != 0) {
    std::filesystem::create_directory(here / "closed");
    std::filesystem::permissions(here / "closed", std::filesystem::perms::owner_read);
    CHECK_THROWS_AS(prepare_folder(here / "closed" / "out", result), InputError);
  }
}

}  // namespace
}  // namespace fedclock::results
