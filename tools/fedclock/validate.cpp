#include <fmt/format.h>

#include <memory>

#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

struct ValidateOptions {
  ScenarioOptions scenario;
  bool show_partition = false;
};

void validate(const ValidateOptions& options) {
  const experiment::Experiment experiment(load(options.scenario),
                                          experiment_options(options.scenario));
  if (options.show_partition) {
    fmt::print("{}", data::format_class_table(experiment.train(), experiment.partition()));
  }
  fmt::print("{}: valid: {} clients, {} training rows, {} classes\n", options.scenario.file,
             experiment.clients().size(), experiment.train().rows.size(),
             experiment.train().classes.size());
}

}  // namespace

void add_validate(CLI::App& program) {
  auto options = std::make_shared<ValidateOptions>();
  CLI::App* command = program.add_subcommand(
      "validate", "Check a scenario and its data; tell every problem with its line");
  add_scenario_options(*command, options->scenario);
  command->add_flag("--show-partition", options->show_partition,
                    "Print how many rows of each class every client holds");
  command->callback([options] { validate(*options); });
}

}  // namespace fedclock::tools
