// How many experts go to a client, and when that can be (ExpertAssignment in scenario.proto).
#pragma once

#include <cstdint>

#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {

struct ExpertBounds {
  int64_t choices = 2;          // clients that an expert chooses
  int64_t least = 2, most = 8;  // experts of a client
};

ExpertBounds expert_bounds(const v1::ExpertAssignment& answer, int64_t clients);

// Whether so many experts can choose among so many clients: choices <= clients, least <= experts
// and clients least <= experts choices <= clients most.
bool can_match(int64_t experts, int64_t clients, const ExpertBounds& bounds);

}  // namespace fedclock::scenario
