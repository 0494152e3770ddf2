#include "models/learning/optimizer.h"

#include <cmath>

#include "models/common/error.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

float* moment(std::map<std::string, at::Tensor>& moments, const std::string& name, int64_t size) {
  at::Tensor& tensor = moments[name];
  if (!tensor.defined()) tensor = at::zeros({size}, at::kFloat);
  return tensor.data_ptr<float>();
}

void clip(nn::TensorMap& gradients, double limit) {
  double sum = 0;
  for (const auto& [name, gradient] : gradients) {
    const float* g = gradient.data_ptr<float>();
    for (int64_t i = 0; i < gradient.numel(); ++i) sum += static_cast<double>(g[i]) * g[i];
  }
  const double norm = std::sqrt(sum);
  if (norm <= limit) return;
  for (auto& [name, gradient] : gradients) gradient.mul_(limit / norm);
}

}  // namespace

void Optimizer::step(nn::TensorMap& parameters, nn::TensorMap& gradients, double learning_rate) {
  at::NoGradGuard no_gradients;
  ++steps_;
  if (settings_.clip_norm > 0) clip(gradients, settings_.clip_norm);
  for (auto& [name, parameter] : parameters) {
    const at::Tensor& gradient = gradients.at(name);
    ensure(parameter.is_contiguous() && gradient.is_contiguous(), "optimizer needs flat tensors");
    const double decay = parameter.dim() > 1 ? settings_.weight_decay : 0.0;
    const auto factor = settings_.rate_factors.find(name);
    const double rate =
        factor == settings_.rate_factors.end() ? learning_rate : learning_rate * factor->second;
    float* w = parameter.data_ptr<float>();
    const float* g = gradient.data_ptr<float>();
    if (settings_.kind == OptimizerKind::kSgd) {
      sgd(name, w, g, parameter.numel(), rate, decay);
    } else {
      adamw(name, w, g, parameter.numel(), rate, decay);
    }
  }
}

nn::TensorMap Optimizer::state() const {
  nn::TensorMap state;
  state["steps"] = at::tensor(steps_, at::kLong);
  for (const auto& [name, tensor] : first_) state["first." + name] = tensor;
  for (const auto& [name, tensor] : second_) state["second." + name] = tensor;
  return state;
}

void Optimizer::restore(const nn::TensorMap& state) {
  steps_ = state.at("steps").item<int64_t>();
  for (const auto& [name, tensor] : state) {
    if (name.starts_with("first.")) first_[name.substr(6)] = tensor;
    if (name.starts_with("second.")) second_[name.substr(7)] = tensor;
  }
}

void Optimizer::sgd(const std::string& name, float* w, const float* g, int64_t size, double rate,
                    double decay) {
  const auto keep = static_cast<float>(1.0 - rate * decay);
  const auto step = static_cast<float>(rate);
  if (settings_.momentum == 0) {
    for (int64_t i = 0; i < size; ++i) w[i] = w[i] * keep - step * g[i];
    return;
  }
  const auto momentum = static_cast<float>(settings_.momentum);
  float* m = moment(first_, name, size);
  for (int64_t i = 0; i < size; ++i) {
    m[i] = momentum * m[i] + g[i];
    w[i] = w[i] * keep - step * m[i];
  }
}

void Optimizer::adamw(const std::string& name, float* w, const float* g, int64_t size, double rate,
                      double decay) {
  const auto beta1 = static_cast<float>(settings_.beta1);
  const auto beta2 = static_cast<float>(settings_.beta2);
  const auto rest1 = static_cast<float>(1.0 - settings_.beta1);
  const auto rest2 = static_cast<float>(1.0 - settings_.beta2);
  const double correction1 = 1.0 - std::pow(settings_.beta1, static_cast<double>(steps_));
  const double correction2 = 1.0 - std::pow(settings_.beta2, static_cast<double>(steps_));
  const auto step = static_cast<float>(rate / correction1);
  const auto scale2 = static_cast<float>(1.0 / std::sqrt(correction2));
  const auto epsilon = static_cast<float>(settings_.epsilon);
  const auto keep = static_cast<float>(1.0 - rate * decay);
  float* m = moment(first_, name, size);
  float* v = moment(second_, name, size);
  for (int64_t i = 0; i < size; ++i) {
    m[i] = beta1 * m[i] + rest1 * g[i];
    v[i] = beta2 * v[i] + rest2 * g[i] * g[i];
    w[i] = w[i] * keep - step * m[i] / (std::sqrt(v[i]) * scale2 + epsilon);
  }
}

}  // namespace fedclock::learning
