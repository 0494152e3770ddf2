// The fleet of a platform: how many devices each group has, and which gateways they are behind.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {

// Turns the groups' weights into counts that sum up to `total` (Hamilton's method: every group gets
// its share rounded down, the largest remainders one more, the first of equals first), and clears
// both. Adds a problem where they are missing or contradict each other.
void deal_devices(v1::Platform& platform, Problems& problems);

// The gateways that a platform's links describe.
struct Gateways {
  struct One {
    std::string name;                      // with its number, where there are several of the name
    const v1::Gateway* message = nullptr;  // of the first group that names it
  };
  std::vector<One> all;
  std::vector<int32_t> of_client;  // place in `all`; -1: none
};
Gateways gateways_of(const v1::Platform& platform);

}  // namespace fedclock::scenario
