#include "models/learning/self_measurement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "models/common/random.h"
#include "models/learning/train.h"
#include "models/nn/matrix.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

constexpr int64_t kLayers = 4, kRank = 8, kClasses = 4, kVocabulary = 512, kRows = 256;
constexpr int64_t kWidths[] = {64, 128, 256};
constexpr int64_t kLengths[] = {16, 32, 64, 128};
constexpr int64_t kDepths[] = {1, 2, 4};
constexpr int64_t kBatches[] = {4, 16, 32};
// A point is measured at least three times, and then until this time is spent.
constexpr double kSecondsAPoint = 0.4;
constexpr int kLeastTimes = 3, kMostTimes = 15;
// Of a job, as far as no row comes twice in it: its frozen layers would be remembered.
constexpr int64_t kTokensAJob = 8192;
constexpr int64_t kLeastSteps = 2;

double seconds_of(const SecondsNow& now, const std::function<void()>& work) {
  const double start = now();
  work();
  return now() - start;
}

LearningTask task_of(const nn::Architecture& architecture, const cost::TrainingPlan& plan) {
  LearningTask task;
  task.set_base(architecture, nn::random_weights(architecture, 1));
  task.adapter = {.rank = plan.rank,
                  .alpha = 2.0 * static_cast<double>(plan.rank),
                  .dropout = 0,
                  .targets = plan.targets};
  task.train = std::make_shared<const EncodedSet>(
      random_rows(kRows, plan.sequence_tokens, kClasses, kVocabulary));
  return task;
}

// Seconds of a step: the median over jobs of a few steps each.
double step_seconds_of(const nn::Architecture& architecture, const cost::TrainingPlan& plan,
                       const SecondsNow& now) {
  const LearningTask task = task_of(architecture, plan);
  const nn::TensorMap start =
      nn::random_adapter(architecture, task.adapter, plan.depth, kClasses, 1);
  std::vector<int32_t> rows(static_cast<size_t>(kRows));
  std::iota(rows.begin(), rows.end(), 0);
  TrainJob job;
  job.rows = std::make_shared<const std::vector<int32_t>>(std::move(rows));
  const int64_t steps = std::clamp(kTokensAJob / (plan.batch_rows * plan.sequence_tokens),
                                   kLeastSteps, kRows / plan.batch_rows);
  job.settings = {.steps = steps, .epochs = 0, .batch_rows = plan.batch_rows};
  job.trained = last_layers(architecture.layers, plan.depth, plan.rank);
  job.learning_rate = 1e-3;
  train(task, start, job);  // buffers and kernels are made
  std::vector<double> times;
  double spent = 0;
  while (std::ssize(times) < kLeastTimes ||
         (spent < kSecondsAPoint && std::ssize(times) < kMostTimes)) {
    ++job.round;
    times.push_back(seconds_of(now, [&] { train(task, start, job); }));
    spent += times.back();
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2] / static_cast<double>(steps);
}

}  // namespace

EncodedSet random_rows(int64_t count, int64_t tokens, int64_t classes, int64_t vocabulary) {
  EncodedSet set;
  set.classes = classes;
  for (int64_t r = 0; r < count; ++r) {
    Random random(1, "rows of a measurement", static_cast<uint64_t>(r));
    EncodedRow row;
    row.label = static_cast<int>(r % classes);
    for (int64_t t = 0; t < tokens; ++t) {
      row.ids.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
    }
    row.types.assign(row.ids.size(), 0);
    set.rows.push_back(std::move(row));
  }
  return set;
}

double measured_peak_flops(const SecondsNow& now) {
  constexpr int64_t kSize = 512;
  const at::Tensor a = at::ones({kSize, kSize}), b = at::ones({kSize, kSize});
  const at::Tensor c = at::empty({kSize, kSize});
  const auto view = [](const at::Tensor& t) {
    return nn::Matrix(t.data_ptr<float>(), kSize, kSize);
  };
  double best_s = 1e9;
  for (int i = 0; i < 30; ++i) {
    best_s = std::min(best_s, seconds_of(now, [&] { nn::multiply(view(a), view(b), view(c)); }));
  }
  return 2.0 * kSize * kSize * kSize / best_s;
}

double measured_bandwidth_bytes_s(const SecondsNow& now) {
  constexpr size_t kBytes = size_t{256} << 20;  // more than caches hold
  const auto from = std::make_unique<char[]>(kBytes);
  const auto to = std::make_unique<char[]>(kBytes);
  std::memset(from.get(), 1, kBytes);
  std::memset(to.get(), 2, kBytes);
  double best_s = 1e9;
  for (int i = 0; i < 10; ++i) {
    best_s = std::min(best_s, seconds_of(now, [&] { std::memcpy(to.get(), from.get(), kBytes); }));
  }
  return 2.0 * static_cast<double>(kBytes) / best_s;
}

std::vector<cost::MeasuredStep> measure_training(
    const std::string& device, uint64_t seed, const SecondsNow& now,
    const std::function<void(int64_t done, int64_t of)>& progress) {
  std::vector<cost::MeasuredStep> grid;
  for (const int64_t width : kWidths) {
    for (const int64_t length : kLengths) {
      for (const int64_t depth : kDepths) {
        for (const int64_t batch : kBatches) {
          cost::MeasuredStep step;
          step.device = device;
          step.architecture = fmt::format("encoder-{}x{}x{}", kLayers, width, width / 32);
          step.shape = cost::architecture_by_name(step.architecture, length);
          step.plan = {.depth = depth,
                       .rank = kRank,
                       .targets = {nn::Target::kQ, nn::Target::kV},
                       .batch_rows = batch,
                       .sequence_tokens = length,
                       .head_outputs = kClasses};
          grid.push_back(std::move(step));
        }
      }
    }
  }
  Random random(seed, "order of a self-measurement");
  random.shuffle(grid);
  for (size_t i = 0; i < grid.size(); ++i) {
    grid[i].seconds = step_seconds_of(grid[i].shape, grid[i].plan, now);
    progress(static_cast<int64_t>(i) + 1, std::ssize(grid));
  }
  return grid;
}

}  // namespace fedclock::learning
