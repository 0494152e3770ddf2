#include "sim/federation/aggregation/aggregation.h"

#include <fmt/format.h>

#include <utility>

#include "models/common/error.h"

namespace fedclock::federation {

std::unique_ptr<Aggregation> make_aggregation(const v1::Aggregation& answer,
                                              AggregationInputs inputs) {
  switch (answer.kind_case()) {
    case v1::Aggregation::kMean: return weighted_mean(answer.mean());
    case v1::Aggregation::kPadded: return padded_with_zeros();
    case v1::Aggregation::kSvd: return taken_apart_by_svd();
    case v1::Aggregation::kStacked: return stacked_into_base(std::move(inputs));
    case v1::Aggregation::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the aggregation open");
}

cost::Work Aggregation::work(const Workload& workload, const std::vector<Update>& updates) const {
  cost::Work sum;
  for (const Update& update : updates) {
    const int64_t elements = workload.elements(update.share);
    if (elements == 0) continue;
    const cost::Work one = cost::merge_work(elements, 1, workload.spec().bytes_per_element);
    sum.forward_flops += one.forward_flops;
    // Read once each, and the result written once: merge_work() counts both.
    sum.memory_bytes += sum.memory_bytes == 0 ? one.memory_bytes : one.memory_bytes / 2;
  }
  return sum;
}

int64_t Aggregation::begin_download(const Workload& workload, int32_t,
                                    const learning::Share& share) {
  return workload.bytes(share);
}

learning::Value Aggregation::apply(learning::Learner& learner, const learning::Function& function,
                                   const Occasion& occasion, std::vector<learning::Value> first,
                                   const std::vector<Update>& updates) {
  for (const Update& update : updates) first.push_back(update.state);
  return learner.apply(function, first, fmt::format("round {}", occasion.round));
}

std::vector<double> rows_of(const std::vector<Update>& updates) {
  std::vector<double> rows;
  for (const Update& update : updates) rows.push_back(static_cast<double>(update.rows));
  return rows;
}

ServerOptimizer::ServerOptimizer(const v1::ServerOptimizer& answer) : exists_(answer.has_kind()) {
  using Kind = learning::ServerOptimizerKind;
  switch (answer.kind()) {
    case v1::ServerOptimizer::MOMENTUM: settings_.kind = Kind::kMomentum; break;
    case v1::ServerOptimizer::NESTEROV: settings_.kind = Kind::kNesterov; break;
    case v1::ServerOptimizer::YOGI: settings_.kind = Kind::kYogi; break;
    default: settings_.kind = Kind::kAdam; break;
  }
  const bool adaptive = settings_.kind == Kind::kAdam || settings_.kind == Kind::kYogi;
  settings_.learning_rate =
      answer.has_learning_rate() ? answer.learning_rate() : (adaptive ? 0.01 : 1.0);
  settings_.momentum = answer.momentum();
  settings_.beta1 = answer.beta1();
  settings_.beta2 = answer.beta2();
  settings_.tau = answer.tau();
}

learning::Value ServerOptimizer::step(learning::Learner& learner, const Occasion& occasion,
                                      const learning::Value& global,
                                      const learning::Value& merged) {
  if (!exists_) return merged;
  const std::string name = fmt::format("round {}", occasion.round);
  std::vector<learning::Value> inputs = {global, merged};
  if (moments_) inputs.push_back(moments_);
  moments_ = learner.apply(learning::server_moments(settings_), inputs, name);
  return learner.apply(learning::server_step(settings_), {global, merged, moments_}, name);
}

}  // namespace fedclock::federation
