// The fixed workloads of the training benchmarks, made from seeds: the same in every process.
//
//   W1  encoder, 6 layers, width 128, 4 heads, 16 sequences of 64 tokens, LoRA of rank 8 on q and
//       v, depth 6, 3 and 1, AdamW; and the same of width 256 with 8 heads
//   W2  decoder, 4 layers, width 128, 4 heads, vocabulary 96, 64 tokens, LoRA of rank 8 on q, k, v,
//       o, up and down; 20 clients with 4 SGD steps of 16 sequences each, from one state
//   W3  as W2, with 10 experts beside each adapter, of which a token goes to 2, and the
//       load-balance loss (FedAMoLE, 2411.19128)
#pragma once

#include <fmt/format.h>

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "models/cost/work.h"
#include "models/learning/self_measurement.h"
#include "models/learning/train.h"
#include "models/nn/torch.h"

namespace fedclock::bench {

inline constexpr int64_t kTokens = 64;
inline constexpr int64_t kBatchRows = 16;
inline constexpr int64_t kVocabulary = 96;
inline constexpr int64_t kClasses = 4;
// Client 0 trains longer where losses are compared with another program's.
inline constexpr int64_t kComparedSteps = 10;

struct Workload {
  std::string name;
  nn::Architecture architecture;
  nn::TensorMap weights;
  learning::LearningTask task;
  nn::TensorMap start;
  learning::TrainJob job;  // of any client: client c has `client` c
  int64_t clients = 1;
  cost::TrainingPlan plan;

  learning::TrainJob job_of(int64_t client) const {
    learning::TrainJob one = job;
    one.client = client;
    if (client == 0) one.settings.steps = std::max(one.settings.steps, kComparedSteps);
    return one;
  }
};

// Of a decoder every token but the first is a response.
inline learning::EncodedSet rows_of(bool responses) {
  learning::EncodedSet set = learning::random_rows(256, kTokens, kClasses, kVocabulary);
  if (!responses) return set;
  set.answers = {{3}, {4}, {5}, {6}};
  for (learning::EncodedRow& row : set.rows) row.response_begin = 1;
  return set;
}

inline std::shared_ptr<Workload> make_workload(std::string name, nn::Architecture architecture,
                                               std::vector<nn::Target> targets, int64_t depth,
                                               int64_t clients, int64_t steps,
                                               learning::OptimizerKind optimizer,
                                               nn::Precision precision) {
  auto work = std::make_shared<Workload>();
  const bool decoder = architecture.kind == nn::Kind::kDecoder;
  work->name = std::move(name);
  work->architecture = architecture;
  work->weights = nn::random_weights(architecture, 1);
  work->task.set_base(architecture, work->weights, precision);
  work->task.adapter = {.rank = 8, .alpha = 16, .dropout = 0, .targets = targets};
  work->task.train = std::make_shared<const learning::EncodedSet>(rows_of(decoder));
  work->task.test = work->task.train;
  work->start =
      nn::random_adapter(architecture, work->task.adapter, depth, decoder ? 0 : kClasses, 1);
  std::vector<int32_t> rows(work->task.train->rows.size());
  std::iota(rows.begin(), rows.end(), 0);
  work->job.rows = std::make_shared<const std::vector<int32_t>>(std::move(rows));
  work->job.settings = {
      .steps = steps, .epochs = 0, .batch_rows = kBatchRows, .optimizer = optimizer};
  work->job.trained = learning::last_layers(architecture.layers, depth, 8);
  work->job.learning_rate = 1e-3;
  work->clients = clients;
  work->plan = {.depth = depth,
                .rank = 8,
                .targets = targets,
                .batch_rows = kBatchRows,
                .sequence_tokens = kTokens,
                .head_outputs = decoder ? 0 : kClasses};
  return work;
}

// Every module with so many experts, of which a token goes to `top`.
inline void add_experts(Workload& work, int32_t count, int64_t top) {
  for (int64_t layer = 0; layer < work.architecture.layers; ++layer) {
    for (const nn::Target target : work.task.adapter.targets) {
      std::vector<int32_t>& own = work.job.trained.experts[{layer, target}];
      own.resize(static_cast<size_t>(count));
      std::iota(own.begin(), own.end(), 0);
      work.plan.experts[{layer, target}] = count;
    }
  }
  work.task.adapter.top_experts = work.plan.top_experts = top;
  work.start = nn::random_adapter(work.architecture, work.task.adapter, work.job.trained.ranks, 0,
                                  1, work.job.trained.experts);
  work.job.load_balance = 1e-3;
}

// Names are W1-depth6, W1-depth3, W1-depth1, W1-width256, W2 and W3.
inline std::vector<std::shared_ptr<Workload>> all_workloads(nn::Precision precision) {
  using enum nn::Target;
  std::vector<std::shared_ptr<Workload>> all;
  const auto encoder = [&](std::string name, int64_t width, int64_t heads, int64_t depth) {
    all.push_back(make_workload(
        std::move(name), nn::encoder_architecture(6, width, heads, 4 * width, kTokens, kVocabulary),
        {kQ, kV}, depth, 4, kComparedSteps, learning::OptimizerKind::kAdamW, precision));
  };
  for (const int64_t depth : {6, 3, 1}) encoder(fmt::format("W1-depth{}", depth), 128, 4, depth);
  encoder("W1-width256", 256, 8, 6);
  for (const char* name : {"W2", "W3"}) {
    all.push_back(make_workload(
        name, nn::decoder_architecture(4, 128, 4, 4, 512, kTokens, kVocabulary),
        {kQ, kK, kV, kO, kUp, kDown}, 4, 20, 4, learning::OptimizerKind::kSgd, precision));
  }
  add_experts(*all.back(), 10, 2);
  return all;
}

}  // namespace fedclock::bench
