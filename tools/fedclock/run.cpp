#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <ctime>
#include <memory>
#include <optional>
#include <thread>

#include "models/learning/numerics.h"
#include "sim/experiment/convert.h"
#include "sim/results/compare.h"
#include "sim/results/exports.h"
#include "sim/results/files.h"
#include "sim/results/json_text.h"
#include "sim/scenario/methods.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/interrupt.h"
#include "tools/fedclock/pin_kernels.h"
#include "tools/fedclock/progress.h"
#include "tools/fedclock/say.h"
#include "tools/fedclock/store_options.h"

namespace fedclock::tools {

namespace {

struct RunOptions {
  ScenarioOptions scenario;
  std::string out;
  int workers = 0;
  bool timing_only = false;
  bool quiet = false;
  bool overwrite = false;
  bool explain = false;
  bool json = false;
  std::string device = "cpu";
  int events = -1;
  StoreChoice store;
};

using Clock = std::chrono::steady_clock;

void print_line(const char* what, const std::string& value) {
  fmt::print("{:<18} {}\n", what, value);
}

// "4 x board, 2 x large board (30W)".
std::string devices_text(const v1::Scenario& scenario) {
  std::vector<std::string> groups;
  for (const v1::DeviceGroup& group : scenario.platform().devices()) {
    const std::string mode = group.mode().empty() ? "" : fmt::format(" ({})", group.mode());
    groups.push_back(fmt::format("{} x {}{}", group.count(), group.device().name(), mode));
  }
  return fmt::format("{}", fmt::join(groups, ", "));
}

// The reason says it alone where the run ended with its last round: "20 rounds done".
std::string rounds_text(const v1::Result& result) {
  const std::string rounds = fmt::format("{}", result.rounds().rbegin()->round());
  if (result.stop_reason().starts_with(rounds + " round")) return result.stop_reason();
  return fmt::format("{} ({})", rounds, result.stop_reason());
}

void print_accuracies(const v1::Result& result) {
  const std::optional<double> best = results::best_accuracy(result);
  if (!best) return;
  const auto text = [](const v1::Round& round) {
    return round.has_accuracy() ? fmt::format("{:.4f}", round.accuracy()) : "-";
  };
  const v1::Round& last = *result.rounds().rbegin();
  const bool rouge = result.metric() == "rouge_l";
  print_line(rouge ? "ROUGE-L" : "accuracy",
             fmt::format("{} at the end, {:.4f} at best, {} before training", text(last), *best,
                         text(result.rounds(0))));
  if (last.has_client_accuracy()) {
    print_line("on own rows", fmt::format("{:.4f}, mean over clients", last.client_accuracy()));
  }
}

// What broke off or was dropped, and what the devices drew; nothing where there is none.
void print_losses_and_energy(const v1::Result& result) {
  const results::Lost lost = results::lost_in(result);
  if (lost.any()) {
    print_line("lost",
               fmt::format("{} part{} dropped; {} of devices' work, {} up, {} down", lost.dropped,
                           lost.dropped == 1 ? "" : "s", duration_text(lost.seconds),
                           bytes_text(static_cast<double>(lost.bytes_up)),
                           bytes_text(static_cast<double>(lost.bytes_down))));
  }
  if (lost.empty_rounds > 0) {
    print_line("merged nothing", fmt::format("{} of {} rounds: all of their clients were dropped",
                                             lost.empty_rounds, result.rounds_size() - 1));
  }
  if (const std::optional<results::Energy> energy = results::energy_of(result)) {
    print_line("energy", fmt::format("{}: training {}, download {}, upload {}, waiting {}",
                                     joules_text(energy->total_j()), joules_text(energy->train_j),
                                     joules_text(energy->download_j), joules_text(energy->upload_j),
                                     joules_text(energy->wait_j)));
  }
}

void print_summary(const v1::Scenario& scenario, const v1::Result& result,
                   const std::filesystem::path& out) {
  print_line("scenario", result.scenario());
  print_line("method", scenario::method_text(scenario));
  print_line("seed", fmt::format("{}", scenario.seed()));
  print_line("learns", result.learned() ? result.learning_model() : "nothing (timing only)");
  print_line("is timed as", result.timed_model());
  print_line("devices", devices_text(scenario));
  print_line("clients", fmt::format("{}", result.clients_size()));
  print_line("rounds", rounds_text(result));
  print_line("simulated time", duration_text(result.rounds().rbegin()->end_s()));
  print_accuracies(result);
  const results::Traffic traffic = results::total_traffic(result);
  print_line("traffic", fmt::format("{} up, {} down", bytes_text(static_cast<double>(traffic.up)),
                                    bytes_text(static_cast<double>(traffic.down))));
  print_losses_and_energy(result);
  for (const std::string& note : result.notes()) print_line("note", note);
  if (result.learned()) print_line("numbers from", result.numerics());
  print_line("written to", out.string());
  if (result.learned() && scenario.federation().schedule().has_local_only()) {
    print_line("final adapter", "client 0's: every client has a model of its own");
  }
  print_line("run digest", results::run_digest(result).hex());
  if (result.assumptions_size() > 0) {
    print_line("assumptions",
               fmt::format("{} figures have no public source: scenario.textproto has them",
                           result.assumptions_size()));
  }
}

// What became of the jobs: the graph's accounts, by kind.
void print_jobs(const learning::JobCounts& counts) {
  constexpr std::array<const char*, learning::kJobKinds> kNames = {
      "initial adapter", "local training", "aggregation", "evaluation", "content digest"};
  fmt::print("{:<18} {:>8} {:>8} {:>8}\n", "jobs", "known", "shared", "computed");
  const auto line = [](const char* name, const learning::JobCount& count) {
    fmt::print("  {:<16} {:>8} {:>8} {:>8}\n", name, count.known, count.shared, count.computed);
  };
  for (size_t i = 0; i < kNames.size(); ++i) line(kNames[i], counts.by_kind[i]);
  line("all", counts.total());
}

// Empty where the text is a number of workers.
std::string whole_workers(const std::string& text) {
  int workers = 0;
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, workers);
  if (error == std::errc() && read == end && workers >= 1 && workers <= 1024) return "";
  return text + ": a whole number from 1 to 1024 is needed";
}

std::shared_ptr<learning::Store> open_store(const StoreChoice& choice) {
  const std::filesystem::path path = store_path(choice);
  if (choice.off) return nullptr;
  if (path.empty()) {
    say("no HOME in the environment: what is learnt is not kept (--store FILE names a place)\n");
    return nullptr;
  }
  return learning::Store::open(path, {.limit_bytes = parse_bytes("--store-limit", choice.limit),
                                      .warn = [](const std::string& text) { say("{}\n", text); }});
}

// Who reads it may be waiting.
void print_line_at_once(const std::string& line) {
  fmt::print("{}", line);
  std::fflush(stdout);
}

void run(const RunOptions& options, char** argv) {
  // Before this, libraries were loaded, twice where kernels had to be pinned: that is busy time,
  // and the process's own survives its executing itself again.
  const double before_s = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  const Clock::time_point start = Clock::now();
  const scenario::Loaded loaded = load(options.scenario);
  const std::string mode = mode_of(loaded.scenario);
  pin_kernels(mode == "native" ? KernelChoice::kNative : KernelChoice::kPortable, argv);
  const nn::Precision precision = experiment::learning_precision(loaded.scenario);
  const learning::Device device = device_of(options.device);
  if (!options.timing_only) {
    learning::refuse_reference_blas();
    learning::require_hardware(mode, precision, device);
  }
  end_when_interrupted();

  experiment::Options how = experiment_options(options.scenario);
  if (!options.timing_only) how.store = open_store(options.store);
  how.timing_only = options.timing_only;
  how.workers = options.workers > 0
                    ? options.workers
                    : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  how.base_numerics = learning::pretraining_libraries(mode);
  if (!options.timing_only) how.numerics = learning::learning_libraries(mode, precision, device);
  how.device = device;
  experiment::Experiment experiment(loaded, how);
  const std::filesystem::path out = options.out.empty()
                                        ? std::filesystem::path("results") / loaded.scenario.name()
                                        : std::filesystem::path(options.out);
  results::prepare_folder(out, experiment.description(), options.overwrite);

  v1::Result result;
  {
    Progress progress(loaded.scenario.stop(), options.quiet, options.events);
    const experiment::Observer observer{
        .base = {.stage = [&](const std::string& text) { progress.stage(text); },
                 .step = [&](const learning::PretrainProgress& p) { progress.pretraining(p); }},
        .round = [&](const v1::Round& round) {
          progress.round(round);
          if (options.json) print_line_at_once(results::json_line_of(round));
        }};
    result = experiment.run(observer, out);
    progress.jobs(experiment.job_counts().total());
  }
  results::write_files(out, result, scenario::to_text(loaded.scenario));
  if (options.json) {
    const nlohmann::ordered_json end = {{"type", "done"},
                                        {"out", out.string()},
                                        {"run_digest", results::run_digest(result).hex()},
                                        {"stop_reason", result.stop_reason()}};
    print_line_at_once(results::json_text(end) + "\n");
    return;
  }
  print_summary(loaded.scenario, result, out);
  if (experiment.buffer_bytes() > 0) {
    print_line("memory here",
               fmt::format("{} of activations a worker, at most",
                           bytes_text(static_cast<double>(experiment.buffer_bytes()))));
  }
  if (options.explain) print_jobs(experiment.job_counts());
  const std::chrono::duration<double> real = Clock::now() - start;
  print_line("real time", duration_text(before_s + real.count()));
}

}  // namespace

void add_run(CLI::App& program, char** argv) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = program.add_subcommand("run", "Run a scenario and write its results");
  add_scenario_options(*command, options->scenario);
  command->add_option(
      "-o,--out", options->out,
      "Folder for the results [default: results/NAME, by the scenario's name]; refused "
      "where it holds the result of another run");
  command->add_flag("--overwrite", options->overwrite,
                    "Write over the result of another run in that folder");
  command
      ->add_option("--workers", options->workers,
                   "Threads that learn; changes the real time, never a result [default: all "
                   "cores]")
      ->check(whole_workers, "");
  add_device_option(*command, options->device);
  command->add_flag("--timing-only", options->timing_only,
                    "Skip the learning: the same clock, to the last bit, and no accuracies");
  add_store_options(*command, options->store);
  command->add_flag("--explain", options->explain,
                    "Say how many jobs were known from the store, shared, or computed");
  command->add_flag("--quiet", options->quiet, "No progress on standard error");
  command->add_flag("--json", options->json,
                    "On standard output a JSON object a line, for each round and for the end, in "
                    "the place of the summary");
  // For `fedclock sweep`, which listens at the other end: not for people (no group: not in help).
  command->add_option("--events", options->events)->group("");
  command->callback([options, argv] { run(*options, argv); });
}

}  // namespace fedclock::tools
