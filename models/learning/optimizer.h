// SGD with momentum and AdamW (Loshchilov and Hutter, 1711.05101), on named tensors, in place.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "models/learning/settings.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double weight_decay = 0;  // decoupled: w <- w (1 - rate x decay); matrices only
  double momentum = 0;      // SGD
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // AdamW
  double clip_norm = 0;                          // scale all gradients down to this norm; 0: never
  std::map<std::string, double> rate_factors{};  // on the learning rate, by name; others 1
};

class Optimizer {
 public:
  explicit Optimizer(const OptimizerSettings& settings) : settings_(settings) {}

  // One step at this learning rate. `gradients` holds every name of `parameters`; all contiguous
  // float32. Scales the gradients in place when clipping.
  void step(nn::TensorMap& parameters, nn::TensorMap& gradients, double learning_rate);

  // Steps and moments, to go on from in another process.
  nn::TensorMap state() const;
  void restore(const nn::TensorMap& state);

 private:
  void sgd(const std::string& name, float* w, const float* g, int64_t size, double rate,
           double decay);
  void adamw(const std::string& name, float* w, const float* g, int64_t size, double rate,
             double decay);

  OptimizerSettings settings_;
  int64_t steps_ = 0;
  std::map<std::string, at::Tensor> first_, second_;  // moments
};

}  // namespace fedclock::learning
