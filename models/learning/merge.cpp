#include "models/learning/merge.h"

#include "models/common/error.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

nn::TensorMap weighted_mean(const std::vector<const nn::TensorMap*>& states,
                            const std::vector<double>& weights) {
  ensure(!states.empty() && states.size() == weights.size(),
         "a mean needs a weight for each state");
  nn::TensorMap mean;
  std::vector<double> sum;
  for (const auto& [name, shape_of] : *states.front()) {
    const int64_t size = shape_of.numel();
    sum.assign(size, 0.0);
    for (size_t i = 0; i < states.size(); ++i) {
      const at::Tensor& tensor = states[i]->at(name);
      ensure(tensor.sizes() == shape_of.sizes(), "states of different shapes are averaged");
      const float* values = tensor.data_ptr<float>();
      for (int64_t k = 0; k < size; ++k) sum[k] += weights[i] * values[k];
    }
    at::Tensor result = at::empty(shape_of.sizes(), at::kFloat);
    for (int64_t k = 0; k < size; ++k) result.data_ptr<float>()[k] = static_cast<float>(sum[k]);
    mean[name] = result;
  }
  return mean;
}

}  // namespace fedclock::learning
