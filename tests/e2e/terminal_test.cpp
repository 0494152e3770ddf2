// What a person at a terminal sees, and what a program sees in the place of it.
#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sim/results/files.h"
#include "tests/e2e/program.h"
#include "tools/fedclock/terminal.h"

namespace fedclock::test {
namespace {

using Catch::Contains;

// What a run writes to a terminal, which `script` of Debian's bsdutils makes.
std::string on_terminal(const Workplace& here, const std::string& environment,
                        const std::string& redirection = "") {
  const Ran ran =
      here.shell(environment + " script -qec \"" + FEDCLOCK_PROGRAM + " run " + tiny_scenario() +
                 " --out a --overwrite" + redirection + "\" /dev/null < /dev/null");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  return ran.out;
}

TEST_CASE("progress: one line that moves, accuracies as bars; colours on a terminal alone") {
  const Workplace here;
  const std::string colours = "unset NO_COLOR; export TERM=xterm;";
  const std::string shown = on_terminal(here, colours);
  CHECK_THAT(shown, Contains("\r\033[K"));
  CHECK_THAT(shown, Contains("round 3/3  simulated "));
  CHECK_THAT(shown, Contains("accuracy \033[1m0."));
  // Rounds 0, 2 and 3 are measured, and nothing is learnt.
  CHECK_THAT(shown.substr(shown.find("round 3/3")), Contains(" ▁▁▁ "));

  const std::string plain = on_terminal(here, "export NO_COLOR=1 TERM=xterm;");
  CHECK_THAT(plain, Contains("\r\033[K") && Contains("▁▁▁") && !Contains("\033[1m"));
  // An empty NO_COLOR is none: no-color.org.
  CHECK_THAT(on_terminal(here, "export NO_COLOR= TERM=xterm;"), Contains("\033[1m"));
  CHECK_THAT(on_terminal(here, "unset NO_COLOR; export TERM=dumb;"),
             Contains("round 3/3") && !Contains("\033") && !Contains("▁"));
  // In a file there are lines, without colours, one for each measured round.
  CHECK_THAT(on_terminal(here, colours, " 2> progress.txt"), !Contains("round 3/3"));
  const std::string kept = read_file(here / "progress.txt");
  CHECK_THAT(kept, Contains("round 2/3") && Contains("round 3/3") && !Contains("round 1/3"));
  CHECK_THAT(kept, !Contains("\033") && !Contains("\r") && !Contains("▁"));
}

TEST_CASE("sparkline: eight heights between the least and the largest of what is shown") {
  CHECK(tools::sparkline({}, 4) == "");
  CHECK(tools::sparkline({0.3}, 4) == "▁");
  CHECK(tools::sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8) == "▁▂▃▄▅▆▇█");
  CHECK(tools::sparkline({100, 0.1, 0.2, 0.1}, 3) == "▁█▁");  // the first is not shown
  CHECK(tools::sparkline({0, std::nan(""), 1}, 3) == "▁ █");
}

TEST_CASE("what cannot be written to standard output is not done") {
  const Workplace here;
  for (const char* command : {"version", "help run", "manual", "completion bash"}) {
    INFO(command);
    const Ran ran = here.shell(std::string(FEDCLOCK_PROGRAM) + " " + command + " > /dev/full");
    CHECK(ran.code == 1);
    CHECK_THAT(ran.err, Contains("standard output cannot be written") || Contains("failed"));
  }
}

TEST_CASE("help: of a command, and of a part of one") {
  const Workplace here;
  CHECK_THAT(here.run("help store prune").out, Contains("--limit"));
  CHECK_THAT(here.run("help store").out, Contains("--limit"));
  const Ran unknown = here.run("help store prone");
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("prone"));
}

TEST_CASE("messages go to standard error, data to standard output") {
  const Workplace here;
  const Ran loud = here.run("run " + tiny_scenario() + " --out a");
  CHECK_THAT(loud.err, Contains("round 3/3"));
  CHECK_THAT(loud.out, !Contains("round 3/3") && Contains("run digest"));
  const Ran quiet = here.run("run " + tiny_scenario() + " --out a --overwrite --quiet");
  CHECK(quiet.err.empty());
  CHECK_THAT(quiet.out, Contains("run digest"));
}

TEST_CASE("run --json: a line for each round and for the end, on standard output") {
  const Workplace here;
  const Ran ran = here.run("run " + tiny_scenario() + " --json --out a");
  REQUIRE(ran.code == 0);
  std::istringstream lines(ran.out);
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(nlohmann::json::parse(line));
  REQUIRE(objects.size() == 5);  // rounds 0 to 3, and the end
  CHECK(objects[1].at("type") == "round");
  CHECK(objects[1].at("end_s") == results::read_result(here / "a").rounds(1).end_s());
  CHECK(objects[4].at("type") == "done");
  CHECK(objects[4].at("run_digest") == results::run_digest(results::read_result(here / "a")).hex());
}

TEST_CASE("the manual and the completion know every command and option") {
  const Workplace here;
  const Ran manual = here.run("manual"), completion = here.run("completion bash");
  REQUIRE((manual.code == 0 && completion.code == 0));
  for (const char* command : {"run", "check", "report", "export", "suite", "store", "why"}) {
    CHECK_THAT(manual.out, Contains(".SS fedclock " + std::string(command)));
    CHECK_THAT(completion.out, Contains("    '" + std::string(command) + " '*) words="));
  }
  CHECK_THAT(manual.out, Contains("\\-\\-timing\\-only"));
  CHECK_THAT(manual.out, Contains(".SS fedclock store prune"));
  CHECK_THAT(completion.out, Contains("--remove"));
  CHECK_THAT(completion.out, Contains("--timing-only"));
  // Options that are not for people are in neither.
  CHECK_THAT(manual.out, !Contains("events\\fR"));
  CHECK_THAT(completion.out, !Contains("--events"));
  CHECK_THAT(manual.out, Contains(".SH ENVIRONMENT") && Contains("FEDCLOCK_CACHE"));
  // Defaults and choices are told.
  CHECK_THAT(manual.out, Contains("\\-\\-format\\fR \\fIcsv|jsonl|"));
  CHECK_THAT(manual.out, Contains("[default: report.html]"));
}

TEST_CASE("the completion completes commands, options and their values") {
  const Workplace here;
  REQUIRE(here.shell("touch report.html").code == 0);
  const auto completed = [&](const std::string& words, int at) {
    const Ran ran = here.shell(
        std::string("source <(") + FEDCLOCK_PROGRAM + " completion bash); COMP_WORDS=(" + words +
        "); COMP_CWORD=" + std::to_string(at) + "; _fedclock; echo \"${COMPREPLY[@]}\"");
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    return ran.out;
  };
  CHECK(completed("fedclock ch", 1) == "check\n");
  CHECK(completed("fedclock check --up", 2) == "--update\n");
  CHECK(completed("fedclock export --format t", 3) == "tensorboard trace\n");
  CHECK(completed("fedclock export --out rep", 3) == "report.html\n");
  CHECK(completed("fedclock run a --device ref", 4) == "reference\n");
  CHECK(completed("fedclock help sw", 2) == "sweep\n");
  CHECK(completed("fedclock completion b", 2) == "bash\n");
  CHECK(completed("fedclock store ver", 2) == "verify\n");
  CHECK(completed("fedclock store prune --li", 3) == "--limit\n");
  CHECK(completed("fedclock store prune --rem", 3) == "\n");  // it is verify's
}

}  // namespace
}  // namespace fedclock::test
