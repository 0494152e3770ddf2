// FLoRA (2409.05976): what was learned is added to the base, and adapters begin anew.
#include <numeric>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/learning/merge.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

class Stacked : public Aggregation {
 public:
  using Aggregation::Aggregation;
  const char* what() const override { return "stacked"; }
  Outcome operator()(const Inputs& inputs, const Task& task) const override {
    const States states = states_after(2, inputs);
    const nn::TensorMap &fresh = *inputs[0], &old = *inputs[1];
    const nn::AdapterSpec& spec = task().adapter;
    const double scale = spec.alpha / static_cast<double>(spec.rank);
    nn::TensorMap global = old;
    merge_unranked(states, weights_, global);
    std::erase_if(global, [](const auto& entry) { return is_factor(entry.first); });
    for (const auto& [name, tensor] : fresh) {
      if (is_factor(name)) global[name] = tensor;
    }
    for (const std::string& map : adapted_maps(states)) {
      const std::string name = name_of_merged(map);
      const auto found = old.find(name);
      global[name] = merged(states, map, scale, found == old.end() ? nullptr : &found->second);
    }
    return {std::move(global), {}};
  }

 private:
  // before + s sum_k p_k B_k A_k [out, in]
  at::Tensor merged(const States& states, const std::string& map, double scale,
                    const at::Tensor* before) const {
    const double weight_sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
    std::vector<double> sum;
    std::vector<int64_t> shape;
    for (size_t k = 0; k < states.size(); ++k) {
      const auto adapter = adapter_of(*states[k], map);
      if (!adapter) continue;
      if (shape.empty()) shape = {adapter->b.rows, adapter->a.columns};
      sum.resize(static_cast<size_t>(shape[0] * shape[1]), 0.0);
      add_product(*adapter, weights_[k] / weight_sum, sum);
    }
    ensure(before == nullptr || before->sizes() == at::IntArrayRef(shape),
           "what was merged is of another shape");
    at::Tensor result = at::empty(shape, at::kFloat);
    float* out = result.data_ptr<float>();
    const float* base = before == nullptr ? nullptr : before->data_ptr<float>();
    for (size_t i = 0; i < sum.size(); ++i) {
      out[i] = static_cast<float>((base == nullptr ? 0.0 : base[i]) + scale * sum[i]);
    }
    return result;
  }
};

}  // namespace

Function stacked(const std::vector<double>& weights) {
  return std::make_shared<const Stacked>(weights);
}

}  // namespace fedclock::learning
