// FedAPEN's ensembles (KDD 2023): put together, taken apart, and their weight learnt.
#include <algorithm>
#include <cmath>
#include <deque>

#include "models/common/error.h"
#include "models/learning/batch_gradients.h"
#include "models/learning/ensemble.h"
#include "models/learning/state_function.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

class MakeEnsemble : public StateFunction {
 public:
  const char* what() const override { return "ensemble"; }
  void add_to(DigestBuilder&) const override {}
  bool is_kept() const override { return false; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 2 || inputs.size() == 3, "ensemble() is of two states and a weight");
    Outcome both{*inputs[0], {}};
    for (const auto& [name, tensor] : *inputs[1]) both.tensors[private_name(name)] = tensor;
    both.tensors[kEnsembleWeight] =
        inputs.size() == 3 ? inputs[2]->at(kEnsembleWeight) : at::tensor({0.5F, 0.0F, 0.0F, 0.0F});
    return both;
  }
};

class MemberOf : public StateFunction {
 public:
  explicit MemberOf(Member member) : member_(member) {}
  const char* what() const override {
    return member_ == Member::kShared ? "shared model" : "private model";
  }
  void add_to(DigestBuilder&) const override {}
  bool is_kept() const override { return false; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 1 && private_weight(*inputs.front()), "a model of no ensemble");
    return {member_of(*inputs.front(), member_), {}};
  }

 private:
  const Member member_;
};

// What both models say of some rows.
struct Part {
  Part(const LearningTask& task, const nn::Trunk& trunk, const nn::TensorMap& shared_tensors,
       const nn::TensorMap& own_tensors, std::span<const EncodedRow* const> rows)
      : examples(make_examples(rows, task.train->has_responses())),
        shared(trunk, shared_tensors, examples,
               nn::TrunkPass(trunk, task.adapter, shared_tensors).hidden(examples.rows), arena),
        own(trunk, own_tensors, examples,
            nn::TrunkPass(trunk, task.adapter, own_tensors).hidden(examples.rows), arena) {}

  nn::Arena arena;
  const Examples examples;
  const Readout shared, own;
};

class LearnedWeight : public StateFunction {
 public:
  LearnedWeight(Rows rows, const WeightSettings& settings)
      : rows_(std::move(rows)), settings_(settings) {
    ensure(rows_ && !rows_->empty(), "learned_weight() needs rows");
  }
  const char* what() const override { return "learned weight"; }
  void add_to(DigestBuilder& name) const override {
    name.add(std::as_bytes(std::span(*rows_))).add(settings_.epochs).add(settings_.batch_rows);
    name.add(settings_.learning_rate);
  }

  Outcome operator()(const Inputs& inputs, const Task& of) const override {
    ensure(inputs.size() == 1 && private_weight(*inputs.front()), "a weight of no ensemble");
    const LearningTask& task = of();
    const auto trunk = trunk_of(task);
    const nn::TensorMap shared = member_of(*inputs.front(), Member::kShared);
    const nn::TensorMap own = member_of(*inputs.front(), Member::kPrivate);
    const auto rows = rows_of(*task.train, *rows_);
    // The models stay as they are: what they say of the rows is computed once.
    std::deque<std::deque<Part>> batches;
    for (size_t begin = 0; begin < rows.size();) {
      const size_t size = std::min(rows.size() - begin, static_cast<size_t>(settings_.batch_rows));
      std::deque<Part>& batch = batches.emplace_back();
      for (const size_t end = begin + size; begin < end;) {
        const auto left = std::span(rows).subspan(begin, end - begin);
        const size_t count = rows_within(left, kTokensAtOnce);
        batch.emplace_back(task, *trunk, shared, own, left.first(count));
        begin += count;
      }
    }
    const at::Tensor weight = inputs.front()->at(kEnsembleWeight).clone();
    for (int64_t epoch = 0; epoch < settings_.epochs; ++epoch) {
      for (std::deque<Part>& batch : batches) step(batch, weight.data_ptr<float>());
    }
    return {{{kEnsembleWeight, weight}}, {weight.data_ptr<float>()[0]}};
  }

 private:
  // weight: lambda, m, v, steps
  void step(std::deque<Part>& batch, float* weight) const {
    constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
    double slope = 0, targets = 0;
    for (Part& part : batch) {
      slope += ensemble_slope(part.shared, part.own, weight[0], part.examples, part.arena);
      targets += static_cast<double>(part.examples.targets.size());
    }
    slope /= targets;
    const double m = kBeta1 * weight[1] + (1 - kBeta1) * slope;
    const double v = kBeta2 * weight[2] + (1 - kBeta2) * slope * slope;
    const double steps = weight[3] + 1;
    const double unbiased_m = m / (1 - std::pow(kBeta1, steps));
    const double unbiased_v = v / (1 - std::pow(kBeta2, steps));
    const double moved =
        weight[0] - settings_.learning_rate * unbiased_m / (std::sqrt(unbiased_v) + kEpsilon);
    weight[0] = static_cast<float>(std::clamp(moved, 0.0, 1.0));
    weight[1] = static_cast<float>(m);
    weight[2] = static_cast<float>(v);
    weight[3] = static_cast<float>(steps);
  }

  const Rows rows_;
  const WeightSettings settings_;
};

}  // namespace

Function ensemble() { return std::make_shared<const MakeEnsemble>(); }
Function shared_model() { return std::make_shared<const MemberOf>(Member::kShared); }
Function private_model() { return std::make_shared<const MemberOf>(Member::kPrivate); }
Function learned_weight(const Rows& rows, const WeightSettings& settings) {
  return std::make_shared<const LearnedWeight>(rows, settings);
}

}  // namespace fedclock::learning
