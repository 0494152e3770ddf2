// Exact regression, by fedclock's own check: the tiny scenario's clock and learning, to the last
// bit, on every machine with AVX2 and the same libraries. FEDCLOCK_UPDATE_GOLDEN=1 keeps what there
// is now.
#include <catch2/catch.hpp>

#include <cstdlib>

#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

TEST_CASE("the tiny scenario's clock and learning are the kept ones") {
  const Workplace here;
  const auto run = [&](const std::string& name, const std::string& settings) {
    const Ran ran = here.run("run " + tiny_scenario() + " --quiet --out runs/" + name + settings);
    INFO(ran.err);
    REQUIRE(ran.code == 0);
  };
  run("clock", " --timing-only");
  run("plain", "");
  run("dropout", " --set model.adapter.dropout=0.1");
  run("fedamole",
      " --set method=fedamole --set federation.selection={all:{}} --set "
      "task.auxiliary_fraction=0.1 --set 'federation.assignment={experts:{experts:9 choices:2 "
      "min_experts:1 max_experts:6}}'");
  const bool update = std::getenv("FEDCLOCK_UPDATE_GOLDEN") != nullptr;
  const std::string kept = std::string(FEDCLOCK_SOURCE_DIR "/") + "tests/golden/tiny.textproto";
  const Ran ran = here.run("check runs --baseline " + kept + (update ? " --update" : ""));
  // Other versions of the libraries may give other bits: the last line of a run says so, and then
  // the file is to be renewed.
  INFO(ran.out << ran.err);
  CHECK(ran.code == 0);
}

}  // namespace
}  // namespace fedclock::test
