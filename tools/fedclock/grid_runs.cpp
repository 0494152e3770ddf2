#include "tools/fedclock/grid_runs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "models/common/error.h"
#include "tools/fedclock/progress.h"
#include "tools/fedclock/say.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

ChildCommand command_of(const GridOptions& options, const GridRun& run, int workers_each) {
  ChildCommand command;
  command.arguments = {"run", run.scenario.file, "--quiet", "--events", "3"};
  const auto add = [&](const std::string& name, const std::string& value) {
    command.arguments.insert(command.arguments.end(), {name, value});
  };
  for (const std::string& text : run.scenario.overrides) add("--set", text);
  if (!run.scenario.data_folder.empty()) add("--data", run.scenario.data_folder);
  add("--out", run.out.string());
  add("--workers", std::to_string(workers_each));
  if (!options.store.file.empty()) add("--store", options.store.file);
  add("--store-limit", options.store.limit);
  if (options.store.off) command.arguments.emplace_back("--no-store");
  if (options.overwrite) command.arguments.emplace_back("--overwrite");
  if (options.timing_only) command.arguments.emplace_back("--timing-only");
  add("--device", options.device);
  command.log = run.log;
  return command;
}

void take_event(const std::string& line, size_t number, Ending& ending, GridProgress& progress) {
  const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
  if (!event.is_object()) return;
  if (event.contains("share")) {
    progress.reached(number, event.value("share", 0.0));
  } else if (event.contains("step")) {
    progress.base(event.value("step", int64_t{0}), event.value("steps", int64_t{0}));
  } else if (event.contains("computed")) {
    ending.jobs = {event.value("known", int64_t{0}), event.value("shared", int64_t{0}),
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

}  // namespace

GridProgress::GridProgress(const GridOptions& options, size_t runs)
    : options_(options), terminal_(isatty(STDERR_FILENO) == 1), done_(runs, 0.0) {}

GridProgress::~GridProgress() {
  if (!options_.quiet && terminal_) say("\n");
}

void GridProgress::reached(size_t run, double share) {
  done_[run] = share;
  if (terminal_) show();
}

void GridProgress::ended(size_t run, bool failed) {
  --running_;
  if (failed) {
    ++failed_;
  } else {
    ++finished_;
  }
  done_[run] = 1;
  show();
}

void GridProgress::base(int64_t step, int64_t steps) {
  base_ = step < steps ? fmt::format("  base: step {}/{}", step, steps) : "";
  if (terminal_) show();
}

void GridProgress::show() {
  if (options_.quiet) return;
  double done = 0;
  for (const double share : done_) done += share;
  const size_t all = options_.kept + done_.size();
  const double whole = (static_cast<double>(options_.kept) + done) / static_cast<double>(all);
  const double share = done / static_cast<double>(done_.size());  // of what is to be done now
  const std::chrono::duration<double> so_far = std::chrono::steady_clock::now() - start_;
  std::string line =
      fmt::format("{} {}/{} done, {} running, {} failed  {:.0f} %{}", options_.what,
                  options_.kept + finished_, all, running_, failed_, 100 * whole, base_);
  if (share > 0.01 && share < 1) {
    line += fmt::format("  about {} left", duration_text(so_far.count() * (1 - share) / share));
  }
  say("{}{}{}", terminal_ ? "\r\033[K" : "", line, terminal_ ? "" : "\n");
}

std::vector<Ending> run_grid(const GridOptions& options, const std::vector<GridRun>& runs,
                             const std::function<void(size_t run, Ending& ending)>& take) {
  std::vector<Ending> endings(runs.size());
  if (runs.empty()) return endings;
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int workers = options.workers > 0 ? options.workers : cores;
  const int side_by_side = std::min(workers, static_cast<int>(runs.size()));
  std::vector<ChildCommand> commands;
  for (const GridRun& run : runs) {
    commands.push_back(command_of(options, run, std::max(1, workers / side_by_side)));
  }
  GridProgress progress(options, runs.size());
  run_children(
      commands, side_by_side,
      {.started = [&](size_t) { progress.started(); },
       .event = [&](size_t i,
                    const std::string& line) { take_event(line, i, endings[i], progress); },
       .ended =
           [&](size_t i, int code, const std::string& why) {
             endings[i].exit_code = code;
             endings[i].why = why;
             take(i, endings[i]);
             progress.ended(i, endings[i].exit_code != 0);
           }});
  return endings;
}

void report_failures(const GridOptions& options, const std::vector<GridRun>& runs,
                     const std::vector<Ending>& endings) {
  std::string failures;
  bool all_bad_input = true;
  for (size_t i = 0; i < runs.size(); ++i) {
    const Ending& ending = endings[i];
    if (ending.exit_code == 0) continue;
    const fs::path& log = runs[i].log;
    failures +=
        fmt::format("\n{} failed with exit code {} ({}):\n{}", runs[i].name, ending.exit_code,
                    log.string(), ending.why.empty() ? last_lines(log) : ending.why);
    all_bad_input = all_bad_input && ending.exit_code == 2;
  }
  if (failures.empty()) return;
  failures = fmt::format("some {} failed{}", options.of_what, failures);
  if (all_bad_input) throw InputError(failures);
  throw std::runtime_error(failures);
}

}  // namespace fedclock::tools
