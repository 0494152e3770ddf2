// Throughput of training and evaluation on fixed workloads (tools/bench/workloads.h), one thread,
// beside what the machine's sgemm does on the same matrix shapes in the same process.
//
// FLOPs are those of the plan (models/cost/work.h): what is computed beyond it earns nothing.
//   bench_training [options of Google Benchmark]
//   bench_training --write FOLDER     writes the workloads, for tools/bench/pytorch_loop.py
//   bench_training --measure NAME [--workers N] [--seconds S] [--bf16]
//                                     prints one line of JSON, for tools/bench/compare_training
// Portable kernels; FEDCLOCK_BENCH_NATIVE=1: native. FEDCLOCK_BENCH_BF16=1: native, with bf16.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "models/learning/evaluate.h"
#include "models/nn/files.h"
#include "models/nn/matrix.h"
#include "models/nn/safetensors.h"
#include "tools/bench/workloads.h"
#include "tools/fedclock/pin_kernels.h"

namespace {

using namespace fedclock::bench;
namespace nn = fedclock::nn;
namespace learning = fedclock::learning;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

// FLOP/s of [rows, in] x [in, out], the best of several tries of both OpenBLAS (libtorch's) and
// oneDNN.
double sgemm_flops(int64_t rows, int64_t in, int64_t out) {
  const at::Tensor a = at::randn({rows, in}), b = at::randn({in, out});
  at::Tensor c = at::empty({rows, out});
  constexpr int kProducts = 40;
  double best_s = 1e9;
  const auto attempt = [&](const auto& product) {
    best_s = std::min(best_s, seconds_of([&] {
                        for (int k = 0; k < kProducts; ++k) product();
                      }));
  };
  for (int i = 0; i < 10; ++i) {
    attempt([&] { at::mm_out(c, a, b); });
    attempt([&] {
      nn::multiply({a.data_ptr<float>(), rows, in, in}, {b.data_ptr<float>(), in, out, out},
                   {c.data_ptr<float>(), rows, out});
    });
  }
  return 2.0 * static_cast<double>(rows * in * out) * kProducts / best_s;
}

// Over the maps of a block, by their share of the FLOPs.
double sgemm_peak(const nn::Architecture& a) {
  const int64_t tokens = kBatchRows * kTokens;
  double flops = 0, seconds = 0;
  for (const nn::Target target : nn::kAllTargets) {
    const auto shape = nn::linear_shape(a, target);
    if (!shape) continue;
    const double of_map = 2.0 * static_cast<double>(tokens * shape->in * shape->out);
    flops += of_map;
    seconds += of_map / sgemm_flops(tokens, shape->in, shape->out);
  }
  return flops / seconds;
}

// `batches`: of kBatchRows rows; `flops`: of all of them.
void count(benchmark::State& state, double batches, double flops, double peak) {
  using benchmark::Counter;
  state.counters["steps/s"] = Counter(batches, Counter::kIsRate);
  state.counters["tokens/s"] =
      Counter(batches * static_cast<double>(kBatchRows * kTokens), Counter::kIsRate);
  state.counters["FLOP/s"] = Counter(flops, Counter::kIsRate);
  state.counters["sgemm"] = peak;
  state.counters["of_sgemm"] = Counter(flops / peak, Counter::kIsRate);
}

void train(benchmark::State& state, const Workload& work) {
  const double peak = sgemm_peak(work.architecture);
  learning::train(work.task, work.start, work.job);
  learning::TrainJob job = work.job;
  int64_t bytes = 0;
  for (auto _ : state) {
    ++job.round;
    bytes = learning::train(work.task, work.start, job).buffer_bytes;
  }
  const auto steps = static_cast<double>(job.settings.steps * state.iterations());
  count(state, steps, fedclock::cost::step_work(work.architecture, work.plan).flops() * steps,
        peak);
  state.counters["buffers_MiB"] = static_cast<double>(bytes) / (1 << 20);
}

void evaluate(benchmark::State& state, const Workload& work) {
  const double peak = sgemm_peak(work.architecture);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        learning::evaluate(work.task, work.start, *work.task.test, *work.job.rows).loss);
  }
  fedclock::cost::TrainingPlan plan = work.plan;
  plan.depth = 0;
  const double batches = static_cast<double>(work.job.rows->size()) / kBatchRows *
                         static_cast<double>(state.iterations());
  // The base's forward pass: what the adapters add is not counted.
  count(state, batches, fedclock::cost::step_work(work.architecture, plan).forward_flops * batches,
        peak);
}

std::string word(nn::Activation activation) {
  switch (activation) {
    case nn::Activation::kGelu: return "gelu";
    case nn::Activation::kGeluTanh: return "gelu_tanh";
    case nn::Activation::kRelu: return "relu";
    case nn::Activation::kSwiGlu: return "swiglu";
  }
  return "";
}

// What tools/bench/pytorch_loop.py reads.
nlohmann::ordered_json description(const Workload& work) {
  const nn::Architecture& a = work.architecture;
  const bool before = a.norm_place == nn::NormPlace::kBeforeBlock;
  nlohmann::ordered_json json{
      {"name", work.name},
      {"kind", a.kind == nn::Kind::kDecoder ? "decoder" : "encoder"},
      {"layers", a.layers},
      {"width", a.width},
      {"heads", a.heads},
      {"kv_heads", a.kv_heads},
      {"head_width", a.head_width},
      {"inner", a.ffn_width},
      {"max_tokens", a.max_tokens},
      {"vocabulary", a.vocabulary},
      {"activation", word(a.activation)},
      {"norm", a.norm == nn::Norm::kLayerNorm ? "layer_norm" : "rms_norm"},
      {"norm_place", before ? "before_block" : "after_block"},
      {"positions", a.positions == nn::Positions::kLearned ? "learned" : "rotary"},
      {"position_offset", a.position_offset},
      {"rope_theta", a.rope_theta},
      {"norm_epsilon", a.norm_epsilon},
      {"embedding_norm", a.embedding_norm},
      {"token_types", a.token_types},
      {"tied_head", a.tied_head},
      {"rank", work.task.adapter.rank},
      {"alpha", work.task.adapter.alpha},
      {"depth", work.job.trained.depth()},
      {"optimizer", work.job.settings.optimizer == learning::OptimizerKind::kSgd ? "sgd" : "adamw"},
      {"learning_rate", work.job.learning_rate},
      {"weight_decay", work.job.settings.weight_decay},
      {"clip_norm", work.job.settings.clip_norm},
      {"classes", work.task.train->classes}};
  for (const nn::Target target : work.task.adapter.targets) {
    json["targets"].push_back(std::string(nn::target_name(target)));
  }
  for (const learning::EncodedRow& row : work.task.train->rows) {
    json["rows"].push_back(row.ids);
    json["labels"].push_back(row.label);
    json["response_begin"].push_back(row.response_begin);
  }
  for (int64_t client = 0; client < work.clients; ++client) {
    json["clients"].push_back(learning::plan_batches(work.job_of(client)));
  }
  return json;
}

void write(const std::filesystem::path& folder) {
  for (const auto& work : all_workloads(nn::Precision::kFp32)) {
    if (!work->plan.experts.empty()) continue;  // the loop has no mixtures
    std::filesystem::create_directories(folder / work->name);
    nn::write_json(folder / work->name / "workload.json", description(*work));
    nn::write_safetensors(folder / work->name / "base.safetensors", work->weights);
    nn::write_safetensors(folder / work->name / "adapter.safetensors", work->start);
  }
}

// All clients once, each by one thread.
double pass_seconds(const Workload& work, int workers, int64_t& buffer_bytes) {
  std::atomic<int64_t> next = 0, bytes = 0;
  const auto run = [&] {
    learning::prepare_thread();
    for (int64_t client = next++; client < work.clients; client = next++) {
      const auto trained = learning::train(work.task, work.start, work.job_of(client));
      int64_t most = bytes;
      while (trained.buffer_bytes > most &&
             !bytes.compare_exchange_weak(most, trained.buffer_bytes)) {
      }
    }
  };
  const double seconds = seconds_of([&] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < workers; ++i) threads.emplace_back(run);
  });
  buffer_bytes = bytes;
  return seconds;
}

void measure(const std::filesystem::path& name, int workers, double seconds,
             nn::Precision precision) {
  for (const auto& work : all_workloads(precision)) {
    if (work->name != name.filename()) continue;
    int64_t steps = 0, bytes = 0;
    for (int64_t client = 0; client < work->clients; ++client) {
      steps += work->job_of(client).settings.steps;
    }
    pass_seconds(*work, workers, bytes);
    std::vector<double> passes;
    for (double spent = 0; spent < seconds || passes.empty(); spent += passes.back()) {
      passes.push_back(pass_seconds(*work, workers, bytes));
    }
    auto losses = learning::train(work->task, work->start, work->job_of(0)).step_losses;
    const nlohmann::ordered_json json{
        {"losses", losses},
        {"seconds_per_step", median(passes) / static_cast<double>(steps)},
        {"memory_bytes_per_worker", bytes},
        {"passes", passes.size()},
        {"threads", workers}};
    fmt::print("{}\n", json.dump());
    return;
  }
  fmt::print(stderr, "--measure {}: there is no such workload; known:", name.filename().string());
  for (const auto& work : all_workloads(precision)) fmt::print(stderr, " {}", work->name);
  fmt::print(stderr, "\n");
  std::exit(2);
}

void register_benchmarks(nn::Precision precision) {
  for (const auto& work : all_workloads(precision)) {
    benchmark::RegisterBenchmark(work->name.c_str(),
                                 [work](benchmark::State& state) { train(state, *work); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
  for (const auto& work : all_workloads(precision)) {
    if (work->architecture.kind == nn::Kind::kDecoder || work->job.trained.depth() < 6) continue;
    benchmark::RegisterBenchmark((work->name + "/evaluate").c_str(),
                                 [work](benchmark::State& state) { evaluate(state, *work); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool with_bf16 = std::getenv("FEDCLOCK_BENCH_BF16") != nullptr;
  const bool native = with_bf16 || std::getenv("FEDCLOCK_BENCH_NATIVE") != nullptr;
  fedclock::pin_kernels(
      native ? fedclock::KernelChoice::kNative : fedclock::KernelChoice::kPortable, argv);
  CLI::App program("Training throughput");
  program.allow_extras();
  std::string folder, name;
  int workers = 1;
  double seconds = 5;
  bool bf16 = with_bf16;
  program.footer(
      "Without --write and --measure: Google Benchmark, with its own options "
      "(--benchmark_filter=W2),\n"
      "about a minute. Portable kernels; FEDCLOCK_BENCH_NATIVE=1 in the environment: native ones;\n"
      "FEDCLOCK_BENCH_BF16=1: native ones with bf16 products.");
  program.add_option("--write", folder, "Write the workloads to this folder, for pytorch_loop.py");
  program.add_option("--measure", name, "Measure one workload; prints a line of JSON");
  program.add_option("--workers", workers, "Clients side by side, with --measure")
      ->check(CLI::Range(1, 1024));
  program.add_option("--seconds", seconds, "How long to measure, with --measure")
      ->check(CLI::Range(0.1, 3600.0));
  program.add_flag("--bf16", bf16, "bf16 products, with --measure");
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  learning::prepare_process();
  learning::prepare_thread();
  const nn::Precision precision = bf16 ? nn::Precision::kBf16 : nn::Precision::kFp32;
  if (bf16 && !nn::has_fast_bf16()) {
    fmt::print(stderr,
               "no bf16: this processor has no AMX, or kernels are pinned to portable ones "
               "(set FEDCLOCK_BENCH_NATIVE=1)\n");
    return 2;
  }
  const bool plain = folder.empty() && name.empty();
  if (!plain && program.remaining_size() > 0) {
    fmt::print(stderr, "{}: unknown option; see --help\n", program.remaining().front());
    return 2;
  }
  if (!folder.empty()) {
    write(folder);
  } else if (!name.empty()) {
    measure(name, workers, seconds, precision);
  } else {
    register_benchmarks(precision);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
  }
}
