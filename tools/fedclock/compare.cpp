#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/progress.h"
#include "tools/fedclock/result_folders.h"

namespace fedclock::tools {

namespace {

struct CompareOptions {
  std::vector<std::string> folders;
  std::optional<double> target;
};

// "-" where nothing was measured.
std::string accuracy_text(const std::optional<double>& accuracy) {
  return accuracy ? fmt::format("{:.4f}", *accuracy) : "-";
}

std::string speed_up_text(const std::optional<double>& first_s, const std::optional<double>& s) {
  return first_s && s && *s > 0 ? fmt::format("{:.2f}x", *first_s / *s) : "-";
}

size_t longest(const std::vector<std::string>& folders) {
  size_t width = 8;
  for (const std::string& folder : folders) width = std::max(width, folder.size());
  return width;
}

// A last column, where a run counts energy.
std::string energy_column(const std::optional<double>& joules, bool any) {
  if (!any) return "";
  return fmt::format(" {:>10}", joules ? joules_text(*joules) : "-");
}

bool any_energy(const std::vector<v1::Result>& all) {
  return std::any_of(all.begin(), all.end(), [](const v1::Result& result) {
    return results::energy_of(result).has_value();
  });
}

void print_accuracies(const std::vector<v1::Result>& all, const std::vector<std::string>& folders,
                      double target) {
  const size_t width = longest(folders);
  const bool energy = any_energy(all);
  fmt::print("{:<{}} {:>6} {:>16} {:>10} {:>9} {:>8} {:>8}{}\n", "run", width, "round",
             "time to target", "traffic", "speed-up", "best", "final",
             energy ? fmt::format(" {:>10}", "energy") : "");
  std::optional<double> first_s;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::optional<results::Reached> reached = results::time_to_accuracy(all[i], target);
    const std::optional<double> s = reached ? std::optional(reached->simulated_s) : std::nullopt;
    if (i == 0) first_s = s;
    fmt::print("{:<{}} {:>6} {:>16} {:>10} {:>9} {:>8} {:>8}{}\n", folders[i], width,
               reached ? fmt::format("{}", reached->round) : "never",
               s ? duration_text(*s) : "never",
               reached ? bytes_text(static_cast<double>(reached->bytes)) : "-",
               speed_up_text(first_s, s), accuracy_text(results::best_accuracy(all[i])),
               accuracy_text(results::final_accuracy(all[i])),
               energy_column(reached ? reached->joules : std::nullopt, energy));
  }
}

void print_paces(const std::vector<v1::Result>& all, const std::vector<std::string>& folders) {
  const size_t width = longest(folders);
  const bool energy = any_energy(all);
  fmt::print("{:<{}} {:>6} {:>16} {:>16} {:>10} {:>10} {:>9}{}\n", "run", width, "rounds",
             "simulated time", "time a round", "up", "down", "speed-up",
             energy ? fmt::format(" {:>10}", "energy") : "");
  const std::optional<double> first_s = results::pace(all.front()).round_s;
  for (size_t i = 0; i < all.size(); ++i) {
    const results::Pace pace = results::pace(all[i]);
    fmt::print("{:<{}} {:>6} {:>16} {:>16} {:>10} {:>10} {:>9}{}\n", folders[i], width, pace.rounds,
               duration_text(pace.total_s), pace.round_s ? duration_text(*pace.round_s) : "-",
               bytes_text(static_cast<double>(pace.traffic.up)),
               bytes_text(static_cast<double>(pace.traffic.down)),
               speed_up_text(first_s, pace.round_s), energy_column(pace.joules, energy));
  }
}

// Rounding alone moves a time to an accuracy.
void print_other_numerics(const std::vector<v1::Result>& all,
                          const std::vector<std::string>& folders) {
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].numerics() == all[0].numerics()) continue;
    fmt::print("{} learnt on other kernels or libraries than {}: {}; {}\n", folders[i], folders[0],
               all[i].numerics(), all[0].numerics());
  }
}

// Rounds with fewer merged clients are not the same work.
void print_dropped(const std::vector<v1::Result>& all, const std::vector<std::string>& folders) {
  for (size_t i = 0; i < all.size(); ++i) {
    const results::Lost lost = results::lost_in(all[i]);
    if (lost.dropped == 0) continue;
    int64_t parts = 0;
    for (const v1::Round& round : all[i].rounds()) parts += round.clients_size();
    fmt::print("{}: {} of {} parts in rounds were dropped, not merged\n", folders[i], lost.dropped,
               parts);
  }
}

void compare(const CompareOptions& options) {
  std::vector<v1::Result> all;
  std::vector<std::string> folders, without;
  for (const std::string& given : options.folders) {
    for (const ResultFolder& folder : results_in(given)) {
      folders.push_back(folder.name == "." ? given : folder.path.generic_string());
      all.push_back(results::read_result(folder.path));
      if (!results::best_accuracy(all.back())) without.push_back(folders.back());
    }
  }
  if (!without.empty()) {
    fmt::print(
        "no accuracies in {} (timing only?): the clocks are compared, speed-up is a "
        "round's\n",
        fmt::join(without, ", "));
    print_paces(all, folders);
    return print_dropped(all, folders);
  }
  std::vector<const v1::Result*> each;
  for (const v1::Result& result : all) each.push_back(&result);
  const double target = options.target ? *options.target : results::common_target(each).value();
  fmt::print("target accuracy {:.4f}{}\n", target,
             options.target ? "" : ", the highest that all of them reach (--target sets another)");
  print_accuracies(all, folders, target);
  print_dropped(all, folders);
  print_other_numerics(all, folders);
}

}  // namespace

void add_compare(CLI::App& program) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = program.add_subcommand(
      "compare",
      "Print time, traffic and energy to a target accuracy, and the speed-up against the first; of "
      "timing-only runs, the clocks");
  command->add_option("DIR", options->folders, "Folders of finished runs, sweeps or suites")
      ->required();
  add_target_option(*command, options->target,
                    "Accuracy from 0 to 1 [default: the highest that all runs reach]");
  command->callback([options] { compare(*options); });
}

}  // namespace fedclock::tools
