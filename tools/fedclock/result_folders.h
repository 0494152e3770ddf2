// Folders of finished runs, as commands that read results are given them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sim/results/result.pb.h"

namespace fedclock::tools {

// Of the folder that is given: "." for itself, else with slashes.
struct ResultFolder {
  std::filesystem::path path;
  std::string name;
};

// All results in a folder, or that one, in the order of a sweep's points where it is one's, else of
// their names. InputError where there is none.
std::vector<ResultFolder> results_in(const std::filesystem::path& folder);

}  // namespace fedclock::tools
