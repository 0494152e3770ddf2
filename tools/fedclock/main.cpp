// fedclock: how accurate is a federated fine-tuning job after how many seconds, on these devices
// and this network? Exit codes: 0 done, 1 fedclock itself failed, 2 the input is wrong.
#include <fmt/format.h>

#include <cstdlib>

#include "models/common/error.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void add_help(CLI::App& program) {
  CLI::App* help = program.add_subcommand("help", "Print the help of all subcommands");
  help->callback([&program] { fmt::print("{}", program.help("", CLI::AppFormatMode::All)); });
}

int exit_code_of_command_line(const CLI::App& program, const CLI::ParseError& error) {
  // CLI11 prints help (0) or the problem; any problem is bad input.
  return program.exit(error) == 0 ? 0 : 2;
}

}  // namespace

void add_scenario_options(CLI::App& command, ScenarioOptions& options) {
  command.add_option("SCENARIO", options.file, "Scenario file, .textproto or .json")->required();
  command
      .add_option("--set", options.overrides,
                  "Override a field: PATH=VALUE, such as platform.devices[0].count=40; may be "
                  "repeated")
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--data", options.data_folder,
                     "Folder of the data files [default: the environment variable FEDCLOCK_DATA]");
}

scenario::Loaded load(const ScenarioOptions& options) {
  return scenario::load_and_validate(
      options.file, {.overrides = options.overrides, .library = FEDCLOCK_SCENARIOS_DIR});
}

experiment::Options experiment_options(const ScenarioOptions& options) {
  experiment::Options result;
  result.version = FEDCLOCK_VERSION;
  result.data_folder =
      options.data_folder.empty() ? environment("FEDCLOCK_DATA") : options.data_folder;
  const std::string cache = environment("FEDCLOCK_CACHE");
  const std::string home = environment("HOME");
  if (!cache.empty()) {
    result.cache_folder = cache;
  } else if (!home.empty()) {
    result.cache_folder = std::filesystem::path(home) / ".cache" / "fedclock";
  }
  return result;
}

int run_program(int argc, char** argv) {
  CLI::App program(
      "fedclock: federated fine-tuning of language models, really learnt, on a simulated clock");
  program.require_subcommand(1);
  program.footer("Read README.md for a first scenario, sim/scenario/scenario.proto for all fields.");
  add_run(program, argv);
  add_validate(program);
  add_cost(program);
  add_compare(program);
  add_version(program);
  add_help(program);
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return exit_code_of_command_line(program, error);
  } catch (const InputError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "fedclock failed: {}\n", error.what());
    return 1;
  }
}

}  // namespace fedclock::tools

int main(int argc, char** argv) { return fedclock::tools::run_program(argc, argv); }
