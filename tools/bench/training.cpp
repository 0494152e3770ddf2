// Training throughput on fixed workloads, one thread, beside what the machine's sgemm does on the
// same matrix shapes in the same process.
//
//   W1  encoder, 6 layers, width 128, 4 heads, 16 sequences of 64 tokens, LoRA of rank 8 on q and
//   v,
//       depth 6, 3 and 1; a step of AdamW
//   W2  decoder, 4 layers, width 128, 4 heads, vocabulary 96, 64 tokens, LoRA of rank 8 on q, k, v,
//       o, up and down; a client's round of 4 SGD steps of 16 sequences
//
// FLOPs are those of the plan (models/cost/work.h): what is computed beyond it earns nothing.
//   bench_training [options of Google Benchmark]; portable kernels, FEDCLOCK_BENCH_NATIVE=1: native
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "models/common/random.h"
#include "models/cost/work.h"
#include "models/learning/train.h"
#include "models/nn/torch.h"
#include "tools/fedclock/pin_kernels.h"

namespace {

namespace nn = fedclock::nn;
using fedclock::learning::EncodedRow;
using fedclock::learning::LearningTask;
using fedclock::learning::OptimizerKind;
using fedclock::learning::TrainJob;

constexpr int64_t kTokens = 64;
constexpr int64_t kBatchRows = 16;
constexpr int64_t kVocabulary = 96;

struct Workload {
  LearningTask task;
  nn::TensorMap start;
  TrainJob job;
  fedclock::cost::TrainingPlan plan;
};

// Rows of full length with random tokens; of a decoder every token but the first is a response.
fedclock::learning::EncodedSet random_rows(bool responses) {
  fedclock::learning::EncodedSet set;
  set.classes = 4;
  if (responses) set.answers = {{3}, {4}, {5}, {6}};
  for (int64_t r = 0; r < 256; ++r) {
    fedclock::Random random(1, "bench rows", r);
    EncodedRow row;
    row.label = static_cast<int>(r % 4);
    for (int64_t t = 0; t < kTokens; ++t) {
      row.ids.push_back(static_cast<int32_t>(random.below(kVocabulary)));
    }
    row.types.assign(kTokens, 0);
    row.response_begin = responses ? 1 : 0;
    set.rows.push_back(std::move(row));
  }
  return set;
}

Workload make_workload(nn::Kind kind, int64_t layers, std::vector<nn::Target> targets,
                       int64_t depth, int64_t steps, OptimizerKind optimizer) {
  const bool decoder = kind == nn::Kind::kDecoder;
  const nn::Architecture architecture =
      decoder ? nn::decoder_architecture(layers, 128, 4, 4, 512, kTokens, kVocabulary)
              : nn::encoder_architecture(layers, 128, 4, 512, kTokens, kVocabulary);
  Workload work;
  work.task.set_base(architecture, nn::random_weights(architecture, 1));
  work.task.adapter = {.rank = 8, .alpha = 16, .dropout = 0, .targets = targets};
  work.task.train = random_rows(decoder);
  work.start = nn::random_adapter(architecture, work.task.adapter, depth, decoder ? 0 : 4, 1);
  std::vector<int32_t> rows(work.task.train.rows.size());
  std::iota(rows.begin(), rows.end(), 0);
  work.job.rows = std::make_shared<const std::vector<int32_t>>(std::move(rows));
  work.job.settings = {
      .steps = steps, .epochs = 0, .batch_rows = kBatchRows, .optimizer = optimizer};
  work.job.depth = depth;
  work.job.learning_rate = 1e-3;
  work.plan = {.depth = depth,
               .rank = 8,
               .targets = targets,
               .batch_rows = kBatchRows,
               .sequence_tokens = kTokens,
               .head_outputs = decoder ? 0 : 4};
  return work;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// FLOP/s of [rows, in] x [in, out], the best of several tries.
double sgemm_flops(int64_t rows, int64_t in, int64_t out) {
  const at::Tensor a = at::randn({rows, in}), b = at::randn({in, out});
  at::Tensor c = at::empty({rows, out});
  constexpr int kProducts = 40;
  double best_s = 1e9;
  for (int i = 0; i < 10; ++i) {
    best_s = std::min(best_s, seconds_of([&] {
                        for (int k = 0; k < kProducts; ++k) at::mm_out(c, a, b);
                      }));
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

void run(benchmark::State& state, const Workload& work) {
  fedclock::learning::prepare_thread();
  const double peak = sgemm_peak(work.task.base->architecture());
  fedclock::learning::train(work.task, work.start, work.job);
  TrainJob job = work.job;
  for (auto _ : state) {
    ++job.round;
    benchmark::DoNotOptimize(fedclock::learning::train(work.task, work.start, job).mean_loss);
  }
  const auto steps = static_cast<double>(job.settings.steps * state.iterations());
  const double flops =
      fedclock::cost::step_work(work.task.base->architecture(), work.plan).flops() * steps;
  using benchmark::Counter;
  state.counters["steps/s"] = Counter(steps, Counter::kIsRate);
  state.counters["tokens/s"] =
      Counter(steps * static_cast<double>(kBatchRows * kTokens), Counter::kIsRate);
  state.counters["FLOP/s"] = Counter(flops, Counter::kIsRate);
  state.counters["sgemm"] = peak;
  state.counters["of_sgemm"] = Counter(flops / peak, Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  const bool native = std::getenv("FEDCLOCK_BENCH_NATIVE") != nullptr;
  fedclock::pin_kernels(
      native ? fedclock::KernelChoice::kNative : fedclock::KernelChoice::kPortable, argv);
  fedclock::learning::prepare_process();
  using enum nn::Target;
  for (const int64_t depth : {6, 3, 1}) {
    const auto work = std::make_shared<Workload>(
        make_workload(nn::Kind::kEncoder, 6, {kQ, kV}, depth, 8, OptimizerKind::kAdamW));
    benchmark::RegisterBenchmark(fmt::format("W1/depth{}", depth).c_str(),
                                 [work](benchmark::State& state) { run(state, *work); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
  const auto work = std::make_shared<Workload>(make_workload(
      nn::Kind::kDecoder, 4, {kQ, kK, kV, kO, kUp, kDown}, 4, 4, OptimizerKind::kSgd));
  benchmark::RegisterBenchmark("W2", [work](benchmark::State& state) { run(state, *work); })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
