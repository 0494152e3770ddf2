#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "models/common/error.h"
#include "models/learning/numerics.h"
#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/pin_kernels.h"
#include "tools/fedclock/progress.h"

namespace fedclock::tools {

namespace {

struct RunOptions {
  ScenarioOptions scenario;
  std::string out;
  int workers = 0;
  bool timing_only = false;
  bool quiet = false;
};

void print_summary(const v1::Result& result, const std::filesystem::path& out, double real_s) {
  const v1::Round& last = *result.rounds().rbegin();
  const auto line = [](const char* what, const std::string& value) {
    fmt::print("{:<18} {}\n", what, value);
  };
  line("scenario", result.scenario());
  line("learns", result.learned() ? result.learning_model() : "nothing (timing only)");
  line("is timed as", result.timed_model());
  line("clients", fmt::format("{}", result.clients_size()));
  line("rounds", fmt::format("{} ({})", last.round(), result.stop_reason()));
  line("simulated time", duration_text(last.end_s()));
  if (const auto best = results::best_accuracy(result)) {
    line("accuracy", fmt::format("{:.4f} at the end, {:.4f} at best, {:.4f} before training",
                                 last.accuracy(), *best, result.rounds(0).accuracy()));
  }
  if (last.has_client_accuracy()) {
    line("on own rows", fmt::format("{:.4f}, mean over clients", last.client_accuracy()));
  }
  line("traffic", bytes_text(static_cast<double>(results::total_bytes(result))));
  line("numbers from", result.numerics());
  line("real time", duration_text(real_s));
  line("written to", out.string());
  line("run digest", results::run_digest(result).hex());
  if (result.assumptions_size() > 0) {
    line("assumptions", fmt::format("{} figures have no public source: scenario.textproto has them",
                                    result.assumptions_size()));
  }
}

void run(const RunOptions& options, char** argv) {
  const scenario::Loaded loaded = load(options.scenario);
  const bool native = loaded.scenario.numerics() == v1::NATIVE;
  pin_kernels(native ? KernelChoice::kNative : KernelChoice::kPortable, argv);
  if (!options.timing_only) learning::refuse_reference_blas();

  experiment::Options how = experiment_options(options.scenario);
  how.timing_only = options.timing_only;
  how.workers = options.workers > 0
                    ? options.workers
                    : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  how.numerics = learning::numeric_libraries(native ? "native" : "portable");
  experiment::Experiment experiment(loaded, how);
  const std::filesystem::path out =
      options.out.empty() ? std::filesystem::path("results") / loaded.scenario.name()
                          : std::filesystem::path(options.out);
  results::prepare_folder(out, experiment.description());

  v1::Result result;
  double real_s = 0;
  {
    Progress progress(loaded.scenario.stop().rounds(), options.quiet);
    const experiment::Observer observer{
        .base = {.stage = [&](const std::string& text) { progress.stage(text); },
                 .step = [&](const learning::PretrainProgress& p) { progress.pretraining(p); }},
        .round = [&](const v1::Round& round) { progress.round(round); }};
    result = experiment.run(observer, out);
    real_s = progress.real_s();
  }
  results::write_files(out, result, scenario::to_text(loaded.scenario));
  print_summary(result, out, real_s);
}

}  // namespace

void add_run(CLI::App& program, char** argv) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = program.add_subcommand("run", "Run a scenario and write its results");
  add_scenario_options(*command, options->scenario);
  command->add_option("--out", options->out, "Folder for the results [default: results/NAME]");
  command->add_option("--workers", options->workers,
                      "Threads that learn; changes the real time, never a result [default: all "
                      "cores]")
      ->check(CLI::PositiveNumber);
  command->add_flag("--timing-only", options->timing_only,
                    "Skip the learning: the same clock, to the last bit, and no accuracies");
  command->add_flag("--quiet", options->quiet, "No progress on standard error");
  command->callback([options, argv] { run(*options, argv); });
}

}  // namespace fedclock::tools
