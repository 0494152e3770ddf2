#include "sim/results/report_data.h"

#include <fmt/format.h>

#include <map>

#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "sim/results/json_text.h"
#include "sim/results/totals.h"
#include "sim/results/why.h"

namespace fedclock::results {

namespace {

using Json = nlohmann::ordered_json;

// NaN and infinities become null, too.
template <class Value>
Json optional(bool known, Value value) {
  return known ? Json(value) : Json(nullptr);
}

// Columns by name; a row adds a value to each.
class Table {
 public:
  explicit Table(const std::vector<const char*>& names) {
    for (const char* name : names) columns_[name] = Json::array();
  }
  void add(std::initializer_list<Json> row) {
    auto column = columns_.begin();
    for (const Json& value : row) (column++)->push_back(value);
  }
  Json take() { return std::move(columns_); }

 private:
  Json columns_ = Json::object();
};

Json clients_of(const v1::Result& result) {
  Table table({"device", "trainRows", "testRows", "classRows", "offS"});
  for (const v1::ClientSummary& client : result.clients()) {
    table.add({client.device(), client.train_rows(), client.test_rows(),
               std::vector<int32_t>(client.class_rows().begin(), client.class_rows().end()),
               client.off_s()});
  }
  return table.take();
}

Json rounds_of(const v1::Result& result) {
  Table table({"round", "startS", "endS", "accuracy", "loss", "trainLoss", "clientAccuracy",
               "bytesUp", "bytesDown", "joules", "mergeS"});
  for (const v1::Round& r : result.rounds()) {
    const std::optional<Energy> energy = energy_of(r);
    table.add({r.round(), r.start_s(), r.end_s(), optional(r.has_accuracy(), r.accuracy()),
               optional(r.has_loss(), r.loss()), optional(r.has_train_loss(), r.train_loss()),
               optional(r.has_client_accuracy(), r.client_accuracy()), r.bytes_up(), r.bytes_down(),
               optional(energy.has_value(), energy ? energy->total_j() : 0),
               optional(r.has_merge_s(), r.merge_s())});
  }
  return table.take();
}

Json parts_of(const v1::Result& result) {
  Table table({"round", "client", "depth", "rank", "group", "experts", "downloadS", "trainS",
               "uploadS", "waitS", "offS", "endS", "bytesUp", "bytesDown", "dropped", "accuracy",
               "critical"});
  for (const v1::Round& round : result.rounds()) {
    const v1::ClientRound* last = last_client(round).client;
    for (const v1::ClientRound& c : round.clients()) {
      table.add({round.round(), c.client(), c.depth(), optional(c.has_rank(), c.rank()),
                 optional(c.has_group(), c.group()), optional(c.has_experts(), c.experts()),
                 c.download_s(), c.train_s(), c.upload_s(), c.wait_s(), c.off_s(),
                 optional(c.has_end_s(), c.end_s()), c.bytes_up(), c.bytes_down(),
                 c.dropped() ? 1 : 0, optional(c.has_accuracy(), c.accuracy()),
                 &c == last ? 1 : 0});
    }
  }
  return table.take();
}

Json own_accuracies_of(const v1::Result& result) {
  Table table({"round", "client", "accuracy"});
  for (const v1::Round& round : result.rounds()) {
    for (const v1::ClientAccuracy& own : round.own_accuracies()) {
      table.add({round.round(), own.client(), own.accuracy()});
    }
  }
  return table.take();
}

Json events_of(const v1::Result& result) {
  const v1::Events& events = result.events();
  const auto column = [](const auto& values) {
    Json all = Json::array();
    for (const auto& value : values) all.push_back(value);
    return all;
  };
  return {{"phase", column(events.phase())}, {"client", column(events.client())},
          {"round", column(events.round())}, {"startS", column(events.start_s())},
          {"endS", column(events.end_s())},  {"bytes", column(events.bytes())},
          {"end", column(events.end())}};
}

Json strings(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  return std::vector<std::string>(texts.begin(), texts.end());
}

Json run_of(const ReportRun& run) {
  const v1::Result& result = run.result;
  return {{"name", run.name},
          {"folder", run.folder},
          {"scenario", result.scenario()},
          {"method", run.method},
          {"seed", run.seed},
          {"digest", run_digest(result).hex()},
          {"digests",
           {{"scenario", result.scenario_digest()},
            {"data", optional(result.has_data_digest(), result.data_digest())},
            {"base", optional(result.has_base_digest(), result.base_digest())},
            {"adapter", optional(result.has_adapter_digest(), result.adapter_digest())},
            {"world", optional(result.has_world_digest(), result.world_digest())}}},
          {"version", result.version()},
          {"numerics", result.numerics()},
          {"learningModel", result.learning_model()},
          {"timedModel", result.timed_model()},
          {"stopReason", result.stop_reason()},
          {"metric", result.has_metric() ? result.metric() : "accuracy"},
          {"learned", result.learned()},
          {"assumptions", strings(result.assumptions())},
          {"notes", strings(result.notes())},
          {"classes", strings(result.classes())},
          {"endS", result.end_s()},
          {"scenarioText", run.scenario_text},
          {"clients", clients_of(result)},
          {"rounds", rounds_of(result)},
          {"parts", parts_of(result)},
          {"ownAccuracies", own_accuracies_of(result)},
          {"events", events_of(result)}};
}

// In the order of their first runs.
Json series_of(const std::vector<ReportRun>& runs) {
  Json series = Json::array();
  std::map<std::string, size_t> places;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto [place, is_new] = places.emplace(runs[i].series, series.size());
    if (is_new) series.push_back({{"label", runs[i].series}, {"runs", Json::array()}});
    series[place->second]["runs"].push_back(i);
  }
  return series;
}

Json target_of(const std::vector<ReportRun>& runs, std::optional<double> target) {
  std::string reason = "as asked for";
  if (!target) {
    std::vector<const v1::Result*> results;
    for (const ReportRun& run : runs) {
      if (run.result.learned()) results.push_back(&run.result);
    }
    target = common_target(results);
    reason = results.size() == 1            ? "the best accuracy of the run"
             : results.size() < runs.size() ? "the highest accuracy that all runs that learn reach"
                                            : "the highest accuracy that all runs reach";
  }
  if (!target) return nullptr;
  Json reached = Json::array();
  for (const ReportRun& run : runs) {
    const std::optional<Reached> when = time_to_accuracy(run.result, *target);
    reached.push_back(
        when ? Json{{"s", when->simulated_s},
                    {"bytes", when->bytes},
                    {"joules", optional(when->joules.has_value(), when->joules.value_or(0))}}
             : Json(nullptr));
  }
  return {{"accuracy", *target}, {"reason", reason}, {"reached", reached}};
}

}  // namespace

std::string report_data(const std::vector<ReportRun>& runs, const std::string& version,
                        std::optional<double> target) {
  Json data = {{"version", version}, {"runs", Json::array()}};
  for (const ReportRun& run : runs) data["runs"].push_back(run_of(run));
  data["series"] = series_of(runs);
  data["target"] = target_of(runs, target);
  return json_text(data);
}

}  // namespace fedclock::results
