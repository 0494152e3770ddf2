// Many runs of `fedclock run`, side by side in processes of their own: their commands, one line of
// progress for all of them, and what became of each. What sweeps and suites share.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/learning/learner.h"
#include "tools/fedclock/child_processes.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/store_options.h"

namespace fedclock::tools {

// One run of a grid.
struct GridRun {
  std::string name;  // in messages
  ScenarioOptions scenario;
  std::filesystem::path out;  // folder of its results
  std::filesystem::path log;  // of what it prints
};

// What all runs of a grid have in common.
struct GridOptions {
  std::string what;     // "sweep", in the line of progress
  std::string of_what;  // "points", in the message of failures
  int workers = 0;      // processes and threads in all; 0: all cores
  size_t kept = 0;      // runs of earlier that are finished, for the line of progress
  bool overwrite = false, timing_only = false, quiet = false;
  std::string device = "cpu";
  StoreChoice store;
};

// How a run ended.
struct Ending {
  int exit_code = 0;
  std::string why;          // where its log does not say
  learning::JobCount jobs;  // of all kinds
};

// One line for the whole grid: live on a terminal, else a line whenever a run ends.
class GridProgress {
 public:
  GridProgress(const GridOptions& options, size_t runs);
  ~GridProgress();

  void started() { ++running_; }
  // `share` of the run's rounds, 0 to 1.
  void reached(size_t run, double share);
  void ended(size_t run, bool failed);
  // Of the run that pretrains the base.
  void base(int64_t step, int64_t steps);

 private:
  void show();

  const GridOptions& options_;
  bool terminal_;
  std::vector<double> done_;  // share of each run
  int running_ = 0, failed_ = 0;
  size_t finished_ = 0;
  std::string base_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Runs all of them, in order. `take` is told how a run ended, as soon as it did, and may find that
// it failed.
std::vector<Ending> run_grid(const GridOptions& options, const std::vector<GridRun>& runs,
                             const std::function<void(size_t run, Ending& ending)>& take);

// Throws where runs failed: bad input where all of them say so, else a failure of fedclock's.
void report_failures(const GridOptions& options, const std::vector<GridRun>& runs,
                     const std::vector<Ending>& endings);

}  // namespace fedclock::tools
