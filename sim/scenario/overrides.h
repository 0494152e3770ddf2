// Overrides of the command line: "platform.devices[0].count=40" sets one field, as a file that
// extends the scenario would, but with a place in a list.
#pragma once

#include <string>

#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {

// Applies one override. A message or list given as the value replaces the old one as a whole. Adds
// a problem, which names the override and the fields known there, where the path or value is wrong.
// `place`: what messages call it; empty: "--set text".
void apply_override(const std::string& text, v1::Scenario& scenario, Locations& locations,
                    Problems& problems, const std::string& place = "");

// True where the path leads into a device ("platform.server.device.efficiency"): then it is for
// the device with its profile written out.
bool reaches_into_device(const std::string& text);

}  // namespace fedclock::scenario
