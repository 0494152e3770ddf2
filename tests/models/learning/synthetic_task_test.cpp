// The synthetic family asks for context and depth: on a base pretrained on its corpus, full-depth
// LoRA leaves a linear probe on bags of words far behind, and the last layer alone lags visibly at
// the same budget.
#include "models/nn/torch.h"

#include <catch2/catch.hpp>

#include <memory>
#include <numeric>

#include "models/data/bpe.h"
#include "models/data/synthetic.h"
#include "models/learning/evaluate.h"
#include "models/learning/pretrain.h"
#include "models/learning/train.h"

namespace fedclock::learning {
namespace {

constexpr int64_t kMaxTokens = 16;

struct Family {
  data::Dataset train, test;
  std::shared_ptr<const data::Tokenizer> tokenizer;
  nn::Architecture architecture;
  nn::TensorMap base;
};

// The quickstart's family and base.
Family make_family() {
  Family family;
  data::SyntheticSpec spec;
  spec.rows = 4000;
  family.train = data::synthetic_rows(spec, "train");
  spec.rows = 1000;
  family.test = data::synthetic_rows(spec, "test");
  spec.rows = 20000;
  spec.seed = 1000;
  const std::vector<std::string> corpus = data::synthetic_corpus(spec);
  family.tokenizer = std::make_shared<data::BpeTokenizer>(
      data::train_bpe(corpus, {.vocabulary = 600, .lowercase = true, .add_prefix_space = true}));
  family.architecture = nn::bert_architecture(4, 64, 4, 256, 32, 600);
  PretrainSettings settings;
  settings.steps = 1600;
  settings.batch_rows = 48;
  settings.sequence_tokens = 28;
  settings.learning_rate = 0.003;
  settings.mask_fraction = 0.25;
  family.base = pretrain(family.architecture, *family.tokenizer, corpus, settings, 2, {});
  return family;
}

// Test accuracy after `steps` steps on all rows.
double lora_accuracy(const Family& family, int64_t depth, int64_t steps) {
  LearningTask task;
  task.set_base(family.architecture, family.base);
  task.adapter.targets = {nn::Target::kQ, nn::Target::kK,  nn::Target::kV,
                          nn::Target::kO, nn::Target::kUp, nn::Target::kDown};
  task.pad = family.tokenizer->pad();
  task.train =
      std::make_shared<const EncodedSet>(encode(family.train, *family.tokenizer, kMaxTokens, 2));
  task.test =
      std::make_shared<const EncodedSet>(encode(family.test, *family.tokenizer, kMaxTokens, 2));
  TrainJob job;
  std::vector<int32_t> rows(family.train.rows.size());
  std::iota(rows.begin(), rows.end(), 0);
  job.rows = std::make_shared<const std::vector<int32_t>>(rows);
  job.trained = last_layers(2, depth, 2);
  job.settings.steps = steps;
  job.settings.batch_rows = 32;
  job.learning_rate = 0.002;
  job.seed = 1;
  const nn::TensorMap start =
      nn::random_adapter(family.architecture, task.adapter, depth, task.train->classes, 1);
  const TrainResult trained = train(task, start, job);
  rows.resize(family.test.rows.size());
  const EvaluationSums sums = evaluate(task, trained.tensors, *task.test, rows);
  return sums.score / static_cast<double>(sums.rows);
}

// A linear probe on counts of words: softmax regression by full-batch gradient descent.
double probe_accuracy(const Family& family) {
  const auto counts = [&](const data::Dataset& set) {
    at::Tensor x = at::zeros({static_cast<int64_t>(set.rows.size()), 600}, at::kFloat);
    for (size_t r = 0; r < set.rows.size(); ++r) {
      for (const int32_t id : family.tokenizer->encode(set.rows[r].text)) {
        x.data_ptr<float>()[static_cast<int64_t>(r) * 600 + id] += 1;
      }
    }
    return x;
  };
  const auto labels = [](const data::Dataset& set) {
    std::vector<int64_t> y;
    for (const data::Row& row : set.rows) y.push_back(row.label);
    return at::tensor(y, at::kLong);
  };
  at::NoGradGuard no_gradients;
  const at::Tensor x = counts(family.train), y = labels(family.train);
  const at::Tensor wanted = at::one_hot(y, 8).to(at::kFloat);
  at::Tensor weight = at::zeros({600, 8}), bias = at::zeros({8});
  for (int step = 0; step < 400; ++step) {
    const at::Tensor error = at::softmax(at::matmul(x, weight) + bias, 1) - wanted;  // [rows, 8]
    weight.sub_(at::matmul(x.t(), error), 2.0 / static_cast<double>(x.size(0)));
    bias.sub_(error.mean(0), 2.0);
  }
  const at::Tensor guess = (at::matmul(counts(family.test), weight) + bias).argmax(1);
  return guess.eq(labels(family.test)).to(at::kDouble).mean().item<double>();
}

TEST_CASE("context and depth matter on the synthetic family", "[slow]") {
  prepare_process();
  prepare_thread();
  const Family family = make_family();
  const double full = lora_accuracy(family, 4, 400);
  const double one = lora_accuracy(family, 1, 400);
  const double probe = probe_accuracy(family);
  WARN("full depth " << full << ", depth 1 " << one << ", bag of words " << probe);
  CHECK(full >= 0.8);
  CHECK(probe <= full - 0.2);
  CHECK(one <= full - 0.1);
}

}  // namespace
}  // namespace fedclock::learning
