// Base models made by fedclock itself: masked-word pretraining of encoders (BERT, 1810.04805) and
// next-word pretraining of decoders, as a pure function of texts, architecture and settings.
//
// Each step's batch is cut into a fixed number of shards whose gradients are computed by any number
// of workers and added up in order: the same bits at any number of workers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/data/tokenizer.h"
#include "models/nn/architecture.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

struct PretrainSettings {
  int64_t steps = 0;
  int64_t batch_rows = 48;
  int64_t sequence_tokens = 64;
  double learning_rate = 0.0015;  // peak; warm-up over 5 % of the steps, cosine to a tenth
  double weight_decay = 0.01;
  double mask_fraction = 0.2;  // encoders: 80 % of these become <mask>, 10 % another word
  bool cooccurrence_embeddings = false;
  uint64_t seed = 1;
};

struct PretrainProgress {
  int64_t step = 0, steps = 0;
  double loss = 0;  // nats a predicted token, of this step
};

// Where training can go on after the process was stopped; may be empty.
struct PretrainCheckpoints {
  int64_t every_steps = 100;
  std::function<std::optional<nn::TensorMap>()> load;  // what save() was last given
  std::function<void(const nn::TensorMap&)> save;
};

// Trains all weights. `texts` are joined by the tokenizer's end token and cut into sequences.
// `workers` and checkpoints change the time, never the result. InputError where the text is too
// short.
nn::TensorMap pretrain(const nn::Architecture& architecture, const data::Tokenizer& tokenizer,
                       const std::vector<std::string>& texts, const PretrainSettings& settings,
                       int workers, const std::function<void(const PretrainProgress&)>& report,
                       const PretrainCheckpoints& checkpoints = {});

// Word vectors from co-occurrence: positive pointwise mutual information of tokens within 5 of
// each other, factorised by a truncated SVD (randomised subspace iteration), rows U S^(1/2) scaled
// to a root mean square of 0.05 (Levy and Goldberg, NIPS 2014). -> [vocabulary, width]
at::Tensor cooccurrence_embeddings(const std::vector<int32_t>& stream, int64_t vocabulary,
                                   int64_t width, uint64_t seed);

}  // namespace fedclock::learning
