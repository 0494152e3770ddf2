// The platform of a scenario: its fleet, with what is drawn for each device and what files say, as
// hosts, links and machines.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/common/digest.h"
#include "models/cost/machine.h"
#include "sim/platform/spec.h"
#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::experiment {

// A device in each of the power modes that it runs in; one where they do not change.
using Machines = std::shared_ptr<const std::vector<cost::Machine>>;

struct World {
  platform::PlatformSpec platform;
  std::vector<Machines> machines;                        // of each client
  std::vector<std::unique_ptr<cost::Machine>> gateways;  // of each gateway; nullptr: none
  std::unique_ptr<cost::Machine> server;                 // nullptr: none
  Digest files;  // of the tables and platform files that were read
  bool has_files = false;
};

// Where a table lies: (folder, file, path of the field); throws InputError where there is no
// folder.
using DataPath = std::function<std::filesystem::path(const std::string&, const std::string&,
                                                     const std::string&)>;

// Expects a validated scenario. Adds problems of files that are missing or that do not hold what
// is asked of them; the world is then not whole.
World make_world(const v1::Scenario& scenario, const DataPath& data_path,
                 scenario::Problems& problems);

}  // namespace fedclock::experiment
