// A task of four layers, and states for it. Include after models/nn/torch.h and Catch2.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/models/learning/tiny.h"

namespace fedclock::learning {

inline constexpr int64_t kLayers = 4;

// As tiny_task(), of four layers.
inline LearningTask deep_task(nn::Kind kind = nn::Kind::kEncoder, Device device = Device::kCpu) {
  LearningTask task = tiny_task(kind);
  const nn::Architecture architecture =
      kind == nn::Kind::kEncoder ? nn::encoder_architecture(kLayers, 16, 2, 24, 24, 40)
                                 : nn::decoder_architecture(kLayers, 16, 2, 1, 24, 24, 40);
  task.set_base(architecture, tiny_weights(architecture), nn::Precision::kFp32, device);
  return task;
}

// Adapters of these ranks as after some training, and a head.
inline nn::TensorMap trained_state(const LearningTask& task, const std::vector<int64_t>& ranks,
                                   uint64_t seed = 5) {
  nn::TensorMap state = nn::random_adapter(task.architecture(), task.adapter, ranks, 3, 4);
  Random random(seed, "test: trained state");
  for (auto& [name, tensor] : state) {
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] += static_cast<float>(0.2 * random.normal());
    }
  }
  return state;
}
inline nn::TensorMap trained_state(const LearningTask& task) {
  return trained_state(task, std::vector<int64_t>(kLayers, 2));
}

}  // namespace fedclock::learning
