// sim/scenario/REFERENCE.md is what the comments of the schema say, and lacks nothing that a reader
// of a scenario needs.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

const std::string kKept = FEDCLOCK_SOURCE_DIR
    "/"
    "sim/scenario/REFERENCE.md";
const std::string kGenerate = FEDCLOCK_REFERENCE " " FEDCLOCK_SCHEMA;

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// A row of a table of fields: its cells, and the message that it is of.
struct Row {
  std::string message, field, type, otherwise, text;
};

std::vector<Row> rows_of(const std::string& reference) {
  const std::regex heading("##+ (.*)");
  const std::regex row(R"(\| (.*?) \| (.*?) \| (.*?) \| (.*?) \|)");
  std::vector<Row> rows;
  std::string message;
  for (const std::string& line : lines_of(reference)) {
    std::smatch found;
    if (std::regex_match(line, found, heading)) message = found[1];
    if (!std::regex_match(line, found, row) || found[1] == "field") continue;
    rows.push_back({message, found[1], found[2], found[3], found[4]});
  }
  return rows;
}

// What the end of a name promises and the comment has to say; the longer ending first.
const std::vector<std::pair<std::regex, std::regex>> kUnits = {
    {std::regex("_mbit_s`"), std::regex("Mbit/s")},
    {std::regex("_gb_s`"), std::regex("GB/s")},
    {std::regex("_gb`"), std::regex("GB")},
    {std::regex("_tflops`"), std::regex("TFLOP/s")},
    {std::regex("_w`"), std::regex(", W")},
    {std::regex("_h`"), std::regex("[Hh]our")},
    {std::regex("_bytes(_|`)"), std::regex("[Bb]ytes")},
    {std::regex("_s`"), std::regex("[Ss]econd")}};

bool says_unit(const Row& row) {
  for (const auto& [ending, unit] : kUnits) {
    if (std::regex_search(row.field, ending)) return std::regex_search(row.text, unit);
  }
  return true;
}

// In the words of the schema; "as in" says where the range stands, "0 means" where it begins.
bool says_range(const Row& row) {
  static const std::regex kRange(
      "Range|[Aa]bove|[Aa]t least|from [\\d`]|\\d to |[Mm]ust be|multiple of|divisor of|[Aa]s in|0 "
      "means");
  const bool is_number =
      row.type.find("number") != std::string::npos || row.type.find("integer") != std::string::npos;
  const bool is_seed = row.field.find("seed") != std::string::npos;  // any is taken
  return !is_number || is_seed || std::regex_search(row.text, kRange);
}

TEST_CASE("the reference of scenarios is made from the schema as it is") {
  const Workplace here;
  const std::string made = (here / "made.md").string();
  REQUIRE(std::system((kGenerate + " >" + made).c_str()) == 0);
  const std::vector<std::string> now = lines_of(read_file(made));
  const std::vector<std::string> kept = lines_of(read_file(kKept));
  INFO("to write it anew: " + kGenerate + " > " + kKept);
  for (std::size_t i = 0; i < std::min(now.size(), kept.size()); ++i) {
    if (now[i] == kept[i]) continue;
    INFO("line " << i + 1);
    REQUIRE(kept[i] == now[i]);  // the first that differs says enough
  }
  CHECK(kept.size() == now.size());
}

TEST_CASE("every field of a scenario says what it is, its unit, its range and its default") {
  const std::vector<Row> rows = rows_of(read_file(kKept));
  CHECK(rows.size() > 300);
  for (const Row& row : rows) {
    CAPTURE(row.message, row.field);
    const bool is_group = row.field == "*one of*";
    const bool is_choice = row.field.starts_with("&emsp;");  // the group has the default
    if (!is_group) CHECK_FALSE(row.text.empty());
    if (!is_choice) CHECK_FALSE(row.otherwise.empty());
    CHECK(says_unit(row));
    CHECK(says_range(row));
  }
}

TEST_CASE("the links of the reference lead somewhere") {
  const std::string reference = read_file(kKept);
  std::set<std::string> anchors;
  for (const std::string& line : lines_of(reference)) {
    if (!line.starts_with("## ") && !line.starts_with("### ")) continue;
    std::string anchor = "#";
    for (const char c : line.substr(line.find(' ') + 1)) {
      if (c != '.') anchor += static_cast<char>(std::tolower(c));
    }
    CAPTURE(anchor);
    CHECK(anchors.insert(anchor).second);  // GitHub would number a second one
  }
  const std::filesystem::path folder = std::filesystem::path(kKept).parent_path();
  const std::regex link(R"(\]\(([^)]*)\))");
  for (std::sregex_iterator i(reference.begin(), reference.end(), link), end; i != end; ++i) {
    const std::string target = (*i)[1];
    CAPTURE(target);
    if (target.starts_with("https://arxiv.org/")) continue;
    CHECK((target.starts_with('#') ? anchors.contains(target)
                                   : std::filesystem::exists(folder / target)));
  }
}

}  // namespace
}  // namespace fedclock::test
