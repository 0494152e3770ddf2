// `fedclock suite` on the program itself, with tests/data/suites/tiny.textproto.
#include <catch2/catch.hpp>

#include <algorithm>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

const fs::path kData = fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data";
const std::string kSuite = "suite " + (kData / "suites/tiny.textproto").string();

std::string digest_of(const fs::path& folder) {
  return results::run_digest(results::read_result(folder)).hex();
}

TEST_CASE("a suite that is killed goes on, ends with its table, and runs nothing twice") {
  const Workplace here;
  const Ran killed = here.run(kSuite + " --out s", "timeout -s KILL 6 env");
  CHECK(killed.code != 2);
  const Ran ran = here.run(kSuite + " --out s");
  INFO(ran.err << ran.out);
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out, Contains("12 runs: 12 done"));
  const std::string table = read_file(here / "s/RESULTS.md");
  // Three steps teach nobody anything; one claim needs an extended method. (claims_test has the
  // other verdicts.)
  CHECK_THAT(table, Contains("| 1 | all | inconclusive (nothing was learnt) |") &&
                        Contains("|  | skewed | nothing learnt |") &&
                        Contains("| 2 | iid | inconclusive (nothing was learnt) |") &&
                        Contains("| 3 | all | inconclusive (without alone) |"));
  CHECK_THAT(table,
             Contains("- There is no paper.\n") && Contains("- Learning rates are guesses."));
  CHECK_THAT(table, Contains("| iid/slow/seed-3 | done |") &&
                        Contains(digest_of(here / "s/runs/iid/slow/seed-3")));
  const std::string csv = read_file(here / "s/suite.csv");
  CHECK(std::ranges::count(csv, '\n') == 13);

  // A run is what its scenario gives on its own.
  const fs::path run = here / "s/runs/iid/fast/seed-2";
  REQUIRE(here.run("run s/runs/iid/fast/seed-2/scenario.textproto --no-store --out a").code == 0);
  CHECK(read_file(here / "a/result.pb") == read_file(run / "result.pb"));

  // Nothing is left to do: no run starts, and the table is the same.
  const auto before = fs::last_write_time(run / "result.pb");
  const Ran again = here.run(kSuite + " --out s");
  CHECK(again.code == 0);
  CHECK(again.err.empty());
  CHECK(again.out == ran.out);
  CHECK(read_file(here / "s/RESULTS.md") == table);

  // One run is lost: it alone runs again.
  fs::remove_all(run);
  const Ran listed = here.run(kSuite + " --out s --list");
  CHECK_THAT(listed.out, Contains("iid/fast/seed-2  to run\n") &&
                             Contains("iid/fast/seed-1  done\n") &&
                             Contains("1 of 12 runs would start"));
  CHECK_FALSE(fs::exists(run));
  const Ran resumed = here.run(kSuite + " --out s");
  CHECK(resumed.code == 0);
  CHECK(std::ranges::count(resumed.err, '\n') == 2);  // what is checked, and the run's end
  CHECK(read_file(here / "s/RESULTS.md") == table);
  CHECK(fs::last_write_time(run / "result.pb") != before);
}

TEST_CASE("a quick suite says that it is one, and is the same in another checkout") {
  const Workplace here;
  fs::create_directories(here / "copy");
  fs::copy(kData / "suites", here / "copy/suites");
  fs::copy(kData / "good", here / "copy/good", fs::copy_options::recursive);
  const Ran ran = here.run(kSuite + " --quick --quiet");
  INFO(ran.err << ran.out);
  REQUIRE(ran.code == 0);
  CHECK(ran.err.empty());
  const std::string table = read_file(here / "results/tiny-quick/RESULTS.md");
  CHECK_THAT(table, Contains("# tiny (quick)") && Contains("inconclusive (nothing was learnt)"));
  CHECK_THAT(table, !Contains("| reproduced") && !Contains("not reproduced |"));
  REQUIRE(here.run("suite copy/suites/tiny.textproto --quick --no-store --out c").code == 0);
  for (const std::string method : {"fast", "slow"}) {
    const fs::path run = fs::path("runs") / "iid" / method / "seed-1" / "result.pb";
    CHECK(read_file((here / "c") / run) == read_file((here / "results/tiny-quick") / run));
  }
  // Results of other settings are not lost.
  const Ran other = here.run(kSuite + " --out c");
  CHECK(other.code == 2);
  CHECK_THAT(other.err, Contains("of other settings of the same scenario, as do 1 more"));
}

TEST_CASE("--only starts a part; a run that fails is the run's failure") {
  const Workplace here;
  const Ran none = here.run(kSuite + " --out s --only fedit");
  CHECK(none.code == 2);
  CHECK_THAT(none.err, Contains("--only fedit") && Contains("methods: fast, slow"));
  CHECK_FALSE(fs::exists(here / "s"));
  // A folder in the way of a log.
  fs::create_directories(here / "s/runs/iid/slow/seed-1/log.txt");
  const Ran ran = here.run(kSuite + " --out s --only 'iid/*/seed-1'");
  INFO(ran.err << ran.out);
  CHECK(ran.code == 2);
  CHECK_THAT(ran.err, Contains("iid/slow/seed-1 failed with exit code 2"));
  CHECK_THAT(ran.out, Contains("1 done, 1 failed, 10 not run"));
  CHECK_THAT(read_file(here / "s/RESULTS.md"), Contains("11 of 12 runs are missing"));
  fs::remove_all(here / "s/runs/iid/slow/seed-1/log.txt");
  const Ran rest = here.run(kSuite + " --out s --only iid/slow/seed-1 --only iid/fast/seed-1");
  CHECK(rest.code == 0);
  CHECK_THAT(rest.out, Contains("2 done, 10 not run"));
}

TEST_CASE("bad input ends a suite before anything runs") {
  const Workplace here;
  CHECK(here.run("suite nowhere.textproto").code == 2);
  fs::create_directories(here / "suites");
  fs::copy(kData / "good", here / "good", fs::copy_options::recursive);
  const std::string start =
      "base: '../good/tiny.textproto'\nsettings { name: 'a' }\nseeds: [1, 2, 3]\n"
      "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }\n";
  std::ofstream(here / "suites/x.textproto")
      << start << "methods { name: 'x' set: 'federation.local.batch_size=0' }\n"
      << "methods { name: 'y' }\n";
  const Ran value = here.run("suite suites/x.textproto");
  CHECK(value.code == 2);
  CHECK_THAT(value.err, Contains("suites/x.textproto:5:21: methods[0].set[0]: "
                                 "federation.local.batch_size: 0: must be") &&
                            Contains("(in a/x/seed-1 and 2 more)"));
  CHECK(std::ranges::count(value.err, '\n') == 1);
  // What only devices and data can tell.
  std::ofstream(here / "suites/y.textproto")
      << start << "methods { name: 'x' }\n"
      << "methods { name: 'y' set: 'platform.devices[0].device.memory_gb=0.001' }\n";
  const Ran memory = here.run("suite suites/y.textproto --quiet");
  CHECK(memory.code == 2);
  CHECK_THAT(memory.err, Contains("suites/y.textproto:6:21: methods[1].set[0]: "
                                  "platform.devices[0].device.memory_gb: 0.001: ") &&
                             Contains("(in a/y)"));
  CHECK_FALSE(fs::exists(here / "results"));
}

}  // namespace
}  // namespace fedclock::test
