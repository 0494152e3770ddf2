// Every command of README.md and of the papers' page, in the order in which it stands there, in one
// folder: it cannot rot.
#include <catch2/catch.hpp>

#include <algorithm>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>
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
    if (takes(command, "fedclock suite") && !takes(command, "--list")) command += " --list";
  }
  return command;
}

// The commands of the lines that README shows for a workflow: those that run fedclock.
std::vector<std::string> workflow_in(const std::string& markdown) {
  std::vector<std::string> commands;
  std::istringstream in(markdown);
  const std::string run = "- run: ";
  for (std::string line; std::getline(in, line);) {
    const size_t at = line.find(run);
    if (at == std::string::npos || !takes(line, "run: fedclock/build/release/fedclock ")) continue;
    commands.push_back(line.substr(at + run.size()));
  }
  return commands;
}

// The first cells of the table of commands, without their marks, each with its whole line.
std::vector<std::pair<std::string, std::string>> table_in(const std::string& markdown) {
  std::vector<std::pair<std::string, std::string>> rows;
  std::istringstream in(markdown);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("| `fedclock ")) continue;
    std::string cell = line.substr(2, line.find(" |") - 2);
    std::erase(cell, '`');
    rows.emplace_back(cell, line);
  }
  return rows;
}

// "--set", "--out" of "`--out DIR`, `--set PATH=VALUE`".
std::vector<std::string> options_in(const std::string& text) {
  std::vector<std::string> options;
  for (size_t at = text.find("--"); at != std::string::npos; at = text.find("--", at + 2)) {
    const size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at);
    options.push_back(text.substr(at, end - at));
  }
  return options;
}

// A folder in which README's paths are there.
void furnish(const Workplace& here) {
  namespace fs = std::filesystem;
  fs::create_directory_symlink(kSource + "/scenarios", here / "scenarios");
  fs::create_directories(here / "build/release");
  fs::create_symlink(FEDCLOCK_PROGRAM, here / "build/release/fedclock");
}

TEST_CASE("readme: its commands do what they say") {
  const std::string papers = kSource +
                             "/"
                             "scenarios/papers/README.md";
  std::vector<std::string> commands = commands_in(read_file(kSource + "/README.md"));
  std::ranges::copy(commands_in(read_file(papers)), std::back_inserter(commands));
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

  // The commands of its table that are not run above, on what was run above; but for those that
  // measure this machine or take a file of FedScale's, which have tests of their own.
  for (const char* command :
       {"validate scenarios/quickstart.textproto --show-partition",
        "cost scenarios/quickstart.textproto", "why results/slow-uplink",
        "why results/quickstart --round 3", "store stats", "store verify",
        "store prune --limit 1GB", "version", "help", "help run", "manual", "completion bash"}) {
    INFO(command);
    CHECK(here.shell(std::string("build/release/fedclock ") + command).code == 0);
  }
  for (const char* format : {"csv", "jsonl", "tensorboard", "trace", "paje", "peft"}) {
    INFO(format);
    CHECK(here.shell(std::string("build/release/fedclock export results/quickstart --format ") +
                     format)
              .code == 0);
  }

  // The workflow, on a scenario of the user's own, whose baseline is there.
  REQUIRE(here.shell("mkdir -p fedclock && ln -s ../build fedclock/build").code == 0);
  std::ofstream(here / "my.textproto") << "extends: \"scenarios/quickstart.textproto\"\n";
  const std::vector<std::string> workflow = workflow_in(read_file(kSource + "/README.md"));
  REQUIRE(workflow.size() == 2);
  REQUIRE(here.shell(workflow[0]).code == 0);
  REQUIRE(here.shell("build/release/fedclock check results/my --baseline my.baseline.textproto "
                     "--update")
              .code == 0);
  CHECK(here.shell(workflow[1]).code == 0);
  CHECK(read_file(here / "check.xml").starts_with("<?xml"));
  REQUIRE(here.shell(workflow[0] + " --overwrite --set seed=2").code == 0);
  CHECK(here.shell(workflow[1]).code == 1);
}

TEST_CASE("readme: its table has every command, and no option that is not there") {
  const Workplace here;
  const auto rows = table_in(read_file(kSource + "/README.md"));
  for (const auto& [command, line] : rows) {
    std::istringstream words(command);
    std::string program, name;
    words >> program >> name;
    if (name.ends_with(",")) name.pop_back();
    INFO(line);
    const Ran help = here.run("help " + name);
    CHECK(help.code == 0);
    for (const std::string& option : options_in(line)) {
      INFO(option);
      CHECK_THAT(help.out, Catch::Contains(option));
    }
  }
  // "  fedclock run SCENARIO" stands in the manual as ".SS fedclock run".
  std::istringstream manual(here.run("manual").out);
  size_t commands = 0;
  const std::string head = ".SS fedclock ";
  for (std::string line; std::getline(manual, line);) {
    if (!line.starts_with(head)) continue;
    std::string name = line.substr(head.size());
    std::erase(name, '\\');
    if (takes(name, " ")) continue;  // a part of a command
    ++commands;
    INFO(name);
    CHECK((name == "manual" || std::ranges::any_of(rows, [&](const auto& row) {
             return row.first.starts_with("fedclock " + name);
           })));
  }
  CHECK(commands >= 15);
}

}  // namespace
}  // namespace fedclock::test
