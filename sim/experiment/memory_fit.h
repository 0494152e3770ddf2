// What becomes of devices whose memory does not hold their training, as the assignment says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/experiment/world.h"
#include "sim/federation/workload.h"
#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::experiment {

struct MemoryFit {
  // Tuned layers that each client's memory holds, up to the assignment's depth; -1: not even what
  // is trained at least. Empty: all hold everything.
  std::vector<int64_t> most_layers;
  std::vector<std::string> notes;  // a line for each group that tunes less or is left out
};

// `whole`: everything that anyone tunes. Adds a problem where the assignment refuses such
// devices, or where no device is left.
MemoryFit fit_memory(const v1::Scenario& scenario, const World& world,
                     const federation::Workload& workload, const learning::Share& whole,
                     const std::string& timed_name, scenario::Problems& problems);

}  // namespace fedclock::experiment
