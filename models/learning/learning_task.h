// What all jobs of a run share. Never changed while jobs run.
#pragma once

#include <memory>

#include "models/learning/encoded.h"
#include "models/learning/settings.h"
#include "models/nn/transformer.h"
#include "models/nn/trunk.h"

namespace fedclock::learning {

// Tokens that go through the layers together: enough for full-speed products, few enough that a
// layer's activations stay in the processor's caches (of 256, 512, 1024 and 2048 the best on W1 and
// W2 of bench_training).
inline constexpr int64_t kTokensAtOnce = 512;

// Copies share all that is large.
struct LearningTask {
  std::shared_ptr<const nn::Transformer> base;   // by stock operators
  std::shared_ptr<const nn::Trunk> trunk;        // the same, by the fast path: Device::kCpu only
  std::shared_ptr<const nn::TensorMap> weights;  // of both, on the base's device
  nn::AdapterSpec adapter;
  std::shared_ptr<const EncodedSet> train, test;     // rows of the clients; rows of the server
  std::shared_ptr<const data::Tokenizer> tokenizer;  // only for rows with responses of their own
  int32_t pad = 0;
  int64_t evaluation_rows = 128;  // most rows of a forward pass

  const nn::Architecture& architecture() const { return base->architecture(); }

  // `precision` is the fast path's.
  void set_base(const nn::Architecture& architecture, const nn::TensorMap& weights,
                nn::Precision precision = nn::Precision::kFp32, Device device = Device::kCpu);
};

// The fast path, on the CPU wherever training runs: the task's own, or one that is made.
std::shared_ptr<const nn::Trunk> trunk_of(const LearningTask& task);

}  // namespace fedclock::learning
