// `fedclock sweep` on the program itself.
#include <catch2/catch.hpp>

#include <regex>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

const std::string kSweep = "sweep " + tiny_scenario() + " --out s --explain";

TEST_CASE("a sweep of networks, device mixes and seeds learns each seed once") {
  const Workplace here;
  const Ran ran = here.run(kSweep +
                           " --vary platform.devices[0].network.up_mbit_s=1,80"
                           " --vary platform.devices[0].count,platform.devices[1].count=4:2,2:4"
                           " --seeds 1,2");
  INFO(ran.err << ran.out);
  REQUIRE(ran.code == 0);
  std::smatch found;
  REQUIRE(std::regex_search(
      ran.out, found,
      std::regex("all points: ([0-9]+) known, ([0-9]+) shared, ([0-9]+) computed")));
  CHECK(found[3] == "64");  // 32 jobs a run, two seeds
  // A job that nobody asked for, because what follows from it was known meanwhile, counts nowhere.
  CHECK(std::stoi(found[1]) + std::stoi(found[2]) <= 6 * 32);
  CHECK(std::stoi(found[1]) + std::stoi(found[2]) >= 5 * 32);
  CHECK(ran.out.find("of 2 seeds") != std::string::npos);
  // Each point is what a run of its own gives.
  REQUIRE(here.run("run " + tiny_scenario() +
                   " --no-store --set seed=2 --set platform.devices[0].network.up_mbit_s=80 "
                   "--set platform.devices[0].count=2 --set platform.devices[1].count=4 --out a")
              .code == 0);
  CHECK(read_file(here / "s/up_mbit_s=80,devices[0].count=2,devices[1].count=4,seed=2/result.pb") ==
        read_file(here / "a/result.pb"));
  const std::string table = read_file(here / "s/sweep.csv");
  CHECK(std::ranges::count(table, '\n') == 9);
  CHECK(table.find(results::run_digest(results::read_result(here / "a")).hex()) !=
        std::string::npos);
}

TEST_CASE("a sweep survives the failure of a point") {
  const Workplace here;
  // A folder that is in the way of the second point's results.
  std::filesystem::create_directories(here / "s");
  std::ofstream(here / "s/seed=2") << "in the way";
  const Ran ran = here.run(kSweep + " --seeds 1,2,3");
  CHECK(ran.code == 2);
  CHECK(ran.err.find("seed=2 failed with exit code 2") != std::string::npos);
  const std::string table = read_file(here / "s/sweep.csv");
  CHECK(table.find("seed=2,2,failed,") != std::string::npos);
  CHECK(table.find("seed=3,3,done,") != std::string::npos);
}

TEST_CASE("a sweep checks all points before the first one runs") {
  const Workplace here;
  const Ran ran = here.run(kSweep + " --vary federation.local.batch_size=8,0 --seeds 1,x");
  CHECK(ran.code == 2);
  CHECK(ran.err.find("batch_size=0,seed=1:") != std::string::npos);
  CHECK(ran.err.find("batch_size=8,seed=x:") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(here / "s"));
}

TEST_CASE("a sweep of other settings leaves the table of the first") {
  const Workplace here;
  REQUIRE(here.run(kSweep + " --seeds 1,2").code == 0);
  const std::string table = read_file(here / "s/sweep.csv");
  const Ran other = here.run(kSweep + " --seeds 1,2 --set stop.rounds=2");
  CHECK(other.code == 2);
  CHECK(read_file(here / "s/sweep.csv") == table);
}

TEST_CASE("a sweep does not write over another grid's table") {
  const Workplace here;
  REQUIRE(here.run(kSweep + " --seeds 1").code == 0);
  REQUIRE(here.run(kSweep + " --seeds 1").code == 0);
  const std::string table = read_file(here / "s/sweep.csv");
  const Ran other = here.run(kSweep + " --seeds 2");
  CHECK(other.code == 2);
  CHECK(other.err.find("another grid") != std::string::npos);
  CHECK(read_file(here / "s/sweep.csv") == table);
  CHECK(here.run(kSweep + " --seeds 2 --overwrite").code == 0);
}

}  // namespace
}  // namespace fedclock::test
