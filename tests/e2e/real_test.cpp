// Real text, on the English base of scenarios/bases: half an hour where the base is not in the
// cache.
#include <catch2/catch.hpp>

#include <cstdlib>

#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

TEST_CASE("centralised LoRA on the English base reaches 0.88 on AG News", "[slow]") {
  if (std::getenv("FEDCLOCK_DATA") == nullptr || std::getenv("HOME") == nullptr) {
    WARN("FEDCLOCK_DATA or HOME is not set: AG News is not tested");
    return;
  }
  const Workplace here;
  // The user's own cache: the base is pretrained once.
  const char* set = std::getenv("FEDCLOCK_CACHE");
  const std::string cache =
      set != nullptr ? set : std::getenv("HOME") + std::string("/.cache/fedclock");
  const Ran ran = here.run("run " + std::string(FEDCLOCK_SOURCE_DIR "/") +
                               "scenarios/real/ag_news_centralized.textproto --out a",
                           "", cache);
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(result.rounds(result.rounds_size() - 1).accuracy() >= 0.88);
}

}  // namespace
}  // namespace fedclock::test
