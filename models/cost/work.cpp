#include "models/cost/work.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/cost/memory.h"

namespace fedclock::cost {
namespace {

using nn::Target;

// Position of a map in a layer's forward pass; the attention products lie between 0 and 1.
int stage_of(Target target) {
  switch (target) {
    case Target::kQ:
    case Target::kK:
    case Target::kV: return 0;
    case Target::kO: return 1;
    case Target::kUp:
    case Target::kGate: return 2;
    case Target::kDown: return 3;
  }
  throw ProgrammerError("unknown target");
}

// The sizes that every term is made of, as doubles: products of them leave 64 bits behind.
struct Sizes {
  double rows, tokens /* rows x sequence */, sequence, width, query_width, bytes;
  double head_multiplications;  // multiply-adds of the head forward
  double head_weights, head_values;
};

Sizes sizes_of(const nn::Architecture& a, const TrainingPlan& plan) {
  Sizes s{};
  s.rows = static_cast<double>(plan.batch_rows);
  s.sequence = static_cast<double>(row_tokens(plan));
  s.tokens = s.rows * s.sequence;
  s.width = static_cast<double>(a.width);
  s.query_width = static_cast<double>(a.heads * a.head_width);
  s.bytes = static_cast<double>(plan.bytes_per_element);
  const bool classifier = plan.head_outputs > 0;
  const double outputs = static_cast<double>(classifier ? plan.head_outputs : a.vocabulary);
  s.head_weights = s.width * outputs;
  s.head_values = (classifier ? s.rows : s.tokens) * outputs;
  s.head_multiplications = s.head_values * s.width;
  return s;
}

// One of the products QK', PV and their gradients over all heads.
double attention_product_flops(const Sizes& s) {
  return 2 * s.rows * s.sequence * s.sequence * s.query_width;
}

struct Map {
  Target target;
  double in, out;
};

std::vector<Map> maps_of(const nn::Architecture& a) {
  std::vector<Map> maps;
  for (const Target target : nn::kAllTargets) {
    if (const auto shape = nn::linear_shape(a, target)) {
      maps.push_back({target, static_cast<double>(shape->in), static_cast<double>(shape->out)});
    }
  }
  return maps;
}

bool contains(const std::vector<Target>& targets, Target target) {
  return std::find(targets.begin(), targets.end(), target) != targets.end();
}

// Of one pass through all A, the router, the scores <e_i, t>, the chosen B; and the share of the
// experts that is trained. A linear router's products are the scores.
struct ExpertFlops {
  double a = 0, router = 0, scores = 0, b = 0, trained = 0;
  double forward() const { return a + router + scores + b; }
};

ExpertFlops expert_flops(const TrainingPlan& plan, int64_t layer, const Sizes& s, const Map& map,
                         double rank) {
  const auto found = plan.experts.find({layer, map.target});
  if (found == plan.experts.end() || found->second == 0) return {};
  const auto trained = static_cast<double>(found->second);
  const int64_t all = found->second + plan.frozen_experts;
  const auto count = static_cast<double>(all);
  const auto chosen = static_cast<double>(nn::taken_scores(plan.router, all, plan.top_experts));
  const double one = 2 * s.tokens * rank;
  const auto router_rows =
      static_cast<double>(nn::router_rows(plan.router, static_cast<int64_t>(rank), all));
  return {.a = one * count * map.in,
          .router = 2 * s.tokens * router_rows * map.in,
          .scores = plan.router == nn::Router::kTokenProjection ? one * count : 0,
          .b = one * chosen * map.out,
          .trained = trained / count};
}

// The router is always trained, so the chosen B are gone back through, and the scores' t. Frozen
// experts are taken to be chosen as often as others.
double expert_backward_flops(const ExpertFlops& forward, const TrainingPlan& plan,
                             bool input_gradient) {
  double flops = forward.b + forward.scores + forward.router;
  if (plan.trains_b) flops += forward.b * forward.trained;
  if (plan.trains_a || input_gradient) flops += forward.scores;  // of e_i
  if (plan.trains_a) flops += forward.a * forward.trained;
  if (input_gradient) flops += forward.a + forward.router;
  return flops;
}

// How far the backward pass of a layer goes down.
struct Reach {
  int lowest_stage = 0;           // of a trained map
  bool below = true;              // the gradient goes on to what lies below the lowest maps
  double attention_products = 4;  // of dQ, dK, dP, dV
};

// A layer with tuned layers, or trained embeddings, below it: the gradient goes through all of it.
Reach whole_layer() { return {}; }

// The lowest tuned layer: nothing below its lowest trained maps needs a gradient.
Reach lowest_layer(const nn::Architecture& a, const TrainingPlan& plan) {
  if (plan.full_tuning) {
    // A norm before the attention has weights of its own, below q, k and v.
    const bool norm_below = a.norm_place == nn::NormPlace::kBeforeBlock;
    return {.lowest_stage = 0, .below = norm_below || plan.depth == a.layers};
  }
  Reach reach{.lowest_stage = 3, .below = false, .attention_products = 0};
  for (const Target target : plan.targets) {
    reach.lowest_stage = std::min(reach.lowest_stage, stage_of(target));
  }
  const bool q = contains(plan.targets, Target::kQ);
  const bool k = contains(plan.targets, Target::kK);
  const bool v = contains(plan.targets, Target::kV);
  // dQ and dK both start from dP.
  reach.attention_products = double(v) + double(q || k) + double(q) + double(k);
  return reach;
}

struct Backward {
  double flops = 0;
  double weight_bytes = 0;  // weights read again
};

// `rank`: of the layer's adapters; 0: it has none, and the gradient only goes through it.
Backward layer_backward(const nn::Architecture& a, const TrainingPlan& plan, const Sizes& s,
                        const Reach& reach, int64_t layer, double rank) {
  Backward result;
  for (const Map& map : maps_of(a)) {
    const int stage = stage_of(map.target);
    const bool input_gradient = stage > reach.lowest_stage || reach.below;
    if (input_gradient) {
      result.flops += 2 * s.tokens * map.in * map.out;
      result.weight_bytes += s.bytes * map.in * map.out;
    }
    if (plan.full_tuning) {
      result.flops += 2 * s.tokens * map.in * map.out;
    } else if (contains(plan.targets, map.target)) {
      // y += B z, z = A x: gradients of B and A where they are trained, of x where it is asked for,
      // and of z for the latter two.
      const double shared = plan.shared_adapters ? 2 * s.tokens * rank : 0;
      if (plan.trains_b) result.flops += shared * map.out;
      if (plan.trains_a || input_gradient) result.flops += shared * map.out;
      if (plan.trains_a) result.flops += shared * map.in;
      if (input_gradient) result.flops += shared * map.in;
      result.flops +=
          expert_backward_flops(expert_flops(plan, layer, s, map, rank), plan, input_gradient);
    }
  }
  result.flops += reach.attention_products * attention_product_flops(s);
  return result;
}

double expert_forward_flops(const nn::Architecture& a, const TrainingPlan& plan, const Sizes& s) {
  double flops = 0;
  for (int64_t layer = a.layers - plan.depth; layer < a.layers; ++layer) {
    const auto rank = static_cast<double>(rank_of_layer(a, plan, layer));
    for (const Map& map : maps_of(a)) {
      flops += expert_flops(plan, layer, s, map, rank).forward();
    }
  }
  return flops;
}

// All adapters and experts, forward.
double adapter_forward_flops(const nn::Architecture& a, const TrainingPlan& plan, const Sizes& s) {
  const int64_t plain = all_adapter_parameters(a, plan) - expert_parameters(a, plan);
  return 2 * s.tokens * static_cast<double>(plain) + expert_forward_flops(a, plan, s);
}

// The base and its head, forward; no adapters.
Work base_forward(const nn::Architecture& a, const TrainingPlan& plan, const Sizes& s) {
  const double layers = static_cast<double>(a.layers);
  double weights = 0;
  for (const Map& map : maps_of(a)) weights += map.in * map.out;
  Work work;
  work.forward_flops = layers * (2 * s.tokens * weights + 2 * attention_product_flops(s)) +
                       2 * s.head_multiplications;
  const double activations =
      layers * layer_activation_bytes(a, plan.batch_rows, row_tokens(plan), plan.bytes_per_element);
  work.memory_bytes = s.bytes * (layers * weights + s.head_weights + s.tokens * s.width) +
                      2 * (activations + s.bytes * s.head_values);
  return work;
}

void add_head_backward(const nn::Architecture& a, const TrainingPlan& plan, const Sizes& s,
                       Work& work) {
  const bool vocabulary_trained = plan.full_tuning && plan.depth == a.layers;
  const bool weight_gradient = plan.head_outputs > 0 || vocabulary_trained;
  const bool input_gradient = backward_depth(a, plan) > 0;
  if (weight_gradient) work.backward_flops += 2 * s.head_multiplications;
  if (input_gradient) {
    work.backward_flops += 2 * s.head_multiplications;
    work.memory_bytes += s.bytes * s.head_weights;
  }
  work.memory_bytes += 2 * s.bytes * s.head_values;
}

// The encoder of a soft prompt, which runs once a step.
void add_prompt(const nn::Architecture& a, const TrainingPlan& plan, const Sizes& s, Work& work) {
  const auto tokens = static_cast<double>(plan.prompt.tokens);
  for (const auto& [name, shape] : nn::prompt_shapes(plan.prompt, a.width)) {
    if (shape.size() < 2 || name == "prompt.embedding") continue;
    const double weights = static_cast<double>(shape[0] * shape[1]);
    work.forward_flops += 2 * tokens * weights;
    work.backward_flops += 4 * tokens * weights;
    work.memory_bytes += 2 * s.bytes * weights;  // read forward and backward
  }
}

}  // namespace

Work step_work(const nn::Architecture& architecture, const TrainingPlan& plan) {
  check_plan(architecture, plan);
  const Sizes s = sizes_of(architecture, plan);
  Work work = base_forward(architecture, plan, s);
  const int64_t depth = backward_depth(architecture, plan);
  if (!plan.full_tuning && plan.depth > 0) {
    const double parameters = static_cast<double>(all_adapter_parameters(architecture, plan));
    work.forward_flops += adapter_forward_flops(architecture, plan, s);
    work.memory_bytes += 2 * s.bytes * parameters;  // read forward and backward
  }
  add_head_backward(architecture, plan, s, work);
  add_prompt(architecture, plan, s, work);
  if (depth > 0) {
    double weight_bytes = 0;
    const int64_t lowest = architecture.layers - depth;
    const bool through = plan.prompt.tokens > 0;
    for (int64_t layer = lowest; layer < architecture.layers; ++layer) {
      const Reach reach =
          layer == lowest && !through ? lowest_layer(architecture, plan) : whole_layer();
      const Backward one =
          layer_backward(architecture, plan, s, reach, layer,
                         static_cast<double>(rank_of_layer(architecture, plan, layer)));
      work.backward_flops += one.flops;
      weight_bytes += one.weight_bytes;
    }
    // Stored activations read; gradients of the same size written and read.
    const double activations = layer_activation_bytes(architecture, plan.batch_rows,
                                                      row_tokens(plan), plan.bytes_per_element);
    work.memory_bytes += weight_bytes + 3 * static_cast<double>(depth) * activations;
  }
  // Gradient, value and moments of each trained parameter, read and written.
  work.memory_bytes += 2 * s.bytes * static_cast<double>(2 + plan.optimizer_moments) *
                       static_cast<double>(trained_parameters(architecture, plan));
  return work * static_cast<double>(plan.models);
}

Work inference_work(const nn::Architecture& architecture, const TrainingPlan& plan) {
  check_plan(architecture, plan);
  const Sizes s = sizes_of(architecture, plan);
  Work work = base_forward(architecture, plan, s);
  if (!plan.full_tuning && plan.depth > 0) {
    work.forward_flops += adapter_forward_flops(architecture, plan, s);
    work.memory_bytes += s.bytes * static_cast<double>(all_adapter_parameters(architecture, plan));
  }
  return work * static_cast<double>(plan.models);
}

Work forward_work(const nn::Architecture& architecture, int64_t batch_rows, int64_t tokens,
                  int64_t head_outputs, int64_t bytes_per_element) {
  TrainingPlan plan;
  plan.batch_rows = batch_rows;
  plan.sequence_tokens = tokens;
  plan.bytes_per_element = bytes_per_element;
  // check_plan wants something to train; what a forward pass needs is the same with any head.
  plan.head_outputs = 1;
  check_plan(architecture, plan);
  ensure(head_outputs >= 0, "negative head outputs");
  plan.head_outputs = head_outputs;
  return base_forward(architecture, plan, sizes_of(architecture, plan));
}

Work merge_work(int64_t elements, int64_t clients, int64_t bytes_per_element) {
  ensure(elements > 0 && clients > 0 && bytes_per_element > 0, "a merge of nothing");
  const double n = static_cast<double>(elements);
  const double k = static_cast<double>(clients);
  return {.forward_flops = 2 * k * n,
          .backward_flops = 0,
          .memory_bytes = (k + 1) * n * static_cast<double>(bytes_per_element)};
}

}  // namespace fedclock::cost
