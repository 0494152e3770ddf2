#include <fmt/format.h>
#include <fnmatch.h>

#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "models/common/error.h"
#include "models/learning/numerics.h"
#include "sim/experiment/convert.h"
#include "sim/results/files.h"
#include "sim/results/suite_table.h"
#include "sim/scenario/suite.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/grid_runs.h"
#include "tools/fedclock/interrupt.h"
#include "tools/fedclock/say.h"
#include "tools/fedclock/store_options.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

struct SuiteOptions {
  std::string file, out, data_folder;
  std::vector<std::string> only;
  int workers = 0;
  bool quick = false, extended = false, list = false, overwrite = false, quiet = false;
  StoreChoice store;
};

// A run before it starts. Its folder holds the scenario as it is run, which stands on its own, and
// then the results.
struct PlannedRun {
  scenario::SuiteRun run;
  fs::path folder;
  std::string scenario_text;
  v1::Result expected;  // what is known of the result
  bool chosen = true;   // by --only
  std::string other;    // why the result that is there is of no use; empty: there is none, or it is
};

struct Job {
  scenario::Suite suite;
  fs::path folder;
  std::vector<PlannedRun> runs;
  results::SuiteReport report;  // a record for each run

  bool done(size_t i) const { return report.records[i].figures.has_value(); }
  bool starts(size_t i) const { return runs[i].chosen && !done(i); }
};

// Problems of many runs, each told once.
class ManyProblems {
 public:
  explicit ManyProblems(size_t runs) : runs_(runs) {}

  void add(const std::string& run, const std::string& lines) {
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);) {
      std::set<std::string>& names = of_[line];
      if (names.empty()) order_.push_back(line);
      names.insert(run);
    }
  }
  // A problem that not all runs have says which do.
  void throw_if_any() const {
    if (order_.empty()) return;
    std::string text;
    for (const std::string& line : order_) {
      const std::set<std::string>& names = of_.at(line);
      text += (text.empty() ? "" : "\n") + line;
      if (names.size() == runs_) continue;
      text += fmt::format(" (in {}{})", *names.begin(),
                          names.size() == 1 ? "" : fmt::format(" and {} more", names.size() - 1));
    }
    throw InputError(text);
  }

 private:
  size_t runs_;
  std::vector<std::string> order_;
  std::map<std::string, std::set<std::string>> of_;  // runs of each problem
};

PlannedRun planned(const scenario::SuiteRun& run, const v1::Scenario& scenario,
                   const fs::path& folder) {
  learning::require_hardware(mode_of(scenario), experiment::learning_precision(scenario),
                             learning::Device::kCpu);
  PlannedRun planned{
      .run = run,
      .folder = folder / "runs" / run.setting / run.method / fmt::format("seed-{}", run.seed),
      .scenario_text = scenario::to_text(scenario),
      .expected = {},
      .other = {}};
  planned.expected.set_version(FEDCLOCK_VERSION);
  planned.expected.set_scenario(scenario.name());
  planned.expected.set_scenario_digest(scenario::scenario_digest(scenario).hex());
  planned.expected.set_learned(true);
  return planned;
}

// Every run is checked before the first one starts.
void load_runs(Job& job) {
  ManyProblems problems(job.report.plan.runs.size());
  for (const scenario::SuiteRun& run : job.report.plan.runs) {
    scenario::Problems found;
    try {
      const scenario::Loaded loaded =
          scenario::load_run(job.suite, run, FEDCLOCK_SCENARIOS_DIR, found);
      found.throw_if_any();
      job.runs.push_back(planned(run, loaded.scenario, job.folder));
    } catch (const InputError& error) {
      problems.add(run.name(), error.what());
    }
  }
  problems.throw_if_any();
}

bool matches(const std::string& pattern, const scenario::SuiteRun& run) {
  for (const std::string& text : {run.name(), run.setting + "/" + run.method, run.setting,
                                  run.method, fmt::format("seed-{}", run.seed)}) {
    if (fnmatch(pattern.c_str(), text.c_str(), 0) == 0) return true;
  }
  return false;
}

void choose(const std::vector<std::string>& only, Job& job) {
  if (only.empty()) return;
  for (PlannedRun& run : job.runs) run.chosen = false;
  for (const std::string& pattern : only) {
    bool any = false;
    for (PlannedRun& run : job.runs) {
      if (!matches(pattern, run.run)) continue;
      run.chosen = any = true;
    }
    if (any) continue;
    throw InputError(fmt::format(
        "--only {}: no run of {} matches: write SETTING/METHOD/seed-N, or a part of it, with * and "
        "?; settings: {}; methods: {}",
        pattern, job.suite.file.string(), fmt::join(job.report.plan.settings, ", "),
        fmt::join(job.report.plan.methods, ", ")));
  }
}

// What earlier starts have left.
void take_stock(Job& job) {
  const results::AccuracyRule rule = results::accuracy_rule(job.report.suite);
  for (PlannedRun& run : job.runs) {
    results::SuiteRecord& record =
        job.report.records.emplace_back(results::SuiteRecord{run.run, "not run", {}});
    std::error_code ignored;
    if (!fs::exists(run.folder / "result.pb", ignored)) continue;
    try {
      const v1::Result there = results::read_result(run.folder);
      run.other = results::difference(there, run.expected);
      if (run.other.empty()) record.figures = results::figures_of(there, rule);
    } catch (const InputError&) {
      run.other = "that is damaged";
    }
    record.status = run.other.empty() ? "done" : "stale";
  }
}

void refuse_other_results(const Job& job) {
  std::vector<const PlannedRun*> others;
  for (const PlannedRun& run : job.runs) {
    if (run.chosen && !run.other.empty()) others.push_back(&run);
  }
  if (others.empty()) return;
  throw InputError(fmt::format(
      "{}: holds the result {}{}: name another folder with --out, or write over such results with "
      "--overwrite (what stayed the same is kept, and the store knows much of the rest)",
      others[0]->folder.string(), others[0]->other,
      others.size() == 1 ? "" : fmt::format(", as do {} more", others.size() - 1)));
}

// Data, memory of devices and the world, of every setting and method: all that can be known before
// something is learnt.
void check_experiments(const SuiteOptions& options, const Job& job) {
  std::map<std::pair<std::string, std::string>, scenario::SuiteRun> first;
  for (size_t i = 0; i < job.runs.size(); ++i) {
    const scenario::SuiteRun& run = job.runs[i].run;
    if (job.starts(i)) first.emplace(std::pair(run.setting, run.method), run);
  }
  const experiment::Options how =
      experiment_options({.file = {}, .overrides = {}, .data_folder = options.data_folder});
  if (!options.quiet && !first.empty()) {
    say("checking data and devices: {} settings and methods\n", first.size());
  }
  ManyProblems problems(first.size());
  for (const auto& [names, run] : first) {
    try {
      scenario::Problems found;
      const experiment::Experiment checked(
          scenario::load_run(job.suite, run, FEDCLOCK_SCENARIOS_DIR, found), how);
    } catch (const InputError& error) {
      problems.add(names.first + "/" + names.second, error.what());
    }
  }
  problems.throw_if_any();
}

void write_scenario(const PlannedRun& run) {
  std::error_code error;
  fs::create_directories(run.folder, error);
  if (error) {
    throw InputError(fmt::format("{}: cannot be made: {}: name another folder with --out",
                                 run.folder.string(), error.message()));
  }
  results::write_file(run.folder / "scenario.textproto", run.scenario_text);
}

void write_tables(const Job& job) {
  results::write_file(job.folder / "RESULTS.md", results::suite_markdown(job.report));
  results::write_file(job.folder / "suite.csv", results::suite_csv(job.report));
}

// Of a run that has ended. A result that cannot be read is the run's failure, not the suite's.
void take_result(Job& job, size_t place, Ending& ending) {
  const PlannedRun& run = job.runs[place];
  results::SuiteRecord& record = job.report.records[place];
  try {
    if (ending.exit_code == 0) {
      record.figures = results::figures_of(results::read_result(run.folder),
                                           results::accuracy_rule(job.report.suite));
    }
  } catch (const InputError& error) {
    ending.exit_code = 2;
    ending.why = error.what();
  }
  record.status = record.figures ? "done" : "failed";
}

GridOptions grid_options(const SuiteOptions& options, const Job& job) {
  size_t kept = 0;
  for (size_t i = 0; i < job.runs.size(); ++i) kept += job.runs[i].chosen && job.done(i) ? 1 : 0;
  return {.what = "suite",
          .of_what = "runs",
          .workers = options.workers,
          .kept = kept,
          .overwrite = options.overwrite,
          .quiet = options.quiet,
          .store = options.store};
}

void run_all(const SuiteOptions& options, Job& job) {
  const GridOptions how = grid_options(options, job);
  std::vector<GridRun> runs;
  std::vector<size_t> places;  // in the job
  for (size_t i = 0; i < job.runs.size(); ++i) {
    if (!job.starts(i)) continue;
    const PlannedRun& run = job.runs[i];
    write_scenario(run);
    runs.push_back({.name = run.run.name(),
                    .scenario = {.file = (run.folder / "scenario.textproto").string(),
                                 .overrides = {},
                                 .data_folder = options.data_folder},
                    .out = run.folder,
                    .log = run.folder / "log.txt"});
    places.push_back(i);
  }
  const std::vector<Ending> endings = run_grid(how, runs, [&](size_t i, Ending& ending) {
    take_result(job, places[i], ending);
    write_tables(job);  // so that a suite that is stopped leaves what it knows
  });
  write_tables(job);
  fmt::print("{}\nwritten to {} and {}\n", results::suite_text(job.report),
             (job.folder / "RESULTS.md").string(), (job.folder / "suite.csv").string());
  report_failures(how, runs, endings);
}

void print_list(const Job& job) {
  size_t starts = 0;
  for (size_t i = 0; i < job.runs.size(); ++i) {
    const PlannedRun& run = job.runs[i];
    std::string state = "to run";
    if (job.done(i)) {
      state = "done";
    } else if (!run.chosen) {
      state = "left out by --only";
    } else if (!run.other.empty()) {
      state = "to run with --overwrite: there is a result " + run.other;
    }
    fmt::print("{}  {}\n", run.run.name(), state);
    starts += job.starts(i) ? 1 : 0;
  }
  fmt::print("{} of {} runs would start, into {}\n", starts, job.runs.size(), job.folder.string());
}

void suite(const SuiteOptions& options) {
  Job job;
  job.suite = scenario::load_suite(options.file, options.quick);
  job.report.suite = job.suite.suite;
  job.report.plan = scenario::plan_suite(job.suite, options.extended);
  const std::string name = job.suite.suite.name() + (options.quick ? "-quick" : "");
  job.folder = options.out.empty() ? fs::path("results") / name : fs::path(options.out);
  load_runs(job);
  choose(options.only, job);
  take_stock(job);
  if (options.list) return print_list(job);
  if (!options.overwrite) refuse_other_results(job);
  check_experiments(options, job);
  end_when_interrupted();
  std::error_code error;
  fs::create_directories(job.folder, error);  // where it cannot be made, writing to it says so
  run_all(options, job);
}

}  // namespace

void add_suite(CLI::App& program) {
  auto options = std::make_shared<SuiteOptions>();
  CLI::App* command = program.add_subcommand(
      "suite",
      "Run a paper's suite, every method in every setting with every seed, and judge its claims; "
      "given again, it goes on where it was");
  command->add_option("FILE", options->file, "Suite file, .textproto or .json")->required();
  command->add_flag("--quick", options->quick, "A look in minutes, with the suite's quick changes");
  command->add_flag("--extended", options->extended, "With extended settings and methods");
  command
      ->add_option("--only", options->only,
                   "Start only runs that match: SETTING/METHOD/seed-N, or a part of it, with * and "
                   "?; finished ones count all the same; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_flag("--list", options->list, "Print the runs and whether they are done; run none");
  command->add_option("-o,--out", options->out,
                      "Folder for RESULTS.md, suite.csv and the runs [default: results/NAME]");
  command
      ->add_option("--workers", options->workers,
                   "Processes and threads that learn, in all [default: all cores]")
      ->check(CLI::Range(1, 1024));
  command->add_option("--data", options->data_folder,
                      "Folder of the data files [default: the scenarios', else the environment "
                      "variable FEDCLOCK_DATA]");
  command->add_flag("--overwrite", options->overwrite,
                    "Run again where the folder holds results of other settings");
  add_store_options(*command, options->store);
  command->add_flag("--quiet", options->quiet, "No progress on standard error");
  command->callback([options] { suite(*options); });
}

}  // namespace fedclock::tools
