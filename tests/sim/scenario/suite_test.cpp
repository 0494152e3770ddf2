// Suite files: their problems with places, the runs that they ask for, and the scenario of each.
#include "sim/scenario/suite.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "models/common/error.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

const fs::path kData = fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data";
const fs::path kTiny = kData / "suites/tiny.textproto";

// A folder of its own that goes away with the test.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(fs::temp_directory_path() /
              ("fedclock_suite_" + name + "_" + std::to_string(getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  fs::path write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }

 private:
  fs::path path_;
};

const std::string kBase = "base: '" + (kData / "good/tiny.textproto").string() + "'\n";
const std::string kRest =
    "settings { name: 'a' }\n"
    "methods { name: 'x' } methods { name: 'y' }\n"
    "seeds: [1, 2, 3]\n"
    "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }\n";

std::string error_of(const fs::path& file, bool quick = false) {
  try {
    load_suite(file, quick);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string problems_of_run(const Suite& suite, const SuiteRun& run) {
  Problems problems;
  try {
    load_run(suite, run, "", problems);
  } catch (const InputError& error) {
    return error.what();
  }
  return problems.text();
}

TEST_CASE("the example is valid, and its runs come by seed, setting and method") {
  const Suite suite = load_suite(kTiny, false);
  CHECK(suite.suite.name() == "tiny");
  const SuitePlan plan = plan_suite(suite, false);
  REQUIRE(plan.runs.size() == 12);
  CHECK(plan.runs[0].name() == "skewed/fast/seed-1");
  CHECK(plan.runs[1].name() == "skewed/slow/seed-1");
  CHECK(plan.runs[2].name() == "iid/fast/seed-1");
  CHECK(plan.runs[4].name() == "skewed/fast/seed-2");
  CHECK(plan.judged == plan.settings);
  for (const SuiteRun& run : plan.runs) CHECK(problems_of_run(suite, run).empty());
  CHECK(plan_suite(suite, true).runs.size() == 18);
}

TEST_CASE("--quick changes what runs, and each run") {
  const Suite suite = load_suite(kTiny, true);
  const SuitePlan plan = plan_suite(suite, false);
  CHECK(plan.quick);
  REQUIRE(plan.runs.size() == 2);
  CHECK(plan.runs[0].name() == "iid/fast/seed-1");
  Problems problems;
  const v1::Scenario scenario = load_run(suite, plan.runs[0], "", problems).scenario;
  CHECK(scenario.stop().rounds() == 2);
  CHECK(plan_suite(suite, true).runs.size() == 3);
}

TEST_CASE("a run is the base, the setting's and the method's file, their sets, and the seed") {
  const Suite suite = load_suite(kTiny, false);
  Problems problems;
  const v1::Scenario scenario = load_run(suite, {"iid", "fast", 2}, "", problems).scenario;
  problems.throw_if_any();
  CHECK(scenario.name() == "tiny-iid-fast");
  CHECK(scenario.seed() == 2);
  CHECK(scenario.task().partition().has_iid());
  CHECK(scenario.task().partition().min_rows() == 8);  // of the base
  CHECK(scenario.federation().local().learning_rate() == 0.05);
  CHECK(scenario.federation().schedule().has_synchronous());  // the method's answers
  CHECK(load_run(suite, {"iid", "alone", 2}, "", problems)
            .scenario.federation()
            .schedule()
            .has_local_only());
}

TEST_CASE("the method's file lies over the setting's, and sets over both") {
  const Folder folder("order");
  folder.write("s.textproto", "stop { rounds: 5 } evaluation { every_rounds: 5 }\n");
  folder.write("m.textproto", "stop { rounds: 6 } federation { local { steps: 6 } }\n");
  const fs::path file = folder.write(
      "x.textproto", kBase +
                         "settings { name: 'a' file: 's.textproto' set: 'federation.local.steps=7' "
                         "}\nmethods { name: 'x' file: 'm.textproto' }\nmethods { name: 'y' }\n"
                         "seeds: [1, 2, 3]\n"
                         "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }\n");
  Problems problems;
  const v1::Scenario scenario =
      load_run(load_suite(file, false), {"a", "x", 1}, "", problems).scenario;
  CHECK(scenario.stop().rounds() == 6);
  CHECK(scenario.evaluation().every_rounds() == 5);
  CHECK(scenario.federation().local().steps() == 7);
}

TEST_CASE("the scenario of a run reads back, and its digest is the same in every folder") {
  const Folder folder("digest");
  folder.write("deep/good/tiny.textproto", "extends: '../../base.textproto'\n");
  folder.write("base.textproto", "extends: '" + (kData / "good/tiny.textproto").string() + "'\n");
  fs::create_directories(folder.write("deep/suites/x", "").parent_path());
  const fs::path copy = folder.write("x", "").parent_path() / "deep/suites/tiny.textproto";
  fs::copy_file(kTiny, copy);
  fs::copy_file(kData / "suites/iid.textproto", copy.parent_path() / "iid.textproto");
  const SuiteRun run{"iid", "fast", 3};
  Problems problems;
  const v1::Scenario here = load_run(load_suite(kTiny, false), run, "", problems).scenario;
  const v1::Scenario there = load_run(load_suite(copy, false), run, "", problems).scenario;
  problems.throw_if_any();
  CHECK(scenario_digest(here) == scenario_digest(there));
  const fs::path text = folder.write("run.textproto", to_text(here));
  CHECK(scenario_digest(load_and_validate(text).scenario) == scenario_digest(here));
  CHECK(scenario_digest(here) !=
        scenario_digest(
            load_run(load_suite(kTiny, false), {"iid", "fast", 2}, "", problems).scenario));
}

TEST_CASE("problems of a suite are told at once, each at its place") {
  const Folder folder("bad");
  const fs::path file = folder.write("bad.textproto",
                                     "base: 'nowhere.textproto'\n"
                                     "settings { name: 'a' } settings { name: 'a' }\n"
                                     "methods { name: 'x y' file: 'x.yaml' }\n"
                                     "methods { name: 'y' set: 'seed=3' }\n"
                                     "methods {}\n"
                                     "seeds: [1, 1]\n"
                                     "claims { of: 'z' against: ['y', 'yy'] settings: 'b'\n"
                                     "  accuracy_gain { at_least: 4 } }\n"
                                     "claims { text: 't' of: 'y' against: 'y' }\n"
                                     "claims { text: 't' of: 'y' speed_up {} }\n"
                                     "quick { settings: 'q' seeds: [2, 2] }\n"
                                     "paper_title: 'p'\n");
  const std::string message = error_of(file);
  INFO(message);
  for (const std::string line : {
           "1:1: base: \"nowhere.textproto\": there is no file ",
           "2:35: settings[1].name: \"a\": two settings have this name",
           "3:11: methods[0].name: \"x y\": names a folder",
           "3:23: methods[0].file: \"x.yaml\": the file's name must end in .textproto",
           "4:21: methods[1].set[0]: \"seed=3\": the suite sets `seed` of every run; list",
           "5:1: methods[2].name: not set: is required",
           "6:1: seeds: 2 of them: at least 3 are needed",
           "6:12: seeds[1]: 1: this seed stands there twice",
           "7:1: claims[0].text: not set: is required; write the paper's sentence",
           "7:10: claims[0].of: \"z\": is no method of this suite; ",
           "7:33: claims[0].against[1]: \"yy\": is no method of this suite; known: x y, y",
           "7:39: claims[0].settings[0]: \"b\": is no setting of this suite; ",
           "8:19: claims[0].accuracy_gain.at_least: 4: must be from -1 to 1; a share is 1 at most",
           "9:28: claims[1].against[0]: \"y\": is the method that the claim is about",
           "9:1: claims[1].kind: not set: is required; write one of speed_up",
           "10:1: claims[2].against: not set: is required",
           "10:28: claims[2].speed_up.at_least: not set: is required",
           "11:9: quick.settings[0]: \"q\": is no setting of this suite",
           "11:34: quick.seeds[1]: 2: this seed stands there twice",
           "12:1: paper_title: 'p': there is no such field",
       }) {
    INFO(line);
    CHECK(("\n" + message).find("\n" + file.string() + ":" + line) != std::string::npos);
  }
  CHECK(std::ranges::count(message, '\n') == 19);
}

TEST_CASE("what a suite cannot do without") {
  const Folder folder("empty");
  const std::string message = error_of(folder.write("empty.textproto", "description: 'd'\n"));
  for (const char* field : {"base", "settings", "methods", "seeds"}) {
    CHECK_THAT(message, Contains(std::string("empty.textproto: ") + field + ": not set"));
  }
  CHECK_THAT(error_of(folder.write("x.textproto", kBase + kRest), true),
             Contains("quick: not set: is required; --quick needs"));
  CHECK_THAT(error_of("nowhere.textproto"), Contains("no such file"));
  CHECK_THAT(error_of(folder.write("my suite.textproto", kBase + kRest)),
             Contains("name: \"my suite\": names a folder"));
}

TEST_CASE("one seed is enough for --quick alone") {
  const Folder folder("seeds");
  const fs::path file = folder.write(
      "x.textproto", kBase +
                         "settings { name: 'a' } methods { name: 'x' } methods { name: 'y' }\n"
                         "seeds: 1 quick { set: 'stop.rounds=1' }\n"
                         "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }");
  CHECK_THAT(error_of(file), Contains("at least 3 are needed"));
  CHECK(error_of(file, true).empty());
}

TEST_CASE("a suite whose settings are all extended runs nothing, and says so") {
  const Folder folder("extended");
  const fs::path file = folder.write(
      "x.textproto", kBase +
                         "settings { name: 'a' extended: true }\n"
                         "methods { name: 'x' } methods { name: 'y' } seeds: [1, 2, 3]\n"
                         "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }");
  const Suite suite = load_suite(file, false);
  CHECK_THROWS_WITH(plan_suite(suite, false), Contains("--extended"));
  const SuitePlan plan = plan_suite(suite, true);
  CHECK(plan.runs.size() == 6);
  CHECK(plan.judged.empty());
}

TEST_CASE("problems of a run's scenario lie where they were written: in the suite or a fragment") {
  const Folder folder("places");
  const fs::path fragment =
      folder.write("m.textproto", "federation {\n  local { batch_size: 0 }\n}\n");
  const fs::path file = folder.write(
      "x.textproto", kBase +
                         "settings { name: 'a'\n  set: ['stop.rounds=2', 'task.max_tokens=two'] }\n"
                         "methods { name: 'x' file: 'm.textproto' }\n"
                         "methods { name: 'y' set: 'federation.locale.steps=3' }\n"
                         "methods { name: 'z' set: 'evaluation.every_rounds=-4' }\n"
                         "seeds: [1, 2, 3]\n"
                         "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }\n");
  const Suite suite = load_suite(file, false);
  CHECK_THAT(problems_of_run(suite, {"a", "x", 1}),
             Contains(fragment.string() + ":2:11: federation.local.batch_size: 0: must be") &&
                 Contains(file.string() +
                          ":3:26: settings[0].set[1]: task.max_tokens: two: must be a whole"));
  CHECK_THAT(problems_of_run(suite, {"a", "y", 1}),
             Contains(file.string() + ":5:21: methods[1].set[0]: federation.locale: 3: there is no "
                                      "such field; did you mean `local`?"));
  // What only the check of values finds.
  CHECK_THAT(problems_of_run(suite, {"a", "z", 1}),
             Contains(file.string() + ":6:21: methods[2].set[0]: evaluation.every_rounds: -4: "));
}

TEST_CASE("a suite that judges by own rows needs them measured") {
  const Folder folder("own");
  const fs::path file = folder.write(
      "x.textproto", kBase +
                         "settings { name: 'a' }\n"
                         "methods { name: 'x' set: 'evaluation.clients_every_rounds=0' }\n"
                         "methods { name: 'y' set: 'task.client_test_fraction=0' }\n"
                         "methods { name: 'z' set: 'evaluation.clients_every_rounds=1' }\n"
                         "seeds: [1, 2, 3] own_rows: true best_so_far: true\n");
  const Suite suite = load_suite(file, false);
  CHECK_THAT(problems_of_run(suite, {"a", "x", 1}),
             Contains("evaluation.clients_every_rounds: 0: the suite's own_rows"));
  CHECK_THAT(problems_of_run(suite, {"a", "y", 1}),
             Contains("task.client_test_fraction: 0: the suite's own_rows"));
  CHECK(problems_of_run(suite, {"a", "z", 1}).empty());
  const fs::path twice = folder.write(
      "twice.textproto", kBase +
                             "settings { name: 'a' } methods { name: 'x' } seeds: [1, 2, 3]\n"
                             "best_so_far: true smoothing_s: 5\n");
  CHECK_THROWS_WITH(load_suite(twice, false), Contains("smoothing_s: 5: is not used with"));
}

TEST_CASE("a fragment that extends the base again is refused: it would undo the setting") {
  const Folder folder("again");
  folder.write("base.textproto", "extends: '" + (kData / "good/tiny.textproto").string() + "'\n");
  const fs::path fragment = folder.write("m.textproto", "extends: 'base.textproto'\n");
  const fs::path file =
      folder.write("x.textproto",
                   "base: 'base.textproto' settings { name: 'a' }\n"
                   "methods { name: 'x' file: 'm.textproto' } methods { name: 'y' }\n"
                   "seeds: [1, 2, 3]\n"
                   "claims { text: 't' of: 'x' against: 'y' speed_up { at_least: 2 } }\n");
  const Suite suite = load_suite(file, false);
  CHECK_THAT(problems_of_run(suite, {"a", "x", 1}),
             Contains(fragment.string() + ":1:1: extends[0]: ") && Contains("leave it out here"));
  CHECK(problems_of_run(suite, {"a", "y", 1}).empty());
}

TEST_CASE("a suite may be JSON") {
  const Folder folder("json");
  const fs::path file = folder.write(
      "x.json", "{\"base\": \"" + (kData / "good/tiny.textproto").string() +
                    "\",\n \"settings\": [{\"name\": \"a\"}],\n"
                    " \"methods\": [{\"name\": \"x\"}, {\"name\": \"y\"}], \"seeds\": [1, 2, 3],\n"
                    " \"claims\": [{\"text\": \"t\", \"of\": \"x\", \"against\": [\"y\"],\n"
                    "  \"accuracyGain\": {\"atLeast\": 7}}]}\n");
  CHECK_THAT(error_of(file), Contains(":5:20: claims[0].accuracy_gain.at_least: 7: must be from"));
}

}  // namespace
}  // namespace fedclock::scenario
