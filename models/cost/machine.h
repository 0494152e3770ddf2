// How long work takes: a roofline with a fixed cost a step,
//   seconds = max(FLOPs / (peak x efficiency), bytes / bandwidth) + overhead
// (Williams, Waterman, Patterson, "Roofline", CACM 2009).
#pragma once

#include <string>

#include "models/cost/work.h"

namespace fedclock::cost {

struct Machine {
  std::string name;
  double peak_flops = 0;  // FLOP/s in the precision of the work
  double efficiency = 0;  // share of the peak that training reaches
  double memory_bandwidth_bytes_s = 0;
  double memory_bytes = 0;     // that a training job may use
  double step_overhead_s = 0;  // kernel launches, data loading
};

// Throws InputError where the peak, the efficiency, the bandwidth or the work is not above 0, or
// the overhead is negative: a missing cost is an error, never 0 s.
double step_seconds(const Machine& machine, const Work& work);

// Whether bytes / bandwidth is the longer of the two.
bool is_memory_bound(const Machine& machine, const Work& work);

}  // namespace fedclock::cost
