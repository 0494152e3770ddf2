// When something is decided: the round, and within it the group and the number of the decision.
#pragma once

#include <cstdint>

namespace fedclock::federation {

struct Occasion {
  int64_t round = 0;
  int64_t part = 0;   // of the group, or of the client, in this round; from 0
  int32_t group = 0;  // of a hierarchical schedule

  // Of draws that differ between the decisions of a round; 0 for the first of the first group.
  uint64_t key() const { return static_cast<uint64_t>(group) << 32 | static_cast<uint64_t>(part); }
};

}  // namespace fedclock::federation
