#include "models/learning/learning_task.h"

#include <ATen/Context.h>

namespace fedclock::learning {

void LearningTask::set_base(const nn::Architecture& architecture, const nn::TensorMap& weights,
                            nn::Precision precision, Device device) {
  if (device != Device::kCuda) {
    this->weights = std::make_shared<const nn::TensorMap>(weights);
    base = std::make_shared<const nn::Transformer>(architecture, weights);
    trunk = device == Device::kCpu
                ? std::make_shared<const nn::Trunk>(architecture, weights, precision)
                : nullptr;
    return;
  }
  // Some stock operators have no deterministic form there, and would throw.
  at::globalContext().setDeterministicAlgorithms(false, /*warn_only=*/false);
  nn::TensorMap moved;
  for (const auto& [name, tensor] : weights) moved[name] = tensor.to(at::kCUDA);
  base = std::make_shared<const nn::Transformer>(architecture, moved);
  this->weights = std::make_shared<const nn::TensorMap>(std::move(moved));
  trunk = nullptr;
}

std::shared_ptr<const nn::Trunk> trunk_of(const LearningTask& task) {
  if (task.trunk) return task.trunk;
  nn::TensorMap weights;
  for (const auto& [name, tensor] : *task.weights) weights[name] = tensor.cpu();
  return std::make_shared<const nn::Trunk>(task.architecture(), weights);
}

}  // namespace fedclock::learning
