// How long work takes: a roofline with a fixed cost a step,
//   seconds = max(FLOPs / (peak x efficiency), bytes / bandwidth) + overhead
// (Williams, Waterman, Patterson, "Roofline", CACM 2009). A machine whose memory efficiency is
// known takes the sum instead of the larger: matrix products and elementwise passes take turns,
//   seconds = FLOPs / (peak x efficiency) + bytes / (bandwidth x memory efficiency) + overhead.
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
  // Share of the bandwidth that training reaches, above 1 where caches serve it; 0: not known.
  double memory_efficiency = 0;
  // A job that needs M bytes by models/cost/memory.h takes memory_overhead_bytes + memory_factor M.
  double memory_factor = 1;
  double memory_overhead_bytes = 0;
};

// Bytes that a training job takes on the machine. `model_bytes`: Memory::total().
double taken_bytes(const Machine& machine, double model_bytes);

// Throws InputError where the peak, the efficiency, the bandwidth or the work is not above 0, or
// the overhead or the memory efficiency is negative: a missing cost is an error, never 0 s.
double step_seconds(const Machine& machine, const Work& work);

// Whether bytes / bandwidth is the longer of the two.
bool is_memory_bound(const Machine& machine, const Work& work);

}  // namespace fedclock::cost
