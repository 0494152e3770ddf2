// What the README promises of its first command.
#include <catch2/catch.hpp>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

TEST_CASE("the quickstart rises at least 30 points above its start", "[slow]") {
  const Workplace here;
  const Ran ran = here.run("run " + std::string(FEDCLOCK_SOURCE_DIR "/") +
                           "scenarios/quickstart.textproto --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(result.rounds(result.rounds_size() - 1).accuracy() >= result.rounds(0).accuracy() + 0.3);
}

}  // namespace
}  // namespace fedclock::test
