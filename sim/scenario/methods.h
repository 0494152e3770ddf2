// Published methods as five answers: who takes part, what each one tunes, how it trains, when and
// how updates are merged. A scenario names a method; what it sets in `federation` itself overrides
// the method's answer.
#pragma once

#include <string>
#include <vector>

#include "sim/scenario/load.h"

namespace fedclock::scenario {

// Names of all methods, in the order of the table.
std::vector<std::string> method_names();

// Fills `federation` of the scenario: afterwards each of the five answers is set. An unknown
// method is a problem that lists the known ones; the answers are then FedIT's.
void expand_method(Loaded& loaded, Problems& problems);

// The scenario's method, and the answers that are not the method's: "hierfedlora, with aggregation
// svd". Expects an expanded scenario.
std::string method_text(const v1::Scenario& scenario);

}  // namespace fedclock::scenario
