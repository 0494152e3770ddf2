#include "models/learning/merged_base.h"

#include <algorithm>
#include <set>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

LearningTask with_merged(const LearningTask& task, const nn::TensorMap& state) {
  const bool any = std::any_of(state.begin(), state.end(), [](const auto& entry) {
    return parse_tensor_name(entry.first).kind == TensorKind::kMerged;
  });
  if (!any) return task;
  at::NoGradGuard no_gradients;
  nn::TensorMap weights = *task.weights;  // tensors are shared
  std::set<std::string> changed;
  for (const auto& [name, tensor] : state) {
    const TensorName parsed = parse_tensor_name(name);
    if (parsed.kind != TensorKind::kMerged) continue;
    const auto weight = weights.find(parsed.map + ".weight");
    ensure(weight != weights.end() && weight->second.sizes() == tensor.sizes(),
           "what was merged belongs to another base");
    weight->second = weight->second + tensor.to(weight->second.options());
    changed.insert(weight->first);
  }
  LearningTask other = task;
  other.base = std::make_shared<const nn::Transformer>(task.architecture(), weights);
  if (task.trunk) {
    other.trunk = std::make_shared<const nn::Trunk>(task.trunk->with_maps(weights, changed));
  }
  other.weights = std::make_shared<const nn::TensorMap>(std::move(weights));
  return other;
}

nn::TensorMap with_merged_as_adapters(const nn::TensorMap& state, double scale) {
  nn::TensorMap result;
  for (const auto& [name, tensor] : state) {
    if (parse_tensor_name(name).kind != TensorKind::kMerged) result[name] = tensor;
  }
  for (const auto& [name, merged] : state) {
    const TensorName parsed = parse_tensor_name(name);
    if (parsed.kind != TensorKind::kMerged) continue;
    const std::string& map = parsed.map;
    const at::Tensor scaled = merged / scale;
    const bool wide = merged.size(0) <= merged.size(1);
    at::Tensor b = wide ? at::eye(merged.size(0)) : scaled;
    at::Tensor a = wide ? scaled : at::eye(merged.size(1));
    const auto own = state.find(name_of_a(map));
    if (own != state.end()) {
      a = at::cat({own->second, a}, 0);
      b = at::cat({state.at(name_of_b(map)), b}, 1);
    }
    result[name_of_a(map)] = a.contiguous();
    result[name_of_b(map)] = b.contiguous();
  }
  return result;
}

}  // namespace fedclock::learning
