// Named tensors: the parameters of a base, an adapter, an optimiser's state. Ordered by name, so
// that walking over one never depends on how it was filled.
#pragma once

#include <map>
#include <string>

namespace at {
class Tensor;  // Whoever looks inside includes models/nn/torch.h.
}

namespace fedclock::nn {

using TensorMap = std::map<std::string, at::Tensor>;

}  // namespace fedclock::nn
