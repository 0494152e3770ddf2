// Random mixtures of experts for the tests of them. Include after models/nn/torch.h.
#pragma once

#include <vector>

#include "models/common/random.h"
#include "models/nn/adapters.h"
#include "models/nn/matrix.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

inline at::Tensor random_tensor(at::IntArrayRef shape, double deviation, Random& random) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.data_ptr<float>()[i] = static_cast<float>(deviation * random.normal());
  }
  return tensor;
}

inline Architecture small_decoder(int64_t layers, int64_t width) {
  return decoder_architecture(layers, width, 2, 2, 3 * width, 32, 20);
}

// A state with the shared adapter and these experts on q and v of all layers, B not zero.
inline TensorMap random_state(const Architecture& a, const AdapterSpec& spec,
                              const std::vector<int32_t>& experts, Random& random) {
  ModuleExperts all;
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const Target target : spec.targets) all[{layer, target}] = experts;
  }
  const std::vector<int64_t> ranks(static_cast<size_t>(a.layers), spec.rank);
  TensorMap state = random_adapter(a, spec, ranks, 0, 1, all);
  for (auto& [name, tensor] : state) {
    // As after some training: with much more, models of so few dimensions are so steep that float32
    // itself is off by 1e-4.
    const double deviation = name.ends_with("_b") ? 0.03 : 0.4;
    tensor = random_tensor(tensor.sizes(), deviation, random);
  }
  return state;
}

inline Matrix view(const at::Tensor& t) { return {t.data_ptr<float>(), t.size(0), t.size(1)}; }

}  // namespace fedclock::nn
