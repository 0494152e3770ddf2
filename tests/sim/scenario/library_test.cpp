// Everything in scenarios/ that people run or name is valid, and says where its figures are from.
#include <catch2/catch.hpp>

#include <filesystem>
#include <set>
#include <string>

#include "models/common/error.h"
#include "sim/scenario/load.h"
#include "sim/scenario/suite.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;

const fs::path kScenarios = fs::path(FEDCLOCK_SOURCE_DIR) / "scenarios";

std::set<std::string> profiles(const std::string& folder) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(kScenarios / folder)) {
    if (entry.path().extension() == ".textproto") names.insert(entry.path().stem().string());
  }
  return names;
}

v1::Scenario quickstart_with(const std::vector<std::string>& overrides) {
  return load_and_validate(kScenarios / "quickstart.textproto",
                           {.overrides = overrides, .library = kScenarios})
      .scenario;
}

TEST_CASE("every what-if scenario is valid") {
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(kScenarios / "what-if")) {
    INFO(entry.path());
    CHECK_NOTHROW(load_and_validate(entry.path(), {.overrides = {}, .library = kScenarios}));
    ++files;
  }
  CHECK(files >= 6);
}

TEST_CASE("every run of every paper's suite is a valid scenario") {
  int suites = 0;
  for (const fs::directory_entry& folder : fs::directory_iterator(kScenarios / "papers")) {
    for (const char* file : {"suite.textproto", "tuning.textproto", "scalability.textproto",
                             "sensitivity.textproto"}) {
      if (!fs::exists(folder.path() / file)) continue;
      INFO(folder.path() / file);
      const Suite suite = load_suite(folder.path() / file, false);
      for (const SuiteRun& run : plan_suite(suite, true).runs) {
        Problems problems(suite.locations);
        INFO(run.name());
        CHECK_NOTHROW(load_run(suite, run, kScenarios, problems));
        CHECK(problems.empty());
      }
      ++suites;
    }
  }
  CHECK(suites >= 3);
}

TEST_CASE("every device of the library runs, and its energy can be counted") {
  CHECK(profiles("devices").size() >= 12);
  for (const std::string& name : profiles("devices")) {
    INFO(name);
    const v1::Scenario scenario = quickstart_with(
        {"platform.devices=[{profile:\"" + name + "\" count:2 network:{profile:\"star\"}}]",
         "platform.energy=true", "task.partition.min_rows=10"});
    CHECK(scenario.platform().devices(0).device().assumptions_size() > 0);
  }
}

TEST_CASE("every network of the library runs, says what is assumed, and has a radio's power") {
  CHECK(profiles("networks").size() >= 8);
  for (const std::string& name : profiles("networks")) {
    INFO(name);
    const v1::Scenario scenario =
        quickstart_with({"platform.devices=[{profile:\"jetson-tx2\" count:20 network:{profile:\"" +
                         name + "\"}}]"});
    const v1::AccessLink& link = scenario.platform().devices(0).network();
    CHECK_FALSE(link.has_profile());
    CHECK(link.assumptions_size() > 0);
  }
}

TEST_CASE("a scenario's own fields override a network profile, whatever kind of bandwidth it has") {
  const auto link = [](const std::string& text) {
    return quickstart_with({"platform.devices[0].network={" + text + "}"})
        .platform()
        .devices(0)
        .network();
  };
  CHECK(link("profile:\"mobile\" up_mbit_s:1").up_mbit_s() == 1);
  CHECK(link("profile:\"mobile\" up_mbit_s:1").down_mbit_s() == 55);
  const v1::AccessLink plain = link("profile:\"wifi-1-30\" up_mbit_s:1 down_mbit_s:2");
  CHECK_FALSE(plain.has_drawn());
  CHECK(plain.latency_s() == 0.01);
  const v1::AccessLink drawn =
      link("profile:\"mobile\" drawn:{down_mbit_s:{uniform:{low:1 high:2}}}");
  CHECK(drawn.has_drawn());
  CHECK_FALSE(drawn.has_up_mbit_s());
  CHECK_THROWS_WITH(link("profile:\"mobil\""),
                    Catch::Contains("did you mean") && Catch::Contains("mobile"));
}

TEST_CASE("weights are dealt out as counts that sum up to the total") {
  const auto counts = [](const std::string& total, const std::vector<std::string>& weights) {
    std::string groups;
    for (const std::string& weight : weights) {
      groups += "{profile:\"jetson-tx2\" network:{profile:\"star\"} weight:" + weight + "},";
    }
    groups.pop_back();
    std::vector<int> dealt;
    const v1::Scenario scenario =
        quickstart_with({"platform.total=" + total, "platform.devices=[" + groups + "]"});
    for (const v1::DeviceGroup& group : scenario.platform().devices()) {
      dealt.push_back(group.count());
      CHECK_FALSE(group.has_weight());
    }
    CHECK_FALSE(scenario.platform().has_total());
    return dealt;
  };
  CHECK(counts("10", {"0.7", "0.3"}) == std::vector<int>{7, 3});
  CHECK(counts("10", {"1", "1", "1"}) == std::vector<int>{4, 3, 3});
  // Shares 1.43, 2.86, 5.71: one each of the two largest remainders.
  CHECK(counts("10", {"1", "2", "4"}) == std::vector<int>{1, 3, 6});
  CHECK_THROWS_WITH(counts("2", {"1", "1", "100"}), Catch::Contains("none is left for this group"));
}

}  // namespace
}  // namespace fedclock::scenario
