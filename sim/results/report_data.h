// What the report page (tools/report/page) draws, as one JSON object. Columns are arrays of equal
// length, null where a value was not measured; simulated seconds, bytes, joules, accuracies 0 to 1:
//   version
//   runs     of each its facts and digests; "clients", "rounds", "parts" (a client in a round),
//   "ownAccuracies"
//            and "events" by columns, as in result.proto; bytes and joules of a round are that
//            round's alone
//   series   labels, and the places of the runs that differ in their seed alone
//   target   {"accuracy", "reason", "reached": of each run {"s", "bytes", "joules"} or null}; null
//   where a
//            run has no accuracy
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/results/result.pb.h"

namespace fedclock::results {

struct ReportRun {
  std::string name;    // unique
  std::string series;  // runs of one series differ in their seed alone
  std::string folder, method;
  uint64_t seed = 0;
  std::string scenario_text;
  v1::Result result;
};

// Without a target, the highest accuracy that all runs reach.
std::string report_data(const std::vector<ReportRun>& runs, const std::string& version,
                        std::optional<double> target);

}  // namespace fedclock::results
