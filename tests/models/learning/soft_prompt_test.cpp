// Soft prompts: what they are, their gradients by the fast path against autograd, and decoding.
#include "models/nn/torch.h"

#include "models/nn/soft_prompt.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "models/common/error.h"
#include "models/data/bpe.h"
#include "models/learning/decode.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

constexpr int64_t kTokens = 3;

// Rows of tiny_rows() with a prompt before them.
std::shared_ptr<const EncodedSet> behind_prompt(const EncodedSet& set) {
  EncodedSet with = set;
  for (EncodedRow& row : with.rows) {
    for (int64_t p = kTokens - 1; p >= 0; --p) row.ids.insert(row.ids.begin(), nn::prompt_id(p));
    row.types.assign(row.ids.size(), 0);
    row.response_begin += kTokens;
  }
  return std::make_shared<const EncodedSet>(std::move(with));
}

// With Llama's norms and positions, or GPT-2's.
LearningTask prompt_task(double encoder, bool like_gpt2 = false) {
  LearningTask task = tiny_task(nn::Kind::kDecoder, true);
  if (like_gpt2) {
    nn::Architecture a = task.architecture();
    a.norm = nn::Norm::kLayerNorm;
    a.positions = nn::Positions::kLearned;
    a.biases = a.qkv_biases = true;
    a.activation = nn::Activation::kGelu;
    nn::check_architecture(a);
    task.set_base(a, tiny_weights(a));
  }
  task.adapter.prompt = {kTokens, encoder};
  task.train = behind_prompt(*task.train);
  task.test = behind_prompt(*task.test);
  return task;
}

nn::TensorMap prompt_of(const LearningTask& task) {
  return nn::random_prompt(task.adapter.prompt, task.weights->at("embeddings.token"), 7);
}

TrainJob job_of(int64_t depth) {
  TrainJob job;
  job.rows = first_rows(60);
  job.settings = {.steps = 5, .epochs = 0, .batch_rows = 60, .optimizer = OptimizerKind::kSgd};
  job.trained = last_layers(2, depth, 2);
  job.learning_rate = 0.5;
  job.seed = 11;
  return job;
}

TEST_CASE("soft prompt: rows of the vocabulary, or what the encoder makes of its own") {
  const LearningTask plain = prompt_task(0);
  const nn::TensorMap words = prompt_of(plain);
  REQUIRE(words.size() == 1);
  const at::Tensor prompt = nn::soft_prompt(words);
  CHECK(at::equal(prompt, words.at("prompt.embedding")));
  const at::Tensor& vocabulary = plain.weights->at("embeddings.token");
  for (int64_t p = 0; p < kTokens; ++p) {
    CHECK((vocabulary == prompt.select(0, p)).all(1).any().item<bool>());
  }

  const LearningTask encoded = prompt_task(0.5);
  const nn::TensorMap tensors = prompt_of(encoded);
  CHECK(tensors.size() == 7);
  CHECK(tensors.at("prompt.encoder.1.weight").sizes() == at::IntArrayRef({8, 8}));
  // By hand, element by element.
  std::vector<double> x;
  const at::Tensor first = tensors.at("prompt.embedding").select(0, 0);
  for (int64_t i = 0; i < 16; ++i) x.push_back(first[i].item<double>());
  for (const char* layer : {"0", "1", "2"}) {
    const at::Tensor w = tensors.at(std::string("prompt.encoder.") + layer + ".weight");
    const at::Tensor b = tensors.at(std::string("prompt.encoder.") + layer + ".bias");
    std::vector<double> y;
    for (int64_t o = 0; o < w.size(0); ++o) {
      double sum = b[o].item<double>();
      for (int64_t i = 0; i < w.size(1); ++i) {
        const double input = layer[0] == '0' ? x[i] : std::max(0.0, x[i]);
        sum += w[o][i].item<double>() * input;
      }
      y.push_back(sum);
    }
    x = y;
  }
  const at::Tensor made = nn::soft_prompt(tensors).select(0, 0);
  for (int64_t i = 0; i < 16; ++i) CHECK(made[i].item<double>() == Approx(x[i]).margin(1e-6));
}

TEST_CASE("soft prompt: training by hand and by autograd, alone and beside adapters") {
  const double encoder = GENERATE(0.0, 0.5);
  const int64_t depth = GENERATE(0, 1, 2);
  const bool like_gpt2 = GENERATE(false, true);
  CAPTURE(encoder, depth, like_gpt2);
  LearningTask task = prompt_task(encoder, like_gpt2);
  nn::TensorMap start = prompt_of(task);
  if (depth > 0) {
    for (const auto& [name, tensor] : tiny_trained(task)) {
      if (name.starts_with("layers.1") || depth == 2) start[name] = tensor;
    }
  }
  const TrainResult fast = train(task, start, job_of(depth));
  task.trunk = nullptr;
  const TrainResult reference = train(task, start, job_of(depth));
  REQUIRE(fast.tensors.size() == reference.tensors.size());
  for (const auto& [name, tensor] : fast.tensors) {
    INFO(name);
    CHECK(at::allclose(tensor, reference.tensors.at(name), 1e-3, 2e-5));
    CHECK_FALSE(at::equal(tensor, start.at(name)));
  }
  CHECK(fast.numbers.mean_loss == Approx(reference.numbers.mean_loss).epsilon(1e-5));
  CHECK(fast.step_losses.back() < fast.step_losses.front());
  CHECK(fast.numbers.head_update > 0);
}

TEST_CASE("soft prompt: the gradient is that of finite differences") {
  const LearningTask task = prompt_task(0);
  nn::TensorMap state = prompt_of(task);
  TrainJob job = job_of(0);
  job.settings.steps = 1;
  job.settings.batch_rows = 60;
  job.learning_rate = 1;
  const at::Tensor moved = train(task, state, job).tensors.at("prompt.embedding");
  const at::Tensor gradient = state.at("prompt.embedding") - moved;  // of SGD at rate 1
  at::Tensor& prompt = state["prompt.embedding"];
  prompt = prompt.clone();
  // Of the mean over response tokens: loss of a step at rate 0.
  const auto loss = [&] {
    job.learning_rate = 0;
    return train(task, state, job).numbers.mean_loss;
  };
  for (const auto& [p, i] : {std::pair(0, 0), std::pair(1, 7), std::pair(2, 15)}) {
    float& value = prompt.data_ptr<float>()[p * 16 + i];
    const float before = value;
    constexpr double kStep = 1e-2;
    value = static_cast<float>(before + kStep);
    const double above = loss();
    value = static_cast<float>(before - kStep);
    const double below = loss();
    value = before;
    CHECK(gradient[p][i].item<double>() ==
          Approx((above - below) / (2 * kStep)).epsilon(1e-3).margin(5e-5));
  }
}

TEST_CASE("soft prompt: evaluation and decoding see it, as stock operators do") {
  LearningTask task = prompt_task(0.5);
  const nn::TensorMap state = prompt_of(task);
  nn::TensorMap other = state;
  other["prompt.embedding"] = state.at("prompt.embedding") + 1;
  const auto rows = first_rows(20);
  const EvaluationSums fast = evaluate(task, state, *task.test, *rows);
  CHECK(evaluate(task, other, *task.test, *rows).loss != fast.loss);
  const auto texts = rows_of(*task.test, *rows);
  const Decoding how{.end = -1, .most_tokens = 5, .vocabulary = 40};
  const Decoded decoded = decode_greedily(task, state, texts, how);
  task.trunk = nullptr;
  CHECK(evaluate(task, state, *task.test, *rows).loss == Approx(fast.loss).epsilon(1e-5));
  CHECK(decode_greedily(task, state, texts, how).written == decoded.written);
}

TEST_CASE("encode: a soft prompt stands before each row, beyond max_tokens") {
  data::Dataset dataset;
  dataset.classes = {"no", "yes"};
  dataset.rows.push_back({"cats eat mice", "", "yes", 1, ""});
  const Base base = tiny_base(nn::Kind::kDecoder);
  const EncodedRow without = encode(dataset, *base.tokenizer, 8, 0).rows[0];
  const EncodedRow with = encode(dataset, *base.tokenizer, 8, 0, 0, kTokens).rows[0];
  REQUIRE(with.ids.size() == without.ids.size() + kTokens);
  CHECK(std::vector(with.ids.begin(), with.ids.begin() + kTokens) == std::vector{-1, -2, -3});
  CHECK(std::vector(with.ids.begin() + kTokens, with.ids.end()) == without.ids);
  CHECK(with.response_begin == without.response_begin + kTokens);
  CHECK(with.types.size() == with.ids.size());
}

}  // namespace
}  // namespace fedclock::learning
