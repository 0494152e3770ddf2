// What `fedclock run` shows while it works: a live line on a terminal, plain lines when piped. On
// standard error, so that standard output holds the result alone. A sweep, which runs `fedclock
// run` for every point, is told by events: one JSON object a line.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/learning/learner.h"
#include "models/learning/pretrain.h"
#include "sim/results/result.pb.h"

namespace fedclock::tools {

class Progress {
 public:
  // `rounds`: how many there will be at most; 0: unknown. `events`: file descriptor that takes
  // events; -1: none.
  Progress(int64_t rounds, bool quiet, int events = -1);
  ~Progress();

  void stage(const std::string& text);
  void pretraining(const learning::PretrainProgress& progress);
  void round(const v1::Round& round);
  // Last: {"known": 5, "shared": 0, "computed": 7}.
  void jobs(const learning::JobCount& jobs);

 private:
  void show(const std::string& line, bool keep);
  void tell(const nlohmann::json& event);

  int64_t rounds_;
  bool quiet_, terminal_;
  int events_;
  bool live_ = false;  // the cursor stands behind a live line
  double last_accuracy_ = -1;
  std::chrono::steady_clock::time_point first_round_, last_line_;
};

// "1 h 02 min 03 s", "4 min 05 s", "6.7 s".
std::string duration_text(double seconds);
// "1.23 GB", "45.6 kB": powers of 1000.
std::string bytes_text(double bytes);
// The same in joules.
std::string joules_text(double joules);

}  // namespace fedclock::tools
