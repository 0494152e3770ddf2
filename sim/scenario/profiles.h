// Profiles: a group's or the server's `profile` names a file with a Device, which is written out
// into `device`, and a network's one with an AccessLink, in both cases under what the scenario sets
// there itself.
#pragma once

#include <filesystem>

#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {

// Writes out every profile and clears the fields that named them. A name is searched as
// devices/NAME.textproto or networks/NAME.textproto beside the file that set it and in each folder
// above, then beside the scenario and above, then in the library; a path ending in .textproto is
// relative to the file that set it.
void resolve_profiles(const std::filesystem::path& scenario_folder,
                      const std::filesystem::path& library, v1::Scenario& scenario,
                      Locations& locations, Problems& problems);

// The device of a profile, looked for in the same way from `folder` on. Throws InputError where
// there is none, or its file is wrong.
v1::Device read_profile(const std::string& profile, const std::filesystem::path& folder,
                        const std::filesystem::path& library);

// Folder of the file that set the field; the scenario's folder for an override.
std::filesystem::path folder_of(const std::string& path, const Locations& locations,
                                const std::filesystem::path& scenario_folder);

}  // namespace fedclock::scenario
