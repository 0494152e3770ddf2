// Traces, JSON Lines and tables of results written by hand, read back.
#include "sim/results/exports.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>

#include "models/common/error.h"
#include "sim/results/files.h"
#include "sim/results/totals.h"
#include "tests/sim/results/export_examples.h"

namespace fedclock::results {
namespace {

using Catch::Contains;
using nlohmann::json;
using test::all_examples;
using test::asynchronous;
using test::hierarchical;
using test::synchronous;
using test::with_breaks;

// A slice of a trace, in nanoseconds.
struct Slice {
  std::string category, name, thread;
  int64_t start = 0, end = 0;
  json args;
};

int64_t in_ns(const json& us) { return std::llround(us.get<double>() * 1000); }

// "client 3", "server": without the number of a thread beside it.
std::string owner_of(const std::string& thread) { return thread.substr(0, thread.find(" (")); }

// In order of the file, after a look at what viewers need: dates that never go back, and threads
// whose slices come one after another or one in another.
std::vector<Slice> slices(const json& trace) {
  std::map<json, std::string> threads;
  std::map<json, int64_t> part_start, part_end, free;  // of each thread
  std::vector<Slice> all;
  int64_t last = 0;
  for (const json& one : trace.at("traceEvents")) {
    const json& tid = one.at("tid");
    if (one.at("name") == "thread_name") threads[tid] = one.at("args").at("name");
    if (one.at("ph") == "M") continue;
    const int64_t start = in_ns(one.at("ts"));
    CHECK(start >= last);
    last = start;
    if (one.at("ph") != "X") continue;
    const int64_t end = start + in_ns(one.at("dur"));
    const std::string category = one.at("cat");
    all.push_back({category, one.at("name"), threads.at(tid), start, end, one.at("args")});
    CHECK(start >= free[tid]);
    free[tid] = category == "part" ? start : end;
    if (category == "phase") {
      CHECK(start >= part_start.at(tid));
      CHECK(end <= part_end.at(tid));
    } else {
      CHECK(start >= part_end[tid]);
      part_start[tid] = start;
      part_end[tid] = end;
    }
  }
  return all;
}

// Names of processes, of threads, in the order of the file.
std::vector<std::string> names(const json& trace, const char* kind) {
  std::vector<std::string> found;
  for (const json& one : trace.at("traceEvents")) {
    if (one.at("name") == kind) found.push_back(one.at("args").at("name"));
  }
  return found;
}

TEST_CASE("trace: every event once, each in its part") {
  for (const v1::Result& result : all_examples()) {
    std::multiset<std::string> expected, found;
    const v1::Events& events = result.events();
    for (int i = 0; i < events.client_size(); ++i) {
      const int32_t client = events.client(i);
      const std::string owner = client >= 0    ? fmt::format("client {}", client)
                                : client == -1 ? "server"
                                               : fmt::format("gateway {}", -2 - client);
      expected.insert(fmt::format("{} {} {} {} {} {} {}", owner, phase_name(events.phase(i)),
                                  std::llround(events.start_s(i) * 1e9),
                                  std::llround(events.end_s(i) * 1e9), events.round(i),
                                  events.bytes(i), end_name(events.end(i))));
    }
    int64_t round = 0;
    for (const Slice& one : slices(json::parse(chrome_trace(result)))) {
      if (one.category == "part") {
        round = one.args.at("round");
        CHECK(one.name == fmt::format("round {}", round));
        continue;
      }
      found.insert(fmt::format("{} {} {} {} {} {} {}", owner_of(one.thread), one.name, one.start,
                               one.end, one.args.at("round").get<int>(),
                               one.args.at("bytes").get<int64_t>(),
                               one.args.at("end").get<std::string>()));
    }
    CHECK(found == expected);
  }
}

// "client 0: 1 to 4" of each part, in seconds; a star where it is critical.
std::set<std::string> parts(const v1::Result& result) {
  std::set<std::string> found;
  for (const Slice& one : slices(json::parse(chrome_trace(result)))) {
    if (one.category != "part") continue;
    found.insert(fmt::format("{}: {} to {}{}", one.thread, static_cast<double>(one.start) / 1e9,
                             static_cast<double>(one.end) / 1e9,
                             one.args.at("critical").get<bool>() ? " *" : ""));
  }
  return found;
}

TEST_CASE("trace: parts of clients") {
  using Parts = std::set<std::string>;
  CHECK(parts(v1::Result()).empty());
  // Two attempts are one part, what begins after it was given up is another.
  CHECK(parts(with_breaks()) ==
        Parts{"client 0: 0 to 3", "client 0: 3 to 8 *", "client 1: 0 to 8"});
  CHECK(parts(asynchronous()) == Parts{"client 0: 0 to 1.5 *", "client 0: 2 to 3.5 *",
                                       "client 0: 4 to 5.5", "client 1: 0 to 6 *"});
  CHECK(parts(hierarchical()) == Parts{"client 0: 1 to 4 *", "client 0: 5 to 8 *",
                                       "client 1: 1 to 4", "client 1: 5 to 8", "client 2: 2 to 3",
                                       "client 2: 4 to 5"});
}

TEST_CASE("trace: names, and counters at the ends of rounds") {
  const json trace = json::parse(chrome_trace(synchronous()));
  CHECK(trace.at("otherData") == json{{"scenario", "example"},
                                      {"scenario_digest", "abc"},
                                      {"stop_reason", "2 rounds done"}});
  CHECK(names(trace, "process_name") ==
        std::vector<std::string>{"server", "a \"slow\" board, 15\\16", "fast"});
  CHECK(names(trace, "thread_name") ==
        std::vector<std::string>{"server", "client 0", "client 1", "client 2"});
  // Devices called like the server are others; the server's second merge has a thread of its own.
  const json groups = json::parse(chrome_trace(hierarchical()));
  CHECK(names(groups, "process_name") ==
        std::vector<std::string>{"server", "gateways", "server", "gateways", "c"});
  CHECK(names(groups, "thread_name") ==
        std::vector<std::string>{"server", "server (2)", "gateway 0", "gateway 1", "client 0",
                                 "client 1", "client 2"});
  std::vector<std::string> counters;
  for (const json& one : trace.at("traceEvents")) {
    if (one.at("ph") == "C") counters.push_back(one.at("ts").dump() + one.at("args").dump());
  }
  // 1/3 s is 333333.333 us; the last accuracy is no number.
  CHECK(counters == std::vector<std::string>{"0.0{\"accuracy\":0.25}",
                                             "0.0{\"bytes_down\":0,\"bytes_up\":0}",
                                             "333333.333{\"bytes_down\":260,\"bytes_up\":150}",
                                             "2000000.0{\"bytes_down\":260,\"bytes_up\":155}"});
}

std::vector<json> lines(const v1::Result& result) {
  std::vector<json> found;
  std::istringstream text(json_lines(result));
  for (std::string line; std::getline(text, line);) found.push_back(json::parse(line));
  return found;
}

TEST_CASE("json lines: all of a result, by date, and its sums") {
  for (const v1::Result& result : all_examples()) {
    std::map<std::string, int> count;
    int64_t up = 0, down = 0, phase_bytes = 0;
    double last_s = 0;
    for (const json& line : lines(result)) {
      const std::string type = line.at("type");
      ++count[type];
      if (type == "run" || type == "client" || type == "end") continue;
      CHECK(line.at("end_s").get<double>() >= last_s);
      last_s = line.at("end_s");
      if (type == "phase") phase_bytes += line.at("bytes").get<int64_t>();
      if (type != "part") continue;
      up += line.at("bytes_up").get<int64_t>();
      down += line.at("bytes_down").get<int64_t>();
    }
    const auto& sent = result.events().bytes();
    CHECK(phase_bytes == std::accumulate(sent.begin(), sent.end(), int64_t{0}));
    CHECK(up == total_traffic(result).up);
    CHECK(down == total_traffic(result).down);
    CHECK(count["run"] == 1);
    CHECK(count["client"] == result.clients_size());
    CHECK(count["phase"] == result.events().client_size());
    CHECK(count["round"] == result.rounds_size());
    CHECK(count["end"] == 1);
  }
}

TEST_CASE("json lines: what stands in them") {
  const std::string text = json_lines(synchronous());
  CHECK_THAT(text, Catch::StartsWith("{\"type\":\"run\",\"scenario\":\"example\",") &&
                       Contains("{\"type\":\"client\",\"client\":1,\"device\":\"fast\"") &&
                       Contains("{\"type\":\"phase\",\"round\":1,\"client\":0,\"phase\":"
                                "\"train\",\"start_s\":0.1,\"end_s\":0.2,\"bytes\":0,"
                                "\"end\":\"done\"}\n") &&
                       Contains("\"accuracy\":null") &&
                       Catch::EndsWith("{\"type\":\"end\",\"end_s\":2.5,"
                                       "\"stop_reason\":\"2 rounds done\"}\n"));
  CHECK_THAT(json_lines(asynchronous()), Contains("{\"type\":\"part\",\"round\":3,\"client\":1") &&
                                             Contains("\"staleness\":2"));
  CHECK(json_lines(v1::Result()) ==
        "{\"type\":\"run\"}\n{\"type\":\"end\",\"end_s\":null,\"stop_reason\":\"\"}\n");
}

TEST_CASE("tables with units: every column of every table") {
  const v1::Result result = synchronous();
  CHECK_THAT(with_units(rounds_csv(result)),
             Catch::StartsWith(
                 "round [1],simulated_s [s],accuracy [1],loss [nat],train_loss [nat],"
                 "client_accuracy [1],bytes_up [B],bytes_down [B],download_s [s],train_s [s],"
                 "upload_s [s],wait_s [s],merge_s [s],off_s [s],dropped [1],lost_s [s],"
                 "lost_bytes_up [B],lost_bytes_down [B],joules [J],start_s [s],clients [1]\n0,0,"));
  CHECK_THAT(with_units(clients_csv(result)),
             Catch::StartsWith(
                 "round [1],client [1],device,depth [1],train_rows [1],train_loss [nat],"
                 "accuracy [1],bytes_up [B],bytes_down [B],download_s [s],train_s [s],upload_s [s],"
                 "wait_s [s],end_s [s],critical [1],off_s [s],dropped [1],lost_s [s],"
                 "lost_bytes_up [B],lost_bytes_down [B],download_j [J],train_j [J],upload_j [J],"
                 "wait_j [J],rank [1],group [1],parts [1],staleness [1],experts [1]\n1,0,"));
  const std::string events = events_csv(result);
  const std::string rows = events.substr(events.find('\n'));
  CHECK(with_units(events) ==
        "round [1],client [1],device,phase,start_s [s],end_s [s],bytes [B],end" + rows);
  CHECK_THROWS_AS(with_units("round,colour\n1,2\n"), ProgrammerError);
  CHECK_THROWS_AS(with_units(""), ProgrammerError);
}

}  // namespace
}  // namespace fedclock::results
