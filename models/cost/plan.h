// What one optimiser step trains, and on how much data: the input of the cost model.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "models/nn/architecture.h"

namespace fedclock::cost {

struct TrainingPlan {
  int64_t depth = 0;  // tuned layers, counted from the output; 0 tunes head or prompt only
  int64_t rank = 0;   // of the LoRA adapters; not used in full tuning
  // Of each layer, from the first one on, in place of `rank`: 0 for one that is not tuned. `depth`
  // is then counted from the lowest that is. Empty: `rank` in the last `depth` layers.
  std::vector<int64_t> layer_ranks{};
  bool trains_a = true, trains_b = true;  // the factors of the adapters B A
  std::vector<nn::Target> targets;        // maps that carry an adapter; not used in full tuning
  bool shared_adapters = true;            // false: experts in their place, in every target
  // LoRA experts of each module beside its adapter, at the layer's rank, that are trained, with a
  // router; `frozen_experts` more of each are not. A token goes to the `top_experts` best of them, or
  // is counted as going to all where the router chooses how many (nn::Router::kAdaptive).
  std::map<nn::Module, int64_t> experts{};
  int64_t frozen_experts = 0;
  int64_t top_experts = 0;
  nn::Router router = nn::Router::kTokenProjection;
  // Of a soft prompt, trained beside: its tokens come on top of `sequence_tokens`, and its gradient
  // goes down through all layers.
  nn::PromptSpec prompt{};
  // Trained side by side on the same rows and the same frozen weights, each with what this plan
  // trains (FedAPEN's two).
  int64_t models = 1;
  int64_t batch_rows = 0;       // sequences a step
  int64_t sequence_tokens = 0;  // tokens a sequence, padding included
  // Classes of a trained linear head on one vector a row; 0: language modelling, the frozen
  // vocabulary head on every token.
  int64_t head_outputs = 0;
  // The weights of the last `depth` layers are trained instead of adapters; with depth == layers
  // every other parameter of the base too (embeddings, final norm, vocabulary head).
  bool full_tuning = false;
  int64_t bytes_per_element = 4;  // of weights, activations, gradients and moments: 2, 4 or 8
  int64_t optimizer_moments = 2;  // AdamW 2, SGD with momentum 1, SGD 0
};

// Throws InputError unless the plan fits the architecture and trains something.
void check_plan(const nn::Architecture& architecture, const TrainingPlan& plan);

// Ranks of the last `depth` layers, the lowest first.
std::vector<int64_t> tuned_ranks(const TrainingPlan& plan);
// Of one layer, counted from the first of all; 0 where it is not tuned.
int64_t rank_of_layer(const nn::Architecture& architecture, const TrainingPlan& plan,
                      int64_t layer);

// Parameters that one adapter pair on `target` has: rank (in + out).
int64_t adapter_parameters(const nn::Architecture& architecture, nn::Target target, int64_t rank);

// Parameters of all experts, frozen ones too, and routers: rank n (in + out) of a module with n
// experts, and those of its router (nn::router_rows); 0 of a module without.
int64_t expert_parameters(const nn::Architecture& architecture, const TrainingPlan& plan);

// Tokens of a row, a soft prompt's included.
int64_t row_tokens(const TrainingPlan& plan);
// Layers that the backward pass goes down through, counted from the output.
int64_t backward_depth(const nn::Architecture& architecture, const TrainingPlan& plan);

int64_t prompt_parameters(const nn::Architecture& architecture, const TrainingPlan& plan);
// Parameters that a step changes: adapters or weights, soft prompt, and the linear head.
int64_t trained_parameters(const nn::Architecture& architecture, const TrainingPlan& plan);
// All of the tuned layers' adapters and experts, frozen factors included.
int64_t all_adapter_parameters(const nn::Architecture& architecture, const TrainingPlan& plan);

// Parameters of the linear head, width x classes + classes; 0 for a language model.
int64_t head_parameters(const nn::Architecture& architecture, int64_t head_outputs);

}  // namespace fedclock::cost
