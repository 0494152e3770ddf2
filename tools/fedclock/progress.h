// What `fedclock run` shows while it works: a live line on a terminal, plain lines when piped. On
// standard error, so that standard output holds the result alone. A sweep or a suite, which
// runs `fedclock run` many times, is told by events: one JSON object a line.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/learning/learner.h"
#include "models/learning/pretrain.h"
#include "sim/results/result.pb.h"
#include "sim/results/text.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::tools {

class Progress {
 public:
  // `stop`: where the run ends. `events`: file descriptor that takes events; -1: none.
  Progress(const v1::Stop& stop, bool quiet, int events = -1);
  ~Progress();

  void stage(const std::string& text);
  void pretraining(const learning::PretrainProgress& progress);
  void round(const v1::Round& round);
  // Last: {"known": 5, "shared": 0, "computed": 7}.
  void jobs(const learning::JobCount& jobs);

 private:
  void show(const std::string& line, bool keep);
  void tell(const nlohmann::json& event);

  // How much of the run is done, 0 to 1.
  double share(const v1::Round& round) const;

  v1::Stop stop_;
  bool quiet_, terminal_, colours_;
  int events_;
  bool live_ = false;  // the cursor stands behind a live line
  std::vector<double> accuracies_;
  std::chrono::steady_clock::time_point first_round_, last_line_;
};

using results::bytes_text;
using results::duration_text;
using results::joules_text;

}  // namespace fedclock::tools
