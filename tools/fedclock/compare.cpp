#include <fmt/format.h>

#include <memory>
#include <optional>

#include "models/common/error.h"
#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/progress.h"

namespace fedclock::tools {

namespace {

struct CompareOptions {
  std::vector<std::string> folders;
  std::optional<double> target;
};

void compare(const CompareOptions& options) {
  std::vector<v1::Result> all;
  for (const std::string& folder : options.folders) all.push_back(results::read_result(folder));
  const std::optional<double> target =
      options.target ? options.target : results::common_target(all);
  if (!target) {
    throw InputError("one of these runs has no accuracy (timing only?): there is nothing to compare");
  }
  fmt::print("target accuracy {:.4f}{}\n", *target,
             options.target ? "" : ", the highest that all of them reach (--target sets another)");
  fmt::print("{:<28} {:>6} {:>14} {:>12} {:>9} {:>8} {:>8}\n", "run", "round", "time to target",
             "traffic", "speed-up", "best", "final");
  const std::optional<results::Reached> first = results::time_to_accuracy(all.front(), *target);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::optional<results::Reached> reached = results::time_to_accuracy(all[i], *target);
    const double final_accuracy = all[i].rounds().rbegin()->accuracy();
    const std::string speed_up = first && reached && reached->simulated_s > 0
                                     ? fmt::format("{:.2f}x", first->simulated_s / reached->simulated_s)
                                     : "-";
    fmt::print("{:<28} {:>6} {:>14} {:>12} {:>9} {:>8.4f} {:>8.4f}\n", options.folders[i],
               reached ? fmt::format("{}", reached->round) : "never",
               reached ? duration_text(reached->simulated_s) : "never",
               reached ? bytes_text(static_cast<double>(reached->bytes)) : "-", speed_up,
               results::best_accuracy(all[i]).value_or(0), final_accuracy);
  }
}

}  // namespace

void add_compare(CLI::App& program) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = program.add_subcommand(
      "compare", "Print time and traffic to a target accuracy, and the speed-up against the first");
  command->add_option("DIR", options->folders, "Output folders of finished runs")->required();
  command->add_option("--target", options->target,
                      "Accuracy from 0 to 1 [default: the highest that all runs reach]")
      ->check(CLI::Range(0.0, 1.0));
  command->callback([options] { compare(*options); });
}

}  // namespace fedclock::tools
