#include "models/cost/memory.h"

namespace fedclock::cost {

double Memory::total() const {
  return weights_bytes + adapters_bytes + gradients_bytes + optimizer_bytes + activations_bytes +
         working_bytes;
}

double layer_activation_bytes(const nn::Architecture& a, int64_t batch_rows, int64_t tokens,
                              int64_t bytes_per_element) {
  const double size = static_cast<double>(bytes_per_element);
  const double width = static_cast<double>(a.width);
  const double query_width = static_cast<double>(a.heads * a.head_width);
  const double kv_width = static_cast<double>(a.kv_heads * a.head_width);
  const double inner = a.activation == nn::Activation::kSwiGlu ? 4 : 2;
  const double elements =
      4 * width + 2 * query_width + 2 * kv_width + inner * static_cast<double>(a.ffn_width);
  const double weights = static_cast<double>(a.heads * tokens);  // attention weights of a token
  return static_cast<double>(batch_rows) * static_cast<double>(tokens) *
         (size * elements + 2 * width + weights * (2 * size + 1));
}

Memory training_memory(const nn::Architecture& architecture, const TrainingPlan& plan) {
  check_plan(architecture, plan);
  const double size = static_cast<double>(plan.bytes_per_element);
  const double depth = static_cast<double>(backward_depth(architecture, plan));
  const double rows = static_cast<double>(plan.batch_rows);
  const double tokens = rows * static_cast<double>(row_tokens(plan));
  const double trained = static_cast<double>(trained_parameters(architecture, plan));
  const double head = static_cast<double>(head_parameters(architecture, plan.head_outputs));
  const double layer = layer_activation_bytes(architecture, plan.batch_rows, row_tokens(plan),
                                              plan.bytes_per_element);
  Memory memory;
  memory.weights_bytes = size * static_cast<double>(nn::parameter_count(architecture));
  memory.adapters_bytes =
      size * (head + static_cast<double>(prompt_parameters(architecture, plan)));
  if (!plan.full_tuning && plan.depth > 0) {
    memory.adapters_bytes += size * static_cast<double>(all_adapter_parameters(architecture, plan));
  }
  memory.gradients_bytes = size * trained;
  memory.optimizer_bytes = size * trained * static_cast<double>(plan.optimizer_moments);
  memory.activations_bytes = depth * layer;
  if (!plan.full_tuning) {
    // Each adapter keeps its A x.
    double ranks = 0;
    for (const int64_t rank : tuned_ranks(plan)) ranks += static_cast<double>(rank);
    if (plan.shared_adapters) {
      memory.activations_bytes += size * tokens * ranks * static_cast<double>(plan.targets.size());
    }
    for (const auto& [module, count] : plan.experts) {
      if (count == 0) continue;
      const int64_t rank = rank_of_layer(architecture, plan, module.layer);
      if (rank == 0) continue;
      const int64_t all = count + plan.frozen_experts;
      const int64_t values = all * rank + nn::router_rows(plan.router, rank, all);
      memory.activations_bytes += size * tokens * static_cast<double>(values);
    }
  }
  const double outputs = plan.head_outputs > 0
                             ? rows * static_cast<double>(plan.head_outputs)
                             : tokens * static_cast<double>(architecture.vocabulary);
  memory.working_bytes =
      layer + size * (tokens * static_cast<double>(architecture.width) + 2 * outputs);
  // Models side by side: the weights once, the rest of each, as their outputs meet in the loss.
  for (double* bytes : {&memory.adapters_bytes, &memory.gradients_bytes, &memory.optimizer_bytes,
                        &memory.activations_bytes, &memory.working_bytes}) {
    *bytes *= static_cast<double>(plan.models);
  }
  return memory;
}

}  // namespace fedclock::cost
