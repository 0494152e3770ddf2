// Learning that is never done twice, on the program itself: resume, replay, sharing, damage.
#include <catch2/catch.hpp>

#include <csignal>
#include <regex>
#include <thread>

#include "models/common/random.h"
#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

struct Jobs {
  int known = 0, shared = 0, computed = 0;
};

// The last line of --explain.
Jobs jobs_of(const Ran& ran) {
  std::smatch found;
  REQUIRE(std::regex_search(ran.out, found, std::regex("all +([0-9]+) +([0-9]+) +([0-9]+)")));
  return {std::stoi(found[1]), std::stoi(found[2]), std::stoi(found[3])};
}

// The columns of rounds.csv that the learning decides: accuracy to client_accuracy.
std::string learnt_columns(const std::filesystem::path& folder) {
  std::istringstream lines(read_file(folder / "rounds.csv"));
  std::string columns;
  for (std::string line; std::getline(lines, line);) {
    size_t begin = line.find(',', line.find(',') + 1) + 1, end = begin;
    for (int i = 0; i < 4; ++i) end = line.find(',', end) + 1;
    columns += line.substr(begin, end - begin) + "\n";
  }
  return columns;
}

TEST_CASE("the same run again computes nothing and gives the same bytes") {
  const Workplace here;
  const Ran first = here.run("run " + tiny_scenario() + " --explain --out a");
  INFO(first.err);
  REQUIRE(first.code == 0);
  CHECK(jobs_of(first).known == 0);
  CHECK(jobs_of(first).computed > 10);
  const Ran again = here.run("run " + tiny_scenario() + " --explain --out b");
  CHECK(jobs_of(again).computed == 0);
  CHECK(jobs_of(again).known == jobs_of(first).computed);
  CHECK(read_file(here / "b/result.pb") == read_file(here / "a/result.pb"));
  CHECK(read_file(here / "b/final_adapter/adapter_model.safetensors") ==
        read_file(here / "a/final_adapter/adapter_model.safetensors"));
}

TEST_CASE("another network, other devices and another timed model cost no learning") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --out a").code == 0);
  for (const char* change :
       {" --set platform.devices[0].network.up_mbit_s=1",
        " --set platform.devices[0].device.efficiency=0.1", " --set timing.architecture=bert-base",
        " --set platform.devices[0].count=1 --set platform.devices[1].count=5"}) {
    INFO(change);
    const Ran ran = here.run("run " + tiny_scenario() + change +
                             " --set platform.devices[1].network.down_mbit_s=3 --explain "
                             "--overwrite --out b");
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    CHECK(jobs_of(ran).computed == 0);
    CHECK(learnt_columns(here / "b") == learnt_columns(here / "a"));
    CHECK(read_file(here / "b/rounds.csv") != read_file(here / "a/rounds.csv"));
  }
}

TEST_CASE("native numbers are never taken for portable ones") {
  const Workplace here;
  const Ran portable = here.run("run " + tiny_scenario() + " --explain --out a");
  const Ran native =
      here.run("run " + tiny_scenario() + " --set numerics=NATIVE --explain --out b");
  REQUIRE(native.code == 0);
  CHECK(jobs_of(native).known == 0);
  CHECK(jobs_of(native).computed == jobs_of(portable).computed);
  const Ran again = here.run("run " + tiny_scenario() + " --set numerics=NATIVE --explain --out c");
  CHECK(jobs_of(again).computed == 0);
}

TEST_CASE("two processes on one scenario and one store: both right, no job twice") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --no-store --explain --out a").code == 0);
  const int all = 32;
  Ran ran[2];
  {
    std::jthread other([&] {
      ran[1] = here.run("run " + tiny_scenario() + " --explain --out c", "", Workplace::cache(),
                        "other");
    });
    ran[0] = here.run("run " + tiny_scenario() + " --explain --out b");
  }
  int computed = 0;
  for (const Ran& one : ran) {
    INFO(one.err);
    REQUIRE(one.code == 0);
    const Jobs jobs = jobs_of(one);
    // What nobody asks for, because what follows from it is known meanwhile, counts nowhere.
    CHECK(jobs.known + jobs.shared + jobs.computed <= all);
    computed += jobs.computed;
  }
  CHECK(computed == all);
  CHECK(read_file(here / "b/result.pb") == read_file(here / "a/result.pb"));
  CHECK(read_file(here / "c/result.pb") == read_file(here / "a/result.pb"));
}

TEST_CASE("a store that is none stops the run with exit code 2; --no-store goes without") {
  const Workplace here;
  std::ofstream(here / "store.sqlite")
      << "not a store at all, but something dear to somebody ......."
         "............................................";
  const Ran ran = here.run("run " + tiny_scenario() + " --out a");
  CHECK(ran.code == 2);
  CHECK(ran.err.find("store.sqlite: not a store of fedclock") != std::string::npos);
  CHECK(read_file(here / "store.sqlite").starts_with("not a store"));
  CHECK(here.run("run " + tiny_scenario() + " --no-store --out a").code == 0);
  const Ran nowhere =
      here.run("run " + tiny_scenario() + " --store /proc/no/such/place --overwrite --out a");
  CHECK(nowhere.code == 0);
  CHECK(nowhere.err.find("nothing will be kept") != std::string::npos);
  const Ran limit = here.run("run " + tiny_scenario() + " --store s --store-limit lots --out b");
  CHECK(limit.code == 2);
  CHECK(limit.err.find("--store-limit: lots: ") != std::string::npos);
}

TEST_CASE("a store without room for tensors: they are computed again from the graph") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --no-store --out a").code == 0);
  REQUIRE(here.run("run " + tiny_scenario() + " --store-limit 0 --out b").code == 0);
  // The numbers are known; the final adapter is not.
  const Ran again = here.run("run " + tiny_scenario() + " --store-limit 0 --explain --out c");
  INFO(again.err);
  REQUIRE(again.code == 0);
  CHECK(jobs_of(again).known == 32);
  CHECK(jobs_of(again).computed > 0);
  CHECK(read_file(here / "c/result.pb") == read_file(here / "a/result.pb"));
  CHECK(read_file(here / "c/final_adapter/adapter_model.safetensors") ==
        read_file(here / "a/final_adapter/adapter_model.safetensors"));
}

TEST_CASE("store stats, verify and prune") {
  const Workplace here;
  CHECK(here.run("store stats").code == 2);  // there is none yet
  REQUIRE(here.run("run " + tiny_scenario() + " --out a").code == 0);
  const Ran stats = here.run("store stats");
  CHECK(stats.code == 0);
  CHECK(stats.out.find("jobs known         32") != std::string::npos);
  CHECK(here.run("store verify").code == 0);
  const Ran prune = here.run("store prune --limit 20kB");
  CHECK(prune.code == 0);
  CHECK(prune.out.find("jobs known         32") != std::string::npos);
  CHECK(prune.out.find("tensors kept       1, ") != std::string::npos);
}

TEST_CASE("Ctrl-C ends a run within a second with exit code 130; it goes on from there") {
  const Workplace here;
  REQUIRE(
      here.run("run " + tiny_scenario() + " --no-store --out whole --set stop.rounds=40").code ==
      0);
  const std::string run = "run " + tiny_scenario() + " --set stop.rounds=40 --out a";
  const Ran interrupted = here.run_until(run, "round 4/40", SIGINT);
  INFO(interrupted.err);
  CHECK(interrupted.code == 130);
  CHECK(interrupted.err.find("the same command goes on") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(here / "a/result.pb"));
  const Ran resumed = here.run(run + " --explain");
  REQUIRE(resumed.code == 0);
  CHECK(read_file(here / "a/result.pb") == read_file(here / "whole/result.pb"));
}

TEST_CASE("a run killed 20 times, at random moments, ends with the undisturbed result", "[slow]") {
  const Workplace here;
  const std::string scenario = tiny_scenario() + " --set stop.rounds=60";
  REQUIRE(here.run("run " + scenario + " --no-store --out a").code == 0);
  Random random(11, "kill");
  // Later each time: what was learnt before is known then. Every second round is shown.
  for (int i = 1; i <= 20; ++i) {
    const int after_ms = static_cast<int>(random.below(60));
    const Ran killed = here.run_until("run " + scenario + " --out b",
                                      "round " + std::to_string(2 * i) + "/60", SIGKILL, after_ms);
    INFO("kill " << i);
    CHECK(killed.code == 128 + SIGKILL);
  }
  const Ran last = here.run("run " + scenario + " --explain --out b");
  INFO(last.err);
  REQUIRE(last.code == 0);
  CHECK(jobs_of(last).known > 0);
  CHECK(jobs_of(last).computed > 0);
  CHECK(read_file(here / "b/result.pb") == read_file(here / "a/result.pb"));
}

TEST_CASE("200 flipped bits in the store: the same result or a refusal, never another", "[slow]") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --out a").code == 0);
  REQUIRE(here.run("store prune --limit 1GB").code == 0);  // all in one file
  const std::string result = read_file(here / "a/result.pb");
  const std::string store = read_file(here / "store.sqlite");
  int refused = 0;
  for (int64_t trial = 0; trial < 200; ++trial) {
    Random random(5, "flip", trial);
    std::string flipped = store;
    flipped[random.below(flipped.size())] ^= static_cast<char>(1 << random.below(8));
    for (const char* suffix : {"-wal", "-shm"}) {
      std::filesystem::remove(here / (std::string("store.sqlite") + suffix));
    }
    std::ofstream(here / "store.sqlite", std::ios::binary) << flipped;
    const Ran ran = here.run("run " + tiny_scenario() + " --quiet --overwrite --out b");
    INFO("trial " << trial << "\n" << ran.err);
    if (ran.code == 2 && ran.err.find("--no-store") != std::string::npos) {
      ++refused;
      continue;
    }
    REQUIRE(ran.code == 0);
    REQUIRE(read_file(here / "b/result.pb") == result);
  }
  WARN(refused << " of 200 stores were refused");
  CHECK(refused < 10);
}

}  // namespace
}  // namespace fedclock::test
