#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "models/common/error.h"
#include "models/learning/numerics.h"
#include "sim/experiment/convert.h"
#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "sim/results/sweep.h"
#include "sim/scenario/grid.h"
#include "tools/fedclock/child_processes.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/interrupt.h"
#include "tools/fedclock/progress.h"
#include "tools/fedclock/say.h"
#include "tools/fedclock/store_options.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

struct SweepOptions {
  ScenarioOptions scenario;
  std::vector<std::string> vary;
  std::string seeds, out, device = "cpu";
  std::optional<double> target;
  int workers = 0;
  bool timing_only = false;
  bool overwrite = false, explain = false, quiet = false;
  StoreChoice store;
};

struct Sweep {
  std::vector<std::string> paths;  // that vary
  std::vector<scenario::GridPoint> grid;
  fs::path folder;
  std::optional<double> stop_accuracy;  // where all points have the same
};

// How a point ended.
struct Ending {
  int exit_code = 0;
  std::string why;  // where its log does not say
};

// Every point is checked before the first one runs.
Sweep make_sweep(const SweepOptions& options) {
  Sweep sweep;
  std::vector<scenario::Axis> axes;
  for (const std::string& text : options.vary) {
    axes.push_back(scenario::parse_axis("--vary", text));
  }
  if (!options.seeds.empty()) {
    axes.push_back(scenario::parse_axis("--seeds", "seed=" + options.seeds));
  }
  for (const scenario::Axis& axis : axes) {
    sweep.paths.insert(sweep.paths.end(), axis.paths.begin(), axis.paths.end());
  }
  sweep.grid = scenario::grid(axes);
  std::string problems, name;
  std::set<std::optional<double>> stops;
  for (const scenario::GridPoint& point : sweep.grid) {
    ScenarioOptions one = options.scenario;
    one.overrides.insert(one.overrides.end(), point.overrides.begin(), point.overrides.end());
    try {
      const v1::Scenario scenario = load(one).scenario;
      learning::require_hardware(mode_of(scenario), experiment::learning_precision(scenario),
                                 device_of(options.device));
      name = scenario.name();
      const v1::Stop& stop = scenario.stop();
      stops.insert(stop.has_accuracy() ? std::optional(stop.accuracy()) : std::nullopt);
    } catch (const InputError& error) {
      if (!problems.empty()) problems += "\n";
      problems += fmt::format("{}:\n{}", point.name, error.what());
    }
  }
  if (!problems.empty()) throw InputError(problems);
  if (stops.size() == 1) sweep.stop_accuracy = *stops.begin();
  sweep.folder =
      options.out.empty() ? fs::path("results") / (name + "-sweep") : fs::path(options.out);
  return sweep;
}

// The header of a table that is there already, and its first column, in order.
std::vector<std::string> points_in(const fs::path& table) {
  std::ifstream in(table);
  std::string line;
  std::getline(in, line);
  std::vector<std::string> points = {line};
  while (std::getline(in, line)) {
    const bool quoted = line.starts_with('"');
    points.push_back(quoted ? line.substr(1, line.find('"', 1) - 1)
                            : line.substr(0, line.find(',')));
  }
  return points;
}

void prepare(const Sweep& sweep, bool overwrite) {
  std::error_code error;
  fs::create_directories(sweep.folder, error);
  if (error) {
    throw InputError(fmt::format("{}: cannot be made: {}: name another folder with --out",
                                 sweep.folder.string(), error.message()));
  }
  const fs::path table = sweep.folder / "sweep.csv";
  if (overwrite || !fs::exists(table)) return;
  // Names of points hold only the last part of a path: the header has all of it.
  std::string header = results::sweep_csv(sweep.paths, {}, {});
  header.pop_back();  // the end of the line
  std::vector<std::string> planned = {header};
  for (const scenario::GridPoint& point : sweep.grid) planned.push_back(point.name);
  if (points_in(table) == planned) return;
  throw InputError(fmt::format(
      "{}: holds the table of another grid: name another folder with --out, or write over it with "
      "--overwrite (finished points cost next to nothing again: the store knows them)",
      table.string()));
}

std::vector<ChildCommand> commands_of(const SweepOptions& options, const Sweep& sweep,
                                      int workers_each) {
  std::vector<ChildCommand> commands;
  for (const scenario::GridPoint& point : sweep.grid) {
    ChildCommand& command = commands.emplace_back();
    command.arguments = {"run", options.scenario.file, "--quiet", "--events", "3"};
    const auto add = [&](const std::string& name, const std::string& value) {
      command.arguments.insert(command.arguments.end(), {name, value});
    };
    for (const std::string& text : options.scenario.overrides) add("--set", text);
    for (const std::string& text : point.overrides) add("--set", text);
    if (!options.scenario.data_folder.empty()) add("--data", options.scenario.data_folder);
    add("--out", (sweep.folder / point.name).string());
    add("--workers", std::to_string(workers_each));
    if (!options.store.file.empty()) add("--store", options.store.file);
    add("--store-limit", options.store.limit);
    if (options.store.off) command.arguments.emplace_back("--no-store");
    if (options.overwrite) command.arguments.emplace_back("--overwrite");
    if (options.timing_only) command.arguments.emplace_back("--timing-only");
    add("--device", options.device);
    command.log = sweep.folder / (point.name + ".log");
  }
  return commands;
}

// One line for the whole grid: live on a terminal, else a line whenever a point ends.
class GridProgress {
 public:
  GridProgress(size_t points, bool quiet)
      : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1), done_(points, 0.0) {}
  ~GridProgress() {
    if (!quiet_ && terminal_) say("\n");
  }

  void started() { ++running_; }
  // `share` of the point's rounds, 0 to 1.
  void reached(size_t point, double share) {
    done_[point] = share;
    if (terminal_) show();
  }
  void ended(size_t point, bool failed) {
    --running_;
    ++(failed ? failed_ : finished_);
    done_[point] = 1;
    show();
  }
  // Of the point that pretrains the base.
  void base(int64_t step, int64_t steps) {
    base_ = step < steps ? fmt::format("  base: step {}/{}", step, steps) : "";
    if (terminal_) show();
  }

 private:
  void show() {
    if (quiet_) return;
    double share = 0;
    for (const double done : done_) share += done;
    share /= static_cast<double>(done_.size());
    const std::chrono::duration<double> so_far = std::chrono::steady_clock::now() - start_;
    std::string line = fmt::format("sweep {}/{} done, {} running, {} failed  {:.0f} %{}", finished_,
                                   done_.size(), running_, failed_, 100 * share, base_);
    if (share > 0.01 && share < 1) {
      line += fmt::format("  about {} left", duration_text(so_far.count() * (1 - share) / share));
    }
    say("{}{}{}", terminal_ ? "\r\033[K" : "", line, terminal_ ? "" : "\n");
  }

  bool quiet_, terminal_;
  std::vector<double> done_;  // share of each point
  int running_ = 0, finished_ = 0, failed_ = 0;
  std::string base_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void take_event(const std::string& line, size_t number, results::SweepPoint& point,
                GridProgress& progress) {
  const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
  if (!event.is_object()) return;
  if (event.contains("round")) {
    const double rounds = std::max(1.0, event.value("rounds", 0.0));
    progress.reached(number, std::min(1.0, event.value("round", 0.0) / rounds));
  } else if (event.contains("step")) {
    progress.base(event.value("step", int64_t{0}), event.value("steps", int64_t{0}));
  } else if (event.contains("computed")) {
    point.jobs = {event.value("known", int64_t{0}), event.value("shared", int64_t{0}),
                  event.value("computed", int64_t{0})};
  }
}

std::string last_lines(const fs::path& log) {
  std::ifstream in(log);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  constexpr size_t kMost = 5;
  if (lines.size() > kMost) lines.erase(lines.begin(), lines.end() - kMost);
  return fmt::format("{}", fmt::join(lines, "\n"));
}

std::string or_dash(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "-";
}

void print_points(const std::vector<results::SweepPoint>& points,
                  const std::optional<double>& target, bool explain) {
  size_t width = 5;
  for (const results::SweepPoint& point : points) width = std::max(width, point.name.size());
  const bool energy = std::any_of(points.begin(), points.end(), [](const auto& point) {
    return point.result && results::energy_of(*point.result);
  });
  fmt::print("{:<{}} {:>8} {:>8} {:>16} {:>16} {:>10}{}{}\n", "point", width, "final", "best",
             "time to target", "simulated time", "traffic", energy ? "     energy" : "",
             explain ? "    known   shared computed" : "");
  for (const results::SweepPoint& point : points) {
    if (!point.result) {
      fmt::print("{:<{}} {}\n", point.name, width, point.status);
      continue;
    }
    const auto reached = target ? results::time_to_accuracy(*point.result, *target) : std::nullopt;
    fmt::print("{:<{}} {:>8} {:>8} {:>16} {:>16} {:>10}", point.name, width,
               or_dash(results::final_accuracy(*point.result)),
               or_dash(results::best_accuracy(*point.result)),
               reached  ? duration_text(reached->simulated_s)
               : target ? "never"
                        : "-",
               duration_text(results::pace(*point.result).total_s),
               bytes_text(static_cast<double>(results::total_traffic(*point.result).total())));
    if (energy) {
      const auto joules = results::pace(*point.result).joules;
      fmt::print(" {:>10}", joules ? joules_text(*joules) : "-");
    }
    if (explain) {
      fmt::print(" {:>8} {:>8} {:>8}", point.jobs.known, point.jobs.shared, point.jobs.computed);
    }
    fmt::print("\n");
  }
  if (!explain) return;
  learning::JobCount all;
  for (const results::SweepPoint& point : points) {
    all.known += point.jobs.known;
    all.shared += point.jobs.shared;
    all.computed += point.jobs.computed;
  }
  fmt::print("jobs of all points: {} known, {} shared, {} computed\n", all.known, all.shared,
             all.computed);
}

// Mean and range over seeds, for each setting of the other fields. The seed is the last field.
void print_over_seeds(const std::vector<results::SweepPoint>& points) {
  std::map<std::string, std::vector<double>> finals;
  std::vector<std::string> order;
  for (const results::SweepPoint& point : points) {
    const std::string setting =
        fmt::format("{}", fmt::join(point.values.begin(), point.values.end() - 1, ", "));
    if (!finals.contains(setting)) order.push_back(setting);
    std::vector<double>& of_setting = finals[setting];
    const auto accuracy =
        point.result ? results::final_accuracy(*point.result) : std::optional<double>();
    if (accuracy) of_setting.push_back(*accuracy);
  }
  fmt::print("\nfinal accuracy over seeds\n");
  for (const std::string& setting : order) {
    const std::vector<double>& values = finals[setting];
    if (values.empty()) continue;
    double sum = 0;
    for (const double value : values) sum += value;
    const auto [least, most] = std::ranges::minmax(values);
    fmt::print("  {} mean {:.4f}, from {:.4f} to {:.4f}, of {} seeds\n",
               setting.empty() ? "all:" : setting + ":", sum / static_cast<double>(values.size()),
               least, most, values.size());
  }
}

// Of a point that has ended. A result that cannot be read is the point's failure, not the sweep's.
void take_result(const fs::path& folder, results::SweepPoint& point, Ending& ending) {
  try {
    if (ending.exit_code == 0) point.result = results::read_result(folder);
  } catch (const InputError& error) {
    ending = {2, error.what()};
  }
  point.status = point.result ? "done" : "failed";
}

std::vector<results::SweepPoint> run_points(const SweepOptions& options, const Sweep& sweep,
                                            std::vector<Ending>& endings) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int workers = options.workers > 0 ? options.workers : cores;
  const int side_by_side = std::min(workers, static_cast<int>(sweep.grid.size()));
  const std::vector<ChildCommand> commands =
      commands_of(options, sweep, std::max(1, workers / side_by_side));
  std::vector<results::SweepPoint> points;
  for (const scenario::GridPoint& point : sweep.grid) {
    points.push_back({.name = point.name,
                      .values = point.values,
                      .status = "not run",
                      .result = {},
                      .jobs = {}});
  }
  endings.assign(points.size(), {});
  GridProgress progress(points.size(), options.quiet);
  run_children(commands, side_by_side,
               {.started = [&](size_t) { progress.started(); },
                .event = [&](size_t i,
                             const std::string& line) { take_event(line, i, points[i], progress); },
                .ended =
                    [&](size_t i, int code, const std::string& why) {
                      endings[i] = {code, why};
                      take_result(sweep.folder / points[i].name, points[i], endings[i]);
                      progress.ended(i, endings[i].exit_code != 0);
                    }});
  return points;
}

// Throws where points failed: bad input where all of them say so, else a failure of fedclock's.
void report_failures(const Sweep& sweep, const std::vector<results::SweepPoint>& points,
                     const std::vector<Ending>& endings) {
  std::string failures;
  bool all_bad_input = true;
  for (size_t i = 0; i < points.size(); ++i) {
    const auto& [code, why] = endings[i];
    if (code == 0) continue;
    const fs::path log = sweep.folder / (points[i].name + ".log");
    failures += fmt::format("\n{} failed with exit code {} ({}):\n{}", points[i].name, code,
                            log.string(), why.empty() ? last_lines(log) : why);
    all_bad_input = all_bad_input && code == 2;
  }
  if (failures.empty()) return;
  failures = "some points failed" + failures;
  if (all_bad_input) throw InputError(failures);
  throw std::runtime_error(failures);
}

// Where a point was refused because its folder holds another run's result, a table that is there
// already is about those runs: it stays.
bool table_is_of_other_runs(const Sweep& sweep, const std::vector<Ending>& endings) {
  if (!fs::exists(sweep.folder / "sweep.csv")) return false;
  for (size_t i = 0; i < endings.size(); ++i) {
    const fs::path result = sweep.folder / sweep.grid[i].name / "result.pb";
    if (endings[i].exit_code == 2 && fs::exists(result)) return true;
  }
  return false;
}

void print_target(const Sweep& sweep, double target, bool given) {
  const std::string other = " (--target sets another)";
  const std::string from = sweep.stop_accuracy ? ", the scenario's stop.accuracy" + other
                                               : ", the highest that all points reach" + other;
  fmt::print("target accuracy {:.4f}{}\n", target, given ? "" : from);
}

void sweep(const SweepOptions& options) {
  const Sweep sweep = make_sweep(options);
  prepare(sweep, options.overwrite);
  end_when_interrupted();
  std::vector<Ending> endings;
  const std::vector<results::SweepPoint> points = run_points(options, sweep, endings);
  const std::optional<double> target =
      results::sweep_target(points, options.target ? options.target : sweep.stop_accuracy);
  const fs::path table = sweep.folder / "sweep.csv";
  const bool keep = !options.overwrite && table_is_of_other_runs(sweep, endings);
  if (!keep) results::write_file(table, results::sweep_csv(sweep.paths, points, target));
  if (target) print_target(sweep, *target, options.target.has_value());
  print_points(points, target, options.explain);
  if (options.seeds.find(',') != std::string::npos && target) print_over_seeds(points);
  fmt::print("{} {}\n", keep ? "of other runs, left as it was:" : "written to", table.string());
  report_failures(sweep, points, endings);
}

}  // namespace

void add_sweep(CLI::App& program) {
  auto options = std::make_shared<SweepOptions>();
  CLI::App* command = program.add_subcommand(
      "sweep",
      "Run a scenario for every combination of values, side by side; what points have in "
      "common is learnt once");
  add_scenario_options(*command, options->scenario);
  command
      ->add_option("--vary", options->vary,
                   "Field and its values: PATH=V1,V2,...; fields that change together: "
                   "PATH,PATH=V1:W1,V2:W2; may be repeated, for the product")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--seeds", options->seeds, "Seeds, such as 1,2,3: the same as --vary seed=");
  command->add_option("-o,--out", options->out,
                      "Folder for sweep.csv and the points' results [default: "
                      "results/NAME-sweep]");
  command
      ->add_option("--target", options->target,
                   "Accuracy from 0 to 1, for the time to it [default: the highest that all "
                   "points reach]")
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--workers", options->workers,
                   "Processes and threads that learn, in all [default: all cores]")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--overwrite", options->overwrite, "Write over other results in that folder");
  add_device_option(*command, options->device);
  add_store_options(*command, options->store);
  command->add_flag("--timing-only", options->timing_only,
                    "Skip the learning: the clocks, traffic and energy alone");
  command->add_flag("--explain", options->explain,
                    "Say how many jobs were known from the store, shared, or computed");
  command->add_flag("--quiet", options->quiet, "No progress on standard error");
  command->callback([options] { sweep(*options); });
}

}  // namespace fedclock::tools
