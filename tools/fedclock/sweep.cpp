#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "models/common/error.h"
#include "models/learning/numerics.h"
#include "sim/experiment/convert.h"
#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "sim/results/sweep.h"
#include "sim/scenario/grid.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/grid_runs.h"
#include "tools/fedclock/interrupt.h"
#include "tools/fedclock/progress.h"
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

GridOptions grid_options(const SweepOptions& options) {
  return {.what = "sweep",
          .of_what = "points",
          .workers = options.workers,
          .overwrite = options.overwrite,
          .timing_only = options.timing_only,
          .quiet = options.quiet,
          .device = options.device,
          .store = options.store};
}

std::vector<GridRun> runs_of(const SweepOptions& options, const Sweep& sweep) {
  std::vector<GridRun> runs;
  for (const scenario::GridPoint& point : sweep.grid) {
    ScenarioOptions one = options.scenario;
    one.overrides.insert(one.overrides.end(), point.overrides.begin(), point.overrides.end());
    runs.push_back({.name = point.name,
                    .scenario = one,
                    .out = sweep.folder / point.name,
                    .log = sweep.folder / (point.name + ".log")});
  }
  return runs;
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
    ending.exit_code = 2;
    ending.why = error.what();
  }
  point.status = point.result ? "done" : "failed";
  point.jobs = ending.jobs;
}

std::vector<results::SweepPoint> run_points(const SweepOptions& options, const Sweep& sweep,
                                            const std::vector<GridRun>& runs,
                                            std::vector<Ending>& endings) {
  std::vector<results::SweepPoint> points;
  for (const scenario::GridPoint& point : sweep.grid) {
    points.push_back({.name = point.name,
                      .values = point.values,
                      .status = "not run",
                      .result = {},
                      .jobs = {}});
  }
  endings = run_grid(grid_options(options), runs, [&](size_t i, Ending& ending) {
    take_result(runs[i].out, points[i], ending);
  });
  return points;
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
  const std::vector<GridRun> runs = runs_of(options, sweep);
  std::vector<Ending> endings;
  const std::vector<results::SweepPoint> points = run_points(options, sweep, runs, endings);
  const std::optional<double> target =
      results::sweep_target(points, options.target ? options.target : sweep.stop_accuracy);
  const fs::path table = sweep.folder / "sweep.csv";
  const bool keep = !options.overwrite && table_is_of_other_runs(sweep, endings);
  if (!keep) results::write_file(table, results::sweep_csv(sweep.paths, points, target));
  if (target) print_target(sweep, *target, options.target.has_value());
  print_points(points, target, options.explain);
  if (options.seeds.find(',') != std::string::npos && target) print_over_seeds(points);
  fmt::print("{} {}\n", keep ? "of other runs, left as it was:" : "written to", table.string());
  report_failures(grid_options(options), runs, endings);
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
  add_target_option(*command, options->target,
                    "Accuracy from 0 to 1, for the time to it [default: the highest that all "
                    "points reach]");
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
