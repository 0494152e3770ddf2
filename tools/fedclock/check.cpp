#include <fmt/format.h>

#include <memory>

#include "models/common/error.h"
#include "sim/results/check.h"
#include "sim/results/files.h"
#include "sim/scenario/suite.h"
#include "tools/fedclock/child_processes.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/result_folders.h"
#include "tools/fedclock/say.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

struct CheckOptions {
  std::string path, baseline, out, data_folder, junit;
  int workers = 0;
  bool update = false, github = false, quick = false;
};

// A folder for a suite's results alone: check's own is emptied, another one must be new.
fs::path folder_for(const CheckOptions& options, const std::string& suite) {
  const fs::path own = fs::path("results") / (suite + (options.quick ? "-quick-check" : "-check"));
  const fs::path folder = options.out.empty() ? own : fs::path(options.out);
  std::error_code error;
  if (options.out.empty()) fs::remove_all(folder, error);
  if (!error && fs::exists(folder) && !fs::is_empty(folder)) {
    throw InputError(
        fmt::format("--out {}: is not empty: check runs all of the suite anew: name "
                    "a new folder, or leave --out out",
                    folder.string()));
  }
  fs::create_directories(folder, error);
  return folder;
}

// The folder of a suite's results after it has been run anew; what the store knows is not learnt
// again.
fs::path run_suite(const CheckOptions& options) {
  const scenario::Suite suite = scenario::load_suite(options.path, options.quick);
  const fs::path folder = folder_for(options, suite.suite.name());
  std::vector<std::string> arguments = {"suite", options.path, "--out", folder.string(), "--quiet"};
  if (options.quick) arguments.emplace_back("--quick");
  if (!options.data_folder.empty()) {
    arguments.insert(arguments.end(), {"--data", options.data_folder});
  }
  if (options.workers > 0) {
    arguments.insert(arguments.end(), {"--workers", fmt::format("{}", options.workers)});
  }
  const fs::path log = folder / "check.log";
  int code = 0;
  std::string reason;
  run_children({{arguments, log}}, 1,
               {.started = [](size_t) {},
                .event = [](size_t, const std::string&) {},
                .ended =
                    [&](size_t, int exit_code, const std::string& why) {
                      code = exit_code;
                      reason = why;
                    }});
  if (code == 0) return folder;
  const std::string text =
      fmt::format("{}: the suite ended with code {}{}: {} says why", options.path, code,
                  reason.empty() ? "" : " (" + reason + ")", log.string());
  if (code == 2) throw InputError(text);
  throw std::runtime_error(text);
}

std::vector<v1::BaselineRun> read_all(const fs::path& folder) {
  std::vector<v1::BaselineRun> runs;
  for (const ResultFolder& one : results_in(folder)) {
    runs.push_back(results::baseline_of({one.name, results::read_result(one.path),
                                         results::adapter_files_in(one.path / "final_adapter")}));
  }
  return runs;
}

void write_baseline(const CheckOptions& options, const std::vector<v1::BaselineRun>& runs,
                    const v1::Baseline& before) {
  v1::Baseline baseline;
  if (before.has_native_tolerance()) baseline.set_native_tolerance(before.native_tolerance());
  for (const v1::BaselineRun& run : runs) *baseline.add_runs() = run;
  results::write_file(options.baseline, results::baseline_text(baseline));
  fmt::print("{}: {} run{} written\n", options.baseline, runs.size(), runs.size() == 1 ? "" : "s");
}

void print_checked(const std::vector<results::CheckedRun>& checked) {
  for (const results::CheckedRun& run : checked) {
    fmt::print("{}: {}\n", run.name, run.moved.empty() ? "as kept" : "moved");
    for (const std::string& text : run.moved) fmt::print("  {}\n", text);
  }
}

// What is kept already. --update makes a new file; one that is no baseline is somebody's own.
v1::Baseline baseline_before(const CheckOptions& options) {
  std::error_code ignored;
  if (options.update && !fs::exists(options.baseline, ignored)) return {};
  return results::read_baseline(options.baseline);
}

void refuse_useless_options(const CheckOptions& options, bool is_folder) {
  if (options.update && (options.github || !options.junit.empty())) {
    throw InputError("--junit and --github tell what moved, and --update keeps it: leave one out");
  }
  if (is_folder && (options.quick || options.workers > 0 || !options.out.empty() ||
                    !options.data_folder.empty())) {
    throw InputError(fmt::format(
        "{}: is a folder of results: --quick, --out, --workers and --data are about a suite's file",
        options.path));
  }
}

void compare_with_baseline(const CheckOptions& options) {
  std::error_code ignored;
  if (!fs::exists(options.path, ignored)) {
    throw InputError(
        fmt::format("{}: there is no such file or folder: give a suite, or the --out "
                    "folder of a finished run",
                    options.path));
  }
  const bool is_folder = fs::is_directory(options.path, ignored);
  refuse_useless_options(options, is_folder);
  const v1::Baseline baseline = baseline_before(options);
  const fs::path folder = is_folder ? fs::path(options.path) : run_suite(options);
  const std::vector<v1::BaselineRun> runs = read_all(folder);
  const std::vector<results::CheckedRun> checked = results::check(baseline, runs);
  if (baseline.runs_size() > 0 || !options.update) print_checked(checked);
  if (!options.junit.empty()) results::write_file(options.junit, results::junit_xml(checked));
  if (options.update) return write_baseline(options, runs, baseline);
  if (options.github) fmt::print("{}", results::github_annotations(checked, options.baseline));
  if (!results::anything_moved(checked)) return;
  say("{}: moved; where that is meant, keep it with --update\n", options.baseline);
  throw Ended{1};
}

// Those who read only what a check leaves behind see why it came to nothing.
void leave_error(const CheckOptions& options, const std::string& why) {
  if (options.update) return;
  if (options.github) fmt::print("{}", results::github_annotations({}, options.baseline, why));
  if (options.junit.empty()) return;
  try {
    results::write_file(options.junit, results::junit_xml({}, why));
  } catch (const InputError&) {
    // The error may be just that; it is told in any case.
  }
}

void check(const CheckOptions& options) {
  try {
    compare_with_baseline(options);
  } catch (const std::exception& error) {
    leave_error(options, error.what());
    throw;
  }
}

}  // namespace

void add_check(CLI::App& program) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* command = program.add_subcommand(
      "check",
      "Compare results with those that were kept: dates, traffic and energy exactly, what was "
      "learnt exactly too (accuracies of NATIVE runs within a tolerance); 1 where something moved");
  command
      ->add_option("PATH", options->path,
                   "Folder of a run, a sweep or a suite; or a suite file, which is run anew")
      ->required();
  command
      ->add_option("--baseline", options->baseline,
                   "What was kept, in text format (sim/results/baseline.proto)")
      ->required();
  command->add_flag("--update", options->update, "Keep what there is now; tells what moved");
  command->add_option("--junit", options->junit, "Write the outcome to this file as JUnit's XML");
  command->add_flag("--github", options->github, "Print GitHub annotations besides");
  command->add_flag("--quick", options->quick, "Of a suite file, its quick changes");
  command->add_option(
      "-o,--out", options->out,
      "New folder for a suite's results [default: results/NAME-check, emptied first]");
  command
      ->add_option("--workers", options->workers,
                   "Of a suite file: processes and threads that learn [default: all cores]")
      ->check(CLI::Range(1, 1024));
  command->add_option("--data", options->data_folder,
                      "Of a suite file: folder of the data files [default: the environment "
                      "variable FEDCLOCK_DATA]");
  command->callback([options] { check(*options); });
}

}  // namespace fedclock::tools
