#include "sim/federation/workload.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/common/error.h"

namespace fedclock::federation {

double effective_flops(const cost::Machine& machine) {
  return machine.peak_flops * machine.efficiency;
}

Workload::Workload(const WorkloadSpec& spec) : spec_(spec) {
  if (spec.timed.layers % spec.learning_layers != 0) {
    throw InputError(fmt::format(
        "timing.architecture has {} layers, which is no multiple of the learning model's {}: depth "
        "cannot be mapped layer by layer",
        spec.timed.layers, spec.learning_layers));
  }
}

std::vector<int64_t> Workload::timed_ranks(const learning::Share& share) const {
  const auto each = static_cast<size_t>(layers_each());
  ensure(std::ssize(share.ranks) == spec_.learning_layers, "a share of another model");
  std::vector<int64_t> ranks;
  for (const int64_t rank : share.ranks) ranks.insert(ranks.end(), each, rank);
  return ranks;
}

void Workload::for_each_adapter(
    const learning::Share& share,
    const std::function<void(int64_t rank, int64_t in, int64_t out)>& look) const {
  for (const int64_t rank : timed_ranks(share)) {
    if (rank == 0) continue;
    for (const nn::Target target : spec_.adapter.targets) {
      const auto shape = nn::linear_shape(spec_.timed, target);
      look(rank, shape->in, shape->out);
    }
  }
}

std::vector<cost::TensorInfo> Workload::tensors(const learning::Share& share, Form form) const {
  std::vector<cost::TensorInfo> tensors;
  const std::vector<int64_t> ranks = timed_ranks(share);
  for (size_t layer = 0; layer < ranks.size(); ++layer) {
    if (ranks[layer] == 0) continue;
    const int64_t learning_layer = static_cast<int64_t>(layer) / layers_each();
    for (const nn::Target target : spec_.adapter.targets) {
      const auto shape = nn::linear_shape(spec_.timed, target);
      const std::string name =
          nn::layer_tensor(static_cast<int64_t>(layer), nn::target_name(target));
      if (form == Form::kMatrices) {
        tensors.push_back({name + ".merged", {shape->out, shape->in}});
        continue;
      }
      const auto add_pair = [&](const std::string& of) {
        if (share.a) tensors.push_back({of + ".lora_a", {ranks[layer], shape->in}});
        if (share.b) tensors.push_back({of + ".lora_b", {shape->out, ranks[layer]}});
      };
      if (share.shared) add_pair(name);
      const auto experts = share.experts.find({learning_layer, target});
      if (experts == share.experts.end()) continue;
      for (const int32_t expert : experts->second) {
        add_pair(fmt::format("{}.expert.{}", name, expert));
      }
      const int64_t rows =
          nn::router_rows(spec_.adapter.router, ranks[layer],
                          std::ssize(experts->second) + share.frozen_experts);
      if (share.routers) tensors.push_back({name + ".router", {rows, shape->in}});
      if (form != Form::kWithEmbeddings) continue;
      tensors.push_back({name + ".embeddings", {std::ssize(experts->second) + 1, ranks[layer]}});
    }
  }
  if (share.head) {
    for (const auto& [name, shape] : nn::prompt_shapes(spec_.adapter.prompt, spec_.timed.width)) {
      tensors.push_back({name, shape});
    }
  }
  if (share.head && spec_.head_outputs > 0) {
    tensors.push_back({"head.weight", {spec_.head_outputs, spec_.timed.width}});
    tensors.push_back({"head.bias", {spec_.head_outputs}});
  }
  return tensors;
}

const Workload::Cost& Workload::cost_of(const learning::Share& share) const {
  const auto found = costs_.find(share);
  if (found != costs_.end()) return found->second;
  Cost cost;
  const auto all = tensors(share, Form::kFactors);
  cost.elements = cost::element_count(all);
  cost.bytes = cost::payload_bytes(all, spec_.bytes_per_element);
  if (cost.elements > 0) cost.step = cost::step_work(spec_.timed, timed_plan(share));
  return costs_.emplace(share, cost).first->second;
}

int64_t Workload::bytes(const learning::Share& share) const { return cost_of(share).bytes; }

int64_t Workload::elements(const learning::Share& share) const { return cost_of(share).elements; }

int64_t Workload::bytes_of_matrices(const learning::Share& share) const {
  return cost::payload_bytes(tensors(share, Form::kMatrices), spec_.bytes_per_element);
}

int64_t Workload::embedding_bytes(const learning::Share& share) const {
  return cost::payload_bytes(tensors(share, Form::kWithEmbeddings), spec_.bytes_per_element) -
         bytes(share);
}

int64_t Workload::layers_each() const { return spec_.timed.layers / spec_.learning_layers; }

int64_t Workload::modules() const { return spec_.timed.layers * std::ssize(spec_.adapter.targets); }

cost::TrainingPlan Workload::timed_plan(const learning::Share& trained) const {
  cost::TrainingPlan plan;
  plan.depth = trained.depth() * layers_each();
  plan.rank = spec_.adapter.rank;
  plan.layer_ranks = timed_ranks(trained);
  plan.trains_a = trained.a;
  plan.trains_b = trained.b;
  plan.targets = spec_.adapter.targets;
  plan.shared_adapters = trained.shared;
  plan.frozen_experts = trained.frozen_experts;
  plan.router = spec_.adapter.router;
  for (const auto& [module, own] : trained.experts) {
    for (int64_t i = 0; i < layers_each(); ++i) {
      plan.experts[{module.layer * layers_each() + i, module.target}] = std::ssize(own);
    }
  }
  plan.top_experts = spec_.adapter.top_experts;
  plan.prompt = spec_.adapter.prompt;
  plan.models = spec_.models;
  plan.batch_rows = spec_.batch_rows;
  plan.sequence_tokens = spec_.sequence_tokens;
  plan.head_outputs = spec_.head_outputs;
  plan.bytes_per_element = spec_.bytes_per_element;
  plan.optimizer_moments = spec_.optimizer_moments;
  return plan;
}

double Workload::step_seconds(const cost::Machine& machine, const learning::Share& trained) const {
  ensure(elements(trained) > 0, "a share that trains nothing");
  return cost::step_seconds(machine, cost_of(trained).step);
}

double Workload::training_flops(const cost::Machine& machine, const learning::Share& trained,
                                const learning::TrainSettings& settings, int64_t rows) const {
  return training_seconds(machine, trained, settings, rows) * effective_flops(machine);
}

double Workload::training_seconds(const cost::Machine& machine, const learning::Share& trained,
                                  const learning::TrainSettings& settings, int64_t rows) const {
  const int64_t steps = settings.steps_for(rows);
  ensure(steps > 0, "a client trains for no step");
  const int64_t rest = rows % settings.batch_rows;
  const int64_t smaller = rest > 0 ? settings.epochs : 0;  // steps of the rest alone
  double seconds = static_cast<double>(steps - smaller) * step_seconds(machine, trained);
  if (smaller > 0) {
    // The devices' batches may be timed with another size than they are learnt with.
    cost::TrainingPlan last = timed_plan(trained);
    last.batch_rows = std::max<int64_t>(1, spec_.batch_rows * rest / settings.batch_rows);
    seconds += static_cast<double>(smaller) *
               cost::step_seconds(machine, cost::step_work(spec_.timed, last));
  }
  return seconds;
}

double Workload::inference_flops(const cost::Machine& machine, const learning::Share& share,
                                 int64_t rows) const {
  cost::TrainingPlan plan = timed_plan(share);
  const auto flops_of_rows = [&](int64_t batch_rows) {
    plan.batch_rows = batch_rows;
    return batch_rows > 0 ? flops_of(machine, cost::inference_work(spec_.timed, plan)) : 0;
  };
  return static_cast<double>(rows / spec_.batch_rows) * flops_of_rows(spec_.batch_rows) +
         flops_of_rows(rows % spec_.batch_rows);
}

double Workload::flops_of(const cost::Machine& machine, const cost::Work& work) const {
  cost::Machine without_launches = machine;
  without_launches.step_overhead_s = 0;  // of optimiser steps alone
  return cost::step_seconds(without_launches, work) * effective_flops(machine);
}

cost::Memory Workload::memory(const learning::Share& trained) const {
  return cost::training_memory(spec_.timed, timed_plan(trained));
}

}  // namespace fedclock::federation
