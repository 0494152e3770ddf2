// fedclock: how accurate is a federated fine-tuning job after how many seconds, on these devices
// and this network? Exit codes: 0 done, 1 fedclock itself failed or a check found something moved,
// 2 the input is wrong, 130 ended by Ctrl-C.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "models/common/error.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/mistakes.h"
#include "tools/fedclock/say.h"
#include "tools/fedclock/store_options.h"

namespace fedclock::tools {

namespace {

constexpr const char* kName = "fedclock";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The command of this name in another one, or nullptr.
const CLI::App* part_of(const CLI::App& command, const std::string& name) {
  for (const CLI::App* part : command.get_subcommands({})) {
    if (part->get_name() == name) return part;
  }
  return nullptr;
}

void add_help(CLI::App& program) {
  auto of = std::make_shared<std::vector<std::string>>();
  CLI::App* help = program.add_subcommand("help", "Print the help of all commands, or of one");
  help->add_option("COMMAND", *of, "Command, such as run or store prune [default: all of them]");
  help->callback([&program, of] {
    // App::help() would print the help of the command that was parsed: this one.
    const auto formatter = program.get_formatter();
    const CLI::App* command = &program;
    std::string name = kName;
    for (const std::string& word : *of) {
      const CLI::App* part = part_of(*command, word);
      if (part == nullptr) throw InputError(unknown_command(*command, word));
      command = part;
      name += " " + word;
    }
    const bool whole = command == &program || !command->get_subcommands({}).empty();
    fmt::print("{}",
               formatter->make_help(command, name,
                                    whole ? CLI::AppFormatMode::All : CLI::AppFormatMode::Normal));
  });
}

// 0 where the user asked for help or the version, which CLI11 prints; any problem is bad input.
int exit_code_of_command_line(const CLI::App& program, const CLI::ParseError& error, int argc,
                              char** argv) {
  const auto kind = static_cast<CLI::ExitCodes>(error.get_exit_code());
  // A command is missing where an unknown word stands in its place, an argument likewise.
  if (kind == CLI::ExitCodes::ExtrasError || kind == CLI::ExitCodes::RequiredError) {
    const std::string text = explain_unknown(program, {argv + 1, argv + argc});
    if (!text.empty()) {
      say("{}\n", text);
      return 2;
    }
  }
  return program.exit(error) == 0 ? 0 : 2;
}

}  // namespace

void add_scenario_options(CLI::App& command, ScenarioOptions& options) {
  command.add_option("SCENARIO", options.file, "Scenario file, .textproto or .json")->required();
  command
      .add_option("--set", options.overrides,
                  "Override a field: PATH=VALUE, such as platform.devices[0].count=40; lists and "
                  "messages too: 'model.adapter.targets=[Q,V]', 'stop={rounds: 3}'; may be "
                  "repeated")
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--data", options.data_folder,
                     "Folder of the data files [default: the scenario's, else the environment "
                     "variable FEDCLOCK_DATA]");
}

void add_device_option(CLI::App& command, std::string& device) {
  command
      .add_option(
          "--device", device,
          "What learns: cpu; cuda, by stock libtorch operators, where there is an NVIDIA GPU "
          "and numerics: NATIVE; or reference, the same operators on the CPU, slower, to "
          "check cpu against")
      ->check(CLI::IsMember({"cpu", "cuda", "reference"}))
      ->capture_default_str();
}

void add_target_option(CLI::App& command, std::optional<double>& target, const std::string& text) {
  const auto check = [](const std::string& value) -> std::string {
    double number = -1;
    const bool is_number = CLI::detail::lexical_cast(value, number);
    return is_number && number >= 0 && number <= 1  // NaN is neither
               ? ""
               : value + ": an accuracy is a number from 0 to 1";
  };
  command.add_option("--target", target, text)->check(CLI::Validator(check, "", "accuracy"));
}

learning::Device device_of(const std::string& name) {
  if (name == "cuda") return learning::Device::kCuda;
  return name == "reference" ? learning::Device::kReference : learning::Device::kCpu;
}

std::string mode_of(const v1::Scenario& scenario) {
  return scenario.numerics() == v1::NATIVE ? "native" : "portable";
}

scenario::Loaded load(const ScenarioOptions& options) {
  return scenario::load_and_validate(
      options.file, {.overrides = options.overrides, .library = FEDCLOCK_SCENARIOS_DIR});
}

experiment::Options experiment_options(const ScenarioOptions& options) {
  experiment::Options result;
  result.version = FEDCLOCK_VERSION;
  result.data_folder = options.data_folder;
  result.default_data_folder = environment("FEDCLOCK_DATA");
  result.cache_folder = cache_folder();
  return result;
}

int run_program(int argc, char** argv) {
  CLI::App program(
      "fedclock: federated fine-tuning of language models, really learnt, on a simulated clock",
      kName);
  program.require_subcommand(1);
  program.set_version_flag("--version", "fedclock " FEDCLOCK_VERSION, "Print the version and exit");
  program.footer(
      "Exit codes: 0 done, 1 fedclock itself failed or `check` found something moved, 2 the input "
      "is wrong, 130 ended by Ctrl-C.\n"
      "Read README.md for a first scenario, sim/scenario/REFERENCE.md for all fields.");
  add_run(program, argv);
  add_validate(program);
  add_cost(program);
  add_calibrate(program, argv);
  add_import_fedscale(program);
  add_compare(program);
  add_check(program);
  add_report(program);
  add_export(program);
  add_sweep(program);
  add_suite(program);
  add_store(program);
  add_why(program);
  add_version(program, argv);
  add_manual(program);
  add_help(program);
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return exit_code_of_command_line(program, error, argc, argv);
  } catch (const Ended& ended) {
    return ended.exit_code;
  } catch (const InputError& error) {
    say("{}\n", error.what());
    return 2;
  } catch (const std::filesystem::filesystem_error& error) {
    say("{}: check the folder's rights and the space left on the disk\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    say("fedclock failed: {}\n", error.what());
    return 1;
  }
}

// What was printed may have stayed in a buffer, or gone nowhere: a full disk, a reader that left.
int exit_code_after_output(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  say("standard output cannot be written: not all is there\n");
  return code == 0 ? 1 : code;
}

}  // namespace fedclock::tools

int main(int argc, char** argv) {
  return fedclock::tools::exit_code_after_output(fedclock::tools::run_program(argc, argv));
}
