// What an update counts that other merges have overtaken.
#pragma once

#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// s(tau) of an update that began so many merges ago.
double staleness_factor(const v1::Staleness& staleness, double tau);

}  // namespace fedclock::federation
