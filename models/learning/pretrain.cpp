#include "models/learning/pretrain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/optimizer.h"
#include "models/learning/pool.h"
#include "models/learning/train.h"

namespace fedclock::learning {

namespace {

// Shards of a batch: a constant, so that sums do not depend on the number of workers.
constexpr int64_t kShards = 4;
// AdamW moves every row of the embedding by about the learning rate in every step, seen or not: at
// the full rate, what co-occurrence had taught it is gone before the layers have learnt to use it.
constexpr double kKnownEmbeddingRate = 0.3;
constexpr double kWarmUp = 0.05;
constexpr double kFinalRate = 0.1;

// All texts in one stream, each followed by the end token.
std::vector<int32_t> token_stream(const data::Tokenizer& tokenizer,
                                  const std::vector<std::string>& texts) {
  std::vector<int32_t> stream;
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = tokenizer.encode(text);
    stream.insert(stream.end(), ids.begin(), ids.end());
    stream.push_back(tokenizer.end());
  }
  return stream;
}

// Rising, then a cosine from 1 down to kFinalRate.
double rate_factor(int64_t step, int64_t steps) {
  const double warm_up = std::max(1.0, kWarmUp * static_cast<double>(steps));
  const auto done = static_cast<double>(step + 1);
  if (done <= warm_up) return done / warm_up;
  const double rest = std::max(1.0, static_cast<double>(steps) - warm_up);
  const double x = (done - warm_up) / rest;
  return kFinalRate + (1.0 - kFinalRate) * 0.5 * (1.0 + std::cos(std::numbers::pi * x));
}

// Sequences of one shard with the places that are predicted.
struct Shard {
  at::Tensor ids;      // [rows, tokens]
  at::Tensor places;   // [n] row * tokens + position of the predicting state
  at::Tensor targets;  // [n]
};

class Shards {
 public:
  Shards(const nn::Architecture& architecture, const data::Tokenizer& tokenizer,
         const std::vector<int32_t>& stream, const PretrainSettings& settings)
      : kind_(architecture.kind),
        vocabulary_(architecture.vocabulary),
        start_(tokenizer.start()),
        mask_(tokenizer.mask()),
        stream_(stream),
        settings_(settings) {}

  // A function of (step, shard) alone.
  Shard make(int64_t step, int64_t shard) const {
    Random random(settings_.seed, "pretraining batch", step, shard);
    const int64_t rows =
        settings_.batch_rows / kShards + (shard < settings_.batch_rows % kShards ? 1 : 0);
    const int64_t tokens = settings_.sequence_tokens;
    std::vector<int64_t> places, targets;
    at::Tensor ids = at::empty({rows, tokens}, at::kLong);
    for (int64_t row = 0; row < rows; ++row) {
      auto* out = ids.data_ptr<int64_t>() + row * tokens;
      out[0] = start_;
      const auto from = random.below(stream_.size() - static_cast<size_t>(tokens - 1) + 1);
      for (int64_t t = 1; t < tokens; ++t) out[t] = stream_[from + t - 1];
      kind_ == nn::Kind::kEncoder ? hide(out, row * tokens, random, places, targets)
                                  : predict_next(out, row * tokens, places, targets);
    }
    return {ids, at::tensor(places, at::kLong), at::tensor(targets, at::kLong)};
  }

 private:
  void hide(int64_t* ids, int64_t offset, Random& random, std::vector<int64_t>& places,
            std::vector<int64_t>& targets) const {
    for (int64_t t = 1; t < settings_.sequence_tokens; ++t) {
      if (random.uniform() >= settings_.mask_fraction) continue;
      places.push_back(offset + t);
      targets.push_back(ids[t]);
      const double choice = random.uniform();
      if (choice < 0.8) {
        ids[t] = mask_;
      } else if (choice < 0.9) {
        ids[t] = static_cast<int64_t>(random.below(vocabulary_));
      }
    }
  }

  void predict_next(const int64_t* ids, int64_t offset, std::vector<int64_t>& places,
                    std::vector<int64_t>& targets) const {
    for (int64_t t = 1; t < settings_.sequence_tokens; ++t) {
      places.push_back(offset + t - 1);
      targets.push_back(ids[t]);
    }
  }

  nn::Kind kind_;
  int64_t vocabulary_;
  int32_t start_, mask_;
  const std::vector<int32_t>& stream_;
  PretrainSettings settings_;
};

struct ShardGradients {
  std::vector<at::Tensor> gradients;  // of the sum of losses, in the order of the weights
  double loss_sum = 0;
  int64_t predictions = 0;
};

// The base's weights and an output bias that is thrown away afterwards.
constexpr const char* kOutputBias = "output.bias";

ShardGradients shard_gradients(const nn::Architecture& architecture, const nn::TensorMap& weights,
                               const Shard& shard) {
  const nn::Transformer model(architecture, weights);
  std::vector<at::Tensor> inputs;
  for (const auto& [name, tensor] : weights) inputs.push_back(tensor);
  const at::Tensor hidden = model.hidden({shard.ids, {}, {}});
  const at::Tensor states = hidden.reshape({-1, hidden.size(2)}).index_select(0, shard.places);
  const at::Tensor scores = model.vocabulary_scores(states) + weights.at(kOutputBias);
  const at::Tensor loss = at::nll_loss(at::log_softmax(scores, 1), shard.targets, {}, 2 /*sum*/);
  ShardGradients result;
  // Token types other than the first get no gradient.
  result.gradients = torch::autograd::grad({loss}, inputs, {}, c10::nullopt, false, true);
  for (size_t i = 0; i < inputs.size(); ++i) {
    at::Tensor& gradient = result.gradients[i];
    gradient = gradient.defined() ? gradient.contiguous() : at::zeros_like(inputs[i]);
  }
  result.loss_sum = loss.item<double>();
  result.predictions = shard.targets.numel();
  return result;
}

// Sum over shards in order, divided by the number of predictions.
nn::TensorMap mean_gradients(const nn::TensorMap& weights,
                             const std::vector<ShardGradients>& shards, int64_t predictions) {
  at::NoGradGuard no_gradients;
  nn::TensorMap mean;
  size_t i = 0;
  for (const auto& [name, tensor] : weights) {
    at::Tensor sum = shards[0].gradients[i].clone();
    for (size_t s = 1; s < shards.size(); ++s) sum.add_(shards[s].gradients[i]);
    mean[name] = sum.mul_(1.0 / static_cast<double>(std::max<int64_t>(1, predictions)));
    ++i;
  }
  return mean;
}

}  // namespace

nn::TensorMap pretrain(const nn::Architecture& architecture, const data::Tokenizer& tokenizer,
                       const std::vector<std::string>& texts, const PretrainSettings& settings,
                       int workers, const std::function<void(const PretrainProgress&)>& report) {
  const std::vector<int32_t> stream = token_stream(tokenizer, texts);
  if (static_cast<int64_t>(stream.size()) < settings.sequence_tokens) {
    throw InputError(fmt::format(
        "the pretraining corpus has {} tokens, less than one sequence of {}: give more text",
        stream.size(), settings.sequence_tokens));
  }
  Pool pool(workers);
  nn::TensorMap weights;
  const auto prepare = [&] {
    weights = nn::random_weights(architecture, settings.seed);
    if (settings.cooccurrence_embeddings) {
      weights["embeddings.token"] = cooccurrence_embeddings(stream, architecture.vocabulary,
                                                            architecture.width, settings.seed);
    }
    weights[kOutputBias] = at::zeros({architecture.vocabulary}, at::kFloat);
    for (auto& [name, tensor] : weights) tensor.set_requires_grad(true);
  };
  pool.wait(pool.submit("preparing the base", {}, prepare));
  OptimizerSettings optimizer_settings{
      .kind = OptimizerKind::kAdamW, .weight_decay = settings.weight_decay, .clip_norm = 1.0};
  if (settings.cooccurrence_embeddings) {
    optimizer_settings.rate_factors["embeddings.token"] = kKnownEmbeddingRate;
  }
  Optimizer optimizer(optimizer_settings);
  const Shards shards(architecture, tokenizer, stream, settings);
  for (int64_t step = 0; step < settings.steps; ++step) {
    std::vector<ShardGradients> parts(kShards);
    std::vector<Pool::JobPtr> jobs;
    for (int64_t s = 0; s < kShards; ++s) {
      jobs.push_back(pool.submit(fmt::format("pretraining step {}", step), {}, [&, s] {
        parts[s] = shard_gradients(architecture, weights, shards.make(step, s));
      }));
    }
    double loss = 0;
    int64_t predictions = 0;
    const auto update = [&] {
      for (const ShardGradients& part : parts) {
        loss += part.loss_sum;
        predictions += part.predictions;
      }
      nn::TensorMap gradients = mean_gradients(weights, parts, predictions);
      optimizer.step(weights, gradients,
                     settings.learning_rate * rate_factor(step, settings.steps));
    };
    pool.wait(pool.submit("pretraining update", jobs, update));
    if (report) {
      report({step + 1, settings.steps,
              loss / static_cast<double>(std::max<int64_t>(1, predictions))});
    }
  }
  weights.erase(kOutputBias);
  for (auto& [name, tensor] : weights) tensor = tensor.detach();
  return weights;
}

}  // namespace fedclock::learning
