// What can be checked of a scenario without its data and without its model's files: required
// fields, ranges, units that look wrong, and fields that contradict each other.
//
// Not checked here, because files are needed: the rows of a file task against the clients, the
// layers of a model from a folder against depth and timing, the memory of devices.
#pragma once

#include "sim/scenario/load.h"

namespace fedclock::scenario {

// Adds a problem for everything that is impossible. Expects the method to be expanded
// (expand_method), and leaves alone what `problems` covers already.
void validate(const Loaded& loaded, Problems& problems);

}  // namespace fedclock::scenario
