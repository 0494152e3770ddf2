// What a finished run becomes for others: exports, the report page.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>
#include <sstream>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

using Catch::Contains;

const Workplace& tiny_run() {
  static const Workplace here;
  static const Ran ran = here.run("run " + tiny_scenario() + " --out a --quiet");
  REQUIRE(ran.code == 0);
  return here;
}

TEST_CASE("export: every format, of a run") {
  const Workplace& here = tiny_run();
  const auto exported = [&](const std::string& format) {
    const Ran ran = here.run("export a --format " + format);
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    return here / ("a/export/" + format);
  };
  CHECK_THAT(read_file(exported("csv") / "rounds.csv"), Contains("simulated_s [s],accuracy [1]"));
  CHECK_THAT(read_file(exported("csv") / "events.csv"), Contains("bytes [B]"));
  const auto trace = nlohmann::json::parse(read_file(exported("trace") / "trace.json"));
  CHECK(trace.at("traceEvents").size() > 20);
  std::istringstream lines(read_file(exported("jsonl") / "events.jsonl"));
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    CHECK(nlohmann::json::parse(line).contains("type"));
  }
  CHECK(count > 20);
  CHECK(read_file(exported("tensorboard") / "events.out.tfevents.fedclock").size() > 200);
  const std::string paje = read_file(exported("paje") / "run.paje");
  CHECK_THAT(paje, Contains("\"client 0\"") && Contains("train"));
  CHECK(paje == read_file(exported("paje") / "run.paje"));
  const auto adapter = exported("peft");
  CHECK(read_file(adapter / "adapter_model.safetensors") ==
        read_file(here / "a/final_adapter/adapter_model.safetensors"));
  CHECK(std::filesystem::exists(adapter / "adapter_config.json"));
  const Ran elsewhere = here.run("export a --format jsonl --out b/c");
  CHECK(elsewhere.code == 0);
  CHECK(std::filesystem::exists(here / "b/c/events.jsonl"));
}

TEST_CASE("export: what cannot be exported is refused") {
  const Workplace& here = tiny_run();
  CHECK(here.run("export nowhere --format csv").code == 2);
  CHECK(here.run("export a --format xml").code == 2);
  const std::string rounds = read_file(here / "a/rounds.csv");
  const Ran onto = here.run("export a --format csv --out a");
  CHECK(onto.code == 2);
  CHECK_THAT(onto.err, Contains("name another folder with --out"));
  CHECK(read_file(here / "a/rounds.csv") == rounds);
  CHECK(here.run("export a --format csv --out /proc/nowhere").code == 2);
  REQUIRE(here.run("run " + tiny_scenario() + " --timing-only --out clock --quiet").code == 0);
  const Ran none = here.run("export clock --format peft");
  CHECK(none.code == 2);
  CHECK_THAT(none.err, Contains("there is no adapter"));
}

// What a page draws.
nlohmann::json data_of(const std::string& page) {
  const std::string begin = "<script>window.FEDCLOCK = ";
  const size_t at = page.find(begin) + begin.size();
  return nlohmann::json::parse(page.substr(at, page.find(";</script>", at) - at));
}

// The labels of a page's series.
std::vector<std::string> series_of(const std::filesystem::path& page) {
  std::vector<std::string> labels;
  const nlohmann::json data = data_of(read_file(page));
  for (const auto& one : data.at("series")) labels.push_back(one.at("label"));
  return labels;
}

TEST_CASE("report: a page with its data, and nothing from elsewhere") {
  const Workplace& here = tiny_run();
  REQUIRE(here.run("run " + tiny_scenario() + " --out other/seed-4 --set seed=4 --quiet").code ==
          0);
  const Ran ran = here.run("report a other -o page.html --target 0.3");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const std::string page = read_file(here / "page.html");
  CHECK_THAT(page, !Contains("<!--fedclock:"));
  for (const char* elsewhere : {"src=\"http", "href=\"http", "@import", "url(http"}) {
    CHECK_THAT(page, !Contains(elsewhere));
  }
  const nlohmann::json data = data_of(page);
  REQUIRE(data.at("runs").size() == 2);
  const auto& run = data.at("runs").at(0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(run.at("digest") == results::run_digest(result).hex());
  CHECK(run.at("rounds").at("round").size() == static_cast<size_t>(result.rounds_size()));
  CHECK(run.at("events").at("startS").size() ==
        static_cast<size_t>(result.events().start_s_size()));
  // Two seeds of one scenario are one series.
  CHECK(data.at("series").size() == 1);
  CHECK(data.at("series").at(0).at("runs") == nlohmann::json({0, 1}));
  CHECK(data.at("target").at("accuracy") == 0.3);
  CHECK(here.run("report nowhere").code == 2);
  CHECK(here.run("report a --target nan").code == 2);
  CHECK(here.run("compare a --target nan").code == 2);
}

TEST_CASE("report: seeds of a series differ, and learn") {
  const Workplace& here = tiny_run();
  // The same seed twice, and a run for the clock alone, are no seeds more.
  REQUIRE(here.run("run " + tiny_scenario() + " --out same --quiet").code == 0);
  REQUIRE(here.run("run " + tiny_scenario() + " --timing-only --out timed --quiet").code == 0);
  REQUIRE(here.run("report a same timed -o twice.html").code == 0);
  CHECK(series_of(here / "twice.html") == std::vector<std::string>{"a", "same", "timed"});
  CHECK_THAT(read_file(here / "twice.html"), Contains("that all runs that learn reach"));
  // A sweep's points are called by what varies, less the seed, and stand in its order.
  REQUIRE(here.run("sweep " + tiny_scenario() +
                   " --seeds 3,4 --vary stop.rounds=2,1 --out swept --quiet")
              .code == 0);
  REQUIRE(here.run("report swept -o swept.html").code == 0);
  CHECK(series_of(here / "swept.html") == std::vector<std::string>{"rounds=2", "rounds=1"});
  // Its folder stands for its points elsewhere too.
  const Ran compared = here.run("compare swept");
  CHECK(compared.code == 0);
  CHECK_THAT(compared.out, Contains("rounds=1,seed=3") && Contains("rounds=2,seed=4"));
}

}  // namespace
}  // namespace fedclock::test
