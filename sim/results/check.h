// Regression: results against the figures that were kept of earlier ones (baseline.proto).
// Simulated dates, bytes and joules must be the same to the last bit, and so must what was learnt,
// but for accuracies of NATIVE runs, which may differ by the baseline's tolerance; what else is
// learnt is not compared there, and of the adapter's files whether they are there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sim/results/baseline.pb.h"
#include "sim/results/result.pb.h"

namespace fedclock::results {

struct NamedResult {
  std::string name;
  v1::Result result;
  std::vector<v1::AdapterFile> adapter_files = {};
};

// The safetensors files in a folder, by name; none where there is no such folder.
std::vector<v1::AdapterFile> adapter_files_in(const std::filesystem::path& folder);

v1::BaselineRun baseline_of(const NamedResult& run);

struct CheckedRun {
  std::string name;
  // What moved, by how much, and since which round; empty where nothing did.
  std::vector<std::string> moved;
};

// A run for each of the baseline's, in its order, and for each result that it does not know.
std::vector<CheckedRun> check(const v1::Baseline& baseline,
                              const std::vector<v1::BaselineRun>& runs);

bool anything_moved(const std::vector<CheckedRun>& runs);

// The same for JUnit's readers: a test case a run, and one in error where there is no outcome.
std::string junit_xml(const std::vector<CheckedRun>& runs, const std::string& error = "");
// "::error file=...::..." lines, which GitHub shows beside the baseline's file.
std::string github_annotations(const std::vector<CheckedRun>& runs,
                               const std::filesystem::path& baseline,
                               const std::string& error = "");

// InputError where it cannot be read or is none.
v1::Baseline read_baseline(const std::filesystem::path& file);
std::string baseline_text(const v1::Baseline& baseline);

}  // namespace fedclock::results
