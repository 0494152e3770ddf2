// Extending, overriding, profiles, methods, and the scenario that comes out of them.
#include "sim/scenario/load.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "models/common/error.h"
#include "sim/scenario/methods.h"
#include "sim/scenario/validate.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using google::protobuf::util::MessageDifferencer;

const fs::path kGood = fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data/good";

// A folder of its own that goes away with the test.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(fs::temp_directory_path() /
              ("fedclock_scenario_" + name + "_" + std::to_string(getpid()))) {
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
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

Loaded with(std::vector<std::string> overrides) {
  return load_scenario(kGood / "base.textproto", {std::move(overrides), {}});
}

std::string error_of(const fs::path& file, const LoadOptions& options = {}) {
  try {
    load_and_validate(file, options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("text is read as Protobuf's own parser reads it") {
  v1::Scenario expected;
  REQUIRE(
      google::protobuf::TextFormat::ParseFromString(text_of(kGood / "base.textproto"), &expected));
  CHECK(MessageDifferencer::Equals(load_scenario(kGood / "base.textproto").scenario, expected));
}

TEST_CASE("JSON is read as Protobuf's own mapping reads it, and says the same as the text") {
  v1::Scenario expected;
  REQUIRE(
      google::protobuf::util::JsonStringToMessage(text_of(kGood / "base.json"), &expected).ok());
  const Loaded json = load_scenario(kGood / "base.json");
  CHECK(MessageDifferencer::Equals(json.scenario, expected));
  CHECK(to_text(json.scenario) == to_text(load_scenario(kGood / "base.textproto").scenario));
  // "up_mbit_s" of the first device: line 41, behind 20 spaces and `"network": {`.
  CHECK(json.locations.find("platform.devices[0].network.up_mbit_s").text() ==
        (kGood / "base.json").string() + ":41:21");
}

TEST_CASE("all syntax of the text format is understood") {
  const Folder folder("syntax");
  const fs::path file = folder.write("x.textproto",
                                     "name: 'a' \"b\\n\"; seed: 0x10,\n"
                                     "task: < synthetic {} partition { iid: {} } >\n"
                                     "model { adapter { targets: [Q, K] targets: V alpha: 8.5f } }"
                                     "\nassumptions: []\n"
                                     "platform { devices: [ { count: 1 }, { count: 2 } ] }\n");
  v1::Scenario expected;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text_of(file), &expected));
  CHECK(MessageDifferencer::Equals(load_scenario(file).scenario, expected));
  CHECK(expected.name() == "ab\n");
  CHECK(expected.platform().devices(1).count() == 2);
}

TEST_CASE("a file is merged over those that it extends, in order") {
  const Folder folder("extends");
  folder.write("below/a.textproto",
               "seed: 1 name: 'a' model { adapter { rank: 2 targets: [Q, K, V] } }\n"
               "task { partition { dirichlet { alpha: 3 } } }\n"
               "stop { rounds: 4 }\n");
  folder.write("below/b.textproto", "extends: 'c.textproto'\nseed: 2\nstop { simulated_s: 9 }\n");
  folder.write("below/c.textproto", "seed: 3 description: 'c'\nmodel { adapter { rank: 5 } }\n");
  const fs::path top = folder.write("top.textproto",
                                    "extends: ['below/a.textproto', 'below/b.textproto']\n"
                                    "model { adapter { targets: UP } }\n"
                                    "task { partition { iid {} } }\n");
  const Loaded loaded = load_scenario(top);
  const v1::Scenario& scenario = loaded.scenario;
  CHECK(scenario.extends_size() == 0);
  CHECK(scenario.seed() == 2);                              // b over c and a
  CHECK(scenario.name() == "a");                            // nobody else names it
  CHECK(scenario.description() == "c");                     // through b
  CHECK(scenario.model().adapter().rank() == 5);            // c, below b, is over a
  REQUIRE(scenario.model().adapter().targets_size() == 1);  // a list replaces the list
  CHECK(scenario.model().adapter().targets(0) == v1::UP);
  CHECK(scenario.task().partition().has_iid());  // a choice replaces the choice
  CHECK(!scenario.task().partition().has_dirichlet());
  CHECK(scenario.stop().rounds() == 4);  // messages merge
  CHECK(scenario.stop().simulated_s() == 9);

  const Locations& at = loaded.locations;
  CHECK(at.find("seed").text() == (folder.path() / "below/b.textproto").string() + ":2:1");
  CHECK(at.find("model.adapter.rank").text() ==
        (folder.path() / "below/c.textproto").string() + ":2:19");
  CHECK(at.find("model.adapter.targets[0]").text() == top.string() + ":2:19");
  // What is not set has the place of what encloses it: `targets[2]` of a is forgotten, and
  // `dirichlet.alpha` too.
  CHECK(!at.has("model.adapter.targets[2]"));
  CHECK(at.find("task.partition.dirichlet.alpha").text() == top.string() + ":3:8");
  CHECK(at.find("platform.server").text() == top.string());
}

TEST_CASE("files that extend one another in a circle are refused, a diamond is not") {
  const Folder folder("circle");
  const fs::path a = folder.write("a.textproto", "extends: 'b.textproto'\n");
  const fs::path b = folder.write("b.textproto", "\nextends: 'a.textproto'\n");
  CHECK_THAT(error_of(a), Contains(b.string() + ":2:1: extends[0]") && Contains("circle"));
  folder.write("base.textproto", "seed: 5\n");
  folder.write("left.textproto", "extends: 'base.textproto'\n");
  folder.write("right.textproto", "extends: 'base.textproto'\n");
  const fs::path top =
      folder.write("top.textproto", "extends: ['left.textproto', 'right.textproto']\n");
  CHECK(load_scenario(top).scenario.seed() == 5);
}

TEST_CASE("JSON may extend one file without a list") {
  const Folder folder("one");
  folder.write("base.textproto", "seed: 5\n");
  const fs::path file =
      folder.write("x.json", R"({"extends": "base.textproto", "assumptions": "none"})");
  const Loaded loaded = load_scenario(file);
  CHECK(loaded.scenario.seed() == 5);
  REQUIRE(loaded.scenario.assumptions_size() == 1);
  CHECK(loaded.scenario.assumptions(0) == "none");
}

TEST_CASE("a text in the other format, or with comments, is told so") {
  const Folder folder("formats");
  const auto json = [&](const std::string& text) { return error_of(folder.write("a.json", text)); };
  CHECK_THAT(json("name: 'a'\n"), Contains("a.json:1:1: ") && Contains("ends in .textproto"));
  CHECK_THAT(json("# why\n{\n}\n"), Contains("a.json:1:1: ") && Contains("JSON has no comments"));
  CHECK_THAT(json("{\n  /* why */\n}\n"), Contains("a.json:2:3: JSON has no comments"));
  CHECK_THAT(json("{\n  \"seed\": 1 # why\n}\n"), Contains(":2:13: JSON has no comments"));
  // A slash elsewhere is JSON's parser's own business.
  CHECK_THAT(json("{\"seed\": 1 / 2}\n"), !Contains("comments"));
  CHECK_THAT(error_of(folder.write("a.textproto", "# why\n{\"seed\": 1}\n")),
             Contains("a.textproto:2:1: {: ") && Contains("ends in .json"));
}

TEST_CASE("what is not set has a default that fits") {
  // The pretraining's 64 tokens a sequence are cut to a model of 48.
  const Folder folder("defaults");
  folder.write("base.textproto", text_of(kGood / "base.textproto"));
  const fs::path file = folder.write("x.textproto",
                                     "extends: 'base.textproto'\n"
                                     "model { pretrain { architecture { max_tokens: 48 } } }\n");
  CHECK_NOTHROW(load_and_validate(file));
  CHECK_THAT(error_of(file, {{"model.pretrain.sequence_tokens=49"}, {}}),
             Contains("must be from 4 to 48"));
}

TEST_CASE("a name that is the file's must be one too") {
  const Folder folder("named");
  folder.write("base.textproto", "seed: 5\n");
  std::string text = text_of(kGood / "base.textproto");
  text.erase(text.find("name: \"base\"\n"), 13);
  CHECK_NOTHROW(load_and_validate(folder.write("A-b_c 1.5.textproto", text)));
  const fs::path file = folder.write("a,b.textproto", text);
  CHECK_THAT(error_of(file), Contains(file.string() + ": name: \"a,b\": names the folder"));
  CHECK_NOTHROW(load_and_validate(file, {{"name=a b"}, {}}));
}

TEST_CASE("a missing scenario is named") {
  CHECK_THAT(error_of("nowhere.textproto"), Contains("nowhere.textproto"));
  CHECK_THAT(error_of("scenario.yaml"), Contains(".textproto") && Contains(".json"));
}

TEST_CASE("overrides set scalars, words, text, lists and messages") {
  const Loaded loaded =
      with({"platform.devices[1].count=40", "model.adapter.targets=[Q, UP]",
            "model.adapter.targets[1]=DOWN", "name=what if", "description=\"say \\\"why\\\"\"",
            "stop={rounds: 3}", "numerics=NATIVE", "model.pretrain.tokenizer.lowercase=false",
            "federation.selection.all={}", "platform.devices[0].network.latency_s=0"});
  const v1::Scenario& scenario = loaded.scenario;
  CHECK(scenario.platform().devices(1).count() == 40);
  REQUIRE(scenario.model().adapter().targets_size() == 2);
  CHECK(scenario.model().adapter().targets(0) == v1::Q);
  CHECK(scenario.model().adapter().targets(1) == v1::DOWN);
  CHECK(scenario.name() == "what if");
  CHECK(scenario.description() == "say \"why\"");
  CHECK(scenario.stop().rounds() == 3);
  CHECK(!scenario.stop().has_accuracy());  // a message given whole replaces the old one
  CHECK(scenario.numerics() == v1::NATIVE);
  CHECK(!scenario.model().pretrain().tokenizer().lowercase());
  CHECK(scenario.federation().selection().has_all());
  CHECK(scenario.platform().devices(0).network().has_latency_s());
  CHECK(loaded.locations.find("platform.devices[1].count").text() ==
        "--set platform.devices[1].count=40");
  CHECK(loaded.locations.find("stop.rounds").text() == "--set stop={rounds: 3}");
}

TEST_CASE("a wrong override is named, with what is known there") {
  const auto refused = [](const std::string& text) {
    return error_of(kGood / "base.textproto", {{text}, {}});
  };
  CHECK_THAT(refused("platform.devices[2].count=4"),
             Contains("--set platform.devices[2].count=4: platform.devices[2]: 4: ") &&
                 Contains("the list has 2, from [0] to [1]"));
  CHECK_THAT(refused("platform.devices.count=4"), Contains("is a list") && Contains("devices[0]"));
  CHECK_THAT(refused("model.adaptor.rank=4"),
             Contains("model.adaptor: 4") && Contains("did you mean `adapter`"));
  CHECK_THAT(refused("stop.x=4"), Contains("known here: rounds, simulated_s, accuracy"));
  CHECK_THAT(refused("stop.rounds=many"), Contains("stop.rounds: many: must be a whole number"));
  CHECK_THAT(refused("stop.rounds=3 accuracy: 1"), Contains("more than one value"));
  CHECK_THAT(refused("stop.rounds"), Contains("PATH=VALUE"));
  CHECK_THAT(refused("seed[0]=4"), Contains("is not a list"));
  CHECK_THAT(refused("seed.x=4"), Contains("has no fields of its own"));
  CHECK_THAT(refused("platform.devices[one].count=4"), Contains("devices[one]"));
  CHECK_THAT(refused("extends=base.textproto"), Contains("write `extends` in a file"));
  CHECK_THAT(refused("seed="), Contains("--set seed=: seed: nothing: has no value behind '='; must "
                                        "be a whole number from 0"));
  CHECK_THAT(refused("stop={rounds: 3"), Contains(": stop: {: this block is never closed"));
  CHECK_THAT(refused("seed=\"3\""), Contains("the quotes are wrong, write 3"));
  CHECK_THAT(refused("task.client_test_fraction=10%"), Contains("without '%': 0.1"));
  // The item that was named, not one behind the list.
  CHECK_THAT(refused("platform.devices[0]=x"),
             Contains(": platform.devices[0]: x: must be a block in braces"));
  CHECK_THAT(refused("model.adapter.targets[1]=W"),
             Contains(": model.adapter.targets[1]: W: is not one of the choices"));
  CHECK_THAT(refused("numerics=EXACT"), Contains("known: PORTABLE, NATIVE"));
  // A value that only validation can refuse.
  CHECK_THAT(refused("platform.devices[0].network.up_mbit_s=0"),
             Contains("--set platform.devices[0].network.up_mbit_s=0: "
                      "platform.devices[0].network.up_mbit_s: 0: must be"));
}

const char* kProfileScenario =
    "extends: 'base.textproto'\n"
    "platform {\n"
    "  devices {\n"
    "    profile: 'test-board'\n"
    "    device { memory_gb: 6 }\n"
    "    count: 10\n"
    "    network { up_mbit_s: 20 down_mbit_s: 50 latency_s: 0.01 }\n"
    "  }\n"
    "}\n";

TEST_CASE("a profile is found by name and written out under what the scenario sets") {
  const Folder folder("profile");
  folder.write("base.textproto", text_of(kGood / "base.textproto"));
  const fs::path profile =
      folder.write("devices/test-board.textproto", text_of(kGood / "devices/test-board.textproto"));
  folder.write("deep/er/base.textproto", text_of(kGood / "base.textproto"));
  const fs::path file = folder.write("deep/er/x.textproto", kProfileScenario);
  const Loaded loaded = load_and_validate(file, {});
  const v1::DeviceGroup& group = loaded.scenario.platform().devices(0);
  CHECK(!group.has_profile());
  CHECK(group.device().name() == "test board");
  CHECK(group.device().memory_gb() == 6);
  CHECK(group.device().modes_size() == 2);
  CHECK(loaded.locations.find("platform.devices[0].device.memory_gb").text() ==
        file.string() + ":5:14");
  CHECK(loaded.locations.find("platform.devices[0].device.modes[1].fp32_tflops").text() ==
        profile.string() + ":6:22");

  // An override reaches into the profile written out, and into the group before that.
  const Loaded other = load_scenario(
      file, {{"platform.devices[0].device.modes[1].fp32_tflops=0.7",
              "platform.server.profile=test-board", "platform.devices[0].device.efficiency=0.2"},
             {}});
  CHECK(other.scenario.platform().devices(0).device().modes(1).fp32_tflops() == 0.7);
  CHECK(other.scenario.platform().devices(0).device().efficiency() == 0.2);
  CHECK(other.scenario.platform().server().device().name() == "server");  // set in base
}

TEST_CASE("a profile that is not beside the scenario comes from the library") {
  const Folder folder("library");
  folder.write("base.textproto", text_of(kGood / "base.textproto"));
  const fs::path file = folder.write("x.textproto", kProfileScenario);
  CHECK_THAT(error_of(file), Contains(file.string() + ":4:5: platform.devices[0].profile") &&
                                 Contains("test-board"));
  CHECK(load_and_validate(file, {{}, kGood}).scenario.platform().devices(0).device().name() ==
        "test board");
}

TEST_CASE("the profiles of the repository are found") {
  const fs::path library = fs::path(FEDCLOCK_SOURCE_DIR) / "scenarios";
  if (!fs::exists(library / "devices/jetson-tx2.textproto")) {
    WARN("skipped: scenarios/devices/jetson-tx2.textproto is missing");
    return;
  }
  const Loaded loaded = load_and_validate(
      kGood / "base.textproto", {{"platform.devices[0]={profile: 'jetson-tx2' count: 6 network { "
                                  "up_mbit_s: 1 down_mbit_s: 1 latency_s: 0 } }"},
                                 library});
  CHECK(loaded.scenario.platform().devices(0).device().memory_gb() > 0);
}

TEST_CASE("the resolved scenario stands on its own") {
  const Folder folder("resolved");
  folder.write("in/base.textproto", text_of(kGood / "base.textproto"));
  const fs::path file = folder.write("in/x.textproto", kProfileScenario);
  const Loaded first = load_and_validate(file, {{"seed=9"}, kGood});
  const std::string text = to_text(first.scenario);
  CHECK_THAT(text, Contains("targets: [Q, V]"));
  const fs::path other = folder.write("elsewhere/scenario.textproto", text);
  const Loaded second = load_and_validate(other);
  CHECK(MessageDifferencer::Equals(first.scenario, second.scenario));
  CHECK(to_text(second.scenario) == text);
}

TEST_CASE("the name is the file's where there is none, and folders count from their file") {
  const Folder folder("folders");
  folder.write("below/base.textproto", "model { folder: '../weights/tiny' }\n");
  const fs::path file = folder.write("my-run.textproto", "extends: 'below/base.textproto'\n");
  const Loaded loaded = load_scenario(file);
  CHECK(loaded.scenario.name() == "my-run");
  CHECK(loaded.folder == folder.path());
  CHECK(loaded.scenario.model().folder() == (folder.path() / "weights/tiny").string());
  CHECK(load_scenario(file, {{"model.folder=/opt/where"}, {}}).scenario.model().folder() ==
        "/opt/where");
  // As if the override stood in the scenario file itself.
  CHECK(load_scenario(file, {{"model.folder=w"}, {}}).scenario.model().folder() ==
        (folder.path() / "w").string());
}

TEST_CASE("a method becomes five answers, under those that the scenario gives") {
  for (const std::string& name : method_names()) {
    INFO(name);
    Loaded loaded = with({"method=" + name});
    Problems problems;
    expand_method(loaded, problems);
    CHECK(problems.empty());
    const v1::Federation& answers = loaded.scenario.federation();
    CHECK(answers.selection().kind_case() == v1::Selection::kRandom);  // the base's own
    CHECK(answers.selection().random().count() == 5);
    CHECK(answers.assignment().kind_case() != v1::Assignment::KIND_NOT_SET);
    CHECK(answers.local().kind_case() != v1::Local::KIND_NOT_SET);
    CHECK(answers.local().steps() == 2);
    CHECK(answers.aggregation().kind_case() != v1::Aggregation::KIND_NOT_SET);
    const std::map<std::string, v1::Schedule::KindCase> others = {
        {"centralized", v1::Schedule::kCentralized},
        {"local_only", v1::Schedule::kLocalOnly},
        {"hierfavg", v1::Schedule::kHierarchical},
        {"hierfedlora", v1::Schedule::kHierarchical},
        {"fedasync", v1::Schedule::kAsynchronous},
        {"fedbuff", v1::Schedule::kBuffered},
        {"oort", v1::Schedule::kDeadline}};
    const auto other = others.find(name);
    CHECK(answers.schedule().kind_case() ==
          (other == others.end() ? v1::Schedule::kSynchronous : other->second));
    CHECK(loaded.locations.find("federation.schedule").text() == "--set method=" + name);
  }
}

TEST_CASE("later checks add to the same list") {
  const Loaded loaded = with({});
  Problems problems(loaded.locations);
  problems.add_at({"train.tsv", 12, 3}, "task.files.train", "maybe", "is no class");
  problems.add("platform.devices[0].device.memory_gb", "4", "is too little for the model");
  CHECK(problems.size() == 2);
  CHECK(problems.covers("task.files.train"));
  CHECK_THROWS_WITH(problems.throw_if_any(),
                    (kGood / "base.textproto").string() +
                        ":29:7: platform.devices[0].device.memory_gb: 4: is too little for the "
                        "model\ntrain.tsv:12:3: task.files.train: maybe: is no class");
}

}  // namespace
}  // namespace fedclock::scenario
