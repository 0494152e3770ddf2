#include "models/cost/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/common/error.h"

namespace fedclock::cost {
namespace {

// Parameters of the base that full tuning changes. Layers are alike, so the first one's count
// serves for all of them.
int64_t tuned_base_parameters(const nn::Architecture& architecture, const TrainingPlan& plan) {
  int64_t in_layer = 0;
  int64_t outside = 0;
  for (const auto& parameter : nn::parameter_shapes(architecture)) {
    if (parameter.name.starts_with("layers.0.")) {
      in_layer += nn::element_count({parameter});
    } else if (!parameter.name.starts_with("layers.")) {
      // A classifier does not run the vocabulary head.
      const bool unused = plan.head_outputs > 0 && parameter.name.starts_with("lm_head.");
      if (!unused) outside += nn::element_count({parameter});
    }
  }
  return plan.depth * in_layer + (plan.depth == architecture.layers ? outside : 0);
}

// Ranks of the adapters that all tokens share, summed over layers, of one target.
int64_t shared_ranks(const TrainingPlan& plan) {
  if (!plan.shared_adapters) return 0;
  const std::vector<int64_t> ranks = tuned_ranks(plan);
  return std::accumulate(ranks.begin(), ranks.end(), int64_t{0});
}

void check_adapters(const nn::Architecture& architecture, const TrainingPlan& plan) {
  const std::vector<int64_t> ranks = tuned_ranks(plan);
  if (plan.layer_ranks.empty() && plan.rank < 1) {
    throw InputError(fmt::format("adapter rank is {}: at least 1 is needed", plan.rank));
  }
  ensure(ranks.front() > 0, "the lowest tuned layer has no adapters");
  ensure(plan.trains_a || plan.trains_b, "adapters of which neither factor is trained");
  if (plan.targets.empty()) {
    throw InputError("no adapter targets: name at least one of q, k, v, o, up, gate, down");
  }
  for (const nn::Target target : plan.targets) {
    if (!nn::linear_shape(architecture, target)) {
      throw InputError(fmt::format("adapter target \"{}\": this architecture has no such map",
                                   nn::target_name(target)));
    }
    if (std::count(plan.targets.begin(), plan.targets.end(), target) > 1) {
      throw InputError(
          fmt::format("adapter target \"{}\" is named twice", nn::target_name(target)));
    }
  }
}

// Parameters of the routers, of these factors of the experts that are trained, and of so many
// frozen ones of each module.
int64_t expert_parameters(const nn::Architecture& architecture, const TrainingPlan& plan, bool a,
                          bool b, int64_t frozen) {
  int64_t sum = 0;
  for (const auto& [module, count] : plan.experts) {
    const int64_t rank = rank_of_layer(architecture, plan, module.layer);
    if (count == 0 || rank == 0) continue;
    const auto shape = nn::linear_shape(architecture, module.target);
    ensure(shape.has_value(), "experts on a map that the architecture does not have");
    const int64_t of_trained = (a ? shape->in : 0) + (b ? shape->out : 0);
    sum += rank * (count * of_trained + frozen * (shape->in + shape->out));
    sum += nn::router_rows(plan.router, rank, count + plan.frozen_experts) * shape->in;
  }
  return sum;
}

}  // namespace

std::vector<int64_t> tuned_ranks(const TrainingPlan& plan) {
  if (plan.layer_ranks.empty()) {
    return std::vector<int64_t>(static_cast<size_t>(plan.depth), plan.rank);
  }
  return {plan.layer_ranks.end() - plan.depth, plan.layer_ranks.end()};
}

int64_t rank_of_layer(const nn::Architecture& architecture, const TrainingPlan& plan,
                      int64_t layer) {
  if (layer < architecture.layers - plan.depth) return 0;
  return plan.layer_ranks.empty() ? plan.rank : plan.layer_ranks.at(static_cast<size_t>(layer));
}

void check_plan(const nn::Architecture& architecture, const TrainingPlan& plan) {
  nn::check_architecture(architecture);
  if (plan.depth < 0 || plan.depth > architecture.layers) {
    throw InputError(fmt::format("depth is {}: the model has {} layers, so 0 to {} is possible",
                                 plan.depth, architecture.layers, architecture.layers));
  }
  if (plan.batch_rows < 1) {
    throw InputError(fmt::format("{} rows a step: at least 1 is needed", plan.batch_rows));
  }
  if (plan.sequence_tokens < 1 || row_tokens(plan) > architecture.max_tokens) {
    throw InputError(fmt::format(
        "{} tokens a row{}: the model takes 1 to {}", plan.sequence_tokens,
        plan.prompt.tokens > 0 ? fmt::format(" and {} of the prompt", plan.prompt.tokens) : "",
        architecture.max_tokens));
  }
  ensure(plan.models >= 1, "a plan of no model");
  if (plan.head_outputs < 0) {
    throw InputError(fmt::format("{} head outputs: 0 or more is needed", plan.head_outputs));
  }
  const int64_t size = plan.bytes_per_element;
  if (size != 2 && size != 4 && size != 8) {
    throw InputError(fmt::format("{} bytes an element: 2, 4 or 8 is possible", size));
  }
  if (plan.optimizer_moments < 0) {
    throw InputError(
        fmt::format("{} optimiser moments: 0 or more is needed", plan.optimizer_moments));
  }
  if (plan.depth == 0 && plan.head_outputs == 0 && plan.prompt.tokens == 0) {
    throw InputError("depth is 0 and there is no trained head or prompt: nothing would be trained");
  }
  ensure(plan.prompt.tokens == 0 || !plan.full_tuning, "a soft prompt beside full tuning");
  if (plan.depth > 0 && !plan.full_tuning) check_adapters(architecture, plan);
}

int64_t adapter_parameters(const nn::Architecture& architecture, nn::Target target, int64_t rank) {
  const auto shape = nn::linear_shape(architecture, target);
  ensure(shape.has_value(), "an adapter on a map that the architecture does not have");
  return rank * (shape->in + shape->out);
}

int64_t expert_parameters(const nn::Architecture& architecture, const TrainingPlan& plan) {
  return expert_parameters(architecture, plan, /*a=*/true, /*b=*/true, plan.frozen_experts);
}

int64_t head_parameters(const nn::Architecture& architecture, int64_t head_outputs) {
  return head_outputs > 0 ? (architecture.width + 1) * head_outputs : 0;
}

int64_t row_tokens(const TrainingPlan& plan) { return plan.sequence_tokens + plan.prompt.tokens; }

int64_t backward_depth(const nn::Architecture& architecture, const TrainingPlan& plan) {
  return plan.prompt.tokens > 0 ? architecture.layers : plan.depth;
}

int64_t prompt_parameters(const nn::Architecture& architecture, const TrainingPlan& plan) {
  return nn::element_count(nn::prompt_shapes(plan.prompt, architecture.width));
}

int64_t trained_parameters(const nn::Architecture& architecture, const TrainingPlan& plan) {
  const int64_t head = head_parameters(architecture, plan.head_outputs);
  if (plan.full_tuning) return tuned_base_parameters(architecture, plan) + head;
  int64_t of_rank_1 = 0;
  for (const nn::Target target : plan.targets) {
    const auto shape = nn::linear_shape(architecture, target);
    if (plan.trains_a) of_rank_1 += shape->in;
    if (plan.trains_b) of_rank_1 += shape->out;
  }
  const int64_t of_experts =
      expert_parameters(architecture, plan, plan.trains_a, plan.trains_b, /*frozen=*/0);
  return shared_ranks(plan) * of_rank_1 + of_experts + prompt_parameters(architecture, plan) + head;
}

int64_t all_adapter_parameters(const nn::Architecture& architecture, const TrainingPlan& plan) {
  int64_t of_rank_1 = 0;
  for (const nn::Target target : plan.targets) {
    of_rank_1 += adapter_parameters(architecture, target, 1);
  }
  return shared_ranks(plan) * of_rank_1 + expert_parameters(architecture, plan);
}

}  // namespace fedclock::cost
