// The tree of text against Protobuf's own parsers, on texts with random slips.
#include "sim/scenario/syntax.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "models/common/random.h"
#include "sim/scenario/bind.h"
#include "sim/scenario/load.h"

namespace fedclock::scenario {
namespace {

using google::protobuf::util::MessageDifferencer;

std::string good_file(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(std::string(FEDCLOCK_SOURCE_DIR "/") + "tests/data/good/" + name).rdbuf();
  return text.str();
}

class Silence : public google::protobuf::io::ErrorCollector {
  void AddError(int, int, const std::string&) override {}
};

// Removes, doubles or replaces a few characters.
std::string slipped(std::string text, Random& random) {
  const std::string letters = "{}[]<>:;,.-_\"'#\\ \n\t0159aefnsxQV";
  for (uint64_t slips = 1 + random.below(3); slips > 0; --slips) {
    const std::size_t at = random.below(text.size()), length = 1 + random.below(6);
    switch (random.below(4)) {
      case 0: text.erase(at, length); break;
      case 1: text.insert(at, text.substr(at, length)); break;
      case 2: text[at] = letters[random.below(letters.size())]; break;
      default: text.insert(at, 1, letters[random.below(letters.size())]);
    }
  }
  return text;
}

// What our reader makes of the text; nothing where it finds a problem.
std::optional<v1::Scenario> ours(const std::string& text, Syntax syntax) {
  const Source source{syntax, "text", true};
  Problems problems;
  Locations locations;
  v1::Scenario scenario;
  const std::optional<Node> root = read_syntax(text, source, problems);
  if (root) Binder(source, locations, problems).merge(*root, "", scenario);
  if (!problems.empty()) return std::nullopt;
  return scenario;
}

TEST_CASE("text with slips is taken exactly where Protobuf takes it, with the same values") {
  const std::string base = good_file("base.textproto");
  Random random(1, "text with slips");
  int taken = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string text = slipped(base, random);
    INFO(text);
    Silence silence;
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&silence);
    v1::Scenario expected;
    const bool takes = parser.ParseFromString(text, &expected);
    const std::optional<v1::Scenario> scenario = ours(text, Syntax::kText);
    REQUIRE(scenario.has_value() == takes);
    if (takes) REQUIRE(MessageDifferencer::Equals(*scenario, expected));
    taken += takes ? 1 : 0;
  }
  CHECK(taken > 100);  // both sides are reached
  CHECK(taken < 2900);
}

TEST_CASE("JSON with slips that is taken has Protobuf's values") {
  const std::string base = good_file("base.json");
  Random random(2, "JSON with slips");
  int taken = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::string text = slipped(base, random);
    INFO(text);
    const std::optional<v1::Scenario> scenario = ours(text, Syntax::kJson);
    if (!scenario) continue;
    ++taken;
    v1::Scenario expected;
    REQUIRE(google::protobuf::util::JsonStringToMessage(text, &expected).ok());
    REQUIRE(MessageDifferencer::Equals(*scenario, expected));
  }
  CHECK(taken > 30);
}

TEST_CASE("what cannot be a scenario is one problem, not a crash") {
  for (const std::string& text :
       {std::string(20000, '{'), std::string("a: [") + std::string(20000, '['),
        std::string("\0\1\2", 3), std::string("a: \"\\x\""), std::string("a: 'b"),
        std::string("a: 0x"), std::string("[a.b]: 1")}) {
    Problems problems;
    CHECK(!read_syntax(text, {Syntax::kText, "text", true}, problems));
    CHECK(problems.size() == 1);
  }
  for (const std::string& text : {std::string(), std::string("1"), std::string("{\"a\":}"),
                                  std::string(20000, '['), std::string("{\"a\": 1e999}")}) {
    Problems problems;
    CHECK(!read_syntax(text, {Syntax::kJson, "text", true}, problems));
    CHECK(problems.size() == 1);
  }
}

}  // namespace
}  // namespace fedclock::scenario
