// The program's subcommands: each adds itself to the command line, one file each.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/experiment/experiment.h"
#include "sim/scenario/load.h"

namespace fedclock::tools {

// What the subcommands that read a scenario share.
struct ScenarioOptions {
  std::string file;
  std::vector<std::string> overrides;
  std::string data_folder;
};

// Adds SCENARIO, --set and --data.
void add_scenario_options(CLI::App& command, ScenarioOptions& options);

// Adds --device, and reads it.
void add_device_option(CLI::App& command, std::string& device);
// Adds --target, an accuracy from 0 to 1, with this help.
void add_target_option(CLI::App& command, std::optional<double>& target, const std::string& text);
learning::Device device_of(const std::string& name);
// "portable" or "native".
std::string mode_of(const v1::Scenario& scenario);

// Reads, expands and checks the scenario.
scenario::Loaded load(const ScenarioOptions& options);

// With the data folders of --data and FEDCLOCK_DATA, the cache folder, and fedclock's version.
experiment::Options experiment_options(const ScenarioOptions& options);

// Thrown by a command that has said all there is to say: ends the program with this code.
struct Ended {
  int exit_code;
};

void add_run(CLI::App& program, char** argv);
void add_validate(CLI::App& program);
void add_calibrate(CLI::App& program, char** argv);
void add_check(CLI::App& program);
void add_cost(CLI::App& program);
void add_export(CLI::App& program);
void add_import_fedscale(CLI::App& program);
void add_compare(CLI::App& program);
// `fedclock manual` and `fedclock completion`.
void add_manual(CLI::App& program);
void add_report(CLI::App& program);
void add_store(CLI::App& program);
void add_suite(CLI::App& program);
void add_sweep(CLI::App& program);
void add_why(CLI::App& program);
void add_version(CLI::App& program, char** argv);

}  // namespace fedclock::tools
