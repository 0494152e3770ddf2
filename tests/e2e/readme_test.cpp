// Every command of README.md, in the order in which it stands there, in one folder: it cannot rot.
#include <catch2/catch.hpp>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

const std::string kSource = FEDCLOCK_SOURCE_DIR;

// Lines of all blocks that are for a shell; those that end with \ go on in the next one.
std::vector<std::string> commands_in(const std::string& markdown) {
  std::vector<std::string> commands;
  std::istringstream in(markdown);
  bool shell = false, goes_on = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      shell = !shell && line == "```sh";
      continue;
    }
    if (!shell || line.empty()) continue;
    const bool more = line.ends_with("\\");
    if (more) line.pop_back();
    if (goes_on) {
      commands.back() += line;
    } else {
      commands.push_back(line);
    }
    goes_on = more;
  }
  return commands;
}

bool takes(const std::string& command, const std::string& part) {
  return command.find(part) != std::string::npos;
}

void replace(std::string& text, const std::string& what, const std::string& with) {
  const size_t place = text.find(what);
  if (place != std::string::npos) text.replace(place, what.size(), with);
}

// What a test runs of it; empty: nothing. tools/run builds, which is done, and runs. What takes
// long (a base of 13 minutes, a suite) is checked without learning anything.
std::string runnable(std::string command) {
  if (command == "tools/test") return "";
  replace(command, "tools/run ", "build/release/fedclock run ");
  const char* data = std::getenv("FEDCLOCK_DATA");
  if (takes(command, "FEDCLOCK_DATA=DIR")) {
    if (data == nullptr) return "";
    replace(command, "FEDCLOCK_DATA=DIR", "FEDCLOCK_DATA='" + std::string(data) + "'");
    replace(command, "fedclock run scenarios/real", "fedclock validate scenarios/real");
    if (takes(command, "fedclock suite")) command += " --list";
  }
  return command;
}

// A folder in which README's paths are there.
void furnish(const Workplace& here) {
  namespace fs = std::filesystem;
  fs::create_directory_symlink(kSource + "/scenarios", here / "scenarios");
  fs::create_directories(here / "build/release");
  fs::create_symlink(FEDCLOCK_PROGRAM, here / "build/release/fedclock");
}

TEST_CASE("readme: its commands do what they say") {
  const std::vector<std::string> commands = commands_in(read_file(kSource + "/README.md"));
  REQUIRE(commands.size() >= 10);
  for (const char* needed : {"run scenarios/quickstart.textproto", "what-if/slow-uplink",
                             "method=fedit,", "report", "check results/quickstart"}) {
    INFO(needed);
    CHECK(std::ranges::any_of(commands, [&](const auto& one) { return takes(one, needed); }));
  }
  if (std::getenv("FEDCLOCK_DATA") == nullptr) {
    WARN("skipped: commands on data files: FEDCLOCK_DATA is not set");
  }
  const Workplace here;
  furnish(here);
  for (const std::string& command : commands) {
    const std::string what = runnable(command);
    if (what.empty()) continue;
    INFO(what);
    const Ran ran = here.shell(what);
    INFO(ran.err);
    REQUIRE(ran.code == 0);
  }
  // What it says of them.
  CHECK(
      std::filesystem::exists(here / "results/quickstart/final_adapter/adapter_model.safetensors"));
  CHECK(read_file(here / "report.html").size() > 500'000);
  CHECK(here.shell("build/release/fedclock check results/quickstart --baseline "
                   "quickstart.baseline.textproto")
            .out == ".: as kept\n");
}

}  // namespace
}  // namespace fedclock::test
