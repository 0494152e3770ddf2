// Worlds that come from tables and files: what is drawn from them, who follows which trace, what is
// refused.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <set>

#include "models/common/error.h"
#include "sim/experiment/tables.h"
#include "tests/e2e/program.h"
#include "tests/sim/federation/timed.h"

namespace fedclock::experiment {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

// The tiny scenario with tables in a folder of its own.
class Tabled {
 public:
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  Experiment make(const std::vector<std::string>& overrides) const {
    Options options = test::timing_only();
    options.data_folder = folder_ / "";
    return Experiment(
        scenario::load_and_validate(test::tiny_scenario(), {.overrides = overrides, .library = {}}),
        options);
  }
  std::string error(const std::vector<std::string>& overrides) const {
    try {
      make(overrides);
    } catch (const InputError& problem) {
      return problem.what();
    }
    return "";
  }
  fs::path path(const std::string& name) const { return folder_ / name; }

 private:
  test::Workplace folder_;
};

TEST_CASE("speeds drawn from a column, as factors around its median") {
  Tabled world;
  world.write("phones.csv", "model,score,kind\na,100,x\nb,200,x\nc,800,y\nd,50,z\n");
  const Experiment drawn =
      world.make({"platform.devices[0].speed_factor={file:{file:\"phones.csv\" column:\"score\" "
                  "over_median:true}}"});
  const cost::Machine plain = world.make({}).clients()[0].machines->front();
  std::set<double> factors;
  for (int client = 0; client < 4; ++client) {
    const cost::Machine& machine = drawn.clients()[client].machines->front();
    factors.insert(machine.peak_flops / plain.peak_flops);
    CHECK(machine.memory_bandwidth_bytes_s / plain.memory_bandwidth_bytes_s ==
          Approx(machine.peak_flops / plain.peak_flops));
  }
  CHECK(factors.size() > 1);
  // The median of 50, 100, 200 and 800 is 150.
  for (const double factor : factors) {
    const bool known = std::abs(factor - 1.0 / 3) < 1e-9 || std::abs(factor - 2.0 / 3) < 1e-9 ||
                       std::abs(factor - 4.0 / 3) < 1e-9 || std::abs(factor - 16.0 / 3) < 1e-9;
    CHECK(known);
  }
  // The large boards have none; one row alone gives its value.
  CHECK(drawn.clients()[5].machines->front().peak_flops ==
        world.make({}).clients()[5].machines->front().peak_flops);
  const Experiment one =
      world.make({"platform.devices[0].speed_factor={file:{file:\"phones.csv\" column:\"score\" "
                  "where_column:\"kind\" where_value:\"z\" scale:0.01}}"});
  CHECK(one.clients()[0].machines->front().peak_flops == Approx(0.5 * plain.peak_flops));
}

TEST_CASE("clients follow the intervals of the file's clients, in the order of their ids") {
  Tabled world;
  world.write("days.csv", "client_id,start_s,end_s\n10,5,6\n9,0,2\n9,3,4\n");
  const Experiment made = world.make(
      {"platform.devices[0].availability={trace:{file:\"days.csv\" period_s:10 start_s:1}}"});
  const auto on = [&](size_t client, double from_s, double to_s) {
    return platform::on_seconds(made.platform().devices[client].presence.get(), from_s, to_s);
  };
  // Id 9 for clients 0 and 2, id 10 for 1 and 3; the run starts at second 1.
  CHECK(on(0, 0, 10) == Approx(3));
  CHECK(on(0, 0, 1) == Approx(1));
  CHECK(on(1, 4, 5) == Approx(1));
  CHECK(on(2, 2, 3) == Approx(1));
  CHECK(on(3, 0, 10) == Approx(1));
  CHECK(on(4, 0, 10) == 10);
}

TEST_CASE("links follow traces, from a place of their own, and never below the least rate") {
  Tabled world;
  world.write("rates.csv", "trace_id,t_s,kbps\nb,7,8000\nb,8,0\nb,10,16000\n");
  const Experiment made = world.make(
      {"platform.devices[0].network={latency_s:0 trace:{file:\"rates.csv\" up_per_down:0.5}}"});
  const auto& bandwidth = made.platform().devices[0].bandwidth;
  std::set<double> seen;
  // Times 0, 1, 3; the last rate holds for the mean step, 1.5 s: a period of 4.5 s.
  for (double date_s = 0; date_s < 4.5;) {
    const platform::Rates rates = bandwidth->at(date_s);
    CHECK(rates.up_bytes_s == Approx(std::max(1.0, 0.5 * rates.down_bytes_s)));
    CHECK(bandwidth->at(date_s + 4.5).down_bytes_s == rates.down_bytes_s);
    seen.insert(rates.down_bytes_s);
    date_s = rates.until_s;
  }
  CHECK(seen == std::set<double>{125, 1e6, 2e6});  // 0.001, 8 and 16 Mbit/s
}

TEST_CASE("gateways are filled in client order, across groups") {
  Tabled world;
  const std::string gateway =
      "{name:\"edge\" devices_each:4 up_mbit_s:5 down_mbit_s:5 latency_s:0}";
  const Experiment made = world.make({"platform.devices[0].network.gateway=" + gateway,
                                      "platform.devices[1].network.gateway=" + gateway});
  REQUIRE(made.platform().gateways.size() == 2);
  CHECK(made.platform().gateways[1].name == "edge-1");
  for (size_t client = 0; client < 6; ++client) {
    CHECK(made.platform().devices[client].gateway == client / 4);
  }
}

TEST_CASE("tables that do not hold what is asked of them, with file, line and remedy") {
  Tabled world;
  world.write("bad.csv", "client_id,start_s,end_s\n1,0,5\n1,4,8\n");
  world.write("empty.csv", "client_id,start_s,end_s\n");
  world.write("word.csv", "x,score\n1,fast\n");
  world.write("back.csv", "trace_id,t_s,kbps\n0,3,5\n0,2,5\n");
  const auto availability = [](const std::string& file) {
    return "platform.devices[0].availability={trace:{file:\"" + file + "\"}}";
  };
  const auto factor = [](const std::string& rest) {
    return "platform.devices[0].speed_factor={file:{file:\"word.csv\" column:" + rest + "}}";
  };
  CHECK_THAT(world.error({availability("bad.csv")}),
             Contains("platform.devices[0]") && Contains("bad.csv:3:") && Contains("not overlap"));
  CHECK_THAT(world.error({availability("empty.csv")}), Contains("no row follows the header"));
  CHECK_THAT(world.error({availability("none.csv")}), Contains("none.csv"));
  CHECK_THAT(
      world.error({"platform.devices[0].availability={trace:{file:\"bad2.csv\" period_s:1}}"}),
      Contains("bad2.csv"));
  CHECK_THAT(world.error({factor("\"score\"")}),
             Contains("word.csv:2: field 'score': 'fast'") && Contains("above 0"));
  world.write("scores.csv", "x,score\n1,76206\n");
  CHECK_THAT(world.error({"platform.devices[0].speed_factor={file:{file:\"scores.csv\" "
                          "column:\"score\"}}"}),
             Contains("platform.devices[0].speed_factor") && Contains("76206 was drawn") &&
                 Contains("over_median"));
  CHECK_THAT(world.error({factor("\"speed\"")}), Contains("the header has 'x', 'score'"));
  CHECK_THAT(world.error({factor("\"score\" where_column:\"x\" where_value:\"7\"")}),
             Contains("no row has '7' in 'x'"));
  CHECK_THAT(world.error({"platform.devices[0].network={latency_s:0 trace:{file:\"back.csv\"}}"}),
             Contains("back.csv:3:") && Contains("ascend"));
  world.write("good.csv", "client_id,start_s,end_s\n1,0,5\n");
  CHECK_THAT(
      world.error({"platform.devices[0].availability={trace:{file:\"good.csv\" period_s:4}}"}),
      Contains("goes on until 5 s"));
}

TEST_CASE("a charging window holds its hours, whatever the hour at which the run starts") {
  Tabled world;
  const auto on = [&](const std::string& window, double from_h, double to_h) {
    const Experiment made =
        world.make({"platform.devices[0].availability={window:{" + window + "}}"});
    return platform::on_seconds(made.platform().devices[0].presence.get(), from_h * 3600,
                                to_h * 3600) /
           3600;
  };
  // From 22 to 6 h; the run starts at 20 h, so two hours later.
  CHECK(on("start_h:22 hours:8 run_starts_h:20", 0, 24) == Approx(8));
  CHECK(on("start_h:22 hours:8 run_starts_h:20", 0, 2) == Approx(0).margin(1e-9));
  CHECK(on("start_h:22 hours:8 run_starts_h:20", 2, 10) == Approx(8));
  CHECK(on("start_h:22 hours:8 run_starts_h:23", 0, 7) == Approx(7));
  CHECK(on("start_h:1 hours:24", 0, 24) == 24);
  CHECK(on("start_h:5 hours:3 spread_h:2", 3, 10) == Approx(3));
}

TEST_CASE("real tables: availability, phones' scores, traces") {
  const char* folder = std::getenv("FEDCLOCK_DATA");
  if (folder == nullptr || !fs::exists(fs::path(folder) / "device_availability_48h.csv")) {
    WARN("skipped: FEDCLOCK_DATA does not name a folder with device_availability_48h.csv");
    return;
  }
  Tables tables;
  const auto days = tables.availability(fs::path(folder) / "device_availability_6d.csv");
  CHECK(days->clients.size() == 297);  // three of the 300 are never there
  CHECK(days->last_end_s <= 536263);
  // device_clients.csv: client 1 is there for 137,959 s of the 6 days.
  double on_s = 0;
  for (const platform::Interval& interval : *days->clients[0]) on_s += interval.duration_s();
  CHECK(on_s == Approx(137959).margin(60));
  v1::BandwidthTrace spec;
  const auto rates = tables.rates(fs::path(folder) / "network_bandwidth.csv", spec);
  CHECK(rates->size() == 115);
  CHECK(rates->at(0)->down_bytes_s.front() == Approx(656 * 125));
  v1::FileDistribution scores;
  scores.set_column("ai_score");
  scores.set_over_median(true);
  CHECK(tables.column(fs::path(folder) / "device_ai_benchmark.csv", scores)->size() == 333);
}

}  // namespace
}  // namespace fedclock::experiment
