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

// Steps done, weights and the optimiser's state, under names of their own.
nn::TensorMap checkpoint(int64_t step, const nn::TensorMap& weights, const Optimizer& optimizer) {
  nn::TensorMap all;
  all["step"] = at::tensor(step, at::kLong);
  for (const auto& [name, tensor] : weights) all["weights." + name] = tensor.detach();
  for (const auto& [name, tensor] : optimizer.state()) all["optimizer." + name] = tensor;
  return all;
}

// The tensors whose names begin with the prefix, without it.
nn::TensorMap part(const nn::TensorMap& all, const std::string& prefix) {
  nn::TensorMap found;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) found[name.substr(prefix.size())] = tensor;
  }
  return found;
}

// A training under way.
class Pretraining {
 public:
  Pretraining(const nn::Architecture& architecture, const data::Tokenizer& tokenizer,
              const std::vector<int32_t>& stream, const PretrainSettings& settings, int workers)
      : architecture_(architecture),
        settings_(settings),
        shards_(architecture, tokenizer, stream, settings),
        optimizer_(optimizer_settings(settings)),
        pool_(workers) {}

  void start(const std::vector<int32_t>& stream) {
    pool_.run({[&] {
      weights_ = nn::random_weights(architecture_, settings_.seed);
      if (settings_.cooccurrence_embeddings) {
        weights_["embeddings.token"] = cooccurrence_embeddings(stream, architecture_.vocabulary,
                                                               architecture_.width, settings_.seed);
      }
      weights_[kOutputBias] = at::zeros({architecture_.vocabulary}, at::kFloat);
      require_gradients();
    }});
  }

  void restore(const nn::TensorMap& from) {
    step_ = from.at("step").item<int64_t>();
    weights_ = part(from, "weights.");
    optimizer_.restore(part(from, "optimizer."));
    require_gradients();
  }

  // Returns the mean loss of a prediction.
  double step() {
    std::vector<ShardGradients> parts(kShards);
    std::vector<Pool::Work> works;
    for (int64_t s = 0; s < kShards; ++s) {
      works.push_back(
          [&, s] { parts[s] = shard_gradients(architecture_, weights_, shards_.make(step_, s)); });
    }
    pool_.run(works);
    double loss = 0;
    int64_t predictions = 0;
    for (const ShardGradients& part : parts) {
      loss += part.loss_sum;
      predictions += part.predictions;
    }
    pool_.run({[&] {
      nn::TensorMap gradients = mean_gradients(weights_, parts, predictions);
      optimizer_.step(weights_, gradients,
                      settings_.learning_rate * rate_factor(step_, settings_.steps));
    }});
    ++step_;
    return loss / static_cast<double>(std::max<int64_t>(1, predictions));
  }

  int64_t steps_done() const { return step_; }
  nn::TensorMap checkpoint() const { return learning::checkpoint(step_, weights_, optimizer_); }

  nn::TensorMap weights() const {
    nn::TensorMap result;
    for (const auto& [name, tensor] : weights_) result[name] = tensor.detach();
    result.erase(kOutputBias);
    return result;
  }

 private:
  static OptimizerSettings optimizer_settings(const PretrainSettings& settings) {
    OptimizerSettings result{
        .kind = OptimizerKind::kAdamW, .weight_decay = settings.weight_decay, .clip_norm = 1.0};
    if (settings.cooccurrence_embeddings) {
      result.rate_factors["embeddings.token"] = kKnownEmbeddingRate;
    }
    return result;
  }

  void require_gradients() {
    for (auto& [name, tensor] : weights_) tensor.set_requires_grad(true);
  }

  nn::Architecture architecture_;
  PretrainSettings settings_;
  Shards shards_;
  nn::TensorMap weights_;
  Optimizer optimizer_;
  int64_t step_ = 0;
  Pool pool_;
};

}  // namespace

nn::TensorMap pretrain(const nn::Architecture& architecture, const data::Tokenizer& tokenizer,
                       const std::vector<std::string>& texts, const PretrainSettings& settings,
                       int workers, const std::function<void(const PretrainProgress&)>& report,
                       const PretrainCheckpoints& checkpoints) {
  const std::vector<int32_t> stream = token_stream(tokenizer, texts);
  if (static_cast<int64_t>(stream.size()) < settings.sequence_tokens) {
    throw InputError(fmt::format(
        "the pretraining corpus has {} tokens, less than one sequence of {}: give more text",
        stream.size(), settings.sequence_tokens));
  }
  Pretraining training(architecture, tokenizer, stream, settings, workers);
  const std::optional<nn::TensorMap> done = checkpoints.load ? checkpoints.load() : std::nullopt;
  if (done) {
    training.restore(*done);
  } else {
    training.start(stream);
  }
  while (training.steps_done() < settings.steps) {
    const double loss = training.step();
    const int64_t step = training.steps_done();
    if (report) report({step, settings.steps, loss});
    if (checkpoints.save && step % checkpoints.every_steps == 0 && step < settings.steps) {
      checkpoints.save(training.checkpoint());
    }
  }
  return training.weights();
}

}  // namespace fedclock::learning
