// What all jobs of a run share. Never changed while jobs run.
#pragma once

#include <memory>

#include "models/learning/encoded.h"
#include "models/nn/transformer.h"
#include "models/nn/trunk.h"

namespace fedclock::learning {

// Tokens that go through the layers together: enough for full-speed products, few enough that a
// layer's activations stay in the processor's caches (bench_training: TOKENS is best on W1 and W2).
inline constexpr int64_t kTokensAtOnce = 512;

struct LearningTask {
  std::shared_ptr<const nn::Transformer> base;  // by stock operators
  std::shared_ptr<const nn::Trunk> trunk;       // the same, by the fast path
  nn::AdapterSpec adapter;
  EncodedSet train, test;  // rows of the clients; rows of the server
  int32_t pad = 0;
  int64_t evaluation_rows = 128;  // most rows of a forward pass

  void set_base(const nn::Architecture& architecture, const nn::TensorMap& weights,
                nn::Precision precision = nn::Precision::kFp32) {
    base = std::make_shared<const nn::Transformer>(architecture, weights);
    trunk = std::make_shared<const nn::Trunk>(architecture, weights, precision);
  }
};

}  // namespace fedclock::learning
