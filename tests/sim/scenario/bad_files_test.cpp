// Every file of tests/data/bad is refused, with each problem at its line and column, the field's
// path and the value. A text file says so itself, in its first lines:
//   # expect: LINE:COLUMN: PATH: VALUE: start of the message
//   # expect-in OTHER FILE: LINE:COLUMN: ...
// JSON has no comments; its expectations are in the table below.
#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "sim/scenario/load.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;

const fs::path kBad = fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data/bad";

const std::map<std::string, std::vector<std::string>> kJson = {
    {"unit_milliseconds.json",
     {"8:53: platform.devices[0].network.latencyMs: 28: there is no such field; did you mean "
      "`latency_s` (seconds)? 28 milliseconds is 0.028"}},
    {"unknown_key.json",
     {"3:25: model.adapter.rnak: 4: there is no such field; did you mean `rank`?"}},
    {"unknown_enum.json",
     {"6:9: model.adapter.targets[1]: W: is not one of the choices; known: Q, K, V, O, UP, GATE, "
      "DOWN"}},
    {"enum_number.json",
     {"3:37: model.adapter.targets[0]: 9: is not one of the choices; known: Q, K, V, O, UP, GATE, "
      "DOWN",
      "4:3: numerics: 5: is not one of the choices; known: PORTABLE, NATIVE"}},
    {"wrong_type.json", {"3:12: stop.rounds: \"ten\": must be a whole number"}},
    {"zero_bandwidth.json", {"5:7: platform.server.ingress_mbit_s: 0: must be from 0.001"}},
    {"set_twice.json", {"4:3: seed: 2: the field is set twice"}},
    {"not_a_list.json", {"3:25: model.adapter.targets: \"Q\": must be a list"}},
    {"syntax.json", {"4:1: "}},  // the brace after the comma
    {"text_in_json.json", {"1:1: the text is no JSON but looks like Protobuf's text format"}},
    {"comment.json", {"3:14: JSON has no comments; remove it"}},
    {"extends_of_wrong_type.json", {"2:3: extends: {...}: must be a list in square brackets"}},
};

std::vector<std::string> expectations(const fs::path& file) {
  if (file.extension() == ".json") {
    const auto found = kJson.find(file.filename().string());
    REQUIRE(found != kJson.end());
    std::vector<std::string> lines;
    for (const std::string& rest : found->second) lines.push_back(file.string() + ":" + rest);
    return lines;
  }
  const std::string here = "# expect: ", there = "# expect-in ";
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(here)) {
      lines.push_back(file.string() + ":" + line.substr(here.size()));
    } else if (line.starts_with(there)) {
      const std::size_t colon = line.find(": ");
      const fs::path other = kBad / line.substr(there.size(), colon - there.size());
      lines.push_back(other.string() + ":" + line.substr(colon + 2));
    }
  }
  return lines;
}

TEST_CASE("each broken file is refused at its line, column, path and value") {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(kBad)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  CHECK(files.size() >= 40);
  for (const fs::path& file : files) {
    INFO(file.string());
    const std::vector<std::string> expected = expectations(file);
    CHECK(!expected.empty());
    std::string message;
    try {
      load_and_validate(file);
    } catch (const InputError& error) {
      message = error.what();
    }
    INFO("message:\n" << message);
    for (const std::string& line : expected) {
      INFO("expected: " << line);
      // At the start of a line of the message.
      CHECK(("\n" + message).find("\n" + line) != std::string::npos);
    }
    // And nothing else: one line for each problem.
    const auto lines = std::count(message.begin(), message.end(), '\n') + 1;
    CHECK(lines == static_cast<long>(expected.size()));
  }
}

TEST_CASE("the file that the broken ones extend is valid") {
  CHECK_NOTHROW(load_and_validate(kBad / "../good/base.textproto"));
}

}  // namespace
}  // namespace fedclock::scenario
