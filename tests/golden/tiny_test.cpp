// Exact regression: the tiny scenario's rounds, to the last digit, on every machine with AVX2 and
// the same libraries. FEDCLOCK_UPDATE_GOLDEN=1 writes the file anew.
#include <catch2/catch.hpp>

#include <cstdlib>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

void compare_with_kept(const std::filesystem::path& kept, const std::string& now) {
  if (std::getenv("FEDCLOCK_UPDATE_GOLDEN") != nullptr) std::ofstream(kept) << now;
  CHECK(read_file(kept) == now);
}

TEST_CASE("the tiny scenario's clock is the kept one") {
  const Workplace here;
  const Ran ran = here.run("run " + tiny_scenario() + " --timing-only --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  compare_with_kept(FEDCLOCK_SOURCE_DIR
                    "/"
                    "tests/golden/tiny_clock.csv",
                    read_file(here / "a/clients.csv"));
}

TEST_CASE("the tiny scenario's learning is the kept one, without and with dropout") {
  const Workplace here;
  const bool dropout = GENERATE(false, true);
  const Ran ran = here.run("run " + tiny_scenario() +
                           (dropout ? " --set model.adapter.dropout=0.1" : "") + " --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  // Other versions of the libraries may give other bits; then the file is to be renewed.
  CAPTURE(result.numerics());
  compare_with_kept(FEDCLOCK_SOURCE_DIR
                        "/"
                        "tests/golden/" +
                        std::string(dropout ? "tiny_dropout_rounds.csv" : "tiny_rounds.csv"),
                    read_file(here / "a/rounds.csv"));
}

TEST_CASE("the tiny scenario's mixtures of experts are the kept ones") {
  const Workplace here;
  const Ran ran = here.run("run " + tiny_scenario() +
                           " --set method=fedamole --set federation.selection={all:{}}"
                           " --set task.auxiliary_fraction=0.1 --set 'federation.assignment={"
                           "experts:{experts:9 choices:2 min_experts:1 max_experts:6}}' --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const std::filesystem::path golden = FEDCLOCK_SOURCE_DIR
      "/"
      "tests/golden";
  compare_with_kept(golden / "tiny_fedamole_rounds.csv", read_file(here / "a/rounds.csv"));
  compare_with_kept(golden / "tiny_fedamole_clients.csv", read_file(here / "a/clients.csv"));
}

}  // namespace
}  // namespace fedclock::test
