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
  const auto tensors_of = [&](int64_t depth) {
    return cost::adapter_tensors(spec_.timed, timed_plan(depth).depth, spec_.adapter.rank,
                                 spec_.adapter.targets, spec_.head_outputs);
  };
  const auto global = tensors_of(spec.deepest);
  global_elements_ = cost::element_count(global);
  const auto global_bytes = cost::payload_bytes(global, spec.bytes_per_element);
  for (int64_t depth = 0; depth <= spec.learning_layers; ++depth) {
    // With neither a head nor a tuned layer there is nothing to train.
    if (depth == 0 && spec.head_outputs == 0) {
      costs_.emplace_back();
      continue;
    }
    const auto own_bytes = cost::payload_bytes(tensors_of(depth), spec.bytes_per_element);
    costs_.push_back(DepthCost{{std::max(global_bytes, own_bytes), own_bytes},
                               cost::step_work(spec_.timed, timed_plan(depth))});
  }
}

const Workload::DepthCost& Workload::cost_of(const Plan& plan) const {
  const std::optional<DepthCost>& cost = costs_.at(static_cast<size_t>(plan.depth));
  ensure(cost.has_value(), "a plan that trains nothing");
  return *cost;
}

const Transfer& Workload::transfer(const Plan& plan) const { return cost_of(plan).transfer; }

cost::TrainingPlan Workload::timed_plan(int64_t depth) const {
  cost::TrainingPlan plan;
  plan.depth = depth * (spec_.timed.layers / spec_.learning_layers);
  plan.rank = spec_.adapter.rank;
  plan.targets = spec_.adapter.targets;
  plan.batch_rows = spec_.batch_rows;
  plan.sequence_tokens = spec_.sequence_tokens;
  plan.head_outputs = spec_.head_outputs;
  plan.bytes_per_element = spec_.bytes_per_element;
  plan.optimizer_moments = spec_.optimizer_moments;
  return plan;
}

double Workload::step_seconds(const cost::Machine& machine, const Plan& plan) const {
  return cost::step_seconds(machine, cost_of(plan).step);
}

double Workload::training_flops(const cost::Machine& machine, const Plan& plan,
                                const learning::TrainSettings& settings, int64_t rows) const {
  const int64_t steps = settings.steps_for(rows);
  ensure(steps > 0, "a client trains for no step");
  const int64_t rest = rows % settings.batch_rows;
  const int64_t smaller = rest > 0 ? settings.epochs : 0;  // steps of the rest alone
  double seconds = static_cast<double>(steps - smaller) * step_seconds(machine, plan);
  if (smaller > 0) {
    // The devices' batches may be timed with another size than they are learnt with.
    cost::TrainingPlan last = timed_plan(plan.depth);
    last.batch_rows = std::max<int64_t>(1, spec_.batch_rows * rest / settings.batch_rows);
    seconds += static_cast<double>(smaller) *
               cost::step_seconds(machine, cost::step_work(spec_.timed, last));
  }
  return seconds * effective_flops(machine);
}

double Workload::merge_flops(const cost::Machine& server, int64_t clients) const {
  const cost::Work work = cost::merge_work(global_elements_, clients, spec_.bytes_per_element);
  cost::Machine without_launches = server;
  without_launches.step_overhead_s = 0;  // a merge is no optimiser step
  return cost::step_seconds(without_launches, work) * effective_flops(server);
}

cost::Memory Workload::memory(const Plan& plan) const {
  return cost::training_memory(spec_.timed, timed_plan(plan.depth));
}

}  // namespace fedclock::federation
