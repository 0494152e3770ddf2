#include "models/learning/merged_base.h"

#include <set>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

LearningTask with_merged(const LearningTask& task, const nn::TensorMap& state) {
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
  if (changed.empty()) return task;
  LearningTask other = task;
  other.base = std::make_shared<const nn::Transformer>(task.architecture(), weights);
  if (task.trunk) {
    other.trunk = std::make_shared<const nn::Trunk>(task.trunk->with_maps(weights, changed));
  }
  other.weights = std::make_shared<const nn::TensorMap>(std::move(weights));
  return other;
}

}  // namespace fedclock::learning
