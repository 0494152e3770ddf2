// What the report page (tools/report/page) draws, as one JSON object. Columns are arrays of equal
// length, null where a value was not measured; simulated seconds, bytes, joules, accuracies 0 to 1:
//   version
//   runs     each one's facts and digests, and by columns, as in result.proto: "clients", "rounds",
//            "parts" (a client in a round), "ownAccuracies", "events". A round's bytes and joules
//            are its own alone, without those before it.
//   series   labels, and the places of the runs that differ in their seed alone
//   target   {"accuracy", "reason", "reached": for each run {"s", "bytes", "joules"} or null}; null
//            where a run that learns has no accuracy, or none learns
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
