#include "models/nn/soft_prompt.h"

#include <cmath>

#include "models/common/error.h"
#include "models/common/random.h"

namespace fedclock::nn {

namespace {

constexpr const char* kEmbedding = "prompt.embedding";
constexpr int kEncoderLayers = 3;

std::string encoder_tensor(int layer, const char* which) {
  return "prompt.encoder." + std::to_string(layer) + "." + which;
}

}  // namespace

at::Tensor soft_prompt(const TensorMap& tensors) {
  const auto found = tensors.find(kEmbedding);
  if (found == tensors.end()) return {};
  at::Tensor x = found->second;
  for (int layer = 0; layer < kEncoderLayers; ++layer) {
    const auto weight = tensors.find(encoder_tensor(layer, "weight"));
    if (weight == tensors.end()) return x;
    if (layer > 0) x = at::relu(x);
    x = at::linear(x, weight->second, tensors.at(encoder_tensor(layer, "bias")));
  }
  return x;
}

bool has_prompt(const TensorMap& tensors) {
  const auto first = tensors.lower_bound("prompt.");
  return first != tensors.end() && first->first.starts_with("prompt.");
}

void prompt_gradients(const TensorMap& tensors, const at::Tensor& d_prompt, TensorMap& gradients,
                      Onto onto) {
  at::AutoGradMode with_gradients(true);
  TensorMap leaves;
  for (const auto& [name, tensor] : tensors) {
    if (!name.starts_with("prompt.")) continue;
    leaves[name] = tensor.detach().set_requires_grad(gradients.contains(name));
  }
  std::vector<at::Tensor> inputs;
  for (const auto& [name, leaf] : leaves) {
    if (leaf.requires_grad()) inputs.push_back(leaf);
  }
  const auto results = torch::autograd::grad({soft_prompt(leaves)}, inputs, {d_prompt});
  at::NoGradGuard no_gradients;
  size_t i = 0;
  for (const auto& [name, leaf] : leaves) {
    if (!leaf.requires_grad()) continue;
    at::Tensor& gradient = gradients.at(name);
    if (onto == Onto::kNothing) gradient.zero_();
    gradient.add_(results[i++]);
  }
}

TensorMap random_prompt(const PromptSpec& prompt, const at::Tensor& token_embedding,
                        uint64_t seed) {
  TensorMap tensors;
  Random random(seed, "soft prompt");
  for (const auto& [name, shape] : prompt_shapes(prompt, token_embedding.size(1))) {
    at::Tensor tensor = at::empty(shape, at::kFloat);
    float* values = tensor.data_ptr<float>();
    if (name == kEmbedding && prompt.encoder == 0) {
      for (int64_t p = 0; p < prompt.tokens; ++p) {
        const auto token =
            static_cast<int64_t>(random.below(static_cast<uint64_t>(token_embedding.size(0))));
        tensor.select(0, p).copy_(token_embedding.select(0, token));
      }
    } else if (name == kEmbedding) {
      for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(random.normal());
    } else {
      const std::string weight = name.substr(0, name.rfind('.')) + ".weight";
      const int64_t in = name == weight ? shape[1] : tensors.at(weight).size(1);
      const double bound = 1.0 / std::sqrt(static_cast<double>(in));
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        values[i] = static_cast<float>(bound * (2.0 * random.uniform() - 1.0));
      }
    }
    tensors[name] = tensor;
  }
  return tensors;
}

}  // namespace fedclock::nn
